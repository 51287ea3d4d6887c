//! A request's head, from bytes to what it means. Pure: what is wrong is data, and says which answer it gets.
//!
//! Strict where servers and proxies have disagreed about where a message ends (request smuggling): every line ends in CR LF,
//! no header is folded, and a request has no body. Syntax is `httparse`'s; what it leaves to the caller is decided here.

use actors::port::GuestTerms;
use http::StatusCode;
use httparse::{EMPTY_HEADER, Header};

use super::{authority::is_authority, target::Target};

/// The request line: a path of 4096 bytes, each written as `%XX`, does not fit, one of a real file does. 414 beyond.
pub(super) const REQUEST_LINE_BYTES_MAX: usize = 8 * 1024;
/// The whole head. Browsers with many cookies send a quarter of it. 431 beyond.
pub(super) const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Lines of a head; 431 beyond.
const HEADERS_MAX: usize = 100;
/// A client's name as the operator sees it.
const AGENT_CHARS_MAX: usize = 100;

/// How HTTP/2 begins on a connection that was not asked for it (RFC 9113, 3.4).
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2";
/// The first byte of a TLS record that carries a handshake.
const TLS_HANDSHAKE: u8 = 0x16;

/// What this server does with a resource.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(super) enum Method {
    /// The head and the body.
    Get,
    /// The head alone.
    Head,
}

/// A request, as far as this server has use for it.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) target: Target,
    /// HTTP/1.0: no chunks, and the connection stays open only where that is asked for.
    pub(super) is_old: bool,
    /// The client wants the connection to stay open.
    pub(super) keep_alive: bool,
    pub(super) agent: String,
    pub(super) wishes: Wishes,
    /// How it is to be treated; what the address itself says is not verified here.
    pub(super) terms: GuestTerms,
}

impl Request {
    /// Whether the connection may last behind the answer. The length of a listing is not known before its end, and those who know
    /// no chunks are told that by the end of the connection.
    pub(super) fn lasts(&self) -> bool {
        self.keep_alive && !(self.is_old && self.target.is_directory)
    }
}

/// Headers that choose what of a file is sent, as they were written.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    pub(super) range: Option<String>,
    pub(super) if_range: Option<String>,
    pub(super) if_match: Option<String>,
    pub(super) if_none_match: Option<String>,
    pub(super) if_modified_since: Option<String>,
    pub(super) if_unmodified_since: Option<String>,
}

/// A request that is not served, and what becomes of its connection.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    /// A label of the refusals counter.
    pub(super) reason: &'static str,
    /// For a person.
    pub(super) words: &'static str,
    /// Nobody can tell where the next request begins.
    pub(super) close: bool,
    /// The other side expects TLS, and reads an alert only.
    pub(super) alert: bool,
    /// It was a HEAD, and the words would be taken for the next answer.
    pub(super) is_head: bool,
}

impl Refusal {
    fn closing(status: StatusCode, reason: &'static str, words: &'static str) -> Self {
        Self { status, reason, words, close: true, alert: false, is_head: false }
    }

    fn malformed(words: &'static str) -> Self {
        Self::closing(StatusCode::BAD_REQUEST, "malformed", words)
    }

    fn smuggling(words: &'static str) -> Self {
        Self::closing(StatusCode::BAD_REQUEST, "smuggling", words)
    }

    /// The head took too long.
    pub(super) fn too_slow() -> Self {
        Self::closing(StatusCode::REQUEST_TIMEOUT, "header_timeout", "the request did not come in time")
    }
}

