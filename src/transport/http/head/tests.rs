//! Good heads, and every shape that is refused.

use super::*;

/// What becomes of a connection's first bytes.
fn read(bytes: &[u8]) -> Result<Option<Request>, Refusal> {
    cut(bytes, &mut 0)?.map(|len| parse(&bytes[..len])).transpose()
}

fn refused(bytes: &[u8]) -> (u16, &'static str, bool) {
    let refusal = read(bytes).expect_err(&String::from_utf8_lossy(bytes));
    (refusal.status.as_u16(), refusal.reason, refusal.close)
}

#[test]
fn a_browsers_request_is_read() {
    let head = b"GET /share/a%20b.iso?x=1 HTTP/1.1\r\nHost: h:7480\r\nUser-Agent: curl/8\r\nRange: bytes=0-4\r\n\
        If-None-Match: \"a\"\r\nif-none-match: \"b\"\r\n\r\n";
    let request = read(head).unwrap().unwrap();
    assert_eq!((request.method, request.keep_alive, request.is_old), (Method::Get, true, false));
    assert_eq!((request.target.path.as_str(), request.target.is_directory), ("share/a b.iso", false));
    assert_eq!(request.agent, "curl/8");
    assert_eq!(request.wishes.range.as_deref(), Some("bytes=0-4"));
    assert_eq!(request.wishes.if_none_match.as_deref(), Some("\"a\", \"b\""));
}

#[test]
fn the_connection_lasts_as_asked() {
    for (head, keep_alive) in [
        ("GET / HTTP/1.1\r\nHost: h\r\n\r\n", true),
        ("GET / HTTP/1.1\r\nHost: h\r\nConnection: x, Close\r\n\r\n", false),
        ("GET / HTTP/1.0\r\n\r\n", false),
        ("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", true),
        ("\r\nGET / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n", true),
    ] {
        assert_eq!(read(head.as_bytes()).unwrap().unwrap().keep_alive, keep_alive, "{head}");
    }
}

#[test]
fn a_head_that_trickles_in_is_whole_with_its_last_byte() {
    let head = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n";
    let mut scanned = 0;
    for len in 0..head.len() {
        assert_eq!(cut(&head[..len], &mut scanned), Ok(None), "{len}");
    }
    let mut two = head.to_vec();
    two.extend_from_slice(b"GET /b");
    assert_eq!(cut(&two, &mut scanned), Ok(Some(head.len())));
}

#[test]
fn a_host_is_a_name_or_an_address_or_empty() {
    for host in ["h", "my_host:7480", "127.0.0.1:80", "[::1]:7480", "[fe80::1]", "%41", ""] {
        assert!(read(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).unwrap().is_some(), "{host}");
    }
}

