//! Datagrams and connections from those who mean no good: bounded, counted, and others do not notice.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use actors::port::{LinkError, LinkFault};
use bytes::BytesMut;
use quinn::{ConnectionError, Endpoint};
use rustls::pki_types::CertificateDer;
use tokio::{
    net::UdpSocket,
    time::{sleep, timeout},
};
use wire::{Ways, encode_message};

use super::{
    super::{CLOSED, CLOSED_TOKEN, QuicConfig, SERVER_NAME, client::KnownNode, tickets::Tickets},
    relay::Relay,
    rounds::hello,
};
use crate::transport::{
    ListenConfig, QuicClient,
    tests::stage::{Over, Stage, credentials, ping, receive, receive_header, token},
    tls,
};

pub(super) const NOTHING: Duration = Duration::from_millis(300);

/// Somebody who makes connections of his own.
pub(super) struct Foe {
    pub(super) control: Endpoint,
    data: Endpoint,
    pub(super) node: Arc<KnownNode>,
}

impl Foe {
    pub(super) fn at(stage: &Stage) -> Self {
        let client = QuicClient::new(&credentials()).unwrap();
        let node = client.node(&stage.address.to_string()).unwrap();
        let (control, data) = (client.control(stage.address).unwrap(), client.data(stage.address).unwrap());
        Self { control, data, node }
    }

    pub(super) async fn data_connection(&self, address: SocketAddr) -> quinn::Connection {
        self.data_connection_for(Ways::Both, address).await
    }

    pub(super) async fn data_connection_for(&self, ways: Ways, address: SocketAddr) -> quinn::Connection {
        self.data.connect_with(self.node.data_config(ways), address, SERVER_NAME).unwrap().await.unwrap()
    }
}

pub(super) async fn serves_on(stage: &mut Stage) {
    let dialer = stage.dialer_over(Over::Quic, &credentials());
    stage.meet(dialer.as_ref()).await;
}

#[tokio::test]
async fn an_unknown_version_is_told_which_are_known_and_a_small_datagram_nothing() {
    let mut stage = Stage::open(ListenConfig::default());
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut hello = vec![0; 1200];
    hello[..7].copy_from_slice(&[0xc0, 0x1a, 0x2a, 0x3a, 0x4a, 8, 1]);
    let mut answer = vec![0; 2000];
    socket.send_to(&hello[..600], stage.address).await.unwrap();
    assert!(timeout(NOTHING, socket.recv(&mut answer)).await.is_err(), "half a datagram must not be answered");
    assert_eq!(stage.next_fault().await, LinkFault::Version);
    socket.send_to(&hello, stage.address).await.unwrap();
    let len = timeout(Duration::from_secs(5), socket.recv(&mut answer)).await.expect("an answer").unwrap();
    assert!(answer[0] & 0x80 != 0 && answer[1..5] == [0; 4], "version negotiation: {:02x?}", &answer[..len]);
    assert!(answer[..len].windows(4).any(|version| version == [0, 0, 0, 1]), "it knows version 1");
    assert_eq!(stage.next_fault().await, LinkFault::Version);
    serves_on(&mut stage).await;
}

