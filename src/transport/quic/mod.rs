//! QUIC beneath the ports of `actors` (DESIGN 9): the same links as over TCP, in datagrams.
//!
//! Control and data are connections of their own on UDP sockets of their own, at both ends, and the data sockets look after the
//! control socket before they read. A node reads its control socket on a thread of its own; on the thread where both meet data
//! does nothing while a control message is on its way through ([`urgency`]). On each connection there is one bidirectional stream
//! with the same frames as over TCP: control messages, or a token and then chunks. A data link that carries one way has a
//! unidirectional stream instead: up it carries the token and then chunks; down the token comes up on one, and the chunks go down
//! on another.
//!
//! ```text
//! accepting   control socket (ControlThread) --Incoming--> run_on(worker) --> Arrival --> Front::control
//!             data socket of each worker ------------------> Arrival --> Front::data
//! dialling    QuicDialer --> EarlyLink (a node that is known) | handshake --> ControlLink | DataLink
//! ```
//!
//! What comes to a node's socket goes through a [`door`], which keeps what is sent to an address within its limit until somebody has
//! shown that he is there ([`unproven`]).
//!
//! Each worker has a data socket of its own: a connection's datagrams, its cipher and its session are on one thread, and the
//! welcome names that socket's port.
//!
//! One stream for all transfers of a data link, not one for each (DESIGN 3.5): a link's port is one sequence of chunks, each
//! with its transfer's number, and it never says that a transfer has ended. What a stream for each would bring, that a slow
//! receiver holds back one file alone, the windows of the transfers do already, over both transports alike. What is given up is
//! that a lost packet delays the other transfers of its link for a round trip, as on TCP.

mod arrival;
mod bounded;
mod careful;
mod client;
mod control_thread;
mod data_sender;
mod dialer;
mod door;
mod early;
mod gauge;
mod halves;
mod handshakes;
mod instead;
#[cfg(feature = "one-connection")]
mod joined;
mod listener;
mod nudge;
mod place;
mod proof;
mod refused;
mod reset;
mod runtime;
mod sessions;
mod socket;
mod strays;
mod tickets;
mod tls;
mod tuning;
mod turned_away;
mod unproven;
mod urgency;

#[cfg(test)]
mod tests;

pub use client::QuicClient;
pub use dialer::QuicDialer;
pub use listener::{QuicConfig, QuicListener};

/// The one server name. Data links need no route in it, since each worker has a port; and tickets are good only for the name
/// that they were given for.
const SERVER_NAME: &str = "evenkeel";

/// How a connection is closed whose end was not said on a stream: nothing to explain.
const CLOSED: quinn::VarInt = quinn::VarInt::from_u32(0);
/// A data connection without a token, or with one that is not good.
const CLOSED_TOKEN: quinn::VarInt = quinn::VarInt::from_u32(1);
