//! How people write a rate (DESIGN 1): `500K`, `10MiB/s`, `10MB/s`, `100Mbit/s`, `0` or `off`.
//!
//! number [space] [K | M | G [i]] [B | bit] [/s]. Prefixes may be small (`500k`); `b` alone is refused because half of its
//! readers take it for bits and half for bytes, a factor of eight.

use super::Rate;

/// Longer input is cut in messages and refused.
const TEXT_CHARS_MAX: usize = 40;

/// Why a text is not a rate. Each message says what to write instead.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RateError {
    /// Nothing there.
    #[error("a rate is missing: write for example `10MB/s`, `100Mbit/s`, or `off` for unlimited")]
    Empty,
    /// Below zero.
    #[error("`{0}` is negative: write `0` or `off` for unlimited")]
    Negative(String),
    /// Bits or bytes?
    #[error("`{text}` is ambiguous: write `{bits}` for bits or `{bytes}` for bytes")]
    Ambiguous {
        /// What was written.
        text: String,
        /// The same in bits.
        bits: String,
        /// The same in bytes.
        bytes: String,
    },
    /// Understood, but not how it is written here.
    #[error("`{text}` is not how a rate is written here: write `{instead}`")]
    Spelling {
        /// What was written.
        text: String,
        /// What it means.
        instead: String,
    },
    /// More than 2^64 - 2 bytes per second.
    #[error("`{0}` is more than can be counted: write `off` for unlimited")]
    TooLarge(String),
    /// Above zero and below one byte per second.
    #[error("`{0}` is less than one byte per second: write at least `1B/s`, or `off` for unlimited")]
    TooSmall(String),
    /// Anything else.
    #[error(
        "`{0}` is not a rate: write a number with K, M or G (1000) or Ki, Mi, Gi (1024), then B or bit, for example \
         `500K`, `10MiB/s`, `100Mbit/s`, or `off` for unlimited"
    )]
    Nonsense(String),
}

/// Reads a rate.
pub(super) fn parse(text: &str) -> Result<Rate, RateError> {
    let text = text.trim();
    let shown = || text.chars().take(TEXT_CHARS_MAX).collect::<String>();
    if text.is_empty() {
        return Err(RateError::Empty);
    }
    if text == "off" {
        return Ok(Rate::UNLIMITED);
    }
    if text.chars().nth(TEXT_CHARS_MAX).is_some() {
        return Err(RateError::Nonsense(shown()));
    }
    if ["unlimited", "none", "max", "inf", "off", "infinity"].contains(&text.to_ascii_lowercase().as_str()) {
        return Err(RateError::Spelling { text: shown(), instead: "off".to_owned() });
    }
    if text.starts_with('-') && text[1..].trim_start().starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return Err(RateError::Negative(shown()));
    }
    let (number, unit) = split(text);
    let Some(number) = Decimal::parse(number) else { return Err(RateError::Nonsense(shown())) };
    match Unit::parse(unit) {
        Some(unit) => number.times(unit, text),
        None => Err(correction(text, split(text).0, unit)),
    }
}

/// The number and what follows it after at most one space.
fn split(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number, unit.strip_prefix(' ').unwrap_or(unit))
}

/// A decimal number as written: `mantissa / 10^places`, so that `0.1G` is exact.
struct Decimal {
    mantissa: u128,
    places: u32,
}

impl Decimal {
    fn parse(text: &str) -> Option<Self> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let missing = whole.is_empty() || (text.contains('.') && fraction.is_empty());
        if missing || fraction.len() > 9 || fraction.contains('.') {
            return None;
        }
        // At most 40 digits reach this; more than 38 do not fit, and none of those is a rate.
        let mantissa = format!("{whole}{fraction}").parse().unwrap_or(u128::MAX);
        Some(Self { mantissa, places: fraction.len() as u32 })
    }

    fn times(&self, unit: Unit, text: &str) -> Result<Rate, RateError> {
        if self.mantissa == 0 {
            return Ok(Rate::UNLIMITED);
        }
        let divisor = 10u128.pow(self.places) * unit.divisor;
        let bytes = self.mantissa.saturating_mul(unit.factor) / divisor;
        if bytes == 0 {
            return Err(RateError::TooSmall(text.to_owned()));
        }
        match u64::try_from(bytes).map(Rate::from_bytes_per_second) {
            Ok(rate) if !rate.is_unlimited() => Ok(rate),
            _ => Err(RateError::TooLarge(text.to_owned())),
        }
    }
}

/// Bytes per second in one unit: `factor / divisor`.
#[derive(Copy, Clone)]
struct Unit {
    factor: u128,
    divisor: u128,
}

