//! A node with one worker thread, and clients that reach it over fake links: nothing but memory between them.

use std::{
    collections::HashMap,
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use actors::{
    Node, NodeConfig, NodeConsole, SessionHandle, Shared, Threads, Tree,
    peer::client::{Command, First, GetCommand, OpenSink, SessionEvent},
    port::{ControlLink, DataArrival, DataLink, DataOffer, Dialer, Front, LinkError, Policy, PortFuture, Rights, Sink},
};
use flow::{Class, Direction, Rate, ShaperConfig, allocation::Knobs};
use metrics::{Counter, CounterFn, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString};
use tokio::sync::{mpsc, oneshot};
use wire::{Get, Hello, Message, PeerId, Refusal, Role, Token, Ways};

use crate::{
    files::{FakeFiles, FakeSink, FakeSource, Stored},
    link::{self, Chunk, End},
};

/// Longer than anything takes on a loaded machine; only a test that fails waits for it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Items that a fake link takes before its writer must wait.
pub(crate) const LINK_ROOM: usize = 8;

/// Runs a test on an actix system of its own.
pub(crate) fn run(test: impl Future<Output = ()>) {
    actix::System::new().block_on(async { tokio::time::timeout(2 * PATIENCE, test).await.expect("the test hangs") });
}

/// Waits until `condition` holds.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "waited in vain until {what}");
}

/// The id of the peer of that name. What is allowed to it is in the name: `reader-…`, `writer-…`, `stranger-…`.
pub(crate) fn id(name: &str) -> PeerId {
    PeerId::from_spki_der(name.as_bytes())
}

#[derive(Default)]
struct Rulebook(Mutex<HashMap<PeerId, Rights>>);

impl Policy for Rulebook {
    fn rights(&self, peer: &PeerId) -> Rights {
        self.0.lock().unwrap().get(peer).copied().unwrap_or(Rights::NONE)
    }
}

/// Counters by name and labels.
#[derive(Clone, Default)]
pub(crate) struct Counts(Arc<Mutex<HashMap<String, Arc<Count>>>>);

#[derive(Default)]
struct Count {
    value: AtomicU64,
    poisoned: AtomicBool,
}

impl CounterFn for Count {
    fn increment(&self, value: u64) {
        assert!(!self.poisoned.swap(false, Relaxed), "this count is poison (the test wants this panic)");
        self.value.fetch_add(value, Relaxed);
    }

    fn absolute(&self, value: u64) {
        self.value.store(value, Relaxed);
    }
}

impl Counts {
    /// `name` or `name/value of the label`.
    pub(crate) fn get(&self, name: &str) -> u64 {
        self.count(name).value.load(Relaxed)
    }

    /// Whoever counts there next panics.
    pub(crate) fn poison(&self, name: &str) {
        self.count(name).poisoned.store(true, Relaxed);
    }

    fn count(&self, name: &str) -> Arc<Count> {
        self.0.lock().unwrap().get(name).unwrap_or_else(|| panic!("no counter {name}")).clone()
    }
}

