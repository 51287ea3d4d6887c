//! The shaper in virtual time.

mod deadlines;
mod limits;
mod random;
mod shares;
mod sim;
mod workers;
