//! The load: one thread that holds many connections, throws away what comes, and counts it by connection and by 100 ms.
//!
//! It is light, so that a core of its own is enough for it: what is received is dropped by the kernel without being copied
//! (`MSG_TRUNC`). It looks after its connections every 200 us or so and never waits for them: a server whose every segment wakes a
//! sleeper on another core pays for that as it would pay no network card, and the more so the smaller its segments are. In between
//! it rests by the clock: a virtual machine that keeps all its cores busy is stopped for some milliseconds in each second by
//! many a host, and what that costs is no server's. Segments are of 1448 bytes as on Ethernet; loopback's own of 64 KB flatter everything. Every connection comes
//! from an address of its own (127.1.0.1 and up), as clients do.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    thread,
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Token, net::TcpStream};
use rustix::net::{RecvFlags, recv};
use socket2::{Domain, Protocol, Socket, Type};

use super::{http::Http, torrent::Torrent};
use crate::measure::Outcome;

const SEGMENT_BYTES: u16 = 1448;
/// Connections begun in one millisecond: 5,000 a second.
const BEGUN_PER_MS: usize = 5;
/// Short beside the round trip of a real line.
const BETWEEN_LOOKS: Duration = Duration::from_micros(200);
const SLOT: Duration = Duration::from_millis(100);
/// A server that serves everybody has begun to by then.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the connections say.
#[derive(Clone, Debug)]
pub(crate) enum Speech {
    /// `GET` of a path, again and again.
    Http(String),
    /// `GET` of a path, once; then the connection rests.
    HttpOnce(String),
    /// Blocks of the torrent with this hash, again and again.
    Torrent([u8; 20]),
}

/// One connection's words.
pub(crate) trait Talk: Send {
    /// It is connected.
    fn begin(&mut self, stream: &mut TcpStream) -> Outcome<()>;
    /// Takes all that is there; answers how much of it was payload.
    fn take(&mut self, stream: &mut TcpStream, buffer: &mut [u8]) -> Outcome<u64>;
}

/// What came in the window.
pub(crate) struct Counted {
    /// By connection.
    pub(crate) bytes: Vec<u64>,
    /// Of all together, at every 100 ms or so: seconds since the window began, bytes since then. The first is 0, 0.
    pub(crate) looks: Vec<(f64, u64)>,
    /// How long the load had something to do.
    pub(crate) busy: Duration,
}

struct Connection {
    stream: TcpStream,
    talk: Box<dyn Talk>,
    has_begun: bool,
    got: u64,
}

/// Many connections to one server.
pub(crate) struct Load {
    poll: Poll,
    events: Events,
    connections: Vec<Connection>,
    buffer: Vec<u8>,
    total: u64,
    looked_at: Instant,
    busy: Duration,
}

impl Load {
    /// Opens `count` connections, 5,000 a second, and waits until each of them was served, or for 10 s: whoever starves
    /// somebody for longer has that in its figures.
    pub(crate) fn open(address: SocketAddr, speech: &Speech, count: usize) -> Outcome<Self> {
        let mut load = Self {
            poll: Poll::new()?,
            events: Events::with_capacity(4096),
            connections: Vec::with_capacity(count),
            buffer: vec![0; 1 << 20],
            total: 0,
            looked_at: Instant::now(),
            busy: Duration::ZERO,
        };
        while load.connections.len() < count {
            for _ in 0..BEGUN_PER_MS.min(count - load.connections.len()) {
                load.begin(address, speech)?;
            }
            load.turn(Instant::now() + Duration::from_millis(1))?;
        }
        let deadline = Instant::now() + PATIENCE;
        while load.silent() > 0 && Instant::now() < deadline {
            load.run_for(SLOT)?;
        }
        Ok(load)
    }

    /// How many connections got nothing.
    pub(crate) fn silent(&self) -> usize {
        self.connections.iter().filter(|connection| connection.got == 0).count()
    }

