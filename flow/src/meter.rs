//! Two meters (DESIGN 7): a window that control decisions are made from, and a smooth average for people.

use std::time::Duration;

use crate::Moment;

const SLOT: Duration = Duration::from_millis(250);
const SLOT_NANOS: u64 = SLOT.as_nanos() as u64;

/// 2.5 s: one round.
const SLOTS_MIN: usize = 10;

/// 10 s: the cycle whose length seed 001 found too long for peers in a hurry, but a slow peer with chunks of 16 KiB needs it.
const SLOTS_MAX: usize = 40;

/// With fewer chunks, the rate of a window hangs on whether one more chunk fell into it: 40 make that 2.5 %.
const CHUNKS_ENOUGH: u32 = 40;

/// A younger meter is judged as if it were this old: the first chunk of a peer is not a rate.
const SPAN_MIN: Duration = Duration::from_millis(100);

/// Bytes of the last seconds in slots of 250 ms: what was moved over the time spanned, which for a meter that is younger
/// than the window is its age (seed 001: fair to late joiners).
#[derive(Clone, Debug)]
pub struct RateRing {
    bytes: [u64; SLOTS_MAX],
    chunks: [u16; SLOTS_MAX],
    /// Number of the newest slot, counted from the origin of time.
    newest: u64,
    started: Moment,
}

impl RateRing {
    /// A meter of something that starts now.
    pub fn new(now: Moment) -> Self {
        Self { bytes: [0; SLOTS_MAX], chunks: [0; SLOTS_MAX], newest: slot_of(now), started: now }
    }

    /// Counts a chunk. A moment before the newest known counts as that one.
    pub fn add(&mut self, now: Moment, bytes: u64) {
        self.add_chunks(now, bytes, 1);
    }

    /// Counts `bytes` moved in `chunks` pieces since the last call, as one who looks now and then sees them.
    pub fn add_chunks(&mut self, now: Moment, bytes: u64, chunks: u64) {
        self.turn_to(slot_of(now));
        let place = place_of(self.newest);
        self.bytes[place] = self.bytes[place].saturating_add(bytes);
        self.chunks[place] = self.chunks[place].saturating_add(u16::try_from(chunks).unwrap_or(u16::MAX));
    }

    /// Bytes per second over [`RateRing::span`].
    pub fn rate(&self, now: Moment) -> f64 {
        let (bytes, span) = self.window(now);
        bytes as f64 / span.as_secs_f64()
    }

    /// The time that [`RateRing::rate`] looks back: 2.5 s, widened to at most 10 s until 40 chunks are in it, never past the
    /// start, at least 100 ms.
    pub fn span(&self, now: Moment) -> Duration {
        self.window(now).1
    }

    fn window(&self, now: Moment) -> (u64, Duration) {
        let current = slot_of(now).max(self.newest);
        let mut bytes = 0u64;
        let mut chunks = 0u32;
        let mut slots = 0;
        while slots < SLOTS_MIN || (slots < SLOTS_MAX && chunks < CHUNKS_ENOUGH) {
            let Some(slot) = current.checked_sub(slots as u64) else { break };
            // Slots after the newest were never written; slots a whole ring before it are gone.
            if slot <= self.newest && self.newest - slot < SLOTS_MAX as u64 {
                bytes = bytes.saturating_add(self.bytes[place_of(slot)]);
                chunks += u32::from(self.chunks[place_of(slot)]);
            }
            slots += 1;
        }
        let first = Moment::from_nanos((current + 1).saturating_sub(slots as u64).saturating_mul(SLOT_NANOS));
        (bytes, now.saturating_since(first.max(self.started)).max(SPAN_MIN))
    }

    fn turn_to(&mut self, slot: u64) {
        let steps = slot.saturating_sub(self.newest).min(SLOTS_MAX as u64);
        for step in 0..steps {
            let place = place_of(slot - step);
            self.bytes[place] = 0;
            self.chunks[place] = 0;
        }
        self.newest = self.newest.max(slot);
    }
}

fn slot_of(now: Moment) -> u64 {
    now.as_nanos() / SLOT_NANOS
}

fn place_of(slot: u64) -> usize {
    (slot % SLOTS_MAX as u64) as usize
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

    fn at(millis: u64) -> Moment {
        // Not at the origin, not at the edge of a slot.
        Moment::from_nanos(7_123_456_789) + Duration::from_millis(millis)
    }

    #[test]
    fn a_late_joiner_is_judged_by_its_own_time() {
        let mut ring = RateRing::new(at(0));
        for chunk in 1..=70 {
            ring.add(at(chunk * 10), 1000);
        }
        assert!((ring.rate(at(700)) - 100_000.0).abs() < 1.0, "{}", ring.rate(at(700)));
        assert_eq!(ring.span(at(700)), Duration::from_millis(700));
    }

    #[test]
    fn forgets_after_its_window() {
        let mut ring = RateRing::new(at(0));
        for chunk in 1..=1000 {
            ring.add(at(chunk * 10), 1000);
        }
        let span = ring.span(at(10_000));
        assert!(span > Duration::from_millis(2250) && span <= Duration::from_millis(2500), "{span:?}");
        assert!((ring.rate(at(10_000)) - 100_000.0).abs() < 1_000.0);
        assert_eq!(ring.rate(at(30_000)), 0.0);
        ring.add(at(90_000), 500);
        assert_eq!(ring.window(at(90_000)).0, 500);
    }

    #[test]
    fn widens_for_slow_peers() {
        let mut ring = RateRing::new(at(0));
        for chunk in 1..=60 {
            ring.add(at(chunk * 1000), 16_384);
        }
        assert!(ring.span(at(60_000)) > Duration::from_secs(9));
        assert!((ring.rate(at(60_000)) - 16_384.0).abs() < 1_700.0, "{}", ring.rate(at(60_000)));
    }

    #[test]
    fn time_that_stands_or_goes_back_does_no_harm() {
        let mut ring = RateRing::new(at(5_000));
        ring.add(at(5_000), 100);
        ring.add(at(0), 100);
        assert_eq!(ring.rate(at(5_000)), 2000.0);
        assert!(ring.rate(at(0)).is_finite());
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
