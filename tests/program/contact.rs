//! What a path sees of a client that comes for the first time, and of one that comes back: how many datagrams each way, and how
//! many round trips until the file is there (seed 000: one datagram each way).
//!
//! The client is the library's, in this process, doing what `evenkeel get` and `evenkeel ls` do: a session to come back with
//! ends with the process that has it.

use std::{
    fs,
    net::Ipv4Addr,
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use evenkeel::{
    identity::StateDir,
    node::{
        TransferProgress, TransportChoice,
        errands::{self, Errand, Landing, Manner},
        list,
        session::{Client, Wish},
    },
};
use flow::{Class, Rate};
use wire::DataLinks;

use crate::{
    nat::{Line, Nat, Way},
    path::node_behind,
    support::{Server, assert_same, noise, turn::alone},
};

/// Long against what a busy machine adds to a turn, so that a flight is told from the next.
const DELAY: Duration = Duration::from_millis(50);

const WISH: Wish =
    Wish { download: Rate::from_bytes_per_second(50_000_000), ..Wish::everything(TransportChoice::Quic) };

/// Notes when the file was there.
struct Watch(Arc<Mutex<Option<Instant>>>);

impl TransferProgress for Watch {
    fn planned(&mut self, _: u64, _: u64) {}
    fn started(&mut self, _: u32, _: &str, _: u64, _: u64) {}
    fn moved(&mut self, _: u32, _: u64) {}
    fn done(&mut self, _: u32) {
        *self.0.lock().unwrap() = Some(Instant::now());
    }
    fn failed(&mut self, _: u32, why: &str) {
        panic!("{why}");
    }
    fn note(&mut self, text: &str) {
        panic!("{text}");
    }
}

/// A node behind a long line.
struct Scene {
    server: Server,
    nat: Nat,
    control: u16,
    endpoint: String,
}

/// What came by on one port, each run of datagrams the same way as one.
type Flights = Vec<(Way, usize)>;

impl Scene {
    fn open() -> Self {
        let (node, near) = (Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 0, 0, 3));
        let (server, control) = node_behind(near, &[]);
        let line = Line { delay: DELAY, ..Line::default() };
        let nat = Nat::at_end_of(line, node.into(), near.into(), &[control, control + 1], node.into());
        noise(&server.share().join("a"), 1000, 1);
        Self { server, nat, control, endpoint: format!("{near}:{control}") }
    }

    fn client(&self) -> Client {
        self.client_with(WISH.data_links)
    }

    fn client_with(&self, data_links: DataLinks) -> Client {
        let state = StateDir::open(Some(Path::new(&self.server.owner()))).unwrap();
        Client::start(state, Wish { data_links, ..WISH }).unwrap()
    }

    fn flights(&self, port: u16) -> Flights {
        let mut flights = Flights::new();
        for seen in self.nat.seen().into_iter().filter(|seen| seen.port == port) {
            match flights.last_mut() {
                Some((way, datagrams)) if *way == seen.way => *datagrams += 1,
                _ => flights.push((seen.way, 1)),
            }
        }
        flights
    }

    /// Gets the file.
    async fn get(&self, client: &Client) -> Contact {
        let got = self.server.path("got");
        let _ = fs::remove_file(&got);
        self.nat.forget();
        let (file, tree) = (got.clone().into(), got.clone().into());
        let errand = Errand::Get { path: "share/a".to_owned(), landing: Landing::Chosen { file, tree } };
        let manner = Manner { weight: 1.0, class: Class::Foreground };
        let (began, done) = (Instant::now(), Arc::default());
        let mut watch = Watch(Arc::clone(&done));
        let outcome = errands::run(client, &self.endpoint, vec![errand], manner, &mut watch).await.unwrap();
        assert_eq!(outcome.done, 1);
        assert_same(self.server.share().join("a"), &got);
        let done = done.lock().unwrap().unwrap();
        self.contact(done - began).await
    }

    /// Lists the share.
    async fn list(&self, client: &Client) -> Contact {
        self.nat.forget();
        let began = Instant::now();
        let listed = list(client, &self.endpoint, "share", false).await.unwrap();
        let took = began.elapsed();
        assert_eq!(listed.entries.len(), 1);
        self.contact(took).await
    }

    /// Whether the answer was one datagram. What comes behind it in the same flight are connection ids for later
    /// (NEW_CONNECTION_ID, RFC 9000), which quinn sends unasked, and that the file is open, if it is so soon.
    fn is_answered_by_one(&self, contact: &Contact) -> bool {
        // 138 and 26 bytes. A welcome has more than a hundred.
        const BEHIND_BYTES_MAX: usize = 200;
        let (way, datagrams) = contact.control[1];
        assert_eq!(way, Way::Down);
        let seen = self.nat.seen().into_iter().filter(|seen| seen.way == Way::Down && seen.port == self.control);
        let behind: usize = seen.take(datagrams).skip(1).map(|seen| seen.bytes).sum();
        behind <= BEHIND_BYTES_MAX
    }

    async fn contact(&self, took: Duration) -> Contact {
        // Tickets come behind the last words.
        tokio::time::sleep(6 * DELAY).await;
        let round_trips = in_round_trips(took);
        let (control, data) = (self.flights(self.control), self.flights(self.control + 1));
        let (dialled, brought) = (self.dialled(), self.brought());
        println!("{round_trips:.2} round trips, data dialled after {dialled:?}, brought after {brought:?}");
        println!("control {control:?}; data {data:?}");
        Contact { round_trips, dialled, brought, control, data }
    }

    /// Round trips from the client's first datagram until it dialled data.
    fn dialled(&self) -> Option<f64> {
        let seen = self.nat.seen();
        let first = |port| seen.iter().find(|seen| seen.way == Way::Up && seen.port == port);
        Some(in_round_trips(first(self.control + 1)?.at - first(self.control)?.at))
    }

    /// Round trips from there until the file's bytes were with it, whether or not it knew yet what they are.
    fn brought(&self) -> Option<f64> {
        // A handshake in a padded datagram, and connection ids: all that comes without the file.
        const BESIDE_BYTES_MAX: usize = 1200 + 138;
        let seen = self.nat.seen();
        let began = seen.iter().find(|seen| seen.way == Way::Up && seen.port == self.control)?.at;
        let mut bytes = 0;
        let last = seen.iter().filter(|seen| seen.way == Way::Down && seen.port == self.control + 1).find(|seen| {
            bytes += seen.bytes;
            bytes > BESIDE_BYTES_MAX
        });
        Some(in_round_trips(last?.at + DELAY - began))
    }
}

