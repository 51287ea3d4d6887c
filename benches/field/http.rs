//! One HTTP connection of the load: gets a file, again and again.

use std::io::{self, Read as _, Write as _};

use mio::net::TcpStream;

use super::load::{Talk, discard};
use crate::measure::Outcome;

const HEAD_BYTES_MAX: usize = 8 << 10;

/// A client that keeps its connection.
pub(crate) struct Http {
    request: String,
    is_endless: bool,
    /// Of the answer's body; 0: a head comes next.
    left: u64,
    head: Vec<u8>,
}

impl Http {
    /// Of a path; once, or without end.
    pub(crate) fn new(path: &str, is_endless: bool) -> Self {
        let request = format!("GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n");
        Self { request, is_endless, left: 0, head: Vec::new() }
    }

    /// Reads on in the head, byte for byte so as not to take of the body: it comes once in hundreds of megabytes.
    fn take_head(&mut self, stream: &mut TcpStream) -> io::Result<usize> {
        let mut byte = [0];
        let read = stream.read(&mut byte)?;
        self.head.extend_from_slice(&byte[..read]);
        if self.head.ends_with(b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&self.head).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
            if !head.starts_with("http/1.1 200") || length.is_none() {
                return Err(io::Error::other(format!("unexpected answer: {head}")));
            }
            self.left = length.unwrap_or(0);
            self.head.clear();
        } else if self.head.len() > HEAD_BYTES_MAX {
            return Err(io::Error::other("a head without an end"));
        }
        Ok(read)
    }
}

impl Talk for Http {
    fn begin(&mut self, stream: &mut TcpStream) -> Outcome<()> {
        Ok(stream.write_all(self.request.as_bytes())?)
    }

    fn take(&mut self, stream: &mut TcpStream, buffer: &mut [u8]) -> Outcome<u64> {
        let mut got = 0;
        loop {
            if self.left == 0 {
                match self.take_head(stream) {
                    Ok(0) => return Err("closed by the server".into()),
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(got),
                    Err(error) => return Err(error.into()),
                }
                continue;
            }
            let Some(bytes) = discard(stream, buffer, self.left)? else { return Ok(got) };
            self.left -= bytes;
            got += bytes;
            if self.left == 0 && self.is_endless {
                stream.write_all(self.request.as_bytes())?;
            }
        }
    }
}
