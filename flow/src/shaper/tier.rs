//! In what order permission is given: guarantees, then what foreground leaves borrow, then what background leaves borrow.

use super::clock::SLACK_NS;

/// A leaf with a request stands in exactly one tier; a lower one is served only when no higher one can use the permission.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Debug)]
#[repr(u8)]
pub(crate) enum Tier {
    /// Within what the allocator assigned.
    Guaranteed = 0,
    /// A foreground leaf beyond its assignment.
    Lent = 1,
    /// A background leaf beyond its assignment.
    Background = 2,
}

pub(crate) const TIERS: usize = 3;

/// Tiers in which turns are taken.
pub(crate) const RINGS: usize = TIERS - 1;

impl Tier {
    pub(crate) const ALL: [Tier; TIERS] = [Tier::Guaranteed, Tier::Lent, Tier::Background];

    pub(crate) const fn index(self) -> usize {
        self as usize
    }

    /// Which of a node's rings is its; guarantees have none and go as they fall due.
    pub(crate) const fn ring(self) -> Option<usize> {
        (self as usize).checked_sub(1)
    }

    /// How much of a shared bucket's slack must lie unclaimed before this tier may draw. Guarantees of other workers take
    /// what comes in first, because they wait for none of it; foreground elsewhere goes before background here since that is held
    /// (`Shaper::held_until`). A worker that is alone needs a reserve only so that foreground that is just about to ask again is not overtaken.
    pub(crate) const fn reserve_ns(self, alone: bool) -> u64 {
        match (self, alone) {
            (Tier::Guaranteed, _) | (Tier::Lent, true) => 0,
            (Tier::Background, true) => SLACK_NS / 5,
            (Tier::Lent | Tier::Background, false) => SLACK_NS / 2,
        }
    }
}
