//! What is sent to an address that is not proven: three times what came from it and no byte more (RFC 9000, 8.1); and whoever is
//! there comes in all the same.

use std::{sync::Arc, time::Duration};

use actors::port::{Dialer as _, LinkFault};
use bytes::Bytes;
use tokio::time::{sleep, timeout};
use wire::Ways;

use super::{
    super::SERVER_NAME,
    relay::{Relay, Way},
    rounds::hello,
};
use crate::transport::{
    DialConfig, ListenConfig, QuicClient, QuicDialer,
    tests::stage::{Expect, Stage, credentials, ping, receive, receive_chunk, send, send_chunk, sender, token},
};

/// Of a first datagram.
const FIRST_BYTES: usize = 1200;
/// Four times what may be sent for a first datagram. Where the first of it is lost all the rest waits with who dials, and more
/// than 16 KiB is refused there (`crypto_buffer_size`).
const CERTIFICATE_BYTES: usize = 12 * FIRST_BYTES;
/// A node asks after one second, and after three, whether anybody is there.
const ASKED_AGAIN: Duration = Duration::from_millis(1500);
const ASKED_TWICE_MS: u64 = 4000;
const LOOKS: u32 = 5;
const NOTHING: Duration = Duration::from_millis(300);

/// One datagram went up, and down what may be sent for it.
fn is_bounded(relay: &Relay, at_least: usize) {
    let (up, down) = (relay.bytes(Way::Up), relay.bytes(Way::Down));
    assert_eq!(up, FIRST_BYTES);
    assert!(down > at_least && down <= 3 * up, "{down} bytes for {up}");
}

fn dialer(stage: &Stage, relay: &Relay, client: &Arc<QuicClient>) -> QuicDialer {
    let pins = Arc::new(Expect(Some(stage.server.peer_id())));
    QuicDialer::new(relay.address.to_string(), Arc::clone(client), pins, DialConfig::default()).unwrap()
}

/// A client that has been there, with tickets, and the relay that it came over.
async fn returning(stage: &mut Stage) -> (Arc<QuicClient>, Relay) {
    let relay = Relay::before(stage.address, Duration::ZERO).await;
    let client = Arc::new(QuicClient::new(&credentials()).unwrap());
    let (mut ours, _, mut theirs) = stage.meet(&dialer(stage, &relay, &client)).await;
    // Tickets have come with this at the latest.
    send(&mut theirs.sender, &ping(2)).await;
    assert_eq!(receive(&mut ours.receiver).await.unwrap(), Some(ping(2)));
    drop((ours, theirs));
    sleep(Duration::from_millis(100)).await;
    relay.forget();
    (client, relay)
}

#[tokio::test]
async fn a_newcomer_that_falls_silent_is_asked_again_within_the_limit() {
    let mut stage = Stage::open(ListenConfig { handshake_ms: ASKED_TWICE_MS, ..ListenConfig::default() });
    let mut were_asked_again = false;
    // On a machine that stands still for as long as a handshake may take nobody is asked again: it has to go well once.
    for _ in 0..LOOKS {
        let sent = fall_silent(&mut stage).await;
        for (up, down) in sent {
            assert_eq!(up, FIRST_BYTES);
            assert!(down <= 3 * up, "{down} bytes for {up}");
        }
        were_asked_again = sent.iter().all(|(_, down)| *down > 2 * FIRST_BYTES);
        if were_asked_again {
            break;
        }
    }
    assert!(were_asked_again);
}

