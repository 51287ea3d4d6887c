//! A node's actors, started and ended together: the workers, the allocator, and the shared state between them.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use actix::{Actor, Addr};
use actix_rt::{Arbiter, ArbiterHandle};
use arc_swap::ArcSwap;
use dashmap::DashMap;
use flow::{GroupKey, shaper::SharedBucket};
use tokio::sync::{Notify, mpsc, watch};
use wire::{Hello, PeerId};

use crate::{
    allocator::Allocator,
    clock::Clock,
    guest::Crowd,
    metric::NodeMetrics,
    peer::{
        ControlMessage, PeerActor, Start,
        client::{Command, First, SessionEvent},
    },
    port::{ControlLink, Dialer, Files, Policy},
    registry::{NodeSettings, Registry},
    shared::{EarlyBell, GroupEntry, GroupRule, NodeConfig, PlanBook, Shared},
    spread::Spread,
    view::QuicView,
    worker::Worker,
};

/// How often a thread looks at its sockets at the latest, in task polls: tokio's own 61 would let a burst of ready peers
/// keep control waiting.
const EVENT_INTERVAL: u32 = if cfg!(feature = "lanes-off") { 61 } else { 13 };

/// How often a thread looks, in task polls, whether another has handed it something: always first. What comes from another
/// thread is control (datagrams of QUIC's control socket); at tokio's own 31 it waited until data had nothing to do.
const HANDED_OVER_INTERVAL: u32 = 1;

/// A third of a worker's weight: where all cores are wanted, a round takes three or four times as long, and still far less than
/// the time to the next one.
const ALLOCATOR_NICE: i32 = 5;

/// Which threads the peer actors live on.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Threads {
    /// An arbiter each, `config.workers` of them.
    Arbiters,
    /// The calling thread: a client with one session.
    Current,
}

/// A running node.
pub struct Node {
    pub(crate) shared: Arc<Shared>,
    pub(crate) allocator: Addr<Allocator>,
    workers: Vec<ArbiterHandle>,
    arbiters: std::sync::Mutex<Vec<Arbiter>>,
    pub(crate) connections: Arc<Connections>,
    /// Who comes through doors for guests, once there is one.
    pub(crate) crowd: OnceLock<Arc<Crowd>>,
    pub(crate) started: std::time::Instant,
    pub(crate) drained: watch::Sender<bool>,
    pub(crate) listen: ArcSwap<String>,
    pub(crate) quic: ArcSwap<QuicView>,
}

/// How many connections are open, in all and by address.
#[derive(Default)]
pub(crate) struct Connections {
    pub(crate) all: AtomicUsize,
    pub(crate) by_address: DashMap<IpAddr, usize>,
}

/// What a configuration says of groups and peers.
#[derive(Default)]
pub struct Tree {
    /// Groups in the order of their rules.
    pub groups: Vec<(String, GroupRule, NodeSettings)>,
    /// Peers by id.
    pub peers: Vec<(PeerId, NodeSettings)>,
}

impl Node {
    /// Starts workers and allocator. Must be called within an actix system.
    pub fn start(
        config: NodeConfig,
        tree: Tree,
        files: Arc<dyn Files>,
        policy: Arc<dyn Policy>,
        threads: Threads,
    ) -> Arc<Self> {
        let workers = if threads == Threads::Current { 1 } else { config.workers.max(1) };
        let metrics = Arc::new(NodeMetrics::register());
        metrics.workers.set(workers as f64);
        metrics.connections_max.set((config.sessions_max * (1 + config.data_links_max)) as f64);
        let bucket = |rate| Arc::new(SharedBucket::new(rate));
        let default_group =
            GroupEntry::new(GroupKey(0), "default".into(), Box::new(|_, _, _| Some(true)), NodeSettings::default());
        let named = tree
            .groups
            .into_iter()
            .zip(1..)
            .map(|((name, rule, settings), key)| GroupEntry::new(GroupKey(key), name, rule, settings));
        let registry = Registry::default();
        for (id, settings) in tree.peers {
            registry.peer_settings.insert(id, settings);
        }
        let shared = Arc::new(Shared {
            clock: Clock::start(),
            registry,
            groups: std::iter::once(default_group).chain(named).collect(),
            totals: config.limits.map(bucket),
            moved: Default::default(),
            achieved: Default::default(),
            in_sockets: Default::default(),
            arrivals: bucket(config.limits[flow::Direction::Download.index()]),
            bells: (0..workers).map(|_| Arc::new(Notify::new())).collect(),
            spread: Spread::new(workers),
            tree_version: 0.into(),
            early: EarlyBell::default(),
            book: ArcSwap::from_pointee(PlanBook::default()),
            draining: false.into(),
            metrics,
            precedence: Arc::default(),
            files,
            policy,
            config,
        });
        let mut arbiters: Vec<Arbiter> = match threads {
            Threads::Arbiters => (0..workers).map(|_| Arbiter::with_tokio_rt(worker_runtime)).collect(),
            Threads::Current => Vec::new(),
        };
        for (index, arbiter) in arbiters.iter().enumerate() {
            let shared = shared.clone();
            arbiter.spawn_fn(move || Worker::install(index, shared));
        }
        if threads == Threads::Current {
            Worker::install(0, shared.clone());
        }
        let handles = arbiters.iter().map(Arbiter::handle).collect();
        let allocator = match threads {
            Threads::Arbiters => {
                let (arbiter, allocator) = allocator_apart(shared.clone());
                arbiters.push(arbiter);
                allocator
            }
            Threads::Current => Allocator::new(shared.clone()).start(),
        };
        Arc::new(Self {
            shared,
            allocator,
            workers: handles,
            arbiters: std::sync::Mutex::new(arbiters),
            connections: Arc::default(),
            crowd: OnceLock::new(),
            started: std::time::Instant::now(),
            drained: watch::Sender::new(false),
            listen: ArcSwap::from_pointee(String::new()),
            quic: ArcSwap::default(),
        })
    }

