//! What the peer's messages do to a session. Which may come is the table's business (`state.rs`); here it is one method per
//! message, and one match without `_`.

use flow::{Moment, Rate};

use super::{Event, Exit, Pulse, Session, State, Step, state};
use crate::{
    Failed, FailureCode, Finished, Get, Goodbye, GoodbyeCode, Hello, List, ListError, Listing, Message,
    PROTOCOL_VERSION, Ping, Pong, Progress, Proportions, Put, Refusal, RefusalCode, Stored, Violation, Welcome, Window,
    words::cut,
};

impl Session {
    pub(super) fn take_message(&mut self, message: Message, now: Moment) -> Result<(), Violation> {
        let phase = self.phase();
        match state::verdict(self.role, phase, message.kind()) {
            state::Verdict::Take(_) => {}
            state::Verdict::Ignore => return Ok(()),
            state::Verdict::Violation => {
                let (message, state, role) = (message.name(), phase.as_str(), self.role.as_str());
                return Err(Violation::Unexpected { message, state, role });
            }
        }
        // A decoder has done this already; a session must not depend on that.
        message.check()?;
        if let Some(pulse) = self.state.pulse_mut() {
            pulse.heard(now, &self.limits);
        }
        match message {
            Message::Hello(m) => self.on_hello(m, now),
            Message::Welcome(m) => self.on_welcome(m, now),
            Message::Refusal(m) => self.on_refusal(m),
            Message::Ping(m) => self.on_ping(m),
            Message::Pong(m) => self.on_pong(m, now),
            Message::List(m) => self.on_list(m),
            Message::Listing(m) => self.on_listing(m),
            Message::Get(m) => self.on_get(m),
            Message::Put(m) => self.on_put(m),
            Message::Opened(m) => self.on_step(m.transfer, |t| t.handle_opened(&m), Event::Opened(m)),
            Message::Ready(m) => self.on_step(m.transfer, |t| t.handle_ready(&m), Event::Ready(m.clone())),
            Message::Begin(m) => self.on_step(m.transfer, |t| t.handle_begin(&m), Event::Begin(m)),
            Message::Window(m) => self.on_window(m),
            Message::Finished(m) => self.on_finished(m),
            Message::Stored(m) => self.on_stored(m),
            Message::Failed(m) => self.on_end(m.transfer, Event::Failed(m)),
            Message::Cancel(m) => self.on_end(m.transfer, Event::Cancelled { transfer: m.transfer }),
            Message::DesiredRates(m) => {
                let (upload, download) = (Rate::from_wire(m.upload), Rate::from_wire(m.download));
                self.emit(Event::Desired { upload, download });
                Ok(())
            }
            Message::Proportions(m) => self.on_proportions(&m),
            Message::Granted(m) => {
                let (upload, download) = (Rate::from_wire(m.upload), Rate::from_wire(m.download));
                self.emit(Event::Granted { upload, download });
                Ok(())
            }
            Message::Progress(m) => self.on_progress(m),
            Message::Goodbye(m) => {
                self.on_goodbye(m);
                Ok(())
            }
        }
    }

    fn on_hello(&mut self, mut hello: Hello, now: Moment) -> Result<(), Violation> {
        // Before anything else is looked at: the rest may mean something else in another version.
        if hello.version != PROTOCOL_VERSION {
            let words = format!("version {} is not spoken here; version {PROTOCOL_VERSION} is", hello.version);
            self.refuse_now(Refusal::new(RefusalCode::Version, words));
            return Ok(());
        }
        for get in &hello.gets {
            self.transfers.claim(get.transfer)?;
        }
        for list in &hello.lists {
            self.lists.claim(list.request)?;
        }
        let State::Greeting { deadline } = self.state else {
            return Ok(());
        };
        let (gets, lists) = (std::mem::take(&mut hello.gets), std::mem::take(&mut hello.lists));
        self.state = State::Deciding { deadline, since: now, gets, lists };
        self.emit(Event::Hello(hello));
        Ok(())
    }

    pub(super) fn refuse_now(&mut self, refusal: Refusal) {
        self.send(Message::Refusal(refusal.clone()));
        self.close(Exit::Refused(refusal));
    }

    fn on_welcome(&mut self, welcome: Welcome, now: Moment) -> Result<(), Violation> {
        self.state = State::Open { pulse: Pulse::new(now, &self.limits) };
        self.emit(Event::Welcomed(welcome));
        Ok(())
    }

    fn on_refusal(&mut self, refusal: Refusal) -> Result<(), Violation> {
        self.emit(Event::Refused(refusal.clone()));
        self.close(Exit::Refused(refusal));
        Ok(())
    }

    fn on_ping(&mut self, ping: Ping) -> Result<(), Violation> {
        self.send(Message::Pong(Pong { nonce: ping.nonce, sent_ns: ping.sent_ns }));
        Ok(())
    }

    fn on_pong(&mut self, pong: Pong, now: Moment) -> Result<(), Violation> {
        if let Some(pulse) = self.state.pulse_mut() {
            let rtt = pulse.pong(&pong, now)?;
            self.emit(Event::Pong { rtt });
        }
        Ok(())
    }

    fn on_list(&mut self, list: List) -> Result<(), Violation> {
        self.lists.claim(list.request)?;
        self.admit_list(list);
        Ok(())
    }

