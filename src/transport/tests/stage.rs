//! A front with two workers, a listener before it, and credentials for both sides.

use std::{
    cell::Cell,
    future::poll_fn,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use actors::port::{
    ControlLink, ControlReceiver, ControlSender, DataArrival, DataLink, DataOffer, DataReceiver, DataSender, Dialer,
    Front, LinkError, LinkFault,
};
use bytes::Bytes;
use rcgen::{KeyPair, PKCS_ED25519};
use tokio::{
    net::TcpStream,
    sync::mpsc,
    task::{JoinHandle, LocalSet},
    time::sleep,
};
use wire::{DataHeader, Message, PeerId, Ping, Refusal, RefusalCode, Token, Ways};

use crate::transport::{
    Credentials, DialConfig, ListenConfig, Listener, Pins, QuicClient, QuicConfig, QuicDialer, QuicListener, TcpDialer,
    awake::timeout, data_route,
};

/// Enough for every test here, little enough to keep a broken one short.
const PATIENCE: Duration = Duration::from_secs(10);

type Job = Box<dyn FnOnce() + Send>;

thread_local! {
    static WORKER: Cell<Option<usize>> = const { Cell::new(None) };
}

/// Hellos that the front lets be heard before their peers have proven to be there.
pub(in crate::transport) const EARLY_MAX: usize = 8;

/// The front: hands what arrives to the test, with the worker it arrived on.
pub(in crate::transport) struct FakeFront {
    workers: Vec<mpsc::Sender<Job>>,
    tokens: Mutex<Vec<(Token, usize)>>,
    controls: mpsc::Sender<(usize, ControlLink)>,
    arrivals: mpsc::Sender<(usize, DataArrival)>,
    faults: mpsc::Sender<LinkFault>,
    held: Arc<AtomicUsize>,
    full: AtomicBool,
}

struct Held(Arc<AtomicUsize>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Front for FakeFront {
    fn workers(&self) -> usize {
        self.workers.len()
    }

    fn run_on(&self, index: usize, job: Job) {
        self.workers[index % self.workers.len()].try_send(job).ok().unwrap();
    }

    fn route(&self, token: &Token) -> Option<usize> {
        self.tokens.lock().unwrap().iter().find(|(known, _)| known == token).map(|&(_, worker)| worker)
    }

    fn may_come(&self, _address: SocketAddr) -> Result<(), &'static str> {
        if self.full.load(Ordering::SeqCst) { Err("per_address") } else { Ok(()) }
    }

    fn admit(&self, address: SocketAddr) -> Result<Box<dyn Send>, &'static str> {
        self.may_come(address)?;
        self.held.fetch_add(1, Ordering::SeqCst);
        Ok(Box::new(Held(Arc::clone(&self.held))))
    }

    fn hears_early(&self, unproven: usize) -> bool {
        unproven < EARLY_MAX
    }

    fn control(&self, link: ControlLink) {
        // A real front starts actors here, which needs the thread's local set.
        tokio::task::spawn_local(async {});
        self.controls.try_send((WORKER.get().unwrap(), link)).ok().unwrap();
    }

    fn data(&self, arrival: DataArrival) -> Result<(), Refusal> {
        let worker = WORKER.get().unwrap();
        if self.route(&arrival.token) != Some(worker) {
            let message = "unknown token".to_owned();
            return Err(Refusal { code: RefusalCode::BadToken.into(), message, retry_after_ms: 0 });
        }
        self.arrivals.try_send((worker, arrival)).ok().unwrap();
        Ok(())
    }

    fn fault(&self, _address: SocketAddr, fault: LinkFault) {
        // One that nobody waits for: a datagram may come to a socket whose test has ended.
        let _ = self.faults.try_send(fault);
    }
}

/// What carries a test's links.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(in crate::transport) enum Over {
    Tcp,
    Quic,
}

/// Everything a test needs.
pub(in crate::transport) struct Stage {
    pub(in crate::transport) address: SocketAddr,
    data_ports: Vec<u16>,
    pub(in crate::transport) server: Credentials,
    pub(in crate::transport) front: Arc<FakeFront>,
    controls: mpsc::Receiver<(usize, ControlLink)>,
    arrivals: mpsc::Receiver<(usize, DataArrival)>,
    faults: mpsc::Receiver<LinkFault>,
    accepting: [JoinHandle<()>; 2],
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.accepting.iter().for_each(JoinHandle::abort);
    }
}

impl Stage {
    /// Listens on loopback.
    pub(in crate::transport) fn open(config: ListenConfig) -> Self {
        let quic = QuicConfig { handshake_ms: config.handshake_ms, ..QuicConfig::default() };
        Self::with(config, quic)
    }

    /// The same, QUIC with its own settings.
    pub(in crate::transport) fn with(config: ListenConfig, quic: QuicConfig) -> Self {
        Self::of(credentials(), config, quic)
    }

    /// A node with a key that was used before.
    pub(in crate::transport) fn with_credentials(server: Credentials) -> Self {
        Self::of(server, ListenConfig::default(), QuicConfig::default())
    }

