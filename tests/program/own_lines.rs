//! Peers with a node without a limit, each at a slow line of his own.

use std::{fs::File, net::Ipv4Addr, time::Duration};

use crate::{
    nat::{Line, Nat},
    path::node_behind,
    support::{assert_same, noise, wait_until},
};

const NEAR: [Ipv4Addr; 2] = [Ipv4Addr::new(127, 0, 0, 6), Ipv4Addr::new(127, 0, 0, 7)];
const SLOW: Line = Line { delay: Duration::from_millis(10), bytes_per_second: 200_000 };

/// To the node their lines look like its own. Whoever came next began with a part of that, and it took some fifteen seconds to find that
/// there is more.
#[test]
fn what_the_lines_of_few_peers_taught_is_doubted_when_another_comes() {
    for near in [&NEAR[..1], &NEAR] {
        let (server, control) = node_behind(near[0], &["--open"]);
        let (node, ports) = (Ipv4Addr::LOCALHOST.into(), [control, control + 1]);
        File::create(server.share().join("long.bin")).unwrap().set_len(200_000_000).unwrap();
        noise(&server.share().join("a.bin"), 20_000_000, 1);
        let slow = |near: &Ipv4Addr| {
            let line = Nat::at_end_of(SLOW, node, (*near).into(), &ports, node);
            let (from, to) = (format!("{near}:{control}/share/long.bin"), server.path(&format!("{near}.bin")));
            (line, server.spawn_as(&near.to_string(), &["get", &from, "-o", &to, "--transport", "quic"]))
        };
        let _slow: Vec<_> = near.iter().map(slow).collect();
        let learnt = || server.get("/v1/limits")["upload"]["capacity_bytes_per_second"].as_u64();
        wait_until("their lines are taken for the node's", 30, || {
            learnt().is_some_and(|capacity| capacity < 1_000_000)
        });
        let is_moving = |peer: &serde_json::Value| peer["upload"]["achieved_bytes_per_second"].as_u64() > Some(100_000);
        let moving = || server.get("/v1/peers").as_array().unwrap().iter().filter(|peer| is_moving(peer)).count();
        wait_until("all of them", 30, || moving() == near.len());
        let next =
            server.spawn_as("next", &["get", &server.at("a.bin"), "-o", &server.path("a.bin"), "--transport", "tcp"]);
        let (code, words) = next.wait(10);
        assert_eq!(code, 0, "beside {}: {words}", near.len());
        assert_same(server.share().join("a.bin"), server.path("a.bin"));
    }
}
