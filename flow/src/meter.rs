//! Two meters (DESIGN 7): a window that control decisions are made from, and a smooth average for people.

use std::{collections::VecDeque, time::Duration};

use crate::Moment;

/// One round.
const SPAN: Duration = Duration::from_millis(2500);

/// The cycle whose length seed 001 found too long for peers in a hurry, but a slow peer with chunks of 16 KiB needs it.
const SPAN_MAX: Duration = Duration::from_secs(10);

/// With fewer chunks, the rate of a window hangs on whether one more chunk fell into it: 40 make that 2.5 %.
const CHUNKS_ENOUGH: u64 = 40;

/// A younger meter is judged as if it were this old: the first chunk of a peer is not a rate.
const SPAN_MIN: Duration = Duration::from_millis(100);

/// [`SPAN_MAX`] at the usual four samples per second, and some that came early.
const SAMPLES_MAX: usize = 48;

/// What had been moved at one moment.
#[derive(Copy, Clone, Debug, PartialEq)]
struct Sample {
    at: Moment,
    bytes: u64,
    chunks: u64,
}

/// The rate over the last seconds, from samples of a counter that only grows: what was moved between two moments over the
/// time between them.
///
/// Whoever samples every 250 ms is never exactly on time. So nothing is counted in slots: between two samples the counter is
/// taken to have grown evenly, the window begins at an exact moment, and an even flow reads as itself at any phase. The
/// window is 2.5 s, widened to at most 10 s until 40 chunks are in it, and never reaches past the start: a late joiner is
/// judged by its own time (seed 001).
///
/// Memory grows with what is needed: three samples while nothing moves, about twelve for a fast leaf, 48 for a slow one.
#[derive(Clone, Debug)]
pub struct RateWindow {
    /// Oldest first; the first is the start, until the window has left it behind.
    samples: VecDeque<Sample>,
}

impl RateWindow {
    /// A meter of a counter that was at zero at `start`.
    pub fn new(start: Moment) -> Self {
        Self { samples: VecDeque::from([Sample { at: start, bytes: 0, chunks: 0 }]) }
    }