    /// What its actors share.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Says where peers connect, over QUIC as well, for the status.
    pub fn set_listen(&self, address: SocketAddr, quic: QuicView) {
        self.listen.store(Arc::new(address.to_string()));
        self.quic.store(Arc::new(quic));
    }

    pub(crate) fn worker_count(&self) -> usize {
        self.workers.len().max(1)
    }

    pub(crate) fn run(&self, index: usize, job: Box<dyn FnOnce() + Send>) {
        match self.workers.get(index % self.worker_count()) {
            Some(worker) => drop(worker.spawn_fn(job)),
            None => drop(actix_rt::spawn(async move { job() })),
        }
    }

    /// Starts a client session over `link` on the calling thread, which must be the node's ([`Threads::Current`]). `first` goes
    /// with the hello.
    pub fn connect(
        &self,
        link: ControlLink,
        hello: Hello,
        first: First,
        dialer: Arc<dyn Dialer>,
        events_max: usize,
    ) -> (SessionHandle, mpsc::Receiver<SessionEvent>) {
        let (events, listener) = mpsc::channel(events_max);
        let worker = Worker::current().unwrap_or_else(|| unreachable!("a client node lives on its caller's thread"));
        let control = PeerActor::start_on(worker, link, Start::Client { hello, first, events, dialer });
        (SessionHandle { control }, listener)
    }

    /// Completes when the node has been asked to drain.
    pub fn drain_asked(&self) -> watch::Receiver<bool> {
        self.drained.subscribe()
    }

    /// Lets transfers end, at most for `config.drain`; then closes what is left. New sessions are refused from now on. Gives
    /// back how many sessions had to be closed.
    pub async fn drain(&self) -> usize {
        self.shared.draining.store(true, Relaxed);
        let _ = self.drained.send(true);
        let sessions: Vec<_> = self.shared.registry.sessions.iter().map(|session| session.control.clone()).collect();
        for control in sessions {
            // One whose lane is full is told when it has room.
            actix_rt::spawn(async move { drop(control.send(ControlMessage::Drain).await) });
        }
        let deadline = tokio::time::Instant::now() + self.shared.config.drain;
        while !self.shared.registry.sessions.is_empty() && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let left: Vec<_> = self.shared.registry.sessions.iter().map(|session| session.control.clone()).collect();
        for control in &left {
            let _ = control.try_send(ControlMessage::Overdue);
        }
        if !left.is_empty() {
            // The last words need one more moment.
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        left.len()
    }

    /// Ends the worker threads.
    pub fn stop(&self) {
        let arbiters = self.arbiters.lock().map(|mut arbiters| std::mem::take(&mut *arbiters)).unwrap_or_default();
        for arbiter in arbiters {
            arbiter.stop();
            let _ = arbiter.join();
        }
    }
}

/// A client session's own end of its control lane.
#[derive(Clone)]
pub struct SessionHandle {
    control: mpsc::Sender<ControlMessage>,
}

impl SessionHandle {
    /// Gives the session a command; false when it has ended.
    pub async fn command(&self, command: Command) -> bool {
        self.control.send(ControlMessage::Command(command)).await.is_ok()
    }
}

/// The allocator on a thread of its own, which stands back behind the workers: a round for 10,000 peers takes 15 ms, and on a core
/// that it shared as an equal, a worker waited for 6 of them at a time, which is more than a total remembers.
fn allocator_apart(shared: Arc<Shared>) -> (Arbiter, Addr<Allocator>) {
    let arbiter = Arbiter::with_tokio_rt(worker_runtime);
    arbiter.spawn_fn(|| {
        if let Err(error) = host::stand_back(ALLOCATOR_NICE) {
            tracing::debug!(%error, "the allocator's thread does not stand back");
        }
    });
    let allocator = Allocator::start_in_arbiter(&arbiter.handle(), move |_| Allocator::apart(shared));
    (arbiter, allocator)
}

fn worker_runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime =
        builder.enable_all().event_interval(EVENT_INTERVAL).global_queue_interval(HANDED_OVER_INTERVAL).build();
    // Without threads there is no node; this happens at start, before anybody was told anything.
    runtime.unwrap_or_else(|error| panic!("no runtime for a worker: {error}"))
}
