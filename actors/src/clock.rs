//! The node's clock: monotonic nanoseconds since the node began, the same on every worker.

use std::time::Duration;

use flow::Moment;
use tokio::time::Instant;

/// Hands out the `now` that the pure rooms take as an argument. Follows tokio's clock, so that tests can pause it.
#[derive(Copy, Clone, Debug)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    /// A clock that starts now.
    pub fn start() -> Self {
        Self { origin: Instant::now() }
    }

    /// Time since the start.
    pub fn now(&self) -> Moment {
        Moment::ZERO + self.origin.elapsed()
    }

    /// When `moment` is, for tokio's timers.
    pub fn instant(&self, moment: Moment) -> Instant {
        self.origin + Duration::from_nanos(moment.as_nanos())
    }
}
