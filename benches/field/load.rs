//! The load: one thread that holds many HTTP connections, throws away what comes, and counts it by connection and by 100 ms.
//!
//! It is light, so that a core of its own is enough for it: what is received is dropped by the kernel without being copied
//! (`MSG_TRUNC`). Segments are of 1448 bytes as on Ethernet; loopback's own of 64 KB flatter everything. Every connection comes
//! from an address of its own (127.1.0.1 and up), as clients do.

use std::{
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Token, net::TcpStream};
use rustix::net::{RecvFlags, recv};
use socket2::{Domain, Protocol, Socket, Type};

use crate::measure::Outcome;

const SEGMENT_BYTES: u16 = 1448;
/// Connections begun in one millisecond: 5,000 a second.
const BEGUN_PER_MS: usize = 5;
const SLOT: Duration = Duration::from_millis(100);
const HEAD_BYTES_MAX: usize = 8 << 10;

/// What a load is asked to do.
pub(crate) struct Wish {
    /// Where to.
    pub(crate) address: SocketAddr,
    /// What to get, again and again.
    pub(crate) target: &'static str,
    /// How many.
    pub(crate) connections: usize,
    /// Time for rates to settle after all have their first bytes.
    pub(crate) settle: Duration,
    /// Time that is counted.
    pub(crate) window: Duration,
}

/// What came in the window.
pub(crate) struct Counted {
    /// By connection.
    pub(crate) bytes: Vec<u64>,
    /// All together, by 100 ms.
    pub(crate) slots: Vec<u64>,
    /// From the first to the last moment counted.
    pub(crate) seconds: f64,
}

struct Connection {
    stream: TcpStream,
    /// Of the answer's body; 0: a head comes next.
    left: u64,
    head: Vec<u8>,
    got: u64,
}

/// Runs the load. `at_edge` is called when counting begins and when it ends.
pub(crate) fn run(wish: &Wish, mut at_edge: impl FnMut()) -> Outcome<Counted> {
    let mut load = Load {
        poll: Poll::new()?,
        events: Events::with_capacity(4096),
        connections: Vec::with_capacity(wish.connections),
        request: format!("GET {} HTTP/1.1\r\nHost: bench\r\n\r\n", wish.target),
        buffer: vec![0; 1 << 20],
        total: 0,
    };
    while load.connections.len() < wish.connections {
        for _ in 0..BEGUN_PER_MS.min(wish.connections - load.connections.len()) {
            load.begin(wish.address)?;
        }
        load.turn(Instant::now() + Duration::from_millis(1))?;
    }
    let deadline = Instant::now() + Duration::from_secs(30);
    while load.connections.iter().any(|connection| connection.got == 0) {
        load.turn(Instant::now() + SLOT)?;
        if Instant::now() > deadline {
            let silent = load.connections.iter().filter(|connection| connection.got == 0).count();
            return Err(format!("{silent} of {} connections got nothing in 30 s", wish.connections).into());
        }
    }
    load.run_until(Instant::now() + wish.settle)?;
    at_edge();
    let (began, before) = (Instant::now(), load.snapshot());
    let mut slots = Vec::new();
    while began.elapsed() < wish.window {
        let total = load.total;
        load.run_until(began + SLOT * (slots.len() as u32 + 1))?;
        slots.push(load.total - total);
    }
    let seconds = began.elapsed().as_secs_f64();
    at_edge();
    let bytes = load.snapshot().iter().zip(&before).map(|(after, before)| after - before).collect();
    Ok(Counted { bytes, slots, seconds })
}

struct Load {
    poll: Poll,
    events: Events,
    connections: Vec<Connection>,
    request: String,
    buffer: Vec<u8>,
    total: u64,
}

impl Load {
    fn begin(&mut self, address: SocketAddr) -> Outcome<()> {
        let index = self.connections.len();
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        host::set_max_segment(&socket, SEGMENT_BYTES)?;
        let own = Ipv4Addr::new(127, 1 + (index / 62_500) as u8, (index / 250 % 250) as u8, (index % 250 + 1) as u8);
        socket.bind(&SocketAddr::V4(SocketAddrV4::new(own, 0)).into())?;
        socket.set_nonblocking(true)?;
        match socket.connect(&address.into()) {
            Err(error) if error.raw_os_error() != Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {
                return Err(error.into());
            }
            _ => {}
        }
        let mut stream = TcpStream::from_std(socket.into());
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut stream, Token(index), interest)?;
        self.connections.push(Connection { stream, left: 0, head: Vec::new(), got: 0 });
        Ok(())
    }

    fn run_until(&mut self, end: Instant) -> Outcome<()> {
        while Instant::now() < end {
            self.turn(end)?;
        }
        Ok(())
    }

    fn turn(&mut self, end: Instant) -> Outcome<()> {
        let timeout = end.saturating_duration_since(Instant::now());
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error.into()),
            _ => {}
        }
        for event in &self.events {
            let Token(index) = event.token();
            let connection = &mut self.connections[index];
            if event.is_writable() && connection.got == 0 && connection.left == 0 {
                // Connected; or, harmless, writable again before the first byte came.
                if let Some(error) = connection.stream.take_error()? {
                    return Err(format!("connection {index}: {error}").into());
                }
                if connection.head.is_empty() {
                    connection.ask(&self.request)?;
                    self.poll.registry().reregister(&mut connection.stream, Token(index), Interest::READABLE)?;
                }
            }
            if event.is_readable() {
                let got = connection.drain(&self.request, &mut self.buffer);
                self.total += got.map_err(|error| format!("connection {index}: {error}"))?;
            }
        }
        Ok(())
    }

    fn snapshot(&self) -> Vec<u64> {
        self.connections.iter().map(|connection| connection.got).collect()
    }
}

impl Connection {
    fn ask(&mut self, request: &str) -> io::Result<()> {
        self.stream.write_all(request.as_bytes())
    }

    /// Takes all that is there; answers how much of it was body.
    fn drain(&mut self, request: &str, buffer: &mut [u8]) -> Outcome<u64> {
        let before = self.got;
        loop {
            if self.left == 0 {
                match self.take_head() {
                    Ok(0) => return Err("closed by the server".into()),
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error.into()),
                }
                continue;
            }
            let most = self.left.min(buffer.len() as u64) as usize;
            match recv(&self.stream, &mut buffer[..most], RecvFlags::TRUNC) {
                Ok((_, 0)) => return Err("closed by the server".into()),
                Ok((_, bytes)) => {
                    self.left -= bytes as u64;
                    self.got += bytes as u64;
                    if self.left == 0 {
                        self.ask(request)?;
                    }
                }
                Err(rustix::io::Errno::AGAIN) => break,
                Err(error) => return Err(io::Error::from(error).into()),
            }
        }
        Ok(self.got - before)
    }

    /// Reads on in the head, byte for byte so as not to take of the body: it comes once in hundreds of megabytes.
    fn take_head(&mut self) -> io::Result<usize> {
        let mut byte = [0];
        let read = self.stream.read(&mut byte)?;
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
