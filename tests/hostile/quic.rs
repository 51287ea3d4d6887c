//! The hostile peer over QUIC: tokens that are not its own, handshakes by the hundred, datagrams of any size. Its neighbours and
//! the newcomers of this file go over QUIC as well.

#[path = "early.rs"]
mod early;
#[path = "streams.rs"]
mod streams;

use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    path::Path,
    sync::Arc,
    thread,
    time::Duration,
};

use evenkeel::{
    identity::{Identity, StateDir},
    transport::{Credentials, client_config},
};
use quinn::{ClientConfig, Connection, ConnectionError, Endpoint, RecvStream, SendStream};
use tokio::time::timeout;
use wire::{
    ALPN_CONTROL, ALPN_DATA, Begin, DATA_HEADER_BYTES, DataHeader, DataPreface, FrameDecoder, Goodbye, GoodbyeCode,
    Hello, Message, Put, Token, Ways, Welcome,
};

use crate::{
    foe::{PATIENCE, frames, get, hello, ping},
    stage::{Counts, Neighbour, connections_fall_to, node, serves_on},
    support::{Server, wait_until},
};

/// Handshakes under way from which on the node asks newcomers for proof (`src/transport/quic/listener.rs`).
const UNPROVEN_MAX: usize = 256;

/// Somebody with a key and a UDP socket.
pub(crate) struct Foe {
    credentials: Credentials,
    pub(crate) endpoint: Endpoint,
    pub(crate) peers: SocketAddr,
}

impl Foe {
    pub(crate) fn new(server: &Server) -> Self {
        Self::with(server, &Identity::ephemeral().unwrap())
    }

    /// The node's owner, who has every right.
    fn owner(server: &Server) -> Self {
        let state = StateDir::open(Some(Path::new(&server.owner()))).unwrap();
        Self::with(server, &Identity::load_or_create(&state).unwrap())
    }

    fn with(server: &Server, identity: &Identity) -> Self {
        let credentials = Credentials::generate_from_pkcs8(identity.key_pkcs8()).unwrap();
        Self { credentials, endpoint: socket(Ipv4Addr::LOCALHOST), peers: server.peers.parse().unwrap() }
    }

    /// The same person at another address.
    pub(crate) fn at(&self, address: Ipv4Addr) -> Self {
        Self { credentials: self.credentials.clone(), endpoint: socket(address), peers: self.peers }
    }

    pub(crate) fn tls(&self, alpn: &[u8]) -> Arc<quinn::crypto::rustls::QuicClientConfig> {
        Arc::new(client_config(&self.credentials, alpn).unwrap().try_into().unwrap())
    }

    async fn connect(&self, address: SocketAddr, config: ClientConfig) -> Connection {
        let connecting = self.endpoint.connect_with(config, address, "evenkeel").unwrap();
        timeout(PATIENCE, connecting).await.expect("a handshake").unwrap()
    }

    /// A session: hello said, welcome heard.
    pub(crate) async fn session(&self) -> Session {
        let config = ClientConfig::new(self.tls(ALPN_CONTROL));
        Session::over(self.connect(self.peers, config).await).await
    }

    /// A data connection that shows `token`.
    pub(crate) async fn data(&self, welcome: &Welcome, token: Token) -> Data {
        let connection = self.data_silent(welcome).await;
        let (mut sending, receiving) = connection.open_bi().await.unwrap();
        sending.write_all(&DataPreface { token, ways: Ways::Both }.encode()).await.unwrap();
        Data { connection, sending, receiving }
    }

    async fn data_silent(&self, welcome: &Welcome) -> Connection {
        self.connect(self.data_address(welcome), ClientConfig::new(self.tls(ALPN_DATA))).await
    }

    fn data_address(&self, welcome: &Welcome) -> SocketAddr {
        let port = welcome.data_endpoint.strip_prefix(':').unwrap().parse().unwrap();
        SocketAddr::new(self.peers.ip(), port)
    }
}

/// Runs `scene` here, and its sockets on a thread of their own: they go on while the scene waits for a child or a page.
pub(crate) fn driven(scene: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let handle = runtime.handle().clone();
    let (over, is_over) = tokio::sync::oneshot::channel::<()>();
    let driver = thread::spawn(move || drop(runtime.block_on(is_over)));
    handle.block_on(scene);
    drop(over);
    driver.join().unwrap();
}

fn socket(address: Ipv4Addr) -> Endpoint {
    Endpoint::client((address, 0).into()).unwrap()
}

/// A session and its control link.
pub(crate) struct Session {
    connection: Connection,
    sending: SendStream,
    receiving: RecvStream,
    decoder: FrameDecoder,
    pub(crate) welcome: Welcome,
}

impl Session {
    async fn over(connection: Connection) -> Self {
        Self::saying(hello(), connection).await
    }

    async fn saying(hello: Hello, connection: Connection) -> Self {
        let (sending, receiving) = connection.open_bi().await.unwrap();
        let (decoder, welcome) = (FrameDecoder::default(), Welcome::default());
        let mut session = Self { connection, sending, receiving, decoder, welcome };
        session.say(&Message::Hello(hello)).await;
        let welcome = session.hear(|message| match message {
            Message::Welcome(welcome) => Some(welcome.clone()),
            _ => None,
        });
        session.welcome = welcome.await;
        session
    }

