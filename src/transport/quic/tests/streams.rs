//! Streams that a link has no use for.

use std::time::Duration;

use actors::port::LinkError;
use quinn::Dir;
use tokio::time::timeout;
use wire::{DataHeader, DataPreface, Violation, Ways};

use super::{
    super::SERVER_NAME,
    hostile::{Foe, NOTHING, serves_on},
};
use crate::transport::{
    ListenConfig,
    tests::stage::{Stage, receive_chunk, receive_header, token},
};

#[tokio::test]
async fn who_opens_ten_thousand_streams_gets_one() {
    let mut stage = Stage::open(ListenConfig::default());
    let foe = Foe::at(&stage);
    let control = foe.control.connect_with(foe.node.control.clone(), stage.address, SERVER_NAME).unwrap();
    let connection = control.await.unwrap();
    let mut streams = Vec::new();
    for _ in 0..10_000 {
        match timeout(Duration::from_millis(1), connection.open_bi()).await {
            Ok(Ok(stream)) => streams.push(stream),
            _ => break,
        }
    }
    assert_eq!(streams.len(), 1);
    // That a data link may come with its ticket; on a control link it is one too many, once anything is said on it.
    let _promised = timeout(NOTHING, connection.open_uni()).await.unwrap().unwrap();
    assert!(timeout(NOTHING, connection.open_uni()).await.is_err());
    let data = foe.data_connection(stage.data_address(0)).await;
    let _first = data.open_bi().await.unwrap();
    assert!(timeout(NOTHING, data.open_bi()).await.is_err());
    // Which of the two kinds it needs says how the link begins.
    let _other = timeout(NOTHING, data.open_uni()).await.unwrap().unwrap();
    assert!(timeout(NOTHING, data.open_uni()).await.is_err());
    serves_on(&mut stage).await;
}

/// A link is the stream that came first. The node can't know which kind that will be and has to let both be opened; whoever
/// opens another breaks a rule, whichever ways the link carries, before it has carried anything and later.
#[tokio::test]
async fn a_further_stream_on_a_data_connection_is_a_violation() {
    let mut stage = Stage::open(ListenConfig::default());
    let foe = Foe::at(&stage);
    let cases = [(Ways::Both, Dir::Uni), (Ways::Up, Dir::Bi), (Ways::Down, Dir::Bi), (Ways::Down, Dir::Uni)];
    for (index, (ways, further)) in cases.into_iter().enumerate() {
        for is_used in [false, true] {
            let mark = token(2 * index as u8 + u8::from(is_used));
            stage.issue(mark, 0);
            let data = foe.data_connection_for(ways, stage.data_address(0)).await;
            let mut sending = match ways {
                Ways::Both => data.open_bi().await.unwrap().0,
                Ways::Down | Ways::Up => data.open_uni().await.unwrap(),
            };
            sending.write_all(&DataPreface { token: mark, ways }.encode()).await.unwrap();
            let (_, mut theirs) = stage.next_arrival().await;
            if is_used && ways != Ways::Down {
                let header = DataHeader { len: 4, transfer: 1, offset: 0 };
                sending.write_all(&[&header.encode()[..], b"data"].concat()).await.unwrap();
                assert_eq!(receive_chunk(&mut theirs.link.receiver).await.0, header);
            } else if is_used {
                sending.finish().unwrap();
                let silent = timeout(NOTHING, receive_header(&mut theirs.link.receiver)).await;
                assert!(silent.is_err(), "the end of a token says nothing of its link");
            }
            // Who has ended the stream of a token has credit for another of its kind, and none before that.
            if further == Dir::Uni && ways == Ways::Down && !is_used {
                sending.finish().unwrap();
            }
            let opened = async {
                match further {
                    Dir::Uni => data.open_uni().await,
                    Dir::Bi => data.open_bi().await.map(|(sending, _)| sending),
                }
            };
            // Nobody hears of a stream before something is said on it.
            let opened = async {
                let mut stream = opened.await.unwrap();
                stream.write_all(b"one more").await.unwrap();
                stream
            };
            let (_opened, found) = tokio::join!(opened, receive_header(&mut theirs.link.receiver));
            let found = found.expect_err("a further stream was let be");
            assert!(matches!(found, LinkError::PeerFault(Violation::Transport(_))), "{ways:?}, {further:?}: {found}");
        }
    }
    serves_on(&mut stage).await;
}

/// Where it came together with the link's own, either was taken for it, and the session went on without its link.
#[tokio::test]
async fn a_further_stream_that_comes_at_once_is_a_violation_as_well() {
    let mut stage = Stage::open(ListenConfig::default());
    let foe = Foe::at(&stage);
    for mark in (0..16).map(token) {
        stage.issue(mark, 0);
        let data = foe.data_connection(stage.data_address(0)).await;
        let mut own = data.open_bi().await.unwrap().0;
        let mut further = data.open_uni().await.unwrap();
        own.write_all(&DataPreface { token: mark, ways: Ways::Both }.encode()).await.unwrap();
        further.write_all(b"one more").await.unwrap();
        let (_, mut theirs) = stage.next_arrival().await;
        let found = receive_header(&mut theirs.link.receiver).await.expect_err("a further stream was let be");
        assert!(matches!(found, LinkError::PeerFault(Violation::Transport(_))), "{found}");
    }
    serves_on(&mut stage).await;
}
