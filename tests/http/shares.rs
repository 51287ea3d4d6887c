//! An address is a peer: what it gets, what the API says of it, what an operator can do.

use std::{
    fs::File,
    io::Read as _,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    stage::{Wire, node},
    support::{
        Said as _, Server,
        steady::{self, Moment},
        turn::alone,
        wait_until,
    },
};

/// Short rounds, so that the tests are short.
const QUICK: &str = "[allocation]\ninterval = \"500ms\"\nearly = \"100ms\"\n";
/// Longer than any test takes; sparse.
const ENDLESS: u64 = 4 << 30;
const MB: f64 = 1e6;

fn endless(args: &[&str]) -> Server {
    let server = node(QUICK, args);
    File::create(server.share().join("endless.bin")).unwrap().set_len(ENDLESS).unwrap();
    server
}

/// Connections that fetch the endless file until the node ends them.
struct Fetcher {
    received: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl Fetcher {
    fn start(server: &Server, address: [u8; 4], connections: usize) -> Self {
        let received = Arc::new(AtomicU64::new(0));
        let fetch = |_| {
            let mut wire = Wire::from_address(server, IpAddr::from(address));
            wire.say("GET /share/endless.bin HTTP/1.1\r\nHost: h\r\nUser-Agent: fetcher/1\r\n\r\n");
            let received = received.clone();
            thread::spawn(move || {
                let mut bytes = vec![0; 1 << 16];
                while let Ok(count @ 1..) = wire.stream().read(&mut bytes) {
                    received.fetch_add(count as u64, Relaxed);
                }
            })
        };
        let threads = (0..connections).map(fetch).collect();
        Self { received, threads }
    }

    fn ended(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }
}

/// Bytes per second that arrive at each over `seconds`.
fn rates<const N: usize>(fetchers: [&Fetcher; N], seconds: f64) -> [f64; N] {
    let look = || (Moment::now(), fetchers.map(|fetcher| fetcher.received.load(Relaxed)));
    let (then, before) = look();
    steady::sleep(Duration::from_secs_f64(seconds));
    let (now, after) = look();
    std::array::from_fn(|index| (after[index] - before[index]) as f64 / (now - then).as_secs_f64())
}

fn achieved(server: &Server, id: &str) -> f64 {
    let (status, peer) = server.api("GET", &format!("/v1/peers/{id}"), None);
    if status == 200 { rate_of(&peer["upload"]) } else { 0.0 }
}

fn rate_of(direction: &Value) -> f64 {
    direction["achieved_bytes_per_second"].as_f64().unwrap()
}

fn find<'a>(list: &'a Value, key: &str, value: &str) -> Option<&'a Value> {
    list.as_array().unwrap().iter().find(|item| item[key] == value)
}

#[test]
fn two_addresses_share_evenly_though_one_opens_eight_connections() {
    alone();
    let server = endless(&["--upload-limit", "4MB/s"]);
    let many = Fetcher::start(&server, [127, 0, 0, 1], 8);
    let one = Fetcher::start(&server, [127, 0, 0, 2], 1);
    wait_until("both have their share", 20, || {
        ["http:127.0.0.1", "http:127.0.0.2"].iter().all(|id| (achieved(&server, id) - 2.0 * MB).abs() < 0.15 * MB)
    });
    let [of_many, of_one] = rates([&many, &one], 4.0);
    assert!((0.9..1.1).contains(&(of_many / of_one)), "{of_many} and {of_one}");
    assert!(of_many + of_one < 4.2 * MB && of_many + of_one > 3.0 * MB, "{of_many} and {of_one}");

    let peers = server.get("/v1/peers");
    let peer = find(&peers, "id", "http:127.0.0.1").unwrap_or_else(|| panic!("{peers}"));
    assert_eq!(
        (&peer["transport"], &peer["transfers"], &peer["agent"]),
        (&"http".into(), &8.into(), &"fetcher/1".into())
    );
    assert_eq!(peer["upload"]["binding"], "total");
    let transfers = server.get("/v1/transfers");
    let transfer = find(&transfers, "peer", "http:127.0.0.2").unwrap();
    assert_eq!((&transfer["path"], &transfer["size"]), (&"share/endless.bin".into(), &ENDLESS.into()));
    let explained = server.ctl(&["explain", "http:127.0.0.2"]).expect_code(0).out();
    assert!(explained.contains("held by total") && explained.contains("share/endless.bin"), "{explained}");
    assert!(server.ctl(&["peers"]).expect_code(0).out().contains("http:127.0.0.2"));
    assert!(server.metric("evenkeel_payload_bytes_total", &["transport=\"http\""]) > MB);
}

