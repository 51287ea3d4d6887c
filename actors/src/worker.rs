//! A worker: one thread, its share of the peer actors, and one shaper per direction (DESIGN 6).
//!
//! Leaves of the peers that live here ask for permission; the driver hands out what the shapers release, a few quanta at a
//! time, and lets the thread look at its sockets in between, so that control waits for a few quanta and never for all
//! peers that are ready.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    future::poll_fn,
    rc::Rc,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use flow::{
    Class, Direction, LeafKey, Limiter, Mode, Moment, PeerKey, Rate,
    shaper::{KeyMap, LeafRates, Shaper, SharedBucket},
};
use tokio::sync::{Notify, mpsc};

use crate::{
    alarm::Alarm,
    clock::Clock,
    guest::{Guests, PermitSlot},
    peer::DataMessage,
    registry::{LeafEntry, PeerEntry},
    shared::Shared,
};

/// What is handed out before the thread looks at its sockets again: so many quanta or so many bytes, whichever comes first. The last
/// quantum may exceed the bytes, so it is one of 128 KiB, about 40 us of a socket's work; with 4 of them a ping waited up to 0.5 ms.
const TURN: Turn = match cfg!(feature = "lanes-off") {
    false => Turn { quanta: 4, bytes: 64 << 10 },
    true => Turn { quanta: usize::MAX, bytes: u64::MAX }, // Never reached.
};

thread_local! {
    static CURRENT: RefCell<Option<Rc<Worker>>> = const { RefCell::new(None) };
}

/// What may still be handed out in a turn.
struct Turn {
    quanta: usize,
    bytes: u64,
}

impl Turn {
    fn is_over(&self) -> bool {
        self.quanta == 0 || self.bytes == 0
    }

    fn count(&mut self, bytes: u32) {
        self.quanta = self.quanta.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(u64::from(bytes));
    }
}

/// The current thread's worker.
pub struct Worker {
    /// Its number.
    pub index: usize,
    /// The node.
    pub shared: Arc<Shared>,
    clock: Clock,
    shapers: [RefCell<Shaper>; 2],
    owners: RefCell<KeyMap<LeafKey, Owner>>,
    /// Those who live here.
    pub(crate) guests: Guests,
    peers: RefCell<HashMap<PeerKey, (Arc<PeerEntry>, usize)>>,
    bell: Arc<Notify>,
    /// Until when the driver sleeps unless the bell is rung; zero while it is awake.
    sleeps_until: Cell<Moment>,
    tree_version: Cell<u64>,
}

impl Worker {
    /// Makes the current thread worker `index` and starts its driver. Must run on an arbiter.
    pub fn install(index: usize, shared: Arc<Shared>) {
        let clock = shared.clock;
        let shaper = |direction: Direction| {
            let mut shaper = Shaper::new(shared.totals[direction.index()].clone(), shared.config.shaper, clock.now());
            for group in &shared.groups {
                let weight = group.settings.load().weight;
                shaper.put_group(group.key, group.buckets[direction.index()].clone(), weight);
            }
            RefCell::new(shaper)
        };
        let worker = Rc::new(Self {
            index,
            clock,
            shapers: Direction::ALL.map(shaper),
            owners: RefCell::default(),
            guests: Guests::default(),
            peers: RefCell::default(),
            bell: shared.bells[index].clone(),
            sleeps_until: Cell::new(Moment::ZERO),
            tree_version: Cell::new(0),
            shared,
        });
        CURRENT.with(|current| *current.borrow_mut() = Some(worker.clone()));
        // Without one there is no node; this happens at start, before anybody was told anything.
        let alarm = Alarm::new().unwrap_or_else(|error| panic!("no timer for a worker: {error}"));
        actix_rt::spawn(worker.drive(alarm));
    }

    /// The current thread's worker; `None` on any other thread.
    pub fn current() -> Option<Rc<Self>> {
        CURRENT.with(|current| current.borrow().clone())
    }

    /// Takes the thread out of service: the driver's owner is gone.
    pub fn uninstall() {
        CURRENT.with(|current| current.borrow_mut().take());
    }

    /// Now.
    pub fn now(&self) -> Moment {
        self.clock.now()
    }

    /// Gives `leaf` its place in the shaper of its direction; the lease takes it out again.
    pub(crate) fn open_leaf(self: &Rc<Self>, leaf: Arc<LeafEntry>, rates: LeafRates, owner: Owner) -> LeafLease {
        let now = self.now();
        self.owners.borrow_mut().insert(leaf.key, owner);
        self.shapers[leaf.direction.index()].borrow_mut().put_leaf(leaf.key, leaf.peer.key, leaf.group, rates, now);
        self.shared.registry.put_leaf(leaf.clone());
        LeafLease { worker: self.clone(), leaf }
    }

