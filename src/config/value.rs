//! How single values are written: one function for each grammar, and each error says what to write instead.

use std::{
    net::SocketAddr,
    ops::{Bound, RangeBounds},
    time::Duration,
};

use flow::{Class, Rate};
use toml::de::DeValue;

/// A text.
pub(super) fn text(value: &DeValue<'_>) -> Result<String, String> {
    match value {
        DeValue::String(text) => Ok(text.to_string()),
        other => Err(format!("must be a text in quotes, not {}", kind(other))),
    }
}

/// A text, where an empty one means none.
pub(super) fn text_or_none(value: &DeValue<'_>) -> Result<Option<String>, String> {
    text(value).map(|text| Some(text).filter(|text| !text.is_empty()))
}

/// `true`, `false`, or in words `"on"`, `"off"`.
pub(super) fn switch(value: &DeValue<'_>) -> Result<bool, String> {
    match value {
        DeValue::Boolean(on) => Ok(*on),
        DeValue::String(word) if word == "on" => Ok(true),
        DeValue::String(word) if word == "off" => Ok(false),
        _ => Err("must be \"on\" or \"off\" (or true, false)".to_owned()),
    }
}

/// A rate (DESIGN 1); a bare number is bytes per second.
pub(super) fn rate(value: &DeValue<'_>) -> Result<Rate, String> {
    let written = match value {
        DeValue::String(text) => text.to_string(),
        DeValue::Integer(number) if number.radix() == 10 => number.as_str().to_owned(),
        other => {
            return Err(format!("must be a rate such as \"10MB/s\", \"100Mbit/s\" or \"off\", not {}", kind(other)));
        }
    };
    written.parse().map_err(|error: flow::RateError| error.to_string())
}

/// A guaranteed rate in bytes per second: `0` or `off` is none.
pub(super) fn floor(value: &DeValue<'_>) -> Result<u64, String> {
    rate(value).map(|rate| rate.limit().unwrap_or(0))
}

/// Bytes, with the prefixes of rates: `128KiB`, `4MiB`, `64K`.
pub(super) fn size(range: impl RangeBounds<u64>) -> impl FnOnce(&DeValue<'_>) -> Result<u64, String> {
    move |value| {
        let bytes = match value {
            DeValue::String(text) => parse_size(text)?,
            DeValue::Integer(number) if number.radix() == 10 => parse_size(number.as_str())?,
            other => {
                return Err(format!("must be a size such as \"128KiB\", not {}", kind(other)));
            }
        };
        within(bytes, &range, |bytes| show_size(*bytes))
    }
}

/// A time: `250ms`, `2.5s`, `10m`.
pub(super) fn duration(range: impl RangeBounds<Duration>) -> impl FnOnce(&DeValue<'_>) -> Result<Duration, String> {
    move |value| match value {
        DeValue::String(text) => within(parse_duration(text)?, &range, |time| format!("{time:?}")),
        DeValue::Integer(number) => Err(format!("needs a unit: write \"{0}s\" or \"{0}ms\"", number.as_str())),
        other => Err(format!("must be a time such as \"2.5s\" or \"250ms\", not {}", kind(other))),
    }
}

/// A whole number.
pub(super) fn count(range: impl RangeBounds<u64>) -> impl FnOnce(&DeValue<'_>) -> Result<u64, String> {
    move |value| {
        let DeValue::Integer(number) = value else {
            return Err(format!("must be a whole number, not {}", kind(value)));
        };
        let parsed = u64::from_str_radix(number.as_str(), number.radix())
            .map_err(|_| format!("{} must be a whole number, not negative", number.as_str()))?;
        within(parsed, &range, u64::to_string)
    }
}

/// A number, such as a weight or a fraction.
pub(super) fn number(range: impl RangeBounds<f64>) -> impl FnOnce(&DeValue<'_>) -> Result<f64, String> {
    move |value| {
        let written = match value {
            DeValue::Float(number) => number.as_str(),
            DeValue::Integer(number) => number.as_str(),
            other => return Err(format!("must be a number, not {}", kind(other))),
        };
        let parsed: f64 = written.parse().map_err(|_| format!("{written} is not a number"))?;
        if parsed.is_nan() {
            return Err("must be a number".to_owned());
        }
        within(parsed, &range, f64::to_string)
    }
}

/// `foreground` or `background`.
pub(super) fn class(value: &DeValue<'_>) -> Result<Class, String> {
    text(value)?.parse().map_err(|error: flow::ClassError| error.to_string())
}

/// `ADDRESS:PORT`.
pub(super) fn socket_address(value: &DeValue<'_>) -> Result<SocketAddr, String> {
    parse_socket_address(&text(value)?)
}

/// `ADDRESS:PORT`, where an empty text or `off` means none.
pub(super) fn socket_address_or_none(value: &DeValue<'_>) -> Result<Option<SocketAddr>, String> {
    match text(value)?.as_str() {
        "" | "off" => Ok(None),
        written => parse_socket_address(written).map(Some),
    }
}

