//! What waits unread, and what becomes of a link whose packets come from elsewhere.

use std::{future::poll_fn, sync::Arc, time::Duration};

use bytes::Bytes;
use flow::Rate;
use tokio::time::timeout;
use wire::DataHeader;

use super::{super::tuning::DATA_WINDOW_BYTES_AT_FIRST, relay::Relay};
use crate::transport::{
    DialConfig, ListenConfig, QuicClient, QuicDialer,
    tests::stage::{Expect, Over, Stage, credentials, ping, receive, receive_chunk, send, sender, token},
};

const CHUNK: u32 = 16 << 10;

#[tokio::test]
async fn a_quarter_of_a_second_waits_unread_at_the_rate_in_force() {
    let mut stage = Stage::open(ListenConfig::default());
    let (mut ours, mut theirs) = stage.data_link(Over::Quic, token(1), 0).await;
    let rate = Rate::from_bytes_per_second(400_000);
    let chunk = Bytes::from(vec![3; CHUNK as usize]);
    let header = |at: u64| DataHeader { len: CHUNK, transfer: 1, offset: at * u64::from(CHUNK) };
    // Until the credit of the beginning, which can't be taken back, is used up.
    let read = 3 * u64::from(DATA_WINDOW_BYTES_AT_FIRST / CHUNK);
    let sending = async {
        for at in 0..read {
            sender(&mut theirs.link.sender).start_send(header(at), chunk.clone().into()).unwrap();
            poll_fn(|cx| sender(&mut theirs.link.sender).poll_flush(cx)).await.unwrap();
        }
    };
    let reading = async {
        for _ in 0..read {
            ours.receiver.set_rate(rate);
            receive_chunk(&mut ours.receiver).await;
        }
    };
    tokio::join!(sending, reading);
    // And now nobody reads.
    let mut taken = 0;
    loop {
        sender(&mut theirs.link.sender).start_send(header(read + taken), chunk.clone().into()).unwrap();
        let flushed =
            timeout(Duration::from_millis(500), poll_fn(|cx| sender(&mut theirs.link.sender).poll_flush(cx))).await;
        if flushed.is_err() {
            break;
        }
        taken += 1;
        assert!(taken < 1000, "nothing stopped the sender");
    }
    let unread = taken * u64::from(CHUNK);
    assert!((60_000..=120_000).contains(&unread), "{unread} bytes wait at 400 KB/s");
    assert_eq!(sender(&mut theirs.link.sender).pressure(), actors::port::Pressure::Receiver);
}

#[tokio::test]
async fn a_session_goes_on_when_its_packets_come_from_another_port() {
    let mut stage = Stage::open(ListenConfig::default());
    let relay = Relay::before(stage.address, Duration::from_millis(2)).await;
    let client = Arc::new(QuicClient::new(&credentials()).unwrap());
    let pins = Arc::new(Expect(Some(stage.server.peer_id())));
    let dialer = QuicDialer::new(relay.address.to_string(), client, pins, DialConfig::default()).unwrap();
    let (mut ours, _, mut theirs) = stage.meet(&dialer).await;
    for nonce in 10..14 {
        // As a translator does that has forgotten a client.
        relay.rebind();
        send(&mut ours.sender, &ping(nonce)).await;
        assert_eq!(receive(&mut theirs.receiver).await.unwrap(), Some(ping(nonce)));
        send(&mut theirs.sender, &ping(nonce + 100)).await;
        assert_eq!(receive(&mut ours.receiver).await.unwrap(), Some(ping(nonce + 100)));
    }
}
