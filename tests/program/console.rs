//! `ctl` and the control message API against a node under load.

use std::fs::File;

use serde_json::Value;

use crate::support::{Client, Said, Server, evenkeel, noise, wait_until};

/// A node with two peers at work: its owner puts, a stranger gets.
fn busy() -> (Server, [Client; 2], String) {
    let server = Server::start(&["--open", "--upload-limit", "4MB/s", "--download-limit", "4MB/s"]);
    for name in ["share/large.bin", "large.bin"] {
        File::create(server.path(name)).unwrap().set_len(4 << 30).unwrap();
    }
    let get = server.spawn_as("one", &["get", &server.at("large.bin"), "-o", &server.path("out.bin")]);
    let put = server.spawn(&["put", &server.path("large.bin"), &server.at("put.bin")]);
    let id = server.run_as("one", &["id"]).out().lines().next().unwrap().to_owned();
    wait_until("both are at work", 20, || {
        let transfers = server.get("/v1/transfers");
        transfers.as_array().unwrap().iter().filter(|transfer| transfer["bytes"].as_u64() > Some(0)).count() == 2
    });
    (server, [get, put], id)
}

#[test]
fn ctl_shows_a_node_under_load() {
    let (server, _clients, stranger) = busy();
    let status = server.ctl(&["status"]).expect_code(0).out();
    for words in [server.id.as_str(), "running", "2 in 2 sessions, 2 transfers", "share", "4.0 MB/s"] {
        assert!(status.contains(words), "{words}:\n{status}");
    }
    let json: Value = serde_json::from_str(&server.ctl(&["status", "--json"]).expect_code(0).out()).unwrap();
    assert_eq!((&json["state"], &json["peers"], &json["sessions"]), (&"running".into(), &2.into(), &2.into()));
    let peers = server.ctl(&["peers"]).expect_code(0).out();
    assert!(peers.contains(&stranger[..8]) && peers.contains("127.0.0.1"), "{peers}");
    let transfers = server.ctl(&["transfers"]).expect_code(0).out();
    assert!(transfers.contains("share/large.bin") && transfers.contains("share/put.bin"), "{transfers}");
    assert!(transfers.contains("upload") && transfers.contains("download"), "{transfers}");
    let limits = server.ctl(&["limits"]).expect_code(0).out();
    assert!(limits.contains("4.0 MB/s (32 Mbit/s)") && limits.contains("default"), "{limits}");
    // Each began in a round of its own.
    let explains = |id: &str, words: &str| server.ctl(&["explain", id]).expect_code(0).out().contains(words);
    wait_until("a round has explained the stranger's", 10, || explains(&stranger[..6], "held by total"));
    wait_until("a round has explained its own", 10, || explains(&server.id, "download"));
    for path in
        ["/v1/status", "/v1/peers", "/v1/transfers", "/v1/limits", "/v1/groups", &format!("/v1/peers/{stranger}")]
    {
        server.get(path);
    }
}

/// It keeps to that rate by itself, so the node saw a slow receiver, or a slow sender.
#[test]
fn a_client_s_own_limit_is_explained_as_what_it_asked_for() {
    let server = Server::start(&["--open", "--upload-limit", "40MB/s"]);
    for name in ["share/large.bin", "large.bin"] {
        File::create(server.path(name)).unwrap().set_len(4 << 30).unwrap();
    }
    let limit = ["--bwlimit", "1MB/s"];
    let (large, out, local, put) =
        (server.at("large.bin"), server.path("out.bin"), server.path("large.bin"), server.at("put.bin"));
    let _get = server.spawn_as("one", &["get", &large, "-o", &out, limit[0], limit[1]]);
    let _put = server.spawn(&["put", &local, &put, limit[0], limit[1]]);
    // At first nobody knows what they do with their rate.
    let each = |is: &dyn Fn(&Value) -> bool| {
        let transfers = server.get("/v1/transfers");
        transfers.as_array().unwrap().iter().filter(|transfer| is(transfer)).count() == 2
    };
    wait_until("two rounds are over", 60, || each(&|transfer| transfer["bytes"].as_u64() > Some(6_000_000)));
    wait_until("both are explained", 20, || each(&|transfer| transfer["binding"] == "negotiated"));
}

