//! SIGHUP: the configuration is read again while peers are served.

use std::{fs, fs::File};

use rustix::process::Signal;

use crate::support::{Client, Said, Server, wait_until};

/// A configuration of this share, these limits, and what follows.
fn write(server: &Server, text: &str) {
    let share = format!("[[share]]\nname = \"share\"\npath = \"{}\"\nwritable = true\n", server.path("share"));
    fs::write(server.path("evenkeel.toml"), format!("{text}\n{share}")).unwrap();
}

fn reloads(server: &Server, outcome: &str) -> f64 {
    server.metric("evenkeel_config_reloads_total", &[&format!("outcome=\"{outcome}\"")])
}

/// Has a node read its configuration again.
#[track_caller]
fn reload(server: &Server, outcome: &str) {
    let before = reloads(server, outcome);
    server.signal(Signal::HUP);
    wait_until("the configuration is read again", 20, || reloads(server, outcome) == before + 1.0);
}

fn upload_limit(server: &Server) -> u64 {
    server.get("/v1/limits")["upload"]["limit_bytes_per_second"].as_u64().unwrap_or(u64::MAX)
}

fn cap_of(server: &Server, group: &str) -> Option<u64> {
    let groups = server.get("/v1/groups");
    let group = groups.as_array().unwrap().iter().find(|view| view["name"] == group).cloned().unwrap();
    group["upload"]["cap_bytes_per_second"].as_u64()
}

/// A node with a get that takes longer than any test.
fn at_work(config: &str) -> (Server, Client) {
    let server = Server::with_config(config, &["--open"]);
    File::create(server.share().join("large.bin")).unwrap().set_len(4 << 30).unwrap();
    let client = server.spawn_as("one", &["get", &server.at("large.bin"), "-o", &server.path("out")]);
    wait_until("bytes flow", 20, || server.metric("evenkeel_payload_bytes_total", &["upload"]) > 0.0);
    (server, client)
}

#[test]
fn a_good_configuration_is_in_force_without_a_restart() {
    const GROUP: &str = "[[group]]\nname = \"all\"\nshares = [\"share\"]\n";
    let (mut server, mut client) = at_work(&format!("[limits]\nupload = \"1MB/s\"\n{GROUP}"));
    assert_eq!((upload_limit(&server), cap_of(&server, "all")), (1_000_000, None));
    let one = server.run_as("one", &["id"]).out().lines().next().unwrap().to_owned();
    // Orders end where the file says otherwise, or nothing.
    server.ctl(&["limit", "--upload", "3MB/s"]).expect_code(0);
    server.ctl(&["set", "group", "default", "--upload-cap", "7KB/s"]).expect_code(0);

    let peer = format!("[[peer]]\nid = \"{one}\"\nupload_cap = \"300KB/s\"\n");
    write(&server, &format!("[limits]\nupload = \"5MB/s\"\n{GROUP}upload_cap = \"2MB/s\"\n{peer}"));
    reload(&server, "taken");
    assert_eq!(
        (upload_limit(&server), cap_of(&server, "all"), cap_of(&server, "default")),
        (5_000_000, Some(2_000_000), None)
    );
    let achieved = || server.get(&format!("/v1/peers/{one}"))["upload"]["achieved_bytes_per_second"].as_f64().unwrap();
    assert_eq!(server.get(&format!("/v1/peers/{one}"))["upload"]["cap_bytes_per_second"], 300_000);
    wait_until("the transfer that was under way is held by its peer's cap", 20, || {
        (250_000.0..350_000.0).contains(&achieved())
    });
    assert!(!server.words().contains("after a restart only"), "{}", server.words());

    // Somebody who is no longer there has no limits of his own; a section that is read at the start only is named.
    write(&server, &format!("[node]\ndrain = \"3s\"\n[sessions]\nmax = 9\n[limits]\nupload = \"4MB/s\"\n{GROUP}"));
    reload(&server, "taken");
    assert_eq!((upload_limit(&server), cap_of(&server, "all")), (4_000_000, None));
    wait_until("the transfer goes as fast as the total lets it", 20, || achieved() > 3_000_000.0);
    wait_until("the log says so", 10, || server.words().contains("after a restart only: [node], [sessions]"));
    assert!(client.is_running() && server.is_running());
}

#[test]
fn a_bad_configuration_changes_nothing_and_says_why() {
    let (mut server, mut client) = at_work("[limits]\nupload = \"1MB/s\"\n");
    server.ctl(&["limit", "--upload", "2MB/s"]).expect_code(0);
    let refused = |text: &str, words: &str| {
        write(&server, text);
        reload(&server, "refused");
        wait_until("the log says why", 10, || server.words().contains(words));
        assert_eq!(upload_limit(&server), 2_000_000, "{text}");
    };
    refused("[limits]\nupload = \"10Mb\"\n", "evenkeel.toml:2: limits.upload");
    refused("[limits]\nupload = \"9MB/s\"\nspeed = 3\n", "evenkeel.toml:3: limits.speed");
    refused("[limits", "evenkeel.toml:1");
    // Good by itself, and against the floor of a live transfer.
    let id = server.get("/v1/transfers")[0]["id"].as_str().unwrap().to_owned();
    server.ctl(&["set", "transfer", &id, "--upload-floor", "1MB/s"]).expect_code(0);
    refused("[limits]\nupload = \"500KB/s\"\n", "the floors add up to 1.0 MB/s");
    fs::remove_file(server.path("evenkeel.toml")).unwrap();
    reload(&server, "refused");
    wait_until("the log says why", 10, || server.words().contains("can't be read"));
    assert_eq!((upload_limit(&server), reloads(&server, "taken")), (2_000_000, 0.0));
    assert!(client.is_running() && server.is_running());
}

#[test]
fn a_node_without_a_configuration_lives_on() {
    let mut server = Server::start(&["--upload-limit", "1MB/s"]);
    server.ctl(&["limit", "--upload", "2MB/s"]).expect_code(0);
    reload(&server, "refused");
    wait_until("the log says why", 10, || server.words().contains("started without `--config`"));
    assert_eq!(upload_limit(&server), 2_000_000);
    assert!(server.is_running());
}
