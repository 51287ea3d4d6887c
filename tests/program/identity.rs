//! Who may do what, and who is who.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, sync::Arc};

use crate::support::{Said, Server, assert_same, evenkeel, noise, wait_until};

#[test]
fn a_stranger_is_refused_with_the_line_that_helps() {
    let server = Server::start::<&str>(&[]);
    noise(&server.share().join("a.bin"), 1000, 1);
    for args in [
        vec!["ls".to_owned(), server.peers.clone()],
        vec!["get".to_owned(), server.at("a.bin")],
        vec!["put".to_owned(), server.path("share/a.bin"), server.at("b.bin")],
    ] {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let said = server.run_as("one", &args).expect_code(77).err();
        assert!(
            said.contains("no rights") && said.contains("evenkeel id") && said.contains("authorized_peers"),
            "{said}"
        );
    }
    assert!(server.metric("evenkeel_refusals_total", &["unauthorized"]) >= 3.0, "{}", server.page());
    assert!(!server.share().join("b.bin").exists());
}

#[test]
fn open_lets_anybody_read_and_nobody_write() {
    let server = Server::start(&["--open"]);
    noise(&server.share().join("a.bin"), 1000, 1);
    server.run_as("one", &["ls", &server.at("")]).expect_code(0);
    server.run_as("one", &["get", &server.at("a.bin"), "-o", &server.path("out")]).expect_code(0);
    assert_same(server.share().join("a.bin"), server.path("out"));
    let said = server.run_as("one", &["put", &server.path("out"), &server.at("b.bin")]).expect_code(77).err();
    assert!(said.contains("may not write") && said.contains("authorized_peers"), "{said}");
    assert!(!server.share().join("b.bin").exists());
}

#[test]
fn rights_are_given_and_taken_by_the_line_that_id_prints() {
    let server = Server::start::<&str>(&[]);
    noise(&server.share().join("a.bin"), 1000, 1);
    let id = server.run_as("one", &["id"]).expect_code(0).out();
    let line = id.lines().rfind(|line| line.contains(" read")).unwrap().to_owned();
    assert!(line.starts_with(id.lines().next().unwrap()), "{id}");
    let file = Path::new(&server.owner()).join("authorized_peers");
    fs::write(&file, format!("# friends\n{line}\n")).unwrap();
    let (from, out, to) = (server.at("a.bin"), server.path("out"), server.at("b.bin"));
    let get = || server.run_as("one", &["get", &from, "-o", &out]);
    wait_until("the right to read is in force", 10, || get().code() == 0);
    let put = || server.run_as("one", &["put", &out, &to]);
    put().expect_code(77);
    fs::write(&file, line.replace(" read", " read,write")).unwrap();
    wait_until("the right to write is in force", 10, || put().code() == 0);
    assert_same(&out, server.share().join("b.bin"));
    // A bad line changes nothing, and is said to the operator.
    fs::write(&file, "nonsense\n").unwrap();
    wait_until("the bad line is said", 10, || server.words().contains("authorized_peers:1"));
    get().expect_code(0);
    fs::remove_file(&file).unwrap();
    wait_until("the rights are gone", 10, || get().code() == 77);
}

#[test]
fn a_server_with_another_id_is_refused_and_gets_nothing() {
    let server = Server::start(&["--open"]);
    noise(&server.share().join("a.bin"), 1000, 1);
    let (peers, from, out) = (server.peers.clone(), server.at("a.bin"), server.path("out"));
    let first = server.run_as("one", &["get", &from, "-o", &out]).expect_code(0).err();
    assert!(first.contains(&server.id), "the first contact is said: {first}");
    let second = server.run_as("one", &["get", &from, "-o", &out]).expect_code(0).err();
    assert!(!second.contains(&server.id), "the second is not: {second}");
    let other_id = "a".repeat(52);
    let said = server.run_as("one", &["get", &from, "-o", &out, "--peer-id", &other_id]);
    assert_eq!(said.code(), 77, "{}", said.err());

    let room = server.kill();
    let other = Server::start_in(
        Arc::clone(&room),
        &["--listen", &peers, "--open", "--state", &format!("{}/other", room.path().display())],
    );
    let said = other.run_as("one", &["get", &from, "-o", &out]).expect_code(77).err();
    assert!(
        said.contains("does not have the id it had before") && said.contains("known_peers") && said.contains(&other.id),
        "{said}"
    );
    let said = other.run_as("one", &["put", &out, &other.at("b.bin")]).expect_code(77).err();
    assert!(said.contains("does not have the id it had before"), "{said}");
    assert!(other.metric("evenkeel_joins_total", &[]) < 0.5, "no hello was sent");
}

#[test]
fn the_id_of_a_node_is_that_of_its_state_directory() {
    let server = Server::start::<&str>(&[]);
    let id = evenkeel(&["id", "--state", &server.owner()]).expect_code(0).out();
    assert_eq!(id.lines().next(), Some(server.id.as_str()));
    assert_eq!(server.get("/v1/status")["id"], server.id.as_str());
    let names = fs::read_dir(server.owner()).unwrap().map(|entry| entry.unwrap());
    let keys: Vec<_> = names.filter(|entry| entry.file_name().to_string_lossy().contains("key")).collect();
    assert!(!keys.is_empty());
    for key in keys {
        let mode = key.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{}: {mode:o}", key.path().display());
    }
}