#[test]
fn a_group_is_allowed_its_cap_or_the_total_and_not_the_sum_of_its_transfers() {
    let (server, _clients, _) = busy();
    let group = || server.get("/v1/groups")[0].clone();
    assert_eq!(group()["upload"]["allowed_bytes_per_second"], 4_000_000);
    server.ctl(&["set", "group", "default", "--upload-cap", "1MB/s"]).expect_code(0);
    assert_eq!(group()["upload"]["allowed_bytes_per_second"], 1_000_000);
    assert_eq!(group()["download"]["allowed_bytes_per_second"], 4_000_000);
    server.ctl(&["limit", "--upload", "500KB/s"]).expect_code(0);
    assert_eq!(group()["upload"]["allowed_bytes_per_second"], 500_000);
    // The log names the address of who ordered it, as every other line does.
    wait_until("the orders are logged", 10, || server.words().contains("\"peer\":\"127.0.0.1:"));
    assert!(!server.words().contains("Some("), "{}", server.words());
}

#[test]
fn wrong_orders_are_refused_with_words_and_change_nothing() {
    let (server, _clients, stranger) = busy();
    let peer = format!("/v1/peers/{stranger}");
    let error = |method: &str, path: &str, body: Option<&str>| {
        let (status, answer) = server.api(method, path, body);
        let words = answer["error"]["message"].as_str().unwrap_or_default().to_owned();
        assert!(!words.is_empty() && answer["error"]["code"].is_string(), "{method} {path}: {status} {answer}");
        (status, words)
    };
    for (method, path, body, status) in [
        ("GET", "/v1/peers/aaaaaaaa", None, 404),
        ("GET", "/v1/peers/aaaaaaaa/explain", None, 404),
        ("DELETE", "/v1/peers/aaaaaaaa", None, 404),
        ("PATCH", "/v1/peers/aaaaaaaa", Some("{\"weight\": 2}"), 404),
        ("PATCH", "/v1/transfers/999999", Some("{\"weight\": 2}"), 404),
        ("PATCH", "/v1/transfers/x", Some("{\"weight\": 2}"), 404),
        ("PATCH", "/v1/groups/nobody", Some("{\"weight\": 2}"), 404),
        ("GET", "/v2/status", None, 404),
        ("GET", "/v1/peers/ab", None, 400),
        ("PATCH", &peer, Some("{\"weight\": -1}"), 400),
        ("PATCH", &peer, Some("{\"class\": \"urgent\"}"), 400),
        ("PATCH", &peer, Some("{\"upload_cap_bytes_per_second\": \"10MB\"}"), 400),
        ("PATCH", &peer, Some("{\"cap\": 3}"), 400),
        ("PATCH", &peer, Some("nonsense"), 400),
        ("PATCH", "/v1/limits", Some("{\"upload_bytes_per_second\": -5}"), 400),
        (
            "PATCH",
            &peer,
            Some("{\"upload_floor_bytes_per_second\": 2000000, \"upload_cap_bytes_per_second\": 1000000}"),
            409,
        ),
        ("PATCH", &peer, Some("{\"upload_floor_bytes_per_second\": 5000000}"), 409),
        ("PATCH", "/v1/groups/default", Some("{\"download_floor_bytes_per_second\": 5000000}"), 409),
        ("PUT", "/v1/limits", Some("{}"), 405),
        ("POST", "/v1/status", Some("{}"), 405),
    ] {
        let (got, words) = error(method, path, body);
        assert_eq!(got, status, "{method} {path} {body:?}: {words}");
    }
    server.ctl(&["set", "peer", &stranger, "--upload-floor", "3MB/s"]).expect_code(0);
    let said = server.ctl(&["set", "peer", &server.id, "--upload-floor", "2MB/s"]).expect_code(1).err();
    assert!(said.contains("add up to 5.0 MB/s"), "{said}");
    let said = server.ctl(&["limit", "--upload", "2MB/s"]).expect_code(1).err();
    assert!(said.contains("floors") && said.contains("conflict"), "{said}");
    let view = server.get(&peer);
    assert_eq!(view["upload"]["floor_bytes_per_second"], 3_000_000);
    assert_eq!((&view["upload"]["cap_bytes_per_second"], &view["weight"]), (&Value::Null, &1.0.into()), "{view}");
    assert_eq!(server.get("/v1/limits")["upload"]["limit_bytes_per_second"], 4_000_000);
    for args in [["explain", "aaaaaaaa"], ["disconnect", "aaaaaaaa"]] {
        let said = server.ctl(&args).expect_code(1).err();
        assert!(said.contains("ctl peers"), "{said}");
    }
    let said = server.ctl(&["set", "peer", "aaaaaaaa", "--weight", "2"]).expect_code(1).err();
    assert!(said.contains("ctl peers") && said.contains("[[peer]]"), "{said}");
    assert!(server.ctl(&["groups"]).expect_code(0).out().contains("default"));
    server.ctl(&["set", "peer", &stranger]).expect_code(2);
    server.ctl(&["limit", "--upload", "10Mb"]).expect_code(2);
}

