//! A node in virtual time: the allocator and the learnt total together, round by round, over sources, paths and one line.
//!
//! Below the plan stands an ideal scheduler (assigned first, then lending by weight up to the total in force), below that a
//! line that, when more is offered than it carries, gives to all in proportion to what they send, as many TCP flows do, and
//! before it, sockets that hold some of what it does not carry. A plan is in force one round after the round that it was
//! made from; measurements carry 3 % of noise.
#![allow(dead_code)] // Each program that uses it uses its part.

use flow::{
    Limiter, LimiterShares, Rate, RoundObservation, TotalController, TotalKnobs, Witnesses,
    allocation::{Knobs, LeafInput, Plan, Snapshot, allocate},
    weighted_max_min,
};

use crate::support::{hungry, peer};

/// A peer with one transfer.
#[derive(Clone, Copy)]
pub(crate) struct Source {
    pub(crate) weight: f64,
    /// Bytes per second that it produces; 0 is idle.
    pub(crate) offered: f64,
    /// Bytes per second that its own path takes.
    pub(crate) path: f64,
}

/// Takes whatever it gets.
pub(crate) const GREEDY: Source = Source { weight: 1.0, offered: f64::INFINITY, path: f64::INFINITY };
/// Has nothing to send.
pub(crate) const IDLE: Source = Source { offered: 0.0, ..GREEDY };

/// What sockets and queues hold at most, in rounds of the line: a quarter of a second of it.
const BUFFERS: f64 = 0.1;

/// All of it.
pub(crate) struct World {
    /// Bytes per second that the line carries.
    pub(crate) line: f64,
    /// Rounds that went by. A try for more is but a part of one.
    elapsed: f64,
    /// Held by sockets and queues, and the most that they hold: bytes per second of one round.
    queued: f64,
    buffers: f64,
    pub(crate) sources: Vec<Source>,
    pub(crate) total: TotalController,
    snapshot: Snapshot,
    /// In force in the next round.
    pub(crate) plan: Plan,
    /// Bytes per second of each source in the last round.
    pub(crate) achieved: Vec<f64>,
    noise: u64,
}

impl World {
    pub(crate) fn new(limit: Rate, line: f64, sources: Vec<Source>) -> Self {
        let keys = 0..sources.len() as u64;
        let snapshot = Snapshot {
            total: limit,
            groups: Vec::new(),
            peers: keys.clone().map(peer).collect(),
            leaves: keys
                .map(|key| LeafInput { backlogged: false, limited: LimiterShares::default(), ..hungry(key, key) })
                .collect(),
        };
        let total = TotalController::new(limit, TotalKnobs::default());
        let achieved = vec![0.0; sources.len()];
        Self {
            line,
            elapsed: 0.0,
            queued: 0.0,
            buffers: BUFFERS * line,
            sources,
            total,
            snapshot,
            plan: Plan::default(),
            achieved,
            noise: 1,
        }
        .planned()
    }

    fn planned(mut self) -> Self {
        self.replan();
        self
    }

    fn replan(&mut self) {
        for ((leaf, source), achieved) in self.snapshot.leaves.iter_mut().zip(&self.sources).zip(&self.achieved) {
            // What was produced and could not go waits.
            leaf.backlogged = source.offered > *achieved;
        }
        for (input, source) in self.snapshot.peers.iter_mut().zip(&self.sources) {
            input.weight = source.weight;
        }
        self.plan = allocate(&self.snapshot, &Knobs::default());
    }

    /// Measurements are off by up to 3 %, the same in every run.
    fn measured(&mut self, rate: f64) -> f64 {
        self.noise = self.noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        rate * (0.97 + 0.06 * (self.noise >> 11) as f64 / (1u64 << 53) as f64)
    }

    /// What the shaper lets go: assigned, then lent by weight, at most the total.
    fn released(&self) -> Vec<f64> {
        let wants = |source: &Source| source.offered.min(source.path);
        let total = self.plan.total.as_f64();
        if total.is_infinite() {
            return self.sources.iter().map(|source| wants(source).min(10.0 * self.line)).collect();
        }
        let first: Vec<f64> = self
            .sources
            .iter()
            .zip(&self.plan.leaves)
            .map(|(source, leaf)| wants(source).min(leaf.assigned.as_f64()))
            .collect();
        let left = (total - first.iter().sum::<f64>()).max(0.0);
        let more: Vec<(f64, f64)> =
            self.sources.iter().zip(&first).map(|(source, first)| (source.weight, wants(source) - first)).collect();
        let lent = weighted_max_min(left, &more);
        first.iter().zip(lent).map(|(first, lent)| first + lent).collect()
    }

    /// One round goes by under the plan in force; then the next is made.
    pub(crate) fn round(&mut self) {
        let released = self.released();
        let sum: f64 = released.iter().sum();
        let span = self.total.span();
        let taken = sum.min(self.line + (self.buffers - self.queued) / span);
        let carried = self.line.min(taken + self.queued / span);
        self.queued += (taken - carried) * span;
        self.elapsed += span;
        let squeezed = taken / sum.max(1.0);
        let mut seen = RoundObservation {
            used: 0.0,
            released: 0.0,
            in_force: self.plan.total,
            bytes_by_limiter: [0.0; 6],
            short_of_tokens: false,
            witnesses: Witnesses::default(),
        };
        for (index, released) in released.into_iter().enumerate() {
            let source = self.sources[index];
            self.achieved[index] = released * squeezed * carried / taken.max(1.0);
            let measured = self.measured(released * squeezed);
            let limiter = if squeezed < 0.999 {
                Limiter::Network
            } else if released >= source.offered {
                Limiter::Source
            } else if released >= source.path {
                Limiter::Network
            } else {
                Limiter::Tokens
            };
            seen.released += measured;
            seen.bytes_by_limiter[limiter.index()] += measured;
            seen.short_of_tokens |= limiter == Limiter::Tokens;
            let leaf = &mut self.snapshot.leaves[index];
            if source.offered > 0.0 {
                seen.witnesses.meet(leaf.peer, measured);
            }
            leaf.demand_before = self.plan.leaves[index].demand;
            leaf.achieved = measured;
            leaf.limited = LimiterShares::all(limiter);
        }
        seen.used = (seen.released - taken + carried).max(0.0);
        self.snapshot.total = self.total.round(&seen);
        self.replan();
    }

    pub(crate) fn rounds(&mut self, rounds: usize) {
        let until = self.elapsed + rounds as f64 - 1e-9;
        while self.elapsed < until {
            self.round();
        }
    }

    pub(crate) fn sum(&self) -> f64 {
        self.achieved.iter().sum()
    }

    /// The greatest relative distance of an achieved rate from exact max-min of what moves.
    pub(crate) fn unfairness(&self) -> f64 {
        let demands: Vec<(f64, f64)> =
            self.sources.iter().map(|source| (source.weight, source.offered.min(source.path))).collect();
        let exact = weighted_max_min(self.sum(), &demands);
        let distance = |(achieved, exact): (&f64, &f64)| (achieved - exact).abs() / exact.max(1.0);
        self.achieved.iter().zip(&exact).map(distance).fold(0.0, f64::max)
    }
}
