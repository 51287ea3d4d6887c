//! A little world: leaves with endless (or paced) files on shapers in virtual time, and what each got when.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use crate::shaper::{LeafRates, Shaper, ShaperConfig, SharedBucket};
use crate::{Class, GroupKey, LeafKey, Moment, PeerKey, Rate};

pub(super) const SECOND: u64 = 1_000_000_000;
pub(super) const MILLI: u64 = 1_000_000;

pub(super) fn rate(bytes_per_second: u64) -> Rate {
    Rate::from_bytes_per_second(bytes_per_second)
}

/// Rates of a leaf that only borrows.
pub(super) fn borrowing(weight: f64) -> LeafRates {
    LeafRates { assigned: Rate::ZERO, ceiling: Rate::UNLIMITED, weight, class: Class::Foreground }
}

/// Rates of a leaf with an assignment.
pub(super) fn assigned(bytes_per_second: u64) -> LeafRates {
    LeafRates { assigned: rate(bytes_per_second), ..borrowing(1.0) }
}

#[derive(Copy, Clone, Debug)]
pub(super) struct Sent {
    pub(super) at: u64,
    pub(super) leaf: u64,
    pub(super) bytes: u32,
}

pub(super) struct Sim {
    pub(super) total: Arc<SharedBucket>,
    /// The default group.
    pub(super) group: Arc<SharedBucket>,
    pub(super) shapers: Vec<Shaper>,
    pub(super) now: u64,
    pub(super) sent: Vec<Sent>,
    /// Which leaves ask again after each release, by key.
    backlogged: Vec<bool>,
    /// How late the driver's timer is: up to this many nanoseconds, changing from wake to wake.
    pub(super) late_ns_max: u64,
    /// Whether the driver sleeps until what falls due can be done together, as a worker does.
    pub(super) gathers: bool,
    /// How long a leaf takes to ask again after a release.
    pub(super) asks_after_ns: u64,
    /// Of transfers that begin anew.
    pub(super) class_of_new: Class,
    /// Leaves that ask again, and when.
    asking: BinaryHeap<Reverse<(u64, u64)>>,
    /// Until when each driver sleeps; `None`: until somebody asks.
    wakes: Vec<Option<u64>>,
    /// Which worker goes first where several wake at once; it takes turns.
    first: usize,
    pub(super) wakings: u64,
    seed: u64,
}

impl Sim {
    pub(super) fn new(total: Rate, workers: usize) -> Self {
        let total = Arc::new(SharedBucket::new(total));
        let group = Arc::new(SharedBucket::new(Rate::UNLIMITED));
        let shaper = |_| {
            let mut shaper = Shaper::new(total.clone(), ShaperConfig::default(), Moment::ZERO);
            shaper.put_group(GroupKey(0), group.clone(), 1.0);
            shaper
        };
        let shapers = (0..workers).map(shaper).collect();
        Sim {
            total,
            group,
            shapers,
            now: 0,
            sent: Vec::new(),
            backlogged: Vec::new(),
            late_ns_max: 0,
            gathers: false,
            asks_after_ns: 0,
            class_of_new: Class::Foreground,
            asking: BinaryHeap::new(),
            wakes: vec![None; workers],
            first: 0,
            wakings: 0,
            seed: 1,
        }
    }

    pub(super) fn at(&self) -> Moment {
        Moment::from_nanos(self.now)
    }

    /// The worker on which a leaf lives.
    pub(super) fn worker(&self, leaf: u64) -> usize {
        leaf as usize % self.shapers.len()
    }

    /// Adds a peer of the leaf's own number with that leaf, in the default group.
    pub(super) fn join(&mut self, leaf: u64, cap: Rate, rates: LeafRates) {
        self.join_at(leaf, PeerKey(leaf), GroupKey(0), cap, rates);
    }

    pub(super) fn join_at(&mut self, leaf: u64, peer: PeerKey, group: GroupKey, cap: Rate, rates: LeafRates) {
        let (now, worker) = (self.at(), self.worker(leaf));
        self.note_fair_rate(&rates);
        let shaper = &mut self.shapers[worker];
        shaper.put_peer(peer, Arc::new(SharedBucket::new(cap)), 1.0);
        shaper.put_leaf(LeafKey(leaf), peer, group, rates, now);
    }

    pub(super) fn start(&mut self, leaf: u64) {
        if self.backlogged.len() <= leaf as usize {
            self.backlogged.resize(leaf as usize + 1, false);
        }
        self.backlogged[leaf as usize] = true;
        let (now, worker) = (self.at(), self.worker(leaf));
        self.shapers[worker].request(LeafKey(leaf), u32::MAX, now);
    }

