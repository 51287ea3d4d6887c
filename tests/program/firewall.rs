//! A firewall that lets one port through, over UDP as over TCP, and the ports for data of no session over UDP.

use std::{
    fs::{self, File},
    io,
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use rustix::process::Signal;

use crate::{
    nat::Nat,
    path::node_behind,
    support::{Said as _, assert_same, noise, wait_until},
};

const NEAR: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 4);

/// The same of another test.
const NEXT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 5);

/// And of the one that is stopped.
const STOPPED: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 22);

/// And of a third.
const REFUSED: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 21);

/// Carries connections to `port` of the node.
fn connections(near: Ipv4Addr, port: u16) {
    let near = TcpListener::bind((near, port)).unwrap();
    thread::spawn(move || {
        for client in near.incoming().flatten() {
            let node = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
            for (mut from, mut to) in [(client.try_clone().unwrap(), node.try_clone().unwrap()), (node, client)] {
                thread::spawn(move || {
                    let _ = io::copy(&mut from, &mut to);
                    let _ = to.shutdown(Shutdown::Write);
                });
            }
        }
    });
}

#[test]
fn a_get_whose_data_ports_are_shut_goes_on_over_tcp_and_one_over_quic_alone_says_which_port() {
    let (server, control) = node_behind(NEAR, &[]);
    noise(&server.share().join("a.bin"), 300_000, 1);
    let nat = Nat::before(Ipv4Addr::LOCALHOST.into(), NEAR.into(), &[control, control + 1], Ipv4Addr::LOCALHOST.into());
    nat.close(control + 1);
    connections(NEAR, control);
    let from = format!("{NEAR}:{control}/share/a.bin");
    for (index, links) in ["1", "2", "down", "up,down:2"].into_iter().enumerate() {
        let out = server.path(&format!("{index}.bin"));
        server.run(&["get", &from, "-o", &out, "--transport", "auto", "--data-links", links]).expect_code(0);
        assert_same(server.share().join("a.bin"), &out);
    }
    let (out, to) = (server.path("0.bin"), format!("{NEAR}:{control}/share/b.bin"));
    server.run(&["put", &out, &to, "--transport", "auto", "--data-links", "up"]).expect_code(0);
    assert_same(&out, server.share().join("b.bin"));
    assert!(nat.seen().iter().any(|seen| seen.port == control), "control went over UDP");
    let alone = server.spawn(&["get", &from, "-o", &server.path("b.bin"), "--transport", "quic"]);
    let (code, words) = alone.wait(40);
    assert_eq!(code, 69, "{words}");
    let port = format!("UDP port {} for data did not", control + 1);
    assert!(words.contains(&port) && words.contains("--transport tcp") && !words.contains("trying again"), "{words}");
}

/// The time for which the client was stopped counted as silence, and the command ended with words about firewalls.
#[test]
fn who_was_stopped_while_he_dialled_data_has_heard_no_silence() {
    let (server, control) = node_behind(STOPPED, &[]);
    noise(&server.share().join("a.bin"), 300_000, 1);
    let nat =
        Nat::before(Ipv4Addr::LOCALHOST.into(), STOPPED.into(), &[control, control + 1], Ipv4Addr::LOCALHOST.into());
    nat.close(control + 1);
    let (from, out) = (format!("{STOPPED}:{control}/share/a.bin"), server.path("a.bin"));
    let client = server.spawn(&["get", &from, "-o", &out, "--transport", "quic"]);
    wait_until("it dials a data link", 20, || nat.seen().iter().any(|seen| seen.port == control + 1));
    client.signal(Signal::STOP);
    nat.open(control + 1);
    // Longer than a data link is dialled for (`src/transport/quic/tuning.rs`).
    thread::sleep(Duration::from_secs(12));
    client.signal(Signal::CONT);
    let (code, words) = client.wait(60);
    assert_eq!(code, 0, "{words}");
    assert!(!words.contains("firewall") && !words.contains("trying again"), "{words}");
    assert_same(server.share().join("a.bin"), &out);
}

/// A firewall that says no by ICMP, as a host does for ports where nothing listens.
#[test]
fn a_get_over_quic_whose_ports_are_turned_away_ends_with_their_names() {
    let (server, control) = node_behind(REFUSED, &[]);
    noise(&server.share().join("a.bin"), 300_000, 1);
    let from = format!("{REFUSED}:{control}/share/a.bin");
    let get = ["get", &from, "-o", &server.path("a.bin"), "--transport", "quic"];
    let words = server.run(&get).expect_code(69).err();
    assert!(words.contains(&format!("nothing listens at UDP port {control}")), "{words}");
    let _nat = Nat::before(Ipv4Addr::LOCALHOST.into(), REFUSED.into(), &[control], Ipv4Addr::LOCALHOST.into());
    let words = server.run(&get).expect_code(69).err();
    let port = format!("its UDP port {} for data is turned away", control + 1);
    assert!(words.contains(&port) && words.contains("--transport tcp") && !words.contains("trying again"), "{words}");
}

/// A firewall that looks on for a while and then drops what it does not know. The link is given up after 10 s of silence
/// (`src/transport/quic/tuning.rs`); the session that comes then finds the ports shut.
#[test]
fn a_get_whose_data_ports_are_shut_on_its_way_is_finished_over_tcp() {
    const BYTES: usize = 3_000_000;
    let (server, control) = node_behind(NEXT, &[]);
    noise(&server.share().join("a.bin"), BYTES, 1);
    let nat = Nat::before(Ipv4Addr::LOCALHOST.into(), NEXT.into(), &[control, control + 1], Ipv4Addr::LOCALHOST.into());
    connections(NEXT, control);
    // Of a node with nobody else the silence would teach it that its line is narrow, and the rest would come as slowly.
    File::create(server.share().join("other.bin")).unwrap().set_len(1 << 30).unwrap();
    let other = ["get", &server.at("other.bin"), "-o", &server.path("other.bin"), "--bwlimit", "2MB/s"];
    let _other = server.spawn(&other);
    let (from, out) = (format!("{NEXT}:{control}/share/a.bin"), server.path("a.bin"));
    let client = server.spawn(&["get", &from, "-o", &out, "--transport", "auto", "--bwlimit", "500kB/s"]);
    let part = format!("{out}.part");
    wait_until("bytes come", 20, || fs::metadata(&part).is_ok_and(|meta| meta.len() >= 500_000));
    assert!(nat.seen().iter().any(|seen| seen.port == control + 1), "data went over UDP");
    nat.close(control + 1);
    let (code, words) = client.wait(90);
    assert_eq!(code, 0, "{words}");
    assert_same(server.share().join("a.bin"), &out);
    assert_eq!(words.matches("trying again").count(), 1, "{words}");
}
