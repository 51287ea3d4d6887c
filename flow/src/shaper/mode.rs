//! Two ways to move bytes over one direction of a link, and which of them is in force (seed 001, DESIGN section 8).
//!
//! The rate that decides is the measured one: an assignment says what may be, not what is. Two marks keep it from swinging:
//! at or above the upper one a link goes *bulk*, below the lower one *precise*, between them it stays as it is. What jumps
//! over both is held for a second.

use super::pace::Pace;
use crate::{Moment, Rate};

/// A link that has changed its mode keeps it for so long: the time over which its rate is measured, so that the rate it is
/// judged by next is one that was measured in the new mode.
pub(crate) const DWELL: std::time::Duration = std::time::Duration::from_secs(1);

/// How one direction of a link moves its bytes.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq, Hash)]
pub enum Mode {
    /// Small quanta from memory, each write and read counted by itself.
    #[default]
    Precise,
    /// Large quanta, counted once for each batch, by the cheapest way that the link has.
    Bulk,
}

impl Mode {
    /// Both, by [`Mode::index`].
    pub const ALL: [Self; 2] = [Self::Precise, Self::Bulk];

    /// Position in [`Mode::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }

    /// As the API and the metrics say it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Precise => "precise",
            Self::Bulk => "bulk",
        }
    }
}

impl std::fmt::Display for Mode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The hi-mark and the lo-mark.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct Marks {
    /// At or above it a link goes bulk; unlimited: never.
    pub on: Rate,
    /// Below it a link goes precise.
    pub off: Rate,
}

impl Default for Marks {
    /// Up to 10 MB/s bulk mode is the dearer one, at 25 and 50 it costs the same: `cargo bench --bench field -- modes`.
    fn default() -> Self {
        Marks { on: Rate::from_bytes_per_second(50_000_000), off: Rate::from_bytes_per_second(25_000_000) }
    }
}

/// The mode of one direction of one link. A link that rests keeps its mode until it moves something again: what it does next
/// is judged by its own time, the rest included.
#[derive(Copy, Clone, Debug)]
pub struct ModeSwitch {
    mode: Mode,
    pace: Pace,
    /// When it last changed; `None`: never, and then nothing holds it.
    changed_at: Option<Moment>,
}

impl ModeSwitch {
    /// A link that has moved nothing.
    pub fn new(now: Moment) -> Self {
        ModeSwitch { mode: Mode::Precise, pace: Pace::new(now.as_nanos()), changed_at: None }
    }

    /// The mode in force.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Bytes per second as of the last batch, over about a second.
    pub fn bytes_per_second(&self) -> u64 {
        self.pace.bytes_per_second()
    }

    /// The link has moved `bytes`. Returns the new mode if that changes it.
    pub fn moved(&mut self, bytes: u32, now: Moment, marks: &Marks) -> Option<Mode> {
        self.pace.add(bytes, now.as_nanos());
        let wanted = self.wanted(marks);
        let settling = self.changed_at.is_some_and(|at| now < at + DWELL);
        if wanted == self.mode || settling {
            return None;
        }
        self.mode = wanted;
        self.changed_at = Some(now);
        Some(wanted)
    }

