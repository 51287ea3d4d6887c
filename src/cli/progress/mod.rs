//! What a person sees while files move: bars on a terminal, plain lines elsewhere.

mod bars;
mod plain;

pub use bars::Bars;
pub use plain::Plain;

use std::io::{self, IsTerminal as _};

use crate::node::TransferProgress;

/// The observer that fits standard error.
pub fn for_stderr() -> Box<dyn TransferProgress> {
    let stderr = io::stderr();
    match stderr.is_terminal() {
        true => Box::new(Bars::new()),
        false => Box::new(Plain::new(stderr)),
    }
}

/// Bytes as a person says them: `1.5 GB`, powers of 1000 as in rates.
pub fn show_bytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    if value < 999.5 {
        return format!("{bytes} B");
    }
    let mut unit = "B";
    for next in ["KB", "MB", "GB", "TB", "PB", "EB"] {
        if value < 999.95 {
            break;
        }
        value /= 1000.0;
        unit = next;
    }
    format!("{value:.1} {unit}")
}

/// Seconds as a person says them: `3 min 20 s`.
pub fn show_seconds(seconds: f64) -> String {
    // A day is where nobody counts minutes any more.
    let whole = seconds.clamp(0.0, 1e9).ceil() as u64;
    match whole {
        0..60 => format!("{whole} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        3600..86_400 => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
        _ => format!("{} d {} h", whole / 86_400, whole % 86_400 / 3600),
    }
}

/// How much of `size` `offset` is, in whole percent; 100 only at the end.
fn percent(offset: u64, size: u64) -> u64 {
    if size == 0 {
        return 100;
    }
    (u128::from(offset.min(size)) * 100 / u128::from(size)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_times_read_well() {
        for (bytes, text) in [(0, "0 B"), (999, "999 B"), (1000, "1.0 KB"), (1_500_000_000, "1.5 GB")] {
            assert_eq!(show_bytes(bytes), text);
        }
        assert_eq!(show_bytes(u64::MAX), "18.4 EB");
        for (seconds, text) in [(0.2, "1 s"), (59.0, "59 s"), (200.0, "3 min 20 s"), (3700.0, "1 h 1 min")] {
            assert_eq!(show_seconds(seconds), text);
        }
        assert_eq!(show_seconds(f64::INFINITY), "11574 d 1 h");
        assert_eq!((percent(999, 1000), percent(0, 0), percent(u64::MAX, u64::MAX)), (99, 100, 100));
    }
}
