//! How a node ends: transfers first, then itself; nobody new meanwhile; a second signal does not wait.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::{Client, Said, Server, assert_same, noise, wait_until};

/// A node with a get that takes three seconds more.
fn at_work() -> (Server, Client) {
    let server = Server::start(&["--open", "--upload-limit", "1MB/s"]);
    noise(&server.share().join("a.bin"), 3_500_000, 1);
    let client = server.spawn_as("one", &["get", &server.at("a.bin"), "-o", &server.path("out")]);
    wait_until("bytes flow", 20, || server.metric("evenkeel_payload_bytes_total", &["upload"]) > 0.0);
    (server, client)
}

fn assert_drains(order: impl FnOnce(&Server)) {
    let (server, client) = at_work();
    order(&server);
    wait_until("it drains", 10, || {
        let said = server.run(&["ls", &server.at("")]);
        said.code() != 0 && said.err().contains("going down") || said.code() == 69
    });
    let (code, words) = client.wait(30);
    assert_eq!(code, 0, "{words}");
    assert_same(server.path("share/a.bin"), server.path("out"));
    let (code, words) = server.wait(20);
    assert_eq!(code, 0, "{words}");
}

#[test]
fn a_drain_lets_transfers_end_and_then_the_node_stops() {
    assert_drains(|server| {
        server.ctl(&["drain"]).expect_code(0);
        assert_eq!(server.get("/v1/status")["state"], "draining");
    });
}

#[test]
fn sigterm_drains() {
    assert_drains(|server| server.signal(Signal::TERM));
}

#[test]
fn a_second_signal_does_not_wait() {
    let (server, client) = at_work();
    server.signal(Signal::INT);
    wait_until("it drains", 10, || server.words().contains("draining"));
    std::thread::sleep(Duration::from_millis(200));
    let began = Instant::now();
    server.signal(Signal::TERM);
    let (code, words) = server.wait(10);
    assert!(began.elapsed() < Duration::from_secs(8), "{words}");
    assert_eq!(code, 75, "{words}");
    assert!(words.contains("forced to end by a second signal; sessions cut off: 1"), "{words}");
    client.kill();
}

#[test]
fn an_idle_node_stops_at_once() {
    let server = Server::start::<&str>(&[]);
    let began = Instant::now();
    server.signal(Signal::TERM);
    let (code, words) = server.wait(20);
    assert_eq!(code, 0, "{words}");
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_drain_s_deadline_ends_what_takes_too_long() {
    let server = Server::with_config("[node]\ndrain = \"1s\"\n", &["--open", "--upload-limit", "200KB/s"]);
    noise(&server.share().join("a.bin"), 10_000_000, 1);
    let client = server.spawn_as("one", &["get", &server.at("a.bin"), "-o", &server.path("out")]);
    wait_until("bytes flow", 20, || server.metric("evenkeel_payload_bytes_total", &["upload"]) > 0.0);
    server.ctl(&["drain"]).expect_code(0);
    let (code, words) = server.wait(15);
    assert_eq!(code, 75, "{words}");
    assert!(words.contains("the time to drain was over; sessions cut off: 1"), "{words}");
    wait_until("the client dials again", 10, || client.words().contains("going down now; trying again"));
    client.kill();
}

#[test]
fn a_client_that_is_told_to_end_says_so_by_its_code() {
    let (server, client) = at_work();
    // Not SIGINT: whoever runs the tests in the background has it ignored, and children inherit that.
    client.signal(Signal::TERM);
    let (code, words) = client.wait(10);
    // The signal itself, or a code of ours for it.
    assert!(code == 130 || code == -1, "{code}: {words}");
    wait_until("the node has noticed", 15, || server.get("/v1/status")["sessions"] == 0);
}