    fn wanted(&self, marks: &Marks) -> Mode {
        let rate = self.bytes_per_second();
        match self.mode {
            // A rate that can be told is below "unlimited", so that mark is never reached.
            Mode::Precise if rate >= marks.on.bytes_per_second() => Mode::Bulk,
            Mode::Bulk if rate < marks.off.bytes_per_second() && !marks.off.is_unlimited() => Mode::Precise,
            Mode::Precise | Mode::Bulk => self.mode,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const MARKS: Marks =
        Marks { on: Rate::from_bytes_per_second(2_000_000), off: Rate::from_bytes_per_second(1_000_000) };

    /// A link that moves at `rate(second)` bytes per second in a quantum every 20 ms; the moments of its switches.
    fn switches(seconds: u32, mut rate: impl FnMut(f64) -> f64) -> Vec<(Moment, Mode)> {
        let start = Moment::from_nanos(5_000_000_000);
        let mut switch = ModeSwitch::new(start);
        (1..=seconds * 50)
            .filter_map(|tick| {
                let now = start + Duration::from_millis(20) * tick;
                let bytes = rate(f64::from(tick) * 0.02) * 0.02;
                switch.moved(bytes as u32, now, &MARKS).map(|mode| (now, mode))
            })
            .collect()
    }

    #[test]
    fn goes_where_its_rate_says() {
        for (rate, expected) in [(50e3, 0), (0.9e6, 0), (1.5e6, 0), (1.9e6, 0), (2.1e6, 1), (100e6, 1)] {
            assert_eq!(switches(30, |_| rate).len(), expected, "{rate}");
        }
        let modes = |found: Vec<(Moment, Mode)>| found.into_iter().map(|(_, mode)| mode).collect::<Vec<_>>();
        let down = switches(60, |second| if second < 20.0 { 5e6 } else { 0.5e6 });
        assert_eq!(modes(down), [Mode::Bulk, Mode::Precise]);
        // Between the marks it stays as it is, wherever it came from.
        let between = switches(60, |second| if second < 20.0 { 5e6 } else { 1.5e6 });
        assert_eq!(modes(between), [Mode::Bulk]);
    }

    #[test]
    fn follows_within_seconds() {
        let found = switches(60, |second| if (20.0..40.0).contains(&second) { 4e6 } else { 0.25e6 });
        let after = |(at, _): &(Moment, Mode)| at.as_nanos() as f64 * 1e-9 - 5.0;
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(after(&found[0]) < 22.0 && after(&found[1]) < 44.0, "{found:?}");
    }

    #[test]
    fn a_first_piece_is_no_rate() {
        let start = Moment::from_nanos(1);
        let mut switch = ModeSwitch::new(start);
        assert_eq!(switch.moved(256 << 10, start, &MARKS), None);
        assert_eq!(switch.moved(300 << 10, start, &MARKS), Some(Mode::Bulk), "half a megabyte at once is one");
    }

    #[test]
    fn never_and_always_can_be_said() {
        let start = Moment::from_nanos(1);
        let never = Marks { on: Rate::UNLIMITED, off: Rate::from_bytes_per_second(1) };
        let always = Marks { on: Rate::from_bytes_per_second(2), off: Rate::from_bytes_per_second(1) };
        assert_eq!(ModeSwitch::new(start).moved(u32::MAX, start, &never), None);
        assert_eq!(ModeSwitch::new(start).moved(1024, start, &always), Some(Mode::Bulk));
    }

    #[test]
    fn a_link_that_rested_is_judged_by_its_rest() {
        let start = Moment::from_nanos(1);
        let mut switch = ModeSwitch::new(start);
        assert_eq!(switch.moved(10_000_000, start, &MARKS), Some(Mode::Bulk));
        assert_eq!(switch.moved(64 << 10, start + Duration::from_secs(60), &MARKS), Some(Mode::Precise));
    }

    proptest! {
        #[test]
        fn a_rate_on_a_mark_does_not_flap(
            on_upper: bool,
            noise in prop::collection::vec(0.9f64..1.1, 100),
        ) {
            let mark = if on_upper { 2e6 } else { 1e6 };
            let mut at = noise.iter().cycle();
            // From 5 MB/s down to the mark, or up to it from nothing.
            let found = switches(120, |second| {
                let rate = if !on_upper && second < 5.0 { 5e6 } else { mark };
                rate * at.next().unwrap_or(&1.0)
            });
            prop_assert!(found.len() <= 2, "{found:?}");
        }

        #[test]
        fn whatever_the_rate_does_a_mode_lasts_its_time(
            rates in prop::collection::vec(0f64..20e6, 1..200),
        ) {
            let mut at = rates.iter().cycle();
            let found = switches(60, |_| *at.next().unwrap_or(&0.0));
            for pair in found.windows(2) {
                prop_assert!(pair[1].0.saturating_since(pair[0].0) >= DWELL, "{pair:?}");
            }
        }
    }
}
