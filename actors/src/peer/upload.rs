//! A transfer from this side to the other: read ahead, ask for permission, send one quantum at a time.
//!
//! The transfer always knows what holds it (DESIGN 5): no bytes in memory, the receiver's window, the socket, or
//! permission. That is what the allocator and `explain` are told.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use bytes::Bytes;
use flow::{Limiter, Moment, shaper::LeafRates};
use tokio::sync::mpsc;
use wire::{DataHeader, FailureCode};

use crate::{
    log_gate::{LOG_INTERVAL, LogGate},
    peer::{
        DataMessage, PeerActor, disk,
        link::{Link, Outlet, Tether},
    },
    port::{FileError, Payload, Pressure, Source},
    shared::Shared,
    worker::LeafLease,
};

/// Least and most that one read takes from a file, bytes.
const READ_BYTES: std::ops::RangeInclusive<u64> = 16 * 1024..=256 * 1024;

/// What a busy machine hashes at least.
const HASHED_BYTES_PER_SECOND: f64 = 200e6;

/// Transfers that fail are counted, and their peers told; the log gets one per interval.
static FAILURES: LogGate = LogGate::new(LOG_INTERVAL);

/// A part of the file that can be sent at once.
enum Piece {
    /// Read.
    Memory(Bytes),
    /// So many bytes that the page cache holds, for a link that takes them from there.
    Pages(u32),
}

impl Piece {
    fn len(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::Pages(len) => u64::from(*len),
        }
    }
}

/// One upload.
pub(super) struct Upload {
    pub(super) lease: LeafLease,
    pub(super) source: Arc<dyn Source>,
    pub(super) size: u64,
    /// The data link that it is pinned to, once there is one.
    pub(super) link: Option<usize>,
    pub(super) rates: LeafRates,
    read_to: u64,
    pub(super) sent_to: u64,
    ready: VecDeque<Piece>,
    ready_bytes: u64,
    reading: bool,
    requested: bool,
    permit: u32,
    /// The peer may have told us to start (a put), or we told it (a get).
    pub(super) begun: bool,
    hashing: bool,
    /// Computes the whole file's hash before it is asked for, so that the end does not wait for it.
    hasher: Option<Tether>,
    began: Moment,
    start: u64,
}

impl Upload {
    pub(super) fn new(
        lease: LeafLease,
        source: Arc<dyn Source>,
        start: u64,
        rates: LeafRates,
        begun: bool,
        began: Moment,
    ) -> Self {
        let size = source.size();
        lease.leaf.meter.start_at(start);
        Self {
            lease,
            source,
            size,
            link: None,
            rates,
            read_to: start,
            sent_to: start,
            ready: VecDeque::new(),
            ready_bytes: 0,
            reading: false,
            requested: false,
            permit: 0,
            begun,
            hashing: false,
            hasher: None,
            began,
            start,
        }
    }

    /// Starts at `start` after all (a put whose receiver has a prefix).
    pub(super) fn begin_at(&mut self, start: u64) {
        self.read_to = start;
        self.sent_to = start;
        self.start = start;
        self.begun = true;
        self.lease.leaf.meter.start_at(start);
    }

    /// Hashing a file takes the disk and a core from those who send: it begins when it would just be done with the last
    /// byte, at the pace so far.
    fn hash_ahead(&mut self, now: Moment) {
        let sent = self.sent_to - self.start;
        if self.hasher.is_some() || sent == 0 {
            return;
        }
        let seconds_left =
            now.saturating_since(self.began).as_secs_f64() * (self.size - self.sent_to) as f64 / sent as f64;
        if seconds_left <= self.size as f64 / HASHED_BYTES_PER_SECOND {
            let hash = self.source.hash();
            self.hasher = Some(Tether::spawn(async move { drop(hash.await) }));
        }
    }

    fn next_read(&self) -> Option<u32> {
        let quantum = u64::from(self.lease.quantum());
        let wanted = (2 * quantum).clamp(*READ_BYTES.start(), *READ_BYTES.end());
        let due = !self.reading && self.read_to < self.size && self.ready_bytes < wanted;
        due.then(|| wanted.min(self.size - self.read_to) as u32)
    }

    /// Whether it has asked to send what it has ready.
    #[cfg(feature = "lanes-off")]
    pub(super) fn is_queued(&self) -> bool {
        self.requested
    }

    /// At most `len` bytes of the first piece, and how many they are.
    fn take_ready(&mut self, len: u64) -> (u32, Payload) {
        let Some(front) = self.ready.front_mut() else { return (0, Payload::Memory(Bytes::new())) };
        let len = len.min(front.len());
        let payload = match front {
            Piece::Memory(bytes) => Payload::Memory(bytes.split_to(len as usize)),
            Piece::Pages(left) => {
                *left -= len as u32;
                Payload::File { source: self.source.clone(), offset: self.sent_to }
            }
        };
        if front.len() == 0 {
            self.ready.pop_front();
        }
        self.ready_bytes -= len;
        (len as u32, payload)
    }

