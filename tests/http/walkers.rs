//! Listings, and the programs that walk them.

use std::{
    fs,
    io::Read as _,
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    stage::{Wire, curl, has, node, run, url},
    support::{Said as _, Server, assert_same, noise, turn::alone, wait_until},
};

/// A node with a small tree of files, some of odd names.
fn tree() -> (Server, Vec<&'static str>) {
    let server = node("", &[]);
    let names = vec!["file.bin", "a b.txt", "dir/one.bin", "dir/deep/two & <3>.bin", "dir/ü:é?#%.txt", "12:30.log"];
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
fn a_listing_for_an_old_client_that_keeps_connections_ends_with_its_connection() {
    let (server, _) = tree();
    for (target, end) in [("/", "</html>\n"), ("/share/dir/?format=json", "\n]}\n")] {
        let mut wire = Wire::to(&server);
        wire.say(format!("GET {target} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
        let mut heard = String::new();
        // It fails when the node does not close.
        wire.stream().read_to_string(&mut heard).unwrap();
        assert!(heard.contains("\r\nConnection: close\r\n") && heard.ends_with(end), "{heard}");
    }
    // What has a length needs no end.
    let mut wire = Wire::to(&server);
    for target in ["/share/file.bin", "/share/dir", "/share/file.bin"] {
        wire.say(format!("GET {target} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
        assert_eq!(wire.hear(true).header("connection"), Some("keep-alive"), "{target}");
    }
}

#[test]
fn listings_that_leave_names_out_are_not_a_flood_of_log_lines() {
    use std::os::unix::ffi::OsStrExt as _;
    const LISTINGS: usize = 40;
    let (server, _) = tree();
    fs::write(server.share().join("dir").join(std::ffi::OsStr::from_bytes(b"\xff")), "").unwrap();
    let (mut wire, began) = (Wire::to(&server), Instant::now());
    for _ in 0..LISTINGS {
        assert!(wire.ask("GET", "/share/dir/", "Connection: close\r\n").status == 200);
        wire = Wire::to(&server);
    }
    let lines = || server.words().matches("can't be shared").count();
    wait_until("it is said", 10, || lines() > 0);
    assert!(server.words().contains("share/dir"), "where: {}", server.words());
    let most = 1 + began.elapsed().as_secs() as usize / 10;
    assert!(lines() <= most, "{} lines of {LISTINGS} listings", lines());
    assert_eq!(server.metric("evenkeel_names_hidden_total", &[]), LISTINGS as f64, "each is counted");
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
fn aria2_fetches_one_file_over_sixteen_connections_and_the_cap_of_its_address_holds_for_their_sum() {
    const BYTES: usize = 20_000_000;
    const CAP: f64 = 4e6;
    if !has("aria2c") {
        return;
    }
    alone();
    let quick = "[allocation]\ninterval = \"500ms\"\nearly = \"100ms\"\n";
    let server = node(&format!("{quick}[[peer]]\nid = \"http:127.0.0.1\"\nupload_cap = \"4MB/s\"\n"), &[]);
    noise(&server.share().join("large.bin"), BYTES, 9);
    let args = ["-q", "--no-conf", "-x", "16", "-s", "16", "-k", "1M", "-o", "got"];
    let began = Instant::now();
    thread::scope(|scope| {
        let aria2 = scope.spawn(|| {
            run(&server, "aria2c", &[&args[..], &[&url(&server, "large.bin")]].concat()).expect_code(0);
        });
        wait_until("all its connections are served at once", 10, || {
            server.metric("evenkeel_transfers", &["direction=\"upload\""]) == 16.0
        });
        // Not one second above it. What is under way between the two looks makes it look more.
        let sent = || (Instant::now(), server.metric("evenkeel_payload_bytes_total", &["transport=\"http\""]));
        let (mut then, mut before) = sent();
        while !aria2.is_finished() {
            thread::sleep(Duration::from_secs(1));
            let (now, after) = sent();
            let rate = (after - before) / (now - then).as_secs_f64();
            assert!(rate < 1.05 * CAP, "{rate}");
            (then, before) = (now, after);
        }
    });
    let rate = BYTES as f64 / began.elapsed().as_secs_f64();
    eprintln!("{rate:.0} bytes a second in all");
    assert!((0.6 * CAP..1.03 * CAP).contains(&rate), "{rate}");
    assert_same(server.share().join("large.bin"), server.path("got"));
}
