//! Time in which this process ran. A machine that stands still for a while moves nobody's bytes, and spoils what is measured by its clock.

use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{Mutex, Once, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// How often the clock is looked at.
const STEP: Duration = Duration::from_millis(20);
/// Who rested for longer stood still.
const REST_MAX: Duration = Duration::from_millis(500);
/// What failed is done anew so often at most, and only where the machine stood still meanwhile.
const ATTEMPTS: u32 = 6;

struct Look {
    at: Instant,
    /// How long this process has stood still, in all.
    stood: Duration,
}

static LAST: Mutex<Option<Look>> = Mutex::new(None);
static WATCHING: Once = Once::new();

/// Now, and how long this process has stood still until now.
fn look() -> (Instant, Duration) {
    WATCHING.call_once(|| {
        thread::spawn(|| {
            loop {
                thread::sleep(STEP);
                look();
            }
        });
    });
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    let now = Instant::now();
    let stood = last.as_ref().map_or(Duration::ZERO, |last| {
        let rest = now - last.at;
        last.stood + if rest > REST_MAX { rest - STEP } else { Duration::ZERO }
    });
    *last = Some(Look { at: now, stood });
    (now, stood)
}

/// As [`Instant`], of a clock that stands still when this process does.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    at: Instant,
    stood: Duration,
}

impl Moment {
    pub fn now() -> Self {
        let (at, stood) = look();
        Self { at, stood }
    }

    pub fn elapsed(self) -> Duration {
        Self::now() - self
    }
}

impl std::ops::Sub for Moment {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        (self.at - earlier.at).saturating_sub(self.stood - earlier.stood)
    }
}

/// As [`thread::sleep`], for so long as this process runs.
pub fn sleep(time: Duration) {
    let began = Moment::now();
    while let Some(left) = time.checked_sub(began.elapsed()).filter(|left| !left.is_zero()) {
        thread::sleep(left);
    }
}

/// Does `scene`, and does it anew if it fails and the machine stood still meanwhile: timeouts of a second end what nobody disturbed.
pub fn steadily(scene: impl Fn()) {
    for attempt in 1.. {
        let (_, before) = look();
        let Err(failure) = catch_unwind(AssertUnwindSafe(&scene)) else { return };
        let stood = look().1 - before;
        if stood.is_zero() || attempt == ATTEMPTS {
            resume_unwind(failure);
        }
        eprintln!("the machine stood still for {stood:?}: once more");
    }
}
