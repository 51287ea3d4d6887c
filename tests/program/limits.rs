//! Limits on running transfers: what is ordered is in force, and `explain` names what holds a rate.
//!
//! Rates are measured over seconds. A busy machine can only make them less, so upper bounds are near and lower bounds far;
//! the exact figures belong to the benchmarks.

use std::{
    fs::File,
    ops::Range,
    time::Duration,
};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{
    Client, Said, Server,
    steady::{Moment, sleep},
    transport,
    turn::alone,
    wait_until,
};

/// Short rounds, so that the tests are short.
const QUICK: &str = "[allocation]\ninterval = \"500ms\"\nearly = \"100ms\"\n";
/// Longer than any test takes; sparse.
const ENDLESS: u64 = 4 << 30;
const MB: f64 = 1e6;

/// A node with one endless file.
fn node(config: &str, args: &[&str]) -> Server {
    let server = Server::with_config(&format!("{QUICK}{config}"), &[&["--open"], args].concat());
    File::create(server.share().join("endless.bin")).unwrap().set_len(ENDLESS).unwrap();
    server
}

/// Somebody who gets it, on the way.
fn getter(server: &Server, name: &str, args: &[&str]) -> Client {
    let (from, out) = (server.at("endless.bin"), server.path(&format!("{name}.out")));
    let client = server.spawn_as(name, &[&["get", &from, "-o", &out], args].concat());
    let id = id_of(server, name);
    wait_until("bytes flow", 20, || peer(server, &id).is_some_and(|peer| upload_bytes(&peer) > 0.0));
    client
}

fn id_of(server: &Server, name: &str) -> String {
    server.run_as(name, &["id"]).expect_code(0).out().lines().next().unwrap().to_owned()
}

fn peer(server: &Server, id: &str) -> Option<Value> {
    let (status, answer) = server.api("GET", &format!("/v1/peers/{id}"), None);
    (status == 200).then_some(answer)
}

fn upload_bytes(peer: &Value) -> f64 {
    peer["upload"]["bytes"].as_f64().unwrap()
}

/// Bytes per second that each peer gets over `seconds`.
fn rates<const N: usize>(server: &Server, ids: [&str; N], seconds: f64) -> [f64; N] {
    let look = || (Moment::now(), ids.map(|id| upload_bytes(&peer(server, id).expect("it is there"))));
    let (then, before) = look();
    sleep(Duration::from_secs_f64(seconds));
    let (now, after) = look();
    let elapsed = (now - then).as_secs_f64();
    std::array::from_fn(|index| (after[index] - before[index]) / elapsed)
}

#[track_caller]
fn assert_rate(rate: f64, megabytes_per_second: Range<f64>) {
    assert!(megabytes_per_second.contains(&(rate / MB)), "{} MB/s is not in {megabytes_per_second:?}", rate / MB);
}

/// What `explain` says of the peer's upload, and of its only transfer's.
fn bindings(server: &Server, id: &str) -> (String, String) {
    let explanation = server.get(&format!("/v1/peers/{id}/explain"));
    let binding = |of_peer: bool| {
        let reasons = explanation["reasons"].as_array().unwrap();
        let found =
            reasons.iter().find(|reason| (reason["subject"] == "peer") == of_peer && reason["direction"] == "upload");
        found.map(|reason| reason["binding"].as_str().unwrap().to_owned()).unwrap_or_default()
    };
    (binding(true), binding(false))
}

#[track_caller]
fn await_binding(server: &Server, id: &str, expected: &str) {
    let mut last = Default::default();
    for _ in 0..100 {
        last = bindings(server, id);
        if last.1 == expected {
            return;
        }
        sleep(Duration::from_millis(100));
    }
    panic!(
        "{expected} does not become what holds it; (peer, transfer) is {last:?}\n{}",
        server.get(&format!("/v1/peers/{id}/explain"))
    );
}

#[test]
fn a_total_changed_live_is_in_force() {
    let server = node("", &["--upload-limit", "3MB/s"]);
    let (_one, _two) = (getter(&server, "one", &[]), getter(&server, "two", &[]));
    let (one, two) = (id_of(&server, "one"), id_of(&server, "two"));
    let before = rates(&server, [&one, &two], 2.0);
    assert_rate(before.iter().sum(), 1.3..3.2);
    server.ctl(&["limit", "--upload", "1MB/s"]).expect_code(0);
    // What was in the sockets already was counted when it went there.
    sleep(Duration::from_millis(300));
    let after = rates(&server, [&one, &two], 3.0);
    assert_rate(after.iter().sum(), 0.4..1.1);
    after.iter().for_each(|rate| assert_rate(*rate, 0.15..0.8));
    await_binding(&server, &one, "total");
    assert_eq!(server.get("/v1/limits")["upload"]["limit_bytes_per_second"], 1_000_000);
}

