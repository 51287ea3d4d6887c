//! The hash cache: BLAKE3 of files and of their prefixes, each computed once for all who ask (DESIGN 3.7).
//!
//! One *flight* per file, found by its [`Stamp`], grows the file's [`GroupChain`] from the start, a few MiB per patient
//! disk job, as far as somebody waits for it; when nobody waits it stops and keeps what it has. Memory is bounded; the
//! least recently asked goes first, its groups before its root.

use std::{
    collections::{BTreeMap, HashMap},
    future::Future,
    io,
    os::fd::OwnedFd,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use rustix::buffer::spare_capacity;
use tokio::sync::watch;

use super::{
    disk::{DiskPool, Lane},
    groups::{GROUP_BYTES, Group, GroupChain, groups_in, hash_group},
    stamp::Stamp,
};

/// Why there is no hash.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum DigestFault {
    /// The file is no longer the one with that stamp.
    #[error("the file changed")]
    Changed,
    /// The file ends before its size.
    #[error("the file shrank")]
    Shrunk,
    /// The disk answered with an error.
    #[error("{0}")]
    Io(Arc<io::Error>),
    /// The disk pool gave no answer.
    #[error("the disk pool gave no answer")]
    Gone,
}

/// Hashes of files, bounded in memory, shared by all sources of a node.
#[derive(Clone, Debug)]
pub(super) struct DigestCache {
    inner: Arc<Inner>,
}

impl DigestCache {
    /// An empty cache that holds at most `memory_bytes_max`, beside what is being waited for.
    pub(super) fn new(pool: Arc<DiskPool>, memory_bytes_max: usize) -> Self {
        Self::with_settling(pool, memory_bytes_max, SETTLING_NS)
    }

    fn with_settling(pool: Arc<DiskPool>, memory_bytes_max: usize, settling_ns: i64) -> Self {
        Self {
            inner: Arc::new(Inner {
                pool,
                table: Mutex::default(),
                memory_bytes_max,
                settling_ns,
                hashed_bytes: AtomicU64::new(0),
            }),
        }
    }

    /// The hash of the whole file. `file` must be the one that `stamp` was taken from.
    pub(super) fn root(
        &self,
        file: Arc<OwnedFd>,
        stamp: Stamp,
    ) -> impl Future<Output = Result<[u8; 32], DigestFault>> + Send + use<> {
        let inner = self.inner.clone();
        async move {
            let lease = Lease::new(&inner, stamp);
            let mut progress = lease.flight.progress.subscribe();
            loop {
                if let Some(root) = lease.flight.lock().checked()?.root {
                    return Ok(root);
                }
                inner.fly(&lease.flight, &file, groups_in(stamp.size))?;
                // The sender lives as long as the lease.
                progress.changed().await.map_err(|_| DigestFault::Gone)?;
            }
        }
    }

    /// The hash of the first `groups` MiB; no more than the file has whole.
    pub(super) fn prefix(
        &self,
        file: Arc<OwnedFd>,
        stamp: Stamp,
        groups: usize,
    ) -> impl Future<Output = Result<[u8; 32], DigestFault>> + Send + use<> {
        let inner = self.inner.clone();
        async move {
            let lease = Lease::new(&inner, stamp);
            let mut progress = lease.flight.progress.subscribe();
            let chain = loop {
                let known = lease.flight.lock().checked()?.chain.clone();
                if known.len() >= groups {
                    break known;
                }
                drop(known);
                inner.fly(&lease.flight, &file, groups)?;
                progress.changed().await.map_err(|_| DigestFault::Gone)?;
            };
            // A prefix of a terabyte is a million merges: not on a worker.
            let merged = inner.pool.run(Lane::Prompt, move || chain.root_of(groups)).await;
            merged.ok().flatten().ok_or(DigestFault::Gone)
        }
    }

    /// Bytes read for hashing since the start.
    pub(super) fn hashed_bytes(&self) -> u64 {
        self.inner.hashed_bytes.load(Ordering::Relaxed)
    }

    /// Bytes of memory held.
    pub(super) fn memory_bytes(&self) -> usize {
        self.inner.lock().memory_bytes
    }
}

#[derive(Debug)]
struct Inner {
    pool: Arc<DiskPool>,
    /// Locked before any flight, never after.
    table: Mutex<Table>,
    memory_bytes_max: usize,
    settling_ns: i64,
    hashed_bytes: AtomicU64,
}

#[derive(Debug, Default)]
struct Table {
    slots: HashMap<Stamp, Slot>,
    /// Who was asked for when; the least recent first.
    order: BTreeMap<u64, Stamp>,
    turn: u64,
    memory_bytes: usize,
}

#[derive(Debug)]
struct Slot {
    flight: Arc<Flight>,
    turn: u64,
    memory_bytes: usize,
}

#[derive(Debug)]
struct Flight {
    stamp: Stamp,
    state: Mutex<State>,
    progress: watch::Sender<()>,
}

