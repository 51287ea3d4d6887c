//! What a shell asks a session for, and what it sees of a transfer.

use flow::{Class, Direction};

use super::{Step, Transfer};
use crate::{ClassCode, Get};

/// A file wanted from the server.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct GetRequest {
    /// `SHARE/PATH`.
    pub path: String,
    /// Bytes that are there already, verified.
    pub offset: u64,
    /// BLAKE3 of those bytes; needed when `offset` is not 0.
    pub prefix_hash: Option<[u8; 32]>,
    /// 1000 = 1.0; 0 counts as 1000.
    pub weight_thousandths: u32,
    /// `None`: the session's.
    pub class: Option<Class>,
    /// How far the server may send at first, an absolute offset; see [`crate::Get::window`].
    pub window: u64,
}

impl GetRequest {
    /// The message that asks for it, for a hello or by itself.
    pub fn message(self, transfer: u32) -> Get {
        let Self { path, offset, prefix_hash, weight_thousandths: weight, class, window } = self;
        let prefix_hash = prefix_bytes(offset, prefix_hash);
        let class = class.map_or(ClassCode::Unspecified, ClassCode::from).into();
        Get { transfer, path, offset, prefix_hash, weight, class, window }
    }
}

/// The hash of the first `offset` bytes as it travels: none of none.
pub(super) fn prefix_bytes(offset: u64, hash: Option<[u8; 32]>) -> Vec<u8> {
    match hash {
        Some(hash) if offset > 0 => hash.to_vec(),
        _ => Vec::new(),
    }
}

/// A file offered to the server.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct PutRequest {
    /// `SHARE/PATH`.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// Nanoseconds since 1970.
    pub mtime_ns: i64,
    /// 1000 = 1.0; 0 counts as 1000.
    pub weight_thousandths: u32,
    /// `None`: the session's.
    pub class: Option<Class>,
}

/// One live transfer, for a status page.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct TransferStatus {
    /// Its id.
    pub transfer: u32,
    /// Seen from this end: upload = this end sends.
    pub direction: Direction,
    /// What it is at: `asked`, `sending`, `receiving`, ...
    pub step: &'static str,
    /// Bytes of the whole file, once known.
    pub size: Option<u64>,
    /// The absolute offset up to which this end has sent, or been sent.
    pub offset: u64,
    /// The absolute offset that the sender must not pass; 0 before one was given.
    pub limit: u64,
}

impl Transfer {
    pub(crate) fn status(&self) -> TransferStatus {
        let (size, offset, limit) = match self.step {
            Step::Asked { .. } | Step::Requested { .. } => (None, 0, 0),
            Step::Offered { size } | Step::Announced { size } => (Some(size), 0, 0),
            Step::Prepared { size, .. } | Step::Awaiting { size, .. } => (Some(size), 0, 0),
            Step::Sending { size, sent, limit } => (Some(size), sent, limit),
            Step::Sent { size } => (Some(size), size, size),
            Step::Receiving { size, received, limit, .. } => (Some(size), received, limit),
        };
        TransferStatus {
            transfer: self.id,
            direction: self.step.direction(),
            step: self.step.as_str(),
            size,
            offset,
            limit,
        }
    }
}
