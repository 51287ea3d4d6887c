//! A transfer from the other side to this one: credit, receive, write in order, verify, name.
//!
//! The download tree decides who may be sent to, by credit (absolute offsets in window messages); what credit allows is
//! read as fast as the total and the peer's limit let the link be read ([`crate::worker::Worker::arrive`]).

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use bytes::Bytes;
use flow::{Direction, Limiter, shaper::LeafRates};
use wire::FailureCode;

use crate::{
    peer::{DataMessage, PeerActor, actor::EarlyChunk, backlog::Room, disk},
    port::{FileError, Sink},
    shared::Shared,
    worker::LeafLease,
};

/// Bytes that a sender may move before the first credit: they are debited like any others, only later, and save the first
/// round trip.
pub(super) const WINDOW_FIRST_BYTES: u64 = 64 * 1024;
/// Data that may wait unread at the rate in force.
pub(super) const UNREAD: Duration = Duration::from_millis(250);

/// One download.
pub(super) struct Download {
    pub(super) lease: LeafLease,
    pub(super) sink: Option<Arc<dyn Sink>>,
    pub(super) size: u64,
    pub(super) rates: LeafRates,
    pub(super) start: u64,
    received_to: u64,
    written_to: u64,
    /// Offset up to which permission was obtained.
    permitted_to: u64,
    /// Offset up to which the sender was told it may go.
    announced_to: u64,
    /// Bytes announced before they were permitted.
    advance: u64,
    requested: bool,
    chunks: VecDeque<(u64, Bytes, Room)>,
    writing: bool,
    /// The sink stands where the sender starts.
    pub(super) running: bool,
    hash: Option<[u8; 32]>,
    finishing: bool,
}

impl Download {
    pub(super) fn new(lease: LeafLease, rates: LeafRates, advance: u64) -> Self {
        Self {
            lease,
            sink: None,
            size: 0,
            rates,
            start: 0,
            received_to: 0,
            written_to: 0,
            permitted_to: 0,
            announced_to: 0,
            advance,
            requested: false,
            chunks: VecDeque::new(),
            writing: false,
            running: false,
            hash: None,
            finishing: false,
        }
    }

    /// The sender starts at `start` of `size` bytes, and was told at the request that it may go `advance` further.
    pub(super) fn begin_at(&mut self, start: u64, size: u64) {
        self.size = size;
        self.start = start;
        self.received_to = start;
        self.written_to = start;
        self.permitted_to = start;
        self.announced_to = start + self.advance;
        self.lease.leaf.meter.start_at(start);
        self.lease.leaf.size.store(size, std::sync::atomic::Ordering::Relaxed);
    }

    /// How far a sender may be ahead of the disk: a quarter of a second at the most that this transfer may go, two quanta at
    /// least. Not at what it was assigned: that follows what it achieves, which on a path longer than this quarter of a
    /// second is the window over the round trip, and so each would hold the other down.
    fn window(&self, window_max: u64) -> u64 {
        let rate = self.rates.ceiling;
        if rate.is_unlimited() {
            return window_max;
        }
        let unread = (rate.bytes_per_second() as f64 * UNREAD.as_secs_f64()) as u64;
        unread.max(2 * u64::from(self.lease.quantum())).min(window_max)
    }
}

impl PeerActor {
    /// Asks for permission, tells the sender how far it may go, and keeps the disk busy.
    pub(super) fn drive_download(&mut self, transfer: u32) {
        let now = self.worker.now();
        let window_max = self.shared.config.window_bytes_max;
        let Some(download) = self.downloads.get_mut(&transfer) else { return };
        if !download.running {
            return;
        }
        Self::write_next(&self.shared, &self.data_lane, transfer, download);
        let window = download.window(window_max);
        let target = download.size.min(download.written_to + window);
        if !download.requested && download.permitted_to < target {
            let wanted = (target - download.permitted_to).min(u64::from(wire::DATA_PAYLOAD_BYTES_MAX)) as u32;
            download.requested = true;
            download.lease.request(wanted);
        }
        let unannounced = download.permitted_to.saturating_sub(download.announced_to);
        let dry = download.announced_to <= download.received_to;
        if unannounced > 0 && (dry || unannounced >= window / 4 || download.permitted_to == download.size) {
            download.announced_to = download.permitted_to;
            let told = self.session.grant_window(transfer, download.announced_to);
            self.complain(told);
        }
        let Some(download) = self.downloads.get_mut(&transfer) else { return };
        let limiter = if download.received_to == download.size {
            Limiter::Source
        } else if !download.chunks.is_empty() {
            Limiter::Disk
        } else if download.requested {
            Limiter::Tokens
        } else {
            // All the credit that the window allows is out: the sender, or what lies between, holds it.
            Limiter::Network
        };
        download.lease.leaf.meter.hold(limiter, now);
        self.finish_if_whole(transfer);
    }