    /// Ends the leaf's transfer if it has one, and begins another that the allocator has not seen.
    pub(super) fn begin_anew(&mut self, leaf: u64, peer: PeerKey) {
        let (now, worker, key) = (self.at(), self.worker(leaf), LeafKey(leaf));
        if self.backlogged.len() <= leaf as usize {
            self.backlogged.resize(leaf as usize + 1, false);
        }
        let shaper = &mut self.shapers[worker];
        shaper.remove_leaf(key);
        let rates = LeafRates { class: self.class_of_new, ..borrowing(1.0) };
        shaper.put_leaf(key, peer, GroupKey(0), rates, now);
        shaper.request(key, u32::MAX, now);
    }

    pub(super) fn stop(&mut self, leaf: u64) {
        self.backlogged[leaf as usize] = false;
        let worker = self.worker(leaf);
        self.shapers[worker].cancel(LeafKey(leaf));
    }

    pub(super) fn set(&mut self, leaf: u64, rates: LeafRates) {
        let (now, worker) = (self.at(), self.worker(leaf));
        self.note_fair_rate(&rates);
        self.shapers[worker].set_leaf(LeafKey(leaf), rates, now);
    }

    /// As the allocator does after each round.
    fn note_fair_rate(&self, rates: &LeafRates) {
        if !rates.assigned.is_unlimited() && rates.assigned != Rate::ZERO {
            self.group.set_fair_rate(rates.assigned.as_f64() / rates.weight);
        }
    }

    /// Runs until `until`, then stands there. Each worker sleeps and wakes for itself.
    pub(super) fn run(&mut self, until: u64) {
        // What changed since the last run rang everybody's bell.
        self.wakes.fill(Some(self.now));
        loop {
            self.ask_again();
            self.first += 1;
            for nth in 0..self.shapers.len() {
                let worker = (self.first + nth) % self.shapers.len();
                if self.wakes[worker].is_some_and(|at| at <= self.now) {
                    self.poll(worker);
                }
            }
            let asks = self.asking.peek().map(|&Reverse((at, _))| at);
            let soonest = self.wakes.iter().copied().flatten().chain(asks).min();
            let Some(next) = soonest.filter(|&at| at <= until) else { break };
            self.now = next.max(self.now);
        }
        self.now = self.now.max(until);
    }

    /// Leaves whose last release is used up ask for the next; a worker that is to do something about it wakes.
    fn ask_again(&mut self) {
        while let Some(&Reverse((at, leaf))) = self.asking.peek() {
            if at > self.now {
                break;
            }
            self.asking.pop();
            let (now, worker) = (self.at(), self.worker(leaf));
            if !self.backlogged[leaf as usize] {
                continue;
            }
            let is_due = self.shapers[worker].request(LeafKey(leaf), u32::MAX, now);
            let sleeps_until = self.wakes[worker].unwrap_or(u64::MAX);
            if is_due || self.wake(worker).is_some_and(|at| at < sleeps_until) {
                self.wakes[worker] = Some(self.now);
            }
        }
    }

    /// Polls one worker dry, and lets it sleep.
    fn poll(&mut self, worker: usize) {
        let now = self.at();
        self.wakings += 1;
        while let Some(release) = self.shapers[worker].poll(now) {
            let leaf = release.leaf.0;
            self.sent.push(Sent { at: self.now, leaf, bytes: release.bytes });
            if !self.backlogged[leaf as usize] {
                continue;
            }
            if self.asks_after_ns == 0 {
                self.shapers[worker].request(release.leaf, u32::MAX, now);
            } else {
                self.asking.push(Reverse((self.now + self.asks_after_ns, leaf)));
            }
        }
        let lateness = self.lateness();
        self.wakes[worker] = self.wake(worker).map(|at| at.max(self.now + 1) + lateness);
    }

    fn wake(&self, worker: usize) -> Option<u64> {
        let shaper = &self.shapers[worker];
        let wake = if self.gathers { shaper.gathered_wake_at() } else { shaper.wake_at() };
        wake.map(Moment::as_nanos)
    }

    fn lateness(&mut self) -> u64 {
        if self.late_ns_max == 0 {
            return 0;
        }
        // SplitMix64's step is random enough for timers.
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.seed >> 33) % self.late_ns_max
    }

    pub(super) fn check(&self) {
        self.shapers.iter().for_each(Shaper::check);
    }

    /// Bytes of the leaves for which `of` holds, sent in `from..until`.
    pub(super) fn bytes(&self, from: u64, until: u64, of: impl Fn(u64) -> bool) -> u64 {
        let inside = self.sent.iter().filter(|sent| (from..until).contains(&sent.at) && of(sent.leaf));
        inside.map(|sent| u64::from(sent.bytes)).sum()
    }

    /// The most that the leaves for which `of` holds sent in any window of one second.
    pub(super) fn busiest_second(&self, of: impl Fn(u64) -> bool) -> u64 {
        let sent: Vec<_> = self.sent.iter().filter(|sent| of(sent.leaf)).collect();
        let (mut first, mut sum, mut most) = (0, 0, 0);
        for last in &sent {
            sum += u64::from(last.bytes);
            while sent[first].at + SECOND <= last.at {
                sum -= u64::from(sent[first].bytes);
                first += 1;
            }
            most = most.max(sum);
        }
        most
    }
}