    /// The counter stands at `bytes`, moved in `chunks` pieces, both since the start. About every 250 ms.
    pub fn sample(&mut self, now: Moment, bytes: u64, chunks: u64) {
        let sample = self.checked(now, bytes, chunks);
        let flat = |old: &Sample| (old.bytes, old.chunks) == (sample.bytes, sample.chunks);
        // While nothing moves, the ends of that stretch say all.
        if self.samples.len() >= 2 && self.samples.iter().rev().take(2).all(flat) {
            self.samples.pop_back();
        }
        if self.samples.len() == SAMPLES_MAX {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
        // The first sample is still needed while the window begins before the second.
        let begins = self.window_start(&sample).at;
        while self.samples.len() >= 2 && self.samples[1].at <= begins && self.samples[0].at < begins {
            self.samples.pop_front();
        }
    }

    /// Bytes per second over [`RateWindow::span`], the counter standing at `bytes` and `chunks` now.
    pub fn rate(&self, now: Moment, bytes: u64, chunks: u64) -> f64 {
        let last = self.checked(now, bytes, chunks);
        let first = self.window_start(&last);
        let span = last.at.saturating_since(first.at).max(SPAN_MIN);
        (last.bytes - first.bytes) as f64 / span.as_secs_f64()
    }

    /// The time that [`RateWindow::rate`] looks back.
    pub fn span(&self, now: Moment, chunks: u64) -> Duration {
        let last = self.checked(now, u64::MAX, chunks);
        last.at.saturating_since(self.window_start(&last).at).max(SPAN_MIN)
    }

    /// Neither time nor the counter goes back.
    fn checked(&self, now: Moment, bytes: u64, chunks: u64) -> Sample {
        let known = self.samples.back().copied().unwrap_or(Sample { at: now, bytes, chunks });
        Sample { at: known.at.max(now), bytes: known.bytes.max(bytes), chunks: known.chunks.max(chunks) }
    }

    /// Where the window that ends with `last` begins.
    fn window_start(&self, last: &Sample) -> Sample {
        let ago = |span: Duration| Moment::from_nanos(last.at.as_nanos().saturating_sub(span.as_nanos() as u64));
        let enough = |start: &Sample| last.chunks - start.chunks >= CHUNKS_ENOUGH;
        let narrow = self.at(ago(SPAN), last);
        if enough(&narrow) {
            return narrow;
        }
        let widest = self.at(ago(SPAN_MAX), last);
        let between = self.samples.iter().rev().filter(|sample| sample.at < narrow.at && sample.at > widest.at);
        between.copied().find(enough).unwrap_or(widest)
    }

    /// The counter at `moment`, on the straight line between the samples around it; at the start, if it is before that.
    fn at(&self, moment: Moment, last: &Sample) -> Sample {
        let after = self.samples.partition_point(|sample| sample.at <= moment);
        let Some(before) = after.checked_sub(1).map(|index| self.samples[index]) else {
            return self.samples.front().copied().unwrap_or(*last);
        };
        let next = self.samples.get(after).unwrap_or(last);
        let gap = next.at.saturating_since(before.at).as_nanos();
        let part = moment.saturating_since(before.at).as_nanos();
        // Rounded up: a chunk that is half inside is not counted as one.
        let between = |from: u64, to: u64| from + (u128::from(to - from) * part).div_ceil(gap.max(1)) as u64;
        Sample { at: moment, bytes: between(before.bytes, next.bytes), chunks: between(before.chunks, next.chunks) }
    }
}

/// Time constant of the display: about one round.
const TAU_SECONDS: f64 = 2.5;

/// Exponentially weighted average of irregular samples, for people. Unbiased: a constant rate is shown as itself from the
/// first sample on, because the weight that the past has not yet filled is divided out.
#[derive(Clone, Debug)]
pub struct Ewma {
    weighted_bytes: f64,
    weighted_seconds: f64,
    last: Moment,
}

impl Ewma {
    /// A meter of something that starts now.
    pub fn new(now: Moment) -> Self {
        Self { weighted_bytes: 0.0, weighted_seconds: 0.0, last: now }
    }

    /// Counts bytes that were moved since the last call.
    pub fn add(&mut self, now: Moment, bytes: u64) {
        let (decay, seconds) = self.at(now);
        self.weighted_bytes = self.weighted_bytes * decay + bytes as f64;
        self.weighted_seconds = seconds;
        self.last = self.last.max(now);
    }

    /// Bytes per second now; 0 before any time has passed.
    pub fn rate(&self, now: Moment) -> f64 {
        let (decay, seconds) = self.at(now);
        if seconds > 0.0 { self.weighted_bytes * decay / seconds } else { 0.0 }
    }

