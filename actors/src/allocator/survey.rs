//! What the allocator knows of each leaf between rounds: its rate, what held it, what it demanded.

use std::{collections::HashMap, sync::Arc};

use flow::{Binding, Class, Direction, LeafKey, Limiter, LimiterShares, Moment, PeerKey, RateWindow};

use crate::{
    meter::Reading,
    registry::{LeafEntry, Registry},
    shared::Conduct,
};

/// Less time than this says nothing about what holds a leaf: a leaf at 50 KB/s moves once in 400 ms. An early round soon
/// after a tick looks back over the round before as well.
const JUDGED_NS_MIN: u64 = 1_000_000_000;

/// One leaf's memory.
pub(super) struct Track {
    pub(super) leaf: Arc<LeafEntry>,
    window: RateWindow,
    sampled_chunks: u64,
    /// What the meter showed at the last two ticks, the later one last.
    ticks: [Reading; 2],
    /// Demand in the last plan, bytes per second.
    pub(super) demand: f64,
    /// What held it in the last plan.
    pub(super) binding: Option<Binding>,
    /// Seen in the current sweep.
    seen: bool,
}

impl Track {
    fn new(leaf: Arc<LeafEntry>) -> Self {
        Self {
            window: RateWindow::new(leaf.meter.started()),
            leaf,
            sampled_chunks: 0,
            ticks: Default::default(),
            demand: 0.0,
            binding: None,
            seen: true,
        }
    }

    /// What the leaf did since the last tick; with `tick`, the next round of measurement begins.
    pub(super) fn conduct(&mut self, now: Moment, tick: bool) -> Conduct {
        let reading = self.leaf.meter.read(now);
        let [before, last] = self.ticks;
        let mut held = held_between(&last, &reading);
        if !tick && held.iter().sum::<u64>() < JUDGED_NS_MIN {
            held = held_between(&before, &reading);
        }
        let span = held.iter().sum::<u64>().max(1);
        if tick {
            self.ticks = [last, reading];
        }
        Conduct {
            achieved: self.window.rate(now, reading.bytes, reading.chunks),
            moved: reading.bytes.saturating_sub(last.bytes),
            limited: LimiterShares::from_array(held.map(|ns| ns as f64 / span as f64)),
            backlogged: reading.backlogged,
        }
    }

    /// Its place in the order in which leaves are planned: those of one session side by side, and those of one peer.
    fn place(&self) -> (PeerKey, u64, LeafKey) {
        (self.leaf.peer.key, self.leaf.session.id, self.leaf.key)
    }
}

fn held_between(before: &Reading, now: &Reading) -> [u64; Limiter::ALL.len()] {
    std::array::from_fn(|index| now.held_ns[index].saturating_sub(before.held_ns[index]))
}

/// All leaves' memories.
#[derive(Default)]
pub(super) struct Survey {
    tracks: HashMap<LeafKey, Track>,
    /// Quanta moved since the start, by direction.
    chunks: [u64; 2],
}

impl Survey {
    /// Learns who is here now, and forgets who is not.
    pub(super) fn meet(&mut self, registry: &Registry) {
        for track in self.tracks.values_mut() {
            track.seen = false;
        }
        for leaf in &registry.leaves {
            let track = self.tracks.entry(*leaf.key()).or_insert_with(|| Track::new(leaf.clone()));
            track.seen = true;
        }
        self.tracks.retain(|_, track| track.seen);
    }

    /// Every 250 ms: the windows are told how the meters stand.
    pub(super) fn sample(&mut self, now: Moment) {
        for track in self.tracks.values_mut() {
            let (bytes, chunks) = (track.leaf.meter.bytes(), track.leaf.meter.chunks());
            track.window.sample(now, bytes, chunks);
            self.chunks[track.leaf.direction.index()] += chunks - track.sampled_chunks;
            track.sampled_chunks = chunks;
        }
    }

    /// Quanta moved since the start, as far as they were sampled.
    pub(super) fn chunks(&self, direction: Direction) -> u64 {
        self.chunks[direction.index()]
    }

    /// The leaves of one direction, those of one session side by side, and those of one peer.
    pub(super) fn of(&mut self, direction: Direction) -> Vec<&mut Track> {
        let mut tracks: Vec<&mut Track> =
            self.tracks.values_mut().filter(|track| track.leaf.direction == direction).collect();
        tracks.sort_unstable_by_key(|track| track.place());
        tracks
    }

    /// A leaf that was met.
    pub(super) fn leaf(&self, key: LeafKey) -> Option<&Arc<LeafEntry>> {
        self.tracks.get(&key).map(|track| &track.leaf)
    }
}

/// A foreground leaf in its peer's node of a group: what Jain's index is made of.
#[derive(Copy, Clone, Debug)]
pub(super) struct Showing {
    pub(super) group: flow::GroupKey,
    pub(super) peer: PeerKey,
    /// The peer's.
    pub(super) weight: f64,
    /// Bytes per second.
    pub(super) achieved: f64,
    /// The total held it in this plan and in the one before, so that what it achieved is its share.
    pub(super) held_by_total: bool,
}

impl Showing {
    /// What `track` shows; `None` for background.
    pub(super) fn of(track: &Track, conduct: &Conduct, binding: Binding, class: Class) -> Option<Self> {
        let leaf = &track.leaf;
        (class == Class::Foreground).then(|| Self {
            group: leaf.group,
            peer: leaf.peer.key,
            weight: leaf.peer.settings.load().weight,
            achieved: conduct.achieved,
            held_by_total: binding == Binding::Total && track.binding == Some(Binding::Total),
        })
    }
}

/// Jain's index of achieved rate by weight over the peers that the total holds. Peers of different groups stand at different
/// levels by right: each is compared with the mean of its group. `None` when there are no two to compare.
pub(super) fn jain_index(mut showings: Vec<Showing>) -> Option<f64> {
    showings.sort_unstable_by_key(|showing| (showing.group, showing.peer));
    let mut evenness = Vec::new();
    for group in showings.chunk_by(|one, next| one.group == next.group) {
        let peers = group.chunk_by(|one, next| one.peer == next.peer);
        let held = peers.filter(|leaves| leaves.iter().any(|leaf| leaf.held_by_total));
        let rates: Vec<f64> = held.map(|leaves| leaves.iter().map(|leaf| leaf.achieved / leaf.weight).sum()).collect();
        let mean = rates.iter().sum::<f64>() / rates.len() as f64;
        if rates.len() >= 2 && mean > 0.0 {
            evenness.extend(rates.iter().map(|rate| rate / mean));
        }
    }
    (!evenness.is_empty()).then(|| flow::jain(&evenness))
}
