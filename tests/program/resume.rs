//! Interruptions: what was moved is not moved again, and what comes out is whole.

use std::{fs, io::Write as _, path::Path, sync::Arc, time::Duration};

use rustix::process::Signal;

use crate::support::{Client, Said, Server, assert_same, noise, transport, wait_until};

const SIZE: usize = 12 << 20;
/// Slow enough to be killed in the middle.
const SLOW: &str = "5MB/s";
/// A part is trusted as far as the last record, which is written once per second.
const MIDDLE: u64 = 7 << 20;

/// Waits until a part has grown to the middle.
fn await_middle(part: &Path) {
    wait_until("half of the file is there", 30, || fs::metadata(part).is_ok_and(|meta| meta.len() >= MIDDLE));
}

fn moved(server: &Server, direction: &str) -> f64 {
    server.metric("evenkeel_payload_bytes_total", &[&format!("direction=\"{direction}\"")])
}

fn lift_limits(server: &Server) {
    server.ctl(&["limit", "--upload", "off", "--download", "off"]).expect_code(0);
}

#[test]
fn a_get_that_was_killed_goes_on_where_it_was() {
    let server = Server::start(&["--upload-limit", SLOW]);
    noise(&server.share().join("a.bin"), SIZE, 1);
    let (remote, local) = (server.at("a.bin"), server.path("a.bin"));
    let args = ["get", &remote, "-o", &local];
    let client = server.spawn(&args);
    await_middle(Path::new(&server.path("a.bin.part")));
    client.kill();
    lift_limits(&server);
    let before = moved(&server, "upload");
    server.run(&args).expect_code(0);
    assert_same(server.share().join("a.bin"), &local);
    let again = moved(&server, "upload") - before;
    assert!(again < (SIZE as f64) * 0.8, "{again} bytes were sent again");
    assert!(!Path::new(&server.path("a.bin.part")).exists());
}

#[test]
fn whoever_interrupts_is_told_how_to_go_on() {
    for is_put in [false, true] {
        // A node for each: the limits are lifted at the end.
        let server = Server::start(&["--upload-limit", SLOW, "--download-limit", SLOW]);
        let (here, there) = (server.path("a.bin"), server.at("a.bin"));
        let served = server.share().join("a.bin").display().to_string();
        noise(Path::new(if is_put { &here } else { &served }), SIZE, 1);
        let (args, part) = if is_put {
            (["put", &here, &there, "--background"], format!("{served}.part"))
        } else {
            (["get", &there, "-o", &here], format!("{here}.part"))
        };
        let client = server.spawn(&args);
        await_middle(Path::new(&part));
        client.signal(Signal::INT);
        let (code, words) = client.wait(10);
        assert_eq!(code, 130, "{words}");
        assert!(words.ends_with("evenkeel: interrupted; run the same command to resume\n"), "{words}");
        lift_limits(&server);
        server.run(&args).expect_code(0);
        assert!(!Path::new(&part).exists());
    }
}

#[test]
fn a_directory_whose_get_was_killed_goes_on_where_it_was() {
    let server = Server::start(&["--upload-limit", SLOW]);
    fs::create_dir_all(server.share().join("d/e")).unwrap();
    noise(&server.share().join("d/e/a.bin"), SIZE, 1);
    noise(&server.share().join("d/small.bin"), 1000, 2);
    let (remote, local) = (server.at("d"), server.path("out"));
    let args = ["get", &remote, "-o", &local];
    let client = server.spawn(&args);
    await_middle(Path::new(&server.path("out/e/a.bin.part")));
    client.kill();
    lift_limits(&server);
    let before = moved(&server, "upload");
    let said = server.run(&args).expect_code(0).err();
    assert!(said.contains("1 of 2 files are here already"), "{said}");
    assert_same(server.share().join("d/e/a.bin"), server.path("out/e/a.bin"));
    assert_same(server.share().join("d/small.bin"), server.path("out/small.bin"));
    let again = moved(&server, "upload") - before;
    assert!(again < (SIZE as f64) * 0.8, "{again} bytes were sent again");
}

#[test]
fn a_put_that_was_killed_goes_on_where_it_was() {
    let server = Server::start(&["--download-limit", SLOW]);
    noise(Path::new(&server.path("a.bin")), SIZE, 2);
    let (remote, local) = (server.at("a.bin"), server.path("a.bin"));
    let args = ["put", &local, &remote];
    let client = server.spawn(&args);
    await_middle(&server.share().join("a.bin.part"));
    client.kill();
    lift_limits(&server);
    let before = moved(&server, "download");
    // Over UDP nobody says that the first is gone, and its part is its own until the node has noticed: the second waits for that.
    let said = server.run(&args).expect_code(0).err();
    if transport() == "quic" {
        assert!(said.contains("waiting for up to 20 s"), "{said}");
    }
    assert_same(&local, server.share().join("a.bin"));
    let again = moved(&server, "download") - before;
    assert!(again < (SIZE as f64) * 0.8, "{again} bytes were sent again");
}