/// A handshake that goes on says an id that it was given, and so does all that comes after one.
#[tokio::test]
async fn garbage_and_giants_are_dropped_and_counted() {
    let mut stage = Stage::open(ListenConfig::default());
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let a_handshake = [0xe0, 0, 0, 0, 1, 8];
    let an_answer = [0xc0, 0, 0, 0, 0, 8];
    let first = |id_bytes| [0xc0, 0, 0, 0, 1, id_bytes];
    for address in [stage.address, stage.data_address(0), stage.data_address(1)] {
        for (begin, len, fault) in [
            (&[0x40][..], 1, LinkFault::Stray),
            (&[0xc0, 0, 0], 3, LinkFault::Stray),
            (&[0x40], 60_000, LinkFault::Stray),
            (&[0x00], 1200, LinkFault::Stray),
            (&a_handshake, 1200, LinkFault::Stray),
            (&a_handshake, 6, LinkFault::Stray),
            (&an_answer, 1200, LinkFault::Stray),
            (&first(8), 1199, LinkFault::Stray),
            (&first(7), 1200, LinkFault::Stray),
            (&first(0), 1200, LinkFault::Stray),
            (&first(21), 1200, LinkFault::Stray),
            (&first(255), 1200, LinkFault::Stray),
            (&[0xf0, 0, 0, 0, 1, 8], 1200, LinkFault::Stray),
            (&[0xc0], 60_000, LinkFault::Version),
            (&[0xff], 1200, LinkFault::Version),
        ] {
            let mut bytes = vec![0xa5; len];
            bytes[..begin.len()].copy_from_slice(begin);
            for _ in 0..20 {
                socket.send_to(&bytes, address).await.unwrap();
            }
            for nth in 0..20 {
                assert_eq!(stage.next_fault().await, fault, "{nth} of {len} bytes that begin with {begin:02x?}");
            }
        }
    }
    serves_on(&mut stage).await;
    assert!(!stage.has_faults(), "an honest peer's datagrams are somebody's");
}

#[tokio::test]
async fn a_flood_of_handshakes_makes_newcomers_prove_their_address_and_they_come_in() {
    let quic = QuicConfig { handshakes_unproven_max: 4, ..QuicConfig::default() };
    let mut stage = Stage::with(ListenConfig::default(), quic);
    let relay = Relay::before(stage.address, Duration::ZERO).await;
    // First datagrams get through, and nothing after them.
    relay.let_up(12);
    let foe = Foe::at(&stage);
    let flood: Vec<_> = (0..12)
        .map(|_| foe.control.connect_with(foe.node.control.clone(), relay.address, SERVER_NAME).unwrap())
        .collect();
    for _ in 4..12 {
        assert_eq!(stage.next_fault().await, LinkFault::Unproven);
    }
    serves_on(&mut stage).await;
    assert_eq!(stage.next_fault().await, LinkFault::Unproven, "the newcomer proved its address first");
    drop(flood);
}

/// Each has a ticket, says hello with it from an address that need not be its own, and never speaks again.
#[tokio::test]
async fn first_flights_that_nobody_goes_on_with_are_handshakes_under_way() {
    let quic = QuicConfig { handshakes_unproven_max: 4, ..QuicConfig::default() };
    let mut stage = Stage::with(ListenConfig::default(), quic);
    let relay = Relay::before(stage.address, Duration::ZERO).await;
    let foe = Foe::at(&stage);
    let connect = |address| foe.control.connect_with(foe.node.control.clone(), address, SERVER_NAME).unwrap();
    // Three tickets each.
    for connecting in [connect(stage.address), connect(stage.address), connect(stage.address)] {
        let connection = connecting.await.unwrap();
        sleep(Duration::from_millis(50)).await;
        connection.close(CLOSED, b"");
    }
    let mut words = BytesMut::new();
    encode_message(&hello(), &mut words).unwrap();
    relay.let_up(8);
    let mut flights = Vec::new();
    for _ in 0..8 {
        let (connection, _) = connect(relay.address).into_0rtt().expect("a ticket");
        let mut streams = connection.open_bi().await.unwrap();
        streams.0.write_all(&words).await.unwrap();
        flights.push((connection, streams));
    }
    for _ in 4..8 {
        assert_eq!(stage.next_fault().await, LinkFault::Unproven);
    }
    // Now all go on.
    relay.let_up(usize::MAX);
    words.clear();
    encode_message(&ping(1), &mut words).unwrap();
    for (_, streams) in &mut flights {
        streams.0.write_all(&words).await.unwrap();
    }
    let mut links = Vec::new();
    for _ in 0..8 {
        let (_, mut theirs) = stage.next_control().await;
        assert_eq!(receive(&mut theirs.receiver).await.unwrap(), Some(hello()));
        assert_eq!(receive(&mut theirs.receiver).await.unwrap(), Some(ping(1)));
        links.push(theirs);
    }
    serves_on(&mut stage).await;
    assert!(timeout(NOTHING, stage.next_fault()).await.is_err(), "none is under way any more");
}

