//! A client process's side of QUIC: its two sockets, and what it keeps of nodes so that it may come back in one datagram.

use std::{
    collections::HashMap,
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use quinn::{Endpoint, EndpointConfig};
use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};
use wire::{PeerId, Ways};

use super::{
    super::Credentials,
    runtime::LaneRuntime,
    socket::{self, CONTROL_BUFFER_BYTES, DATA_BUFFER_BYTES},
    tickets::Tickets,
    tls::ClientBase,
    tuning,
};

/// Nodes that one process remembers. Beyond, it begins to remember anew.
const NODES_MAX: usize = 256;
/// Between two looks whether the last words are out.
const LOOK: Duration = Duration::from_millis(2);

/// The client's sockets and memory; all sessions of a process share one. It must be used on one runtime.
pub struct QuicClient {
    base: ClientBase,
    /// By family: IPv4, IPv6.
    sockets: Mutex<[Option<Sockets>; 2]>,
    nodes: Mutex<HashMap<String, Arc<KnownNode>>>,
    links: Arc<AtomicUsize>,
}

/// The two sockets of one family. That for data is opened when there is a session to use it (seed 000).
struct Sockets {
    control: Endpoint,
    /// A second handle of it, for the data socket to look at.
    looked_at: UdpSocket,
    data: Option<Endpoint>,
}

impl Sockets {
    fn open(any: SocketAddr) -> io::Result<Self> {
        let control = socket::bind(any, CONTROL_BUFFER_BYTES)?;
        let looked_at = control.try_clone()?;
        let control = socket::endpoint(control, EndpointConfig::default(), None, LaneRuntime::Control)?;
        Ok(Self { control, looked_at, data: None })
    }

    fn data(&mut self, any: SocketAddr) -> io::Result<Endpoint> {
        if let Some(data) = &self.data {
            return Ok(data.clone());
        }
        let data = socket::data_endpoint(socket::bind(any, DATA_BUFFER_BYTES)?, self.looked_at.try_clone()?, None)?;
        Ok(self.data.insert(data).clone())
    }
}

/// What is kept of a node.
pub(super) struct KnownNode {
    pub(super) control: quinn::ClientConfig,
    data: quinn::ClientConfig,
    control_tickets: Arc<Tickets>,
    /// Where its last control link went, and who answered.
    answered: Mutex<Option<(SocketAddr, PeerId)>>,
    /// Its ports for data did not answer.
    data_is_shut: AtomicBool,
    /// A data link to it has come through.
    data_came: AtomicBool,
    /// Nobody answered where it was when it was dialled last.
    is_silent: AtomicBool,
    /// Rung by data links over which it has fallen silent.
    pub(super) silence: Arc<Notify>,
}

impl KnownNode {
    fn new(base: &ClientBase) -> Result<Self, rustls::Error> {
        let control_tickets = Arc::<Tickets>::default();
        Ok(Self {
            control: base.control(Arc::clone(&control_tickets))?,
            data: base.data(Arc::new(Tickets::or_else(Arc::clone(&control_tickets))))?,
            control_tickets,
            answered: Mutex::new(None),
            data_is_shut: AtomicBool::new(false),
            data_came: AtomicBool::new(false),
            is_silent: AtomicBool::new(false),
            silence: Arc::default(),
        })
    }

    /// Where it was and who it is, if it gave a ticket to come back with and is not silent there.
    pub(super) fn returning(&self) -> Option<(SocketAddr, PeerId)> {
        self.answered().filter(|_| self.control_tickets.any() && !self.is_silent())
    }

    /// Whether nobody answered where it was when it was dialled last.
    pub(super) fn is_silent(&self) -> bool {
        self.is_silent.load(Relaxed)
    }

    /// Nobody answers where it was: it may be found at another address of its name.
    pub(super) fn note_silent(&self) {
        self.is_silent.store(true, Relaxed);
    }

    /// For a data link. Only where bytes come down and nowhere else may the node open a stream.
    pub(super) fn data_config(&self, ways: Ways) -> quinn::ClientConfig {
        let mut config = self.data.clone();
        if ways == Ways::Down {
            config.transport_config(tuning::data_down());
        }
        config
    }

    /// Where its last control link went, and who answered: its data links go to the same machine.
    pub(super) fn answered(&self) -> Option<(SocketAddr, PeerId)> {
        *lock(&self.answered)
    }

