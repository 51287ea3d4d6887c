//! How many datagrams and round trips a contact takes, at first and on return (seed 000: one each way).

use std::{sync::Arc, time::Duration};

use actors::port::{ControlLink, DataOffer, Dialer as _};
use bytes::Bytes;
use wire::{Get, Hello, Message, Ways, Welcome};

use super::relay::{Relay, Seen, Way};
use crate::transport::{
    DialConfig, ListenConfig, QuicClient, QuicDialer,
    tests::stage::{Expect, Stage, credentials, receive, receive_chunk, send, send_chunk, sender, token},
};

/// Long against what a busy machine adds to a turn, so that a flight is told from the next.
const DELAY: Duration = Duration::from_millis(20);

/// A node behind relays, and a client that may come back.
struct Scene {
    stage: Stage,
    control: Relay,
    data: [Relay; 2],
    client: Arc<QuicClient>,
}

/// One contact, to the first chunk of a file.
struct Contact {
    control: Vec<Seen>,
    control_flights: Vec<(Way, usize)>,
    data_flights: Vec<(Way, usize)>,
}

impl Scene {
    async fn open() -> Self {
        let stage = Stage::open(ListenConfig::default());
        let control = Relay::before(stage.address, DELAY).await;
        let data_address = |worker: usize| stage.data_address(worker);
        let data = [Relay::before(data_address(0), DELAY).await, Relay::before(data_address(1), DELAY).await];
        Self { stage, control, data, client: Arc::new(QuicClient::new(&credentials()).unwrap()) }
    }

    fn dialer(&self) -> QuicDialer {
        let pins = Arc::new(Expect(Some(self.stage.server.peer_id())));
        let endpoint = self.control.address.to_string();
        QuicDialer::new(endpoint, Arc::clone(&self.client), pins, DialConfig::default()).unwrap()
    }

    /// A hello with a get, a welcome, a data link, a chunk.
    async fn contact(&mut self, round: u8) -> Contact {
        self.contact_over(round, Ways::Both).await
    }

    /// The same, the data link carries `ways`.
    async fn contact_over(&mut self, round: u8, ways: Ways) -> Contact {
        self.control.forget();
        let dialer = self.dialer();
        let mut ours = dialer.control().await.unwrap();
        send(&mut ours.sender, &hello()).await;
        let (worker, mut theirs) = self.stage.next_control().await;
        assert_eq!(receive(&mut theirs.receiver).await.unwrap(), Some(hello()));
        self.data[worker].forget();
        self.stage.issue(token(round), worker);
        let port = self.data[worker].address.port();
        send(&mut theirs.sender, &welcome(round, port)).await;
        assert_eq!(receive(&mut ours.receiver).await.unwrap(), Some(welcome(round, port)));
        let (control, control_flights) = (self.control.seen(), self.control.flights());
        let offer = DataOffer { ways, ..self.stage.offer_at(token(round), port) };
        let dialling = tokio::spawn(dialer.data(offer));
        let (_, mut arrival) = self.stage.next_arrival().await;
        send_chunk(sender(&mut arrival.link.sender), 0, Bytes::from_static(b"the first bytes of a file")).await;
        let mut link = dialling.await.unwrap().unwrap();
        receive_chunk(&mut link.receiver).await;
        let data_flights = self.data[worker].flights();
        finish([&mut ours, &mut theirs]).await;
        // The data link's ticket comes a round trip after its first chunk.
        tokio::time::sleep(8 * DELAY).await;
        drop((ours, theirs, link, arrival));
        // What is said while they close belongs to none of the contacts.
        tokio::time::sleep(8 * DELAY).await;
        Contact { control, control_flights, data_flights }
    }
}

/// Both ends say that they are done, so that tickets have come too.
async fn finish(links: [&mut ControlLink; 2]) {
    let [ours, theirs] = links;
    let goodbye = Message::Ping(wire::Ping { nonce: 7, sent_ns: 1 });
    send(&mut ours.sender, &goodbye).await;
    assert_eq!(receive(&mut theirs.receiver).await.unwrap(), Some(goodbye.clone()));
    send(&mut theirs.sender, &goodbye).await;
    assert_eq!(receive(&mut ours.receiver).await.unwrap(), Some(goodbye));
}

