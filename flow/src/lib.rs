//! The mathematics of Evenkeel: what rate each transfer deserves, and when each byte may go.
//!
//! Pure: no clock, no task, no I/O. Callers pass [`Moment`]s and snapshots in and get plans and releases out, so that
//! every rule can be tested in virtual time. Words and rules are those of DESIGN sections 1 and 5 to 7.

pub mod allocation;
mod binding;
mod class;
mod direction;
mod fairness;
mod key;
mod limiter;
mod meter;
mod moment;
mod rate;
pub mod shaper;
mod total;

pub use binding::Binding;
pub use class::{Class, ClassError};
pub use direction::Direction;
pub use fairness::{jain, weighted_max_min};
pub use key::{GroupKey, LeafKey, PeerKey};
pub use limiter::{Limiter, LimiterShares};
pub use meter::{Ewma, RateWindow};
pub use moment::Moment;
pub use rate::{Rate, RateError};
pub use shaper::{LeafRates, Marks, Mode, ModeSwitch, Release, Shaper, ShaperConfig, SharedBucket};
pub use total::{RoundObservation, TotalController, TotalKnobs, Witnesses};
