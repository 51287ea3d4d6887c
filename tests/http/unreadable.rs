//! Files and directories that the node's user may not read.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, chown},
    path::Path,
    sync::Arc,
};

use serde_json::Value;

use crate::{
    stage::{Wire, node},
    support::{PROGRAM, Server, noise, wait_until},
};

/// `nobody` of Debian and of the kernel.
const NOBODY: u32 = 65_534;

/// A node of an ordinary user, whoever runs the tests: root reads everything.
fn node_of_an_ordinary_user() -> Server {
    if !rustix::process::geteuid().is_root() {
        return node("", &[]);
    }
    let room = Arc::new(tempfile::tempdir().unwrap());
    // Others may not get as far as where it was built.
    let program = room.path().join("evenkeel");
    fs::hard_link(PROGRAM, &program).or_else(|_| fs::copy(PROGRAM, &program).map(drop)).unwrap();
    fs::create_dir(room.path().join("share")).unwrap();
    // The room is the user's, for the state; the share stays root's.
    chown(room.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    let exec = format!("shift; exec '{}' \"$@\"", program.display());
    let (uid, gid) = (format!("--reuid={NOBODY}"), format!("--regid={NOBODY}"));
    let wrapper = ["setpriv", &uid, &gid, "--clear-groups", "--", "sh", "-c", &exec, "sh"];
    let server = Server::start_under(&wrapper, room, &["--open", "--http", "127.0.0.1:0"]);
    noise(&server.share().join("file.bin"), 1_000_000, 1);
    server
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Files and directories of the modes that matter.
fn furnish(share: &Path) {
    noise(&share.join("closed.bin"), 1000, 2);
    set_mode(&share.join("closed.bin"), 0o000);
    for (name, mode) in [("closed", 0o000), ("names-only", 0o444), ("passage", 0o111)] {
        let directory = share.join(name);
        fs::create_dir(&directory).unwrap();
        noise(&directory.join("inner.bin"), 1000, 3);
        fs::create_dir(directory.join("deeper")).unwrap();
        set_mode(&directory, mode);
    }
}

/// So that the room can be removed by whoever is not root.
fn open_up(share: &Path) {
    for name in ["closed", "names-only", "passage"] {
        set_mode(&share.join(name), 0o755);
    }
}

#[test]
fn what_the_node_may_not_read_is_403_and_counted_and_the_connection_goes_on() {
    let server = node_of_an_ordinary_user();
    furnish(&server.share());
    let mut wire = Wire::to(&server);
    let mut refused = 0.0;
    for path in [
        "closed.bin",
        "closed/",
        "closed/inner.bin",
        // Whether a name is there is not told either.
        "closed/missing.bin",
        "names-only/",
        "names-only/inner.bin",
        "passage/",
        "passage/?format=json",
    ] {
        for headers in ["", "Range: bytes=0-9\r\n", "If-None-Match: *\r\n"] {
            let answer = wire.get(path, headers);
            let words = String::from_utf8(answer.body).unwrap();
            assert_eq!(
                (answer.status, words.as_str()),
                (403, "403 Forbidden: the server may not read that\n"),
                "{path}"
            );
            refused += 1.0;
        }
        let target = format!("/share/{path}");
        assert_eq!(wire.ask("HEAD", &target, "").status, 403, "{path}");
        refused += 1.0;
    }
    // What it is may be seen from without.
    assert_eq!(wire.get("closed", "").status, 301);
    // All on one connection, which is as good as before.
    assert_eq!(wire.get("file.bin", "").body.len(), 1_000_000);
    assert_eq!(wire.get("passage/inner.bin", "Range: bytes=0-9\r\n").status, 206, "it need not be listed");
    let counted = || server.metric("evenkeel_http_requests_total", &["status=\"403\""]);
    wait_until("each is counted", 10, || counted() == refused);
    assert_eq!(server.metric("evenkeel_http_connections", &[]), 1.0);
    open_up(&server.share());
}

#[test]
fn what_the_node_may_not_read_is_listed_with_the_rest_and_asking_for_it_fills_no_log() {
    let server = node_of_an_ordinary_user();
    furnish(&server.share());
    let mut wire = Wire::to(&server);
    let mut names = |path: &str| {
        wire.say(format!("GET /share/{path}?format=json HTTP/1.0\r\n\r\n"));
        let said = wire.hear_to_the_end();
        wire = Wire::to(&server);
        let (head, body) = said.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 "), "{path}: {said}");
        let json: Value = serde_json::from_str(body).unwrap();
        let entries = json["entries"].as_array().unwrap().iter();
        entries
            .map(|entry| format!("{} {}", entry["kind"].as_str().unwrap(), entry["name"].as_str().unwrap()))
            .collect()
    };
    let all: Vec<String> = names("");
    let expected =
        ["directory closed", "file closed.bin", "file file.bin", "directory names-only", "directory passage"];
    assert_eq!(all, expected);
    let said = server.words();
    let mut wire = Wire::to(&server);
    for _ in 0..500 {
        assert_eq!(wire.get("closed.bin", "").status, 403);
        assert_eq!(wire.get("closed/", "").status, 403);
    }
    let about = |words: &str| words.lines().filter(|line| line.contains("a file failed")).count();
    wait_until("the operator is told", 10, || about(&server.words()) > about(&said));
    assert!(server.words().contains("`share/closed") && server.words().contains("Permission denied"), "{said}");
    let more = server.words().lines().count() - said.lines().count();
    assert!(more <= 5, "{more} lines: {}", server.words());
    open_up(&server.share());
}