    /// Brings new rates of a leaf into force, if it is still here.
    pub(crate) fn set_rates(&self, direction: Direction, leaf: LeafKey, rates: LeafRates) {
        self.shapers[direction.index()].borrow_mut().set_leaf(leaf, rates, self.now());
        self.rouse(direction);
    }

    /// Gives `peer` its place in both shapers; the lease takes it out again.
    pub fn open_peer(self: &Rc<Self>, peer: &Arc<PeerEntry>) -> PeerLease {
        self.peers.borrow_mut().entry(peer.key).or_insert_with(|| (peer.clone(), 0)).1 += 1;
        peer.places.fetch_add(1, Relaxed);
        self.spread(peer);
        self.put_peer(peer);
        PeerLease { worker: self.clone(), key: peer.key }
    }

    /// The peer's sessions here, where any is.
    fn sessions_of(&self, peer: &PeerEntry) -> usize {
        self.peers.borrow().get(&peer.key).map_or(0, |(_, sessions)| *sessions)
    }

    /// Has the other workers look at their part of a peer that has sessions there.
    fn spread(&self, peer: &PeerEntry) {
        if peer.places.load(Relaxed) > self.sessions_of(peer) {
            self.shared.spread.changed(self.index, peer.key);
            self.shared.ring_workers();
        }
    }

    fn put_peer(&self, peer: &PeerEntry) {
        let here = self.sessions_of(peer);
        let part = here as f64 / peer.places.load(Relaxed).max(here).max(1) as f64;
        let settings = peer.settings.load();
        for direction in Direction::ALL {
            let index = direction.index();
            let mut shaper = self.shapers[index].borrow_mut();
            let floor = Rate::from_bytes_per_second(settings.floor[index]).min(Rate::GREATEST);
            shaper.put_peer(peer.key, peer.buckets[index].clone(), settings.weight * part);
            shaper.set_floor(peer.key, floor.mul_f64(part));
        }
    }

    /// Waits until the node and `peer` may receive `len` more bytes (seed 000: "by simply only reading packets pursuant to
    /// the negotiated incoming bandwidth"). Credits have decided whose bytes these are; this decides when they are read.
    pub async fn arrive(&self, peer: &PeerEntry, len: u32) {
        for bucket in [&peer.arrivals, &self.shared.arrivals] {
            take(&self.clock, bucket, len).await;
        }
    }

    async fn drive(self: Rc<Self>, alarm: Alarm) {
        let mut first = 0;
        loop {
            self.shared.precedence.step_aside();
            self.refresh_tree();
            let mut turn = TURN;
            first = 1 - first; // Neither direction always goes first.
            for direction in [first, 1 - first] {
                self.hand_out(direction, &mut turn);
            }
            let soonest = |of: fn(&Shaper) -> Option<Moment>| self.shapers.iter().filter_map(|s| of(&s.borrow())).min();
            if soonest(Shaper::wake_at).is_some_and(|at| at <= self.now()) {
                // More is due. tokio wakes a task that yields only after it has looked at the sockets.
                tokio::task::yield_now().await;
                continue;
            }
            match soonest(Shaper::gathered_wake_at) {
                Some(at) => {
                    self.sleeps_until.set(at);
                    if let Err(error) = alarm.set(at.saturating_since(self.now())) {
                        // Not in any kernel that is known; too often is better than never.
                        tracing::error!(%error, "the timer of a worker can't be set");
                        tokio::time::sleep(Duration::from_millis(1)).await;
                        continue;
                    }
                    tokio::select! {
                        () = poll_fn(|cx| alarm.poll_rung(cx)) => {}
                        () = self.bell.notified() => {}
                    }
                }
                None => {
                    self.sleeps_until.set(Moment::MAX);
                    self.bell.notified().await;
                }
            }
            self.sleeps_until.set(Moment::ZERO);
        }
    }

    /// Wakes the driver if a shaper has something to do before the driver would look.
    fn rouse(&self, direction: Direction) {
        let wake = self.shapers[direction.index()].borrow().gathered_wake_at();
        if wake.is_some_and(|at| at < self.sleeps_until.get()) {
            self.bell.notify_one();
        }
    }

