//! A relay of datagrams in user space: what a network does to them, done on purpose and written down.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::{
    net::UdpSocket,
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{Instant, sleep, sleep_until},
};

/// Datagrams on their way: far more than any test has.
const ON_THEIR_WAY_MAX: usize = 65_536;

/// Which way a datagram went.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(super) enum Way {
    Up,
    Down,
}

/// One datagram that came by.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) way: Way,
    pub(super) bytes: Vec<u8>,
    pub(super) at: Instant,
}

#[derive(Default)]
struct Book {
    seen: Mutex<Vec<Seen>>,
    /// Datagrams up that still get through.
    up_left: AtomicUsize,
    /// Of so many datagrams one is lost; 0: none.
    lost_of: AtomicUsize,
    came: AtomicUsize,
    delay_us: AtomicU64,
}

/// Between clients and one socket of a node.
pub(super) struct Relay {
    /// Where clients send to.
    pub(super) address: SocketAddr,
    book: Arc<Book>,
    rebind: watch::Sender<()>,
    task: JoinHandle<()>,
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Relay {
    /// Before `target`; each way takes `delay`.
    pub(super) async fn before(target: SocketAddr, delay: Duration) -> Self {
        Self::from(Ipv4Addr::LOCALHOST, target, delay).await
    }

    /// The same, seen by the target as `host`.
    pub(super) async fn from(host: Ipv4Addr, target: SocketAddr, delay: Duration) -> Self {
        let socket = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap());
        let address = socket.local_addr().unwrap();
        let book = Arc::new(Book::default());
        book.up_left.store(usize::MAX, SeqCst);
        book.delay_us.store(delay.as_micros() as u64, SeqCst);
        let (rebind, rebound) = watch::channel(());
        let task = tokio::spawn(carry(socket, host, target, Arc::clone(&book), rebound));
        Self { address, book, rebind, task }
    }

    /// What came by so far.
    pub(super) fn seen(&self) -> Vec<Seen> {
        self.book.seen.lock().unwrap().clone()
    }

    /// Waits until nothing has come that way for so long.
    pub(super) async fn quiet(&self, way: Way, wanted: Duration) {
        loop {
            let last = self.book.seen.lock().unwrap().iter().rev().find(|seen| seen.way == way).map(|seen| seen.at);
            match last.map(|at| wanted.saturating_sub(at.elapsed())) {
                None | Some(Duration::ZERO) => return,
                Some(left) => sleep(left).await,
            }
        }
    }

    /// Forgets it.
    pub(super) fn forget(&self) {
        self.book.seen.lock().unwrap().clear();
    }

    /// Lets so many more datagrams up and then none.
    pub(super) fn let_up(&self, datagrams: usize) {
        self.book.up_left.store(datagrams, SeqCst);
    }

    /// Loses one of so many datagrams from now on, both ways counted.
    pub(super) fn lose_one_of(&self, datagrams: usize) {
        self.book.lost_of.store(datagrams, SeqCst);
    }

    /// Bytes that went `way` so far.
    pub(super) fn bytes(&self, way: Way) -> usize {
        self.seen().iter().filter(|seen| seen.way == way).map(|seen| seen.bytes.len()).sum()
    }

    /// From now on the node sees datagrams from another port.
    pub(super) fn rebind(&self) {
        self.rebind.send(()).unwrap();
    }

    /// Runs of datagrams the same way, since the last [`Relay::forget`], that had a part in what came down just now: two of
    /// them are a round trip.
    pub(super) fn flights(&self) -> Vec<(Way, usize)> {
        let mut flights: Vec<(Way, usize)> = Vec::new();
        let delay = Duration::from_micros(self.book.delay_us.load(SeqCst));
        let until = Instant::now() - delay;
        for seen in self.seen().into_iter().filter(|seen| seen.at <= until) {
            match flights.last_mut() {
                Some((way, datagrams)) if *way == seen.way => *datagrams += 1,
                _ => flights.push((seen.way, 1)),
            }
        }
        flights
    }
}

async fn carry(
    socket: Arc<UdpSocket>,
    host: Ipv4Addr,
    target: SocketAddr,
    book: Arc<Book>,
    mut rebound: watch::Receiver<()>,
) {
    let mut client = None;
    let (mut up_room, mut down_room) = (vec![0; 65_536], vec![0; 65_536]);
    let mut outside = Arc::new(UdpSocket::bind((host, 0)).await.unwrap());
    let up = queue(|bytes, (to, via): (SocketAddr, Arc<UdpSocket>)| async move { via.send_to(&bytes, to).await });
    let down = queue(|bytes, (to, via): (SocketAddr, Arc<UdpSocket>)| async move { via.send_to(&bytes, to).await });
    loop {
        tokio::select! {
            received = socket.recv_from(&mut up_room) => {
                let Ok((len, from)) = received else { continue };
                // A question to the host alone, from another port (`refused.rs`).
                if len == 0 {
                    continue;
                }
                client = Some(from);
                let left = book.up_left.load(SeqCst);
                if left == 0 {
                    continue;
                }
                if left != usize::MAX {
                    book.up_left.store(left - 1, SeqCst);
                }
                if is_lost(&book) {
                    continue;
                }
                let due = note(&book, Way::Up, &up_room[..len]);
                up.try_send((due, up_room[..len].to_vec(), (target, Arc::clone(&outside)))).unwrap();
            }
            received = outside.recv_from(&mut down_room) => {
                let (Ok((len, _)), Some(client)) = (received, client) else { continue };
                if is_lost(&book) {
                    continue;
                }
                let due = note(&book, Way::Down, &down_room[..len]);
                down.try_send((due, down_room[..len].to_vec(), (client, Arc::clone(&socket)))).unwrap();
            }
            Ok(()) = rebound.changed() => {
                outside = Arc::new(UdpSocket::bind((host, 0)).await.unwrap());
            }
        }
    }
}

fn is_lost(book: &Book) -> bool {
    let (lost_of, came) = (book.lost_of.load(SeqCst), book.came.fetch_add(1, SeqCst));
    lost_of > 0 && came.is_multiple_of(lost_of)
}

fn note(book: &Book, way: Way, bytes: &[u8]) -> Instant {
    let at = Instant::now();
    book.seen.lock().unwrap().push(Seen { way, bytes: bytes.to_vec(), at });
    at + Duration::from_micros(book.delay_us.load(SeqCst))
}

type Queue = mpsc::Sender<(Instant, Vec<u8>, (SocketAddr, Arc<UdpSocket>))>;

/// Sends each at its time, in order.
fn queue<F, R>(send: F) -> Queue
where
    F: Fn(Vec<u8>, (SocketAddr, Arc<UdpSocket>)) -> R + Send + 'static,
    R: Future<Output = std::io::Result<usize>> + Send,
{
    let (queue, mut waiting) = mpsc::channel::<(Instant, Vec<u8>, _)>(ON_THEIR_WAY_MAX);
    tokio::spawn(async move {
        while let Some((due, bytes, target)) = waiting.recv().await {
            sleep_until(due).await;
            // A node that is gone answers with an error here.
            let _ = send(bytes, target).await;
        }
    });
    queue
}
