//! Files, parts of files, and what was asked about them.

use std::fs;

use crate::{
    stage::{Wire, curl, has, node, url},
    support::{Said as _, Server, assert_same, noise, wait_until},
};

#[test]
fn curl_fetches_asks_resumes_and_is_told_where_a_file_ends() {
    if !has("curl") {
        return;
    }
    let server = node("", &[]);
    let (file, from) = (server.share().join("file.bin"), url(&server, "file.bin"));
    curl(&server, &["-o", "whole", &from]).expect_code(0);
    assert_same(&file, server.path("whole"));
    // The first 300,000 bytes, then the rest.
    curl(&server, &["-r", "0-299999", "-o", "rest", &from]).expect_code(0);
    assert_eq!(fs::metadata(server.path("rest")).unwrap().len(), 300_000);
    curl(&server, &["-C", "-", "-o", "rest", &from]).expect_code(0);
    assert_same(&file, server.path("rest"));
    // It is whole now: nothing is left to resume.
    let again = curl(&server, &["-C", "-", "-o", "rest", "-w", "%{http_code}", &from]);
    assert_eq!(again.out(), "416");
    let head = curl(&server, &["-I", &from]).expect_code(0).out();
    for line in ["200 OK", "Content-Length: 1000000\r", "Accept-Ranges: bytes\r", "ETag: \"", "Last-Modified: "] {
        assert!(head.contains(line), "{line}: {head}");
    }
    let beyond = curl(&server, &["-r", "1000000-", "-D", "-", "-o", "none", &from]).expect_code(0).out();
    assert!(beyond.contains(" 416 ") && beyond.contains("Content-Range: bytes */1000000\r"), "{beyond}");
}

#[test]
fn curl_fetches_many_at_once_and_reuses_its_connection() {
    if !has("curl") {
        return;
    }
    let server = node("", &[]);
    let mut args: Vec<String> = vec!["-Z".into(), "--parallel-max".into(), "16".into()];
    for index in 0..24 {
        noise(&server.share().join(format!("f{index}")), 100_000 + index, index as u64);
        args.extend(["-o".into(), format!("got{index}"), url(&server, &format!("f{index}"))]);
    }
    curl(&server, &args.iter().map(String::as_str).collect::<Vec<_>>()).expect_code(0);
    for index in 0..24 {
        assert_same(server.share().join(format!("f{index}")), server.path(&format!("got{index}")));
    }
    let (one, two) = (url(&server, "f1"), url(&server, "f2"));
    let reused = curl(&server, &["-w", "%{num_connects} ", "-o", "a", &one, "-o", "b", &two]).expect_code(0);
    assert_eq!(reused.out(), "1 0 ");
}

#[test]
fn conditions_and_ranges_of_a_known_file() {
    let server = node("", &[]);
    let bytes = fs::read(server.share().join("file.bin")).unwrap();
    let mut wire = Wire::to(&server);
    let whole = wire.get("file.bin", "");
    assert_eq!((whole.status, &whole.body), (200, &bytes));
    let tag = whole.header("etag").unwrap().to_owned();
    let date = whole.header("last-modified").unwrap().to_owned();
    assert!(tag.starts_with('"'), "strong: {tag}");
    for (headers, status) in [
        (format!("If-None-Match: {tag}\r\n"), 304),
        (format!("If-Modified-Since: {date}\r\n"), 304),
        (format!("If-Match: {tag}\r\nRange: bytes=1-2\r\n"), 206),
        ("If-Match: \"other\"\r\n".to_owned(), 412),
        (format!("If-Range: {tag}\r\nRange: bytes=1-2\r\n"), 206),
        ("If-Range: \"other\"\r\nRange: bytes=1-2\r\n".to_owned(), 200),
        ("Range: bytes=1-2\r\n".to_owned(), 206),
        ("Range: bytes=2000000-\r\n".to_owned(), 416),
        ("Range: lines=1-2\r\n".to_owned(), 200),
    ] {
        let answer = wire.get("file.bin", &headers);
        assert_eq!(answer.status, status, "{headers}{}", answer.head);
        match status {
            206 => assert_eq!(answer.body, bytes[1..3], "{headers}"),
            200 => assert_eq!(answer.body.len(), bytes.len(), "{headers}"),
            304 => assert!(answer.body.is_empty() && answer.header("etag") == Some(tag.as_str())),
            _ => {}
        }
    }
    let head = wire.ask("HEAD", "/share/file.bin", "Range: bytes=0-1\r\n");
    assert_eq!((head.status, head.header("content-length")), (200, Some("1000000")));
    // Another file of that name is another file.
    noise(&server.share().join("file.bin"), 1_000_001, 2);
    assert_eq!(wire.get("file.bin", &format!("If-Range: {tag}\r\nRange: bytes=1-2\r\n")).status, 200);
    assert_eq!(wire.get("file.bin", &format!("If-None-Match: {tag}\r\n")).status, 200);
}