#[test]
fn a_peer_s_cap_and_weight_hold_on_a_running_transfer() {
    alone();
    let server = node("", &["--upload-limit", "2MB/s"]);
    let (_one, _two) = (getter(&server, "one", &[]), getter(&server, "two", &[]));
    let (one, two) = (id_of(&server, "one"), id_of(&server, "two"));
    server.ctl(&["set", "peer", &one[..8], "--upload-cap", "300KB/s"]).expect_code(0);
    sleep(Duration::from_millis(500));
    let [capped, free] = rates(&server, [&one, &two], 3.0);
    assert_rate(capped, 0.1..0.36);
    assert_rate(free, 0.8..1.9);
    await_binding(&server, &one, "peer_cap");
    await_binding(&server, &two, "total");
    server.ctl(&["set", "peer", &one, "--upload-cap", "off", "--weight", "2"]).expect_code(0);
    sleep(Duration::from_secs(1));
    let [heavy, light] = rates(&server, [&one, &two], 3.0);
    assert!((1.4..2.8).contains(&(heavy / light)), "{heavy} : {light}");
}

#[test]
fn explain_names_what_a_peer_asked_for_and_a_transfer_s_cap() {
    let server = node("", &["--upload-limit", "20MB/s"]);
    let _one = getter(&server, "one", &["--bwlimit", "1MB/s"]);
    let one = id_of(&server, "one");
    await_binding(&server, &one, "negotiated");
    assert_rate(rates(&server, [&one], 2.0)[0], 0.4..1.1);
    let transfers = server.get("/v1/transfers");
    let transfer = transfers[0]["id"].as_str().unwrap();
    server.ctl(&["set", "transfer", transfer, "--upload-cap", "400KB/s"]).expect_code(0);
    await_binding(&server, &one, "transfer_cap");
    sleep(Duration::from_millis(500));
    assert_rate(rates(&server, [&one], 2.5)[0], 0.15..0.5);
    let words = server.ctl(&["explain", &one[..6]]).expect_code(0).out();
    assert!(words.contains("held by transfer_cap; without that, 1.0 MB/s"), "{words}");
}

#[test]
fn explain_names_a_receiver_that_takes_nothing() {
    let server = node("", &["--upload-limit", "20MB/s"]);
    let slow = getter(&server, "one", &[]);
    let one = id_of(&server, "one");
    slow.signal(Signal::STOP);
    // Over TCP the kernel still acknowledges what nobody reads; over QUIC who is stopped does not even do that.
    let held_by = if transport() == "quic" { "network" } else { "receiver" };
    await_binding(&server, &one, held_by);
    slow.signal(Signal::CONT);
    await_binding(&server, &one, "total");
}

#[test]
fn a_group_s_cap_holds_all_its_peers() {
    let group = "[[group]]\nname = \"here\"\naddresses = [\"127.0.0.0/8\"]\nupload_cap = \"1MB/s\"\n";
    let server = node(group, &["--upload-limit", "20MB/s"]);
    let (_one, _two) = (getter(&server, "one", &[]), getter(&server, "two", &[]));
    let (one, two) = (id_of(&server, "one"), id_of(&server, "two"));
    await_binding(&server, &one, "group");
    let both = rates(&server, [&one, &two], 3.0);
    assert_rate(both.iter().sum(), 0.4..1.1);
    server.ctl(&["set", "group", "here", "--upload-cap", "3MB/s"]).expect_code(0);
    sleep(Duration::from_millis(500));
    assert_rate(rates(&server, [&one, &two], 2.0).iter().sum(), 1.2..3.2);
    let groups = server.get("/v1/groups");
    let here = groups.as_array().unwrap().iter().find(|group| group["name"] == "here").unwrap();
    assert_eq!((&here["peers"], &here["transfers"]), (&2.into(), &2.into()), "{here}");
}