    pub(crate) fn token(&self, index: usize) -> Token {
        self.welcome.parsed_tokens().unwrap()[index]
    }

    async fn say(&mut self, message: &Message) {
        self.sending.write_all(&frames([message])).await.unwrap();
    }

    /// The next message for which `pick` has something.
    async fn hear<T>(&mut self, pick: impl Fn(&Message) -> Option<T>) -> T {
        loop {
            while let Some(message) = self.decoder.next_message().unwrap() {
                if let Some(picked) = pick(&message) {
                    return picked;
                }
            }
            let piece = timeout(PATIENCE, self.receiving.read_chunk(16 * 1024, true)).await.expect("a message");
            self.decoder.extend(&piece.unwrap().expect("the node closed").bytes);
        }
    }

    /// Nothing follows but the end.
    async fn ends(self) {
        timeout(PATIENCE, self.connection.closed()).await.expect("the session goes on");
    }

    pub(crate) async fn is_answered(&mut self) {
        self.say(&ping(9)).await;
        self.hear(|message| matches!(message, Message::Pong(pong) if pong.nonce == 9).then_some(())).await;
    }
}

/// A data link.
pub(crate) struct Data {
    connection: Connection,
    sending: SendStream,
    receiving: RecvStream,
}

impl Data {
    /// The transfer of the next chunk, which is passed over.
    async fn next_transfer(&mut self) -> u32 {
        let mut head = [0; DATA_HEADER_BYTES];
        timeout(PATIENCE, self.receiving.read_exact(&mut head)).await.expect("a chunk").unwrap();
        let header = DataHeader::decode(&head).unwrap();
        self.receiving.read_exact(&mut vec![0; header.len as usize]).await.unwrap();
        header.transfer
    }

    async fn expect_refused(&self) {
        match timeout(PATIENCE, self.connection.closed()).await.expect("the link stays open") {
            ConnectionError::ApplicationClosed(close) => assert_eq!(close.error_code, 1_u32.into(), "{close}"),
            other => panic!("{other}"),
        }
    }
}

/// In the middle of a chunk that comes, of one that goes, and of a message.
#[test]
fn a_stream_that_is_reset_in_the_middle_ends_its_session_alone() {
    driven(resets());
}

async fn resets() {
    let server = node("");
    let neighbour = Neighbour::getting(&server).with_share(0.5);
    let before = server.metric("evenkeel_connections", &[]);
    let foe = Foe::owner(&server);
    let mut session = foe.session().await;
    let (welcome, token) = (session.welcome.clone(), session.token(0));
    let mut link = foe.data(&welcome, token).await;
    session.say(&Message::Put(Put { transfer: 1, path: "share/cut".into(), size: 100_000, ..Put::default() })).await;
    session.hear(|message| matches!(message, Message::Ready(_)).then_some(())).await;
    session.say(&Message::Begin(Begin { transfer: 1, start: 0 })).await;
    link.sending.write_all(&DataHeader { len: 1000, transfer: 1, offset: 0 }.encode()).await.unwrap();
    link.sending.write_all(&[7; 100]).await.unwrap();
    // Or it is reset before any of that was sent.
    tokio::time::sleep(Duration::from_millis(100)).await;
    link.sending.reset(9_u32.into()).unwrap();
    session.ends().await;
    drop(link);

    let mut session = foe.session().await;
    let (welcome, token) = (session.welcome.clone(), session.token(0));
    let mut link = foe.data(&welcome, token).await;
    session.say(&get(1, "share/large", u64::MAX)).await;
    link.receiving.read_exact(&mut [0; DATA_HEADER_BYTES + 100]).await.unwrap();
    link.receiving.stop(9_u32.into()).unwrap();
    session.ends().await;
    drop(link);

    let mut session = foe.session().await;
    session.sending.write_all(&[0, 0, 1, 0, 7]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    session.sending.reset(9_u32.into()).unwrap();
    session.ends().await;

    connections_fall_to(&server, before, 10);
    assert!(!server.share().join("cut").exists());
    serves_on(&server);
    neighbour.was_undisturbed();
}

#[test]
fn a_data_connection_needs_a_token_of_its_own_and_only_once() {
    driven(tokens());
}

async fn tokens() {
    let server = node("");
    let counts = Counts::of(&server);
    let neighbour = Neighbour::getting(&server);
    let (foe, other) = (Foe::new(&server), Foe::new(&server));
    let mut session = foe.session().await;
    let welcome = session.welcome.clone();
    let refused = |reason: &'static str| {
        let before = counts.refusals(reason);
        let counts = &counts;
        move || wait_until(reason, 10, || counts.refusals(reason) > before)
    };
    // None: it has the handshake time, 2 s here.
    let counted = refused("handshake_timeout");
    let silent = foe.data_silent(&welcome).await;
    timeout(PATIENCE, silent.closed()).await.expect("it stays open for ever");
    counted();
    // Unknown.
    let counted = refused("token");
    foe.data(&welcome, Token::from_bytes([7; 32])).await.expect_refused().await;
    counted();
    // Another peer's: his certificate says who he is.
    let counted = refused("token");
    other.data(&welcome, session.token(1)).await.expect_refused().await;
    counted();
    // Good, and then used up: the first link stays.
    let mut link = foe.data(&welcome, session.token(0)).await;
    session.say(&get(1, "share/small", 1000)).await;
    assert_eq!(link.next_transfer().await, 1);
    let counted = refused("token");
    foe.data(&welcome, session.token(0)).await.expect_refused().await;
    counted();
    session.say(&Message::Window(wire::Window { transfer: 1, limit: 2000 })).await;
    assert_eq!(link.next_transfer().await, 1);
    session.is_answered().await;
    serves_on(&server);
    neighbour.was_undisturbed();
}

