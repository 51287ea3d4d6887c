//! What a session does because its own shell wants it. Every order is checked against the state; one that comes too late
//! (the peer has just ended the transfer) is an error that changes nothing.

use flow::{Moment, Rate};

use super::{Exit, Phase, Pulse, Role, Session, SessionError, State};
use crate::{
    CONTROL_FRAME_BYTES_MAX, DesiredRates, FailureCode, Goodbye, GoodbyeCode, Granted, List, ListError, Listing,
    Message, Proportion, Proportions, Refusal, RefusalCode, SHARES_MAX, WEIGHT_THOUSANDTHS_MAX, Welcome,
    frame::encoded_bytes, words::cut,
};

/// The whole session.
impl Session {
    /// Server: takes the client in. Its gets and lists follow as events.
    pub fn welcome(&mut self, welcome: Welcome) -> Result<(), SessionError> {
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Deciding { since, gets, lists, .. } => {
                self.state = State::Open { pulse: Pulse::new(since, &self.limits) };
                self.send(Message::Welcome(welcome));
                for (index, get) in gets.into_iter().enumerate() {
                    if index < self.limits.gets_in_hello_max {
                        self.admit_get(get);
                    } else {
                        self.send_failed(get.transfer, FailureCode::TooMany, "too many gets in the hello");
                    }
                }
                for list in lists {
                    self.admit_list(list);
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

    /// Measures the round trip; the answer is [`super::Event::Pong`].
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

    pub(super) fn check_path(&self, path: &str) -> Result<(), SessionError> {
        if path.len() <= self.limits.path_bytes_max {
            return Ok(());
        }
        Err(SessionError::OutOfRange("path"))
    }

    /// An order of an open session's `role`.
    pub(super) fn need(&self, order: &'static str, role: Role) -> Result<(), SessionError> {
        if self.role == role && self.is_open() {
            return Ok(());
        }
        Err(self.wrong_state(order))
    }
}

/// Listings.
impl Session {
    /// Client: asks for one page of `path`, names after `after`. Gives the request's id; the answer is [`super::Event::Listing`].
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
    pub fn listing(&mut self, listing: Listing) -> Result<(), SessionError> {
        if listing.entries.len() > self.limits.listing_entries_max {
            return Err(SessionError::TooMany("entries"));
        }
        self.answer_list("listing", listing)
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

/// A weight as it travels. The cast saturates; not-a-number becomes the least weight.
fn thousandths(weight: f64) -> u32 {
    ((weight * 1000.0).round() as u32).clamp(1, WEIGHT_THOUSANDTHS_MAX)
}