#[test]
fn background_yields_to_foreground_and_takes_what_is_left() {
    let server = node("", &["--upload-limit", "2MB/s"]);
    let _back = getter(&server, "back", &["--background"]);
    let back = id_of(&server, "back");
    sleep(Duration::from_millis(500));
    assert_rate(rates(&server, [&back], 2.0)[0], 0.8..2.1);
    let front_client = getter(&server, "front", &[]);
    let front = id_of(&server, "front");
    await_binding(&server, &back, "background_yield");
    sleep(Duration::from_millis(500));
    let [behind, ahead] = rates(&server, [&back, &front], 3.0);
    assert_rate(ahead, 0.8..2.1);
    assert_rate(behind, 0.005..0.3);
    // Not killed: over UDP nobody would say so.
    front_client.signal(Signal::TERM);
    wait_until("foreground is gone", 10, || peer(&server, &front).is_none());
    sleep(Duration::from_secs(1));
    assert_rate(rates(&server, [&back], 2.0)[0], 0.8..2.1);
}

#[test]
fn downloads_are_limited_as_uploads_are() {
    let server = node("", &["--download-limit", "3MB/s"]);
    let (local, to) = (server.path("share/endless.bin"), server.at("copy.bin"));
    let _put = server.spawn(&["put", &local, &to]);
    let id = server.id.clone();
    let bytes = || peer(&server, &id).map_or(0.0, |peer| peer["download"]["bytes"].as_f64().unwrap());
    wait_until("bytes flow", 20, || bytes() > 0.0);
    let measure = |seconds: f64| {
        let (then, before) = (Moment::now(), bytes());
        sleep(Duration::from_secs_f64(seconds));
        (bytes() - before) / then.elapsed().as_secs_f64()
    };
    sleep(Duration::from_millis(500));
    assert_rate(measure(2.5), 1.2..3.2);
    server.ctl(&["limit", "--download", "1MB/s"]).expect_code(0);
    sleep(Duration::from_secs(1));
    assert_rate(measure(2.5), 0.4..1.15);
}

/// Both in the mode that their rates give them, and in bulk from the first byte on.
#[test]
fn a_slow_and_a_fast_put_share_a_download_limit_and_nothing_piles_up() {
    for (on, off, of_the_slow) in [("2MB/s", "1MB/s", "precise"), ("2B/s", "1B/s", "bulk")] {
        let modes = format!("[shaping]\nbulk_on = \"{on}\"\nbulk_off = \"{off}\"\n");
        let server = node(&modes, &["--download-limit", "6MB/s"]);
        let rights: String =
            ["slow", "fast"].iter().map(|name| format!("{} read,write\n", id_of(&server, name))).collect();
        std::fs::write(format!("{}/authorized_peers", server.owner()), rights).unwrap();
        let local = server.path("share/endless.bin");
        let put = |name: &str, args: &[&str]| {
            let to = server.at(&format!("{name}.bin"));
            server.spawn_as(name, &[&["put", &local, &to], args].concat())
        };
        let (slow, fast) = (id_of(&server, "slow"), id_of(&server, "fast"));
        let received = |id: &str| peer(&server, id).map_or(0.0, |peer| peer["download"]["bytes"].as_f64().unwrap());
        sleep(Duration::from_secs(2)); // The rights are read once a second.
        let _clients = (put("slow", &["--bwlimit", "500KB/s"]), put("fast", &[]));
        wait_until("both flow", 20, || received(&slow) > 0.0 && received(&fast) > 0.0);
        sleep(Duration::from_secs(2));
        let (memory, then, before) = (server.memory_bytes(), Moment::now(), [received(&slow), received(&fast)]);
        sleep(Duration::from_secs(4));
        let elapsed = then.elapsed().as_secs_f64();
        let [of_slow, of_fast] =
            [(&slow, before[0]), (&fast, before[1])].map(|(id, before)| (received(id) - before) / elapsed);
        assert_rate(of_slow, 0.2..0.56);
        assert_rate(of_fast, 2.5..6.1);
        assert_rate(of_slow + of_fast, 2.7..6.2);
        // Senders that could go at gigabytes per second are held back by their sockets: 16 MB more were read meanwhile, and a link
        // holds three pieces at most.
        let grown = server.memory_bytes().saturating_sub(memory);
        assert!(grown < 6 << 20, "{grown} bytes more");
        let mode = |id: &str| {
            let views = server.get("/v1/transfers");
            let view = views.as_array().unwrap().iter().find(|view| view["peer"] == id).cloned().unwrap();
            view["mode"].as_str().unwrap().to_owned()
        };
        assert_eq!((mode(&slow).as_str(), mode(&fast).as_str()), (of_the_slow, "bulk"));
    }
}
