//! What a session does because its own shell wants it. Every order is checked against the state; one that comes too late
//! (the peer has just ended the transfer) is an error that changes nothing.

use flow::{Moment, Rate};

use super::{
    Exit, GetRequest, Phase, Pulse, PutRequest, Role, Session, SessionError, State, Step, Transfer,
    transfer::first_limit,
};
use crate::{
    Begin, CONTROL_FRAME_BYTES_MAX, Cancel, ClassCode, DesiredRates, Entry, FailureCode, Finished, Get, Goodbye,
    GoodbyeCode, Granted, List, ListError, Listing, Message, Opened, Progress, Proportion, Proportions, Put, Ready,
    Refusal, RefusalCode, SHARES_MAX, Stored, WEIGHT_THOUSANDTHS_MAX, Welcome, Window, frame::encoded_bytes,
    words::cut,
};

/// The whole session.
impl Session {
    /// Server: takes the client in. Its gets follow as events.
    pub fn welcome(&mut self, welcome: Welcome) -> Result<(), SessionError> {
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Deciding { since, gets, .. } => {
                self.state = State::Open { pulse: Pulse::new(since, &self.limits) };
                self.send(Message::Welcome(welcome));
                for (index, get) in gets.into_iter().enumerate() {
                    if index < self.limits.gets_in_hello_max {
                        self.admit_get(get);
                    } else {
                        self.send_failed(get.transfer, FailureCode::TooMany, "too many gets in the hello");
                    }
                }
                Ok(())
            }
            other => {
                self.state = other;
                Err(self.wrong_state("welcome"))
            }
        }
    }

    /// Server: does not take the client in. Also before its hello came.
    pub fn refuse(&mut self, mut refusal: Refusal) -> Result<(), SessionError> {
        match (self.role, self.phase()) {
            (Role::Server, Phase::Greeting | Phase::Deciding) => {
                refusal.message = cut(refusal.message);
                self.refuse_now(refusal);
                Ok(())
            }
            _ => Err(self.wrong_state("refuse")),
        }
    }

    /// Client: asks for other rates; `upload` is what the client sends.
    pub fn set_desired(&mut self, upload: Rate, download: Rate) -> Result<(), SessionError> {
        self.need("set_desired", Role::Client)?;
        self.send(Message::DesiredRates(DesiredRates { upload: upload.to_wire(), download: download.to_wire() }));
        Ok(())
    }

    /// Client: asks that its rate be shared among its transfers like this. Transfers that are not live are left out;
    /// weights are kept within 0.001 and 1000.
    pub fn set_proportions(&mut self, shares: &[(u32, f64)]) -> Result<(), SessionError> {
        self.need("set_proportions", Role::Client)?;
        let shares: Vec<Proportion> = shares
            .iter()
            .filter(|(transfer, _)| self.transfers.get(*transfer).is_some())
            .take(SHARES_MAX)
            .map(|&(transfer, weight)| Proportion { transfer, weight_thousandths: thousandths(weight) })
            .collect();
        if !shares.is_empty() {
            self.send(Message::Proportions(Proportions { shares }));
        }
        Ok(())
    }

    /// Server: tells the client its rates, as the client sees them: `upload` is what the client may send.
    pub fn set_granted(&mut self, upload: Rate, download: Rate) -> Result<(), SessionError> {
        self.need("set_granted", Role::Server)?;
        self.send(Message::Granted(Granted { upload: upload.to_wire(), download: download.to_wire() }));
        Ok(())
    }

    /// Measures the round trip; the answer is [`Event::Pong`].
    pub fn ping(&mut self, now: Moment) -> Result<(), SessionError> {
        let Some(pulse) = self.state.pulse_mut() else {
            return Err(self.wrong_state("ping"));
        };
        let ping = pulse.ping(now, &self.limits).ok_or(SessionError::TooMany("pings without an answer"))?;
        self.send(Message::Ping(ping));
        Ok(())
    }

    /// No new transfers; the session ends with the last live one, or at `deadline`. A client that was not welcomed yet is
    /// refused. Draining again moves the deadline.
    pub fn drain(&mut self, deadline: Moment) -> Result<(), SessionError> {
        match (std::mem::replace(&mut self.state, State::Closed), self.role) {
            (State::Open { pulse }, _) => {
                self.state = State::Draining { pulse, deadline: Some(deadline) };
                self.send(Message::Goodbye(Goodbye::new(GoodbyeCode::Draining, "")));
                self.settle();
                Ok(())
            }
            (State::Draining { pulse, .. }, _) => {
                self.state = State::Draining { pulse, deadline: Some(deadline) };
                Ok(())
            }
            (State::Greeting { .. } | State::Deciding { .. }, Role::Server) => {
                self.refuse_now(Refusal::new(RefusalCode::Draining, "this node takes no new sessions"));
                Ok(())
            }
            (other, _) => {
                self.state = other;
                Err(self.wrong_state("drain"))
            }
        }
    }

    /// Ends the session now. [`GoodbyeCode::Draining`] is not an end; use [`Session::drain`].
    pub fn goodbye(&mut self, code: GoodbyeCode, words: impl Into<String>) -> Result<(), SessionError> {
        if code == GoodbyeCode::Draining {
            return Err(SessionError::OutOfRange("goodbye code"));
        }
        match self.phase() {
            Phase::Closed => Err(self.wrong_state("goodbye")),
            Phase::Greeting | Phase::Deciding if self.role == Role::Server => {
                self.refuse_now(Refusal::new(RefusalCode::Internal, cut(words.into())));
                Ok(())
            }
            Phase::Greeting | Phase::Deciding | Phase::Open | Phase::Draining => {
                let goodbye = Goodbye::new(code, cut(words.into()));
                self.send(Message::Goodbye(goodbye.clone()));
                self.close(if code == GoodbyeCode::Done { Exit::Clean } else { Exit::Left(goodbye) });
                Ok(())
            }
        }
    }

    pub(super) fn wrong_state(&self, order: &'static str) -> SessionError {
        SessionError::WrongState { order, state: self.state_name(), role: self.role.as_str() }
    }

    /// An order of an open session's `role`.
    fn need(&self, order: &'static str, role: Role) -> Result<(), SessionError> {
        if self.role == role && self.is_open() {
            return Ok(());
        }
        Err(self.wrong_state(order))
    }
}

