//! How fast a leaf has gone lately, to size its next quantum. Not a meter for people: see `flow::Ewma`.

/// Seconds over which the past fades.
const TAU_SECONDS: f32 = 1.0;
/// A first release is not judged over less than this, or its rate would be infinite.
const SPAN_SECONDS_MIN: f32 = 0.25;

/// An unbiased, irregularly sampled average: faded bytes over faded time (DESIGN section 7).
#[derive(Copy, Clone, Debug)]
pub(crate) struct Pace {
    bytes: f32,
    seconds: f32,
    at: u64,
    /// What came last. Of a flow in pieces the average stands high after each of them and low before the next one: half of the
    /// piece is what it stands too high. (Counted whole, a quantum of 800 ms of the pace grew into one of 1.6 s of the rate.)
    last_bytes: f32,
}

impl Pace {
    pub(crate) fn new(now: u64) -> Self {
        Pace { bytes: 0.0, seconds: 0.0, at: now, last_bytes: 0.0 }
    }

    pub(crate) fn add(&mut self, bytes: u32, now: u64) {
        let elapsed = now.saturating_sub(self.at) as f32 * 1e-9;
        if elapsed > 0.0 {
            let kept = (-elapsed / TAU_SECONDS).exp();
            self.bytes *= kept;
            self.seconds = self.seconds * kept + TAU_SECONDS * (1.0 - kept);
            self.at = now;
            self.last_bytes = 0.0;
        }
        self.bytes += bytes as f32;
        self.last_bytes += bytes as f32;
    }

    pub(crate) fn subtract(&mut self, bytes: u32) {
        self.bytes = (self.bytes - bytes as f32).max(0.0);
        self.last_bytes = (self.last_bytes - bytes as f32).max(0.0);
    }

    /// Bytes per second as of the last release, 0 before the first.
    pub(crate) fn bytes_per_second(&self) -> u64 {
        let too_high = if self.seconds > SPAN_SECONDS_MIN { self.last_bytes / 2.0 } else { 0.0 };
        ((self.bytes - too_high) / self.seconds.max(SPAN_SECONDS_MIN)) as u64
    }

    /// The same for one that asks at `now`. If it has waited for longer than the past counts, it goes no faster than what came
    /// last is worth over that time: while a crowd came, 128 KiB for one of few were followed by 128 KiB for one of thousands,
    /// which then got nothing for 5 s.
    pub(crate) fn after_waiting(&self, now: u64) -> u64 {
        let waited = now.saturating_sub(self.at) as f32 * 1e-9;
        let worth = if waited > TAU_SECONDS { (self.last_bytes / waited) as u64 } else { u64::MAX };
        self.bytes_per_second().min(worth)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flow_in_pieces_is_judged_by_its_rate() {
        for period_ms in [10, 100, 400, 800] {
            let mut pace = Pace::new(0);
            for piece in 1..=200_u64 {
                pace.add(period_ms * 50, piece * u64::from(period_ms) * 1_000_000);
            }
            let rate = pace.bytes_per_second() as f64;
            assert!((rate / 50_000.0 - 1.0).abs() < 0.06, "{rate} in pieces of {period_ms} ms");
        }
    }

    #[test]
    fn one_that_waited_long_is_not_judged_by_what_it_got_before() {
        let mut pace = Pace::new(0);
        pace.add(131_072, 1_000_000_000);
        assert_eq!(pace.after_waiting(1_500_000_000), pace.bytes_per_second());
        assert_eq!(pace.after_waiting(5_000_000_000), 131_072 / 4);
    }
}