#[test]
fn a_peer_and_a_browser_share_evenly() {
    let server = endless(&["--upload-limit", "4MB/s"]);
    let (from, out) = (server.at("endless.bin"), server.path("out"));
    let getter = server.spawn_as("getter", &["get", &from, "-o", &out]);
    let id = server.run_as("getter", &["id"]).expect_code(0).out().lines().next().unwrap().to_owned();
    let browser = Fetcher::start(&server, [127, 0, 0, 1], 4);
    wait_until("both have their share", 20, || {
        [id.as_str(), "http:127.0.0.1"].iter().all(|id| (achieved(&server, id) - 2.0 * MB).abs() < 0.15 * MB)
    });
    let [of_browser] = rates([&browser], 3.0);
    assert!((1.5..2.3).contains(&(of_browser / MB)), "{of_browser}");
    getter.kill();
    wait_until("it has all", 20, || achieved(&server, "http:127.0.0.1") > 3.5 * MB);
}

/// What was shown was the rate of the answer under way, which is none between two.
#[test]
fn who_fetches_one_small_thing_after_the_other_is_shown_with_the_rate_of_all_of_them() {
    let server = node(QUICK, &["--upload-limit", "1MB/s"]);
    let mut wire = Wire::to(&server);
    thread::spawn(move || while wire.ask("GET", "/share/file.bin", "Range: bytes=0-29999\r\n").status == 206 {});
    let near = |rate: f64| (rate - MB).abs() < 0.1 * MB;
    let group = || {
        let groups = server.get("/v1/groups");
        find(&groups, "name", "default").unwrap()["upload"].clone()
    };
    let is_shown = || near(achieved(&server, "http:127.0.0.1")) && near(rate_of(&group()));
    wait_until("its rate is shown", 20, is_shown);
    for _ in 0..20 {
        assert!(is_shown(), "{} of the peer, {:?}", achieved(&server, "http:127.0.0.1"), group());
        thread::sleep(Duration::from_millis(50));
    }
    assert!(group()["bytes"].as_u64().unwrap() > 1_000_000, "those that have ended count: {:?}", group());
    // Between two it was held by nothing, and would have had 0 B/s without that.
    for _ in 0..20 {
        let peer = server.get("/v1/peers/http:127.0.0.1");
        assert!(peer["upload"]["binding"].is_string(), "{peer}");
        let of_group = group();
        let assigned = of_group["assigned_bytes_per_second"].as_u64().unwrap();
        assert!(assigned > 800_000 && of_group["binding"].is_string(), "{of_group}");
        let reason = &server.get("/v1/peers/http:127.0.0.1/explain")["reasons"][0];
        let told = |key: &str| reason["rates"][key].as_u64().unwrap_or_else(|| panic!("{key} of {reason}"));
        assert!(told("assigned_bytes_per_second") > 800_000, "{reason}");
        assert!(reason["if_lifted_bytes_per_second"].as_u64().is_none_or(|rate| rate > 800_000), "{reason}");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn an_operator_caps_and_disconnects_an_address() {
    let server = endless(&["--upload-limit", "8MB/s"]);
    let fetcher = Fetcher::start(&server, [127, 0, 0, 1], 2);
    let other = Fetcher::start(&server, [127, 0, 0, 2], 1);
    let is_there = || achieved(&server, "http:127.0.0.1") > MB && achieved(&server, "http:127.0.0.2") > MB;
    wait_until("both are there", 20, is_there);
    server.ctl(&["set", "peer", "http:127.0.0.1", "--upload-cap", "1MB/s"]).expect_code(0);
    wait_until("the cap holds", 20, || (achieved(&server, "http:127.0.0.1") - MB).abs() < 0.1 * MB);
    let [capped] = rates([&fetcher], 2.0);
    assert!(capped < 1.15 * MB, "{capped}");
    server.ctl(&["disconnect", "http:127.0.0.1"]).expect_code(0);
    wait_until("its connections are closed", 10, || fetcher.ended());
    assert!(!other.ended());
    // It may come back, and its cap is still there.
    let again = Fetcher::start(&server, [127, 0, 0, 1], 1);
    wait_until("it is back", 20, || again.received.load(Relaxed) > 1_000_000);
    wait_until("the cap holds", 20, || (achieved(&server, "http:127.0.0.1") - MB).abs() < 0.1 * MB);
}

#[test]
fn configured_caps_hold_and_an_idle_address_is_no_peer() {
    let config = format!("{QUICK}[[peer]]\nid = \"http:127.0.0.3\"\nupload_cap = \"1MB/s\"\n");
    let server = node(&config, &[]);
    let mut wire = Wire::from_address(&server, [127, 0, 0, 3].into());
    let began = Instant::now();
    assert_eq!(wire.get("file.bin", "").body.len(), 1_000_000);
    let took = began.elapsed();
    assert!(took > Duration::from_millis(700), "{took:?}");
    assert_eq!(server.get("/v1/transfers"), Value::Array(Vec::new()));
    wait_until("nobody is a peer", 20, || server.get("/v1/peers") == Value::Array(Vec::new()));
    assert_eq!(server.metric("evenkeel_http_connections", &[]), 1.0);
    assert_eq!(wire.get("file.bin", "Range: bytes=0-9\r\n").status, 206, "its connection lives");
}

/// Its floor counted against everybody else's, and no order could reach it.
#[test]
fn what_was_promised_to_a_peer_that_has_gone_can_be_taken_back() {
    let config = format!("{QUICK}[[peer]]\nid = \"http:127.0.0.3\"\nupload_floor = \"3MB/s\"\n");
    let server = node(&config, &["--upload-limit", "4MB/s"]);
    File::create(server.share().join("endless.bin")).unwrap().set_len(ENDLESS).unwrap();
    let _fetcher = Fetcher::start(&server, [127, 0, 0, 30], 1);
    wait_until("another is here", 20, || achieved(&server, "http:127.0.0.30") > MB);
    let set = |id: &str, floor: &str| server.ctl(&["set", "peer", id, "--upload-floor", floor]);
    let refused = set("http:127.0.0.30", "2MB/s").expect_code(1).err();
    assert!(refused.contains("floors add up to 5.0 MB/s") && refused.contains("http:127.0.0.3 "), "{refused}");
    let (status, peer) = server.api("GET", "/v1/peers/http:127.0.0.3", None);
    assert_eq!((status, &peer["upload"]["floor_bytes_per_second"]), (200, &3_000_000.into()));
    set("http:127.0.0.3", "off").expect_code(0);
    set("http:127.0.0.30", "2MB/s").expect_code(0);
    let unknown = set("http:127.0.0.31", "1MB/s").expect_code(1).err();
    assert!(unknown.contains("no peer http:127.0.0.31"), "{unknown}");
}

/// An address is a whole name: the first letters of another one's are not meant.
#[test]
fn an_order_for_an_address_is_for_no_other_that_begins_like_it() {
    let server = endless(&["--upload-limit", "4MB/s"]);
    let _fetcher = Fetcher::start(&server, [127, 0, 0, 30], 1);
    wait_until("it is here", 20, || achieved(&server, "http:127.0.0.30") > MB);
    let unknown = server.ctl(&["set", "peer", "http:127.0.0.3", "--upload-cap", "1MB/s"]).expect_code(1).err();
    assert!(unknown.contains("no peer http:127.0.0.3 is here"), "{unknown}");
    let (_, peer) = server.api("GET", "/v1/peers/http:127.0.0.30", None);
    assert_eq!(peer["upload"]["cap_bytes_per_second"], Value::Null);
}

#[test]
fn a_drain_lets_answers_end_and_begins_no_more() {
    let server = node(QUICK, &["--upload-limit", "1MB/s"]);
    let (mut busy, mut idle) = (Wire::to(&server), Wire::to(&server));
    assert_eq!(idle.get("file.bin", "Range: bytes=0-9\r\n").status, 206);
    busy.say("GET /share/file.bin HTTP/1.1\r\nHost: h\r\n\r\n");
    wait_until("it has begun", 10, || server.get("/v1/transfers") != Value::Array(Vec::new()));
    server.ctl(&["drain"]).expect_code(0);
    assert!(idle.is_closed());
    assert_eq!(busy.hear(true).body.len(), 1_000_000);
    assert!(busy.is_closed());
    assert_eq!(server.wait(30).0, 0);
}