impl Recorder for Counts {
    fn describe_counter(&self, _: KeyName, _: Option<metrics::Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<metrics::Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<metrics::Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let name = key.labels().fold(key.name().to_owned(), |name, label| format!("{name}/{}", label.value()));
        Counter::from_arc(self.0.lock().unwrap().entry(name).or_default().clone())
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

/// A configuration whose rounds come only when somebody comes, leaves or wakes.
pub(crate) fn config() -> NodeConfig {
    NodeConfig {
        id: id("the node"),
        agent: "test".into(),
        workers: 1,
        sessions_max: 8,
        per_address_max: 100,
        data_links_max: 2,
        transfers_max: 16,
        control_frames_per_second: 1_000_000,
        window_bytes_max: 1 << 20,
        plaintext_data: false,
        session_limits: wire::Limits::default(),
        interval: Duration::from_secs(3600),
        early: Duration::from_millis(20),
        drain: PATIENCE,
        knobs: Knobs::default(),
        shaper: ShaperConfig::default(),
        limits: [Rate::UNLIMITED; 2],
        shares: vec!["share".into()],
    }
}

/// The node, and a client's small node on the test's own thread.
pub(crate) struct House {
    pub(crate) node: Arc<Node>,
    pub(crate) stored: Stored,
    /// Held by whatever waits for the endless file.
    pub(crate) endless: Arc<()>,
    pub(crate) counts: Counts,
    client: Arc<Node>,
    rulebook: Arc<Rulebook>,
}

impl House {
    pub(crate) fn start(config: NodeConfig) -> Self {
        let counts = Counts::default();
        let rulebook = Arc::new(Rulebook::default());
        let files = FakeFiles::default();
        let endless = files.endless.clone();
        let stored = files.stored.clone();
        let rights: Arc<dyn Policy> = rulebook.clone();
        let node = metrics::with_local_recorder(&counts, || {
            Node::start(config, Tree::default(), Arc::new(files), rights, Threads::Arbiters)
        });
        let own = NodeConfig { id: id("client"), ..self::config() };
        let client =
            Node::start(own, Tree::default(), Arc::new(FakeFiles::default()), rulebook.clone(), Threads::Current);
        Self { node, stored, endless, counts, client, rulebook }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        self.node.shared()
    }

    pub(crate) fn console(&self) -> NodeConsole {
        NodeConsole(self.node.clone())
    }

    fn admit(&self, name: &str) -> PeerId {
        let rights = match name.split('-').next() {
            Some("reader") => Rights::READ,
            Some("writer") => Rights { read: true, write: true, operate: false },
            _ => Rights::NONE,
        };
        self.rulebook.0.lock().unwrap().insert(id(name), rights);
        id(name)
    }

    /// Hands a control link to the node; the other side's ends: what it hears, and where it speaks.
    fn dial(&self, name: &str, room: usize) -> (End<Message>, End<Message>) {
        let peer = self.admit(name);
        let ((to_node, node_in), (node_out, from_node)) = (End::pair(LINK_ROOM), End::pair(room));
        let link = link::control(peer, node_in, node_out);
        let node = self.node.clone();
        self.node.run_on(0, Box::new(move || node.control(link)));
        (from_node, to_node)
    }

    /// A client session of the peer of that name; `hello` says what it wants.
    pub(crate) fn session(&self, name: &str, hello: Hello) -> Visitor {
        self.session_asking(name, hello, |_| First::default())
    }

    /// The same; `first` says what goes with the hello, and where its files are stored.
    pub(crate) fn session_asking(&self, name: &str, hello: Hello, first: impl FnOnce(&Stored) -> First) -> Visitor {
        let stored = Stored::default();
        let first = first(&stored);
        let (from_node, to_node) = self.dial(name, LINK_ROOM);
        let dialer = Arc::new(FakeDialer { node: self.node.clone(), peer: id(name) });
        let link = link::control(id("the node"), from_node, to_node);
        let (handle, events) = self.client.connect(link, hello, first, dialer, 64);
        Visitor { handle, events, stored, outcomes: HashMap::new() }
    }

    /// A client session that has been welcomed.
    pub(crate) async fn visitor(&self, name: &str) -> Visitor {
        let mut visitor = self.session(name, Hello::default());
        assert!(matches!(visitor.event().await, SessionEvent::Welcomed(_)));
        visitor
    }

    /// A peer that is played by the test itself, message by message. `room` frames fit on its way from the node.
    pub(crate) async fn puppet(&self, name: &str, room: usize, gets: Vec<Get>) -> Puppet {
        self.puppet_saying(name, room, Hello { gets, ..Hello::default() }).await
    }

    /// The same with a hello of its own.
    pub(crate) async fn puppet_saying(&self, name: &str, room: usize, hello: Hello) -> Puppet {
        let (hears, speaks) = self.dial(name, room);
        let hello = Hello { version: wire::PROTOCOL_VERSION, ..hello };
        assert!(speaks.send(Message::Hello(hello)).await);
        let tokens = match hears.next().await {
            Some(Message::Welcome(welcome)) => {
                welcome.parsed_tokens().unwrap().into_iter().zip(welcome.links().ways()).collect()
            }
            other => panic!("{other:?}"),
        };
        Puppet { id: id(name), hears, speaks, tokens }
    }

    /// Nothing of anybody is left.
    pub(crate) async fn empty(&self) {
        let registry = &self.shared().registry;
        until("nobody is in the registry", || {
            registry.peers.is_empty()
                && registry.sessions.is_empty()
                && registry.leaves.is_empty()
                && registry.tokens.is_empty()
        })
        .await;
    }

    /// The plan of uploads has a leaf for which `condition` holds.
    pub(crate) async fn planned(&self, what: &str, condition: impl Fn(&flow::allocation::Plan) -> bool) {
        let book = &self.shared().book;
        until(what, || book.load().plans[Direction::Upload.index()].as_ref().is_some_and(&condition)).await;
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.node.stop();
    }
}

/// Hands one end of a new data link to the node; the peer's ends: what it hears, and where it speaks.
async fn dial_data(
    node: &Arc<Node>,
    peer: PeerId,
    token: Token,
    ways: Ways,
) -> Result<(End<Chunk>, End<Chunk>), Refusal> {
    let ((to_node, node_in), (node_out, from_node)) = (End::pair(LINK_ROOM), End::pair(LINK_ROOM));
    let arrival = DataArrival { token, link: link::data(peer, Role::Server, ways, node_in, node_out) };
    let (answer, answered) = oneshot::channel();
    let front = node.clone();
    let job = move || drop(answer.send(front.data(arrival)));
    node.run_on(node.route(&token).unwrap_or(0), Box::new(job));
    answered.await.expect("the worker lives").map(|()| (from_node, to_node))
}

struct FakeDialer {
    node: Arc<Node>,
    peer: PeerId,
}

impl Dialer for FakeDialer {
    fn control(&self) -> PortFuture<Result<ControlLink, LinkError>> {
        Box::pin(async { Err(LinkError::Local("the session has its link already".into())) })
    }

    fn data(&self, offer: DataOffer) -> PortFuture<Result<DataLink, LinkError>> {
        let (node, peer) = (self.node.clone(), self.peer);
        let DataOffer { token, ways, .. } = offer;
        Box::pin(async move {
            let dialled = dial_data(&node, peer, token, ways).await;
            let (from_node, to_node) = dialled.map_err(|refusal| LinkError::Local(refusal.to_string()))?;
            Ok(link::data(id("the node"), Role::Client, ways, from_node, to_node))
        })
    }
}

/// A client session and what it received.
pub(crate) struct Visitor {
    pub(crate) handle: SessionHandle,
    pub(crate) events: mpsc::Receiver<SessionEvent>,
    pub(crate) stored: Stored,
    outcomes: HashMap<u64, Result<(), wire::FailureCode>>,
}

/// A whole file, to be stored there.
pub(crate) fn get_command(tag: u64, path: &str, stored: &Stored) -> GetCommand {
    let (stored, name) = (stored.clone(), path.to_owned());
    let open: OpenSink = Box::new(move |_| {
        let sink: Arc<dyn Sink> = FakeSink::new(&name, &stored);
        Box::pin(std::future::ready(Ok((sink, None))))
    });
    GetCommand { tag, path: path.into(), resume: None, weight: 1.0, class: Class::Foreground, open }
}

impl Visitor {
    pub(crate) async fn event(&mut self) -> SessionEvent {
        let event = tokio::time::timeout(PATIENCE, self.events.recv()).await.expect("an event comes");
        event.expect("the session lives")
    }

    /// The first event that `wanted` makes something of.
    pub(crate) async fn find<T>(&mut self, wanted: impl Fn(SessionEvent) -> Option<T>) -> T {
        loop {
            if let Some(found) = wanted(self.event().await) {
                return found;
            }
        }
    }

    pub(crate) async fn get(&self, tag: u64, path: &str) {
        assert!(self.handle.command(Command::Get(get_command(tag, path, &self.stored))).await);
    }

    pub(crate) async fn put(&self, tag: u64, path: &str) {
        let source = FakeSource::new(path);
        let (path, class) = (path.to_owned(), Class::Foreground);
        assert!(self.handle.command(Command::Put { tag, path, source, weight: 1.0, class }).await);
    }

    /// Waits until the transfer is whole at its receiver, or says why not. Transfers end in any order.
    pub(crate) async fn outcome(&mut self, tag: u64) -> Result<(), wire::FailureCode> {
        loop {
            if let Some(outcome) = self.outcomes.remove(&tag) {
                return outcome;
            }
            let ended = self.find(|event| match event {
                SessionEvent::Done { tag } => Some((tag, Ok(()))),
                SessionEvent::Failed { tag, failed } => Some((tag, Err(failed.code()))),
                _ => None,
            });
            let (tag, outcome) = ended.await;
            self.outcomes.insert(tag, outcome);
        }
    }

    /// Why the session ended, in words; `None` as wished.
    pub(crate) async fn ended(&mut self) -> Option<String> {
        self.find(|event| match event {
            SessionEvent::Ended { why, .. } => Some(why),
            _ => None,
        })
        .await
    }
}

/// A peer that is played by hand.
pub(crate) struct Puppet {
    pub(crate) id: PeerId,
    pub(crate) hears: End<Message>,
    pub(crate) speaks: End<Message>,
    /// For its data links, and which ways they are to carry.
    pub(crate) tokens: Vec<(Token, Ways)>,
}

impl Puppet {
    /// Opens its first data link: what it hears, and where it speaks.
    pub(crate) async fn data(&self, house: &House) -> Result<(End<Chunk>, End<Chunk>), Refusal> {
        self.data_number(0, house).await
    }

    /// Opens the data link of that number.
    pub(crate) async fn data_number(&self, index: usize, house: &House) -> Result<(End<Chunk>, End<Chunk>), Refusal> {
        let (token, ways) = self.tokens[index];
        dial_data(&house.node, self.id, token, ways).await
    }

    /// The first message that `wanted` makes something of.
    pub(crate) async fn find<T>(&self, wanted: impl Fn(Message) -> Option<T>) -> T {
        let looking = async {
            loop {
                let message = self.hears.next().await.expect("the node is there");
                if let Some(found) = wanted(message) {
                    return found;
                }
            }
        };
        tokio::time::timeout(PATIENCE, looking).await.expect("the message comes")
    }
}