/// One session, as the path saw it.
struct Contact {
    /// Until what was asked for was there.
    round_trips: f64,
    /// Until data was dialled, and until the file's bytes were there, where they were.
    dialled: Option<f64>,
    brought: Option<f64>,
    control: Flights,
    data: Flights,
}

/// A busy machine makes some later, none earlier.
fn soonest(contacts: &[Contact], what: impl Fn(&Contact) -> Option<f64>) -> f64 {
    contacts.iter().filter_map(what).fold(f64::INFINITY, f64::min)
}

fn in_round_trips(took: Duration) -> f64 {
    took.as_secs_f64() / (2 * DELAY).as_secs_f64()
}

#[test]
fn a_get_on_return_takes_one_datagram_each_way_and_then_its_data() {
    alone();
    let scene = Scene::open();
    actix_rt::System::new().block_on(async {
        let client = scene.client();
        let first = scene.get(&client).await;
        assert!((3.0..4.0).contains(&first.round_trips), "{}", first.round_trips);
        // The handshake, and no hello with it.
        assert_eq!(first.control[0], (Way::Up, 1));
        // Its data link has a ticket all the same: one that came with the welcome.
        assert_eq!(first.data[0], (Way::Up, 1), "{:?}", first.data);
        let (mut whole, mut lossy, mut answered_by_one) = (Vec::new(), Vec::new(), 0);
        for round in 0..6 {
            let loses = round % 2 == 1;
            // The second datagram of the node's answer.
            scene.nat.lose(scene.control, loses.then_some(1));
            let back = scene.get(&client).await;
            // Handshake, hello, rates and the get; handshake and token.
            let sent = (back.control[0], back.data[0]);
            assert_eq!(sent, ((Way::Up, 1), (Way::Up, 1)), "{:?} {:?}", back.control, back.data);
            answered_by_one += usize::from(scene.is_answered_by_one(&back));
            if loses { lossy.push(back) } else { whole.push(back) }
        }
        // Not always on a busy machine: the node answers in as many parts as it finds ready.
        assert!(answered_by_one >= 3, "{answered_by_one} of 6");
        // Acceptance, grant, data endpoint and token are in the first datagram: if the second is lost, data is dialled after one
        // round trip and comes after two all the same.
        for part in [&whole, &lossy] {
            let (dialled, brought) = (soonest(part, |back| back.dialled), soonest(part, |back| back.brought));
            assert!((1.0..1.8).contains(&dialled), "{dialled}");
            assert!((2.0..2.8).contains(&brought), "{brought}");
        }
        let [whole, lossy] = [&whole, &lossy].map(|part| soonest(part, |back| Some(back.round_trips)));
        assert!((2.0..2.8).contains(&whole), "{whole}");
        // With the second a word that the file is open may be lost, which is said again one round trip later.
        assert!((2.0..3.3).contains(&lossy), "{lossy}");
    });
}

/// The node's bytes come over a stream that it opens itself, once the token is there.
#[test]
fn a_get_on_return_over_a_link_that_carries_down_alone_takes_no_more() {
    alone();
    let scene = Scene::open();
    actix_rt::System::new().block_on(async {
        let client = scene.client_with(DataLinks { both: 0, down: 1, up: 0 });
        let first = scene.get(&client).await;
        assert!((3.0..4.0).contains(&first.round_trips), "{}", first.round_trips);
        let mut returns = Vec::new();
        for _ in 0..3 {
            let back = scene.get(&client).await;
            let sent = (back.control[0], back.data[0]);
            assert_eq!(sent, ((Way::Up, 1), (Way::Up, 1)), "{:?} {:?}", back.control, back.data);
            returns.push(back);
        }
        let soonest = soonest(&returns, |back| Some(back.round_trips));
        assert!((2.0..2.8).contains(&soonest), "{soonest}");
    });
}

#[test]
fn a_listing_on_return_takes_one_round_trip() {
    alone();
    let scene = Scene::open();
    actix_rt::System::new().block_on(async {
        let client = scene.client();
        let first = scene.list(&client).await;
        assert!((2.0..3.0).contains(&first.round_trips), "{}", first.round_trips);
        let mut returns = Vec::new();
        for _ in 0..3 {
            let back = scene.list(&client).await;
            assert_eq!(back.control[0], (Way::Up, 1), "{:?}", back.control);
            assert_eq!(back.data, [], "who only lists opens no data link");
            returns.push(back);
        }
        let soonest = soonest(&returns, |back| Some(back.round_trips));
        assert!((1.0..1.8).contains(&soonest), "{soonest}");
    });
}

/// Whatever the first page says, the command says it.
#[test]
fn a_listing_that_fails_with_its_first_page_says_why() {
    alone();
    let scene = Scene::open();
    actix_rt::System::new().block_on(async {
        let client = scene.client();
        let failure = list(&client, &scene.endpoint, "share/none", false).await.unwrap_err();
        assert!(failure.message.contains("none"), "{failure}");
    });
}
