//! What a program tells its own client session, and what it hears from it.

use std::sync::Arc;

use flow::{Class, Rate};
use tokio::sync::oneshot;
use wire::{Failed, GoodbyeCode, Listing, Refusal, Welcome};

use crate::port::{FileError, PortFuture, ResumePoint, Sink, SinkMeta, Source};

/// Opens the local file of a get once its size is known.
pub type OpenSink =
    Box<dyn FnOnce(SinkMeta) -> PortFuture<Result<(Arc<dyn Sink>, Option<ResumePoint>), FileError>> + Send>;

/// A file to fetch.
pub struct GetCommand {
    /// The caller's own number for it; comes back in every event.
    pub tag: u64,
    /// `SHARE/PATH`.
    pub path: String,
    /// What is there already.
    pub resume: Option<ResumePoint>,
    /// Its proportion among this session's transfers.
    pub weight: f64,
    /// How urgent.
    pub class: Class,
    /// Opens the local file.
    pub open: OpenSink,
}

/// One page of a listing to fetch.
pub struct ListCommand {
    /// `SHARE/PATH`, `SHARE`, or empty.
    pub path: String,
    /// With everything beneath.
    pub recursive: bool,
    /// Names after this one.
    pub after: String,
    /// The answer.
    pub reply: oneshot::Sender<Listing>,
}

/// What is asked for in the hello itself, so that it costs no round trip of its own. Only what may be heard twice: the hello may
/// travel in a first datagram that somebody else sends again. Beyond a few of each a node answers `TooMany`.
#[derive(Default)]
pub struct First {
    /// Files.
    pub gets: Vec<GetCommand>,
    /// Pages of listings.
    pub lists: Vec<ListCommand>,
}

/// What the user wants.
pub enum Command {
    /// Fetch a file.
    Get(GetCommand),
    /// Send a file.
    Put {
        /// The caller's own number for it.
        tag: u64,
        /// `SHARE/PATH`.
        path: String,
        /// The local file.
        source: Arc<dyn Source>,
        /// Its proportion.
        weight: f64,
        /// How urgent.
        class: Class,
    },
    /// One page of a listing.
    List(ListCommand),
    /// Change the rates that this side desires.
    Desire {
        /// This side to the node.
        upload: Rate,
        /// The node to this side.
        download: Rate,
    },
    /// Change the proportions of one's own transfers, by tag.
    Proportions(Vec<(u64, f64)>),
    /// Give up one transfer.
    Cancel {
        /// Which.
        tag: u64,
    },
    /// Measure a round trip over the control link.
    Ping,
    /// Say goodbye and end.
    Leave,
}

/// What a client session tells its user. The channel is bounded; a user who does not listen holds the session back.
#[derive(Debug)]
pub enum SessionEvent {
    /// The node took us.
    Welcomed(Welcome),
    /// The node did not.
    Refused(Refusal),
    /// A transfer has its file: bytes in all, and where it starts.
    Started {
        /// The caller's number.
        tag: u64,
        /// Where the transfer is measured.
        leaf: Arc<crate::registry::LeafEntry>,
        /// Bytes.
        size: u64,
        /// First byte to move.
        start: u64,
    },
    /// A file is whole, verified and durable at its receiver.
    Done {
        /// The caller's number.
        tag: u64,
    },
    /// A transfer failed.
    Failed {
        /// The caller's number.
        tag: u64,
        /// Why.
        failed: Failed,
    },
    /// The node's grants changed: what this side may send, and receive.
    Granted {
        /// This side to the node.
        upload: Rate,
        /// The node to this side.
        download: Rate,
    },
    /// A round trip of the control link.
    Pong(std::time::Duration),
    /// The session is over.
    Ended {
        /// In words; `None` when it ended as wished.
        why: Option<String>,
        /// What may help.
        next: Next,
    },
}

/// What the user of a session that ended can do.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Next {
    /// Dial again: the line was lost.
    DialAgain,
    /// Come back later, if at all: the node is going down, or nothing was left to do.
    ComeLater,
    /// Ask whoever runs the node: it closed the session on purpose.
    Ask,
}

impl Next {
    /// What the other side's goodbye leaves to do.
    pub(super) fn after(goodbye: GoodbyeCode) -> Self {
        match goodbye {
            // A node that failed, or went down with transfers under way, may be up again soon.
            GoodbyeCode::TimedOut | GoodbyeCode::Internal => Self::DialAgain,
            GoodbyeCode::Disconnected => Self::Ask,
            GoodbyeCode::Unspecified | GoodbyeCode::Done | GoodbyeCode::Draining | GoodbyeCode::Violation => {
                Self::ComeLater
            }
        }
    }
}

impl std::fmt::Debug for crate::registry::LeafEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LeafEntry").field("key", &self.key).field("path", &self.path).finish_non_exhaustive()
    }
}