/// Rates and a first get, with a long name.
pub(super) fn hello() -> Message {
    let get = Get { transfer: 1, path: format!("share/{}", "n".repeat(200)), window: 65_536, ..Get::default() };
    Message::Hello(Hello { version: 1, upload: 1_000_000, download: 2_000_000, gets: vec![get], ..Hello::default() })
}

fn welcome(round: u8, port: u16) -> Message {
    Message::Welcome(Welcome {
        session: 1,
        granted_upload: 1_000_000,
        granted_download: 2_000_000,
        tokens: vec![vec![round; 32]],
        data_endpoint: format!(":{port}"),
        ..Welcome::default()
    })
}

#[tokio::test]
async fn a_return_takes_one_datagram_each_way_and_a_first_contact_a_round_trip_more() {
    let mut scene = Scene::open().await;
    let first = scene.contact(1).await;
    let ways = |flights: &[(Way, usize)]| flights.iter().map(|(way, _)| *way).collect::<Vec<_>>();
    let round_trip = [Way::Up, Way::Down];
    assert_eq!(ways(&first.control_flights), [round_trip, round_trip].concat(), "{:?}", first.control_flights);
    // With a ticket that came with the welcome.
    assert_eq!(ways(&first.data_flights), round_trip, "{:?}", first.data_flights);
    assert_eq!(first.data_flights[0], (Way::Up, 1), "{:?}", first.data_flights);
    for round in 2..5 {
        let back = scene.contact(round).await;
        let (control, data) = (&back.control_flights, &back.data_flights);
        assert_eq!(ways(control), round_trip, "{control:?}");
        assert_eq!(ways(data), round_trip, "{data:?}");
        // Handshake, hello, rates and a get in one; handshake and token in one.
        assert_eq!((control[0], data[0]), ((Way::Up, 1), (Way::Up, 1)), "{control:?} {data:?}");
        assert_eq!(back.control[0].bytes.len(), 1200, "a first datagram is filled up, for the amplification limit");
    }
}

/// The ticket of a control link lets its data link open a stream of either kind.
#[tokio::test]
async fn a_link_that_carries_down_takes_no_more_than_one_of_both_ways() {
    let mut scene = Scene::open().await;
    let ways = |flights: &[(Way, usize)]| flights.iter().map(|(way, _)| *way).collect::<Vec<_>>();
    for round in 1..5 {
        let data = scene.contact_over(round, Ways::Down).await.data_flights;
        assert_eq!(ways(&data), [Way::Up, Way::Down], "contact {round}: {data:?}");
        assert_eq!(data[0], (Way::Up, 1), "contact {round}: {data:?}");
    }
}

#[tokio::test]
async fn a_node_that_has_forgotten_the_peer_hears_the_same_hello_a_round_trip_later() {
    let mut scene = Scene::open().await;
    scene.contact(1).await;
    // A node with the same key that was started again: its cache is empty.
    let restarted = Stage::with_credentials(scene.stage.server.clone());
    scene.control = Relay::before(restarted.address, DELAY).await;
    let known = Arc::clone(&scene.client);
    let endpoint = scene.control.address.to_string();
    scene.stage = restarted;
    // The same node at another port: what is kept of it goes along.
    known.moved(&endpoint);
    let mut ours = scene.dialer().control().await.unwrap();
    send(&mut ours.sender, &hello()).await;
    let (_, mut theirs) = scene.stage.next_control().await;
    assert_eq!(receive(&mut theirs.receiver).await.unwrap(), Some(hello()));
    send(&mut theirs.sender, &welcome(1, 1)).await;
    assert_eq!(receive(&mut ours.receiver).await.unwrap(), Some(welcome(1, 1)));
    let flights = scene.control.flights();
    assert_eq!(flights.len(), 4, "{flights:?}");
    finish([&mut ours, &mut theirs]).await;
}
