//! What the allocator knows of each leaf between rounds: its rate, what held it, what it demanded.

use std::{sync::Arc, time::Duration};

use flow::{Binding, Class, Direction, LeafKey, Limiter, LimiterShares, Moment, PeerKey, RateWindow, shaper::KeyMap};

use crate::{
    meter::Reading,
    registry::{LeafEntry, Registry},
    shared::Conduct,
};

use super::rests::Rests;

/// Less time than this says nothing about what holds a leaf: a leaf at 50 KB/s moves once in 400 ms. An early round soon
/// after a tick looks back over the round before as well.
const JUDGED_NS_MIN: u64 = 1_000_000_000;
/// A leaf whose window is widened, because it moves few quanta, is sampled each so many times: every second. Its window is 10 s and ends
/// at the moment of the question; all that the samples say is where it begins.
const SLOW_EVERY: u64 = 4;
/// With fewer quanta since the last sample, 2.5 s will not hold the 40 that keep a window narrow.
const SLOW_CHUNKS: u64 = 4;

/// A demand that grows by more than this was raised, not used up: more than any headroom.
const RAISED: f64 = 1.2;
/// A round that comes a little early is a whole one.
const ROUNDS_JITTER: Duration = Duration::from_millis(100);

/// A transfer that was shorter than this may be one of many, one after the other.
const SHORT: Duration = Duration::from_secs(1);
/// For so long its peer is planned for as if it went on. Met between two, a peer had no share and its floor was nobody's, until the next
/// round met it: with a floor of 3 of 4 MB/s it kept 2.8.
const LINGER: Duration = Duration::from_millis(300);

/// One leaf's memory.
pub(super) struct Track {
    /// Its place in the order in which leaves are planned: those of one session side by side, and those of one peer.
    place: (PeerKey, u64, LeafKey),
    pub(super) leaf: Arc<LeafEntry>,
    window: RateWindow,
    sampled_chunks: u64,
    is_slow: bool,
    /// What the meter showed at the last two ticks, the later one last.
    ticks: [Reading; 2],
    /// Demand in the last plan, bytes per second.
    pub(super) demand: f64,
    /// When it last rose by more than one who uses all of his headroom shows.
    raised_at: Moment,
    /// What held it in the last plan.
    pub(super) binding: Option<Binding>,
    /// When it was found to have ended, of one that stands for what its peer is about to begin.
    ended: Option<Moment>,
}

