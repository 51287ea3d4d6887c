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

impl Tier {
    pub(crate) const ALL: [Tier; TIERS] = [Tier::Guaranteed, Tier::Lent, Tier::Background];

    pub(crate) const fn index(self) -> usize {
        self as usize
    }

    /// How much of a shared bucket's slack must lie unclaimed before this tier may draw: guarantees of other workers take
    /// what comes in first, because they don't wait for any; foreground elsewhere goes before background here.
    pub(crate) const fn reserve_ns(self) -> u64 {
        match self {
            Tier::Guaranteed => 0,
            Tier::Lent => SLACK_NS / 2,
            Tier::Background => SLACK_NS * 3 / 5,
        }
    }
}
