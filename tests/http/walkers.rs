//! Listings, and the programs that walk them.

use std::fs;

use serde_json::Value;

use crate::{
    stage::{Wire, curl, has, node, run, url},
    support::{Said as _, Server, assert_same, noise},
};

/// A node with a small tree of files, some of odd names.
fn tree() -> (Server, Vec<&'static str>) {
    let server = node("", &[]);
    let names = vec!["file.bin", "a b.txt", "dir/one.bin", "dir/deep/two & <3>.bin", "dir/ü:é?#%.txt"];
    fs::create_dir_all(server.share().join("dir/deep")).unwrap();
    for (name, seed) in names.iter().zip(1..) {
        noise(&server.share().join(name), 20_000 * seed, seed as u64);
    }
    (server, names)
}

#[test]
fn a_listing_is_for_people_and_for_programs() {
    if !has("curl") {
        return;
    }
    let (server, _) = tree();
    let page = curl(&server, &["-D", "-", &url(&server, "dir/")]).expect_code(0).out();
    for part in ["Content-Type: text/html; charset=utf-8", "href=\"deep/\"", "href=\"one.bin\"", "href=\"../\""] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert!(!page.contains("<script"));
    let json = curl(&server, &["-L", &url(&server, "dir?format=json")]).expect_code(0).out();
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["path"], "share/dir");
    let names: Vec<&str> =
        json["entries"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["deep", "one.bin", "ü:é?#%.txt"]);
    assert_eq!(json["entries"][1]["size"], 60_000);
    // Old clients know no chunks, and curl is told by the end of the connection.
    let old = curl(&server, &["-0", &url(&server, "dir/?format=json")]).expect_code(0).out();
    assert_eq!(serde_json::from_str::<Value>(&old).unwrap(), json);
    let mut wire = Wire::to(&server);
    assert_eq!(wire.ask("HEAD", "/share/dir/", "").status, 200);
    assert_eq!(wire.ask("HEAD", "/share/nothing/", "").status, 404);
}

#[test]
fn a_listing_of_many_names_is_whole() {
    if !has("curl") {
        return;
    }
    let server = node("", &[]);
    fs::create_dir(server.share().join("many")).unwrap();
    for index in 0..1234 {
        fs::write(server.share().join(format!("many/{index:04}")), "").unwrap();
    }
    let json = curl(&server, &[&url(&server, "many/?format=json")]).expect_code(0).out();
    let json: Value = serde_json::from_str(&json).unwrap();
    let entries = json["entries"].as_array().unwrap();
    assert_eq!(entries.len(), 1234);
    assert!(entries.iter().zip(0..).all(|(entry, index)| entry["name"] == format!("{index:04}")));
}

#[test]
fn wget_walks() {
    if !has("wget") {
        return;
    }
    let (server, names) = tree();
    let to = server.path("got");
    run(&server, "wget", &["-q", "-r", "-np", "-nH", "-P", &to, &url(&server, "")]).expect_code(0);
    for name in names {
        assert_same(server.share().join(name), server.room.path().join("got/share").join(name));
    }
    // Cut off, then continued.
    let part = server.room.path().join("got/share/file.bin");
    fs::File::options().write(true).open(&part).unwrap().set_len(5_000).unwrap();
    run(&server, "wget", &["-q", "-c", "-O", part.to_str().unwrap(), &url(&server, "file.bin")]).expect_code(0);
    assert_same(server.share().join("file.bin"), part);
}

#[test]
fn rclone_walks() {
    if !has("rclone") {
        return;
    }
    let (server, names) = tree();
    let base = format!("http://{}/", server.http);
    let args = ["--http-url", &base, "--config", "/dev/null"];
    run(&server, "rclone", &[&["copy", ":http:share", "got"], &args[..]].concat()).expect_code(0);
    for name in names {
        assert_same(server.share().join(name), server.room.path().join("got").join(name));
    }
    run(&server, "rclone", &[&["check", ":http:share", "got", "--download"], &args[..]].concat()).expect_code(0);
}

#[test]
fn aria2_fetches_one_file_over_several_connections() {
    if !has("aria2c") {
        return;
    }
    let server = node("", &[]);
    noise(&server.share().join("large.bin"), 8_000_000, 9);
    let args = ["-q", "--no-conf", "-x", "4", "-s", "4", "-k", "1M", "-o", "got"];
    run(&server, "aria2c", &[&args[..], &[&url(&server, "large.bin")]].concat()).expect_code(0);
    assert_same(server.share().join("large.bin"), server.path("got"));
}