    /// Has the next bytes ready, or a disk thread on its way to them. A link that `takes_pages` needs them in memory only.
    fn read_ahead(&mut self, transfer: u32, takes_pages: bool, shared: &Arc<Shared>, lane: &mpsc::Sender<DataMessage>) {
        let Some(len) = self.next_read() else { return };
        let from = self.read_to;
        self.read_to += u64::from(len);
        if takes_pages && self.source.resident(from, len) == len {
            self.ready_bytes += u64::from(len);
            self.ready.push_back(Piece::Pages(len));
            return;
        }
        self.reading = true;
        let loaded = self.source.read(from, len);
        disk::wait(shared, lane, "read", loaded, move |result| DataMessage::Loaded { transfer, result });
    }
}

impl PeerActor {
    /// Moves an upload as far as it can go now.
    pub(super) fn drive_upload(&mut self, transfer: u32) {
        let now = self.worker.now();
        let Some(upload) = self.uploads.get_mut(&transfer) else { return };
        if !upload.begun {
            return;
        }
        let outlet = upload.link.and_then(|index| self.links.get(index)?.as_ref()?.outlet.as_ref());
        upload.read_ahead(transfer, outlet.is_some_and(Outlet::takes_pages), &self.shared, &self.data_lane);
        let leaf = upload.lease.leaf.clone();
        let meter = &leaf.meter;
        if upload.sent_to == upload.size {
            meter.hold(Limiter::Source, now);
            if !upload.hashing {
                upload.hashing = true;
                disk::wait(&self.shared, &self.data_lane, "hash", upload.source.hash(), move |result| {
                    DataMessage::Hashed { transfer, result }
                });
            }
            return;
        }
        let window = self.session.sendable(transfer);
        let Some(front) = upload.ready.front().map(Piece::len) else {
            self.withdraw(transfer, Limiter::Disk);
            return;
        };
        if window == 0 {
            self.withdraw(transfer, Limiter::Receiver);
            return;
        }
        let pinned = upload.link.and_then(|index| Some((index, self.links.get_mut(index)?.as_mut()?.outlet.as_mut()?)));
        let Some((index, outlet)) = pinned else {
            self.withdraw(transfer, Limiter::Source);
            return;
        };
        if outlet.in_flight.is_some() {
            match outlet.blocked {
                Some(Pressure::Network) => self.withdraw(transfer, Limiter::Network),
                Some(Pressure::Receiver) => self.withdraw(transfer, Limiter::Receiver),
                // The writer has not had its turn yet: ours is the next.
                None => drop(meter.hold(Limiter::Worker, now)),
            }
            return;
        }
        if upload.permit == 0 {
            let wanted = window.min(upload.ready_bytes.max(front)).min(u64::from(wire::DATA_PAYLOAD_BYTES_MAX)) as u32;
            if !upload.requested {
                upload.requested = true;
                upload.lease.request(wanted);
            }
            meter.hold(Limiter::Tokens, now);
            return;
        }
        let (len, payload) = upload.take_ready(window.min(front).min(u64::from(upload.permit)));
        let header = DataHeader { len, transfer, offset: upload.sent_to };
        upload.permit -= header.len;
        if upload.permit > 0 && upload.ready.is_empty() {
            upload.lease.give_back(std::mem::take(&mut upload.permit));
        }
        upload.sent_to += u64::from(header.len);
        upload.hash_ahead(now);
        meter.count(u64::from(header.len), upload.sent_to);
        meter.hold(Limiter::Worker, now);
        self.session.data_sent(transfer, header.len);
        let class = upload.lease.leaf.class();
        let metrics = self.shared.metrics.direction(flow::Direction::Upload);
        metrics.payload_bytes(class, outlet.transport).increment(u64::from(header.len));
        self.shared.moved[flow::Direction::Upload.index()].fetch_add(u64::from(header.len), Relaxed);
        metrics.overhead_bytes.increment(wire::DATA_HEADER_BYTES as u64);
        outlet.in_flight = Some(transfer);
        outlet.blocked = None;
        outlet.first = transfer.wrapping_add(1);
        if outlet.chunks.try_send((header, payload)).is_err() {
            tracing::debug!(link = index, "the link's writer is gone");
        }
        if let Some(mode) = outlet.mode.moved(header.len, now) {
            let on_link = self.uploads.values().filter(|upload| upload.link == Some(index));
            on_link.for_each(|upload| upload.lease.set_mode(mode));
        }
    }

