//! Links as an actor sees them: control messages and data chunks, polled; no sockets, no TLS, no framing.
//!
//! A transport (TCP, QUIC) adapts its streams to these traits and hands finished links to the [`Front`].
//! Nothing here blocks, and nothing buffers more than one chunk.

use std::{
    fmt, io,
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use flow::{Mode, Rate};
use wire::{DataHeader, Message, PeerId, Refusal, Token, Violation, Ways};

use super::{PortFuture, Source};

/// Which transport carries a link; a label of metrics and of the API.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Hash, Ord, PartialOrd)]
pub enum Transport {
    /// TCP with TLS 1.3.
    Tcp,
    /// TCP without encryption: a data link on a trusted network.
    TcpPlain,
    /// HTTP/1.1, encrypted or not.
    Http,
    /// QUIC over UDP.
    Quic,
}

impl Transport {
    /// Every transport, in the order of the metrics table.
    pub const ALL: [Self; 4] = [Self::Tcp, Self::TcpPlain, Self::Http, Self::Quic];

    /// The label's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::TcpPlain => "tcp_plain",
            Self::Http => "http",
            Self::Quic => "quic",
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The other end of a link.
#[derive(Copy, Clone, Debug)]
pub struct Remote {
    /// Proven by the handshake.
    pub peer: PeerId,
    /// Where its packets come from.
    pub address: SocketAddr,
    /// What carries the link.
    pub transport: Transport,
}

/// Why a link ended, by who acts next.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The network or the other side went away: dialling again may help.
    #[error("{0}")]
    Lost(#[source] io::Error),
    /// The peer broke the protocol: close, count, do not retry.
    #[error("the peer broke the protocol: {0}")]
    PeerFault(#[from] Violation),
    /// The peer's identity is not the one expected: a human must decide.
    #[error("{0}")]
    Identity(String),
    /// The handshake did not finish in time.
    #[error("no answer within {0} ms")]
    HandshakeTimeout(u64),
    /// This machine is at fault (descriptors, memory, a bad address).
    #[error("{0}")]
    Local(String),
}

/// What the sockets said when a sender was last blocked (`TCP_INFO`).
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq)]
pub enum Pressure {
    /// The path: congestion window or link speed.
    #[default]
    Network,
    /// The receiver's window.
    Receiver,
}

/// Receives control messages.
pub trait ControlReceiver: Send {
    /// The next message; `Ok(None)` when the peer closed the link cleanly between two frames.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Message>, LinkError>>;
}

/// Sends control messages, in order.
pub trait ControlSender: Send {
    /// Puts `message` behind those not yet flushed. The actor bounds how many that are.
    fn start_send(&mut self, message: &Message) -> Result<(), LinkError>;
    /// Ready when everything has been handed to the kernel.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LinkError>>;
    /// Flushes and closes the sending side.
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LinkError>>;
}

/// What a data chunk carries.
pub enum Payload {
    /// Bytes in memory.
    Memory(Bytes),
    /// The bytes at `offset` of a file that were found in memory a moment ago; only links of [`Transport::TcpPlain`] take it.
    /// What the file lacks by then is sent as zeros: its hash will not fit, and the transfer fails with the reason.
    File {
        /// The file.
        source: Arc<dyn Source>,
        /// Where in it.
        offset: u64,
    },
}

impl From<Bytes> for Payload {
    fn from(bytes: Bytes) -> Self {
        Self::Memory(bytes)
    }
}

/// Receives data chunks: first the header, so that permission can be asked for, then the payload.
pub trait DataReceiver: Send {
    /// The next chunk's header; `Ok(None)` when the peer closed the link between two chunks. Idempotent until
    /// [`DataReceiver::poll_payload`] has been ready. Does not read the payload from the socket beyond what came with the
    /// header.
    fn poll_header(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<DataHeader>, LinkError>>;
    /// The payload of the header just seen, whole.
    fn poll_payload(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, LinkError>>;
    /// From now on the link is in `mode`: in bulk it may take more from the kernel at once, up to one quantum that waits here.
    fn set_mode(&mut self, _mode: Mode) {}
    /// From now on the link is read at `rate` at most: a transport with credit of its own lets no more wait unread than that
    /// brings in `unread`. Credit that was given before cannot be taken back.
    fn set_rate(&mut self, _rate: Rate, _unread: Duration) {}
}

/// Sends data chunks, one at a time: a chunk is started only after the one before has been flushed.
pub trait DataSender: Send {
    /// Takes one chunk. Must only be called when everything before was flushed.
    fn start_send(&mut self, header: DataHeader, payload: Payload) -> Result<(), LinkError>;
    /// Ready when the chunk has been handed to the kernel; pending while the socket is full.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LinkError>>;
    /// Flushes and closes the sending side.
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LinkError>>;
    /// What blocks this link, asked while a flush is pending.
    fn pressure(&mut self) -> Pressure;
    /// Bytes that the kernel holds of what it was handed: not sent, or not acknowledged.
    fn unacknowledged_bytes(&self) -> u64;
}

/// The two halves of a control link whose handshake is done.
pub struct ControlLink {
    /// Who is at the other end.
    pub remote: Remote,
    /// Its messages.
    pub receiver: Box<dyn ControlReceiver>,
    /// Ours.
    pub sender: Box<dyn ControlSender>,
    /// Where the session's data links go, as the welcome says it ([`wire::Welcome::data_endpoint`]); nothing on a link that
    /// was dialled.
    pub data_endpoint: String,
}

/// The two halves of a data link whose handshake is done.
pub struct DataLink {
    /// Where it comes from. On a plaintext link the peer is the one whom the token names.
    pub address: SocketAddr,
    /// The id that the handshake proved, if there was one.
    pub peer: Option<PeerId>,
    /// What carries it.
    pub transport: Transport,
    /// Which ways it carries, as its first bytes say.
    pub ways: Ways,
    /// Chunks from the peer. There also where none may come: what comes all the same is a violation.
    pub receiver: Box<dyn DataReceiver>,
    /// Chunks to the peer; `None` where the link carries none to it.
    pub sender: Option<Box<dyn DataSender>>,
}

/// A data link that has shown its token.
pub struct DataArrival {
    /// What the peer brought; good once.
    pub token: Token,
    /// The link.
    pub link: DataLink,
}

/// What a transport's listener calls. Implemented by the node; called on the worker thread where the link lives.
pub trait Front: Send + Sync + 'static {
    /// How many workers there are; a listener spreads control links over them.
    fn workers(&self) -> usize;
    /// Runs `job` on worker `index` (modulo their number): sockets are registered where they will be used.
    fn run_on(&self, index: usize, job: Box<dyn FnOnce() + Send>);
    /// The worker on which the session that was given `token` lives, if there is one.
    fn route(&self, token: &Token) -> Option<usize>;
    /// Admission before any handshake: `Err` names the reason (connection limit, draining); it has been counted.
    fn admit(&self, address: SocketAddr) -> Result<Box<dyn Send>, &'static str>;
    /// What [`Front::admit`] would say, and nothing is taken: for an address that is not proven yet. Anybody can write it on his
    /// datagrams, and must not take the places of whoever is there.
    fn may_come(&self, address: SocketAddr) -> Result<(), &'static str>;
    /// Whether one more hello may be heard before it is proven that its peer is there now, where `unproven` such links are heard
    /// already. Whoever has tickets, his own or stolen ones, can say many and never come; each would take a session.
    fn hears_early(&self, unproven: usize) -> bool;
    /// A control link arrived on the current worker.
    fn control(&self, link: ControlLink);
    /// A data link arrived on the current worker. `Err` has been counted; the transport closes the link.
    fn data(&self, arrival: DataArrival) -> Result<(), Refusal>;
    /// Something went wrong before there was a session; counted, and logged once per interval.
    fn fault(&self, address: SocketAddr, fault: LinkFault);
}

/// What can go wrong on a link before there is a session; a label of the refusals counter.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Hash)]
pub enum LinkFault {
    /// Neither TLS nor the data magic.
    Magic,
    /// TLS failed: wrong protocol, no certificate, bad signature.
    Tls,
    /// Nothing, or not enough, within the handshake time.
    HandshakeTimeout,
    /// A data link whose token is missing, unknown or used.
    Token,
    /// The connection went away.
    Lost,
    /// A plaintext data link where `data_encryption` is on.
    Plaintext,
    /// Too many handshakes are under way: a QUIC newcomer has to show first that it is where it says.
    Unproven,
    /// A QUIC datagram of a version that is not spoken here.
    Version,
    /// A datagram that is no QUIC, or belongs to a connection that is not here and never was.
    Stray,
}

impl LinkFault {
    /// Each of them.
    pub const ALL: [Self; 9] = [
        Self::Magic,
        Self::Tls,
        Self::HandshakeTimeout,
        Self::Token,
        Self::Lost,
        Self::Plaintext,
        Self::Unproven,
        Self::Version,
        Self::Stray,
    ];

    /// The label's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Magic => "magic",
            Self::Tls => "tls",
            Self::HandshakeTimeout => "handshake_timeout",
            Self::Token => "token",
            Self::Lost => "lost",
            Self::Plaintext => "plaintext",
            Self::Unproven => "unproven",
            Self::Version => "version",
            Self::Stray => "stray",
        }
    }
}

/// What the welcome says of one data link.
#[derive(Clone)]
pub struct DataOffer {
    /// What the link shows; good once.
    pub token: Token,
    /// Which ways it is to carry.
    pub ways: Ways,
    /// [`wire::Welcome::data_endpoint`].
    pub endpoint: String,
    /// [`wire::Welcome::data_route`]; empty: none.
    pub route: String,
    /// [`wire::Welcome::plaintext_data`]; only TCP has such links.
    pub plaintext: bool,
}

/// What a client session uses to reach its node.
pub trait Dialer: Send + Sync + 'static {
    /// Opens the control link: connects, shakes hands, checks the pinned id.
    fn control(&self) -> PortFuture<Result<ControlLink, LinkError>>;
    /// Opens one data link to the node that answered the control link.
    fn data(&self, offer: DataOffer) -> PortFuture<Result<DataLink, LinkError>>;
}