impl Unit {
    fn parse(text: &str) -> Option<Self> {
        let text = text.strip_suffix("/s").unwrap_or(text);
        let (text, divisor) = match text.strip_suffix("bit") {
            Some(prefix) => (prefix, 8),
            None => (text.strip_suffix('B').unwrap_or(text), 1),
        };
        let factor = match text {
            "" => 1,
            "K" | "k" => 1000,
            "M" | "m" => 1_000_000,
            "G" | "g" => 1_000_000_000,
            "Ki" | "ki" => 1 << 10,
            "Mi" | "mi" => 1 << 20,
            "Gi" | "gi" => 1 << 30,
            _ => return None,
        };
        Some(Self { factor, divisor })
    }
}

/// What the writer may have meant by a number that was understood and a unit that was not.
fn correction(text: &str, number: &str, unit: &str) -> RateError {
    let lower = unit.trim().to_ascii_lowercase();
    let per_second = ["/second", "/sec", "/s", "ps"].into_iter().find_map(|suffix| lower.strip_suffix(suffix));
    let stem = per_second.unwrap_or(&lower).trim();
    let (prefix, rest) = ["ki", "mi", "gi", "k", "m", "g", ""]
        .into_iter()
        .find_map(|prefix| stem.strip_prefix(prefix).map(|rest| (prefix, rest)))
        .unwrap_or(("", stem));
    let prefix = prefix.get(..1).map(|letter| letter.to_ascii_uppercase()).unwrap_or_default()
        + prefix.get(1..).unwrap_or_default();
    let text = text.to_owned();
    let bits = format!("{number}{prefix}bit/s");
    let bytes = format!("{number}{prefix}B/s");
    // A capital B, as in `10MBps`, leaves no doubt; a small one does.
    let capital = unit.contains('B');
    match rest {
        "b" if capital => RateError::Spelling { text, instead: bytes },
        "b" => RateError::Ambiguous { text, bits, bytes },
        "bit" | "bits" => RateError::Spelling { text, instead: bits },
        "byte" | "bytes" | "" => RateError::Spelling { text, instead: bytes },
        _ => RateError::Nonsense(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> u64 {
        parse(text).unwrap_or_else(|error| panic!("{text}: {error}")).bytes_per_second()
    }

    #[test]
    fn reads_what_the_design_names() {
        assert_eq!(parsed("500K"), 500_000);
        assert_eq!(parsed("10MiB/s"), 10 << 20);
        assert_eq!(parsed("10MB/s"), 10_000_000);
        assert_eq!(parsed("100Mbit/s"), 12_500_000);
        assert_eq!(parsed("0"), u64::MAX);
        assert_eq!(parsed("off"), u64::MAX);
    }

    #[test]
    fn reads_what_is_as_clear() {
        assert_eq!(parsed("1234"), 1234);
        assert_eq!(parsed(" 1.5 GiB/s "), 1_610_612_736);
        assert_eq!(parsed("0.1G"), 100_000_000);
        assert_eq!(parsed("500k"), 500_000);
        assert_eq!(parsed("1Kibit"), 128);
        assert_eq!(parsed("9/s"), 9);
        assert_eq!(parsed("0MB/s"), u64::MAX);
        assert_eq!(parsed("18446744073709551614"), u64::MAX - 1);
    }

    #[test]
    fn refuses_and_says_what_to_write() {
        let says = |text: &str, words: &str| {
            let message = parse(text).expect_err(text).to_string();
            assert!(message.contains(words), "{text}: {message}");
        };
        says("500kbps", "write `500Kbit/s` for bits or `500KB/s` for bytes");
        says("10Mbps", "write `10Mbit/s` for bits or `10MB/s` for bytes");
        says("10Mb", "write `10Mbit/s` for bits or `10MB/s` for bytes");
        says("10mib/s", "write `10Mibit/s` for bits or `10MiB/s` for bytes");
        says("10MBps", "write `10MB/s`");
        says("10 Mbits/sec", "write `10Mbit/s`");
        says("10MB/sec", "write `10MB/s`");
        says("10M/sec", "write `10MB/s`");
        says("10  MB", "write `10MB/s`");
        says("-5M", "is negative");
        says("- 5M", "is negative");
        says("", "is missing");
        says("  ", "is missing");
        says("unlimited", "write `off`");
        says("OFF", "write `off`");
        says("18446744073709551615", "more than can be counted");
        says("99999999999999999999999999999999999999G", "more than can be counted");
        says("9999999999999999999999999999999999999999", "more than can be counted");
        says("7bit", "less than one byte");
        says("0.5", "less than one byte");
        for nonsense in ["fast", "1e6", "10T", "1.2.3M", ".5M", "5.", "M", "+5", "10µ", "٣", "5 - 3", "-", "-é", "-x"]
        {
            says(nonsense, "is not a rate");
        }
        let long = "9".repeat(10_000);
        assert!(parse(&long).expect_err("long").to_string().len() < 300);
    }
}