    fn of(server: Credentials, config: ListenConfig, quic: QuicConfig) -> Self {
        let (controls_in, controls) = mpsc::channel(64);
        let (arrivals_in, arrivals) = mpsc::channel(64);
        let (faults_in, faults) = mpsc::channel(64);
        let front = Arc::new(FakeFront {
            workers: (0..2).map(start_worker).collect(),
            tokens: Mutex::new(Vec::new()),
            controls: controls_in,
            arrivals: arrivals_in,
            faults: faults_in,
            held: Arc::default(),
            full: AtomicBool::new(false),
        });
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        // A port that is free for both.
        let (tcp, quic) = std::iter::repeat_with(|| {
            let tcp = Listener::bind(any, Arc::<FakeFront>::clone(&front), &server, config.clone()).unwrap();
            let address = tcp.local_addr().unwrap();
            (tcp, QuicListener::bind(address, any, Arc::<FakeFront>::clone(&front), &server, quic.clone()))
        })
        .find_map(|(tcp, quic)| Some((tcp, quic.ok()?)))
        .unwrap();
        let (address, data_ports) = (tcp.local_addr().unwrap(), quic.data_ports().unwrap());
        let accepting = [
            tokio::spawn(async move { tcp.run().await.unwrap() }),
            tokio::spawn(async move { quic.run().await.unwrap() }),
        ];
        Self { address, data_ports, server, front, controls, arrivals, faults, accepting }
    }

    /// A listener with a short handshake time.
    pub(in crate::transport) fn hasty() -> Self {
        Self::open(ListenConfig { handshake_ms: 200, ..ListenConfig::default() })
    }

    /// A listener that takes plaintext data links.
    pub(in crate::transport) fn plaintext() -> Self {
        Self::open(ListenConfig { data_encryption: false, ..ListenConfig::default() })
    }

    /// Makes a token good on a worker.
    pub(in crate::transport) fn issue(&self, token: Token, worker: usize) {
        self.front.tokens.lock().unwrap().push((token, worker));
    }

    /// Admits nobody from now on.
    pub(in crate::transport) fn fill(&self) {
        self.front.full.store(true, Ordering::SeqCst);
    }

    /// Admits again.
    pub(in crate::transport) fn empty(&self) {
        self.front.full.store(false, Ordering::SeqCst);
    }

    pub(in crate::transport) fn dialer(&self, client: &Credentials) -> TcpDialer {
        dialer(self.address, client, Expect(Some(self.server.peer_id())))
    }

    /// A dialler that expects the stage's node.
    pub(in crate::transport) fn dialer_over(&self, over: Over, client: &Credentials) -> Box<dyn Dialer> {
        match over {
            Over::Tcp => Box::new(self.dialer(client)),
            Over::Quic => {
                let pins = Arc::new(Expect(Some(self.server.peer_id())));
                let quic = Arc::new(QuicClient::new(client).unwrap());
                let endpoint = self.address.to_string();
                Box::new(QuicDialer::new(endpoint, quic, pins, DialConfig::default()).unwrap())
            }
        }
    }

    /// Where data links over QUIC go to `worker`.
    pub(in crate::transport) fn data_address(&self, worker: usize) -> SocketAddr {
        SocketAddr::new(self.address.ip(), self.data_ports[worker])
    }

    /// What a welcome would say of a data link over QUIC to `port`.
    pub(in crate::transport) fn offer_at(&self, token: Token, port: u16) -> DataOffer {
        DataOffer { endpoint: format!(":{port}"), ..offer(token, String::new(), false) }
    }

    /// What a welcome would say of a data link to `worker`.
    pub(in crate::transport) fn offer(&self, over: Over, token: Token, worker: usize) -> DataOffer {
        let endpoint = match over {
            Over::Tcp => String::new(),
            Over::Quic => format!(":{}", self.data_ports[worker]),
        };
        DataOffer { endpoint, ..offer(token, data_route(worker), false) }
    }

    /// A control link, both ends, on which one message went.
    pub(in crate::transport) async fn meet(&mut self, dialer: &dyn Dialer) -> (ControlLink, usize, ControlLink) {
        let mut ours = dialer.control().await.unwrap();
        // Over QUIC nobody hears of a link before something is said on it.
        send(&mut ours.sender, &ping(1)).await;
        let (worker, mut theirs) = self.next_control().await;
        assert_eq!(receive(&mut theirs.receiver).await.unwrap(), Some(ping(1)));
        (ours, worker, theirs)
    }

    /// A data link to `worker` with the token `token`, both ends. Its control link is dropped.
    pub(in crate::transport) async fn data_link(
        &mut self,
        over: Over,
        token: Token,
        worker: usize,
    ) -> (DataLink, DataArrival) {
        self.data_link_carrying(over, Ways::Both, token, worker).await
    }

    /// The same for a link that carries `ways`.
    pub(in crate::transport) async fn data_link_carrying(
        &mut self,
        over: Over,
        ways: Ways,
        token: Token,
        worker: usize,
    ) -> (DataLink, DataArrival) {
        let dialer = self.dialer_over(over, &credentials());
        let _control = self.meet(dialer.as_ref()).await;
        self.issue(token, worker);
        let offer = DataOffer { ways, ..self.offer(over, token, worker) };
        let ours = dialer.data(offer).await.unwrap();
        let (arrived_on, theirs) = self.next_arrival().await;
        assert_eq!(arrived_on, worker);
        (ours, theirs)
    }