    fn hand_out(&self, direction: usize, turn: &mut Turn) {
        while !turn.is_over() {
            let now = self.now();
            let Some(release) = self.shapers[direction].borrow_mut().poll(now) else { break };
            turn.count(release.bytes);
            let delivered = match self.owners.borrow().get(&release.leaf) {
                Some(Owner::Lane(lane)) => {
                    let message = DataMessage::Permit { leaf: release.leaf, bytes: release.bytes, at: now };
                    lane.try_send(message).is_ok()
                }
                Some(Owner::Slot(slot)) => {
                    slot.put(release.bytes, now);
                    true
                }
                None => false,
            };
            if !delivered {
                // Its actor is gone or going: what it does not use, others do.
                self.shapers[direction].borrow_mut().give_back(release.leaf, release.bytes, self.now());
            }
        }
    }

    /// Takes over weights that an operator changed, and those of peers that came or went elsewhere.
    fn refresh_tree(&self) {
        for key in self.shared.spread.take(self.index) {
            let peer = self.peers.borrow().get(&key).map(|(peer, _)| peer.clone());
            if let Some(peer) = peer {
                self.put_peer(&peer);
            }
        }
        let version = self.shared.tree_version.load(Relaxed);
        if self.tree_version.replace(version) == version {
            return;
        }
        for group in &self.shared.groups {
            let weight = group.settings.load().weight;
            for direction in Direction::ALL {
                let bucket = group.buckets[direction.index()].clone();
                self.shapers[direction.index()].borrow_mut().put_group(group.key, bucket, weight);
            }
        }
        for (peer, _) in self.peers.borrow().values() {
            self.put_peer(peer);
        }
    }
}

async fn take(clock: &Clock, bucket: &SharedBucket, len: u32) {
    while let Err(at) = bucket.try_take(len, clock.now(), false) {
        // A limit may be lifted while we wait: look again at least every 50 ms.
        let latest = clock.now() + Duration::from_millis(50);
        tokio::time::sleep_until(clock.instant(at.min(latest))).await;
    }
}

/// Where a leaf's permission goes.
pub(crate) enum Owner {
    /// To an actor's data lane.
    Lane(mpsc::Sender<DataMessage>),
    /// To the one task that moves this leaf alone: no queue, since there is at most one permission under way.
    Slot(Rc<PermitSlot>),
}

/// A leaf's place in its worker's shaper and in the registry, given back on drop.
pub(crate) struct LeafLease {
    worker: Rc<Worker>,
    /// The leaf.
    pub(crate) leaf: Arc<LeafEntry>,
}

impl LeafLease {
    fn shaper(&self) -> std::cell::RefMut<'_, Shaper> {
        self.worker.shapers[self.leaf.direction.index()].borrow_mut()
    }

    /// Asks to move up to `bytes`, and waits for tokens from now on; answered by one `Permit`.
    pub(crate) fn request(&self, bytes: u32) {
        let now = self.worker.now();
        let before = self.leaf.meter.hold(Limiter::Tokens, now);
        let is_due = self.shaper().request(self.leaf.key, bytes, now);
        match is_due {
            true => self.worker.bell.notify_one(),
            false => self.worker.rouse(self.leaf.direction),
        }
        // Woken, or unknown to the last plan: a round that came while its file was opened saw nothing that it wanted. After
        // the meter shows that it waits, or that round would see nothing either.
        let planned = self.shaper().assigned(self.leaf.key) != Rate::ZERO || self.leaf.class() == Class::Background;
        if before == Limiter::Source || !planned {
            self.worker.shared.early.ring();
        }
    }

    /// Takes the request back.
    pub(crate) fn cancel(&self) {
        self.shaper().cancel(self.leaf.key);
    }

    /// Returns permission that was not used.
    pub(crate) fn give_back(&self, bytes: u32) {
        self.shaper().give_back(self.leaf.key, bytes, self.worker.now());
        self.worker.rouse(self.leaf.direction);
    }

    /// Takes over new rates.
    pub(crate) fn set_rates(&self, rates: LeafRates) {
        self.worker.set_rates(self.leaf.direction, self.leaf.key, rates);
    }

    /// The leaf's link is in `mode` from now on.
    pub(crate) fn set_mode(&self, mode: Mode) {
        if self.leaf.meter.mode() != mode {
            self.leaf.meter.set_mode(mode);
            self.shaper().set_mode(self.leaf.key, mode);
        }
    }

    /// What one release is at most.
    pub(crate) fn quantum(&self) -> u32 {
        self.shaper().quantum(self.leaf.key)
    }
}

