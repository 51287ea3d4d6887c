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
    ControlLink, ControlReceiver, ControlSender, DataArrival, DataReceiver, DataSender, Front, LinkError, LinkFault,
};
use bytes::Bytes;
use rcgen::{KeyPair, PKCS_ED25519};
use tokio::{
    net::TcpStream,
    sync::mpsc,
    task::{JoinHandle, LocalSet},
    time::{sleep, timeout},
};
use wire::{DataHeader, Message, PeerId, Ping, Refusal, RefusalCode, Token};

use crate::transport::{Credentials, DialConfig, ListenConfig, Listener, Pins, TcpDialer};

/// Enough for every test here, little enough to keep a broken one short.
const PATIENCE: Duration = Duration::from_secs(10);

type Job = Box<dyn FnOnce() + Send>;

thread_local! {
    static WORKER: Cell<Option<usize>> = const { Cell::new(None) };
}

/// The front: hands what arrives to the test, with the worker it arrived on.
pub(super) struct FakeFront {
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

    fn admit(&self, _address: SocketAddr) -> Result<Box<dyn Send>, &'static str> {
        if self.full.load(Ordering::SeqCst) {
            return Err("full");
        }
        self.held.fetch_add(1, Ordering::SeqCst);
        Ok(Box::new(Held(Arc::clone(&self.held))))
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
        self.faults.try_send(fault).ok().unwrap();
    }
}

/// Everything a test needs.
pub(super) struct Stage {
    pub(super) address: SocketAddr,
    pub(super) server: Credentials,
    pub(super) front: Arc<FakeFront>,
    controls: mpsc::Receiver<(usize, ControlLink)>,
    arrivals: mpsc::Receiver<(usize, DataArrival)>,
    faults: mpsc::Receiver<LinkFault>,
    accepting: JoinHandle<()>,
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Stage {
    /// Listens on loopback.
    pub(super) fn open(config: ListenConfig) -> Self {
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
        let server = credentials();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = Listener::bind(any, Arc::<FakeFront>::clone(&front), &server, config).unwrap();
        let address = listener.local_addr().unwrap();
        let accepting = tokio::spawn(async move { listener.run().await.unwrap() });
        Self { address, server, front, controls, arrivals, faults, accepting }
    }

    /// A listener with a short handshake time.
    pub(super) fn hasty() -> Self {
        Self::open(ListenConfig { handshake_ms: 200, ..ListenConfig::default() })
    }

    /// A listener that takes plaintext data links.
    pub(super) fn plaintext() -> Self {
        Self::open(ListenConfig { data_encryption: false, ..ListenConfig::default() })
    }

    /// Makes a token good on a worker.
    pub(super) fn issue(&self, token: Token, worker: usize) {
        self.front.tokens.lock().unwrap().push((token, worker));
    }

    /// Admits nobody from now on.
    pub(super) fn fill(&self) {
        self.front.full.store(true, Ordering::SeqCst);
    }

    pub(super) fn dialer(&self, client: &Credentials) -> TcpDialer {
        dialer(self.address, client, Expect(Some(self.server.peer_id())))
    }

    pub(super) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    pub(super) async fn next_control(&mut self) -> (usize, ControlLink) {
        timeout(PATIENCE, self.controls.recv()).await.expect("a control link in time").unwrap()
    }

    pub(super) async fn next_arrival(&mut self) -> (usize, DataArrival) {
        timeout(PATIENCE, self.arrivals.recv()).await.expect("a data link in time").unwrap()
    }

    pub(super) async fn next_fault(&mut self) -> LinkFault {
        timeout(PATIENCE, self.faults.recv()).await.expect("a fault in time").unwrap()
    }

    /// Waits until no admission is held.
    pub(super) async fn all_given_back(&self) {
        timeout(PATIENCE, async {
            while self.front.held.load(Ordering::SeqCst) > 0 {
                sleep(Duration::from_millis(5)).await;
            }
        })
        .await
        .expect("every admission given back");
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
pub(super) fn credentials() -> Credentials {
    let pair = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    Credentials::generate_from_pkcs8(&pair.serialize_der()).unwrap()
}

/// Pins one id, or takes any.
pub(super) struct Expect(pub(super) Option<PeerId>);

impl Pins for Expect {
    fn check(&self, endpoint: &str, id: &PeerId) -> Result<(), String> {
        match self.0 {
            Some(expected) if expected != *id => Err(format!("{endpoint} has changed: {id} instead of {expected}")),
            _ => Ok(()),
        }
    }
}

pub(super) fn dialer(address: SocketAddr, client: &Credentials, pins: Expect) -> TcpDialer {
    TcpDialer::new(address.to_string(), client, Arc::new(pins), DialConfig::default()).unwrap()
}

pub(super) fn token(byte: u8) -> Token {
    Token::from_bytes([byte; 32])
}

pub(super) fn ping(nonce: u64) -> Message {
    Message::Ping(Ping { nonce, sent_ns: 1 })
}

pub(super) async fn send(sender: &mut Box<dyn ControlSender>, message: &Message) {
    sender.start_send(message).unwrap();
    poll_fn(|cx| sender.poll_flush(cx)).await.unwrap();
}

pub(super) async fn receive(receiver: &mut Box<dyn ControlReceiver>) -> Result<Option<Message>, LinkError> {
    timeout(PATIENCE, poll_fn(|cx| receiver.poll_receive(cx))).await.expect("a message in time")
}

pub(super) async fn send_chunk(sender: &mut Box<dyn DataSender>, offset: u64, payload: Bytes) {
    let len = u32::try_from(payload.len()).unwrap();
    sender.start_send(DataHeader { len, transfer: 7, offset }, payload.into()).unwrap();
    poll_fn(|cx| sender.poll_flush(cx)).await.unwrap();
}

pub(super) async fn receive_header(receiver: &mut Box<dyn DataReceiver>) -> Result<Option<DataHeader>, LinkError> {
    timeout(PATIENCE, poll_fn(|cx| receiver.poll_header(cx))).await.expect("a header in time")
}

pub(super) async fn receive_chunk(receiver: &mut Box<dyn DataReceiver>) -> (DataHeader, Bytes) {
    let header = receive_header(receiver).await.unwrap().expect("a chunk");
    let payload = timeout(PATIENCE, poll_fn(|cx| receiver.poll_payload(cx))).await.expect("a payload in time");
    (header, payload.unwrap())
}
