//! Whether what was learnt is the line, or lines of those who taught it.
//!
//! To a node, three peers at slow lines of their own look like one slow line. When somebody else comes who wants more, the node tries once
//! without what it learnt. If all together get no more than before though he got a part, they share a line, and it is proven; if
//! they get more, that is what is known next. If his part was too small to tell, the next doubt waits, longer each time.

use super::{RoundObservation, Witnesses};

/// Part of all that somebody must have for him to be more than a visitor: a tenth of a round of a fair share.
const WORTH: f64 = 0.03;
/// Part of all that somebody must have for it to show in the sum.
const TELLING: f64 = 0.1;
/// The sum is what it was if it grew by no more than this: half of what would show.
const SAME: f64 = 1.05;
/// Rounds until the next doubt after one that told nothing, at first, and at most: a minute.
const PAUSE_MIN: u32 = 3;
const PAUSE_MAX: u32 = 24;

#[derive(Clone, Debug, Default)]
pub(super) struct Doubt {
    /// Who was there when the line was learnt.
    taught_by: Witnesses,
    /// What is known is the line's.
    is_proven: bool,
    /// What was the line's last.
    proven: Option<f64>,
    /// What is doubted now: learnt by `taught_by`.
    doubted: Option<f64>,
    /// Rounds that are still to go before the next doubt, and how many there were after the last.
    pause: u32,
    last_pause: u32,
}

impl Doubt {
    /// Whether to do without `capacity` from now on, because somebody else came who wants more.
    pub(super) fn arises(&mut self, capacity: f64, seen: &RoundObservation) -> bool {
        self.pause = self.pause.saturating_sub(1);
        let is_due = !self.is_proven && self.doubted.is_none() && self.pause == 0 && seen.short_of_tokens;
        let arises = is_due && seen.witnesses.part_beside(&self.taught_by).is_some_and(|part| part >= WORTH);
        if arises {
            self.doubted = Some(capacity);
        }
        arises
    }

    /// The network, not a total, held a round: so much was carried.
    pub(super) fn taught(&mut self, used: f64, seen: &RoundObservation) {
        self.is_proven = seen.witnesses.are_many();
        if let Some(doubted) = self.doubted.take() {
            let is_same = used <= SAME * doubted;
            let tells = seen.witnesses.part_beside(&self.taught_by).is_some_and(|part| part >= TELLING);
            self.is_proven |= is_same && tells;
            self.last_pause = if is_same && !tells { (2 * self.last_pause).clamp(PAUSE_MIN, PAUSE_MAX) } else { 0 };
            self.pause = self.last_pause;
        }
        self.taught_by = seen.witnesses.clone();
    }

    /// These had part in a try that came through.
    pub(super) fn witnessed(&mut self, seen: &RoundObservation) {
        self.taught_by = seen.witnesses.clone();
    }

    /// What is known changed.
    pub(super) fn follow(&mut self, capacity: f64) {
        if self.is_proven {
            self.proven = Some(capacity);
        }
    }

    /// What was last the line's, for certain.
    pub(super) fn proven(&self) -> Option<f64> {
        self.proven
    }
}
