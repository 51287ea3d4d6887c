//! Time as `flow` sees it: a number that the caller passes in.

use std::{
    ops::{Add, Sub},
    time::Duration,
};

/// Monotonic nanoseconds since an origin the caller chose. 584 years fit; sums saturate there.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug, Default)]
pub struct Moment(u64);

impl Moment {
    /// The origin.
    pub const ZERO: Self = Self(0);
    /// The end of time.
    pub const MAX: Self = Self(u64::MAX);

    /// `nanos` nanoseconds after the origin.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the origin.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Time since `earlier`; zero when `earlier` lies ahead.
    pub fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// This moment `later`; saturates at the end of time.
    pub fn saturating_add(self, later: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(later.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// Saturating, as [`Moment::saturating_add`].
impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, later: Duration) -> Self {
        self.saturating_add(later)
    }
}

/// Saturating, as [`Moment::saturating_since`].
impl Sub<Moment> for Moment {
    type Output = Duration;

    fn sub(self, earlier: Moment) -> Duration {
        self.saturating_since(earlier)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_and_differences_saturate() {
        let later = Moment::ZERO + Duration::from_secs(2);
        assert_eq!(later - Moment::ZERO, Duration::from_secs(2));
        assert_eq!(Moment::ZERO - later, Duration::ZERO);
        assert_eq!(later + Duration::MAX, Moment::from_nanos(u64::MAX));
    }
}
