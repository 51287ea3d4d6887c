//! Which transfer may hand its next quantum to the kernel, and when (DESIGN section 6).
//!
//! One [`Shaper`] per worker thread and direction. It is told `now` and answers "this leaf may go, with so many bytes" and
//! "wake me at". The tree is root > group > peer > leaf. Every limit is a clock (`clock.rs`): one moment up to which
//! permission has been spent. Those that span workers are a [`SharedBucket`], an atomic clock.
//!
//! A leaf that asks is *guaranteed* while it is within its assignment, else it *borrows* what others leave, by weight, up
//! to its ceiling and every limit above it. Guarantees go first, earliest deadline first (`due.rs`), then foreground borrowers,
//! then background borrowers; in these two tiers turns go round by weight (`ring.rs`), over groups, their peers, their leaves.
//!
//! A worker is woken on a grid, for all that falls due until then. A leaf that was released asks again a moment later, off the grid:
//! for half a millisecond nothing of what it will take is lent, and background leaves be what foreground will take.
//!
//! Who must wait for a clock of its own sits on a timing wheel (`wheel.rs`) and in no ring. Only the total is waited for by
//! the shaper as a whole. So a release costs a walk of three turns, whatever the number of leaves, and an idle leaf nothing.

mod bucket;
#[cfg(any(test, debug_assertions))]
mod check;
mod clock;
mod due;
mod keys;
mod leaf;
mod line;
mod loans;
mod mode;
mod pace;
mod peer;
mod peer_node;
mod quantum;
mod ring;
#[allow(clippy::module_inception, reason = "the noun of this room is its main type")]
mod shaper;
#[cfg(test)]
mod tests;
mod tier;
mod tree;
mod waking;
mod wheel;

/// From so many leaves on the processor's bill counts, and quanta are larger.
const MANY_LEAVES: usize = 256;

pub use bucket::SharedBucket;
pub use keys::{KeyHasher, KeyMap};
pub use leaf::LeafRates;
pub use mode::{Marks, Mode, ModeSwitch};
pub use quantum::ShaperConfig;
pub use shaper::{Release, Shaper};
