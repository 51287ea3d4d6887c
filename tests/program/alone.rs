//! A peer that is alone with a node without a limit, at a slow line of his own.

use std::{fs::File, net::Ipv4Addr, time::Duration};

use crate::{
    nat::{Line, Nat},
    path::node_behind,
    support::{assert_same, noise, wait_until},
};

const NEAR: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 6);
const SLOW: Line = Line { delay: Duration::from_millis(10), bytes_per_second: 200_000 };

/// To the node his line looks like its own. Whoever came next began with it, and it took some fifteen seconds to find that there is more.
#[test]
fn what_the_line_of_one_peer_taught_is_forgotten_when_another_comes() {
    let (server, control) = node_behind(NEAR, &["--open"]);
    let (node, ports) = (Ipv4Addr::LOCALHOST.into(), [control, control + 1]);
    let _line = Nat::at_end_of(SLOW, node, NEAR.into(), &ports, node);
    File::create(server.share().join("long.bin")).unwrap().set_len(200_000_000).unwrap();
    noise(&server.share().join("a.bin"), 20_000_000, 1);
    let from = format!("{NEAR}:{control}/share/long.bin");
    let _slow = server.spawn(&["get", &from, "-o", &server.path("long.bin"), "--transport", "quic"]);
    let learnt = || server.get("/v1/limits")["upload"]["capacity_bytes_per_second"].as_u64();
    wait_until("his line is taken for the node's", 30, || learnt().is_some_and(|capacity| capacity < 1_000_000));
    let next =
        server.spawn_as("next", &["get", &server.at("a.bin"), "-o", &server.path("a.bin"), "--transport", "tcp"]);
    let (code, words) = next.wait(10);
    assert_eq!(code, 0, "{words}");
    assert_same(server.share().join("a.bin"), server.path("a.bin"));
}
