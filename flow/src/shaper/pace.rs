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
}

impl Pace {
    pub(crate) fn new(now: u64) -> Self {
        Pace { bytes: 0.0, seconds: 0.0, at: now }
    }

    pub(crate) fn add(&mut self, bytes: u32, now: u64) {
        let elapsed = now.saturating_sub(self.at) as f32 * 1e-9;
        if elapsed > 0.0 {
            let kept = (-elapsed / TAU_SECONDS).exp();
            self.bytes *= kept;
            self.seconds = self.seconds * kept + TAU_SECONDS * (1.0 - kept);
            self.at = now;
        }
        self.bytes += bytes as f32;
    }

    pub(crate) fn subtract(&mut self, bytes: u32) {
        self.bytes = (self.bytes - bytes as f32).max(0.0);
    }

    /// Bytes per second as of the last release, 0 before the first.
    pub(crate) fn bytes_per_second(&self) -> u64 {
        (self.bytes / self.seconds.max(SPAN_SECONDS_MIN)) as u64
    }
}
