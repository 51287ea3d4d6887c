//! What peers say to each other on the control link. The reference for other languages is `proto/evenkeel.proto`; the
//! structs here are written by hand, so that no `protoc` is needed to build, and a test compares the two.
//!
//! Conventions: integers are 0 when absent; rates are bytes per second with 0 for "as much as possible"; *upload* and
//! *download* are seen from whoever says them; offsets are absolute positions in the file; times are nanoseconds since
//! 1970. Enumerations are `i32` fields (a newer peer may send a value that we do not know); the getter of the same name
//! gives the enum, `Unspecified` for values unknown here.

mod code;
mod greeting;
mod kind;
mod listing;
mod pulse;
mod rates;
mod shape;
mod transfer;

pub use code::{ClassCode, EntryKind, FailureCode, GoodbyeCode, RefusalCode};
pub use greeting::{Goodbye, Hello, Refusal, Welcome};
pub use kind::MessageKind;
pub use listing::{Entry, List, ListError, Listing};
pub use pulse::{Ping, Pong};
pub use rates::{DesiredRates, Granted, Progress, Proportion, Proportions};
pub use shape::{ENTRIES_MAX, GETS_MAX, LISTS_MAX, SHARES_MAX, TOKENS_MAX};
pub use transfer::{Begin, Cancel, Failed, Finished, Get, Opened, Put, Ready, Stored, Window};

/// One control message.
#[derive(Clone, PartialEq, ::prost::Oneof)]
pub enum Message {
    /// Client: the first message, with everything.
    #[prost(message, tag = "1")]
    Hello(Hello),
    /// Server: the answer, with everything.
    #[prost(message, tag = "2")]
    Welcome(Welcome),
    /// Server: the other answer. Ends the session.
    #[prost(message, tag = "3")]
    Refusal(Refusal),
    /// Either: are you there?
    #[prost(message, tag = "4")]
    Ping(Ping),
    /// Either: yes.
    #[prost(message, tag = "5")]
    Pong(Pong),
    /// Client: one page of a directory, please.
    #[prost(message, tag = "6")]
    List(List),
    /// Server: the page, or why not.
    #[prost(message, tag = "7")]
    Listing(Listing),
    /// Client: send me this file.
    #[prost(message, tag = "8")]
    Get(Get),
    /// Server: this is how it is, and where I start.
    #[prost(message, tag = "9")]
    Opened(Opened),
    /// Client: take this file.
    #[prost(message, tag = "10")]
    Put(Put),
    /// Server: this is what I have of it, and how far you may go.
    #[prost(message, tag = "11")]
    Ready(Ready),
    /// Client: this is where I start.
    #[prost(message, tag = "12")]
    Begin(Begin),
    /// Receiver of a transfer: you may go this far.
    #[prost(message, tag = "13")]
    Window(Window),
    /// Sender of a transfer: all bytes are sent, this is their hash.
    #[prost(message, tag = "14")]
    Finished(Finished),
    /// Receiver of a transfer: verified and safe on disk. Ends the transfer.
    #[prost(message, tag = "15")]
    Stored(Stored),
    /// Either: it does not go on. Ends the transfer.
    #[prost(message, tag = "16")]
    Failed(Failed),
    /// Either: never mind. Ends the transfer.
    #[prost(message, tag = "17")]
    Cancel(Cancel),
    /// Client: other rates, please.
    #[prost(message, tag = "18")]
    DesiredRates(DesiredRates),
    /// Client: share my rate among my transfers like this.
    #[prost(message, tag = "19")]
    Proportions(Proportions),
    /// Server: the rates you get from now on.
    #[prost(message, tag = "20")]
    Granted(Granted),
    /// Receiver of a transfer: so much is on disk.
    #[prost(message, tag = "21")]
    Progress(Progress),
    /// Either: the end, or the beginning of the end.
    #[prost(message, tag = "22")]
    Goodbye(Goodbye),
}

/// What is inside a control frame.
#[derive(Clone, PartialEq, ::prost::Message)]
pub(crate) struct Frame {
    #[prost(oneof = "Message", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22")]
    pub(crate) kind: Option<Message>,
}
