//! The first message each way, which carries everything (DESIGN 3.2, seed 000), and the last.

use std::fmt;

use flow::{Class, Rate};

use super::{ClassCode, Get, GoodbyeCode, List, RefusalCode};
use crate::{DataLinks, Token, Violation};

/// The client's first message. Everything in it is safe to replay, so that QUIC may carry it in its 0-RTT datagram.
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct Hello {
    /// [`crate::PROTOCOL_VERSION`] of the client. First, so that any later version can at least read this.
    #[prost(uint32, tag = "1")]
    pub version: u32,
    /// Bytes per second that the client wants to send; 0 = as much as possible.
    #[prost(uint64, tag = "2")]
    pub upload: u64,
    /// Bytes per second that the client wants to receive; 0 = as much as possible.
    #[prost(uint64, tag = "3")]
    pub download: u64,
    /// Of the whole session; single transfers may differ.
    #[prost(enumeration = "ClassCode", tag = "4")]
    pub class: i32,
    /// How many data links the client would like; 0 counts as 1. The welcome brings a token for each that it gets.
    #[prost(uint32, tag = "5")]
    pub data_links: u32,
    /// What program and version, for logs.
    #[prost(string, tag = "6")]
    pub agent: String,
    /// Transfers to begin at once, without waiting for the welcome. Their ids grow from 1.
    #[prost(message, repeated, tag = "7")]
    pub gets: Vec<Get>,
    /// Pages to answer at once, in the same way. Their ids grow from 1.
    #[prost(message, repeated, tag = "8")]
    pub lists: Vec<List>,
    /// How many of [`Hello::data_links`] are to carry bytes from the server to the client only.
    #[prost(uint32, tag = "9")]
    pub down_links: u32,
    /// How many of them from the client to the server only.
    #[prost(uint32, tag = "10")]
    pub up_links: u32,
}

impl Hello {
    /// The data links that the client would like.
    pub fn links(&self) -> DataLinks {
        DataLinks::of(self.data_links.max(1), self.down_links, self.up_links)
    }

    /// The class as the allocator knows it.
    pub fn flow_class(&self) -> Class {
        self.class().into()
    }

    /// [`Hello::upload`] as a rate.
    pub fn upload_rate(&self) -> Rate {
        Rate::from_wire(self.upload)
    }

    /// [`Hello::download`] as a rate.
    pub fn download_rate(&self) -> Rate {
        Rate::from_wire(self.download)
    }
}

/// The server's answer.
#[derive(Clone, PartialEq, ::prost::Message)]
#[prost(skip_debug)]
pub struct Welcome {
    /// The session's number in this node's run, for logs on both sides.
    #[prost(uint64, tag = "1")]
    pub session: u64,
    /// Bytes per second that the client may send; 0 = as much as possible.
    #[prost(uint64, tag = "2")]
    pub granted_upload: u64,
    /// Bytes per second that the client will be sent; 0 = as much as possible.
    #[prost(uint64, tag = "3")]
    pub granted_download: u64,
    /// One 32-byte token per data link, each good once.
    #[prost(bytes = "vec", repeated, tag = "4")]
    pub tokens: Vec<Vec<u8>>,
    /// `HOST:PORT` for data links, or `:PORT` on the machine that answered the control link; empty: where that link went.
    #[prost(string, tag = "5")]
    pub data_endpoint: String,
    /// Opaque; goes into the server name (SNI) of data links, so that the acceptor knows the worker.
    #[prost(string, tag = "6")]
    pub data_route: String,
    /// Data links begin with the magic and the token, without TLS.
    #[prost(bool, tag = "7")]
    pub plaintext_data: bool,
    /// The largest receive window the server will make use of, in bytes; 0: any.
    #[prost(uint64, tag = "8")]
    pub window_max: u64,
    /// Transfers that the session may have under way; more fail with `TooMany`. 0: not said.
    #[prost(uint32, tag = "9")]
    pub transfers_max: u32,
    /// How many of the tokens are for links from the server to the client only: those before the [`Welcome::up_links`].
    #[prost(uint32, tag = "10")]
    pub down_links: u32,
    /// How many are for links from the client to the server only: the last.
    #[prost(uint32, tag = "11")]
    pub up_links: u32,
}

impl Welcome {
    /// What the tokens are for: in [the order of its kinds](DataLinks::ways).
    pub fn links(&self) -> DataLinks {
        DataLinks::of(u32::try_from(self.tokens.len()).unwrap_or(u32::MAX), self.down_links, self.up_links)
    }

    /// The tokens, parsed.
    pub fn parsed_tokens(&self) -> Result<Vec<Token>, Violation> {
        self.tokens.iter().map(|t| Token::try_from(t.as_slice())).collect()
    }
}

// By hand, because the derived one would print the tokens into the first debug log.
impl fmt::Debug for Welcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Welcome")
            .field("session", &self.session)
            .field("granted_upload", &self.granted_upload)
            .field("granted_download", &self.granted_download)
            .field("tokens", &format_args!("[{} tokens]", self.tokens.len()))
            .field("data_endpoint", &self.data_endpoint)
            .field("data_route", &self.data_route)
            .field("plaintext_data", &self.plaintext_data)
            .field("window_max", &self.window_max)
            .field("transfers_max", &self.transfers_max)
            .field("down_links", &self.down_links)
            .field("up_links", &self.up_links)
            .finish()
    }
}

/// The server's other answer, with a code, words, and a time to come back. Ends the session.
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
pub struct Refusal {
    /// Why.
    #[prost(enumeration = "RefusalCode", tag = "1")]
    pub code: i32,
    /// For a person: what, and what to do.
    #[prost(string, tag = "2")]
    pub message: String,
    /// Milliseconds until another attempt makes sense; 0: not said.
    #[prost(uint64, tag = "3")]
    pub retry_after_ms: u64,
}

impl Refusal {
    /// A refusal without a time to come back.
    pub fn new(code: RefusalCode, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), retry_after_ms: 0 }
    }

    /// With a time to come back.
    pub fn retry_after_ms(mut self, retry_after_ms: u64) -> Self {
        self.retry_after_ms = retry_after_ms;
        self
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "refused ({}): {}", self.code(), crate::printable(&self.message))?;
        if self.retry_after_ms > 0 {
            write!(f, "; come back in {:.1} s", self.retry_after_ms as f64 / 1000.0)?;
        }
        Ok(())
    }
}

/// The end of a session; with [`GoodbyeCode::Draining`] the announcement of it.
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
pub struct Goodbye {
    /// Why.
    #[prost(enumeration = "GoodbyeCode", tag = "1")]
    pub code: i32,
    /// For a person.
    #[prost(string, tag = "2")]
    pub message: String,
}

impl Goodbye {
    /// A goodbye.
    pub fn new(code: GoodbyeCode, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into() }
    }
}

impl fmt::Display for Goodbye {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code())?;
        if !self.message.is_empty() {
            write!(f, ": {}", crate::printable(&self.message))?;
        }
        Ok(())
    }
}
