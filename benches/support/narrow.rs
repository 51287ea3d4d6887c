//! A line that is narrow and long, in user space, for one session: what comes faster waits in a queue, what the queue does not
//! hold is lost, the rest comes out later. It stands at an address of its own with the ports of what is behind it, so that a
//! node's answers about ports hold; all ports share the line.

use std::{
    collections::VecDeque,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use crate::measure::Outcome;

/// What a line to somebody's home is like.
#[derive(Copy, Clone, PartialEq, Debug)]
pub(crate) struct Home {
    /// Either way.
    pub(crate) bytes_per_second: u32,
    /// Either way.
    pub(crate) one_way: Duration,
    /// Before the narrow place, as time at that rate.
    pub(crate) queue: Duration,
    /// Each port has a queue of its own, and they take turns, as `fq_codel` has it; otherwise all wait in one.
    pub(crate) has_queues_apart: bool,
}

impl Home {
    /// 16 Mbit/s, half of what 50 peers get of 200 MB/s, 40 ms there and back, and a queue as routers have it.
    pub(crate) const ONE_QUEUE: Self = Self {
        bytes_per_second: 2_000_000,
        one_way: Duration::from_millis(20),
        queue: Duration::from_millis(100),
        has_queues_apart: false,
    };
    /// The same with better routers.
    pub(crate) const QUEUES_APART: Self = Self { has_queues_apart: true, ..Self::ONE_QUEUE };
    /// The same to a node in the same town: 1 ms there and back.
    pub(crate) const NEARBY: Self = Self { one_way: Duration::from_micros(500), ..Self::QUEUES_APART };

    const ALL: [(&str, Self); 3] =
        [("one-queue", Self::ONE_QUEUE), ("queues-apart", Self::QUEUES_APART), ("nearby", Self::NEARBY)];

    /// What [`Self::named`] finds it by.
    pub(crate) fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, home)| *home == self).map_or("another", |(name, _)| name)
    }

    /// One of the above.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(other, _)| *other == name).map(|(_, home)| home)
    }
}

/// Where the line begins; the node is at 127.0.0.1.
pub(crate) const NEAR: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);
/// More than a datagram holds.
const DATAGRAM_MAX: usize = 64 << 10;
/// Datagrams that are through and on their way.
const ON_THEIR_WAY_MAX: usize = 65_536;

type Send = Box<dyn Fn(&[u8]) + std::marker::Send + Sync>;

/// Relays between one client and `ports` of the node.
pub(crate) fn relay(home: Home, ports: &[u16]) -> Outcome<()> {
    let (mut there, mut back, mut pairs) = (Vec::<Send>::new(), Vec::<Send>::new(), Vec::new());
    for port in ports {
        let near = Arc::new(UdpSocket::bind((NEAR, *port))?);
        let far = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?);
        far.connect((Ipv4Addr::LOCALHOST, *port))?;
        let client = Arc::new(OnceLock::<SocketAddr>::new());
        let (out, home, to) = (far.clone(), near.clone(), client.clone());
        there.push(Box::new(move |datagram| drop(out.send(datagram))));
        back.push(Box::new(move |datagram| drop(to.get().map(|to| home.send_to(datagram, to)))));
        pairs.push((near, far, client));
    }
    let (there, back) = (Direction::start(home, there), Direction::start(home, back));
    for (port, (near, far, client)) in pairs.into_iter().enumerate() {
        let (there, back) = (there.clone(), back.clone());
        thread::spawn(move || {
            let mut room = vec![0; DATAGRAM_MAX];
            while let Ok((len, from)) = near.recv_from(&mut room) {
                let _ = client.set(from);
                there.come(port, &room[..len]);
            }
        });
        thread::spawn(move || {
            let mut room = vec![0; DATAGRAM_MAX];
            while let Ok(len) = far.recv(&mut room) {
                back.come(port, &room[..len]);
            }
        });
    }
    Ok(())
}

/// One way of the line.
struct Direction {
    home: Home,
    waiting: Mutex<Waiting>,
    more: Condvar,
}

#[derive(Default)]
struct Waiting {
    /// By port, or one for all: from which port, when it came, what.
    queues: Vec<VecDeque<(usize, Instant, Vec<u8>)>>,
    /// In all of them.
    bytes: usize,
    turn: usize,
}

impl Direction {
    /// `send` is by port.
    fn start(home: Home, send: Vec<Send>) -> Arc<Self> {
        let count = if home.has_queues_apart { send.len() } else { 1 };
        let waiting = Waiting { queues: (0..count).map(|_| VecDeque::new()).collect(), ..Waiting::default() };
        let way = Arc::new(Self { home, waiting: Mutex::new(waiting), more: Condvar::new() });
        let (through, on_their_way) = mpsc::sync_channel::<(usize, Instant, Vec<u8>)>(ON_THEIR_WAY_MAX);
        let narrow = way.clone();
        thread::spawn(move || narrow.pass(&through));
        thread::spawn(move || {
            for (port, due, datagram) in on_their_way {
                thread::sleep(due.saturating_duration_since(Instant::now()));
                send[port](&datagram);
            }
        });
        way
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn come(&self, port: usize, datagram: &[u8]) {
        let room = (f64::from(self.home.bytes_per_second) * self.home.queue.as_secs_f64()) as usize;
        let mut waiting = self.waiting();
        if waiting.bytes + datagram.len() > room {
            return;
        }
        waiting.bytes += datagram.len();
        let queue = if self.home.has_queues_apart { port } else { 0 };
        waiting.queues[queue].push_back((port, Instant::now(), datagram.to_vec()));
        self.more.notify_one();
    }

    /// One datagram after the other, each for as long as it takes.
    fn pass(&self, through: &mpsc::SyncSender<(usize, Instant, Vec<u8>)>) {
        let mut free_at = Instant::now();
        loop {
            let (port, came, datagram) = self.next();
            free_at = free_at.max(came)
                + Duration::from_secs_f64(datagram.len() as f64 / f64::from(self.home.bytes_per_second));
            thread::sleep(free_at.saturating_duration_since(Instant::now()));
            if through.send((port, free_at + self.home.one_way, datagram)).is_err() {
                return;
            }
        }
    }

    fn next(&self) -> (usize, Instant, Vec<u8>) {
        let mut waiting = self.waiting();
        loop {
            let count = waiting.queues.len();
            let turn = waiting.turn;
            let found = (1..=count).map(|step| (turn + step) % count).find(|queue| !waiting.queues[*queue].is_empty());
            if let Some((queue, next)) = found.and_then(|queue| Some((queue, waiting.queues[queue].pop_front()?))) {
                waiting.turn = queue;
                waiting.bytes -= next.2.len();
                return next;
            }
            waiting = self.more.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
