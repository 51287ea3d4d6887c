//! The control message API and bad callers: each is answered in JSON, counted by status, and changes nothing.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use crate::{
    foe::PATIENCE,
    stage::{Neighbour, node, serves_on},
    support::{Server, wait_until},
};

/// Sends `request` and reads to the end: the answer, whole.
fn ask(server: &Server, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(&server.admin).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn patch(headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "PATCH /v1/limits HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n\
         Content-Length: {length}\r\n{headers}\r\n{body}"
    )
    .into_bytes()
}

#[test]
fn bad_requests_are_answered_counted_and_change_nothing() {
    let server = node("");
    let neighbour = Neighbour::getting(&server);
    let limits = server.get("/v1/limits");
    let lift = r#"{"upload_bytes_per_second": null}"#;
    let get = |headers: &str| format!("GET /v1/status HTTP/1.1\r\nConnection: close\r\n{headers}\r\n").into_bytes();
    let cases: Vec<(u16, &str, Vec<u8>)> = vec![
        (400, "invalid", patch("", "{")),
        (400, "invalid", patch("", "")),
        (400, "invalid", patch("", "[]")),
        (400, "invalid", patch("", r#"{"upload_bytes_per_second": -1}"#)),
        (400, "invalid", patch("", r#"{"upload_bytes_per_second": 1e400}"#)),
        (400, "invalid", patch("", r#"{"upload_bytes_per_second": "10Mb"}"#)),
        (400, "invalid", patch("", r#"{"upload_bytes_per_second": NaN}"#)),
        (400, "invalid", patch("", r#"{"upload_limit": 5}"#)),
        (413, "too_large", patch("", &" ".repeat(70_000))),
        (
            415,
            "unsupported_media_type",
            b"PATCH /v1/limits HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}"
                .to_vec(),
        ),
        (
            405,
            "method_not_allowed",
            b"POST /v1/limits HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".to_vec(),
        ),
        (
            404,
            "not_found",
            b"GET /v1/../../etc/passwd HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".to_vec(),
        ),
        // No HTTP at all, and HTTP that nobody can understand.
        (400, "malformed", b"\x16\x03\x01garbage\r\n\r\n".to_vec()),
        (400, "malformed", b"hello\r\n\r\n".to_vec()),
        (400, "malformed", b"GET /v1/status HTTP/9.9\r\nHost: localhost\r\n\r\n".to_vec()),
        (400, "malformed", b"GET /v1/status HTTP/1.1\r\nHost localhost\r\n\r\n".to_vec()),
        (
            400,
            "malformed",
            b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd".to_vec(),
        ),
        (400, "malformed", b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n".to_vec()),
        (400, "malformed", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()),
        (
            431,
            "too_large",
            format!("GET / HTTP/1.1\r\nHost: localhost\r\nCookie: {}", "a".repeat(1 << 20)).into_bytes(),
        ),
        // A web page in the operator's browser.
        (403, "foreign", patch("Origin: https://evil.example\r\n", lift)),
        (403, "foreign", patch("Origin: null\r\n", lift)),
        (403, "foreign", patch("Sec-Fetch-Site: cross-site\r\n", lift)),
        (403, "foreign", get("Host: evil.example\r\n")),
    ];
    for (status, code, request) in cases {
        let shown = String::from_utf8_lossy(&request[..request.len().min(300)]).into_owned();
        let count = || server.metric("evenkeel_api_requests_total", &[&format!("status=\"{status}\"")]);
        let before = count();
        let answer = ask(&server, &request);
        // Other answers may stand before it on the same connection.
        let last = &answer[answer.rfind("HTTP/1.1 4").unwrap_or(0)..];
        assert!(last.starts_with(&format!("HTTP/1.1 {status} ")), "{shown}\n->\n{answer}");
        let (head, body) = last.split_once("\r\n\r\n").unwrap();
        assert!(head.to_lowercase().contains(&format!("content-length: {}", body.len())), "{answer}");
        let _: serde_json::Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"));
        assert!(answer.contains(&format!(r#""code":"{code}""#)), "{shown}\n->\n{answer}");
        wait_until(&format!("a count of {status}"), 10, || count() > before);
    }
    let mut after = server.get("/v1/limits");
    after["upload"]["capacity_bytes_per_second"] = limits["upload"]["capacity_bytes_per_second"].clone();
    assert_eq!(after["upload"], limits["upload"]);
    serves_on(&server);
    neighbour.was_undisturbed();
}

#[test]
fn slow_and_silent_callers_do_not_keep_the_operator_out() {
    let server = node("");
    let neighbour = Neighbour::getting(&server);
    let mut crowd: Vec<TcpStream> = (0..40).map(|_| TcpStream::connect(&server.admin).unwrap()).collect();
    for stream in &mut crowd {
        stream.write_all(b"GET /v1/status HTTP/1.1\r\nHost: loc").unwrap();
    }
    assert_eq!(server.api("GET", "/v1/status", None).0, 200);
    // Headers that don't end, and a body that doesn't come.
    let mut slow = TcpStream::connect(&server.admin).unwrap();
    slow.write_all(
        b"PATCH /v1/limits HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{",
    )
    .unwrap();
    for stream in crowd.iter_mut().take(1).chain([&mut slow]) {
        stream.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("closed within the time");
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with("HTTP/1.1 408") && answer.contains(r#""code":"timeout""#), "{answer}");
    }
    // More than there are places: the next caller waits until the first are dropped, not for ever.
    crowd.extend((0..100).map(|_| TcpStream::connect(&server.admin).unwrap()));
    assert_eq!(server.api("GET", "/v1/status", None).0, 200);
    assert_eq!(ask(&server, b"\x16\x03\x01garbage\r\n\r\n").get(..12), Some("HTTP/1.1 400"));
    serves_on(&server);
    neighbour.was_undisturbed();
}
