//! `ls`, `get` and `put` when all goes well.

use std::fs;

use crate::support::{Said, Server, assert_same, noise};

const MIB: usize = 1 << 20;

#[test]
fn files_of_every_size_go_there_and_back() {
    let server = Server::start::<&str>(&[]);
    fs::create_dir(server.room.path().join("out")).unwrap();
    for (index, size) in [0, 1, MIB - 1, MIB, MIB + 1, 5 * MIB].into_iter().enumerate() {
        let name = format!("{size}.bin");
        let local = server.room.path().join(&name);
        noise(&local, size, index as u64);
        server.run(&["put", &server.path(&name), &server.at("in/")]).expect_code(0);
        assert_same(&local, server.share().join("in").join(&name));
        let back = format!("out/{name}");
        server.run(&["get", &server.at(&format!("in/{name}")), "-o", &server.path(&back)]).expect_code(0);
        assert_same(&local, server.path(&back));
    }
}
