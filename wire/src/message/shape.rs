//! Limits of a message by itself, whatever the session: checked by the decoder, before a message may wait in any queue. A
//! frame of 64 KiB could otherwise unfold into megabytes of empty entries.

use super::{Get, List, Message, Ready};
use crate::{
    Violation,
    limits::{AGENT_BYTES_MAX, PATH_BYTES_MAX, WEIGHT_THOUSANDTHS_MAX, WORDS_BYTES_MAX},
};

/// Gets in one hello. A client with more asks for the rest after the welcome.
pub const GETS_MAX: usize = 64;
/// Lists in one hello.
pub const LISTS_MAX: usize = 16;
/// Entries in one listing: twice what [`crate::Limits`] lets a server send.
pub const ENTRIES_MAX: usize = 1000;
/// Shares in one message of proportions: twice the transfers that a session may have.
pub const SHARES_MAX: usize = 512;
/// Tokens in one welcome, and data links in one hello.
pub const TOKENS_MAX: usize = 64;

/// Bytes of a BLAKE3 hash.
const HASH_BYTES: usize = 32;
/// `HOST:PORT` with the longest DNS name.
const ENDPOINT_BYTES_MAX: usize = 300;
/// One DNS label, since it becomes part of a server name.
const ROUTE_BYTES_MAX: usize = 63;

impl Message {
    /// Checks lengths and ranges that hold in every state.
    pub fn check(&self) -> Result<(), Violation> {
        match self {
            Self::Hello(m) => {
                count("gets in a hello", m.gets.len(), GETS_MAX)?;
                count("lists in a hello", m.lists.len(), LISTS_MAX)?;
                range("data links", m.data_links.into(), TOKENS_MAX as u64)?;
                one_way(m.down_links, m.up_links, m.data_links.max(1).into())?;
                text("agent", &m.agent, AGENT_BYTES_MAX)?;
                m.gets.iter().try_for_each(check_get)?;
                m.lists.iter().try_for_each(check_list)
            }
            Self::Welcome(m) => {
                count("tokens", m.tokens.len(), TOKENS_MAX)?;
                one_way(m.down_links, m.up_links, m.tokens.len() as u64)?;
                text("data endpoint", &m.data_endpoint, ENDPOINT_BYTES_MAX)?;
                text("data route", &m.data_route, ROUTE_BYTES_MAX)?;
                m.tokens.iter().try_for_each(|token| fixed("token", token))
            }
            Self::Refusal(m) => text("words", &m.message, WORDS_BYTES_MAX),
            Self::List(m) => check_list(m),
            Self::Listing(m) => {
                count("entries", m.entries.len(), ENTRIES_MAX)?;
                text("words", m.error.as_ref().map_or("", |e| &e.message), WORDS_BYTES_MAX)
            }
            Self::Get(m) => check_get(m),
            Self::Put(m) => {
                id("transfer", m.transfer)?;
                text("path", &m.path, PATH_BYTES_MAX)?;
                weight(m.weight)
            }
            Self::Ready(m) => check_ready(m),
            Self::Finished(m) => fixed("hash", &m.hash),
            Self::Failed(m) => text("words", &m.message, WORDS_BYTES_MAX),
            Self::Proportions(m) => {
                count("shares", m.shares.len(), SHARES_MAX)?;
                m.shares.iter().try_for_each(|share| weight(share.weight_thousandths))
            }
            Self::Goodbye(m) => text("words", &m.message, WORDS_BYTES_MAX),
            Self::Ping(_)
            | Self::Pong(_)
            | Self::Opened(_)
            | Self::Begin(_)
            | Self::Window(_)
            | Self::Stored(_)
            | Self::Cancel(_)
            | Self::DesiredRates(_)
            | Self::Granted(_)
            | Self::Progress(_) => Ok(()),
        }
    }
}

fn check_get(get: &Get) -> Result<(), Violation> {
    id("transfer", get.transfer)?;
    text("path", &get.path, PATH_BYTES_MAX)?;
    weight(get.weight)?;
    prefix(get.offset, &get.prefix_hash)
}

fn check_list(list: &List) -> Result<(), Violation> {
    id("request", list.request)?;
    text("path", &list.path, PATH_BYTES_MAX)?;
    text("path", &list.after, PATH_BYTES_MAX)
}

fn check_ready(ready: &Ready) -> Result<(), Violation> {
    prefix(ready.offset, &ready.prefix_hash)
}

/// A prefix that cannot be verified must not be continued, so an offset comes with a hash.
fn prefix(offset: u64, hash: &[u8]) -> Result<(), Violation> {
    if offset == 0 && hash.is_empty() {
        return Ok(());
    }
    fixed("prefix hash", hash)
}

fn fixed(what: &'static str, bytes: &[u8]) -> Result<(), Violation> {
    if bytes.len() == HASH_BYTES {
        return Ok(());
    }
    Err(Violation::BadLength { what, len: bytes.len() })
}

fn count(what: &'static str, count: usize, max: usize) -> Result<(), Violation> {
    if count <= max {
        return Ok(());
    }
    Err(Violation::TooMany { what, count, max })
}

fn text(what: &'static str, text: &str, max: usize) -> Result<(), Violation> {
    if text.len() <= max {
        return Ok(());
    }
    Err(Violation::TooLong { what, len: text.len(), max })
}

fn range(what: &'static str, value: u64, max: u64) -> Result<(), Violation> {
    if value <= max {
        return Ok(());
    }
    Err(Violation::BadNumber { what, value })
}

/// One-way data links are some of all.
fn one_way(down: u32, up: u32, all: u64) -> Result<(), Violation> {
    range("one-way data links", u64::from(down) + u64::from(up), all)
}

/// 0 is what protobuf says when nothing was said.
fn id(what: &'static str, id: u32) -> Result<(), Violation> {
    if id != 0 {
        return Ok(());
    }
    Err(Violation::BadNumber { what, value: 0 })
}

fn weight(thousandths: u32) -> Result<(), Violation> {
    range("weight", thousandths.into(), WEIGHT_THOUSANDTHS_MAX.into())
}