    /// The upload can't move now: others get its turn and its permission.
    fn withdraw(&mut self, transfer: u32, limiter: Limiter) {
        let now = self.worker.now();
        let Some(upload) = self.uploads.get_mut(&transfer) else { return };
        let before = upload.lease.leaf.meter.hold(limiter, now);
        if before == Limiter::Source && limiter != Limiter::Source {
            self.shared.early.ring();
        }
        if upload.requested {
            upload.requested = false;
            upload.lease.cancel();
        }
        if upload.permit > 0 {
            upload.lease.give_back(std::mem::take(&mut upload.permit));
        }
    }

    /// The shaper lets an upload send `bytes`.
    pub(super) fn upload_permitted(&mut self, transfer: u32, bytes: u32) {
        if let Some(upload) = self.uploads.get_mut(&transfer) {
            if !upload.requested {
                // It was cancelled while the permission was on its way.
                return upload.lease.give_back(bytes);
            }
            upload.requested = false;
            upload.permit += bytes;
            self.drive_upload(transfer);
        }
    }

    /// A piece of the file is in memory.
    pub(super) fn upload_loaded(&mut self, transfer: u32, result: Result<Bytes, FileError>) {
        let Some(upload) = self.uploads.get_mut(&transfer) else { return };
        upload.reading = false;
        match result {
            Ok(piece) => {
                upload.ready_bytes += piece.len() as u64;
                upload.ready.push_back(Piece::Memory(piece));
                self.drive_upload(transfer);
            }
            Err(error) => self.fail_transfer(transfer, error),
        }
    }

    /// The file is sent whole, and its hash is known.
    pub(super) fn upload_hashed(&mut self, transfer: u32, result: Result<[u8; 32], FileError>) {
        let Some(upload) = self.uploads.get(&transfer) else { return };
        match result {
            Ok(hash) => {
                let size = upload.size;
                let told = self.session.finished(transfer, size, hash);
                self.complain(told);
            }
            Err(error) => self.fail_transfer(transfer, error),
        }
    }

    /// A link is free again: each of its transfers comes first in turn.
    pub(super) fn drive_link(&mut self, index: usize) {
        let first = match self.links.get(index) {
            Some(Some(Link { outlet: Some(outlet), .. })) => outlet.first,
            Some(_) | None => return,
        };
        let mut pinned: Vec<u32> =
            self.uploads.iter().filter(|(_, upload)| upload.link == Some(index)).map(|(id, _)| *id).collect();
        pinned.sort_unstable_by_key(|id| id.wrapping_sub(first));
        for transfer in pinned {
            self.drive_upload(transfer);
        }
    }

    /// Pins transfers that wait for a link to that of the fewest, among those that carry to the peer.
    pub(super) fn pin_uploads(&mut self) {
        let waiting: Vec<u32> =
            self.uploads.iter().filter(|(_, upload)| upload.link.is_none()).map(|(id, _)| *id).collect();
        for transfer in waiting {
            let links = self.links.iter_mut().enumerate();
            let outlets = links.filter_map(|(index, link)| Some((index, link.as_mut()?.outlet.as_mut()?)));
            let Some((index, outlet)) = outlets.min_by_key(|(_, outlet)| outlet.transfers) else { return };
            outlet.transfers += 1;
            if let Some(upload) = self.uploads.get_mut(&transfer) {
                upload.link = Some(index);
                upload.lease.set_mode(outlet.mode.mode());
            }
            self.drive_upload(transfer);
        }
    }

    /// Takes an upload out; its lease goes back.
    pub(super) fn drop_upload(&mut self, transfer: u32, outcome: &str) -> Option<Upload> {
        let upload = self.uploads.remove(&transfer)?;
        self.transfer_of.remove(&upload.lease.leaf.key);
        let pinned = upload.link.and_then(|index| self.links.get_mut(index)?.as_mut()?.outlet.as_mut());
        if let Some(outlet) = pinned {
            outlet.transfers -= 1;
        }
        let metrics = self.shared.metrics.direction(flow::Direction::Upload);
        metrics.transfers.decrement(1.0);
        metrics.ended(outcome).increment(1);
        Some(upload)
    }

    /// Ends a transfer for a reason of ours, and tells the peer.
    pub(super) fn fail_transfer(&mut self, transfer: u32, error: FileError) {
        // One session may ask for missing files hundreds of times a second.
        if let Some(suppressed) = FAILURES.open(self.worker.now().as_nanos()) {
            let (peer, code, words) = (self.remote.peer, error.code, wire::printable(&error.message));
            tracing::info!(%peer, transfer, %code, suppressed, "transfer failed: {words}");
        }
        let told = self.session.fail(transfer, error.code, error.message.clone());
        self.complain(told);
        self.forget_transfer(transfer, "failed");
        self.user_failed(transfer, error.code, error.message);
    }
}

/// What a transfer of a name that is not there is told.
pub(super) fn not_open(words: &str) -> FileError {
    FileError::new(FailureCode::Internal, words)
}
