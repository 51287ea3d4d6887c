//! The allocator actor (seed 003): every few seconds, and soon after a join or a leave, it reads all meters, calls the pure
//! function in `flow`, publishes the plan, and tells those peers whose rates moved.

mod actor;
mod floors;
mod order;
mod rests;
mod round;
mod survey;
#[cfg(test)]
mod tests;
mod trails;
mod witnesses;

pub use actor::Allocator;
pub use order::{Order, Standings, Target};