/// Looks for the end of the first head in `bytes`, which grow by what is read: `Some(len)` when it is whole. `scanned` is how
/// far the last look came, so that a head which trickles in is not looked through anew each time.
///
/// # Errors
/// As soon as it is certain that no good head will come of it.
pub(super) fn cut(bytes: &[u8], scanned: &mut usize) -> Result<Option<usize>, Refusal> {
    match bytes.first() {
        None => return Ok(None),
        Some(&TLS_HANDSHAKE) => {
            let words = "this port speaks plain HTTP";
            let refusal = Refusal::closing(StatusCode::BAD_REQUEST, "tls_on_plain", words);
            return Err(Refusal { alert: true, ..refusal });
        }
        Some(_) => {}
    }
    if bytes.starts_with(HTTP2_PREFACE) {
        let words = "this server speaks HTTP/1.1";
        return Err(Refusal::closing(StatusCode::HTTP_VERSION_NOT_SUPPORTED, "http2", words));
    }
    // A client may send one empty line too many behind the request before (RFC 9112, 2.2).
    let begin = if bytes.starts_with(b"\r\n") { 2 } else { 0 };
    let mut at = (*scanned).max(begin);
    while at < bytes.len() {
        match bytes[at] {
            b'\n' if at == begin || bytes[at - 1] != b'\r' => {
                return Err(Refusal::smuggling("a line ends in LF without CR"));
            }
            b'\n' if at == begin + 1 => return Err(Refusal::malformed("there is no request line")),
            b'\n' if bytes[..at].ends_with(b"\r\n\r") => return whole(at + 1),
            b'\r' if bytes.get(at + 1).is_some_and(|next| *next != b'\n') => {
                return Err(Refusal::smuggling("a CR stands within a line"));
            }
            // Not known before the next byte: seen again then.
            b'\r' if at + 1 == bytes.len() => break,
            _ => {}
        }
        at += 1;
    }
    *scanned = at;
    let no_line_yet = bytes.len() > REQUEST_LINE_BYTES_MAX && !bytes[begin..REQUEST_LINE_BYTES_MAX].contains(&b'\n');
    match bytes.len() {
        _ if no_line_yet => Err(line_too_long()),
        len if len > HEAD_BYTES_MAX => Err(head_too_long()),
        _ => Ok(None),
    }
}

fn whole(len: usize) -> Result<Option<usize>, Refusal> {
    if len > HEAD_BYTES_MAX { Err(head_too_long()) } else { Ok(Some(len)) }
}

fn line_too_long() -> Refusal {
    Refusal::closing(StatusCode::URI_TOO_LONG, "request_line", "the request line is longer than 8 KiB")
}

fn head_too_long() -> Refusal {
    let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
    Refusal::closing(status, "headers", "the headers are more than 100, or longer than 16 KiB together")
}

/// Reads a whole head, as [`cut`] found it.
///
/// # Errors
/// What is wrong with it.
pub(super) fn parse(head: &[u8]) -> Result<Request, Refusal> {
    let mut headers = [EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(head) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return Err(Refusal::malformed("the head ends early")),
        Err(httparse::Error::TooManyHeaders) => return Err(head_too_long()),
        Err(httparse::Error::Version) => return Err(bad_version(head)),
        Err(httparse::Error::HeaderName) => {
            return Err(Refusal::smuggling("a header line is folded, or its name is none"));
        }
        Err(_) => return Err(Refusal::malformed("this is no HTTP/1.1 request")),
    }
    let is_old = request.version == Some(0);
    let fields = Fields::read(request.headers)?;
    let line_bytes = head.iter().position(|byte| *byte == b'\n').unwrap_or(head.len());
    if line_bytes > REQUEST_LINE_BYTES_MAX {
        return Err(line_too_long());
    }
    if fields.hosts > 1 || (fields.hosts == 0 && !is_old) {
        return Err(Refusal::malformed("a request has one Host header"));
    }
    let method = match request.method {
        Some("GET") => Method::Get,
        Some("HEAD") => Method::Head,
        _ => {
            let words = "only GET and HEAD are served";
            let refusal = Refusal::closing(StatusCode::METHOD_NOT_ALLOWED, "method", words);
            return Err(Refusal { close: fields.has_body || fields.close || is_old, ..refusal });
        }
    };
    if fields.has_body {
        return Err(Refusal::closing(StatusCode::BAD_REQUEST, "body", "a request here has no body"));
    }
    let target = Target::parse(request.path.unwrap_or_default()).map_err(|words| {
        let refusal = Refusal::closing(StatusCode::BAD_REQUEST, "target", words);
        Refusal { close: is_old || fields.close, is_head: method == Method::Head, ..refusal }
    })?;
    let keep_alive = if is_old { fields.keep_alive && !fields.close } else { !fields.close };
    Ok(Request {
        method,
        target,
        is_old,
        keep_alive,
        agent: fields.agent,
        wishes: fields.wishes,
        terms: GuestTerms::default(),
    })
}