/// It began anew at each lost link, and never gave up: a line that drops more often than the file takes carried the same bytes for ever.
#[test]
fn a_get_that_had_to_begin_anew_is_resumed_like_any_other() {
    let server = Server::start(&["--upload-limit", SLOW]);
    let file = server.share().join("a.bin");
    noise(&file, SIZE, 1);
    let (remote, local, peers) = (server.at("a.bin"), server.path("a.bin"), server.peers.clone());
    let (args, part) = (["get", &remote, "-o", &local], server.path("a.bin.part"));
    let client = server.spawn(&args);
    await_middle(Path::new(&part));
    client.kill();
    // What is here is how it begins, and how long it is to be no longer fits.
    fs::OpenOptions::new().append(true).open(&file).unwrap().write_all(&[7; 100_000]).unwrap();
    let client = server.spawn(&args);
    wait_until("it begins anew", 20, || fs::metadata(&part).is_ok_and(|meta| meta.len() < MIDDLE));
    await_middle(Path::new(&part));
    let room = server.kill();
    let server = Server::start_in(Arc::clone(&room), &["--listen", &peers]);
    let (code, words) = client.wait(60);
    assert_eq!(code, 0, "{words}");
    assert!(words.contains("trying again in"), "{words}");
    assert_same(file, &local);
    let again = moved(&server, "upload");
    assert!(again < (SIZE as f64) * 0.8, "{again} bytes were sent again");
}

#[test]
fn a_file_that_changed_between_two_tries_is_fetched_from_its_start() {
    let server = Server::start(&["--upload-limit", SLOW]);
    noise(&server.share().join("a.bin"), SIZE, 1);
    let (remote, local) = (server.at("a.bin"), server.path("a.bin"));
    let args = ["get", &remote, "-o", &local];
    let client = server.spawn(&args);
    await_middle(Path::new(&server.path("a.bin.part")));
    client.kill();
    noise(&server.share().join("a.bin"), SIZE, 9);
    lift_limits(&server);
    server.run(&args).expect_code(0);
    assert_same(server.share().join("a.bin"), &local);
}

#[test]
fn transfers_survive_a_server_that_is_killed_and_started_again() {
    a_server_that_is_killed_and_started_again("1", "1");
}

#[test]
fn so_do_those_over_links_that_carry_one_way() {
    a_server_that_is_killed_and_started_again("down:2", "up:2");
}

fn a_server_that_is_killed_and_started_again(down: &str, up: &str) {
    let server = Server::start(&["--upload-limit", SLOW, "--download-limit", SLOW]);
    noise(&server.share().join("a.bin"), SIZE, 3);
    noise(Path::new(&server.path("b.bin")), SIZE, 4);
    let (from, into, to) = (server.at("a.bin"), server.path("a.bin"), server.at("b.bin"));
    let (local, peers) = (server.path("b.bin"), server.peers.clone());
    let get = server.spawn(&["get", &from, "-o", &into, "--data-links", down]);
    let put = server.spawn(&["put", &local, &to, "--data-links", up]);
    await_middle(Path::new(&server.path("a.bin.part")));
    await_middle(&server.share().join("b.bin.part"));
    let room = server.kill();
    std::thread::sleep(Duration::from_millis(300));
    let server = Server::start_in(Arc::clone(&room), &["--listen", &peers]);
    for (what, client) in [("get", get), ("put", put)] {
        let (code, words) = client.wait(60);
        assert_eq!(code, 0, "{what}: {words}");
        assert!(words.contains("trying again in"), "{what}: {words}");
    }
    assert_same(server.share().join("a.bin"), &into);
    assert_same(&local, server.share().join("b.bin"));
    for direction in ["upload", "download"] {
        let again = moved(&server, direction);
        assert!(again > 0.0 && again < (SIZE as f64) * 0.8, "{again} bytes of the {direction} were sent again");
    }
}

/// Over TCP the kernel says so; over QUIC nobody does but the new one, before the silence is too long (10 s).
#[test]
fn a_node_that_was_killed_and_started_again_is_noticed_before_the_silence_is_too_long() {
    let server = Server::start(&["--upload-limit", "1MB/s"]);
    noise(&server.share().join("a.bin"), SIZE, 3);
    let (peers, out) = (server.peers.clone(), server.path("a.bin"));
    let client = Client::spawn(&["get", &server.at("a.bin"), "-o", &out, "--state", &server.owner()]);
    wait_until("it has begun", 20, || Path::new(&server.path("a.bin.part")).exists());
    let room = server.kill();
    let server = Server::start_in(Arc::clone(&room), &["--listen", &peers]);
    // A client that waits for data asks after 2 s whether anybody is there.
    wait_until("it is noticed", 9, || client.words().contains("trying again in"));
    let (code, words) = client.wait(60);
    assert_eq!(code, 0, "{words}");
    assert_same(server.share().join("a.bin"), &out);
}

#[test]
fn a_node_that_stays_away_is_given_up_with_words() {
    let server = Server::start(&["--upload-limit", "1MB/s"]);
    noise(&server.share().join("a.bin"), SIZE, 3);
    let client = Client::spawn(&["get", &server.at("a.bin"), "-o", &server.path("a.bin"), "--state", &server.owner()]);
    wait_until("it has begun", 20, || Path::new(&server.path("a.bin.part")).exists());
    let _room = server.kill();
    // Over TCP each try fails at once.
    let (code, words) = client.wait(180);
    assert_eq!(code, 69, "{words}");
    assert!(words.contains("run the same command to resume"), "{words}");
}