/// Listings.
impl Session {
    /// Client: asks for one page of `path`, names after `after`. Gives the request's id; the answer is [`Event::Listing`].
    pub fn list(&mut self, path: &str, recursive: bool, after: &str) -> Result<u32, SessionError> {
        self.need("list", Role::Client)?;
        if self.lists.len() >= self.limits.lists_max {
            return Err(SessionError::TooMany("lists"));
        }
        self.check_path(path)?;
        self.check_path(after)?;
        let request = self.lists.next_id().ok_or(SessionError::TooMany("list requests"))?;
        self.lists.insert(request);
        self.send(Message::List(List { request, path: path.to_owned(), recursive, after: after.to_owned() }));
        Ok(request)
    }

    /// Server: answers a list with a page.
    pub fn listing(&mut self, request: u32, entries: Vec<Entry>, more: bool) -> Result<(), SessionError> {
        if entries.len() > self.limits.listing_entries_max {
            return Err(SessionError::TooMany("entries"));
        }
        self.answer_list("listing", Listing { request, entries, more, error: None })
    }

    /// Server: answers a list with an error.
    pub fn list_failed(
        &mut self,
        request: u32,
        code: FailureCode,
        words: impl Into<String>,
    ) -> Result<(), SessionError> {
        let error = Some(ListError::new(code, cut(words.into())));
        self.answer_list("list_failed", Listing { request, error, ..Listing::default() })
    }

    fn answer_list(&mut self, order: &'static str, listing: Listing) -> Result<(), SessionError> {
        self.need(order, Role::Server)?;
        let request = listing.request;
        if !self.lists.contains(request) {
            return Err(SessionError::NoSuchRequest(request));
        }
        let message = Message::Listing(listing);
        if encoded_bytes(&message) > CONTROL_FRAME_BYTES_MAX {
            return Err(SessionError::OutOfRange("listing"));
        }
        self.lists.end(request);
        self.send(message);
        self.settle();
        Ok(())
    }
}

