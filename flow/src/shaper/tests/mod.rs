//! The shaper in virtual time.

mod deadlines;
mod limits;
mod loans;
mod random;
mod shares;
mod sim;
mod workers;
