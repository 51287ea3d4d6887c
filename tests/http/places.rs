//! A machine that gives fewer descriptors than the configuration wants.

use std::sync::Arc;

use crate::{
    stage::Wire,
    support::{Said as _, Server, noise, wait_until},
};

#[test]
fn a_low_limit_on_open_files_is_said_with_the_number_that_fits_and_control_is_served_when_all_are_taken() {
    let limited = ["sh", "-c", "ulimit -n 400; exec \"$0\" \"$@\""];
    let room = Arc::new(tempfile::tempdir().unwrap());
    let server = Server::start_under(&limited, room, &["--open", "--http", "127.0.0.1:0"]);
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
