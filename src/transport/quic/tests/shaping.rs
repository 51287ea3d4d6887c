//! What waits unread, and what becomes of a link whose packets come from elsewhere.

use std::{future::poll_fn, sync::Arc, time::Duration};

use actors::port::{DataLink, DataOffer, Pressure};
use bytes::Bytes;
use flow::Rate;
use tokio::time::timeout;
use wire::{DataHeader, Ways};

use super::{
    super::tuning::{DATA_KEEPALIVE, DATA_WINDOW_BYTES_AT_FIRST},
    relay::{Relay, Way},
};
use crate::transport::{
    DialConfig, ListenConfig, QuicClient, QuicDialer,
    tests::stage::{Expect, Over, Stage, credentials, ping, receive, receive_chunk, send, sender, token},
};

const CHUNK: u32 = 16 << 10;

/// What may wait unread of a session.
const UNREAD: Duration = Duration::from_millis(250);

#[tokio::test]
async fn a_quarter_of_a_second_waits_unread_at_the_rate_in_force() {
    let mut stage = Stage::open(ListenConfig::default());
    let (mut ours, mut theirs) = stage.data_link(Over::Quic, token(1), 0).await;
    let unread = unread(&mut ours, &mut theirs.link, 400_000, UNREAD).await;
    assert!((60_000..=120_000).contains(&unread), "{unread} bytes wait at 400 KB/s");
}

/// The actor gives each link its part of that time; what they take in sum must be no more than one alone would.
#[tokio::test]
async fn so_much_waits_unread_on_all_links_of_a_session_together() {
    const LINKS: u32 = 4;
    let mut stage = Stage::open(ListenConfig::default());
    let dialer = stage.dialer_over(Over::Quic, &credentials());
    let _control = stage.meet(dialer.as_ref()).await;
    let mut links = Vec::new();
    for ways in [Ways::Both, Ways::Both, Ways::Down, Ways::Down] {
        let mark = token(links.len() as u8);
        stage.issue(mark, 0);
        let offer = DataOffer { ways, ..stage.offer(Over::Quic, mark, 0) };
        let ours = dialer.data(offer).await.unwrap();
        links.push((ours, stage.next_arrival().await.1.link));
    }
    let mut sum = 0;
    for (ours, theirs) in &mut links {
        sum += unread(ours, theirs, 1_600_000, UNREAD / LINKS).await;
    }
    assert!((240_000..=480_000).contains(&sum), "{sum} bytes wait at 1.6 MB/s");
}

/// Bytes that `theirs` is let send to `ours`, which was read at a rate and is read no more.
async fn unread(ours: &mut DataLink, theirs: &mut DataLink, rate: u64, unread: Duration) -> u64 {
    let rate = Rate::from_bytes_per_second(rate);
    let chunk = Bytes::from(vec![3; CHUNK as usize]);
    let header = |at: u64| DataHeader { len: CHUNK, transfer: 1, offset: at * u64::from(CHUNK) };
    // Until the credit of the beginning, which can't be taken back, is used up.
    let read = 3 * u64::from(DATA_WINDOW_BYTES_AT_FIRST / CHUNK);
    let sending = async {
        for at in 0..read {
            sender(&mut theirs.sender).start_send(header(at), chunk.clone().into()).unwrap();
            poll_fn(|cx| sender(&mut theirs.sender).poll_flush(cx)).await.unwrap();
        }
    };
    let reading = async {
        for _ in 0..read {
            ours.receiver.set_rate(rate, unread);
            receive_chunk(&mut ours.receiver).await;
        }
    };
    tokio::join!(sending, reading);
    // And now nobody reads.
    let mut taken = 0;
    loop {
        sender(&mut theirs.sender).start_send(header(read + taken), chunk.clone().into()).unwrap();
        let flushed =
            timeout(Duration::from_millis(500), poll_fn(|cx| sender(&mut theirs.sender).poll_flush(cx))).await;
        if flushed.is_err() {
            break;
        }
        taken += 1;
        assert!(taken < 1000, "nothing stopped the sender");
    }
    assert_eq!(sender(&mut theirs.sender).pressure(), Pressure::Receiver);
    taken * u64::from(CHUNK)
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

/// It sent nothing more until its next ping, two seconds later, and what was sent to it went to where it had been.
#[tokio::test]
async fn who_only_receives_says_where_it_is_when_nothing_comes_any_more() {
    let mut stage = Stage::open(ListenConfig::default());
    let relay = Relay::before(stage.data_address(0), Duration::from_millis(2)).await;
    let dialer = stage.dialer_over(Over::Quic, &credentials());
    let _control = stage.meet(dialer.as_ref()).await;
    for (index, ways) in [Ways::Down, Ways::Both].into_iter().enumerate() {
        // On a machine that stands still for a second, silence means less: it has to go well once.
        let mut went_well = false;
        for look in 0..LOOKS {
            let mark = token(index as u8 * LOOKS + look);
            stage.issue(mark, 0);
            let offer = DataOffer { ways, endpoint: relay.address.to_string(), ..stage.offer(Over::Quic, mark, 0) };
            let ours = dialer.data(offer).await.unwrap();
            let theirs = stage.next_arrival().await.1.link;
            went_well = is_found_where_it_went(&relay, ours, theirs).await;
            if went_well {
                break;
            }
        }
        assert!(went_well, "{ways:?}");
    }
}

const LOOKS: u8 = 5;
/// More than an acknowledgement waits.
const QUIET: Duration = Duration::from_millis(100);

/// Whether six chunks come before the connection asks by itself; what the node sends of the last two is lost until it is shown where
/// to send.
async fn is_found_where_it_went(relay: &Relay, mut ours: DataLink, mut theirs: DataLink) -> bool {
    for at in 0..6 {
        if at > 3 {
            // Not an acknowledgement that is late shows where it went.
            relay.quiet(Way::Up, QUIET).await;
            relay.rebind();
        }
        let header = DataHeader { len: CHUNK, transfer: 1, offset: at * u64::from(CHUNK) };
        sender(&mut theirs.sender).start_send(header, Bytes::from(vec![3; CHUNK as usize]).into()).unwrap();
        poll_fn(|cx| sender(&mut theirs.sender).poll_flush(cx)).await.unwrap();
        if timeout(DATA_KEEPALIVE / 2, receive_chunk(&mut ours.receiver)).await.is_err() {
            return false;
        }
    }
    true
}
