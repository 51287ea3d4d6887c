//! The shaper in virtual time.

mod limits;
mod random;
mod shares;
mod sim;
mod workers;
