//! The whole room on real loopback sockets, before a fake front.

mod hostile;
mod links;
pub(super) mod stage;
mod ways;
