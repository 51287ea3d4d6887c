//! What a peer or a group has moved, transfers that have ended included. Whoever makes many short ones, as a browser does, has a
//! rate that none of those under way shows: it has just begun, or there is none at the moment.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use flow::{Direction, Moment};

/// Between two looks at least: rounds are shorter while a total is tried.
const LOOK_MIN: Duration = Duration::from_secs(2);
/// A rate is that of so much time at least.
const SPAN_MIN: Duration = Duration::from_secs(1);

/// What a peer or a group has moved.
#[derive(Debug)]
pub struct Trail {
    ended: [AtomicU64; 2],
    /// The last two by direction, the later one last.
    looks: Mutex<[[Look; 2]; 2]>,
}

/// What had been moved at one moment.
#[derive(Copy, Clone, Debug)]
struct Look {
    at: Moment,
    moved: u64,
    ended: u64,
}

impl Trail {
    /// Of who has moved nothing until `now`.
    pub fn new(now: Moment) -> Self {
        let look = Look { at: now, moved: 0, ended: 0 };
        Self { ended: Default::default(), looks: Mutex::new([[look; 2]; 2]) }
    }

    /// A transfer has ended that had moved `bytes`.
    pub fn end(&self, direction: Direction, bytes: u64) {
        self.ended[direction.index()].fetch_add(bytes, Relaxed);
    }

    /// Bytes of transfers that have ended.
    pub fn ended(&self, direction: Direction) -> u64 {
        self.ended[direction.index()].load(Relaxed)
    }

    /// A round ends, and the transfers under way have moved `live` bytes so far.
    pub fn look(&self, direction: Direction, now: Moment, live: u64) {
        let ended = self.ended(direction);
        let [before, last] = &mut self.looks()[direction.index()];
        if now.saturating_since(last.at) >= LOOK_MIN {
            (*before, *last) = (*last, Look { at: now, moved: ended + live, ended });
        }
    }

    /// Bytes per second over the last 1 to 4 s, where the transfers under way have moved `live` bytes so far.
    pub fn rate(&self, direction: Direction, now: Moment, live: u64) -> f64 {
        let since = self.since(direction, now);
        let seconds = now.saturating_since(since.at).max(SPAN_MIN).as_secs_f64();
        (self.ended(direction) + live).saturating_sub(since.moved) as f64 / seconds
    }

    /// The same of what has ended in that time.
    pub fn ended_rate(&self, direction: Direction, now: Moment) -> f64 {
        let since = self.since(direction, now);
        let seconds = now.saturating_since(since.at).max(SPAN_MIN).as_secs_f64();
        self.ended(direction).saturating_sub(since.ended) as f64 / seconds
    }

    /// Whether a transfer has ended in that time: if none has, their own rates say it better.
    pub fn has_ended_one(&self, direction: Direction, now: Moment) -> bool {
        self.ended(direction) > self.since(direction, now).ended
    }

    fn since(&self, direction: Direction, now: Moment) -> Look {
        let [before, last] = self.looks()[direction.index()];
        if now.saturating_since(last.at) >= SPAN_MIN { last } else { before }
    }

    fn looks(&self) -> MutexGuard<'_, [[Look; 2]; 2]> {
        self.looks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UP: Direction = Direction::Upload;

    fn at(ms: u64) -> Moment {
        Moment::ZERO + Duration::from_millis(ms)
    }

    #[test]
    fn many_short_transfers_have_a_rate_together() {
        let trail = Trail::new(at(0));
        // One after the other, 100 KB every 100 ms.
        for ms in (100..=20_000).step_by(100) {
            trail.end(UP, 100_000);
            if ms % 2500 == 0 {
                trail.look(UP, at(ms), 0);
            }
            let rate = trail.rate(UP, at(ms), 0);
            assert!(ms < 1000 || (rate / 1e6 - 1.0).abs() < 0.01, "after {ms} ms: {rate:?}");
            assert!(rate < 1.01e6, "of one that has just come, after {ms} ms: {rate:?}");
            assert!(trail.has_ended_one(UP, at(ms)));
        }
        // It comes down when they end.
        trail.look(UP, at(22_500), 0);
        assert!(trail.rate(UP, at(22_501), 0) < 0.9e6);
        assert_eq!(trail.rate(UP, at(23_500), 0), 0.0);
        assert!(!trail.has_ended_one(UP, at(23_500)));
    }

    #[test]
    fn what_is_under_way_is_counted_once() {
        let trail = Trail::new(at(0));
        trail.look(UP, at(2500), 2_500_000);
        assert!(!trail.has_ended_one(UP, at(3000)), "its own window says it");
        trail.end(UP, 4_000_000);
        assert!(trail.has_ended_one(UP, at(4000)));
        assert_eq!(trail.rate(UP, at(4000), 0), 1e6);
        // Another began meanwhile.
        assert_eq!(trail.rate(UP, at(5000), 1_000_000), 1e6);
        assert_eq!(trail.rate(Direction::Download, at(5000), 0), 0.0);
    }

    #[test]
    fn short_rounds_do_not_make_the_window_short() {
        let trail = Trail::new(at(0));
        for ms in (500..=10_000).step_by(500) {
            trail.end(UP, 500_000);
            trail.look(UP, at(ms), 0);
        }
        let [before, last] = trail.looks()[UP.index()];
        assert_eq!((before.at, last.at), (at(8000), at(10_000)));
    }
}
