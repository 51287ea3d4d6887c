//! A machine that gives fewer descriptors than the configuration wants.

use std::{process::Command, sync::Arc};

use crate::{
    stage::Wire,
    support::{Said as _, Server, noise, wait_until},
};

/// `sh` with this becomes the program under a limit.
fn limited(open_files: u64) -> [String; 3] {
    ["sh".into(), "-c".into(), format!("ulimit -n {open_files}; exec \"$0\" \"$@\"")]
}

#[test]
fn a_low_limit_on_open_files_is_said_with_the_number_that_fits_and_control_is_served_when_all_are_taken() {
    let room = Arc::new(tempfile::tempdir().unwrap());
    let server = Server::start_under(&limited(400), room, &["--open", "--http", "127.0.0.1:0"]);
    let said = "the limit on open files is 400, so 72 HTTP connections of http.connections_max = 16384 and \
                36 sessions of sessions.max = 4096 fit; raise the limit to 24832";
    wait_until("it is said", 10, || server.words().contains(said));
    noise(&server.share().join("file.bin"), 1_000_000, 1);
    let mut wires: Vec<Wire> = (0..72).map(|_| Wire::to(&server)).collect();
    wait_until("all places are taken", 10, || server.metric("evenkeel_http_connections", &[]) == 72.0);
    for _ in 0..3 {
        assert_eq!(Wire::to(&server).hear(true).status, 503);
    }
    // Each of them is served, and so are the operator and sessions.
    for wire in &mut wires {
        assert_eq!(wire.get("file.bin", "Range: bytes=0-9\r\n").status, 206);
    }
    assert_eq!(server.get("/v1/status")["state"], "running");
    server.run(&["get", &server.at("file.bin"), "-o", &server.path("got")]).expect_code(0);
    assert!(!server.words().contains("can be accepted"), "{}", server.words());
}

#[test]
fn where_next_to_no_connection_fits_the_node_says_what_it_needs_and_does_not_start() {
    let room = Arc::new(tempfile::tempdir().unwrap());
    let plain = Server::command(room.path(), &["--open", "--http", "127.0.0.1:0"]);
    let [sh, flag, script] = limited(256);
    let mut command = Command::new(sh);
    command.args([flag, script]).arg(plain.get_program()).args(plain.get_args()).current_dir(room.path());
    let said = command.output().unwrap().expect_code(71);
    for part in [
        "the limit on open files is 256, so 0 HTTP connections fit",
        "with less than 288 there is no serving over HTTP",
        "LimitNOFILE=24832 in a unit",
        "ulimit -n 24832 in a shell",
    ] {
        assert!(said.err().contains(part), "{part}: {}", said.err());
    }
    assert!(!said.out().contains("http"), "nobody is told of a node: {}", said.out());
    // Without HTTP, and with HTTP under the least that the words named.
    let server = Server::start_under(&limited(256), room, &["--open"]);
    noise(&server.share().join("file.bin"), 1_000_000, 1);
    server.run(&["get", &server.at("file.bin"), "-o", &server.path("got")]).expect_code(0);
    let server = Server::start_under(&limited(288), server.kill(), &["--open", "--http", "127.0.0.1:0"]);
    wait_until("it is said", 10, || server.words().contains("is 288, so 16 HTTP connections of http.connections_max"));
    let mut wires: Vec<Wire> = (0..16).map(|_| Wire::to(&server)).collect();
    for wire in &mut wires {
        assert_eq!(wire.get("file.bin", "").body.len(), 1_000_000);
    }
    assert_eq!(Wire::to(&server).hear(true).status, 503);
    assert!(!server.words().contains("can be accepted"), "{}", server.words());
}