#[test]
fn hostile_shapes_are_refused() {
    for (bytes, expected) in [
        // Where a message ends, nobody may be in doubt.
        ("GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n", (400, "smuggling", true)),
        (
            "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
            (400, "smuggling", true),
        ),
        ("GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", (400, "smuggling", true)),
        ("GET / HTTP/1.1\r\nHost: h\r\nContent-Length: +3\r\n\r\n", (400, "smuggling", true)),
        ("GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1, 1\r\n\r\n", (400, "smuggling", true)),
        ("GET / HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\n\r\n", (400, "smuggling", true)),
        ("GET / HTTP/1.1\r\nHost : h\r\n\r\n", (400, "smuggling", true)),
        ("GET / HTTP/1.1\nHost: h\n\n", (400, "smuggling", true)),
        ("GET / HTTP/1.1\r\nHost: h\r\n\n", (400, "smuggling", true)),
        ("GET / HTTP/1.1\r\nX: a\rb\r\n\r\n", (400, "smuggling", true)),
        ("GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello", (400, "body", true)),
        // Not ours.
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (505, "http2", true)),
        ("\u{16}\u{3}\u{1}\u{2}", (400, "tls_on_plain", true)),
        ("GET / HTTP/1.7\r\n\r\n", (505, "http_version", true)),
        ("GET /\r\n\r\n", (400, "malformed", true)),
        ("\r\n\r\n", (400, "malformed", true)),
        ("hello\r\n\r\n", (400, "malformed", true)),
        ("GET / HTTP/1.1\r\n\r\n", (400, "malformed", true)),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", (400, "malformed", true)),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", (400, "malformed", true)),
        ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", (400, "malformed", true)),
        ("GET / HTTP/1.1\r\nHost: x:abc\r\n\r\n", (400, "malformed", true)),
        ("GET / HTTP/1.1\r\nHost: x:-1\r\n\r\n", (400, "malformed", true)),
        ("GET / HTTP/1.1\r\nHost: x:99999\r\n\r\n", (400, "malformed", true)),
        ("GET / HTTP/1.1\r\nHost: []\r\n\r\n", (400, "malformed", true)),
        ("GET / HTTP/1.1\r\nHost: [zz]\r\n\r\n", (400, "malformed", true)),
        ("GET /a b HTTP/1.1\r\nHost: h\r\n\r\n", (400, "malformed", true)),
        ("GET /a b HTTP/2.0\r\nHost: h\r\n\r\n", (400, "malformed", true)),
        ("\r\nGET /a HTTP/2.0\r\nHost: h\r\n\r\n", (505, "http_version", true)),
        ("GET http://u@h/a HTTP/1.1\r\nHost: h\r\n\r\n", (400, "target", false)),
        ("GET / HTTP/1.1\r\nHost: user@a\r\n\r\n", (400, "malformed", true)),
        ("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", (400, "malformed", true)),
        ("GET / HTTP/1.1\r\nHost: a\r\nRange: bytes=0-\r\nRange: bytes=1-\r\n\r\n", (400, "malformed", true)),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n", (400, "malformed", true)),
        // Ours, but not so.
        ("POST / HTTP/1.1\r\nHost: h\r\n\r\n", (405, "method", false)),
        ("PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\n", (405, "method", true)),
        ("CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n", (405, "method", false)),
        ("GET /a/../b HTTP/1.1\r\nHost: h\r\n\r\n", (400, "target", false)),
        ("GET * HTTP/1.1\r\nHost: h\r\n\r\n", (400, "target", false)),
        ("HEAD /a/../b HTTP/1.1\r\nHost: h\r\n\r\n", (400, "target", false)),
        ("POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", (405, "method", true)),
    ] {
        assert_eq!(refused(bytes.as_bytes()), expected, "{bytes:?}");
    }
}

#[test]
fn what_is_too_long_is_refused_before_it_ends() {
    let line = format!("GET /{}", "a".repeat(REQUEST_LINE_BYTES_MAX));
    assert_eq!(refused(line.as_bytes()), (414, "request_line", true));
    let line = format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "a".repeat(REQUEST_LINE_BYTES_MAX));
    assert_eq!(refused(line.as_bytes()), (414, "request_line", true));
    let head = format!("GET / HTTP/1.1\r\nHost: h\r\nX: {}", "a".repeat(HEAD_BYTES_MAX));
    assert_eq!(refused(head.as_bytes()), (431, "headers", true));
    assert_eq!(refused(format!("{head}\r\n\r\n").as_bytes()), (431, "headers", true));
    let many = "X: a\r\n".repeat(HEADERS_MAX + 1);
    assert_eq!(refused(format!("GET / HTTP/1.1\r\n{many}\r\n").as_bytes()), (431, "headers", true));
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_taken_or_refused(bytes: Vec<u8>, cuts: Vec<u8>) {
        let mut scanned = 0;
        for cut_at in cuts {
            let _ = cut(&bytes[..bytes.len().min(cut_at.into())], &mut scanned.min(bytes.len().min(cut_at.into())));
        }
        scanned = 0;
        if let Ok(Some(len)) = cut(&bytes, &mut scanned) {
            let _ = parse(&bytes[..len]);
        }
    }

    #[test]
    fn any_header_is_taken_or_refused(name in "[A-Za-z-]{0,12}", value in "[ -~\\t]{0,40}") {
        let head = format!("GET / HTTP/1.1\r\nHost: h\r\n{name}: {value}\r\n\r\n");
        let _ = read(head.as_bytes());
    }
}
