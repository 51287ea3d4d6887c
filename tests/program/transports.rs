//! The choice between transports, and a node that has only one.

use std::{
    fs,
    net::{TcpListener, UdpSocket},
};

use serde_json::{Value, json};

use crate::support::{Client, Said as _, Server, assert_same, noise, steady::steadily, turn::alone, wait_until};

#[test]
fn auto_goes_over_quic_where_it_can() {
    let server = Server::start::<&str>(&[]);
    noise(&server.share().join("a.bin"), 300_000, 1);
    server.run(&["get", &server.at("a.bin"), "-o", &server.path("a"), "--transport", "auto"]).expect_code(0);
    assert_same(server.share().join("a.bin"), server.path("a"));
    assert_eq!(server.metric("evenkeel_payload_bytes_total", &["transport=\"quic\""]), 300_000.0);
}

/// A port that is free for TCP and taken for UDP. It is below those that the kernel gives to connections that begin: one of these had it
/// when the node was to listen there.
fn taken_for_udp() -> UdpSocket {
    let free = |port| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let first = 20_000 + (std::process::id() % 10_000) as u16;
    let mut ports = (first..32_000).filter(|&port| free(port));
    ports.find_map(|port| UdpSocket::bind(("127.0.0.1", port)).ok()).expect("a free port")
}

#[test]
fn a_node_that_gets_no_udp_port_says_so_and_serves_over_tcp() {
    let taken = taken_for_udp();
    let address = taken.local_addr().unwrap().to_string();
    let server = Server::start(&["--listen", &address]);
    let words = server.words();
    assert!(words.contains("quic     off: cannot listen on UDP") && words.contains("another process"), "{words}");
    let status = server.ctl(&["status"]).expect_code(0).out();
    assert!(status.contains(&format!("off: cannot listen on UDP {address}")), "{status}");
    let quic = &server.get("/v1/status")["quic"];
    assert!(quic["off"].as_str().unwrap().contains("another process"), "{quic}");
    assert_eq!((&quic["listen"], &quic["data_ports"]), (&Value::Null, &json!([])));
    noise(&server.share().join("a.bin"), 300_000, 1);
    for transport in ["tcp", "auto"] {
        let out = server.path(transport);
        server.run(&["get", &server.at("a.bin"), "-o", &out, "--transport", transport]).expect_code(0);
        assert_same(server.share().join("a.bin"), out);
    }
    let said = server.run(&["ls", &server.at(""), "--transport", "quic"]).expect_code(69).err();
    assert!(said.contains("did not answer over QUIC") && said.contains("--transport tcp"), "{said}");
    assert_eq!(server.metric("evenkeel_payload_bytes_total", &["transport=\"quic\""]), 0.0);
}

/// What a node says to try next is said of the address that it listens on, which may be all of its machine's.
#[test]
fn a_node_that_listens_everywhere_is_reached_as_it_says_and_at_that_address_over_each_transport() {
    for (everywhere, here) in [("0.0.0.0", "127.0.0.1"), ("[::]", "[::1]")] {
        if let Err(why) = UdpSocket::bind(format!("{here}:0")) {
            println!("SKIPPED: this machine has no {here}: {why}");
            continue;
        }
        let server = Server::start(&["--listen", &format!("{everywhere}:0")]);
        let port = server.peers.rsplit(':').next().unwrap().to_owned();
        let words = server.words();
        assert!(words.contains(&format!(" ls {here}:{port}/share")), "{words}");
        noise(&server.share().join("a.bin"), 300_000, 1);
        for (index, host) in [everywhere, here].into_iter().enumerate() {
            let before = server.metric("evenkeel_payload_bytes_total", &["transport=\"quic\""]);
            for transport in ["tcp", "quic", "auto"] {
                let (from, out) = (format!("{host}:{port}/share/a.bin"), server.path(&format!("{transport}-{index}")));
                server.run(&["get", &from, "-o", &out, "--transport", transport]).expect_code(0);
                assert_same(server.share().join("a.bin"), out);
            }
            let over_quic = server.metric("evenkeel_payload_bytes_total", &["transport=\"quic\""]) - before;
            assert_eq!(over_quic, 600_000.0, "{host}");
        }
    }
}

#[test]
fn a_transport_that_is_none_is_refused_with_those_that_are() {
    let said = crate::support::evenkeel(&["ls", "h:1", "--transport", "sctp"]).expect_code(2).err();
    assert!(said.contains("write tcp, quic or auto"), "{said}");
}

#[test]
fn data_links_go_to_the_port_that_the_operator_chose() {
    let data = taken_for_udp().local_addr().unwrap();
    let server = Server::with_config("[node]\nworkers = 1\n", &["--listen-data", &data.to_string()]);
    assert!(server.words().contains(&format!("data on {}", data.port())), "{}", server.words());
    noise(&server.share().join("a.bin"), 300_000, 1);
    let args = ["get", &server.at("a.bin"), "-o", &server.path("a"), "--transport", "quic", "--data-links", "3"];
    server.run(&args).expect_code(0);
    assert_same(server.share().join("a.bin"), server.path("a"));
}