/// They are connections of an address that is proven, and bounded as such.
#[tokio::test]
async fn who_is_there_and_says_nothing_makes_nobody_prove_his_address() {
    let quic = QuicConfig { handshakes_unproven_max: 4, ..QuicConfig::default() };
    let mut stage = Stage::with(ListenConfig::default(), quic);
    let foe = Foe::at(&stage);
    let mut silent = Vec::new();
    for _ in 0..4 {
        let connecting = foe.control.connect_with(foe.node.control.clone(), stage.address, SERVER_NAME).unwrap();
        silent.push(connecting.await.unwrap());
        silent.push(foe.data_connection(stage.data_address(0)).await);
    }
    stage.admitted(8).await;
    serves_on(&mut stage).await;
    assert!(timeout(NOTHING, stage.next_fault()).await.is_err(), "a newcomer had to prove his address");
    drop(silent);
}

/// Whoever answers a Retry and then falls silent is where he says, and counted among the connections of his address: counted among the
/// handshakes under way as well, one address with 26 of them a second had everybody prove his.
#[tokio::test]
async fn handshakes_of_one_proven_address_make_nobody_else_prove_his() {
    let quic = QuicConfig { handshakes_unproven_max: 8, ..QuicConfig::default() };
    let mut stage = Stage::with(ListenConfig::default(), quic);
    let foe = Foe::at(&stage);
    let connect = |address| foe.control.connect_with(foe.node.control.clone(), address, SERVER_NAME).unwrap();
    let (mut relays, mut silent) = (Vec::new(), Vec::new());
    // Four may come without proof from one address; of the others what answers the Retry gets through, and nothing else.
    for datagrams in [1, 1, 1, 1, 2, 2, 2, 2, 2] {
        let relay = Relay::before(stage.address, Duration::ZERO).await;
        relay.let_up(datagrams);
        silent.push(connect(relay.address));
        relays.push(relay);
    }
    for _ in 4..9 {
        assert_eq!(stage.next_fault().await, LinkFault::Unproven);
    }
    // The answers are under way for a moment.
    sleep(NOTHING).await;
    let another = Relay::from([127, 0, 0, 2].into(), stage.address, Duration::ZERO).await;
    connect(another.address).await.expect("there is room");
    assert!(timeout(NOTHING, stage.next_fault()).await.is_err(), "somebody else had to prove his address");
    drop(silent);
}

/// A node takes so many connections of one address. Whoever writes that address on his datagrams could take them all.
#[tokio::test]
async fn handshakes_of_an_address_that_is_not_proven_take_none_of_its_places() {
    let mut stage = Stage::open(ListenConfig::default());
    // One for each: what a connection sends first gets through, and nothing that proves its address.
    let mut relays = Vec::new();
    for _ in 0..6 {
        let relay = Relay::before(stage.address, Duration::ZERO).await;
        relay.let_up(1);
        relays.push(relay);
    }
    let foe = Foe::at(&stage);
    let connect = |address| foe.control.connect_with(foe.node.control.clone(), address, SERVER_NAME).unwrap();
    // For first flights with a ticket: one says hello with it, two say nothing.
    let connection = connect(stage.address).await.unwrap();
    sleep(Duration::from_millis(50)).await;
    connection.close(CLOSED, b"");
    stage.all_given_back().await;
    let (early, _) = connect(relays[0].address).into_0rtt().expect("a ticket");
    let mut streams = early.open_bi().await.unwrap();
    let mut words = BytesMut::new();
    encode_message(&hello(), &mut words).unwrap();
    streams.0.write_all(&words).await.unwrap();
    let (_, theirs) = stage.next_control().await;
    let unproven: Vec<_> = relays[1..].iter().map(|relay| connect(relay.address)).collect();
    sleep(NOTHING).await;
    assert_eq!(stage.held(), 0, "places for six first flights, of which one was heard");
    // Whoever is there takes his place: those six now, and one that proves it at once.
    relays.iter().for_each(|relay| relay.let_up(usize::MAX));
    let mut proven = Vec::new();
    for connecting in unproven {
        proven.push(connecting.await.unwrap());
    }
    proven.push(connect(stage.address).await.unwrap());
    let mut receiver = theirs.receiver;
    assert_eq!(receive(&mut receiver).await.unwrap(), Some(hello()));
    words.clear();
    encode_message(&ping(1), &mut words).unwrap();
    streams.0.write_all(&words).await.unwrap();
    assert_eq!(receive(&mut receiver).await.unwrap(), Some(ping(1)));
    stage.admitted(7).await;
    proven.iter().chain([&early]).for_each(|connection| connection.close(CLOSED, b""));
    drop((receiver, theirs.sender));
    stage.all_given_back().await;
}

