//! Guests: peers without a key, known by the address that they come from. What serves them (HTTP) sees [`Door`] through a port.
//!
//! ```text
//! Door      node-wide: who may come in, and on which worker an address lives      (door)
//! Guest     one address while anything is sent to it: its session, its rates      (attend)
//! Passage   one request: a leaf of the tree, its permission and its meter         (passage)
//! ```
//!
//! All connections of one address live on one worker and are one peer in the tree; each request that has a body is a transfer.
//! An address that has nothing in flight is no peer after a moment, so idle connections cost the allocator nothing.

mod attend;
mod door;
mod id;
mod passage;

pub use door::{Door, GuestLimits};
pub use id::{PeerName, guest_id, only_address_of, parse_peer, shared_address};

pub(crate) use attend::Guests;
pub(crate) use door::Crowd;
pub(crate) use id::address_of;
pub(crate) use passage::PermitSlot;
