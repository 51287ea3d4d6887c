//! The language that Evenkeel's peers speak: ids, messages, frames, and the session as a state machine.
//!
//! Pure: no clock, no task, no I/O. Callers pass bytes, messages and moments in and get messages and events out, so that two
//! sessions can be run against each other in virtual time. The rules are those of DESIGN sections 3 and 14; the messages are
//! written down for other languages in `proto/evenkeel.proto`.

mod frame;
mod limits;
mod message;
mod peer_id;
mod session;
mod token;
mod violation;
mod ways;
mod words;

pub use frame::{
    DATA_HEADER_BYTES, DATA_PREFACE_BYTES, DataHeader, DataPreface, EncodeError, FrameDecoder, encode_message,
};
pub use limits::{
    AGENT_BYTES_MAX, CONTROL_FRAME_BYTES_MAX, DATA_PAYLOAD_BYTES_MAX, Limits, PATH_BYTES_MAX, WEIGHT_THOUSANDTHS_MAX,
    WORDS_BYTES_MAX,
};
pub use message::{
    Begin, Cancel, ClassCode, DesiredRates, ENTRIES_MAX, Entry, EntryKind, Failed, FailureCode, Finished, GETS_MAX,
    Get, Goodbye, GoodbyeCode, Granted, Hello, LISTS_MAX, List, ListError, Listing, Message, MessageKind, Opened, Ping,
    Pong, Progress, Proportion, Proportions, Put, Ready, Refusal, RefusalCode, SHARES_MAX, Stored, TOKENS_MAX, Welcome,
    Window,
};
pub use peer_id::{PeerId, PeerIdError};
pub use session::{Accepted, Event, Exit, GetRequest, Output, PutRequest, Role, Session, SessionError, TransferStatus};
pub use token::Token;
pub use violation::Violation;
pub use ways::{DataLinks, Ways};
pub use words::{escaped, printable};

/// ALPN of control links.
pub const ALPN_CONTROL: &[u8] = b"evenkeel/1";
/// ALPN of data links.
pub const ALPN_DATA: &[u8] = b"evenkeel-data/1";
/// The version in a hello. A server that does not speak it refuses with [`RefusalCode::Version`].
pub const PROTOCOL_VERSION: u32 = 1;
