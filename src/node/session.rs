//! A client's side of the house: the same actors, shaper and allocator as a node has, with one session on one thread.

use std::{sync::Arc, time::Duration};

use actors::{
    Node, NodeConfig, SessionHandle, Threads, Tree,
    peer::client::{First, SessionEvent},
    port::{Dialer, LinkError, Policy, Rights},
};
use flow::{Class, Rate, ShaperConfig, allocation::Knobs};
use tokio::sync::mpsc;
use wire::{ClassCode, DataLinks, Hello, PeerId};

use crate::{
    files::{FilesConfig, LocalFiles},
    identity::{Identity, KnownPeers, StateDir},
    transport::{self, AutoDialer, Credentials, DialConfig, QuicClient, QuicDialer, TcpDialer},
};

use super::{Exit, Failure, TransportChoice, compose};

/// Events that a session may be ahead of its user: a start and an end of every transfer that can be under way.
const EVENTS_MAX: usize = 1024;

/// What a client asks for, whatever it moves.
#[derive(Clone, Debug)]
pub struct Wish {
    /// This side's own total for sending, and what it asks for.
    pub upload: Rate,
    /// The same for receiving.
    pub download: Rate,
    /// What it asks to receive, where that is not what it takes.
    pub asks: Option<Rate>,
    /// How urgent.
    pub class: Class,
    /// Data links, by the ways that they carry.
    pub data_links: DataLinks,
    /// The node's id if the user gave it; otherwise pins decide.
    pub peer_id: Option<PeerId>,
    /// Does not say that a pin is new.
    pub quiet: bool,
    /// How to get to the node.
    pub transport: TransportChoice,
}

impl Wish {
    /// As much as there is, over one data link for both ways, without words.
    pub const fn everything(transport: TransportChoice) -> Self {
        Self {
            upload: Rate::UNLIMITED,
            download: Rate::UNLIMITED,
            asks: None,
            class: Class::Foreground,
            data_links: DataLinks::both(1),
            peer_id: None,
            quiet: true,
            transport,
        }
    }
}

/// A client: a node without a front, on the thread that made it.
pub struct Client {
    node: Arc<Node>,
    credentials: Credentials,
    quic: Arc<QuicClient>,
    state: StateDir,
    /// Local files, with resume.
    pub files: LocalFiles,
    wish: Wish,
}

/// Nobody dials a client.
struct Nobody;

impl Policy for Nobody {
    fn rights(&self, _: &PeerId) -> Rights {
        Rights::NONE
    }
}

impl Client {
    /// Makes a client on the current thread, which must run an actix system or arbiter.
    ///
    /// # Errors
    /// When the state directory or the key can't be used.
    pub fn start(state: StateDir, wish: Wish) -> Result<Self, Failure> {
        let machine = |error: &dyn std::fmt::Display| Failure::new(Exit::Machine, error.to_string());
        transport::install_provider();
        let identity = Identity::load_or_create(&state).map_err(|error| machine(&error))?;
        let credentials = Credentials::generate_from_pkcs8(identity.key_pkcs8()).map_err(|error| machine(&error))?;
        let files = LocalFiles::new(&FilesConfig::new(state.path())).map_err(|error| machine(&error))?;
        let config = node_config(&wish, identity.id());
        let shares = Arc::new(files.clone());
        let node = Node::start(config, Tree::default(), shares, Arc::new(Nobody), Threads::Current);
        let quic = Arc::new(QuicClient::new(&credentials).map_err(|error| machine(&error))?);
        Ok(Self { node, credentials, quic, state, files, wish })
    }

    /// This client's own small node.
    pub fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// Data links that it asks for.
    pub fn data_links(&self) -> u32 {
        self.wish.data_links.all()
    }

    /// Dials `endpoint` (`HOST:PORT`) and says hello. `notice` is told once when the endpoint's id is new.
    ///
    /// # Errors
    /// As the dialler gives them.
    pub async fn connect(&self, endpoint: &str) -> Result<(SessionHandle, mpsc::Receiver<SessionEvent>), LinkError> {
        self.connect_asking(endpoint, async { First::default() }).await
    }

    /// The same; what `first` gives goes with the hello. It is made while the endpoint is dialled.
    ///
    /// # Errors
    /// As the dialler gives them.
    pub async fn connect_asking(
        &self,
        endpoint: &str,
        first: impl Future<Output = First>,
    ) -> Result<(SessionHandle, mpsc::Receiver<SessionEvent>), LinkError> {
        let quiet = self.wish.quiet;
        let mut pins = KnownPeers::new(&self.state, move |notice| {
            if !quiet {
                eprintln!("{notice}");
            }
        });
        if let Some(id) = self.wish.peer_id {
            pins = pins.expecting(id);
        }
        let dialer =
            self.dialer(endpoint, Arc::new(Pinned(pins))).map_err(|error| LinkError::Local(error.to_string()))?;
        let (link, first) = tokio::join!(dialer.control(), first);
        let link = link?;
        let links = self.wish.data_links;
        let hello = Hello {
            version: wire::PROTOCOL_VERSION,
            upload: self.wish.upload.to_wire(),
            download: self.wish.asks.unwrap_or(self.wish.download).to_wire(),
            class: ClassCode::from(self.wish.class).into(),
            data_links: links.all(),
            agent: compose::agent(),
            gets: Vec::new(),
            lists: Vec::new(),
            down_links: links.down,
            up_links: links.up,
        };
        Ok(self.node.connect(link, hello, first, dialer, EVENTS_MAX))
    }

    fn dialer(&self, endpoint: &str, pins: Arc<Pinned>) -> Result<Arc<dyn Dialer>, transport::CredentialsRefused> {
        let config = DialConfig::default();
        let tcp = || TcpDialer::new(endpoint, &self.credentials, pins.clone(), config.clone());
        let quic = || QuicDialer::new(endpoint, self.quic.clone(), pins.clone(), config.clone());
        Ok(match self.wish.transport {
            TransportChoice::Tcp => Arc::new(tcp()?),
            TransportChoice::Quic => Arc::new(quic()?),
            TransportChoice::Auto => Arc::new(AutoDialer::new(quic()?, tcp()?)),
        })
    }

    /// Waits until the last words of its sessions are on their way, at most for `patience`. The kernel keeps those of TCP; those
    /// of QUIC end with the process.
    pub async fn settle(&self, patience: Duration) {
        self.quic.settle(patience).await;
    }
}

/// Known peers, as the dialler asks for them.
struct Pinned(KnownPeers);

impl transport::Pins for Pinned {
    fn check(&self, endpoint: &str, id: &PeerId) -> Result<(), String> {
        self.0.check(endpoint, id).map_err(|error| error.to_string())
    }
}

fn node_config(wish: &Wish, id: PeerId) -> NodeConfig {
    NodeConfig {
        id,
        agent: compose::agent(),
        workers: 1,
        sessions_max: 16,
        per_address_max: 0,
        data_links_max: wish.data_links.all() as usize,
        transfers_max: 64,
        // The node is trusted to talk as fast as it likes: its control link is read by one user's process.
        control_frames_per_second: 100_000,
        window_bytes_max: 8 * 1024 * 1024,
        plaintext_data: false,
        session_limits: wire::Limits::default(),
        interval: Duration::from_millis(2500),
        early: Duration::from_millis(250),
        drain: Duration::from_secs(5),
        knobs: Knobs::default(),
        shaper: ShaperConfig::default(),
        limits: [wish.upload, wish.download],
        shares: Vec::new(),
    }
}
