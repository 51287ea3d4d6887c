//! Bytes per second: arithmetic, display, and the grammar in which people write them (DESIGN 1).

use std::{fmt, str::FromStr, time::Duration};

mod grammar;

pub use grammar::RateError;

const NANOS_PER_SECOND: u128 = 1_000_000_000;

/// Bytes per second, or [`Rate::UNLIMITED`], which is greater than every number.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct Rate(u64);

impl Rate {
    /// Nothing holds it.
    pub const UNLIMITED: Self = Self(u64::MAX);
    /// Nothing goes: what the plan assigns to an idle leaf. Never a limit that a person wrote; they mean unlimited by 0.
    pub const ZERO: Self = Self(0);
    /// The greatest rate that is a number.
    pub const GREATEST: Self = Self(u64::MAX - 1);

    /// A rate; `u64::MAX` is [`Rate::UNLIMITED`].
    pub const fn from_bytes_per_second(bytes_per_second: u64) -> Self {
        Self(bytes_per_second)
    }

    /// The number; `u64::MAX` when unlimited. Prefer [`Rate::limit`] where that matters.
    pub const fn bytes_per_second(self) -> u64 {
        self.0
    }

    /// Rounded to whole bytes; not-a-number and negatives become zero, infinity unlimited.
    pub fn from_f64(bytes_per_second: f64) -> Self {
        if bytes_per_second == f64::INFINITY {
            return Self::UNLIMITED;
        }
        // `as` saturates and maps NaN to 0.
        Self(bytes_per_second.round() as u64).min(Self::GREATEST)
    }

    /// As [`Rate::from_f64`], rounded down.
    pub(crate) fn from_f64_down(bytes_per_second: f64) -> Self {
        if bytes_per_second == f64::INFINITY {
            return Self::UNLIMITED;
        }
        Self(bytes_per_second as u64).min(Self::GREATEST)
    }

    /// As a float; infinity when unlimited.
    pub fn as_f64(self) -> f64 {
        if self.is_unlimited() { f64::INFINITY } else { self.0 as f64 }
    }

    /// Whether nothing holds it.
    pub const fn is_unlimited(self) -> bool {
        self.0 == u64::MAX
    }

    /// The number, or `None` when unlimited.
    pub const fn limit(self) -> Option<u64> {
        if self.is_unlimited() { None } else { Some(self.0) }
    }

    /// From a message: 0 means as much as possible (seed 003: "<=0 para infinito").
    pub const fn from_wire(bytes_per_second: u64) -> Self {
        if bytes_per_second == 0 { Self::UNLIMITED } else { Self(bytes_per_second) }
    }

    /// For a message: 0 when unlimited. A rate of zero cannot be said and becomes 1 byte per second, the least.
    pub const fn to_wire(self) -> u64 {
        match self.0 {
            u64::MAX => 0,
            0 => 1,
            bytes_per_second => bytes_per_second,
        }
    }

    /// How long `bytes` take, rounded up to a nanosecond: zero when unlimited, [`Duration::MAX`] at rate zero.
    pub fn time_for(self, bytes: u64) -> Duration {
        if self.is_unlimited() || bytes == 0 {
            return Duration::ZERO;
        }
        if self.0 == 0 {
            return Duration::MAX;
        }
        let nanos = (u128::from(bytes) * NANOS_PER_SECOND).div_ceil(u128::from(self.0));
        let seconds = u64::try_from(nanos / NANOS_PER_SECOND).unwrap_or(u64::MAX);
        Duration::new(seconds, (nanos % NANOS_PER_SECOND) as u32)
    }

    /// How many whole bytes go in `time`; `u64::MAX` when unlimited.
    pub fn bytes_in(self, time: Duration) -> u64 {
        if self.is_unlimited() {
            return u64::MAX;
        }
        u64::try_from(u128::from(self.0).saturating_mul(time.as_nanos()) / NANOS_PER_SECOND).unwrap_or(u64::MAX)
    }

    /// Times `factor`, rounded; unlimited stays unlimited.
    pub fn mul_f64(self, factor: f64) -> Self {
        if self.is_unlimited() { self } else { Self::from_f64(self.0 as f64 * factor).min(Self::GREATEST) }
    }