    fn write_next(
        shared: &Arc<Shared>,
        lane: &tokio::sync::mpsc::Sender<DataMessage>,
        transfer: u32,
        download: &mut Download,
    ) {
        if download.writing {
            return;
        }
        let Some(sink) = download.sink.clone() else { return };
        let Some((offset, payload, room)) = download.chunks.pop_front() else { return };
        download.writing = true;
        let len = payload.len() as u32;
        let written = sink.write(offset, payload);
        disk::wait(shared, lane, "write", written, move |result| {
            drop(room);
            DataMessage::Written { transfer, len, result }
        });
    }

    fn finish_if_whole(&mut self, transfer: u32) {
        let Some(download) = self.downloads.get_mut(&transfer) else { return };
        let (Some(hash), Some(sink)) = (download.hash, download.sink.clone()) else { return };
        // One without bytes to come is whole before its sink stands where it starts.
        if download.finishing || !download.running || download.written_to != download.size {
            return;
        }
        download.finishing = true;
        disk::wait(&self.shared, &self.data_lane, "finish", sink.finish(hash), move |result| DataMessage::Stored {
            transfer,
            result,
        });
    }

    /// The shaper lets the sender move `bytes` more.
    pub(super) fn download_permitted(&mut self, transfer: u32, bytes: u32) {
        let Some(download) = self.downloads.get_mut(&transfer) else { return };
        if !download.requested {
            return download.lease.give_back(bytes);
        }
        download.requested = false;
        download.permitted_to += u64::from(bytes);
        self.drive_download(transfer);
    }

    /// A chunk came. The machine checks that the peer was allowed to send it. Gives it back when it came too early.
    pub(super) fn chunk_received(&mut self, chunk: EarlyChunk) -> Option<EarlyChunk> {
        match self.session.data_received(&chunk.header) {
            Ok(wire::Accepted::Store) => {}
            Ok(wire::Accepted::Discard) => return None,
            Ok(wire::Accepted::Early) => return Some(chunk),
            Err(violation) => {
                self.violated(violation);
                return None;
            }
        }
        let EarlyChunk { link, header, payload, room } = chunk;
        let (transport, mode) = match self.links.get(link) {
            Some(Some(link)) => (link.transport, link.arriving.get()),
            Some(None) | None => return None,
        };
        let download = self.downloads.get_mut(&header.transfer)?;
        download.lease.set_mode(mode);
        let len = u64::from(header.len);
        download.received_to = header.offset + len;
        download.lease.leaf.meter.count(len, download.received_to);
        let class = download.lease.leaf.class();
        let metrics = self.shared.metrics.direction(Direction::Download);
        metrics.payload_bytes(class, transport).increment(len);
        self.shared.moved[Direction::Download.index()].fetch_add(len, Relaxed);
        metrics.overhead_bytes.increment(wire::DATA_HEADER_BYTES as u64);
        download.chunks.push_back((header.offset, payload, room));
        self.drive_download(header.transfer);
        None
    }

    /// A chunk is on disk.
    pub(super) fn chunk_written(&mut self, transfer: u32, len: u32, result: Result<(), FileError>) {
        let Some(download) = self.downloads.get_mut(&transfer) else { return };
        download.writing = false;
        match result {
            Ok(()) => {
                download.written_to += u64::from(len);
                self.drive_download(transfer);
            }
            Err(error) => self.fail_transfer(transfer, error),
        }
    }

    /// The sender says that it has sent everything, and what it was.
    pub(super) fn download_finished(&mut self, transfer: u32, size: u64, hash: [u8; 32]) {
        let Some(download) = self.downloads.get_mut(&transfer) else { return };
        if size != download.size {
            let words = format!("the file has {size} bytes now, not {} as it had when it was opened", download.size);
            return self.fail_transfer(transfer, FileError::new(FailureCode::Changed, words));
        }
        download.hash = Some(hash);
        self.finish_if_whole(transfer);
    }

    /// The file is whole and durable, or it is not.
    pub(super) fn download_stored(&mut self, transfer: u32, result: Result<(), FileError>) {
        if !self.downloads.contains_key(&transfer) {
            return;
        }
        match result {
            Ok(()) => {
                let told = self.session.stored(transfer);
                self.complain(told);
                self.forget_transfer(transfer, "stored");
                self.user_done(transfer);
            }
            Err(error) => self.fail_transfer(transfer, error),
        }
    }

    /// Takes a download out; its lease goes back, its part stays for a resume.
    pub(super) fn drop_download(&mut self, transfer: u32, outcome: &str) -> Option<Download> {
        let download = self.downloads.remove(&transfer)?;
        self.transfer_of.remove(&download.lease.leaf.key);
        let metrics = self.shared.metrics.direction(Direction::Download);
        metrics.transfers.decrement(1.0);
        metrics.ended(outcome).increment(1);
        Some(download)
    }
}