/// What binds a token is the key, not the address: a peer behind two lines, or a translator that gives each connection another
/// address, has one identity and several addresses. Somebody else has another key, wherever he is.
#[test]
fn a_token_is_good_from_another_address_with_the_same_key_only() {
    driven(a_token_from_elsewhere());
}

async fn a_token_from_elsewhere() {
    let server = node("");
    let counts = Counts::of(&server);
    let foe = Foe::new(&server);
    let mut session = foe.session().await;
    let welcome = session.welcome.clone();
    let before = counts.refusals("token");
    let thief = Foe::new(&server).at(Ipv4Addr::new(127, 0, 0, 3));
    let stolen = session.token(1);
    thief.data(&welcome, stolen).await.expect_refused().await;
    wait_until("it is counted", 10, || counts.refusals("token") > before);
    let mut link = foe.at(Ipv4Addr::new(127, 0, 0, 3)).data(&welcome, session.token(0)).await;
    session.say(&get(1, "share/small", 1000)).await;
    assert_eq!(link.next_transfer().await, 1);
    session.say(&Message::Goodbye(Goodbye::new(GoodbyeCode::Done, ""))).await;
    timeout(PATIENCE, session.connection.closed()).await.expect("the end");
    serves_on(&server);
}

#[test]
fn four_hundred_handshakes_at_once_must_prove_their_address_and_keep_nobody_out() {
    driven(handshakes_by_the_hundred());
}

async fn handshakes_by_the_hundred() {
    let server = node("");
    let counts = Counts::of(&server);
    let neighbour = Neighbour::getting(&server);
    let before = server.metric("evenkeel_connections", &[]);
    let foe = Foe::new(&server);
    // First datagrams get through, answers do not: as from addresses that are not the sender's.
    let relay = one_way(foe.peers, Ipv4Addr::LOCALHOST);
    let tls = foe.tls(ALPN_CONTROL);
    let mut flood = Vec::new();
    for _ in 0..400 {
        flood.push(foe.endpoint.connect_with(ClientConfig::new(tls.clone()), relay, "evenkeel").unwrap());
        // No more than the relay's socket holds.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let unproven = (400 - UNPROVEN_MAX) as f64;
    wait_until("newcomers are asked for proof", 10, || counts.refusals("unproven") >= unproven);
    // Meanwhile somebody comes who is where he says.
    Foe::new(&server).session().await.is_answered().await;
    drop(flood);
    connections_fall_to(&server, before + 1.0, 15);
    serves_on(&server);
    neighbour.was_undisturbed();
}

/// Passes datagrams on to `target` as if they came from `sender`, and nothing back.
pub(crate) fn one_way(target: SocketAddr, sender: Ipv4Addr) -> SocketAddr {
    let near = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = near.local_addr().unwrap();
    // Until no more comes.
    near.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    thread::spawn(move || {
        let far = UdpSocket::bind((sender, 0)).unwrap();
        let mut room = [0; 2048];
        while let Ok(len) = near.recv(&mut room) {
            let _ = far.send_to(&room[..len], target);
        }
    });
    address
}

#[test]
fn datagrams_of_any_size_and_version_disturb_nobody() {
    driven(datagrams_of_any_size());
}

async fn datagrams_of_any_size() {
    let server = node("");
    let neighbour = Neighbour::getting(&server);
    let session = Foe::new(&server).session().await;
    let data: u16 = session.welcome.data_endpoint[1..].parse().unwrap();
    let control: SocketAddr = server.peers.parse().unwrap();
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut bytes = vec![0xa5; 65_000];
    for round in 0..200_u32 {
        for (first, len) in [(0x40, 20), (0xc0, 1200), (0xff, 1200), (0xc0, 1452), (0x40, 9000), (0xc0, 65_000)] {
            bytes[0] = first;
            // Version 1 and one that nobody has, in turns.
            bytes[1..5].copy_from_slice(&(1 + round % 2 * 0x1a2a_3a49).to_be_bytes());
            for port in [control.port(), data] {
                // A full buffer there is no matter of ours.
                let _ = socket.send_to(&bytes[..len], (Ipv4Addr::LOCALHOST, port));
            }
        }
    }
    serves_on(&server);
    neighbour.was_undisturbed();
}
