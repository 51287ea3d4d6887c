//! The benchmark build without lanes: what a session says goes out in order with its data, behind the quantum that was
//! queued before it, as where one queue feeds one socket. Only that one: a program without lanes has more of them ahead.

use wire::Message;

use crate::peer::PeerActor;

impl PeerActor {
    fn has_data_queued(&self) -> bool {
        let in_flight = self
            .links
            .iter()
            .flatten()
            .filter_map(|link| link.outlet.as_ref())
            .any(|outlet| outlet.in_flight.is_some());
        in_flight || self.uploads.values().any(|upload| upload.is_queued())
    }

    /// Takes what is to be said while data is queued.
    pub(super) fn keep_behind_data(&mut self, message: Message) -> Option<Message> {
        if !self.has_data_queued() {
            return Some(message);
        }
        self.behind_data.push_back((message, self.cause));
        None
    }

    /// A quantum has gone out: now what was said behind it.
    pub(super) fn let_go(&mut self) {
        while let Some((message, cause)) = self.behind_data.pop_front() {
            self.send_now(message, cause);
        }
    }

    /// Nothing is queued any more (the receiver's window is shut, say): nothing to wait for.
    pub(super) fn let_go_if_no_data(&mut self) {
        if !self.behind_data.is_empty() && !self.has_data_queued() {
            self.let_go();
        }
    }
}