#[test]
fn a_disconnected_peer_is_told_so_and_others_stay() {
    let (server, [get, mut put], stranger) = busy();
    server.ctl(&["disconnect", &stranger[..8]]).expect_code(0);
    let (code, words) = get.wait(20);
    assert_eq!(code, 77, "nothing is wrong with the line, and coming back will not help: {words}");
    assert!(words.contains("the operator closed this session"), "{words}");
    wait_until("it is gone", 10, || server.api("GET", &format!("/v1/peers/{stranger}"), None).0 == 404);
    assert!(put.is_running());
    assert_eq!(server.get("/v1/status")["sessions"], 1);
    wait_until("its entry in the page is gone", 10, || (server.metric("evenkeel_sessions", &[]) - 1.0).abs() < 0.1);
}

#[test]
fn settings_of_a_peer_outlive_its_session() {
    let server = Server::start(&["--open", "--upload-limit", "4MB/s"]);
    noise(&server.share().join("a.bin"), 8 << 20, 1);
    let (from, out) = (server.at("a.bin"), server.path("out"));
    let args = ["get", &from, "-o", &out];
    let id = server.run_as("one", &["id"]).out().lines().next().unwrap().to_owned();
    let client = server.spawn_as("one", &args);
    wait_until("it is here", 20, || server.api("GET", &format!("/v1/peers/{id}"), None).0 == 200);
    server.ctl(&["set", "peer", &id, "--upload-cap", "500KB/s"]).expect_code(0);
    client.kill();
    // Over UDP nobody says so, and the silence is too long after 30 s.
    let is_here = || server.get("/v1/peers").as_array().unwrap().iter().any(|peer| peer["id"] == id.as_str());
    wait_until("it is gone", 45, || !is_here());
    assert_eq!(server.get(&format!("/v1/peers/{id}"))["upload"]["cap_bytes_per_second"], 500_000, "it is known");
    let _client = server.spawn_as("one", &args);
    wait_until("it is here again", 20, is_here);
    assert_eq!(server.get(&format!("/v1/peers/{id}"))["upload"]["cap_bytes_per_second"], 500_000);
}

#[test]
fn a_token_is_wanted_where_one_is_set() {
    let token = "correct-horse-battery";
    let server = Server::with_config::<&str>(&format!("[admin]\ntoken = \"{token}\"\n"), &[]);
    let said = server.ctl(&["status"]).expect_code(77).err();
    assert!(said.contains("EVENKEEL_ADMIN_TOKEN"), "{said}");
    assert_eq!(server.api("GET", "/v1/status", None).0, 401);
    let with_token = std::process::Command::new(crate::support::PROGRAM)
        .args(["ctl", "--admin", &format!("http://{}", server.admin), "status"])
        .env("EVENKEEL_ADMIN_TOKEN", token)
        .output()
        .unwrap();
    with_token.expect_code(0);
    let room = tempfile::tempdir().unwrap();
    let open = Server::command(room.path(), &["--admin", "0.0.0.0:0"]).output().unwrap().expect_code(64).err();
    assert!(open.contains("token"), "{open}");
    evenkeel(&["ctl", "--admin", "https://127.0.0.1:1", "status"]).expect_code(2);
}