/// Sends one datagram to each of the node's ports, and waits until it is given up there: what went up and down.
async fn fall_silent(stage: &mut Stage) -> [(usize, usize); 2] {
    let client = QuicClient::new(&credentials()).unwrap();
    let node = client.node(&stage.address.to_string()).unwrap();
    let control = Relay::before(stage.address, Duration::ZERO).await;
    let data = Relay::before(stage.data_address(0), Duration::ZERO).await;
    control.let_up(1);
    data.let_up(1);
    let (controls, datas) = (client.control(stage.address).unwrap(), client.data(stage.address).unwrap());
    let _silent = [
        controls.connect_with(node.control.clone(), control.address, SERVER_NAME).unwrap(),
        datas.connect_with(node.data_config(Ways::Both), data.address, SERVER_NAME).unwrap(),
    ];
    for _ in 0..2 {
        assert_eq!(stage.next_fault().await, LinkFault::HandshakeTimeout);
    }
    // It says nothing more, and not that it gives up.
    sleep(NOTHING).await;
    [control, data].map(|relay| (relay.bytes(Way::Up), relay.bytes(Way::Down)))
}

/// Its hello is heard at once, and there is more to answer than may be sent.
#[tokio::test]
async fn a_first_flight_is_answered_within_the_limit_and_the_rest_comes_with_its_sender() {
    let mut stage = Stage::open(ListenConfig::default());
    let (client, relay) = returning(&mut stage).await;
    relay.let_up(1);
    let mut ours = dialer(&stage, &relay, &client).control().await.unwrap();
    send(&mut ours.sender, &hello()).await;
    let (_, mut theirs) = stage.next_control().await;
    assert_eq!(receive(&mut theirs.receiver).await.unwrap(), Some(hello()));
    for _ in 0..40 {
        send(&mut theirs.sender, &hello()).await;
    }
    sleep(ASKED_AGAIN).await;
    is_bounded(&relay, 2 * FIRST_BYTES);
    relay.let_up(usize::MAX);
    for _ in 0..40 {
        assert_eq!(receive(&mut ours.receiver).await.unwrap(), Some(hello()));
    }
    send(&mut ours.sender, &ping(3)).await;
    assert_eq!(receive(&mut theirs.receiver).await.unwrap(), Some(ping(3)));
}

/// The same for a data link, whose token is in its first datagram and whose answers go in batches.
#[tokio::test]
async fn a_data_link_that_comes_with_a_ticket_is_sent_no_more_before_it_is_proven() {
    let mut stage = Stage::open(ListenConfig::default());
    let (client, control) = returning(&mut stage).await;
    let data = Relay::before(stage.data_address(0), Duration::ZERO).await;
    let dialer = dialer(&stage, &control, &client);
    let _control = stage.meet(&dialer).await;
    stage.issue(token(1), 0);
    data.let_up(1);
    let dialling = tokio::spawn(dialer.data(stage.offer_at(token(1), data.address.port())));
    let (_, mut arrival) = stage.next_arrival().await;
    let chunk = Bytes::from(vec![7; 200_000]);
    let sending = send_chunk(sender(&mut arrival.link.sender), 0, chunk.clone());
    let receiving = async {
        sleep(ASKED_AGAIN).await;
        is_bounded(&data, 2 * FIRST_BYTES);
        data.let_up(usize::MAX);
        let mut link = dialling.await.unwrap().unwrap();
        assert_eq!(receive_chunk(&mut link.receiver).await.1, chunk);
        link
    };
    let ((), _link) = tokio::join!(sending, receiving);
}

/// Each answer to a part of it makes room for more, and a packet under the handshake's key for all.
#[tokio::test]
async fn a_certificate_that_needs_many_times_as_much_comes_through_where_datagrams_are_lost() {
    let mut stage = Stage::with_credentials(credentials().beside(CERTIFICATE_BYTES));
    let relay = Relay::before(stage.address, Duration::from_millis(5)).await;
    for lost_of in [0, 7, 5, 4] {
        relay.lose_one_of(lost_of);
        let client = Arc::new(QuicClient::new(&credentials()).unwrap());
        let dialer = dialer(&stage, &relay, &client);
        let met = timeout(Duration::from_secs(30), stage.meet(&dialer)).await;
        let links = met.unwrap_or_else(|_| panic!("one of {lost_of} datagrams is lost, and nobody comes in"));
        drop(links);
    }
    assert!(relay.bytes(Way::Down) > 4 * CERTIFICATE_BYTES);
}
