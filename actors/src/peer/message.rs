//! What a peer actor is told, one enum per lane, matched without `_`.

use std::sync::Arc;

use bytes::Bytes;
use flow::{LeafKey, Moment, Rate};
use wire::{DataHeader, Message};

use crate::{
    peer::{backlog::Room, client::Command},
    port::{DataLink, FileError, LinkError, ResumePoint, Sink, Source},
};

/// The control lane.
pub enum ControlMessage {
    /// From the peer, readable since `at`.
    Frame {
        /// What it says.
        message: Message,
        /// When it was read.
        at: Moment,
    },
    /// The control link ended: cleanly, or not.
    LinkEnded(Option<LinkError>),
    /// The control writer ended.
    WriterEnded(Option<LinkError>),
    /// From the allocator: new rates of some leaves.
    Rates(Vec<LeafRate>),
    /// From the allocator: what the node grants, upload and download seen from the node.
    Granted {
        /// Node to peer.
        upload: Rate,
        /// Peer to node.
        download: Rate,
    },
    /// From the operator: close.
    Disconnect,
    /// From the node: no new transfers; end when the last has ended.
    Drain,
    /// From the node: the time to drain is over; close.
    Overdue,
    /// From this program's own user (client sessions).
    Command(Command),
}

/// One leaf's new rates.
#[derive(Copy, Clone, Debug)]
pub struct LeafRate {
    /// Which.
    pub key: LeafKey,
    /// The rates.
    pub rates: flow::shaper::LeafRates,
}

/// The data lane. Each kind is bounded by what can be under way: one of each per transfer, and a link's backlog.
pub enum DataMessage {
    /// A data link has shown its token.
    LinkArrived(DataLink),
    /// A data link could not be dialled.
    DialFailed(LinkError),
    /// A chunk came.
    Chunk {
        /// Which link.
        link: usize,
        /// Where it belongs.
        header: DataHeader,
        /// The bytes.
        payload: Bytes,
        /// When they were read.
        at: Moment,
        /// The link's room, given back when the bytes are on disk.
        room: Room,
    },
    /// A link ended: cleanly, or not.
    LinkEnded {
        /// Which link.
        link: usize,
        /// Why.
        error: Option<LinkError>,
    },
    /// The link's writer gave its chunk to the kernel.
    Sent {
        /// Which link.
        link: usize,
    },
    /// The link's writer has been blocked by the socket since a moment.
    Blocked {
        /// Which link.
        link: usize,
        /// What the kernel said.
        pressure: crate::port::Pressure,
    },
    /// The shaper released bytes.
    Permit {
        /// Which leaf.
        leaf: LeafKey,
        /// How many.
        bytes: u32,
        /// When.
        at: Moment,
    },
    /// A file is open for reading, from `start`.
    SourceOpened {
        /// Which transfer.
        transfer: u32,
        /// The file and where to start, or why not.
        result: Result<(Arc<dyn Source>, u64), FileError>,
    },
    /// A piece of a file is in memory.
    Loaded {
        /// Which transfer.
        transfer: u32,
        /// The bytes, or why not.
        result: Result<Bytes, FileError>,
    },
    /// The whole file's hash is known.
    Hashed {
        /// Which transfer.
        transfer: u32,
        /// BLAKE3, or why not.
        result: Result<[u8; 32], FileError>,
    },
    /// A file is open for writing.
    SinkOpened {
        /// Which transfer.
        transfer: u32,
        /// The file and what is there already, or why not.
        result: Result<(Arc<dyn Sink>, Option<ResumePoint>), FileError>,
    },
    /// The sink stands at its start.
    SinkStarted {
        /// Which transfer.
        transfer: u32,
        /// Or why not.
        result: Result<(), FileError>,
    },
    /// A chunk is on disk.
    Written {
        /// Which transfer.
        transfer: u32,
        /// How many bytes.
        len: u32,
        /// Or why not.
        result: Result<(), FileError>,
    },
    /// The file is whole, verified, named and durable.
    Stored {
        /// Which transfer.
        transfer: u32,
        /// Or why not.
        result: Result<(), FileError>,
    },
    /// A page of a listing.
    Listed {
        /// The peer's number for it.
        request: u32,
        /// The page, or why not.
        result: Result<crate::port::FilePage, FileError>,
    },
}
