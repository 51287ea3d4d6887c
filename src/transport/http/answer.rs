//! An answer's head: status line and headers, written once.

use std::{fmt::Display, io::Write as _, time::SystemTime};

use http::StatusCode;

use super::{head::Refusal, target::written};

/// What `Server` says.
const SERVER: &str = concat!("evenkeel/", env!("CARGO_PKG_VERSION"));
/// What one who was turned away for lack of room waits: some transfers have ended by then.
const RETRY_AFTER_SECONDS: u32 = 10;

/// A head that is being written.
pub(super) struct Head {
    bytes: Vec<u8>,
    status: StatusCode,
}

impl Head {
    /// Begins an answer that is given at `now`.
    pub(super) fn new(status: StatusCode, now: SystemTime) -> Self {
        let mut bytes = Vec::with_capacity(512);
        let reason = status.canonical_reason().unwrap_or("Unknown");
        // Writing to memory does not fail.
        let _ = write!(bytes, "HTTP/1.1 {} {reason}\r\nServer: {SERVER}\r\n", status.as_str());
        let head = Self { bytes, status }.with("Date", httpdate::fmt_http_date(now));
        // Every answer is what its type says, and nothing that a browser finds in it.
        let head = head.with("X-Content-Type-Options", "nosniff");
        match status {
            StatusCode::METHOD_NOT_ALLOWED => head.with("Allow", "GET, HEAD"),
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
                head.with("Retry-After", RETRY_AFTER_SECONDS)
            }
            _ => head,
        }
    }

    /// Adds a header. Its value must not hold what a client sent as it was sent.
    pub(super) fn with(mut self, name: &str, value: impl Display) -> Self {
        let before = self.bytes.len();
        let _ = write!(self.bytes, "{name}: {value}");
        let is_one_line = !self.bytes[before..].iter().any(u8::is_ascii_control);
        debug_assert!(is_one_line, "{name} would break the head");
        if !is_one_line {
            self.bytes.truncate(before);
            return self;
        }
        self.bytes.extend_from_slice(b"\r\n");
        self
    }

    /// The same, where there is a value.
    pub(super) fn with_some(self, name: &str, value: Option<impl Display>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// Its status.
    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    /// The whole head. HTTP/1.0 clients must be told that the connection lasts, others that it does not.
    pub(super) fn finish(self, keep_alive: bool, is_old: bool) -> Vec<u8> {
        let head = match (keep_alive, is_old) {
            (false, _) => self.with("Connection", "close"),
            (true, true) => self.with("Connection", "keep-alive"),
            (true, false) => self,
        };
        let mut bytes = head.bytes;
        bytes.extend_from_slice(b"\r\n");
        bytes
    }
}

/// A whole small answer in words; its body is left out for HEAD.
pub(super) fn plain(head: Head, words: &str, has_body: bool, keep_alive: bool, is_old: bool) -> Vec<u8> {
    let body = format!("{}: {words}\n", head.status());
    let head = head.with("Content-Type", "text/plain; charset=utf-8").with("Content-Length", body.len());
    let mut bytes = head.finish(keep_alive, is_old);
    if has_body {
        bytes.extend_from_slice(body.as_bytes());
    }
    bytes
}

/// What a refused request is told.
pub(super) fn refusal(refusal: &Refusal, now: SystemTime) -> Vec<u8> {
    if refusal.alert {
        return TLS_ALERT.to_vec();
    }
    plain(Head::new(refusal.status, now), refusal.words, !refusal.is_head, !refusal.close, false)
}

/// A fatal TLS alert, `protocol_version`: the one answer that a client who speaks TLS to this port can read.
const TLS_ALERT: [u8; 7] = [0x15, 0x03, 0x01, 0x00, 0x02, 0x02, 0x46];

/// A file's `Content-Type`, by the end of its name.
pub(super) fn content_type(name: &str) -> String {
    let guess = mime_guess::from_path(name).first_or_octet_stream();
    // Browsers take a text without it for a legacy encoding; names that say no more are UTF-8 today.
    if guess == mime_guess::mime::TEXT_PLAIN { "text/plain; charset=utf-8".to_owned() } else { guess.to_string() }
}

/// Whether a browser would run what stands in a file of this type: peers with the right to write put files here.
pub(super) fn is_active(content_type: &str) -> bool {
    let subtype = content_type.split(';').next().unwrap_or_default();
    subtype == "text/html" || subtype.ends_with("xml")
}

/// `Content-Disposition` that gives a file its own name, whatever is in that name: a plain form without anything that ends it
/// early, and the exact one (RFC 6266, 4.3).
pub(super) fn disposition(name: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_graphic() && !matches!(letter, '"' | '\\' | '/' | '%');
    let plain: String =
        name.chars().map(|letter| if is_plain(letter) || letter == ' ' { letter } else { '_' }).collect();
    if plain == name {
        return format!("inline; filename=\"{plain}\"");
    }
    format!("inline; filename=\"{plain}\"; filename*=UTF-8''{}", written(name))
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn a_head_is_written_as_http_has_it() {
        let head = Head::new(StatusCode::NOT_FOUND, UNIX_EPOCH);
        let text = String::from_utf8(plain(head, "no such file", true, true, false)).unwrap();
        let expected = format!(
            "HTTP/1.1 404 Not Found\r\nServer: {SERVER}\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\
             X-Content-Type-Options: nosniff\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 28\r\n\r\n404 Not Found: no such file\n"
        );
        assert_eq!(text, expected);
        let text = String::from_utf8(Head::new(StatusCode::OK, UNIX_EPOCH).finish(true, true)).unwrap();
        assert!(text.ends_with("\r\nConnection: keep-alive\r\n\r\n"), "{text}");
    }

    #[test]
    fn names_can_not_break_out_of_their_header() {
        for (name, expected) in [
            ("a b.iso", "inline; filename=\"a b.iso\""),
            ("a\"; x=\".sh", "inline; filename=\"a_; x=_.sh\"; filename*=UTF-8''a%22%3B%20x%3D%22.sh"),
            ("a\r\nX: y", "inline; filename=\"a__X: y\"; filename*=UTF-8''a%0D%0AX%3A%20y"),
            ("ü.txt", "inline; filename=\"_.txt\"; filename*=UTF-8''%C3%BC.txt"),
            ("100%.txt", "inline; filename=\"100_.txt\"; filename*=UTF-8''100%25.txt"),
        ] {
            assert_eq!(disposition(name), expected);
        }
    }

    #[test]
    fn types_follow_names() {
        for (name, expected, active) in [
            ("a.txt", "text/plain; charset=utf-8", false),
            ("a.iso", "application/octet-stream", false),
            ("README", "application/octet-stream", false),
            ("a.html", "text/html", true),
            ("a.svg", "image/svg+xml", true),
            ("a.tar.gz", "application/gzip", false),
            ("a.png", "image/png", false),
        ] {
            assert_eq!((content_type(name).as_str(), is_active(&content_type(name))), (expected, active), "{name}");
        }
    }
}
