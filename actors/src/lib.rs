//! Who acts in Evenkeel: the peer actor and its two lanes, the allocator actor, and the ports through which they reach
//! links, files and the operator.
//!
//! Actors hold no socket and no clock of their own; adapters in the program implement the [`port`]s. What is to be decided
//! is decided in `flow` (rates) and `wire` (protocol); actors carry it out.

mod alarm;
pub mod allocator;
mod clock;
mod front;
pub mod guest;
mod home;
mod inbox;
mod link_mode;
pub mod log_gate;
mod meter;
pub mod metric;
mod node;
mod operate;
pub mod peer;
pub mod port;
mod precedence;
mod registry;
mod shared;
mod spread;
#[cfg(test)]
mod testing;
mod trail;
pub mod view;
mod worker;

pub use allocator::Standings;
pub use clock::Clock;
pub use home::Home;
pub use node::{Node, SessionHandle, Threads, Tree};
pub use operate::NodeConsole;
pub use precedence::Precedence;
pub use registry::{LeafEntry, NodeSettings, PeerEntry, Registry, SessionEntry};
pub use shared::{GroupRule, NodeConfig, PlanBook, Shared};