/// What the operator wrote is what he gets, or he is told at once: not a node without QUIC.
/// Five tries in fifteen seconds, every second of which said that the node might be full.
#[test]
fn a_port_for_data_dialled_as_if_it_were_control_is_told_at_once() {
    let server = Server::start::<&str>(&[]);
    noise(&server.share().join("a.bin"), 3_000, 1);
    let words = server.words();
    let (_, ports) = words.split_once("(UDP), data on ").unwrap();
    let port: u16 = ports.split(|letter: char| !letter.is_ascii_digit()).next().unwrap().parse().unwrap();
    let (there, here) = (format!("127.0.0.1:{port}/share/a.bin"), server.path("a"));
    for args in [&["ls", &there][..], &["get", &there, "-o", &here], &["put", &here, &there]] {
        fs::write(&here, "").unwrap();
        let said = server.run(&[args, &["--transport", "quic"]].concat()).expect_code(69).err();
        assert!(said.contains("this is a node's port for data"), "{args:?}: {said}");
        assert!(!said.contains("trying again"), "{args:?}: {said}");
    }
}

#[test]
fn a_node_whose_named_ports_for_data_cannot_be_had_does_not_start() {
    let room = tempfile::tempdir().unwrap();
    let config = room.path().join("evenkeel.toml");
    fs::create_dir(room.path().join("share")).unwrap();
    fs::write(&config, "[node]\nworkers = 2\n[[share]]\nname = \"share\"\npath = \"share\"\n").unwrap();
    let said = |code, flags: &[&str]| {
        let args = [&["--config", config.to_str().unwrap()], flags].concat();
        Server::command(room.path(), &args).output().unwrap().expect_code(code).err()
    };
    for (flags, why) in [
        (["--listen", "127.0.0.1:0", "--listen-data", "127.0.0.1:65535"], "there are not that many left"),
        (
            ["--listen", "127.0.0.1:8400", "--listen-data", "127.0.0.1:8399"],
            "that of peers, 127.0.0.1:8400, is among them",
        ),
    ] {
        let words = said(64, &flags);
        assert!(words.contains("--listen-data: listen.data:") && words.contains(why), "{words}");
    }
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let words = said(71, &["--listen-data", &address]);
    assert!(words.contains(&format!("cannot listen on UDP {address}")) && words.contains("listen.data"), "{words}");
}

/// A figure of the demo's verdict.
fn figure(words: &str, name: &str) -> f64 {
    let line = words.lines().find(|line| line.trim_start().starts_with(name)).unwrap_or_else(|| panic!("{words}"));
    line.trim_start()[name.len()..].split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn a_demo_shares_one_limit_over_quic_and_over_both() {
    steadily(|| {
        alone();
        let kinds = [("quic", "(0 over TCP, 12 over QUIC)"), ("mixed", "(6 over TCP, 6 over QUIC)")];
        let running = kinds.map(|(transport, peers)| {
            let args = ["demo", "--transport", transport, "--upload-limit", "4MB/s", "--for", "30"];
            (Client::spawn(&args), peers)
        });
        for (demo, peers) in running {
            let (code, words) = demo.wait(90);
            assert_eq!(code, 0, "{words}");
            assert!(words.contains(peers), "{words}");
            // Two demos, and whatever else the machine does: the figures of an idle one are in the README.
            assert!(figure(&words, "Jain's index of the equal peers") > 0.99, "{words}");
            assert!((95.0..101.0).contains(&figure(&words, "of the limit used")), "{words}");
        }
    });
}

#[test]
fn a_client_that_is_turned_away_hears_why() {
    let config = "[sessions]\nper_address_max = 2\n[limits]\nupload = \"200KB/s\"\n";
    let server = Server::with_config::<&str>(config, &[]);
    noise(&server.share().join("a.bin"), 3_000_000, 1);
    let ls = |transport| server.run(&["ls", &server.at(""), "--transport", transport]).expect_code(69).err();
    let _both = server.spawn(&["get", &server.at("a.bin"), "-o", &server.path("a"), "--transport", "tcp"]);
    wait_until("its two links are open", 20, || server.metric("evenkeel_connections", &[]) == 2.0);
    for transport in ["tcp", "quic", "auto"] {
        let said = ls(transport);
        assert!(said.contains("has as many connections from this address as it takes"), "{transport}: {said}");
    }
    server.ctl(&["drain"]).expect_code(0);
    for transport in ["tcp", "quic", "auto"] {
        let said = ls(transport);
        assert!(said.contains("is going down and takes no new connections"), "{transport}: {said}");
    }
}
