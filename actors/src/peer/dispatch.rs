//! What comes in, and who takes it: the machine's events, the control lane, the data lane. Each is matched whole, without
//! `_`: a new message is a compile error where it is ignored.

use std::time::Duration;

use flow::Direction;
use wire::Event;

use crate::{
    metric::Lane,
    peer::{
        ControlMessage, DataMessage, PeerActor,
        actor::{EarlyChunk, Life},
        client::SessionEvent,
        link::Link,
    },
};

impl PeerActor {
    pub(super) fn event(&mut self, event: Event) {
        match event {
            Event::Hello(hello) => self.hello(hello),
            Event::Welcomed(welcome) => self.welcomed(welcome),
            Event::Refused(refusal) => self.tell_user(SessionEvent::Refused(refusal)),
            Event::List(list) => self.list(list),
            Event::Listing(listing) => self.listing(listing),
            Event::Get(get) => self.get(get),
            Event::Opened(opened) => self.opened(opened),
            Event::Put(put) => self.put(put),
            Event::Ready(ready) => self.ready(ready),
            Event::Begin(begin) => self.begin(begin.transfer, begin.start),
            Event::WindowMoved { transfer, limit: _ } => self.drive_upload(transfer),
            Event::Finished { transfer, size, hash } => self.download_finished(transfer, size, hash),
            Event::Stored { transfer } => {
                self.forget_transfer(transfer, "stored");
                self.user_done(transfer);
            }
            Event::Failed(failed) => {
                self.forget_transfer(failed.transfer, "failed");
                self.user_failed(failed.transfer, failed.code(), failed.message.clone());
            }
            Event::Cancelled { transfer } => self.forget_transfer(transfer, "cancelled"),
            Event::Desired { upload, download } => {
                if let Life::Member { membership, .. } = &self.life {
                    // What the peer uploads, the node downloads.
                    membership.set_desired(Direction::Download, upload);
                    membership.set_desired(Direction::Upload, download);
                }
                self.shared.early.ring();
            }
            Event::Proportions(shares) => self.apply_proportions(&shares),
            Event::Granted { upload, download } => {
                if let Life::Member { membership, .. } = &self.life {
                    membership.set_desired(Direction::Upload, upload);
                    membership.set_desired(Direction::Download, download);
                }
                self.shared.early.ring();
                self.tell_user(SessionEvent::Granted { upload, download });
            }
            Event::Progress { .. } => {}
            Event::Pong { rtt } => self.tell_user(SessionEvent::Pong(rtt)),
            Event::Draining => {}
            Event::Goodbye(goodbye) => tracing::debug!(words = %goodbye.message, "the peer says goodbye"),
        }
    }

    pub(super) fn control(&mut self, message: ControlMessage) {
        match message {
            ControlMessage::Frame { message, at } => {
                self.cause = Some(at);
                self.waited(Lane::Control, at);
                if let Err(violation) = self.session.handle_message(message, self.worker.now()) {
                    self.count_violation(&violation);
                }
                self.early_due = !self.early.is_empty();
            }
            ControlMessage::LinkEnded(error) => self.link_lost(error),
            ControlMessage::WriterEnded(error) => {
                self.outbox = None;
                self.link_lost(error);
            }
            ControlMessage::Rates(rates) => self.take_rates(&rates),
            ControlMessage::Granted { upload, download } => {
                // Seen from the peer: what the node uploads, it downloads.
                let told = self.session.set_granted(download, upload);
                self.complain(told);
            }
            ControlMessage::Disconnect => self.leave("disconnected", "the operator closed this session"),
            ControlMessage::Overdue => self.leave("drained", "the node is going down now"),
            ControlMessage::Drain => {
                self.draining = true;
                let deadline = self.worker.now() + self.shared.config.drain + OVERDUE;
                let told = self.session.drain(deadline);
                self.complain(told);
                self.leave_if_drained();
            }
            ControlMessage::Command(command) => self.command(command),
        }
    }

    pub(super) fn data(&mut self, message: DataMessage) {
        match message {
            DataMessage::LinkArrived(link) => {
                self.add_link(link);
                self.dialled();
            }
            DataMessage::DialFailed(error) => {
                let is_over = self.dialled();
                if !is_over && self.lacks_a_way() {
                    self.link_lost(Some(error));
                }
            }
            DataMessage::Chunk { link, header, payload, at, room } => {
                self.waited(Lane::Data, at);
                self.early.push_back(EarlyChunk { link, header, payload, room });
                self.take_chunks();
            }
            DataMessage::LinkEnded { link, error } => self.data_link_ended(link, error),
            DataMessage::Sent { link } => self.link_free(link),
            DataMessage::Blocked { link, pressure } => {
                if let Some(Some(Link { outlet: Some(outlet), .. })) = self.links.get_mut(link) {
                    outlet.blocked = outlet.in_flight.map(|_| pressure);
                }
                self.drive_link(link);
            }
            DataMessage::Permit { leaf, bytes, at } => {
                self.waited(Lane::Data, at);
                match self.transfer_of.get(&leaf) {
                    Some(transfer) if self.uploads.contains_key(transfer) => self.upload_permitted(*transfer, bytes),
                    Some(transfer) => self.download_permitted(*transfer, bytes),
                    // Its lease is gone, and with it the shaper's record: nothing to give back to.
                    None => {}
                }
            }
            DataMessage::SourceOpened { transfer, result } => match self.user {
                Some(_) => self.own_source_verified(transfer, result),
                None => self.source_opened(transfer, result),
            },
            DataMessage::Loaded { transfer, result } => self.upload_loaded(transfer, result),
            DataMessage::Hashed { transfer, result } => self.upload_hashed(transfer, result),
            DataMessage::SinkOpened { transfer, result } => match self.user {
                Some(_) => self.own_sink_opened(transfer, result),
                None => self.sink_opened(transfer, result),
            },
            DataMessage::SinkStarted { transfer, result } => self.sink_started(transfer, result),
            DataMessage::Written { transfer, len, result } => self.chunk_written(transfer, len, result),
            DataMessage::Stored { transfer, result } => self.download_stored(transfer, result),
            DataMessage::Listed { request, result } => self.listed(request, result),
        }
    }
}

/// The node tells each session when its time to drain is over. Only one that is not told ends by its own clock, this much
/// later: it fails its transfers, where those of the others are continued.
const OVERDUE: Duration = Duration::from_secs(1);
