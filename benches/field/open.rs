//! What control messages wait for while 5,000 connections a second are begun, served a little, and closed.

use std::{
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Token, net::TcpStream};

use super::{
    Bench, SMALL_BYTES,
    control::{HEAD, KINDS, Probe, Take, line},
    load::connect,
    report::verdict,
    rival::start_evenkeel,
};
use crate::measure::{Outcome, PROGRAM, median};

const PER_MS: u64 = 5;
/// Addresses that take turns; each closes long before it is its turn again.
const ADDRESSES: usize = 20_000;
/// Connections under way at once, at most: then the server does not keep up, and the figures say so.
const OPEN_MAX: usize = 4_096;
const REQUEST: &[u8] = b"GET /bench/small HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n";

/// Idle and in the burst, in turns.
pub(crate) fn compare(bench: &Bench) -> Outcome<()> {
    let (mut idle, mut burst, mut served) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bench.runs {
        idle.push(once(bench, 0)?.0);
        let (take, answers) = once(bench, PER_MS)?;
        burst.push(take);
        served.push(answers);
    }
    let mut text = format!(
        "### Control while connections are begun\n\n{}; medians of {} alternating runs, in ms\n\n{HEAD}",
        bench.facts, bench.runs
    );
    text.push_str(&line("idle", &idle));
    text.push_str(&line("5,000 a second", &burst));
    text.push('\n');
    text.push_str(&verdict("connections served and closed, each second", median(served), 4_950.0, false, 0));
    for (name, of) in KINDS {
        let p99 = median(burst.iter().map(|take| of(take).inside[1]));
        text.push_str(&verdict(&format!("{name}, p99 inside, ms"), p99, 0.5, true, 3));
    }
    bench.report.block("open", &text)
}

/// A run, and how many connections were served each second.
fn once(bench: &Bench, per_ms: u64) -> Outcome<(Take, f64)> {
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let node = start_evenkeel(Path::new(PROGRAM), &bench.room, address, None, "")?;
    let mut burst = Burst::new(address, per_ms)?;
    burst.run_for(Duration::from_secs(1))?;
    let mut probe = Probe::start(&node, &bench.room)?;
    let (began, served, bytes) = (Instant::now(), burst.served, burst.bytes);
    while !probe.is_done()? {
        burst.run_for(Duration::from_millis(100))?;
    }
    let seconds = began.elapsed().as_secs_f64();
    let (served, bytes) = (burst.served - served, burst.bytes - bytes);
    // A refusal ends as an answer does, and is shorter.
    if bytes < served * SMALL_BYTES {
        return Err(format!("{served} connections had only {bytes} bytes: some were refused").into());
    }
    let take = probe.take(bytes as f64 / seconds)?;
    Ok((take, served as f64 / seconds))
}

/// Connections that come, ask once and go.
struct Burst {
    poll: Poll,
    events: Events,
    address: SocketAddr,
    per_ms: u64,
    /// Since when connections are begun, and how many were due so far.
    began: Instant,
    due: u64,
    open: Vec<Option<TcpStream>>,
    free: Vec<usize>,
    next: usize,
    served: u64,
    bytes: u64,
}

impl Burst {
    fn new(address: SocketAddr, per_ms: u64) -> Outcome<Self> {
        let open = (0..OPEN_MAX).map(|_| None).collect();
        let (poll, events, free) = (Poll::new()?, Events::with_capacity(1024), (0..OPEN_MAX).collect());
        Ok(Self {
            poll,
            events,
            address,
            per_ms,
            began: Instant::now(),
            due: 0,
            open,
            free,
            next: 0,
            served: 0,
            bytes: 0,
        })
    }

    fn run_for(&mut self, time: Duration) -> Outcome<()> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            let due = self.began.elapsed().as_millis() as u64 * self.per_ms;
            for _ in self.due..due {
                self.begin()?;
            }
            self.due = due;
            self.turn()?;
        }
        Ok(())
    }

    fn begin(&mut self) -> Outcome<()> {
        let Some(place) = self.free.pop() else { return Ok(()) };
        let index = self.next % ADDRESSES;
        self.next += 1;
        let own = Ipv4Addr::new(127, 1, (index / 250) as u8, (index % 250 + 1) as u8);
        let mut stream = TcpStream::from_std(connect(own, self.address)?.into());
        self.poll.registry().register(&mut stream, Token(place), Interest::READABLE | Interest::WRITABLE)?;
        self.open[place] = Some(stream);
        Ok(())
    }

    fn turn(&mut self) -> Outcome<()> {
        match self.poll.poll(&mut self.events, Some(Duration::from_millis(1))) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error.into()),
            _ => {}
        }
        for event in &self.events {
            let Token(place) = event.token();
            let Some(stream) = &mut self.open[place] else { continue };
            if event.is_writable() && !event.is_readable() {
                stream.write_all(REQUEST)?;
                self.poll.registry().reregister(stream, Token(place), Interest::READABLE)?;
                continue;
            }
            let mut buffer = [0; 4096];
            loop {
                match stream.read(&mut buffer) {
                    Ok(0) => {
                        self.served += 1;
                        self.open[place] = None;
                        self.free.push(place);
                        break;
                    }
                    Ok(bytes) => self.bytes += bytes as u64,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }
}