/// `httparse` says the same of `HTTP/1.7`, of a line that has no version, and of one that has a space too many.
fn bad_version(head: &[u8]) -> Refusal {
    let line = head.strip_prefix(b"\r\n").unwrap_or(head).split(|byte| *byte == b'\r').next().unwrap_or_default();
    let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    match words.last().is_some_and(|last| last.starts_with(b"HTTP/")) {
        true if words.len() > 3 => Refusal::malformed("a space stands within the target"),
        true => {
            let words = "this server speaks HTTP/1.1 and HTTP/1.0";
            Refusal::closing(StatusCode::HTTP_VERSION_NOT_SUPPORTED, "http_version", words)
        }
        false => Refusal::malformed("the request line does not end in HTTP/1.1"),
    }
}

/// The headers, each kind counted.
#[derive(Default)]
struct Fields {
    hosts: usize,
    lengths: usize,
    has_body: bool,
    has_coding: bool,
    keep_alive: bool,
    close: bool,
    agent: String,
    wishes: Wishes,
}

impl Fields {
    fn read(headers: &[Header<'_>]) -> Result<Self, Refusal> {
        let mut fields = Self::default();
        for header in headers {
            fields.take(header)?;
        }
        if fields.has_coding {
            let words = match fields.lengths {
                0 => "a request here has no body, so no Transfer-Encoding",
                _ => "Content-Length and Transfer-Encoding contradict each other",
            };
            return Err(Refusal::smuggling(words));
        }
        Ok(fields)
    }

    fn take(&mut self, header: &Header<'_>) -> Result<(), Refusal> {
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        let wishes = &mut self.wishes;
        if is("host") {
            self.hosts += 1;
            if !is_host(header.value) {
                return Err(Refusal::malformed("a Host is a name or an address, and may have a port"));
            }
        } else if is("content-length") {
            self.lengths += 1;
            let digits = !header.value.is_empty() && header.value.iter().all(u8::is_ascii_digit);
            if self.lengths > 1 || !digits {
                return Err(Refusal::smuggling("there is one Content-Length at most, a number"));
            }
            self.has_body = header.value.iter().any(|digit| *digit != b'0');
        } else if is("transfer-encoding") {
            self.has_coding = true;
        } else if is("connection") {
            for word in header.value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                self.close |= word.eq_ignore_ascii_case(b"close");
                self.keep_alive |= word.eq_ignore_ascii_case(b"keep-alive");
            }
        } else if is("user-agent") {
            self.agent = String::from_utf8_lossy(header.value).chars().take(AGENT_CHARS_MAX).collect();
        } else if is("range") {
            once(&mut wishes.range, header)?;
        } else if is("if-range") {
            once(&mut wishes.if_range, header)?;
        } else if is("if-modified-since") {
            once(&mut wishes.if_modified_since, header)?;
        } else if is("if-unmodified-since") {
            once(&mut wishes.if_unmodified_since, header)?;
        } else if is("if-match") {
            listed(&mut wishes.if_match, header);
        } else if is("if-none-match") {
            listed(&mut wishes.if_none_match, header);
        }
        Ok(())
    }
}

/// Empty where the target has nobody in it (RFC 9112, 3.2).
fn is_host(value: &[u8]) -> bool {
    value.is_empty() || str::from_utf8(value).is_ok_and(is_authority)
}

fn once(place: &mut Option<String>, header: &Header<'_>) -> Result<(), Refusal> {
    let before = place.replace(String::from_utf8_lossy(header.value).into_owned());
    if before.is_some() { Err(Refusal::malformed("a header that may be there once is there twice")) } else { Ok(()) }
}

/// Lists in several lines are one list (RFC 9110, 5.3).
fn listed(place: &mut Option<String>, header: &Header<'_>) {
    let value = String::from_utf8_lossy(header.value);
    match place {
        Some(list) => *list = format!("{list}, {value}"),
        None => *place = Some(value.into_owned()),
    }
}

#[cfg(test)]
mod tests;
