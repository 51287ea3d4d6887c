//! What the tests of the HTTP front share: nodes, curl, and a socket to speak by hand.

// `tests/neighbour.rs` compiles this file, too, and uses its part of it.
#![allow(dead_code)]

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpStream},
    process::{Command, Output},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use socket2::{Domain, SockRef, Socket, Type};

use crate::support::{Server, noise};

/// Longer than any answer takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// An open node with `--http`, and `file.bin` of a million bytes in its share.
pub(crate) fn node(config: &str, args: &[&str]) -> Server {
    let server = Server::with_config(config, &[&["--open", "--http", "127.0.0.1:0"], args].concat());
    noise(&server.share().join("file.bin"), 1_000_000, 1);
    server
}

/// `http://ADDRESS/share/PATH`
pub(crate) fn url(server: &Server, path: &str) -> String {
    format!("http://{}/share/{path}", server.http)
}

/// Runs curl to its end in the test's directory.
pub(crate) fn curl(server: &Server, args: &[&str]) -> Output {
    run(server, "curl", &[&["-sS", "--max-time", "50"], args].concat())
}

/// Runs a tool to its end in the test's directory.
pub(crate) fn run(server: &Server, tool: &str, args: &[&str]) -> Output {
    let mut command = Command::new(tool);
    // Settings of whoever runs the tests have no say.
    for proxy in ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        command.env_remove(proxy);
    }
    command.env("HOME", server.room.path()).current_dir(server.room.path());
    command.args(args).output().unwrap_or_else(|error| panic!("{tool}: {error}"))
}

/// Whether a tool is there; CI has them all.
pub(crate) fn has(tool: &str) -> bool {
    let found = Command::new(tool).arg("--version").output().is_ok();
    assert!(found || std::env::var("CI").as_deref() != Ok("true"), "CI needs {tool}");
    if !found {
        eprintln!("{tool} is not installed: this test says nothing");
    }
    found
}

/// Says on drop that something is over, also when an assertion fails: a scope waits for its threads.
pub(crate) struct Done<'a>(pub(crate) &'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// A connection that is spoken on by hand.
pub(crate) struct Wire {
    stream: TcpStream,
    heard: Vec<u8>,
}

/// An answer, taken apart.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

impl Wire {
    /// Connects.
    pub(crate) fn to(server: &Server) -> Self {
        Self::from_address(server, [127, 0, 0, 1].into())
    }

    /// Connects from an address of this machine.
    pub(crate) fn from_address(server: &Server, from: IpAddr) -> Self {
        Self::made(server, from, None)
    }

    /// Connects, and takes next to nothing that it does not read.
    pub(crate) fn narrow(server: &Server) -> Self {
        Self::made(server, [127, 0, 0, 1].into(), Some(8192))
    }

    fn made(server: &Server, from: IpAddr, receive_buffer_bytes: Option<usize>) -> Self {
        let socket = Socket::new(Domain::for_address(SocketAddr::new(from, 0)), Type::STREAM, None).unwrap();
        if let Some(bytes) = receive_buffer_bytes {
            socket.set_recv_buffer_size(bytes).unwrap();
        }
        socket.bind(&SocketAddr::new(from, 0).into()).unwrap();
        socket.connect(&server.http.parse::<SocketAddr>().unwrap().into()).unwrap();
        let stream: TcpStream = socket.into();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { stream, heard: Vec::new() }
    }

    /// Says something; the other side may have closed already.
    pub(crate) fn say(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let _ = self.stream.write_all(bytes.as_ref());
        self
    }

    /// Asks for a path of the share, with headers.
    pub(crate) fn get(&mut self, path: &str, headers: &str) -> Answer {
        self.ask("GET", &format!("/share/{path}"), headers)
    }

    /// Asks, and hears the whole answer.
    pub(crate) fn ask(&mut self, method: &str, target: &str, headers: &str) -> Answer {
        self.say(format!("{method} {target} HTTP/1.1\r\nHost: test\r\n{headers}\r\n"));
        self.hear(method != "HEAD")
    }

    fn read(&mut self) -> usize {
        let mut bytes = [0; 65_536];
        let count = loop {
            match self.stream.read(&mut bytes) {
                // A process that was stopped and goes on.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => break read.unwrap_or(0),
            }
        };
        self.heard.extend_from_slice(&bytes[..count]);
        count
    }

    /// Hears one answer; its length must be said.
    #[track_caller]
    pub(crate) fn hear(&mut self, has_body: bool) -> Answer {
        let end = loop {
            if let Some(at) = self.heard.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            assert!(self.read() > 0, "no answer, only {:?}", String::from_utf8_lossy(&self.heard));
        };
        let head = String::from_utf8(self.heard.drain(..end).collect()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut answer = Answer { status, head, body: Vec::new() };
        let length = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
        if has_body {
            while self.heard.len() < length {
                assert!(self.read() > 0, "the body ends early");
            }
            answer.body = self.heard.drain(..length).collect();
        }
        answer
    }

    /// Hears everything until the node closes, and keeps nothing of it.
    pub(crate) fn drain(&mut self) {
        while self.read() > 0 {
            self.heard.clear();
        }
    }

    /// Hears everything until the node closes.
    pub(crate) fn hear_to_the_end(&mut self) -> String {
        while self.read() > 0 {}
        String::from_utf8(std::mem::take(&mut self.heard)).unwrap()
    }

    /// Whether the node closes now, saying nothing more.
    pub(crate) fn is_closed(&mut self) -> bool {
        self.heard.is_empty() && self.read() == 0
    }

    /// Goes without a goodbye.
    pub(crate) fn reset(self) {
        SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// The socket alone.
    pub(crate) fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// The socket.
    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }
}

/// Reads what comes of a file without end, and counts it.
pub(crate) fn fetch(mut wire: Wire, received: Arc<AtomicU64>) -> thread::JoinHandle<()> {
    wire.say("GET /share/endless.bin HTTP/1.1\r\nHost: h\r\n\r\n");
    thread::spawn(move || {
        let mut bytes = vec![0; 1 << 16];
        while let Ok(count @ 1..) = wire.stream().read(&mut bytes) {
            received.fetch_add(count as u64, Relaxed);
        }
    })
}
