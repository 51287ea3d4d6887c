//! A relay for the datagrams of one session that knows how long the other end took: from the moment before a datagram is given to
//! the kernel, which is when it becomes readable there (loopback delivers at once), to the moment at which the kernel saw the answer
//! arrive here, which is when it was written there. What either end's client waits for is not in it.

use std::{
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{SystemTime, UNIX_EPOCH},
};

use crate::measure::Outcome;

/// More than a datagram holds.
const DATAGRAM_MAX: usize = 64 << 10;

/// The relay of one session. Its threads go on until the process ends.
#[derive(Clone)]
pub(crate) struct Stamped {
    address: SocketAddr,
    /// Nanoseconds from the last datagram there to the last one back.
    took: Arc<AtomicU64>,
}

impl Stamped {
    /// Begins to relay between whoever comes first and `node`.
    pub(crate) fn start(node: &str) -> Outcome<Self> {
        let near = UdpSocket::bind("127.0.0.1:0")?;
        let far = UdpSocket::bind("127.0.0.1:0")?;
        far.connect(node)?;
        host::set_arrival_stamps(&far)?;
        let relay = Self { address: near.local_addr()?, took: Arc::default() };
        let took = relay.took.clone();
        let line = Arc::new(Line { near, far, client: OnceLock::new(), sent: AtomicU64::new(0) });
        let there = line.clone();
        spawn(move || there_goes(&there))?;
        spawn(move || back_comes(&line, &took))?;
        Ok(relay)
    }

    /// Where the client finds it.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Nanoseconds from the last datagram there to the last one that came back after it; asked when that has been answered.
    pub(crate) fn took(&self) -> u64 {
        self.took.load(Relaxed)
    }
}

/// What both directions know.
struct Line {
    near: UdpSocket,
    far: UdpSocket,
    client: OnceLock<SocketAddr>,
    /// When a datagram was last passed on: nanoseconds since 1970.
    sent: AtomicU64,
}

fn spawn(work: impl FnOnce() -> Outcome<()> + Send + 'static) -> Outcome<()> {
    thread::Builder::new().name("stamped".into()).spawn(move || {
        if let Err(error) = work() {
            eprintln!("the relay of a ping failed: {error}");
            std::process::exit(1);
        }
    })?;
    Ok(())
}

fn there_goes(line: &Line) -> Outcome<()> {
    let mut datagram = vec![0; DATAGRAM_MAX];
    loop {
        let (bytes, from) = line.near.recv_from(&mut datagram)?;
        let _ = line.client.set(from);
        line.sent.store(u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos())?, Relaxed);
        line.far.send(&datagram[..bytes])?;
    }
}

fn back_comes(line: &Line, took: &AtomicU64) -> Outcome<()> {
    let mut datagram = vec![0; DATAGRAM_MAX];
    loop {
        let (bytes, stamp) = host::receive_stamped(&line.far, &mut datagram)?;
        let arrived = u64::try_from(stamp.ok_or("no stamp of a datagram's arrival")?.as_nanos())?;
        // Otherwise the client has said more since, which is not what this answers.
        if let Some(nanos) = arrived.checked_sub(line.sent.load(Relaxed)) {
            took.store(nanos, Relaxed);
        }
        line.near.send_to(&datagram[..bytes], line.client.get().ok_or("an answer before a question")?)?;
    }
}
