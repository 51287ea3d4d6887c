//! What is said before a handshake is done (0-RTT), by somebody who copied it on its way, and by somebody who says it and never
//! comes: heard once at most, and of it only what may come twice; and it keeps nobody out.

use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

use evenkeel::transport::client_config;
use quinn::{ClientConfig, Connection, RecvStream, SendStream, crypto::rustls::QuicClientConfig};
use rustls::client::Resumption;
use wire::{ALPN_CONTROL, ALPN_DATA, DesiredRates, FrameDecoder, Hello, List, Message, Put, Welcome};

use super::{Foe, Session, driven, one_way};
use crate::{
    foe::{frames, get, hello},
    stage::{Counts, Neighbour, connections_fall_to, node, node_waiting, serves_on},
    support::{Server, steady::steadily, wait_until},
};

/// What the node is told in the hello, and what it is told behind it.
const DESIRED: u64 = 55_555;
const DESIRED_LATER: u64 = 77_777;

/// Somebody who has been there and has tickets: one gives three, and each is good once.
struct Returning {
    foe: Foe,
    config: ClientConfig,
}

impl Returning {
    async fn after(foe: Foe, visits: u32) -> Self {
        let mut tls = (*client_config(&foe.credentials, ALPN_CONTROL).unwrap()).clone();
        tls.enable_early_data = true;
        tls.resumption = Resumption::in_memory_sessions(8);
        let config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
        let this = Self { foe, config };
        for _ in 0..visits {
            let connection = this.foe.connect(this.foe.peers, this.config.clone()).await;
            let mut session = Session::over(connection).await;
            // A ticket comes behind the handshake, and has come with this at the latest.
            session.is_answered().await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        this
    }

    /// Says `messages` with its first datagram; `None`: it has no ticket left.
    async fn say(&self, address: SocketAddr, messages: &[Message]) -> Option<(Connection, SendStream, RecvStream)> {
        let connecting = self.foe.endpoint.connect_with(self.config.clone(), address, "evenkeel").unwrap();
        let (connection, _) = connecting.into_0rtt().ok()?;
        let (mut sending, receiving) = connection.open_bi().await.unwrap();
        sending.write_all(&frames(messages)).await.unwrap();
        Some((connection, sending, receiving))
    }
}

/// A hello with all that may be said with it, and with all that may not.
fn flight() -> [Message; 4] {
    [
        Message::Hello(Hello { download: DESIRED, ..hello() }),
        get(1, "share/small", 1000),
        Message::Put(Put { transfer: 3, path: "share/forged".into(), size: 10, ..Put::default() }),
        Message::DesiredRates(DesiredRates { upload: 0, download: DESIRED_LATER }),
    ]
}

/// A relay that keeps the first flight of who comes by.
struct Tap {
    address: SocketAddr,
    /// Towards the node: whoever sends over it is who came by.
    far: UdpSocket,
    flight: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Tap {
    /// Where it is not open nothing gets through.
    fn before(target: SocketAddr, is_open: bool) -> Self {
        let near = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let far = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        far.connect(target).unwrap();
        let flight = Arc::<Mutex<Vec<_>>>::default();
        let client = Arc::<Mutex<Option<SocketAddr>>>::default();
        let tap = Self { address: near.local_addr().unwrap(), far: far.try_clone().unwrap(), flight: flight.clone() };
        let answered = Arc::new(AtomicBool::new(false));
        // Both end when nothing comes any more.
        for socket in [&near, &far] {
            socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        }
        let (home, to, is_back, came) =
            (near.try_clone().unwrap(), far.try_clone().unwrap(), answered.clone(), client.clone());
        thread::spawn(move || {
            let mut room = [0; 2048];
            while let Ok((len, from)) = near.recv_from(&mut room) {
                *came.lock().unwrap() = Some(from);
                if !is_back.load(SeqCst) {
                    flight.lock().unwrap().push(room[..len].to_vec());
                }
                if is_open {
                    let _ = to.send(&room[..len]);
                }
            }
        });
        thread::spawn(move || {
            let mut room = [0; 2048];
            while let Ok(len) = far.recv(&mut room) {
                answered.store(true, SeqCst);
                let client = *client.lock().unwrap();
                let _ = client.map(|client| home.send_to(&room[..len], client));
            }
        });
        tap
    }

    /// The first flight, whole.
    async fn flight(&self) -> Vec<Vec<u8>> {
        wait_until("a first flight", 10, || !self.flight.lock().unwrap().is_empty());
        // It may be of two datagrams. What is lost is sent again after a second.
        tokio::time::sleep(Duration::from_millis(200)).await;
        self.flight.lock().unwrap().clone()
    }
}

fn says_desired(server: &Server, rate: u64) -> bool {
    server.api("GET", "/v1/peers", None).1.to_string().contains(&rate.to_string())
}

#[test]
fn a_stolen_first_flight_is_heard_once_and_changes_nothing() {
    driven(stolen());
}

/// The thief let nothing through to the node, and nobody else can go on with the handshake.
async fn stolen() {
    let server = node("");
    let counts = Counts::of(&server);
    // Who may write, too.
    let owner = Returning::after(Foe::owner(&server), 1).await;
    let neighbour = Neighbour::getting(&server);
    wait_until("the first visit is over", 10, || server.metric("evenkeel_sessions", &[]) == 1.0);
    let (joins, uploads) = (server.metric("evenkeel_joins_total", &[]), ["direction=\"upload\""]);
    let connections = server.metric("evenkeel_connections", &[]);

    let tap = Tap::before(owner.foe.peers, false);
    let victim = owner.say(tap.address, &flight()).await.expect("a ticket");
    let stolen = tap.flight().await;
    let timeouts = counts.refusals("handshake_timeout");
    let send = |from: Ipv4Addr| {
        let thief = UdpSocket::bind((from, 0)).unwrap();
        for datagram in &stolen {
            thief.send_to(datagram, owner.foe.peers).unwrap();
        }
        // What is sent to a closed port is told to who sends: kept open.
        thief
    };
    let first = send(Ipv4Addr::new(127, 0, 0, 5));
    wait_until("the hello is heard", 5, || server.metric("evenkeel_sessions", &[]) == 2.0);
    wait_until("the get is heard", 5, || server.metric("evenkeel_transfers", &uploads) == 2.0);
    assert!(says_desired(&server, DESIRED));
    let copies: Vec<UdpSocket> = (0..20).map(|copy| send(Ipv4Addr::new(127, 0, 0, 5 + copy % 2))).collect();
    // It has the handshake time, 2 s here, and ends.
    wait_until("no session is left over", 10, || {
        assert!(!says_desired(&server, DESIRED_LATER), "limits were changed by who has proven nothing");
        assert!(!server.share().join("forged.part").exists(), "a put was heard from who has proven nothing");
        assert!(server.metric("evenkeel_transfers", &["direction=\"download\""]) == 0.0);
        server.metric("evenkeel_sessions", &[]) == 1.0
    });
    wait_until("it is counted", 10, || counts.refusals("handshake_timeout") > timeouts);
    wait_until("no transfer is left over", 5, || server.metric("evenkeel_transfers", &uploads) == 1.0);
    // The ticket is used up: nobody hears the same words again.
    let late = send(Ipv4Addr::new(127, 0, 0, 7));
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(server.metric("evenkeel_joins_total", &[]), joins + 1.0, "a copy was heard");
    connections_fall_to(&server, connections, 15);
    drop((victim, first, copies, late));
    serves_on(&server);
    neighbour.was_undisturbed();
}

#[test]
fn a_copied_first_flight_does_nothing_beside_the_true_one() {
    driven(copied());
}

async fn copied() {
    let server = node("");
    let owner = Returning::after(Foe::owner(&server), 1).await;
    let neighbour = Neighbour::getting(&server).with_share(0.5);
    wait_until("the first visit is over", 10, || server.metric("evenkeel_sessions", &[]) == 1.0);
    let (joins, uploads) = (server.metric("evenkeel_joins_total", &[]), ["direction=\"upload\""]);
    let connections = server.metric("evenkeel_connections", &[]);

    let tap = Tap::before(owner.foe.peers, true);
    let (connection, sending, receiving) = owner.say(tap.address, &flight()).await.expect("a ticket");
    let (decoder, welcome) = (FrameDecoder::default(), Welcome::default());
    let mut session = Session { connection, sending, receiving, decoder, welcome };
    // Now that it is there, its put is heard as well.
    session.hear(|message| matches!(message, Message::Ready(ready) if ready.transfer == 3).then_some(())).await;
    wait_until("its rates are heard", 5, || says_desired(&server, DESIRED_LATER));
    let flight = tap.flight().await;
    let strangers =
        [Ipv4Addr::new(127, 0, 0, 5), Ipv4Addr::new(127, 0, 0, 6)].map(|ip| UdpSocket::bind((ip, 0)).unwrap());
    for _ in 0..20 {
        for datagram in &flight {
            // From where it came, and from elsewhere.
            tap.far.send(datagram).unwrap();
            for stranger in &strangers {
                stranger.send_to(datagram, owner.foe.peers).unwrap();
            }
        }
    }
    session.is_answered().await;
    assert_eq!(server.metric("evenkeel_transfers", &uploads), 2.0, "the neighbour's and the one get");
    assert_eq!(server.metric("evenkeel_sessions", &[]), 2.0);
    tokio::time::sleep(Duration::from_millis(300)).await;
    session.is_answered().await;
    assert_eq!(server.metric("evenkeel_joins_total", &[]), joins + 1.0, "a copy was heard");
    drop(session);
    connections_fall_to(&server, connections, 15);
    wait_until("one session is left", 10, || server.metric("evenkeel_sessions", &[]) == 1.0);
    serves_on(&server);
    neighbour.was_undisturbed();
}

#[test]
fn hellos_of_those_who_never_come_leave_sessions_to_those_who_do() {
    driven(never_coming());
}

/// Each has a ticket of its own. Answers do not get through: as from addresses that are not the sender's.
async fn never_coming() {
    let server = node("max = 8\n");
    let counts = Counts::of(&server);
    let mut crowd = Vec::new();
    for _ in 0..3 {
        crowd.push(Returning::after(Foe::new(&server), 3).await);
    }
    let neighbour = Neighbour::getting(&server);
    wait_until("the visits are over", 10, || server.metric("evenkeel_sessions", &[]) == 1.0);
    let before = server.metric("evenkeel_connections", &[]);
    let relay = one_way(crowd[0].foe.peers, Ipv4Addr::LOCALHOST);
    let mut flights = Vec::new();
    for returning in &crowd {
        while let Some(flight) = returning.say(relay, &[Message::Hello(hello())]).await {
            flights.push(flight);
        }
    }
    assert!(flights.len() > 12, "{} tickets", flights.len());
    wait_until("some are heard", 5, || server.metric("evenkeel_sessions", &[]) > 1.0);
    // Whoever is there is taken, as often as there is room.
    for _ in 0..3 {
        serves_on(&server);
        let sessions = server.metric("evenkeel_sessions", &[]);
        assert!(sessions <= 1.0 + 2.0 + 1.0, "{sessions}: the neighbour's, a quarter, and a newcomer's that goes");
    }
    assert_eq!(counts.refusals("full"), 0.0);
    let timeouts = flights.len() as f64;
    wait_until("all are counted", 20, || counts.refusals("handshake_timeout") >= timeouts);
    wait_until("none is left", 10, || server.metric("evenkeel_sessions", &[]) == 1.0);
    drop(flights);
    connections_fall_to(&server, before, 15);
    serves_on(&server);
    neighbour.was_undisturbed();
}

/// All that comes back for `flight`, bytes, whose sender never answers.
fn answered(node: SocketAddr, flight: &[Vec<u8>]) -> usize {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    // Longer than from one asking whether anybody is there to the next.
    socket.set_read_timeout(Some(Duration::from_secs(4))).unwrap();
    for datagram in flight {
        socket.send_to(datagram, node).unwrap();
    }
    let mut room = [0; 2048];
    std::iter::from_fn(|| socket.recv(&mut room).ok()).sum()
}

#[test]
fn nobody_is_sent_more_than_three_times_what_he_sent_before_he_has_proven_his_address() {
    steadily(|| {
        driven(unproven());
    });
}

/// With a handshake or with more, on both kinds of sockets, for as long as a handshake may take and longer.
async fn unproven() {
    // The node asks again after one second and after three.
    let server = node_waiting("5s", "");
    let newcomer = Foe::new(&server);
    let returning = Returning::after(Foe::new(&server), 1).await;
    let session = newcomer.session().await;
    let (control, data) = (newcomer.peers, newcomer.data_address(&session.welcome));
    let mut flights = Vec::new();
    for (address, alpn) in [(control, ALPN_CONTROL), (data, ALPN_DATA)] {
        let tap = Tap::before(address, false);
        let config = ClientConfig::new(newcomer.tls(alpn));
        let _connecting = newcomer.endpoint.connect_with(config, tap.address, "evenkeel").unwrap();
        flights.push((address, tap.flight().await));
    }
    let tap = Tap::before(control, false);
    let list = Message::List(List { request: 1, path: "share".into(), ..List::default() });
    let words = [Message::Hello(hello()), get(1, "share/small", 1000), list];
    let _said = returning.say(tap.address, &words).await.expect("a ticket");
    flights.push((control, tap.flight().await));
    let threads: Vec<_> = flights
        .into_iter()
        .map(|(address, flight)| {
            let sent: usize = flight.iter().map(Vec::len).sum();
            (sent, thread::spawn(move || answered(address, &flight)))
        })
        .collect();
    for (sent, answers) in threads {
        let answers = answers.join().unwrap();
        assert!(answers > 2 * sent && answers <= 3 * sent, "{answers} bytes for {sent}");
    }
    drop(session);
    serves_on(&server);
}
