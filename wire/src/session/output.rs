//! What a session wants done: data for its shell, which owns the links.

use std::{fmt, time::Duration};

use flow::Rate;

use crate::{
    Begin, Failed, Get, Goodbye, Hello, List, Listing, Message, Opened, Put, Ready, Refusal, Violation, Welcome,
};

/// One thing to do, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Put this on the control link.
    Send(Message),
    /// Something happened that the shell must know.
    Event(Event),
    /// Flush, close all links of the session, forget it. The last output.
    Close(Exit),
}

/// What the peer said, checked against the session's state.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Server: answer with [`crate::Session::welcome`] or [`crate::Session::refuse`]. Its gets were taken out; they come as
    /// [`Event::Get`] after the welcome.
    Hello(Hello),
    /// Client: the session is open; dial the data links.
    Welcomed(Welcome),
    /// Client: the session is over.
    Refused(Refusal),
    /// Server: answer with [`crate::Session::listing`] or [`crate::Session::list_failed`].
    List(List),
    /// Client: the answer to a list.
    Listing(Listing),
    /// Server: answer with [`crate::Session::opened`] or [`crate::Session::fail`].
    Get(Get),
    /// Client: data of this get may come.
    Opened(Opened),
    /// Server: answer with [`crate::Session::ready`] or [`crate::Session::fail`].
    Put(Put),
    /// Client: verify the prefix, then [`crate::Session::begin`].
    Ready(Ready),
    /// Server: data of this put may come.
    Begin(Begin),
    /// Sender: more may be sent; see [`crate::Session::sendable`].
    WindowMoved {
        /// Which transfer.
        transfer: u32,
        /// The absolute offset that must not be passed.
        limit: u64,
    },
    /// Receiver: the sender has sent everything. Control overtakes data: the last bytes may still be on their way, so the
    /// file is finished when `size` bytes are *written*. Then [`crate::Session::stored`] or [`crate::Session::fail`].
    Finished {
        /// Which transfer.
        transfer: u32,
        /// Bytes of the whole file, as announced.
        size: u64,
        /// BLAKE3 of the whole file.
        hash: [u8; 32],
    },
    /// Sender: the receiver has it safe. The transfer is over.
    Stored {
        /// Which transfer.
        transfer: u32,
    },
    /// The peer gave up a transfer. It is over.
    Failed(Failed),
    /// The peer does not want a transfer any more. It is over.
    Cancelled {
        /// Which transfer.
        transfer: u32,
    },
    /// Server: the client wants other rates. As the client sees them: `upload` is what it wants to send.
    Desired {
        /// Client to server.
        upload: Rate,
        /// Server to client.
        download: Rate,
    },
    /// Server: the client wants its rate shared like this: transfer and weight. Only live transfers are named.
    Proportions(Vec<(u32, f64)>),
    /// Client: the rates it has from now on, as it sees them.
    Granted {
        /// Client to server.
        upload: Rate,
        /// Server to client.
        download: Rate,
    },
    /// Sender: the receiver has this much on disk.
    Progress {
        /// Which transfer.
        transfer: u32,
        /// The offset up to which everything is on disk.
        stored: u64,
    },
    /// A ping came back.
    Pong {
        /// Since it was sent.
        rtt: Duration,
    },
    /// The peer takes no new transfers; those that live go on.
    Draining,
    /// The peer ended the session.
    Goodbye(Goodbye),
}

/// How a session ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Exit {
    /// Nothing was left to do.
    Clean,
    /// The server refused, whichever end this is.
    Refused(Refusal),
    /// The peer broke the protocol.
    Violation(Violation),
    /// A deadline passed: `handshake`, `silence` or `drain`.
    TimedOut(&'static str),
    /// We ended it early.
    Left(Goodbye),
    /// The peer ended it early.
    PeerLeft(Goodbye),
    /// The control link closed without a goodbye.
    PeerGone,
}

impl Exit {
    /// The label of the counter of ended sessions.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Refused(_) => "refused",
            Self::Violation(_) => "violation",
            Self::TimedOut(_) => "timed_out",
            Self::Left(_) => "left",
            Self::PeerLeft(_) => "peer_left",
            Self::PeerGone => "peer_gone",
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Clean => f.write_str("nothing left to do"),
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Violation(violation) => write!(f, "the peer broke the protocol: {violation}"),
            Self::TimedOut("handshake") => {
                f.write_str("nobody answered the hello in time: is the other end up, and does every firewall between let it through?")
            }
            Self::TimedOut(what) => write!(f, "timed out ({what})"),
            Self::Left(goodbye) => write!(f, "ended here: {goodbye}"),
            Self::PeerLeft(goodbye) => write!(f, "ended by the peer: {goodbye}"),
            Self::PeerGone => f.write_str("the connection was lost"),
        }
    }
}