/// There was room when the first datagram came, and none when its sender had proven his address.
#[tokio::test]
async fn who_finds_no_room_when_his_address_is_proven_hears_why() {
    let mut stage = Stage::open(ListenConfig::default());
    let relay = Relay::before(stage.address, Duration::ZERO).await;
    let foe = Foe::at(&stage);
    let connect = || foe.control.connect_with(foe.node.control.clone(), relay.address, SERVER_NAME).unwrap();
    let _kept = stage.meet(stage.dialer_over(Over::Quic, &credentials()).as_ref()).await;
    let place = stage.held();
    let expect_told = async |connection: quinn::Connection| match connection.closed().await {
        ConnectionError::ApplicationClosed(close) => {
            assert!(String::from_utf8_lossy(&close.reason).contains("from this address"), "{close}");
        }
        other => panic!("{other}"),
    };
    for is_return in [false, true] {
        if is_return {
            stage.empty();
            let connection = connect().await.unwrap();
            sleep(Duration::from_millis(50)).await;
            connection.close(CLOSED, b"");
            stage.admitted(place).await;
            // The last words are through.
            sleep(NOTHING).await;
        }
        relay.let_up(1);
        let connecting = connect();
        let connection = if is_return {
            let (connection, _) = connecting.into_0rtt().expect("a ticket");
            let mut streams = connection.open_bi().await.unwrap();
            let mut words = BytesMut::new();
            encode_message(&hello(), &mut words).unwrap();
            streams.0.write_all(&words).await.unwrap();
            let (_, mut theirs) = stage.next_control().await;
            assert_eq!(receive(&mut theirs.receiver).await.unwrap(), Some(hello()));
            stage.fill();
            relay.let_up(usize::MAX);
            let ended = timeout(Duration::from_secs(5), receive(&mut theirs.receiver)).await.expect("it goes on");
            assert!(ended.is_err(), "{ended:?}");
            connection
        } else {
            sleep(Duration::from_millis(50)).await;
            stage.fill();
            relay.let_up(usize::MAX);
            connecting.await.unwrap()
        };
        timeout(Duration::from_secs(5), expect_told(connection)).await.expect("it stays open");
        assert_eq!(stage.held(), place);
    }
}

/// What a peer shows is kept with each of its tickets, and anybody has a key to show with whatever he likes.
#[tokio::test]
async fn a_long_chain_of_certificates_is_not_kept() {
    let mut stage = Stage::open(ListenConfig::default());
    let foe = Foe::at(&stage);
    let shown = credentials();
    for (beside, is_kept) in [(0, true), (50_000, false)] {
        let mut chain = shown.cert_chain();
        chain.extend((beside > 0).then(|| CertificateDer::from(vec![0; beside])));
        let tickets = Arc::<Tickets>::default();
        let client = tls::client_showing(chain, shown.key()).unwrap();
        let config = super::super::tls::client_of(client, Arc::clone(&tickets));
        let connection = foe.control.connect_with(config, stage.address, SERVER_NAME).unwrap().await.unwrap();
        sleep(NOTHING).await;
        assert_eq!(tickets.any(), is_kept, "a ticket for one who shows {beside} bytes beside his certificate");
        connection.close(CLOSED, b"");
    }
    serves_on(&mut stage).await;
}