    pub(in crate::transport) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    pub(in crate::transport) async fn next_control(&mut self) -> (usize, ControlLink) {
        timeout(PATIENCE, self.controls.recv()).await.expect("a control link in time").unwrap()
    }

    pub(in crate::transport) async fn next_arrival(&mut self) -> (usize, DataArrival) {
        timeout(PATIENCE, self.arrivals.recv()).await.expect("a data link in time").unwrap()
    }

    pub(in crate::transport) async fn next_fault(&mut self) -> LinkFault {
        timeout(PATIENCE, self.faults.recv()).await.expect("a fault in time").unwrap()
    }

    /// Whether anything went wrong that was not asked for.
    pub(in crate::transport) fn has_faults(&self) -> bool {
        !self.faults.is_empty()
    }

    /// Waits until so many admissions are held.
    pub(in crate::transport) async fn admitted(&self, places: usize) {
        timeout(PATIENCE, async {
            while self.front.held.load(Ordering::SeqCst) != places {
                sleep(Duration::from_millis(5)).await;
            }
        })
        .await
        .expect("so many admissions");
    }

    /// Admissions that are held now.
    pub(in crate::transport) fn held(&self) -> usize {
        self.front.held.load(Ordering::SeqCst)
    }

    /// Waits until no admission is held.
    pub(in crate::transport) async fn all_given_back(&self) {
        self.admitted(0).await;
    }
}

fn start_worker(index: usize) -> mpsc::Sender<Job> {
    let (jobs, mut inbox) = mpsc::channel::<Job>(64);
    thread::spawn(move || {
        WORKER.set(Some(index));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        LocalSet::new().block_on(&runtime, async move {
            while let Some(job) = inbox.recv().await {
                job();
            }
        });
    });
    jobs
}

/// Fresh credentials.
pub(in crate::transport) fn credentials() -> Credentials {
    let pair = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    Credentials::generate_from_pkcs8(&pair.serialize_der()).unwrap()
}

/// Pins one id, or takes any.
pub(in crate::transport) struct Expect(pub(in crate::transport) Option<PeerId>);

impl Pins for Expect {
    fn check(&self, endpoint: &str, id: &PeerId) -> Result<(), String> {
        match self.0 {
            Some(expected) if expected != *id => Err(format!("{endpoint} has changed: {id} instead of {expected}")),
            _ => Ok(()),
        }
    }
}

pub(in crate::transport) fn dialer(address: SocketAddr, client: &Credentials, pins: Expect) -> TcpDialer {
    TcpDialer::new(address.to_string(), client, Arc::new(pins), DialConfig::default()).unwrap()
}

pub(in crate::transport) fn token(byte: u8) -> Token {
    Token::from_bytes([byte; 32])
}

pub(in crate::transport) fn ping(nonce: u64) -> Message {
    Message::Ping(Ping { nonce, sent_ns: 1 })
}

pub(in crate::transport) async fn send(sender: &mut Box<dyn ControlSender>, message: &Message) {
    sender.start_send(message).unwrap();
    poll_fn(|cx| sender.poll_flush(cx)).await.unwrap();
}

pub(in crate::transport) async fn receive(
    receiver: &mut Box<dyn ControlReceiver>,
) -> Result<Option<Message>, LinkError> {
    timeout(PATIENCE, poll_fn(|cx| receiver.poll_receive(cx))).await.expect("a message in time")
}

/// Of a link that carries to the peer.
pub(in crate::transport) fn sender(sender: &mut Option<Box<dyn DataSender>>) -> &mut Box<dyn DataSender> {
    sender.as_mut().expect("a link that carries to the peer")
}

pub(in crate::transport) async fn send_chunk(sender: &mut Box<dyn DataSender>, offset: u64, payload: Bytes) {
    let len = u32::try_from(payload.len()).unwrap();
    sender.start_send(DataHeader { len, transfer: 7, offset }, payload.into()).unwrap();
    poll_fn(|cx| sender.poll_flush(cx)).await.unwrap();
}

pub(in crate::transport) async fn receive_header(
    receiver: &mut Box<dyn DataReceiver>,
) -> Result<Option<DataHeader>, LinkError> {
    timeout(PATIENCE, poll_fn(|cx| receiver.poll_header(cx))).await.expect("a header in time")
}

pub(in crate::transport) async fn receive_chunk(receiver: &mut Box<dyn DataReceiver>) -> (DataHeader, Bytes) {
    let header = receive_header(receiver).await.unwrap().expect("a chunk");
    let payload = timeout(PATIENCE, poll_fn(|cx| receiver.poll_payload(cx))).await.expect("a payload in time");
    (header, payload.unwrap())
}

pub(in crate::transport) fn offer(token: Token, route: String, plaintext: bool) -> DataOffer {
    DataOffer { token, ways: Ways::Both, endpoint: String::new(), route, plaintext }
}