impl Track {
    fn new(leaf: Arc<LeafEntry>) -> Self {
        Self {
            place: (leaf.peer.key, leaf.session.id, leaf.key),
            window: RateWindow::new(leaf.meter.started()),
            leaf,
            sampled_chunks: 0,
            is_slow: false,
            ticks: Default::default(),
            demand: 0.0,
            raised_at: Moment::ZERO,
            binding: None,
            ended: None,
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
        let seen = LimiterShares::from_array(held.map(|ns| ns as f64 / span as f64));
        // What held it while it slept says nothing of what it wants now. A tick ends a round, and judges it as it was.
        let has_just_woken = !tick && has_slept(&seen) && is_awake(self.leaf.meter.limiter());
        let limited = if has_just_woken { LimiterShares::all(Limiter::Tokens) } else { seen };
        if tick {
            self.ticks = [last, reading];
        }
        if self.ended.is_some() {
            // Its peer will want about as much as all such had. What it moved itself says nothing of the line any more.
            let achieved = self.leaf.peer.trail.ended_rate(self.leaf.direction, now);
            let limited = LimiterShares::all(Limiter::Source);
            return Conduct { achieved, moved: 0, limited, is_settled: true, backlogged: false };
        }
        Conduct {
            achieved: self.window.rate(now, reading.bytes, reading.chunks),
            moved: reading.bytes.saturating_sub(last.bytes),
            limited,
            is_settled: now.saturating_since(self.raised_at) + ROUNDS_JITTER >= self.window.span(now, reading.chunks),
            backlogged: reading.backlogged,
        }
    }

    /// What the plan of `now` takes for its demand.
    pub(super) fn planned(&mut self, demand: f64, now: Moment) {
        if demand > self.demand * RAISED {
            self.raised_at = now;
        }
        self.demand = demand;
    }

    /// It is no longer here. Whether it stands for those that come after it.
    fn lingers(&mut self, now: Moment) -> bool {
        let is_short = now.saturating_since(self.leaf.meter.started()) < SHORT;
        match self.ended {
            Some(ended) => now.saturating_since(ended) < LINGER,
            None if is_short => {
                self.ended = Some(now);
                true
            }
            None => false,
        }
    }
}

/// Whether a leaf had nothing to move for most of the time: its file was being opened or read, or was not wanted yet.
fn has_slept(limited: &LimiterShares) -> bool {
    matches!(limited.dominant(), Limiter::Source | Limiter::Disk)
}

/// Whether a leaf has something to move and waits for its turn.
fn is_awake(now: Limiter) -> bool {
    matches!(now, Limiter::Tokens | Limiter::Worker)
}

fn held_between(before: &Reading, now: &Reading) -> [u64; Limiter::ALL.len()] {
    std::array::from_fn(|index| now.held_ns[index].saturating_sub(before.held_ns[index]))
}

/// All leaves' memories.
#[derive(Default)]
pub(super) struct Survey {
    /// By direction, in the order of their places, so that a round runs through memory once and hashes nothing.
    tracks: [Vec<Track>; 2],
    /// Who is in `tracks`, with the sweep in which it was last seen.
    known: KeyMap<LeafKey, u64>,
    sweep: u64,
    /// The registry's number of changes when they were last looked at; `None`: never.
    changes: Option<u64>,
    /// Rounds of samples so far.
    samples: u64,
    /// Quanta moved since the start, by direction.
    chunks: [u64; 2],
    /// How many tracks stand for what their peers are about to begin.
    lingering: usize,
    /// Whether one of them was given up that the last plan had.
    has_given_up: bool,
}

impl Survey {
    /// Learns who is here now, and forgets who is not.
    pub(super) fn meet(&mut self, registry: &Registry, now: Moment) {
        let changes = registry.leaf_changes();
        if self.changes.replace(changes) == Some(changes) && self.lingering == 0 {
            return;
        }
        self.sweep += 1;
        let mut fresh = [false; 2];
        let mut here = 0;
        for leaf in &registry.leaves {
            here += 1;
            if self.known.insert(*leaf.key(), self.sweep).is_none() {
                let index = leaf.direction.index();
                self.tracks[index].push(Track::new(leaf.clone()));
                fresh[index] = true;
            }
        }
        let has_lost = self.known.len() > here;
        if has_lost {
            let sweep = self.sweep;
            self.known.retain(|_, seen| *seen == sweep);
        }
        for (tracks, _) in self.tracks.iter_mut().zip(fresh).filter(|(_, fresh)| *fresh) {
            // Stable, because it is quick where all but the last few are in order.
            tracks.sort_by_key(|track| track.place);
        }
        if has_lost || self.lingering > 0 {
            self.forget(now);
        }
    }

    /// Forgets those who are not known any more, but for one that has just ended of each peer in each group where it has no other.
    fn forget(&mut self, now: Moment) {
        self.lingering = 0;
        for tracks in &mut self.tracks {
            let mut stay = Vec::with_capacity(tracks.len());
            for own in tracks.chunk_by_mut(|one, next| one.leaf.peer.key == next.leaf.peer.key) {
                let first = stay.len();
                stay.extend(own.iter().map(|track| self.known.contains_key(&track.leaf.key)));
                let stay = &mut stay[first..];
                if !stay.contains(&false) {
                    continue;
                }
                let mut busy = Vec::new();
                for (track, _) in own.iter().zip(stay.iter()).filter(|(_, is_here)| **is_here) {
                    if !busy.contains(&track.leaf.group) {
                        busy.push(track.leaf.group);
                    }
                }
                for (track, stays) in own.iter_mut().zip(stay).rev().filter(|(_, is_here)| !**is_here) {
                    if busy.contains(&track.leaf.group) {
                        continue;
                    }
                    if track.lingers(now) {
                        busy.push(track.leaf.group);
                        self.lingering += 1;
                        *stays = true;
                    } else {
                        self.has_given_up |= track.ended.is_some();
                    }
                }
            }
            let mut stay = stay.into_iter();
            tracks.retain(|_| stay.next().unwrap_or(true));
        }
    }