#[test]
fn several_ranges_come_as_parts() {
    let server = node("", &[]);
    let bytes = fs::read(server.share().join("file.bin")).unwrap();
    let mut wire = Wire::to(&server);
    let answer = wire.get("file.bin", "Range: bytes=500000-500009, 0-4, -3\r\n");
    assert_eq!(answer.status, 206);
    let boundary = answer.header("content-type").unwrap().strip_prefix("multipart/byteranges; boundary=").unwrap();
    let mut expected = Vec::new();
    for span in [500_000..500_010, 0..5, 999_997..1_000_000] {
        let (first, last) = (span.start, span.end - 1);
        expected
            .extend_from_slice(format!("\r\n--{boundary}\r\nContent-Type: application/octet-stream\r\n").as_bytes());
        expected.extend_from_slice(format!("Content-Range: bytes {first}-{last}/1000000\r\n\r\n").as_bytes());
        expected.extend_from_slice(&bytes[span]);
    }
    expected.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    assert!(answer.body == expected, "{}", String::from_utf8_lossy(&answer.body));
    // What overlaps is one part, and a single part is no multipart.
    let answer = wire.get("file.bin", "Range: bytes=0-9,5-19\r\n");
    assert_eq!(answer.header("content-range"), Some("bytes 0-19/1000000"));
    assert_eq!(answer.body, bytes[..20]);
}

#[test]
fn the_heads_of_small_parts_wait_for_their_turn_and_are_counted_like_the_parts() {
    const RATE: f64 = 20_000.0;
    let server = node("[limits]\nupload = \"20KB/s\"\n", &[]);
    let bytes: Vec<String> = (0..32).map(|index| format!("{0}-{0}", index * 1000)).collect();
    let headers = format!("Range: bytes={}\r\n", bytes.join(","));
    let (mut wire, mut received, began) = (Wire::to(&server), 0, std::time::Instant::now());
    for _ in 0..20 {
        received += wire.get("file.bin", &headers).body.len();
    }
    let took = began.elapsed().as_secs_f64();
    assert!(received > 70_000, "mostly heads: {received}");
    // What is let through at once at the beginning is less than a second's.
    assert!(took > received as f64 / RATE - 1.0, "{received} bytes in {took} s");
    let counted = || server.metric("evenkeel_payload_bytes_total", &["transport=\"http\""]);
    wait_until("all of it is payload", 10, || counted() == received as f64);
}

#[test]
fn requests_in_a_pipeline_are_answered_in_order() {
    let server = node("", &[]);
    let bytes = fs::read(server.share().join("file.bin")).unwrap();
    let mut wire = Wire::to(&server);
    let request = |range: &str| format!("GET /share/file.bin HTTP/1.1\r\nHost: h\r\nRange: bytes={range}\r\n\r\n");
    wire.say([request("0-9"), request("10-99999"), request("7-7")].concat());
    for span in [0..10, 10..100_000, 7..8] {
        assert!(wire.hear(true).body == bytes[span]);
    }
    let mut old = Wire::to(&server);
    old.say("GET /share/file.bin HTTP/1.0\r\n\r\n");
    assert_eq!(old.hear(true).body.len(), 1_000_000);
    assert!(old.is_closed());
}

#[test]
fn names_that_are_not_there_or_not_allowed() {
    let server = node("", &[]);
    fs::create_dir(server.share().join("dir")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", server.share().join("link")).unwrap();
    fs::write(server.share().join("empty"), "").unwrap();
    let mut wire = Wire::to(&server);
    for (target, status) in [
        ("/share/nothing", 404),
        ("/other/file.bin", 404),
        ("/share/file.bin/", 404),
        ("/share/file.bin/x", 404),
        ("/share/x.part", 404),
        ("/share/dir", 301),
        ("/share", 301),
        ("/share/link", 403),
        ("/share/empty", 200),
        ("/share/%2e%2e/state/key.pem", 400),
        ("/share/..%2Fstate/key.pem", 400),
        ("/share//file.bin", 400),
    ] {
        assert_eq!(wire.ask("GET", target, "").status, status, "{target}");
    }
    let moved = wire.ask("GET", "/share/dir?format=json", "");
    assert_eq!(moved.header("location"), Some("/share/dir/?format=json"));
    let answer = wire.ask("GET", "/share/empty", "Range: bytes=0-\r\n");
    assert_eq!((answer.status, answer.header("content-range")), (416, Some("bytes */0")));
    wait_until("they are counted", 10, || server.metric("evenkeel_http_requests_total", &["status=\"301\""]) == 3.0);
}

#[test]
fn only_public_shares_are_seen_by_a_node_that_is_not_open() {
    let room = std::sync::Arc::new(tempfile::tempdir().unwrap());
    for name in ["mine", "ours"] {
        fs::create_dir(room.path().join(name)).unwrap();
        fs::write(room.path().join(name).join("a.txt"), name).unwrap();
    }
    let config =
        "[[share]]\nname = \"mine\"\npath = \"mine\"\n[[share]]\nname = \"ours\"\npath = \"ours\"\npublic = true\n";
    fs::write(room.path().join("c.toml"), config).unwrap();
    let file = room.path().join("c.toml").to_str().unwrap().to_owned();
    let server = Server::start_in(room, &["--config", file.as_str(), "--http", "127.0.0.1:0"]);
    let mut wire = Wire::to(&server);
    let answer = wire.ask("GET", "/ours/a.txt", "");
    assert_eq!((answer.status, answer.body.as_slice()), (200, b"ours".as_slice()));
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(answer.header("content-disposition"), Some("inline; filename=\"a.txt\""));
    for target in ["/mine/a.txt", "/mine/", "/mine"] {
        assert_eq!(wire.ask("GET", target, "").status, 404, "{target}");
    }
    wire.say("GET /?format=json HTTP/1.0\r\n\r\n");
    let listing = wire.hear_to_the_end();
    assert!(listing.contains("ours") && !listing.contains("mine"), "{listing}");
}
