//! What the allocator knows of each leaf between rounds: its rate by the ring, what held it, what it demanded.

use std::collections::HashMap;

use flow::{LeafKey, Limiter, LimiterShares, Moment, RateRing};

use crate::{
    meter::Reading,
    registry::{LeafEntry, Registry},
};

/// One leaf's memory.
pub(super) struct Track {
    ring: RateRing,
    sampled_bytes: u64,
    sampled_chunks: u64,
    round: Reading,
    /// Demand of the last round, bytes per second.
    pub(super) demand: f64,
    /// Seen in the current sweep.
    seen: bool,
}

/// What one leaf did in the round that ends.
#[derive(Copy, Clone, Debug, Default)]
pub(super) struct Conduct {
    /// Bytes per second, by the ring (DESIGN 7).
    pub(super) achieved: f64,
    /// Bytes in the round.
    pub(super) moved: u64,
    /// What held it, as fractions of the round.
    pub(super) limited: LimiterShares,
    /// Whether it wants to move bytes now.
    pub(super) backlogged: bool,
}

/// All leaves' memories.
#[derive(Default)]
pub(super) struct Survey {
    tracks: HashMap<LeafKey, Track>,
}

impl Survey {
    /// Every 250 ms: what moved goes into the rings.
    pub(super) fn sample(&mut self, registry: &Registry, now: Moment) {
        for track in self.tracks.values_mut() {
            track.seen = false;
        }
        for leaf in &registry.leaves {
            let track = self.tracks.entry(*leaf.key()).or_insert_with(|| Track {
                ring: RateRing::new(now),
                sampled_bytes: 0,
                sampled_chunks: 0,
                round: Reading::default(),
                demand: 0.0,
                seen: true,
            });
            track.seen = true;
            let bytes = leaf.meter.bytes();
            if bytes > track.sampled_bytes {
                let chunks = leaf.meter.chunks();
                track.ring.add_chunks(now, bytes - track.sampled_bytes, chunks - track.sampled_chunks);
                track.sampled_bytes = bytes;
                track.sampled_chunks = chunks;
            }
        }
        self.tracks.retain(|_, track| track.seen);
    }

    /// What `leaf` did since the round of measurement began; with `end` the next one begins.
    pub(super) fn conduct(&mut self, leaf: &LeafEntry, now: Moment, end: bool) -> Conduct {
        let reading = leaf.meter.read(now);
        let Some(track) = self.tracks.get_mut(&leaf.key) else {
            return Conduct { backlogged: reading.backlogged, ..Conduct::default() };
        };
        let held: [u64; Limiter::ALL.len()] =
            std::array::from_fn(|index| reading.held_ns[index].saturating_sub(track.round.held_ns[index]));
        let span: u64 = held.iter().sum::<u64>().max(1);
        let moved = reading.bytes - track.round.bytes.min(reading.bytes);
        if end {
            track.round = reading;
        }
        Conduct {
            achieved: track.ring.rate(now),
            moved,
            limited: LimiterShares::from_array(held.map(|ns| ns as f64 / span as f64)),
            backlogged: reading.backlogged,
        }
    }

    /// The demand that `leaf` had in the last round.
    pub(super) fn demand(&self, key: LeafKey) -> f64 {
        self.tracks.get(&key).map_or(0.0, |track| track.demand)
    }

    /// Remembers the demand that the plan found.
    pub(super) fn set_demand(&mut self, key: LeafKey, demand: f64) {
        if let Some(track) = self.tracks.get_mut(&key) {
            track.demand = demand;
        }
    }
}
