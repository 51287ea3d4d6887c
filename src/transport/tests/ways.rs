//! Data links that carry one way only, over each transport.

use std::{future::poll_fn, time::Duration};

use actors::port::{DataLink, Dialer as _};
use bytes::Bytes;
use flow::Mode;
use tokio::{io::AsyncWriteExt as _, time::timeout};
use wire::{DataHeader, DataPreface, Ways};

use super::stage::{Over, Stage, credentials, offer, receive_chunk, receive_header, send_chunk, sender, token};
use crate::transport::ListenConfig;

const PIECE: &[u8] = &[7; 100_000];

/// Chunks go from one end to the other in either mode, and that end says the last word; the other end can say nothing.
async fn carries(from: &mut DataLink, to: &mut DataLink) {
    assert!(to.sender.is_none(), "nothing goes back");
    for (at, mode) in [Mode::Precise, Mode::Bulk, Mode::Precise].into_iter().enumerate() {
        to.receiver.set_mode(mode);
        let piece = Bytes::from_static(PIECE);
        let (header, payload) = {
            let sending = send_chunk(sender(&mut from.sender), at as u64, piece);
            let ((), received) = tokio::join!(sending, receive_chunk(&mut to.receiver));
            received
        };
        assert_eq!(header, DataHeader { len: PIECE.len() as u32, transfer: 7, offset: at as u64 });
        assert!(payload == PIECE);
    }
    let closing = poll_fn(|cx| sender(&mut from.sender).poll_close(cx));
    let (closed, last) = tokio::join!(closing, receive_header(&mut to.receiver));
    closed.unwrap();
    assert_eq!(last.unwrap(), None, "a clean end");
}

/// Nothing comes on it: not a chunk, and no error. It may end, since whoever sends nothing need not keep it open.
async fn is_silent(link: &mut DataLink) {
    let header = timeout(Duration::from_millis(100), poll_fn(|cx| link.receiver.poll_header(cx))).await;
    if let Ok(header) = header {
        assert_eq!(header.unwrap(), None);
    }
}

async fn check(ways: Ways, ours: &mut DataLink, theirs: &mut DataLink) {
    assert_eq!((ours.ways, theirs.ways), (ways, ways));
    let (from, to) = if ways == Ways::Up { (ours, theirs) } else { (theirs, ours) };
    // Before it has carried anything, and when it has.
    is_silent(from).await;
    carries(from, to).await;
}

#[tokio::test]
async fn a_link_that_carries_one_way_carries_that_way() {
    for over in [Over::Tcp, Over::Quic] {
        for ways in [Ways::Down, Ways::Up] {
            let mut stage = Stage::open(ListenConfig::default());
            let (mut ours, mut theirs) = stage.data_link_carrying(over, ways, token(1), 0).await;
            check(ways, &mut ours, &mut theirs.link).await;
            drop((ours, theirs));
            stage.all_given_back().await;
        }
    }
}

#[tokio::test]
async fn so_does_a_plaintext_one() {
    for ways in [Ways::Down, Ways::Up] {
        let mut stage = Stage::plaintext();
        stage.issue(token(1), 1);
        let offer = actors::port::DataOffer { ways, ..offer(token(1), String::new(), true) };
        let mut ours = stage.dialer(&credentials()).data(offer).await.unwrap();
        let (_, mut theirs) = stage.next_arrival().await;
        check(ways, &mut ours, &mut theirs.link).await;
    }
}

/// What the node must not take: the actor above makes a violation of it.
#[tokio::test]
async fn what_comes_against_the_way_of_a_link_is_seen() {
    let mut stage = Stage::plaintext();
    stage.issue(token(1), 0);
    let mut raw = stage.connect().await;
    raw.write_all(&DataPreface { token: token(1), ways: Ways::Down }.encode()).await.unwrap();
    let (_, mut theirs) = stage.next_arrival().await;
    let header = DataHeader { len: 4, transfer: 1, offset: 0 };
    raw.write_all(&header.encode()).await.unwrap();
    assert_eq!(receive_header(&mut theirs.link.receiver).await.unwrap(), Some(header));
}
