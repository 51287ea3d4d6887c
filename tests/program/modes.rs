//! Bulk and precise mode on data links: what arrives is the same.

use std::{fs, path::Path};

use crate::support::{Said as _, Server, assert_same, noise, transport};

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
