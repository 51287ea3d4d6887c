//! Addresses of which nobody has shown yet that he is there, and what they may be sent: three times what came from them, and not
//! a byte more (RFC 9000, 8.1). Anybody can write any address on his datagrams.
//!
//! quinn keeps that limit for itself, rounded up: while any of it is left one more whole datagram goes. So what it sends before
//! the proof is counted here as well, by the socket ([`super::bounded`]), and waits where the limit has come. It is not
//! dropped: quinn would take that for a path that takes no more, and a link that comes back would begin with it.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
};

/// Sent for each byte that was received.
const FACTOR: usize = 3;
/// The least that a handshake begins with: shorter first datagrams are not read (RFC 9000, 14.1).
const FIRST_DATAGRAM_BYTES: usize = 1200;
/// First datagrams that are remembered until their handshake begins: more than are read at once. One that is forgotten counts as
/// the shortest.
const HEARD_MAX: usize = 256;

/// The addresses of one socket.
#[derive(Default)]
pub(super) struct Unproven {
    book: Mutex<Book>,
    /// Addresses in the book.
    count: AtomicUsize,
}

#[derive(Default)]
struct Book {
    budgets: HashMap<SocketAddr, Arc<Budget>>,
    /// What came from other addresses to begin a handshake with, bytes.
    heard: VecDeque<(SocketAddr, usize)>,
}

// By hand: what it knows of addresses is no matter for a debug log.
impl fmt::Debug for Unproven {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unproven").field("count", &self.count).finish_non_exhaustive()
    }
}

impl Unproven {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.count.load(Relaxed)
    }

    /// Some datagrams came that begin with `first`, `bytes` in all.
    pub(super) fn received(&self, address: SocketAddr, first: u8, bytes: usize) {
        // Initial and 0-RTT packets (RFC 9000, 17.2).
        let begins = first & 0xe0 == 0xc0;
        if !begins && self.count.load(Relaxed) == 0 {
            return;
        }
        let mut book = self.book();
        if let Some(budget) = book.budgets.get(&address) {
            budget.lock().received += bytes;
        } else if begins {
            if book.heard.len() == HEARD_MAX {
                book.heard.pop_front();
            }
            book.heard.push_back((address, bytes));
        }
    }

    /// A handshake begins with somebody at `address`.
    pub(super) fn begin(self: &Arc<Self>, address: SocketAddr) -> Handshake {
        let mut book = self.book();
        let mut heard = 0;
        book.heard.retain(|(from, bytes)| {
            let is_other = *from != address;
            heard += if is_other { 0 } else { *bytes };
            is_other
        });
        let received = heard.max(FIRST_DATAGRAM_BYTES);
        let budget = Arc::clone(book.budgets.entry(address).or_insert_with(|| Arc::new(Budget::after(received))));
        self.count.store(book.budgets.len(), Relaxed);
        let number = budget.lock().join();
        Handshake {
            unproven: Arc::clone(self),
            address,
            budget,
            number,
            wanted: AtomicUsize::new(0),
            gone: AtomicUsize::new(0),
        }
    }

    fn forget(&self, book: &mut Book, address: &SocketAddr, budget: &Arc<Budget>) {
        if book.budgets.get(address).is_some_and(|known| Arc::ptr_eq(known, budget)) {
            book.budgets.remove(address);
            self.count.store(book.budgets.len(), Relaxed);
        }
    }
}

/// What one address may be sent, all its handshakes together.
struct Budget(Mutex<Account>);

struct Account {
    received: usize,
    sent: usize,
    is_proven: bool,
    /// Handshakes so far, and those that are not over.
    joined: u64,
    left: usize,
    /// Those that wait for room or proof.
    waiting: HashMap<u64, Waker>,
}

impl Budget {
    fn after(received: usize) -> Self {
        let waiting = HashMap::new();
        Self(Mutex::new(Account { received, sent: 0, is_proven: false, joined: 0, left: 0, waiting }))
    }

    fn lock(&self) -> MutexGuard<'_, Account> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Account {
    fn room(&self) -> usize {
        if self.is_proven { usize::MAX } else { (FACTOR * self.received).saturating_sub(self.sent) }
    }

    fn join(&mut self) -> u64 {
        self.left += 1;
        self.joined += 1;
        self.joined
    }
}

/// One connection, from its beginning until its address is proven or it is gone.
pub(super) struct Handshake {
    unproven: Arc<Unproven>,
    address: SocketAddr,
    budget: Arc<Budget>,
    /// Among those of its address.
    number: u64,
    /// Bytes that the next datagram needs; 0: not known.
    wanted: AtomicUsize,
    /// Bytes that went of those that are being sent.
    gone: AtomicUsize,
}

impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handshake")
            .field("address", &self.address)
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

impl Handshake {
    /// Who is there has answered: the limit ends for all handshakes of the address.
    pub(super) fn prove(&self) {
        let waiting = {
            let mut account = self.budget.lock();
            account.is_proven = true;
            std::mem::take(&mut account.waiting)
        };
        self.unproven.forget(&mut self.unproven.book(), &self.address, &self.budget);
        waiting.into_values().for_each(Waker::wake);
    }

    /// Whether nothing is to be counted any more.
    pub(super) fn is_over(&self) -> bool {
        self.gone.load(Relaxed) == 0 && self.budget.lock().is_proven
    }

