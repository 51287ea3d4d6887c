//! When an answer changes its mode, and that it does not swing.

use std::{
    fs::File,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread::JoinHandle,
};

use crate::{
    stage::{Wire, fetch, node},
    support::{Said as _, Server, wait_until},
};

/// Short rounds: what is explained is what the last one planned. Marks that a busy machine reaches.
const QUICK: &str =
    "[allocation]\ninterval = \"500ms\"\nearly = \"100ms\"\n[shaping]\nbulk_on = \"2MB/s\"\nbulk_off = \"1MB/s\"\n";
/// As many addresses as sit on a mark at one time.
const READERS: u8 = 4;
/// The marks.
const ON: u64 = 2_000_000;
const OFF: u64 = 1_000_000;

/// One address with one answer that does not end.
struct Reader {
    peer: String,
    received: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

fn readers(server: &Server, count: u8) -> Vec<Reader> {
    File::create(server.share().join("endless.bin")).unwrap().set_len(64 << 30).unwrap();
    let reader = |index| {
        let (received, from) = (Arc::new(AtomicU64::new(0)), [127, 0, 0, 2 + index]);
        let thread = fetch(Wire::from_address(server, from.into()), received.clone());
        Reader { peer: format!("http:127.0.0.{}", from[3]), received, thread }
    };
    (0..count).map(reader).collect()
}

/// Waits until each reader has received that much more.
fn more(readers: &[Reader], bytes: u64) {
    let before: Vec<u64> = readers.iter().map(|reader| reader.received.load(Relaxed)).collect();
    let came = |(reader, before): (&Reader, &u64)| reader.received.load(Relaxed) - before > bytes;
    wait_until("bytes come", 20, || readers.iter().zip(&before).all(came));
}

fn set_limit(server: &Server, bytes_per_second: u64) {
    server.ctl(&["limit", "--upload", &format!("{bytes_per_second}B/s")]).expect_code(0);
}

/// Switches so far, to bulk and to precise.
fn switches(server: &Server) -> [f64; 2] {
    ["bulk", "precise"].map(|to| server.metric("evenkeel_mode_switches_total", &["upload", &format!("to=\"{to}\"")]))
}

fn is_explained_as(server: &Server, peer: &str, mode: &str) -> bool {
    server.ctl(&["explain", peer]).out().contains(&format!("its link is in {mode} mode"))
}

/// The mode that the API and `explain` agree on.
fn mode(server: &Server, peer: &str) -> Option<String> {
    let views = server.get("/v1/transfers");
    let view = views.as_array()?.iter().find(|view| view["peer"] == peer)?;
    let mode = view["mode"].as_str()?;
    is_explained_as(server, peer, mode).then(|| mode.to_owned())
}

#[test]
fn answers_whose_rate_sits_on_a_mark_do_not_swing() {
    let each = |rate: u64| rate * u64::from(READERS);
    let server = node(QUICK, &["--upload-limit", &format!("{}B/s", each(ON))]);
    let readers = readers(&server, READERS);
    let explained = || readers.iter().all(|reader| mode(&server, &reader.peer).is_some());
    // Five seconds on the upper mark: at most once up, and never down.
    more(&readers, 5 * ON);
    let [up, down] = switches(&server);
    assert!(up <= f64::from(READERS) && down == 0.0, "{up} up, {down} down");
    wait_until("each is explained", 10, explained);
    // All of them far above it, so that each comes to the lower one in bulk.
    set_limit(&server, each(4 * ON));
    let bulk = || readers.iter().all(|reader| mode(&server, &reader.peer).as_deref() == Some("bulk"));
    wait_until("all are bulk", 10, bulk);
    assert_eq!(switches(&server), [f64::from(READERS), 0.0]);
    // Five seconds on the lower mark: at most once down, and never up.
    set_limit(&server, each(OFF));
    more(&readers, 5 * OFF);
    let [up, down] = switches(&server);
    assert!(up == f64::from(READERS) && down <= f64::from(READERS), "{up} up, {down} down");
    wait_until("each is explained", 10, explained);
    drop(server);
    readers.into_iter().for_each(|reader| reader.thread.join().unwrap());
}

#[test]
fn an_answer_that_is_let_run_and_held_back_again_switches_once_each_way() {
    const SLOW: u64 = 300_000;
    const FAST: u64 = 20_000_000;
    let server = node(QUICK, &["--upload-limit", &format!("{SLOW}B/s")]);
    let readers = readers(&server, 1);
    let stays = |expected: [f64; 2], mode: &str, bytes: u64| {
        wait_until(mode, 20, || is_explained_as(&server, &readers[0].peer, mode));
        assert_eq!(switches(&server), expected, "{mode}");
        more(&readers, bytes);
        assert_eq!(switches(&server), expected, "still {mode}");
    };
    stays([0.0, 0.0], "precise", 2 * SLOW);
    set_limit(&server, FAST);
    stays([1.0, 0.0], "bulk", 2 * FAST);
    set_limit(&server, SLOW);
    stays([1.0, 1.0], "precise", 2 * SLOW);
    drop(server);
    readers.into_iter().for_each(|reader| reader.thread.join().unwrap());
}
