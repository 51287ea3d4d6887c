//! Where a node listens by itself.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::Arc,
};

use crate::{
    nat::Namespace,
    support::{Said, Server},
};

/// Where `--http` without an address listens.
const HTTP: &str = "127.0.0.1:7480";

/// In a network namespace of its own, where nobody has that port. Where there can't be one, somebody may have it: then the node
/// says so and names it.
#[test]
fn http_without_an_address_is_port_7480_of_this_machine() {
    let namespace = Namespace::add("http");
    let room = Arc::new(tempfile::tempdir().unwrap());
    let args = ["--open", "--http"];
    let server = match &namespace {
        Ok(namespace) => Server::start_under(&namespace.wrapper(), Arc::clone(&room), &args),
        Err(why) => {
            println!("without a namespace: {why}");
            if let Err(taken) = std::net::TcpListener::bind(HTTP) {
                let said = Server::command(room.path(), &args).output().unwrap().expect_code(71).err();
                assert!(said.contains(HTTP) && said.contains("in use"), "{taken}: {said}");
                return;
            }
            Server::start_in(Arc::clone(&room), &args)
        }
    };
    assert_eq!(server.http, HTTP);
    let ask = || {
        let mut stream = TcpStream::connect(HTTP).unwrap();
        stream.write_all(b"GET /share/ HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let answer = match &namespace {
        Ok(namespace) => namespace.inside(ask),
        Err(_) => ask(),
    };
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}
