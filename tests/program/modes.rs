//! Bulk and precise mode on data links: what arrives is the same.

use std::{
    fs::{self, File},
    path::Path,
    thread,
    time::Duration,
};

use crate::support::{Said as _, Server, assert_same, noise, transport, wait_until};

const SIZE: usize = (24 << 20) + 77;

#[test]
fn every_mode_of_every_link_carries_a_file_there_and_back() {
    for encryption in ["on", "off"] {
        for (on, off) in [("2B/s", "1B/s"), ("off", "1B/s")] {
            let config = format!(
                "[transport]\ndata_encryption = \"{encryption}\"\nsendfile = \"on\"\n[shaping]\nbulk_on = \"{on}\"\nbulk_off = \"{off}\"\n"
            );
            let server = Server::with_config::<&str>(&config, &[]);
            noise(&server.share().join("file.bin"), SIZE, 9);
            let (got, from, back) = (server.path("got.bin"), server.at("file.bin"), server.at("back.bin"));
            server.run(&["get", &from, "-o", &got]).expect_code(0);
            assert_same(server.share().join("file.bin"), Path::new(&got));
            server.run(&["put", &got, &back]).expect_code(0);
            assert_same(&got, server.share().join("back.bin"));
            let transport = match (transport(), encryption) {
                ("quic", _) => "transport=\"quic\"",
                (_, "on") => "transport=\"tcp\"",
                _ => "transport=\"tcp_plain\"",
            };
            let moved = server.metric("evenkeel_payload_bytes_total", &[transport]);
            assert_eq!(moved, 2.0 * SIZE as f64, "{config}");
            let switches = |direction| server.metric("evenkeel_mode_switches_total", &[direction, "to=\"bulk\""]);
            let expected = if on == "off" { 0.0 } else { 1.0 };
            assert_eq!((switches("upload"), switches("download")), (expected, expected), "{config}");
            assert_eq!(server.metric("evenkeel_links", &[]), 0.0, "every session is over");
            fs::remove_file(got).unwrap();
        }
    }
}

/// Encrypted links, both directions: one node's upload and its download, each at a limit that is a mark.
#[test]
fn a_rate_on_a_mark_does_not_make_a_link_swing_and_explain_names_its_mode() {
    let quick = "[allocation]\ninterval = \"500ms\"\nearly = \"100ms\"\n[shaping]\nbulk_on = \"2MB/s\"\nbulk_off = \"1MB/s\"\n";
    let server = Server::with_config(quick, &["--upload-limit", "3MB/s", "--download-limit", "3MB/s"]);
    let (from, into, to) = (server.path("share/endless.bin"), server.path("got.bin"), server.at("back.bin"));
    File::create(&from).unwrap().set_len(4 << 30).unwrap();
    let _clients = [server.spawn(&["get", &server.at("endless.bin"), "-o", &into]), server.spawn(&["put", &from, &to])];
    let explained = |mode: &str| {
        let words = server.ctl(&["explain", &server.id]).out();
        ["upload: transfer", "download: transfer"].iter().all(|of| {
            let part = words.split("\n\n").find(|part| part.contains(of));
            part.is_some_and(|part| part.contains(&format!("its link is in {mode} mode")))
        })
    };
    wait_until("both are bulk, and explained so", 30, || explained("bulk"));
    let switches = |mode: &str| {
        let to = format!("to=\"{mode}\"");
        ["upload", "download"].map(|way| server.metric("evenkeel_mode_switches_total", &[way, &to]))
    };
    assert_eq!((switches("bulk"), switches("precise")), ([1.0, 1.0], [0.0, 0.0]));
    let limit = |rate: &str| server.ctl(&["limit", "--upload", rate, "--download", rate]).expect_code(0);
    // On the upper mark, then on the lower one: at most once down.
    for rate in ["2MB/s", "1MB/s"] {
        limit(rate);
        thread::sleep(Duration::from_secs(6));
    }
    let (up, down) = (switches("bulk"), switches("precise"));
    assert!(up == [1.0, 1.0] && down.iter().all(|count| *count <= 1.0), "{up:?} {down:?}");
    // Far below both.
    limit("300KB/s");
    wait_until("both are precise, and explained so", 40, || explained("precise"));
    assert_eq!((switches("bulk"), switches("precise")), ([1.0, 1.0], [1.0, 1.0]));
}
