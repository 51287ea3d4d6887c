//! A peer that falls silent in the middle, and is there again later. Its machine still acknowledges what comes over TCP.

use std::path::Path;

use rustix::process::Signal;

use crate::support::{Server, assert_same, noise, wait_until};

const CONFIG: &str = "[sessions]\nkeepalive = \"1s\"\ndead = \"3s\"\n";

/// All that it has goes with the session, links that were idle and links that carry one way as well; none of it is counted as moved
/// before it was.
#[test]
fn who_falls_silent_is_given_up_with_all_of_his_links_and_goes_on_when_he_wakes() {
    let server = Server::with_config(CONFIG, &["--upload-limit", "1MB/s", "--download-limit", "1MB/s"]);
    noise(&server.share().join("there.bin"), 4_000_000, 1);
    noise(Path::new(&server.path("here.bin")), 4_000_000, 2);
    let share = server.share();
    let ways = [("get", "1"), ("get", "down:2"), ("get", "up,down"), ("put", "1"), ("put", "up:2"), ("put", "up,down")];
    let begun: Vec<_> = ways
        .into_iter()
        .enumerate()
        .map(|(index, (verb, links))| {
            let (far, near) = (server.at(&format!("{index}.bin")), server.path(&format!("{index}.bin")));
            let (here, there) = (server.path("here.bin"), server.at("there.bin"));
            let (args, copy) = match verb {
                "get" => (["get", &there, "-o", &near], near.clone()),
                _ => (["put", &here, &far, "--weight=1"], share.join(format!("{index}.bin")).display().to_string()),
            };
            (server.spawn(&[&args[..], &["--data-links", links]].concat()), copy)
        })
        .collect();
    let sessions = || server.metric("evenkeel_sessions", &[]);
    let links = || server.metric("evenkeel_links", &[]);
    wait_until("all are here", 20, || sessions() == ways.len() as f64 && links() >= ways.len() as f64);
    begun.iter().for_each(|(client, _)| client.signal(Signal::STOP));
    wait_until("all are given up", 20, || sessions() == 0.0 && links() == 0.0);
    begun.iter().for_each(|(client, _)| client.signal(Signal::CONT));
    for ((client, copy), (verb, links)) in begun.into_iter().zip(ways) {
        let (code, words) = client.wait(60);
        assert_eq!(code, 0, "{verb} {links}: {words}");
        assert_same(if verb == "get" { share.join("there.bin") } else { server.path("here.bin").into() }, copy);
    }
}