    fn at(&self, now: Moment) -> (f64, f64) {
        let decay = (-now.saturating_since(self.last).as_secs_f64() / TAU_SECONDS).exp();
        (decay, self.weighted_seconds * decay + TAU_SECONDS * (1.0 - decay))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(millis: u64) -> Moment {
        Moment::from_nanos(7_123_456_789) + Duration::from_millis(millis)
    }

    /// A meter that is sampled every 250 ms for `seconds`, of a counter that grows by `chunk` bytes every `pace_ms`.
    fn sampled(seconds: u64, chunk: u64, pace_ms: u64) -> RateWindow {
        let mut window = RateWindow::new(at(0));
        for sample in 1..=seconds * 4 {
            let chunks = sample * 250 / pace_ms;
            window.sample(at(sample * 250), chunks * chunk, chunks);
        }
        window
    }

    proptest! {
        #[test]
        fn an_even_flow_reads_exact_at_any_phase(
            start in 0u64..1 << 50,
            rate in 1_000u64..2_000_000_000,
            gaps_us in prop::collection::vec(1_000u64..900_000, 0..80),
            ask_us in 1u64..2_000_000,
            chunks_per_second in 1u64..10_000,
        ) {
            let start = Moment::from_nanos(start);
            let moved = |now: Moment| {
                let nanos = now.saturating_since(start).as_nanos();
                let so_far = |per_second: u64| (u128::from(per_second) * nanos / 1_000_000_000) as u64;
                (so_far(rate), so_far(chunks_per_second))
            };
            let mut window = RateWindow::new(start);
            let mut now = start;
            for gap in gaps_us {
                now = now + Duration::from_micros(gap);
                let (bytes, chunks) = moved(now);
                window.sample(now, bytes, chunks);
                prop_assert!(window.samples.len() <= SAMPLES_MAX);
            }
            now = now + Duration::from_micros(ask_us);
            let (bytes, chunks) = moved(now);
            let age = now.saturating_since(start);
            let span = window.span(now, chunks);
            prop_assert!(span <= SPAN_MAX && span <= age.max(SPAN_MIN) && span >= SPAN.min(age), "{span:?} of {age:?}");
            if age >= SPAN_MIN {
                // Whole bytes at both ends.
                let read = window.rate(now, bytes, chunks);
                prop_assert!((read - rate as f64).abs() <= 3.0 / span.as_secs_f64(), "{read} for {rate}");
            }
        }
    }

    #[test]
    fn a_late_joiner_is_judged_by_its_own_time() {
        let window = RateWindow::new(at(0));
        assert!((window.rate(at(700), 70_000, 70) - 100_000.0).abs() < 1.0);
        assert_eq!(window.span(at(700), 70), Duration::from_millis(700));
        assert_eq!(window.rate(at(1), 1_000, 1), 10_000.0, "as if it were 100 ms old");
    }

    #[test]
    fn forgets_after_its_window() {
        let mut window = sampled(10, 1000, 10);
        assert_eq!(window.span(at(10_000), 1000), SPAN);
        assert!(window.samples.len() <= 12, "{}", window.samples.len());
        for quiet in 41..=80 {
            window.sample(at(quiet * 250), 1_000_000, 1000);
        }
        assert_eq!(window.rate(at(20_000), 1_000_000, 1000), 0.0);
        assert!(window.samples.len() <= 3, "{}", window.samples.len());
        // Woken up again: the silence before is not a part of the silence after.
        assert_eq!(window.rate(at(20_100), 1_100_000, 1100), 40_000.0);
    }

    #[test]
    fn widens_for_slow_peers() {
        let window = sampled(60, 16_384, 1000);
        assert_eq!(window.span(at(60_000), 60), SPAN_MAX);
        assert!((window.rate(at(60_000), 60 * 16_384, 60) - 16_384.0).abs() < 1_700.0);
        let brisk = sampled(60, 16_384, 125);
        let span = brisk.span(at(60_000), 480);
        assert!(span >= Duration::from_secs(5) && span < Duration::from_millis(5_500), "{span:?}");
    }

    #[test]
    fn time_and_counters_that_stand_or_go_back_do_no_harm() {
        let mut window = RateWindow::new(at(5_000));
        window.sample(at(5_000), 200, 2);
        window.sample(at(0), 100, 1);
        assert_eq!(window.rate(at(0), 0, 0), 2_000.0);
        let mut ewma = Ewma::new(at(5_000));
        ewma.add(at(0), 100);
        assert_eq!(ewma.rate(at(0)), 0.0);
    }

    #[test]
    fn the_average_is_unbiased_from_the_start_and_decays() {
        let mut ewma = Ewma::new(at(0));
        for chunk in 1..=50 {
            ewma.add(at(chunk * 10), 1000);
        }
        assert!((ewma.rate(at(500)) - 100_000.0).abs() < 500.0, "{}", ewma.rate(at(500)));
        for chunk in 51..=10_000 {
            ewma.add(at(chunk * 10), 1000);
        }
        let after_tau = ewma.rate(at(102_500));
        assert!((after_tau / 100_000.0 - (-1.0f64).exp()).abs() < 0.01, "{after_tau}");
    }
}