impl Drop for LeafLease {
    fn drop(&mut self) {
        self.shaper().remove_leaf(self.leaf.key);
        self.worker.owners.borrow_mut().remove(&self.leaf.key);
        self.worker.shared.registry.remove_leaf(self.leaf.key);
        let bytes = self.leaf.meter.bytes();
        self.leaf.meter.end();
        self.leaf.peer.trail.end(self.leaf.direction, bytes);
        let group = self.worker.shared.groups.iter().find(|group| group.key == self.leaf.group);
        if let Some(group) = group {
            group.trail.end(self.leaf.direction, bytes);
        }
        self.worker.bell.notify_one();
        self.worker.shared.early.ring();
    }
}

/// A peer's place in its worker's shapers, given back on drop.
pub struct PeerLease {
    worker: Rc<Worker>,
    key: PeerKey,
}

impl Drop for PeerLease {
    fn drop(&mut self) {
        let mut peers = self.worker.peers.borrow_mut();
        let Some((peer, sessions)) = peers.get_mut(&self.key) else { return };
        let peer = peer.clone();
        peer.places.fetch_sub(1, Relaxed);
        *sessions -= 1;
        let is_last = *sessions == 0;
        if is_last {
            peers.remove(&self.key);
        }
        drop(peers);
        self.worker.spread(&peer);
        if !is_last {
            return self.worker.put_peer(&peer);
        }
        for shaper in &self.worker.shapers {
            shaper.borrow_mut().remove_peer(self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::{
        registry::NodeSettings,
        testing::{hungry, join, shared},
    };

    #[test]
    #[cfg(not(feature = "lanes-off"))]
    fn a_turn_is_four_small_quanta_or_one_large() {
        let quanta = |bytes: u32| {
            let mut turn = TURN;
            let mut handed_out = 0;
            while !turn.is_over() {
                turn.count(bytes);
                handed_out += 1;
            }
            handed_out
        };
        assert_eq!([1 << 10, 20_000, 50_000, 64 << 10, 128 << 10].map(quanta), [4, 4, 2, 1, 1]);
    }

    /// With all of its weight on each, a peer borrowed a share for every worker on which it had a session.
    #[test]
    fn a_peer_on_two_workers_has_its_weight_and_floor_once() {
        let shared = shared(1_000_000);
        let (session, _lane) = join(&shared, "a");
        let settings = NodeSettings { weight: 3.0, floor: [6_000, 0], ..NodeSettings::default() };
        session.peer.apply(settings, shared.clock.now());
        let has = |worker: &Worker| {
            worker.refresh_tree();
            worker.shapers[Direction::Upload.index()].borrow().terms_of(session.peer.key)
        };
        let floor = Rate::from_bytes_per_second;
        actix_rt::System::new().block_on(async {
            let [one, two] = [0, 1].map(|index| {
                Worker::install(index, shared.clone());
                Worker::current().unwrap()
            });
            let first = one.open_peer(&session.peer);
            assert_eq!((has(&one), has(&two)), (Some((3.0, floor(6_000))), None));
            let (second, third) = (two.open_peer(&session.peer), two.open_peer(&session.peer));
            assert_eq!((has(&one), has(&two)), (Some((1.0, floor(2_000))), Some((2.0, floor(4_000)))));
            drop(third);
            assert_eq!((has(&one), has(&two)), (Some((1.5, floor(3_000))), Some((1.5, floor(3_000)))));
            drop(first);
            assert_eq!((has(&one), has(&two)), (None, Some((3.0, floor(6_000)))));
            drop(second);
            assert_eq!((has(&two), session.peer.places.load(Relaxed)), (None, 0));
            Worker::uninstall();
        });
    }

    #[test]
    fn the_meter_shows_the_want_before_the_early_round_is_rung() {
        let shared = shared(1_000_000);
        let (session, _lane) = join(&shared, "a");
        let leaf = hungry(&shared, &session, 0);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let look = {
            let (leaf, seen) = (leaf.clone(), seen.clone());
            move || seen.lock().unwrap().push(leaf.meter.limiter())
        };
        assert!(shared.early.at_ring.set(Box::new(look)).is_ok());
        actix_rt::System::new().block_on(async {
            Worker::install(0, shared.clone());
            let worker = Worker::current().unwrap();
            let _peer = worker.open_peer(&session.peer);
            let rates = shared.first_rates(Direction::Upload, 1.0, Class::Foreground);
            let (data, _permits) = mpsc::channel(1);
            let lease = worker.open_leaf(leaf, rates, Owner::Lane(data));
            lease.leaf.meter.hold(Limiter::Source, worker.now());
            lease.request(1000);
            assert_eq!(*seen.lock().unwrap(), [Limiter::Tokens], "a round that came then would not have planned it");
            Worker::uninstall();
        });
    }
}
