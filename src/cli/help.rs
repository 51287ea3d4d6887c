//! Words that several commands' help shares. Every command's help ends with examples; a test parses each of them.

/// How rates are written.
pub(super) const RATES: &str = "\
Rates: 500K, 10MB/s, 10MiB/s, 100Mbit/s. K M G are powers of 1000, Ki Mi Gi of 1024; `bit` is bits, `B` or nothing is \
bytes, always per second; 0 or `off` is unlimited. 10Mb and kbps are refused, because nobody can tell what they mean.";

/// The table of exit codes for `evenkeel --help`.
pub(super) const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 a transfer or order failed, 2 usage, 64 bad configuration, 65 a file failed its BLAKE3 check, \
69 nobody answers, 71 this machine is in the way (port in use, state directory), \
75 sessions were cut off, 77 refused, 130 interrupted.";

/// What the examples below a help begin with.
#[cfg(test)]
pub(super) const EXAMPLE_PREFIX: &str = "  evenkeel ";

/// `text` followed by `Examples:` and the lines of `examples`.
macro_rules! examples {
    ($($line:literal),+ $(,)?) => { concat!("Examples:", $("\n  evenkeel ", $line),+) };
    ($text:expr; $($line:literal),+ $(,)?) => { format!("{}\n\n{}", $text, examples!($($line),+)) };
}
pub(super) use examples;