/// Everything that `socket` is sent until nothing more comes.
async fn answers(socket: &UdpSocket) -> usize {
    let mut room = vec![0; 2000];
    let mut bytes = 0;
    while let Ok(received) = timeout(NOTHING, socket.recv(&mut room)).await {
        bytes += received.unwrap();
    }
    bytes
}

#[tokio::test]
async fn a_proof_of_address_is_good_from_that_address_only() {
    let quic = QuicConfig { handshakes_unproven_max: 0, ..QuicConfig::default() };
    let mut stage = Stage::with(ListenConfig::default(), quic);
    let foe = Foe::at(&stage);
    let bind = || UdpSocket::bind("127.0.0.1:0");
    let (node, here, elsewhere) = (bind().await.unwrap(), bind().await.unwrap(), bind().await.unwrap());
    let at = node.local_addr().unwrap();
    let _connecting = foe.control.connect_with(foe.node.control.clone(), at, SERVER_NAME).unwrap();
    let mut room = vec![0; 2000];
    let (len, client) = node.recv_from(&mut room).await.unwrap();
    here.send_to(&room[..len], stage.address).await.unwrap();
    assert_eq!(stage.next_fault().await, LinkFault::Unproven);
    let len = timeout(NOTHING, here.recv(&mut room)).await.expect("a retry").unwrap();
    node.send_to(&room[..len], client).await.unwrap();
    let (len, _) = node.recv_from(&mut room).await.unwrap();
    elsewhere.send_to(&room[..len], stage.address).await.unwrap();
    let told = answers(&elsewhere).await;
    assert!(told < 1200, "{told} bytes: a handshake with somebody else's proof");
    here.send_to(&room[..len], stage.address).await.unwrap();
    let told = answers(&here).await;
    assert!(told >= 1200, "{told} bytes: whoever has proven his address is shaken hands with");
}

#[tokio::test]
async fn a_data_connection_without_a_good_token_is_closed() {
    let mut stage = Stage::open(ListenConfig::default());
    let foe = Foe::at(&stage);
    // None at all, half of one, something else.
    for (bytes, fault) in
        [(&b""[..], LinkFault::Token), (b"EVKLDAT1 half", LinkFault::Token), (&[7; 40], LinkFault::Magic)]
    {
        let connection = foe.data_connection(stage.data_address(0)).await;
        let (mut stream, _answers) = connection.open_bi().await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream.finish().unwrap();
        assert_eq!(stage.next_fault().await, fault);
        match timeout(Duration::from_secs(5), connection.closed()).await.expect("closed") {
            ConnectionError::ApplicationClosed(close) => assert_eq!(close.error_code, CLOSED_TOKEN),
            other => panic!("{other}"),
        }
    }
    // One that is unknown, and one of another worker's.
    stage.issue(token(9), 1);
    let dialer = stage.dialer_over(Over::Quic, &credentials());
    let _control = stage.meet(dialer.as_ref()).await;
    for wrong in [token(66), token(9)] {
        match dialer.data(stage.offer(Over::Quic, wrong, 0)).await {
            Ok(mut ours) => assert!(matches!(receive_header(&mut ours.receiver).await, Err(LinkError::Lost(_)))),
            Err(error) => assert!(matches!(error, LinkError::Lost(_)), "{error}"),
        }
    }
}

#[tokio::test]
async fn a_client_without_a_certificate_is_refused() {
    let mut stage = Stage::open(ListenConfig::default());
    let foe = Foe::at(&stage);
    let anonymous = super::super::tls::without_certificate();
    let connecting = foe.control.connect_with(anonymous, stage.address, SERVER_NAME).unwrap();
    if let Ok(connection) = connecting.await {
        connection.closed().await;
    }
    assert_eq!(stage.next_fault().await, LinkFault::Tls);
    serves_on(&mut stage).await;
}
