//! The shaper in virtual time.

mod shares;
mod sim;