    /// Takes a list whose id has been claimed, or answers why not.
    pub(super) fn admit_list(&mut self, list: List) {
        let failure = if self.lists.len() >= self.limits.lists_max {
            Some((FailureCode::TooMany, format!("at most {} lists at once", self.limits.lists_max)))
        } else {
            self.path_failure(list.path.len().max(list.after.len()))
        };
        if let Some((code, words)) = failure {
            let error = Some(ListError::new(code, words));
            self.send(Message::Listing(Listing { request: list.request, error, ..Listing::default() }));
            return;
        }
        self.lists.insert(list.request);
        self.emit(Event::List(list));
    }

    fn on_listing(&mut self, listing: Listing) -> Result<(), Violation> {
        if !self.lists.end(listing.request) {
            return Err(Violation::UnknownRequest(listing.request));
        }
        self.emit(Event::Listing(listing));
        Ok(())
    }

    fn on_get(&mut self, get: Get) -> Result<(), Violation> {
        self.transfers.claim(get.transfer)?;
        self.admit_get(get);
        Ok(())
    }

    /// Takes a get whose id has been claimed, or answers why not.
    pub(super) fn admit_get(&mut self, get: Get) {
        if let Some((code, words)) = self.transfer_failure(get.path.len()) {
            self.send_failed(get.transfer, code, words);
            return;
        }
        self.transfers.insert(get.transfer, Step::Asked { offset: get.offset, window: get.window });
        self.emit(Event::Get(get));
    }

    fn on_put(&mut self, put: Put) -> Result<(), Violation> {
        self.transfers.claim(put.transfer)?;
        if let Some((code, words)) = self.transfer_failure(put.path.len()) {
            self.send_failed(put.transfer, code, words);
            return Ok(());
        }
        self.transfers.insert(put.transfer, Step::Announced { size: put.size });
        self.emit(Event::Put(put));
        Ok(())
    }

    /// Why a new transfer can't be taken. An answer and no violation, since a client does not know our limits.
    fn transfer_failure(&self, path_bytes: usize) -> Option<(FailureCode, String)> {
        if self.is_draining() {
            return Some((FailureCode::Draining, "this node takes no new transfers".to_owned()));
        }
        if self.transfers.len() >= self.limits.transfers_max {
            let words = format!("at most {} transfers at once in a session", self.limits.transfers_max);
            return Some((FailureCode::TooMany, words));
        }
        self.path_failure(path_bytes)
    }

    fn path_failure(&self, path_bytes: usize) -> Option<(FailureCode, String)> {
        let max = self.limits.path_bytes_max;
        (path_bytes > max)
            .then(|| (FailureCode::BadPath, format!("a path of {path_bytes} bytes; {max} are allowed here")))
    }

    pub(super) fn send_failed(&mut self, transfer: u32, code: FailureCode, words: impl Into<String>) {
        self.send(Message::Failed(Failed::new(transfer, code, cut(words.into()))));
    }

    /// A message that moves a live transfer on; nothing happens for one that has ended here.
    fn on_step(
        &mut self,
        transfer: u32,
        handle: impl FnOnce(&mut super::Transfer) -> Result<(), Violation>,
        event: Event,
    ) -> Result<(), Violation> {
        if let Some(transfer) = self.transfers.meant(transfer)? {
            handle(transfer)?;
            self.emit(event);
        }
        Ok(())
    }

    fn on_window(&mut self, window: Window) -> Result<(), Violation> {
        let Window { transfer, limit } = window;
        if let Some(live) = self.transfers.meant(transfer)?
            && live.handle_window(limit)?
        {
            self.emit(Event::WindowMoved { transfer, limit });
        }
        Ok(())
    }

    fn on_finished(&mut self, finished: Finished) -> Result<(), Violation> {
        let Ok(hash) = <[u8; 32]>::try_from(finished.hash.as_slice()) else {
            return Err(Violation::BadLength { what: "hash", len: finished.hash.len() });
        };
        let event = Event::Finished { transfer: finished.transfer, size: finished.size, hash };
        self.on_step(finished.transfer, |t| t.handle_finished(&finished), event)
    }

    fn on_stored(&mut self, stored: Stored) -> Result<(), Violation> {
        let transfer = stored.transfer;
        self.on_step(transfer, |t| t.handle_stored(), Event::Stored { transfer })?;
        self.transfers.end(transfer);
        Ok(())
    }

    fn on_end(&mut self, transfer: u32, event: Event) -> Result<(), Violation> {
        if self.transfers.meant(transfer)?.is_some() {
            self.transfers.end(transfer);
            self.emit(event);
        }
        Ok(())
    }

    fn on_progress(&mut self, progress: Progress) -> Result<(), Violation> {
        let Progress { transfer, stored } = progress;
        self.on_step(transfer, |t| t.handle_progress(stored), Event::Progress { transfer, stored })
    }

    fn on_proportions(&mut self, proportions: &Proportions) -> Result<(), Violation> {
        let mut shares = Vec::with_capacity(proportions.shares.len());
        for share in &proportions.shares {
            if self.transfers.meant(share.transfer)?.is_some() {
                shares.push((share.transfer, share.weight_factor()));
            }
        }
        if !shares.is_empty() {
            self.emit(Event::Proportions(shares));
        }
        Ok(())
    }

    fn on_goodbye(&mut self, goodbye: Goodbye) {
        if goodbye.code() == GoodbyeCode::Draining && self.is_open() {
            self.state = match std::mem::replace(&mut self.state, State::Closed) {
                State::Open { pulse } => State::Draining { pulse, deadline: None },
                draining => draining,
            };
            self.emit(Event::Draining);
            return;
        }
        self.emit(Event::Goodbye(goodbye.clone()));
        self.close(match goodbye.code() {
            GoodbyeCode::Done => Exit::Clean,
            _ => Exit::PeerLeft(goodbye),
        });
    }
}
