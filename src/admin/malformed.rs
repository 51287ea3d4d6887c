//! What is no HTTP is answered in JSON as well. The HTTP library answers it by itself, before there is a request that a route could
//! see, with a status and nothing more; the words are put in where its answer goes to the socket.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use actix_web::rt::net::TcpStream;
use actors::{Precedence, metric::NodeMetrics};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::answer::ApiError;

/// A connection of the API. From a request's coming until its answer goes, workers on this core step aside.
pub(super) struct Connection {
    tcp: TcpStream,
    metrics: Arc<NodeMetrics>,
    precedence: Arc<Precedence>,
    /// An answer of ours, on its way.
    answer: Vec<u8>,
    sent: usize,
}

impl Connection {
    pub(super) fn new(tcp: TcpStream, metrics: Arc<NodeMetrics>, precedence: Arc<Precedence>) -> Self {
        Self { tcp, metrics, precedence, answer: Vec::new(), sent: 0 }
    }

    /// Sends what is left of an answer of ours.
    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.answer.len() {
            let count = ready!(Pin::new(&mut self.tcp).poll_write(cx, &self.answer[self.sent..]))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += count;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let read = Pin::new(&mut self.tcp).poll_read(cx, into);
        if into.filled().len() > before {
            self.precedence.begin();
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_answer(cx))?;
        let Some((at, error)) = bare_error(bytes) else {
            let written = Pin::new(&mut self.tcp).poll_write(cx, bytes);
            self.precedence.end();
            return written;
        };
        self.metrics.api_request(error.status().as_str()).increment(1);
        // Answers to requests before it may be in the same bytes.
        self.answer = [&bytes[..at], error.to_http().as_bytes()].concat();
        self.sent = 0;
        // Taken as a whole: what the socket does not take now it is asked to take before anything else.
        let _ = self.poll_answer(cx)?;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_answer(cx))?;
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_answer(cx))?;
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

/// The library's own answer at the end of `bytes`, and what is said instead: an error without a body, which no route of ours gives. It
/// is the last on its connection.
fn bare_error(bytes: &[u8]) -> Option<(usize, ApiError)> {
    let before = bytes.strip_suffix(b"\r\n\r\n")?;
    let at = before.windows(START.len()).rposition(|window| window == START)?;
    let head = std::str::from_utf8(&before[at..]).ok()?;
    // A body of ours may look like anything, but not like a head that ends the bytes: it is one line of JSON.
    let is_bare = head.lines().any(|line| line.eq_ignore_ascii_case("content-length: 0"));
    let status = head.get(9..12).filter(|_| is_bare)?;
    let error = match status {
        "400" => ApiError::malformed(),
        "408" => ApiError::slow_head(),
        "431" => ApiError::long_head(),
        _ => return None,
    };
    Some((at, error))
}

/// How an answer with an error of the caller begins.
const START: &[u8] = b"HTTP/1.1 4";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_error_without_words_gets_some() {
        let bare = "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\ndate: x\r\n\r\n";
        assert_eq!(bare_error(bare.as_bytes()).map(|(at, _)| at), Some(0));
        let before = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
        let (at, error) = bare_error(format!("{before}{bare}").as_bytes()).unwrap();
        assert_eq!((at, error.status().as_u16()), (before.len(), 400));
        for own in [
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 404 Not Found\r\ncontent-length: 70\r\n\r\n",
            "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\n{}",
            "",
        ] {
            assert!(bare_error(own.as_bytes()).is_none(), "{own}");
        }
    }
}