    /// Whether somebody was given up, since the last question, who is in the last plan though he has nothing under way.
    pub(super) fn has_given_up(&mut self) -> bool {
        std::mem::take(&mut self.has_given_up)
    }

    /// Every 250 ms: the windows are told how the meters stand.
    pub(super) fn sample(&mut self, now: Moment, rests: &mut Rests) {
        self.samples += 1;
        for (tracks, all_chunks) in self.tracks.iter_mut().zip(&mut self.chunks) {
            for track in tracks {
                // A quarter of the slow ones each time, so that thousands are no burst of work; by key, since places shift as
                // others come and go.
                let LeafKey(key) = track.place.2;
                if track.is_slow && !key.wrapping_add(self.samples).is_multiple_of(SLOW_EVERY) {
                    continue;
                }
                let (bytes, chunks) = (track.leaf.meter.bytes(), track.leaf.meter.chunks());
                track.window.sample(now, bytes, chunks);
                let fresh = chunks - track.sampled_chunks;
                *all_chunks += fresh;
                track.is_slow = fresh < if track.is_slow { SLOW_CHUNKS * SLOW_EVERY } else { SLOW_CHUNKS };
                track.sampled_chunks = chunks;
                rests.after_leaf();
            }
        }
    }

    /// Quanta moved since the start, as far as they were sampled.
    pub(super) fn chunks(&self, direction: Direction) -> u64 {
        self.chunks[direction.index()]
    }

    /// The leaves of one direction, those of one session side by side, and those of one peer.
    pub(super) fn of(&mut self, direction: Direction) -> &mut [Track] {
        &mut self.tracks[direction.index()]
    }