/// Transfers.
impl Session {
    /// Client: asks for a file. Gives the transfer's id; the answer is [`Event::Opened`] or [`Event::Failed`].
    pub fn get(&mut self, request: GetRequest) -> Result<u32, SessionError> {
        let transfer = self.check_transfer("get", &request.path, request.weight_thousandths)?;
        if request.offset > 0 && request.prefix_hash.is_none() {
            return Err(SessionError::OutOfRange("offset without a hash"));
        }
        let GetRequest { path, offset, prefix_hash, weight_thousandths: weight, class, window } = request;
        self.transfers.insert(transfer, Step::Requested { offset, window });
        self.send(Message::Get(Get {
            transfer,
            path,
            offset,
            prefix_hash: prefix_bytes(offset, prefix_hash),
            weight,
            class: class.map_or(ClassCode::Unspecified, ClassCode::from).into(),
            window,
        }));
        Ok(transfer)
    }

    /// Client: offers a file. Gives the transfer's id; the answer is [`Event::Ready`] or [`Event::Failed`].
    pub fn put(&mut self, request: PutRequest) -> Result<u32, SessionError> {
        let transfer = self.check_transfer("put", &request.path, request.weight_thousandths)?;
        let PutRequest { path, size, mtime_ns, weight_thousandths: weight, class } = request;
        self.transfers.insert(transfer, Step::Offered { size });
        let class = class.map_or(ClassCode::Unspecified, ClassCode::from).into();
        self.send(Message::Put(Put { transfer, path, size, mtime_ns, class, weight }));
        Ok(transfer)
    }

    /// Server: the file of a get is open. `start` is the get's offset, or 0 when the prefix does not match. Data may follow.
    pub fn opened(&mut self, transfer: u32, size: u64, mtime_ns: i64, start: u64) -> Result<(), SessionError> {
        let live = self.live(transfer)?;
        let Step::Asked { offset, window } = live.step else {
            return Err(live.wrong_step("opened"));
        };
        if start > size || (start != 0 && start != offset) {
            return Err(SessionError::OutOfRange("start"));
        }
        live.step = Step::Sending { size, sent: start, limit: first_limit(start, offset, window) };
        self.send(Message::Opened(Opened { transfer, size, mtime_ns, start, resumed: start > 0 }));
        Ok(())
    }

    /// Server: a put may come. `offset` bytes are there with that hash; `window` as in [`crate::Get::window`].
    pub fn ready(
        &mut self,
        transfer: u32,
        offset: u64,
        prefix_hash: Option<[u8; 32]>,
        window: u64,
    ) -> Result<(), SessionError> {
        let live = self.live(transfer)?;
        let Step::Announced { size } = live.step else {
            return Err(live.wrong_step("ready"));
        };
        if offset > size || (offset > 0 && prefix_hash.is_none()) {
            return Err(SessionError::OutOfRange("offset"));
        }
        live.step = Step::Awaiting { size, offset, window };
        let prefix_hash = prefix_bytes(offset, prefix_hash);
        self.send(Message::Ready(Ready { transfer, offset, prefix_hash, window }));
        Ok(())
    }

    /// Client: begins to send a put at `start`: the offset of [`Event::Ready`], or 0 when the prefix does not match. Data may
    /// follow.
    pub fn begin(&mut self, transfer: u32, start: u64) -> Result<(), SessionError> {
        let live = self.live(transfer)?;
        let Step::Prepared { size, offset, window } = live.step else {
            return Err(live.wrong_step("begin"));
        };
        if start != 0 && start != offset {
            return Err(SessionError::OutOfRange("start"));
        }
        live.step = Step::Sending { size, sent: start, limit: first_limit(start, offset, window) };
        self.send(Message::Begin(Begin { transfer, start }));
        Ok(())
    }

    /// Receiver: lets the sender go on up to `new_limit`, an absolute offset. One that is not above the last is ignored.
    pub fn grant_window(&mut self, transfer: u32, new_limit: u64) -> Result<(), SessionError> {
        let live = self.live(transfer)?;
        let Step::Receiving { limit, .. } = &mut live.step else {
            return Err(live.wrong_step("grant_window"));
        };
        if new_limit > *limit {
            *limit = new_limit;
            self.send(Message::Window(Window { transfer, limit: new_limit }));
        }
        Ok(())
    }