    fn begin(&mut self, address: SocketAddr, speech: &Speech) -> Outcome<()> {
        let index = self.connections.len();
        let own = Ipv4Addr::new(127, 1 + (index / 62_500) as u8, (index / 250 % 250) as u8, (index % 250 + 1) as u8);
        let mut stream = TcpStream::from_std(connect(own, address)?.into());
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut stream, Token(index), interest)?;
        let talk: Box<dyn Talk> = match speech {
            Speech::Http(path) => Box::new(Http::new(path, true)),
            Speech::HttpOnce(path) => Box::new(Http::new(path, false)),
            Speech::Torrent(hash) => Box::new(Torrent::new(*hash, index)),
        };
        self.connections.push(Connection { stream, talk, has_begun: false, got: 0 });
        Ok(())
    }

    /// Goes on for so long.
    pub(crate) fn run_for(&mut self, time: Duration) -> Outcome<()> {
        self.run_until(Instant::now() + time)
    }

    fn run_until(&mut self, end: Instant) -> Outcome<()> {
        while Instant::now() < end {
            self.turn(end)?;
        }
        Ok(())
    }

    /// Goes on for so long, and counts.
    ///
    /// In a thread that goes before others, where that is permitted: what was not looked at in time counts in the wrong 100 ms.
    /// It is a thread of its own, since whoever is started from one inherits that.
    pub(crate) fn count(&mut self, window: Duration) -> Outcome<Counted> {
        let counted = thread::scope(|scope| {
            let count = || {
                let _ = host::prefer_promptness().and_then(|()| host::stand_back(-15));
                self.counted(window).map_err(|error| error.to_string())
            };
            scope.spawn(count).join()
        });
        Ok(counted.map_err(|_| "the load's thread panicked")??)
    }

    fn counted(&mut self, window: Duration) -> Outcome<Counted> {
        self.run_for(BETWEEN_LOOKS)?;
        let (began, before, total, busy) = (Instant::now(), self.snapshot(), self.total, self.busy);
        let mut looks = vec![(0.0, 0)];
        while began.elapsed() < window {
            self.run_until(began + SLOT * looks.len() as u32)?;
            looks.push((began.elapsed().as_secs_f64(), self.total - total));
        }
        let bytes = self.snapshot().iter().zip(&before).map(|(after, before)| after - before).collect();
        Ok(Counted { bytes, looks, busy: self.busy - busy })
    }

    /// All that came so far.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    fn turn(&mut self, end: Instant) -> Outcome<()> {
        let next = (self.looked_at + BETWEEN_LOOKS).min(end);
        if let Some(rest) = next.checked_duration_since(Instant::now()) {
            thread::sleep(rest);
        }
        self.looked_at = Instant::now();
        match self.poll.poll(&mut self.events, Some(Duration::ZERO)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error.into()),
            _ => {}
        }
        for event in &self.events {
            let Token(index) = event.token();
            let connection = &mut self.connections[index];
            if event.is_writable() && !connection.has_begun {
                if let Some(error) = connection.stream.take_error()? {
                    return Err(format!("connection {index}: {error}").into());
                }
                connection.has_begun = true;
                connection.talk.begin(&mut connection.stream)?;
                self.poll.registry().reregister(&mut connection.stream, Token(index), Interest::READABLE)?;
            }
            if event.is_readable() {
                let got = connection.talk.take(&mut connection.stream, &mut self.buffer);
                let got = got.map_err(|error| format!("connection {index}: {error}"))?;
                connection.got += got;
                self.total += got;
            }
        }
        self.busy += self.looked_at.elapsed();
        Ok(())
    }

    fn snapshot(&self) -> Vec<u64> {
        self.connections.iter().map(|connection| connection.got).collect()
    }
}

/// A socket from `own` that is about to be connected.
pub(crate) fn connect(own: Ipv4Addr, address: SocketAddr) -> Outcome<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    host::set_max_segment(&socket, SEGMENT_BYTES)?;
    socket.bind(&SocketAddr::V4(SocketAddrV4::new(own, 0)).into())?;
    socket.set_nonblocking(true)?;
    match socket.connect(&address.into()) {
        Err(error) if error.raw_os_error() != Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => Err(error.into()),
        _ => Ok(socket),
    }
}

/// Drops up to `most` bytes of what has come; `None`: nothing has.
pub(crate) fn discard(stream: &TcpStream, buffer: &mut [u8], most: u64) -> Outcome<Option<u64>> {
    let most = most.min(buffer.len() as u64) as usize;
    match recv(stream, &mut buffer[..most], RecvFlags::TRUNC) {
        Ok((_, 0)) => Err("closed by the server".into()),
        Ok((_, bytes)) => Ok(Some(bytes as u64)),
        Err(rustix::io::Errno::AGAIN) => Ok(None),
        Err(error) => Err(io::Error::from(error).into()),
    }
}