    /// Ready when there may be room for the next datagram. Only the proof wakes: what makes room is a datagram, and the one that is
    /// for this connection wakes it anyway.
    pub(super) fn poll_room(&self, cx: &Context<'_>) -> Poll<()> {
        let wanted = self.wanted.load(Relaxed);
        let mut account = self.budget.lock();
        let has_room = account.room() >= wanted;
        // Dropped when the account is free again.
        let _before = match has_room {
            true => account.waiting.remove(&self.number),
            false => account.waiting.insert(self.number, cx.waker().clone()),
        };
        drop(account);
        if has_room { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Sends as many of the datagrams in `contents`, each of `segment` bytes and the last perhaps of less, as there is room for.
    /// Whether that was all; where not, it is called with the same again.
    pub(super) fn send<E>(
        &self,
        contents: &[u8],
        segment: usize,
        send: impl FnOnce(&[u8]) -> Result<(), E>,
    ) -> Result<bool, E> {
        let gone = self.gone.load(Relaxed);
        let rest = contents.get(gone..).unwrap_or_default();
        let fits = {
            let mut account = self.budget.lock();
            let room = account.room();
            let fits = if room >= rest.len() { rest.len() } else { room / segment.max(1) * segment };
            account.sent += fits;
            fits
        };
        if fits > 0
            && let Err(error) = send(&rest[..fits])
        {
            self.budget.lock().sent -= fits;
            self.wanted.store(0, Relaxed);
            return Err(error);
        }
        let left = rest.len() - fits;
        self.gone.store(if left == 0 { 0 } else { gone + fits }, Relaxed);
        self.wanted.store(left.min(segment), Relaxed);
        Ok(left == 0)
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        let mut book = self.unproven.book();
        let mut account = self.budget.lock();
        account.left -= 1;
        let (is_last, _waker) = (account.left == 0, account.waiting.remove(&self.number));
        drop(account);
        if is_last {
            self.unproven.forget(&mut book, &self.address, &self.budget);
        }
        drop(book);
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    const INITIAL: u8 = 0xc3;
    const SHORT: u8 = 0x41;

    fn peer(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    fn begin(unproven: &Arc<Unproven>) -> Handshake {
        unproven.received(peer(1), INITIAL, 1200);
        unproven.begin(peer(1))
    }

    /// The datagrams of one sending that went, by their lengths.
    fn send(handshake: &Handshake, contents: &[u8], segment: usize) -> (Vec<usize>, bool) {
        let mut went = Vec::new();
        let is_all = handshake.send(contents, segment, |part| -> Result<(), Infallible> {
            went.extend(part.chunks(segment).map(<[u8]>::len));
            Ok(())
        });
        (went, is_all.unwrap())
    }

    fn is_ready(handshake: &Handshake) -> bool {
        handshake.poll_room(&Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn an_address_is_sent_three_times_what_came_from_it_and_no_byte_more() {
        let unproven = Arc::<Unproven>::default();
        let handshake = begin(&unproven);
        assert_eq!(send(&handshake, &[0; 222], 222), (vec![222], true));
        // A batch that is too long by one datagram.
        let batch = [0; 3 * 1200];
        assert_eq!(send(&handshake, &batch, 1200), (vec![1200, 1200], false));
        assert!(!is_ready(&handshake));
        assert_eq!(send(&handshake, &batch, 1200), (vec![], false));
        unproven.received(peer(2), SHORT, 1200);
        assert!(!is_ready(&handshake), "of somebody else");
        // The shortest that makes room: 3600 - 2622 = 978, and 222 more.
        unproven.received(peer(1), SHORT, 73);
        assert!(!is_ready(&handshake));
        unproven.received(peer(1), SHORT, 1);
        assert!(is_ready(&handshake));
        assert_eq!(send(&handshake, &batch, 1200), (vec![1200], true), "the third, and the first two not again");
        assert_eq!(send(&handshake, &[7], 1200), (vec![], false));
    }

    #[test]
    fn all_handshakes_of_an_address_share_and_one_proof_is_good_for_all() {
        let unproven = Arc::<Unproven>::default();
        // Both datagrams came before the first handshake began.
        unproven.received(peer(1), INITIAL, 1200);
        let (one, two) = (begin(&unproven), unproven.begin(peer(1)));
        assert_eq!(send(&one, &[0; 4 * 1200], 1200).0.len(), 4);
        assert_eq!(send(&two, &[0; 3 * 1200], 1200), (vec![1200, 1200], false));
        assert!(!is_ready(&two));
        one.prove();
        assert!(one.is_over() && !two.is_over() && is_ready(&two));
        assert_eq!(send(&two, &[0; 3 * 1200], 1200), (vec![1200], true));
        assert!(two.is_over());
        assert_eq!(unproven.count(), 0);
    }

    #[test]
    fn what_the_kernel_did_not_take_is_not_counted() {
        let unproven = Arc::<Unproven>::default();
        let handshake = begin(&unproven);
        for _ in 0..10 {
            assert_eq!(handshake.send(&[0; 3600], 1200, |_| Err("full")), Err("full"));
            assert!(is_ready(&handshake));
        }
        assert_eq!(send(&handshake, &[0; 3600], 1200), (vec![1200; 3], true));
    }

    #[test]
    fn an_address_is_kept_as_long_as_its_handshakes_and_a_flood_fills_nothing() {
        let unproven = Arc::<Unproven>::default();
        let handshakes: Vec<_> = (1..=3).map(|_| begin(&unproven)).collect();
        assert_eq!(unproven.count(), 1);
        drop(handshakes);
        assert_eq!(unproven.count(), 0);
        // Nobody begins a handshake with them.
        (0..10_000).for_each(|port| unproven.received(peer(port), INITIAL, 1200));
        assert_eq!((unproven.count(), unproven.book().heard.len()), (0, HEARD_MAX));
        // One that is proven does not take a new one of the same address with it when it is gone.
        let old = begin(&unproven);
        old.prove();
        let new = begin(&unproven);
        drop(old);
        assert_eq!(unproven.count(), 1);
        assert_eq!(send(&new, &[0; 4800], 1200), (vec![1200; 3], false));
    }
}