    /// A leaf of `peer` that was met.
    pub(super) fn leaf(&self, direction: Direction, peer: PeerKey, key: LeafKey) -> Option<&Arc<LeafEntry>> {
        let tracks = &self.tracks[direction.index()];
        let first = tracks.partition_point(|track| track.place.0 < peer);
        let own = tracks[first..].iter().take_while(|track| track.place.0 == peer);
        own.filter(|track| track.ended.is_none()).map(|track| &track.leaf).find(|leaf| leaf.key == key)
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
        (class == Class::Foreground && track.ended.is_none()).then(|| Self {
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

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, time::Duration};

    use super::*;
    use crate::testing::{hungry, join, shared};

    /// Between two samples.
    const SAMPLE: Duration = Duration::from_millis(250);

    /// Samples the survey, and says which leaves' meters were looked at. Each has moved `chunks` pieces since the last time.
    fn sampled(survey: &mut Survey, now: Moment, chunks: u64) -> Vec<LeafKey> {
        for track in survey.of(Direction::Upload) {
            (0..chunks).for_each(|_| track.leaf.meter.count(1000, 0));
        }
        survey.sample(now, &mut Rests::none());
        let looked_at =
            survey.of(Direction::Upload).iter().filter(|track| track.sampled_chunks == track.leaf.meter.chunks());
        looked_at.map(|track| track.leaf.key).collect()
    }

    /// With each sample the first leaf goes and another comes, so that those between move up by one place: chosen by place, a leaf
    /// that moves as fast as its turn does would never be sampled.
    #[test]
    fn each_slow_leaf_is_sampled_once_a_second_whoever_comes_and_goes() {
        let shared = shared(1_000_000);
        let (session, _lane) = join(&shared, "a");
        let mut here: Vec<_> = (0..60).map(|_| hungry(&shared, &session, 0)).collect();
        let mut survey = Survey::default();
        survey.meet(&shared.registry, shared.clock.now());
        let start = shared.clock.now();
        assert_eq!(sampled(&mut survey, start + SAMPLE, 1).len(), 60, "nobody is known to be slow at first");
        let mut last: HashMap<LeafKey, u32> = here.iter().map(|leaf| (leaf.key, 1)).collect();
        for round in 2..=30 {
            shared.registry.remove_leaf(here.remove(0).key);
            here.push(hungry(&shared, &session, 0));
            survey.meet(&shared.registry, shared.clock.now());
            let looked_at = sampled(&mut survey, start + SAMPLE * round, 1);
            assert!((10..=20).contains(&looked_at.len()), "a quarter of them: {}", looked_at.len());
            last.extend(looked_at.iter().map(|leaf| (*leaf, round)));
            let waiting = here.iter().map(|leaf| round - last.get(&leaf.key).copied().unwrap_or(round));
            assert!(waiting.max() < Some(4), "nobody is passed over");
        }
    }

    #[test]
    fn a_leaf_that_moves_many_quanta_is_sampled_each_time_again() {
        let shared = shared(1_000_000);
        let (session, _lane) = join(&shared, "a");
        let leaf = hungry(&shared, &session, 0);
        let mut survey = Survey::default();
        survey.meet(&shared.registry, shared.clock.now());
        let start = shared.clock.now();
        let mut count = |rounds: std::ops::Range<u32>, chunks| {
            rounds.filter(|round| !sampled(&mut survey, start + SAMPLE * *round, chunks).is_empty()).count()
        };
        assert_eq!(count(1..2, 1), 1);
        assert_eq!(count(2..10, 1), 2, "slow");
        // The first that it is sampled anew shows that it is quick.
        assert!(count(10..14, 5) >= 1);
        assert_eq!(count(14..22, 5), 8, "quick");
        assert_eq!(leaf.meter.chunks(), 9 + 12 * 5);
    }

    /// Met between two transfers, it had no share until the next round, and a floor of 3 of 4 MB/s kept 2.8.
    #[test]
    fn who_fetches_one_small_thing_after_the_other_is_planned_for_between_two_as_well() {
        const UP: Direction = Direction::Upload;
        let shared = shared(0);
        let (session, _lane) = join(&shared, "a");
        let mut survey = Survey::default();
        let start = shared.clock.now();
        let end = |leaf: &LeafEntry| {
            shared.registry.remove_leaf(leaf.key);
            leaf.meter.end();
            session.peer.trail.end(UP, 500_000);
        };
        let mut met = |ms: u64| {
            let now = start + Duration::from_millis(ms);
            survey.meet(&shared.registry, now);
            let tracks = survey.of(UP);
            let wants = tracks.iter_mut().map(|track| track.conduct(now, false).achieved as u64).collect::<Vec<_>>();
            (wants.len(), wants.first().copied(), survey.has_given_up())
        };
        let [one, other] = [hungry(&shared, &session, 0), hungry(&shared, &session, 0)];
        assert_eq!(met(10), (2, Some(0), false));
        end(&one);
        end(&other);
        assert_eq!(met(20), (1, Some(1_000_000), false), "one stands for the next, with the rate of all");
        let next = hungry(&shared, &session, 0);
        assert_eq!(met(30), (1, Some(0), false), "that has begun");
        end(&next);
        assert_eq!(met(40).0, 1);
        assert_eq!(met(300).0, 1);
        assert_eq!(met(350), (0, None, true), "none has followed, and a plan is due");
        assert_eq!(met(360), (0, None, false));
        // In another group it has another share, whatever it has under way here.
        let [here, there] = [0, 1].map(|group| hungry(&shared, &session, group));
        assert_eq!(met(362).0, 2);
        end(&there);
        assert_eq!(met(364).0, 2);
        end(&here);
        assert_eq!(met(366).0, 2);
        assert_eq!(met(700), (0, None, true));
        let long = hungry(&shared, &session, 0);
        assert_eq!(met(700).0, 1);
        end(&long);
        assert_eq!(met(3_000), (0, None, false), "a long one that has ended is over");
    }

    /// What is sampled once a second is as right as ever: a window of 10 s ends at the moment of the question.
    #[test]
    fn the_rate_of_a_slow_leaf_is_right_at_any_time() {
        let shared = shared(1_000_000);
        let (session, _lane) = join(&shared, "a");
        let leaf = hungry(&shared, &session, 0);
        let mut survey = Survey::default();
        survey.meet(&shared.registry, shared.clock.now());
        let start = leaf.meter.started();
        for round in 1..=80 {
            sampled(&mut survey, start + SAMPLE * round, 1);
            let now = start + SAMPLE * round + Duration::from_millis(5);
            let rate = survey.of(Direction::Upload)[0].conduct(now, false).achieved;
            assert!(round < 8 || (rate / 4000.0 - 1.0).abs() < 0.03, "after {round} samples: {rate:.0} B/s");
        }
    }
}