    /// Whether its ports for data did not answer when they were asked.
    pub(super) fn data_is_shut(&self) -> bool {
        self.data_is_shut.load(Relaxed)
    }

    /// They did not: holds as long as this process. That they did says nothing of the next link: a firewall may shut them at any
    /// time.
    pub(super) fn note_data_shut(&self) {
        self.data_is_shut.store(true, Relaxed);
    }

    /// Whether any data link to it has come through as long as this process runs.
    pub(super) fn has_data_come(&self) -> bool {
        self.data_came.load(Relaxed)
    }

    /// One has.
    pub(super) fn note_data_came(&self) {
        self.data_came.store(true, Relaxed);
    }

    /// A handshake with it is done.
    pub(super) fn has_answered(&self, address: SocketAddr, peer: PeerId) {
        *lock(&self.answered) = Some((address, peer));
        self.is_silent.store(false, Relaxed);
    }
}

impl QuicClient {
    /// A client that shows `credentials`. Sockets are opened when they are needed.
    ///
    /// # Errors
    /// When rustls refuses the credentials.
    pub fn new(credentials: &Credentials) -> Result<Self, rustls::Error> {
        let base = ClientBase::new(credentials)?;
        Ok(Self { base, sockets: Mutex::default(), nodes: Mutex::default(), links: Arc::default() })
    }

    /// Waits until every link that was closed has said so to its node, at most for `patience`: what a process that ends has not
    /// sent by then nobody sends.
    pub async fn settle(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        while self.links.load(Relaxed) > 0 && Instant::now() < deadline {
            sleep(LOOK).await;
        }
        for sockets in lock(&self.sockets).iter().flatten() {
            for socket in std::iter::once(&sockets.control).chain(&sockets.data) {
                socket.close(super::CLOSED, b"");
            }
        }
        // The connections' tasks send what they have to say on their next turn.
        sleep(LOOK).await;
    }

    /// The control socket for addresses of the family of `address`.
    pub(super) fn control(&self, address: SocketAddr) -> io::Result<Endpoint> {
        self.with_sockets(address, |sockets, _| Ok(sockets.control.clone()))
    }

    /// The data socket for them.
    pub(super) fn data(&self, address: SocketAddr) -> io::Result<Endpoint> {
        self.with_sockets(address, Sockets::data)
    }

    fn with_sockets(
        &self,
        address: SocketAddr,
        pick: impl FnOnce(&mut Sockets, SocketAddr) -> io::Result<Endpoint>,
    ) -> io::Result<Endpoint> {
        let any: SocketAddr = match address {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let mut all = lock(&self.sockets);
        let slot = &mut all[usize::from(address.is_ipv6())];
        let sockets = match slot {
            Some(sockets) => sockets,
            None => slot.insert(Sockets::open(any)?),
        };
        pick(sockets, any)
    }

    /// What is kept of the node at `endpoint`.
    pub(super) fn node(&self, endpoint: &str) -> Result<Arc<KnownNode>, rustls::Error> {
        let mut nodes = lock(&self.nodes);
        if let Some(node) = nodes.get(endpoint) {
            return Ok(Arc::clone(node));
        }
        if nodes.len() >= NODES_MAX {
            nodes.clear();
        }
        let node = Arc::new(KnownNode::new(&self.base)?);
        nodes.insert(endpoint.to_owned(), Arc::clone(&node));
        Ok(node)
    }

    /// What is kept of the one node that is known holds for `endpoint`.
    #[cfg(test)]
    pub(super) fn moved(&self, endpoint: &str) {
        let mut nodes = lock(&self.nodes);
        let (_, node) = nodes.drain().next().expect("a node");
        let peer = node.answered().expect("it has answered").1;
        node.has_answered(endpoint.parse().expect("an address"), peer);
        nodes.insert(endpoint.to_owned(), node);
    }

    /// Sockets for control, and for data.
    #[cfg(test)]
    pub(super) fn sockets_open(&self) -> (usize, usize) {
        let all = lock(&self.sockets);
        let data = all.iter().flatten().filter(|sockets| sockets.data.is_some());
        (all.iter().flatten().count(), data.count())
    }

    /// Counts a link as long as the guard lives.
    pub(super) fn count_link(&self) -> LinkCount {
        self.links.fetch_add(1, Relaxed);
        LinkCount(Arc::clone(&self.links))
    }
}

/// A link that is open.
pub(super) struct LinkCount(Arc<AtomicUsize>);

impl Drop for LinkCount {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
