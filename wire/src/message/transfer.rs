//! The life of a transfer in messages.
//!
//! ```text
//! get:  Get -> Opened ->           data.. Window.. -> Finished -> Stored
//! put:  Put -> Ready  -> Begin ->  data.. Window.. -> Finished -> Stored
//! ```
//! `Failed` and `Cancel` end it at any moment, from either side. Ids are the client's choice, never 0, and each is greater
//! than all before it in its session, so that late messages and late data of an ended transfer are never mistaken for
//! another's.

use flow::Class;

use super::{ClassCode, FailureCode};

/// The client asks for a file.
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
pub struct Get {
    /// The transfer's id.
    #[prost(uint32, tag = "1")]
    pub transfer: u32,
    /// `SHARE/PATH`.
    #[prost(string, tag = "2")]
    pub path: String,
    /// Bytes that the client has already, verified against its own record.
    #[prost(uint64, tag = "3")]
    pub offset: u64,
    /// BLAKE3 of those bytes; empty when `offset` is 0.
    #[prost(bytes = "vec", tag = "4")]
    pub prefix_hash: Vec<u8>,
    /// 1000 = 1.0; 0 counts as 1000; at most [`crate::WEIGHT_THOUSANDTHS_MAX`].
    #[prost(uint32, tag = "5")]
    pub weight: u32,
    /// Foreground or background; not said: the session's.
    #[prost(enumeration = "ClassCode", tag = "6")]
    pub class: i32,
    /// How far the server may send: an absolute offset, reckoned from `offset`. If the server starts at 0 instead, the
    /// limit is `window - offset`: the client has room for that much, wherever it begins.
    #[prost(uint64, tag = "7")]
    pub window: u64,
}

impl Get {
    /// The weight as a factor.
    pub fn weight_factor(&self) -> f64 {
        weight_factor(self.weight)
    }

    /// The class, or that of the session.
    pub fn class_or(&self, session: Class) -> Class {
        class_or(self.class(), session)
    }
}

/// The server has opened the file of a get.
#[derive(Copy, Clone, PartialEq, Eq, ::prost::Message)]
pub struct Opened {
    /// Which transfer.
    #[prost(uint32, tag = "1")]
    pub transfer: u32,
    /// Bytes of the whole file.
    #[prost(uint64, tag = "2")]
    pub size: u64,
    /// Nanoseconds since 1970.
    #[prost(int64, tag = "3")]
    pub mtime_ns: i64,
    /// Where the server starts: the get's offset, or 0 when the prefix is not that of this file.
    #[prost(uint64, tag = "4")]
    pub start: u64,
    /// Whether it goes on where the client was: `start` is the offset and not 0.
    #[prost(bool, tag = "5")]
    pub resumed: bool,
}

/// The client wants to send a file.
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
pub struct Put {
    /// The transfer's id.
    #[prost(uint32, tag = "1")]
    pub transfer: u32,
    /// `SHARE/PATH`.
    #[prost(string, tag = "2")]
    pub path: String,
    /// Bytes of the whole file.
    #[prost(uint64, tag = "3")]
    pub size: u64,
    /// Nanoseconds since 1970.
    #[prost(int64, tag = "4")]
    pub mtime_ns: i64,
    /// Foreground or background; not said: the session's.
    #[prost(enumeration = "ClassCode", tag = "5")]
    pub class: i32,
    /// 1000 = 1.0; 0 counts as 1000; at most [`crate::WEIGHT_THOUSANDTHS_MAX`].
    #[prost(uint32, tag = "6")]
    pub weight: u32,
}

impl Put {
    /// The weight as a factor.
    pub fn weight_factor(&self) -> f64 {
        weight_factor(self.weight)
    }

    /// The class, or that of the session.
    pub fn class_or(&self, session: Class) -> Class {
        class_or(self.class(), session)
    }
}

/// The server is ready to receive a put.
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
pub struct Ready {
    /// Which transfer.
    #[prost(uint32, tag = "1")]
    pub transfer: u32,
    /// Bytes that the server has already.
    #[prost(uint64, tag = "2")]
    pub offset: u64,
    /// BLAKE3 of those bytes; empty when `offset` is 0.
    #[prost(bytes = "vec", tag = "3")]
    pub prefix_hash: Vec<u8>,
    /// How far the client may send, reckoned from `offset` as in [`Get::window`].
    #[prost(uint64, tag = "4")]
    pub window: u64,
}

/// The client begins to send a put.
#[derive(Copy, Clone, PartialEq, Eq, ::prost::Message)]
pub struct Begin {
    /// Which transfer.
    #[prost(uint32, tag = "1")]
    pub transfer: u32,
    /// Where it starts: the offset of [`Ready`], or 0 when the prefix is not that of its file.
    #[prost(uint64, tag = "2")]
    pub start: u64,
}

/// The receiver lets the sender go on.
#[derive(Copy, Clone, PartialEq, Eq, ::prost::Message)]
pub struct Window {
    /// Which transfer.
    #[prost(uint32, tag = "1")]
    pub transfer: u32,
    /// The absolute offset that the sender must not pass. One below an earlier one means nothing.
    #[prost(uint64, tag = "2")]
    pub limit: u64,
}

/// The sender has sent all bytes.
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
pub struct Finished {
    /// Which transfer.
    #[prost(uint32, tag = "1")]
    pub transfer: u32,
    /// The size that was announced.
    #[prost(uint64, tag = "2")]
    pub size: u64,
    /// BLAKE3 of the whole file, 32 bytes.
    #[prost(bytes = "vec", tag = "3")]
    pub hash: Vec<u8>,
}

/// The receiver has verified, fsynced and renamed the file. Ends the transfer.
#[derive(Copy, Clone, PartialEq, Eq, ::prost::Message)]
pub struct Stored {
    /// Which transfer.
    #[prost(uint32, tag = "1")]
    pub transfer: u32,
}

/// The transfer failed. Ends it.
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
pub struct Failed {
    /// Which transfer.
    #[prost(uint32, tag = "1")]
    pub transfer: u32,
    /// What kind of failure.
    #[prost(enumeration = "FailureCode", tag = "2")]
    pub code: i32,
    /// For a person: what, and what to do. Names share paths only.
    #[prost(string, tag = "3")]
    pub message: String,
}

impl Failed {
    /// A failure.
    pub fn new(transfer: u32, code: FailureCode, message: impl Into<String>) -> Self {
        Self { transfer, code: code.into(), message: message.into() }
    }
}

/// Nobody wants the transfer any more. Ends it.
#[derive(Copy, Clone, PartialEq, Eq, ::prost::Message)]
pub struct Cancel {
    /// Which transfer.
    #[prost(uint32, tag = "1")]
    pub transfer: u32,
}

/// A weight on the wire as a factor: thousandths, 0 for "not said".
pub(crate) fn weight_factor(thousandths: u32) -> f64 {
    match thousandths {
        0 => 1.0,
        thousandths => f64::from(thousandths) / 1000.0,
    }
}

fn class_or(code: ClassCode, session: Class) -> Class {
    match code {
        ClassCode::Unspecified => session,
        ClassCode::Foreground | ClassCode::Background => code.into(),
    }
}
