//! The peer actor: one session, its control lane and its data lane.
//!
//! The actor is a thin shell around [`wire::Session`]: it feeds the machine with what comes in over either lane and carries
//! out what it says. Uploads (node to peer) and downloads (peer to node) are the same code on a node and on a client.

mod actor;
mod backlog;
pub mod client;
mod disk;
mod dispatch;
mod download;
mod link;
mod membership;
mod message;
mod serve;
#[cfg(feature = "lanes-off")]
mod unlaned;
mod upload;
mod user;
mod ways;

pub use actor::{PeerActor, Start};
pub(crate) use link::InSocket;
pub(crate) use membership::Membership;
pub use message::{ControlMessage, DataMessage, LeafRate};