    /// Sender: everything is sent; `hash` is that of the whole file.
    pub fn finished(&mut self, transfer: u32, size: u64, hash: [u8; 32]) -> Result<(), SessionError> {
        let live = self.live(transfer)?;
        match live.step {
            Step::Sending { size: announced, sent, .. } if sent == announced && size == announced => {}
            Step::Sending { .. } => return Err(SessionError::OutOfRange("size")),
            _ => return Err(live.wrong_step("finished")),
        }
        live.step = Step::Sent { size };
        self.send(Message::Finished(Finished { transfer, size, hash: hash.to_vec() }));
        Ok(())
    }

    /// Receiver: the file is verified and safe. Ends the transfer.
    pub fn stored(&mut self, transfer: u32) -> Result<(), SessionError> {
        let live = self.live(transfer)?;
        match live.step {
            Step::Receiving { size, received, finished: true, .. } if received == size => {}
            _ => return Err(live.wrong_step("stored")),
        }
        self.transfers.end(transfer);
        self.send(Message::Stored(Stored { transfer }));
        self.settle();
        Ok(())
    }

    /// Gives up a transfer and says why. Data of it that is on its way will be [`super::Accepted::Discard`].
    pub fn fail(&mut self, transfer: u32, code: FailureCode, words: impl Into<String>) -> Result<(), SessionError> {
        self.end_live("fail", transfer)?;
        self.send_failed(transfer, code, words);
        self.settle();
        Ok(())
    }

    /// Gives up a transfer because nobody wants it any more.
    pub fn cancel(&mut self, transfer: u32) -> Result<(), SessionError> {
        self.end_live("cancel", transfer)?;
        self.send(Message::Cancel(Cancel { transfer }));
        self.settle();
        Ok(())
    }

    /// Receiver: tells the sender how much is on disk.
    pub fn progress(&mut self, transfer: u32, stored: u64) -> Result<(), SessionError> {
        let live = self.live(transfer)?;
        match live.step {
            Step::Receiving { received, .. } if stored <= received => {}
            Step::Receiving { .. } => return Err(SessionError::OutOfRange("stored")),
            _ => return Err(live.wrong_step("progress")),
        }
        self.send(Message::Progress(Progress { transfer, stored }));
        Ok(())
    }

    fn live(&mut self, transfer: u32) -> Result<&mut Transfer, SessionError> {
        self.transfers.get_mut(transfer).ok_or(SessionError::NoSuchTransfer(transfer))
    }

    /// A client that waits for its welcome may only say goodbye, so its first gets cannot be ended yet.
    fn end_live(&mut self, order: &'static str, transfer: u32) -> Result<(), SessionError> {
        if !self.is_open() {
            return Err(self.wrong_state(order));
        }
        if self.transfers.end(transfer) { Ok(()) } else { Err(SessionError::NoSuchTransfer(transfer)) }
    }

    /// Whether the client may open another transfer; its id.
    fn check_transfer(&self, order: &'static str, path: &str, weight: u32) -> Result<u32, SessionError> {
        self.need(order, Role::Client)?;
        if self.is_draining() {
            return Err(SessionError::Draining);
        }
        if self.transfers.len() >= self.limits.transfers_max {
            return Err(SessionError::TooMany("transfers"));
        }
        self.check_path(path)?;
        if weight > WEIGHT_THOUSANDTHS_MAX {
            return Err(SessionError::OutOfRange("weight"));
        }
        self.transfers.next_id().ok_or(SessionError::TooMany("transfer ids"))
    }

    fn check_path(&self, path: &str) -> Result<(), SessionError> {
        if path.len() <= self.limits.path_bytes_max {
            return Ok(());
        }
        Err(SessionError::OutOfRange("path"))
    }
}

impl Transfer {
    fn wrong_step(&self, order: &'static str) -> SessionError {
        SessionError::WrongStep { order, transfer: self.id, state: self.step.as_str() }
    }
}

fn prefix_bytes(offset: u64, hash: Option<[u8; 32]>) -> Vec<u8> {
    match hash {
        Some(hash) if offset > 0 => hash.to_vec(),
        _ => Vec::new(),
    }
}

/// A weight as it travels. The cast saturates; not-a-number becomes the least weight.
fn thousandths(weight: f64) -> u32 {
    ((weight * 1000.0).round() as u32).clamp(1, WEIGHT_THOUSANDTHS_MAX)
}
