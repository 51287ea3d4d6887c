//! What the page cache was found to hold of a file a moment ago: whoever reads the same part of it in the next moment need not ask
//! the kernel again. A crowd that began together reads in step, and asking takes a tenth of what sending does.

use std::{
    ops::Range,
    sync::Mutex,
    time::{Duration, Instant},
};

/// How long an answer is good. The kernel takes pages that were not used for longest, and not within a moment of their use; only
/// whoever has a file's pages dropped on purpose can make one of these few wait for a disk.
const GOOD_FOR: Duration = Duration::from_millis(20);

/// A part of one open file that is in memory.
#[derive(Debug, Default)]
pub(super) struct Residence(Mutex<Found>);

#[derive(Debug, Default)]
struct Found {
    span: Range<u64>,
    /// When the oldest part of it was found; `None`: nothing was.
    at: Option<Instant>,
}

impl Found {
    fn is_good(&self, now: Instant) -> bool {
        self.at.is_some_and(|at| now.saturating_duration_since(at) < GOOD_FOR)
    }
}

impl Residence {
    /// How many of the `len` bytes at `offset` are in memory, from the first on: as it was known a moment before `now`, or as `ask`
    /// finds.
    pub(super) fn of(&self, offset: u64, len: u64, now: Instant, ask: impl FnOnce() -> u64) -> u64 {
        let span = offset..offset.saturating_add(len);
        // Where another worker is at it, asking is quicker than waiting.
        if let Ok(found) = self.0.try_lock()
            && found.is_good(now)
            && found.span.start <= span.start
            && span.end <= found.span.end
        {
            return len;
        }
        let there = ask();
        if there == len
            && let Ok(mut found) = self.0.try_lock()
        {
            let touches = span.start <= found.span.end && found.span.start <= span.end;
            *found = match touches && found.is_good(now) {
                true => Found { span: span.start.min(found.span.start)..span.end.max(found.span.end), at: found.at },
                false => Found { span, at: Some(now) },
            };
        }
        there
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is known of `span`, which is asked for if it must be: whether it was asked.
    fn asks(residence: &Residence, span: Range<u64>, now: Instant) -> bool {
        let (len, mut asked) = (span.end - span.start, false);
        let there = residence.of(span.start, len, now, || {
            asked = true;
            len
        });
        assert_eq!(there, len);
        asked
    }

    #[test]
    fn who_follows_within_a_moment_does_not_ask_and_nobody_relies_on_it_for_longer() {
        let (residence, began) = (Residence::default(), Instant::now());
        let after = |ms| began + Duration::from_millis(ms);
        assert!(asks(&residence, 100..200, after(0)));
        assert!(!asks(&residence, 100..200, after(10)) && !asks(&residence, 150..160, after(10)));
        assert!(
            asks(&residence, 200..300, after(10)) && !asks(&residence, 120..280, after(15)),
            "parts that touch are one"
        );
        assert!(asks(&residence, 120..280, after(20)), "and as old as the older");
        assert!(!asks(&residence, 120..280, after(39)) && asks(&residence, 120..280, after(40)));
        assert!(asks(&residence, 1000..1001, after(41)) && asks(&residence, 120..280, after(41)), "one part is known");
    }

    #[test]
    fn what_was_missing_is_asked_for_again() {
        let (residence, now) = (Residence::default(), Instant::now());
        assert_eq!(residence.of(0, 100, now, || 60), 60);
        assert_eq!(residence.of(0, 50, now, || 0), 0);
        assert_eq!(residence.of(0, 100, now, || 100), 100);
        assert_eq!(residence.of(0, 100, now, || unreachable!("known")), 100);
        assert_eq!(residence.of(u64::MAX, 100, now, || 0), 0, "nothing overflows");
    }
}