    /// Sum that stops at [`Rate::GREATEST`]; unlimited when either is.
    pub fn saturating_add(self, other: Self) -> Self {
        if self.is_unlimited() || other.is_unlimited() {
            Self::UNLIMITED
        } else {
            Self(self.0.saturating_add(other.0)).min(Self::GREATEST)
        }
    }
}

/// No limit.
impl Default for Rate {
    fn default() -> Self {
        Self::UNLIMITED
    }
}

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        grammar::parse(text)
    }
}

/// In bytes and in bits, powers of 1000: `10.0 MB/s (80 Mbit/s)`.
impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(bytes) = self.limit() else { return f.pad("unlimited") };
        let (value, prefix) = scaled(bytes as f64);
        let (bits, bits_prefix) = scaled(bytes as f64 * 8.0);
        // Whole bytes have no tenths.
        let digits = usize::from(!prefix.is_empty());
        let bits_digits = usize::from((bits * 10.0).round() % 10.0 != 0.0);
        f.pad(&format!("{value:.digits$} {prefix}B/s ({bits:.bits_digits$} {bits_prefix}bit/s)"))
    }
}

impl fmt::Debug for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.limit() {
            Some(bytes_per_second) => write!(f, "Rate({bytes_per_second} B/s)"),
            None => f.write_str("Rate(unlimited)"),
        }
    }
}

/// The number before a power of 1000, and that power's letter; chosen so that one decimal never rounds up to 1000.0.
fn scaled(value: f64) -> (f64, &'static str) {
    let mut scaled = value;
    for prefix in ["", "K", "M", "G"] {
        if scaled < 999.95 {
            return (scaled, prefix);
        }
        scaled /= 1000.0;
    }
    (scaled, "T")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_bytes_and_bits() {
        let shown = |rate: u64| Rate::from_bytes_per_second(rate).to_string();
        assert_eq!(shown(10_000_000), "10.0 MB/s (80 Mbit/s)");
        assert_eq!(shown(12_345_678), "12.3 MB/s (98.8 Mbit/s)");
        assert_eq!(shown(500), "500 B/s (4 Kbit/s)");
        assert_eq!(shown(999_999), "1.0 MB/s (8 Mbit/s)");
        assert_eq!(shown(0), "0 B/s (0 bit/s)");
        assert_eq!(shown(1_250_000_000_000), "1.2 TB/s (10 Tbit/s)");
        assert_eq!(Rate::UNLIMITED.to_string(), "unlimited");
    }

    #[test]
    fn unlimited_is_the_greatest_and_zero_on_the_wire() {
        assert!(Rate::UNLIMITED > Rate::GREATEST);
        assert_eq!(Rate::from_wire(0), Rate::UNLIMITED);
        assert_eq!(Rate::UNLIMITED.to_wire(), 0);
        assert_eq!(Rate::ZERO.to_wire(), 1);
        assert_eq!(Rate::UNLIMITED.limit(), None);
        assert_eq!(Rate::UNLIMITED.mul_f64(0.5), Rate::UNLIMITED);
        assert_eq!(Rate::GREATEST.mul_f64(2.0), Rate::GREATEST);
        assert_eq!(Rate::GREATEST.saturating_add(Rate::GREATEST), Rate::GREATEST);
    }

    #[test]
    fn time_for_rounds_up_and_survives_the_extremes() {
        assert_eq!(Rate::from_bytes_per_second(3).time_for(1), Duration::from_nanos(333_333_334));
        assert_eq!(Rate::UNLIMITED.time_for(u64::MAX), Duration::ZERO);
        assert_eq!(Rate::ZERO.time_for(1), Duration::MAX);
        assert_eq!(Rate::from_bytes_per_second(1).time_for(u64::MAX).as_secs(), u64::MAX);
        assert_eq!(Rate::from_bytes_per_second(1000).bytes_in(Duration::from_millis(2500)), 2500);
        assert_eq!(Rate::GREATEST.bytes_in(Duration::MAX), u64::MAX);
    }

    #[test]
    fn floats_never_become_unlimited_by_accident() {
        assert_eq!(Rate::from_f64(1e30), Rate::GREATEST);
        assert_eq!(Rate::from_f64(f64::NAN), Rate::ZERO);
        assert_eq!(Rate::from_f64(-5.0), Rate::ZERO);
        assert_eq!(Rate::from_f64(f64::INFINITY), Rate::UNLIMITED);
        assert_eq!(Rate::UNLIMITED.as_f64(), f64::INFINITY);
    }
}