/// A list, each item read by `parse`; the first bad item is the fault.
pub(super) fn list<T>(
    parse: impl Fn(&DeValue<'_>) -> Result<T, String>,
) -> impl FnOnce(&DeValue<'_>) -> Result<Vec<T>, String> {
    move |value| match value {
        DeValue::Array(items) => {
            let (mut good, mut bad) = (Vec::new(), Vec::new());
            for item in items {
                match parse(item.get_ref()) {
                    Ok(item) => good.push(item),
                    Err(message) => bad.push(message),
                }
            }
            if bad.is_empty() { Ok(good) } else { Err(bad.join("; ")) }
        }
        other => Err(format!("must be a list such as [\"a\", \"b\"], not {}", kind(other))),
    }
}

/// A text that `parse` understands.
pub(super) fn parsed<T>(parse: impl Fn(&str) -> Result<T, String>) -> impl Fn(&DeValue<'_>) -> Result<T, String> {
    move |value| parse(&text(value)?)
}

/// Reads `ADDRESS:PORT`; names are refused, because a node listens on addresses.
pub(crate) fn parse_socket_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        let hint = match text.parse::<u16>() {
            Ok(port) => format!("write \"127.0.0.1:{port}\" or \"0.0.0.0:{port}\""),
            Err(_) => "write ADDRESS:PORT, such as \"127.0.0.1:7400\" or \"[::1]:7400\"".to_owned(),
        };
        format!("{text:?} is not an address with a port: {hint}")
    })
}

/// Reads a time; the unit is required, because a bare number is read as seconds by some and milliseconds by others.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let trimmed = text.trim();
    let end = trimmed.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(end);
    let seconds_per_unit = match unit.trim() {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => {
            return Err(format!("{text:?} is not a time: write for example \"250ms\", \"2.5s\", \"10m\" or \"24h\""));
        }
    };
    number
        .parse::<f64>()
        .ok()
        .and_then(|number| Duration::try_from_secs_f64(number * seconds_per_unit).ok())
        .ok_or_else(|| format!("{text:?} is not a time: write for example \"250ms\", \"2.5s\", \"10m\" or \"24h\""))
}

/// Reads a size in bytes, with the prefixes of rates.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is not a size: write for example \"64KiB\", \"4MiB\" or \"65536\"");
    let trimmed = text.trim();
    let end = trimmed.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(end);
    let unit = unit.trim();
    let factor: u64 = match unit.strip_suffix('B').unwrap_or(unit) {
        "" => 1,
        "K" | "k" => 1000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        _ => return Err(wrong()),
    };
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(factor).ok_or_else(wrong);
    }
    let bytes = number.parse::<f64>().map_err(|_| wrong())? * factor as f64;
    // 2^53: beyond it a float no longer counts single bytes.
    if !(0.0..9.0e15).contains(&bytes) {
        return Err(wrong());
    }
    Ok(bytes.round() as u64)
}

/// A size as a person would write it.
pub(crate) fn show_size(bytes: u64) -> String {
    for (unit, factor) in [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1u64 << 10)] {
        if bytes >= factor && bytes.is_multiple_of(factor) {
            return format!("{}{unit}", bytes / factor);
        }
    }
    format!("{bytes}B")
}

fn within<T: PartialOrd>(value: T, range: &impl RangeBounds<T>, show: impl Fn(&T) -> String) -> Result<T, String> {
    if range.contains(&value) {
        return Ok(value);
    }
    let least = match range.start_bound() {
        Bound::Included(least) => format!("at least {}", show(least)),
        Bound::Excluded(least) => format!("more than {}", show(least)),
        Bound::Unbounded => String::new(),
    };
    let most = match range.end_bound() {
        Bound::Included(most) => format!("at most {}", show(most)),
        Bound::Excluded(most) => format!("less than {}", show(most)),
        Bound::Unbounded => String::new(),
    };
    let and = if least.is_empty() || most.is_empty() { "" } else { " and " };
    Err(format!("{} must be {least}{and}{most}", show(&value)))
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a section",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, micros) in [
            ("2.5s", 2_500_000),
            ("250ms", 250_000),
            ("10m", 600_000_000),
            ("1h", 3_600_000_000),
            ("5 ms", 5_000),
            ("40us", 40),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_micros(micros)), "{text}");
        }
        for text in ["", "5", "s", "-1s", "1.2.3s", "5 seconds", "99999999999999999999999h"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", 0),
            ("65536", 65_536),
            ("8KiB", 8_192),
            ("64K", 64_000),
            ("1.5MiB", 1_572_864),
            ("4 GiB", 4 << 30),
            ("7B", 7),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "KiB", "-1", "8Kib", "8KiB/s", "8bit", "18446744073709551616", "1e3"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
        assert_eq!(show_size(131_072), "128KiB");
        assert_eq!(show_size(1000), "1000B");
    }

    #[test]
    fn addresses() {
        assert!(parse_socket_address("[::1]:7400").is_ok());
        for (text, hint) in [("7400", "127.0.0.1:7400"), ("localhost:7400", "ADDRESS:PORT"), ("::1", "[::1]:7400")] {
            assert!(parse_socket_address(text).unwrap_err().contains(hint), "{text}");
        }
    }
}