#[derive(Debug)]
struct State {
    chain: Arc<GroupChain>,
    root: Option<[u8; 32]>,
    /// Groups that somebody waits for.
    wanted: usize,
    waiting: usize,
    running: bool,
    fault: Option<DigestFault>,
    /// Wall clock at the first asking.
    began_ns: i64,
}

impl State {
    fn checked(&mut self) -> Result<&mut Self, DigestFault> {
        match &self.fault {
            Some(fault) => Err(fault.clone()),
            None => Ok(self),
        }
    }

    fn is_idle(&self) -> bool {
        self.waiting == 0 && !self.running
    }

    fn memory_bytes(&self) -> usize {
        SLOT_BYTES + self.chain.memory_bytes()
    }
}

impl Flight {
    fn new(stamp: Stamp) -> Self {
        let empty = GroupChain::default();
        // A file without bytes is known already.
        let root = if stamp.size == 0 { empty.root_of(0) } else { None };
        Self {
            stamp,
            state: Mutex::new(State {
                chain: Arc::new(empty),
                root,
                wanted: 0,
                waiting: 0,
                running: false,
                fault: None,
                began_ns: wall_ns(),
            }),
            progress: watch::Sender::new(()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first group of the next step, or `None` when there is no reason to go on.
    fn next_step(&self) -> Option<usize> {
        let mut state = self.lock();
        if state.waiting == 0 || state.fault.is_some() || state.chain.len() >= state.wanted {
            state.running = false;
            return None;
        }
        Some(state.chain.len())
    }

    /// Takes what a step found.
    fn land(&self, step: Result<Vec<Group>, DigestFault>) {
        let total = groups_in(self.stamp.size);
        let mut state = self.lock();
        match step {
            Ok(groups) => {
                let chain = Arc::make_mut(&mut state.chain);
                groups.into_iter().for_each(|group| chain.push(group));
                if state.chain.len() == total && state.root.is_none() {
                    let chain = state.chain.clone();
                    drop(state);
                    // Merging a million groups takes a while; a worker may want the lock.
                    let root = chain.root_of(total);
                    self.lock().root = root;
                }
            }
            Err(fault) => state.fault = Some(fault),
        }
        self.progress.send_replace(());
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sees to it that the flight goes on until `groups` are known.
    fn fly(self: &Arc<Self>, flight: &Arc<Flight>, file: &Arc<OwnedFd>, groups: usize) -> Result<(), DigestFault> {
        let mut state = flight.lock();
        // After an eviction the chain starts anew although the root is known, so that this may go back.
        state.wanted = state.wanted.max(groups);
        if state.running || state.chain.len() >= state.wanted {
            return Ok(());
        }
        state.running = true;
        drop(state);
        self.queue_step(flight.clone(), file.clone())
    }

    fn queue_step(self: &Arc<Self>, flight: Arc<Flight>, file: Arc<OwnedFd>) -> Result<(), DigestFault> {
        let (inner, flown) = (self.clone(), flight.clone());
        self.pool.detach(Lane::Patient, move || inner.step(flown, file)).map_err(|_| {
            let mut state = flight.lock();
            state.running = false;
            state.fault = Some(DigestFault::Gone);
            drop(state);
            flight.progress.send_replace(());
            DigestFault::Gone
        })
    }

    /// One job on a disk thread: hashes a few groups and queues the next step behind those of other files.
    fn step(self: Arc<Self>, flight: Arc<Flight>, file: Arc<OwnedFd>) {
        let Some(first) = flight.next_step() else {
            self.settle(&flight);
            return;
        };
        let step = hash_step(&file, &flight.stamp, first);
        let read: u64 = step.as_ref().map_or(0, |groups| groups.len() as u64 * GROUP_BYTES);
        self.hashed_bytes.fetch_add(read, Ordering::Relaxed);
        flight.land(step);
        self.settle(&flight);
        // A failure has been told to all who wait.
        let _ = self.queue_step(flight, file);
    }

    /// Counts the flight's memory, forgets it when it failed, and makes room.
    fn settle(&self, flight: &Arc<Flight>) {
        let mut table = self.lock();
        let (failed, memory_bytes) = {
            let state = flight.lock();
            (state.fault.is_some(), state.memory_bytes())
        };
        let ours = table.slots.get(&flight.stamp).is_some_and(|slot| Arc::ptr_eq(&slot.flight, flight));
        if !ours {
            return;
        }
        if failed {
            table.remove(&flight.stamp);
        } else {
            table.account(&flight.stamp, memory_bytes);
        }
        table.make_room(self.memory_bytes_max);
    }
}

impl Table {
    /// The flight of `stamp`, with one more waiting.
    fn join(&mut self, stamp: Stamp, settling_ns: i64) -> Arc<Flight> {
        if let Some(slot) = self.slots.get(&stamp) {
            let state = slot.flight.lock();
            // Hashed so soon after a change that another change may hide within the same tick of the file system's clock:
            // good for those who asked then, not for ever.
            let unsettled = state.began_ns.saturating_sub(stamp.ctime_ns) < settling_ns;
            // One that failed answers those who waited for it; who comes now asks about the file as it is now.
            let stale = state.fault.is_some() || (unsettled && state.waiting == 0);
            drop(state);
            if stale {
                self.remove(&stamp);
            }
        }
        self.turn += 1;
        let turn = self.turn;
        let slot = self.slots.entry(stamp).or_insert_with(|| {
            self.memory_bytes += SLOT_BYTES;
            Slot { flight: Arc::new(Flight::new(stamp)), turn, memory_bytes: SLOT_BYTES }
        });
        self.order.remove(&slot.turn);
        slot.turn = turn;
        self.order.insert(turn, stamp);
        slot.flight.lock().waiting += 1;
        slot.flight.clone()
    }

    fn remove(&mut self, stamp: &Stamp) {
        if let Some(slot) = self.slots.remove(stamp) {
            self.order.remove(&slot.turn);
            self.memory_bytes -= slot.memory_bytes;
        }
    }

    fn account(&mut self, stamp: &Stamp, memory_bytes: usize) {
        if let Some(slot) = self.slots.get_mut(stamp) {
            self.memory_bytes = self.memory_bytes - slot.memory_bytes + memory_bytes;
            slot.memory_bytes = memory_bytes;
        }
    }

    /// Drops what was asked for least recently until the bound holds; what somebody waits for stays.
    fn make_room(&mut self, memory_bytes_max: usize) {
        while self.memory_bytes > memory_bytes_max {
            let idle = self
                .order
                .values()
                .find(|stamp| self.slots.get(*stamp).is_some_and(|slot| slot.flight.lock().is_idle()));
            let Some(stamp) = idle.copied() else { return };
            let Some(slot) = self.slots.get(&stamp) else { return };
            let mut state = slot.flight.lock();
            if state.root.is_some() && state.chain.len() > 0 {
                // The root is what every transfer needs; the groups only who resumes.
                state.chain = Arc::default();
                state.wanted = 0;
                drop(state);
                self.account(&stamp, SLOT_BYTES);
            } else {
                drop(state);
                self.remove(&stamp);
            }
        }
    }
}

/// Somebody waits for a flight; given back on drop, so that a flight nobody waits for stops.
struct Lease {
    inner: Arc<Inner>,
    flight: Arc<Flight>,
}

impl Lease {
    fn new(inner: &Arc<Inner>, stamp: Stamp) -> Self {
        let flight = inner.lock().join(stamp, inner.settling_ns);
        Self { inner: inner.clone(), flight }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.flight.lock().waiting -= 1;
        self.inner.lock().make_room(self.inner.memory_bytes_max);
    }
}

/// Reads and hashes a few groups from `first` on.
fn hash_step(file: &OwnedFd, stamp: &Stamp, first: usize) -> Result<Vec<Group>, DigestFault> {
    let last = groups_in(stamp.size).min(first + STEP_GROUPS);
    let mut groups = Vec::with_capacity(last - first);
    let mut buffer = Vec::new();
    for index in first as u64..last as u64 {
        let offset = index * GROUP_BYTES;
        let len = GROUP_BYTES.min(stamp.size - offset) as usize;
        read_exact_at(file, offset, len, &mut buffer)?;
        groups.push(hash_group(index, &buffer));
    }
    let now = Stamp::of(file).map_err(|error| DigestFault::Io(Arc::new(error)))?;
    if now.same_contents(stamp) { Ok(groups) } else { Err(DigestFault::Changed) }
}

/// Fills `buffer` with `len` bytes from `offset` on, without zeroing it first.
///
/// # Errors
/// `Shrunk` when the file ends before.
pub(super) fn read_exact_at(file: &OwnedFd, offset: u64, len: usize, buffer: &mut Vec<u8>) -> Result<(), DigestFault> {
    buffer.clear();
    fill_from(file, offset, len, buffer)
}

/// The same behind the bytes from `offset` that `buffer` has already.
///
/// # Errors
/// `Shrunk` when the file ends before.
pub(super) fn fill_from(file: &OwnedFd, offset: u64, len: usize, buffer: &mut Vec<u8>) -> Result<(), DigestFault> {
    buffer.reserve_exact(len.saturating_sub(buffer.len()));
    while buffer.len() < len {
        let at = offset + buffer.len() as u64;
        // `reserve_exact` may give more than was asked; what is beyond `len` is cut off below.
        match rustix::io::pread(file, spare_capacity(buffer), at) {
            Ok(0) => return Err(DigestFault::Shrunk),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(DigestFault::Io(Arc::new(errno.into()))),
        }
    }
    buffer.truncate(len);
    Ok(())
}

fn wall_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// Groups of one patient job: 4 MiB, some milliseconds.
const STEP_GROUPS: usize = 4;

/// What an entry costs beside its groups, about: keys, locks, allocations.
const SLOT_BYTES: usize = 512;

/// The coarsest clock of a file system in use (FAT: 2 s).
const SETTLING_NS: i64 = 2_000_000_000;

#[cfg(test)]
mod tests;
