//! The session: what one end of a control link may say and hear, from the hello to the goodbye (DESIGN 3).
//!
//! Sans-I/O. The shell gives it messages ([`Session::handle_message`]), headers of data ([`Session::data_received`]), the
//! time ([`Session::handle_timeout`]) and its own wishes, and after each carries out the outputs
//! ([`Session::poll_output`]) until there are none. Methods: what it is (getters), `handle_*`, `poll_*`; the shell's wishes
//! are in `orders.rs` and `transfer_orders.rs`, the peer's messages in `messages.rs`.

mod error;
mod lists;
mod messages;
mod orders;
mod output;
mod pulse;
mod requests;
mod role;
mod state;
#[cfg(test)]
mod table_test;
mod transfer;
mod transfer_orders;
mod transfers;

pub use error::SessionError;
pub use output::{Event, Exit, Output};
pub use requests::{GetRequest, PutRequest, TransferStatus};
pub use role::Role;
pub use transfer::Accepted;

use std::{collections::VecDeque, time::Duration};

use flow::Moment;

use crate::{
    AGENT_BYTES_MAX, DataHeader, FailureCode, Goodbye, GoodbyeCode, Hello, Limits, Message, PROTOCOL_VERSION, Refusal,
    RefusalCode, Violation,
    words::{cut, cut_to},
};
use lists::Lists;
use pulse::Pulse;
use state::{Phase, State};
use transfer::{Step, Transfer};
use transfers::Transfers;

/// One end of a session.
#[derive(Debug)]
pub struct Session {
    role: Role,
    limits: Limits,
    state: State,
    transfers: Transfers,
    lists: Lists,
    /// Bounded by `Limits::outputs_max` for what the peer can cause.
    outputs: VecDeque<Output>,
}

impl Session {
    /// The client's end. Its first output sends `hello`. A `version` of 0 becomes ours; gets whose `transfer` is 0, and lists
    /// whose `request` is 0, are numbered in their order. The ids of others must grow: what breaks that is dropped.
    pub fn client(mut hello: Hello, limits: Limits, now: Moment) -> Self {
        let mut session = Self::new(Role::Client, limits, now);
        if hello.version == 0 {
            hello.version = PROTOCOL_VERSION;
        }
        hello.agent = cut_to(hello.agent, AGENT_BYTES_MAX);
        hello.gets.truncate(session.limits.gets_in_hello_max);
        hello.gets.retain_mut(|get| {
            if get.transfer == 0 {
                get.transfer = session.transfers.next_id().unwrap_or_default();
            }
            let fresh = get.transfer > session.transfers.highest();
            debug_assert!(fresh, "the ids of the gets in a hello must grow");
            if fresh {
                session.transfers.insert(get.transfer, Step::Requested { offset: get.offset, window: get.window });
            }
            fresh
        });
        hello.lists.truncate(session.limits.lists_max);
        hello.lists.retain_mut(|list| {
            if list.request == 0 {
                list.request = session.lists.next_id().unwrap_or_default();
            }
            let is_fresh = session.lists.claim(list.request).is_ok();
            debug_assert!(is_fresh, "the ids of the lists in a hello must grow");
            if is_fresh {
                session.lists.insert(list.request);
            }
            is_fresh
        });
        session.send(Message::Hello(hello));
        session
    }

    /// The server's end.
    pub fn server(limits: Limits, now: Moment) -> Self {
        Self::new(Role::Server, limits, now)
    }

    fn new(role: Role, limits: Limits, now: Moment) -> Self {
        let deadline = now.saturating_add(Duration::from_millis(limits.handshake_ms));
        Self {
            role,
            limits,
            state: State::Greeting { deadline },
            transfers: Transfers::default(),
            lists: Lists::default(),
            outputs: VecDeque::new(),
        }
    }

    /// Which end this is.
    pub fn role(&self) -> Role {
        self.role
    }

    /// `greeting`, `deciding`, `open`, `draining` or `closed`.
    pub fn state_name(&self) -> &'static str {
        self.phase().as_str()
    }

    /// Whether the welcome was given, and the session is not over. Also true while it drains.
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Open { .. } | State::Draining { .. })
    }

    /// Whether new transfers are not taken any more.
    pub fn is_draining(&self) -> bool {
        matches!(self.state, State::Draining { .. })
    }

    /// Whether it is over. The outputs up to [`Output::Close`] may still wait.
    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// The live transfers, by id.
    pub fn transfers(&self) -> impl Iterator<Item = TransferStatus> {
        self.transfers.iter().map(Transfer::status)
    }

    /// One live transfer.
    pub fn transfer(&self, transfer: u32) -> Option<TransferStatus> {
        self.transfers.get(transfer).map(Transfer::status)
    }

    /// Bytes of `transfer` that may be sent now: from what was sent to the window's limit or the end of the file. 0 for one
    /// that is not being sent.
    pub fn sendable(&self, transfer: u32) -> u64 {
        match self.transfers.get(transfer).map(|transfer| transfer.step) {
            Some(Step::Sending { size, sent, limit }) => limit.min(size).saturating_sub(sent),
            _ => 0,
        }
    }

    /// The control link brought `message`.
    ///
    /// # Errors
    /// The peer broke the protocol. The outputs are then a last word to it and [`Output::Close`].
    pub fn handle_message(&mut self, message: Message, now: Moment) -> Result<(), Violation> {
        if self.is_closed() {
            return Ok(());
        }
        if self.outputs.len() >= self.limits.outputs_max {
            return Err(self.violated(Violation::Flood));
        }
        match self.take_message(message, now) {
            Ok(()) => {
                self.settle();
                Ok(())
            }
            Err(violation) => Err(self.violated(violation)),
        }
    }

    /// A data link brought this header. A transfer's data comes on one data link only, so its order is that of the link.
    ///
    /// # Errors
    /// As [`Session::handle_message`].
    pub fn data_received(&mut self, header: &DataHeader) -> Result<Accepted, Violation> {
        let phase = self.phase();
        match phase {
            Phase::Open | Phase::Draining => {
                self.transfers.handle_data(header).map_err(|violation| self.violated(violation))
            }
            Phase::Closed => Ok(Accepted::Discard),
            Phase::Greeting | Phase::Deciding => {
                let role = self.role.as_str();
                Err(self.violated(Violation::Unexpected { message: "data", state: phase.as_str(), role }))
            }
        }
    }

    /// `len` more bytes of `transfer` were given to its data link; at most [`Session::sendable`].
    pub fn data_sent(&mut self, transfer: u32, len: u32) {
        if let Some(Transfer { step: Step::Sending { size, sent, limit }, .. }) = self.transfers.get_mut(transfer) {
            let end = sent.saturating_add(len.into());
            debug_assert!(end <= *size && end <= *limit, "sent {end} of transfer {transfer}, beyond its window");
            *sent = end.min(*size);
        }
    }

    /// The shell found a violation itself: a frame that does not decode, too many frames in a second. Says so to the peer
    /// and closes.
    pub fn handle_violation(&mut self, violation: Violation) {
        if !self.is_closed() {
            self.violated(violation);
        }
    }

    /// The control link closed, or was lost.
    pub fn handle_disconnect(&mut self) {
        if !self.is_closed() {
            self.close(Exit::PeerGone);
        }
    }

    /// The moment of [`Session::poll_timeout`] has come; harmless at any other.
    pub fn handle_timeout(&mut self, now: Moment) {
        match &mut self.state {
            State::Greeting { deadline } | State::Deciding { deadline, .. } if *deadline <= now => {
                self.dismiss(RefusalCode::Timeout, GoodbyeCode::TimedOut, "the handshake took too long");
                self.close(Exit::TimedOut("handshake"));
            }
            State::Draining { deadline: Some(deadline), .. } if *deadline <= now => self.end_drain(),
            State::Open { pulse } | State::Draining { pulse, .. } => {
                if pulse.dead_at(&self.limits).is_some_and(|dead_at| dead_at <= now) {
                    self.send(Message::Goodbye(Goodbye::new(GoodbyeCode::TimedOut, "nothing was heard for too long")));
                    self.close(Exit::TimedOut("silence"));
                } else if pulse.ping_at() <= now
                    && let Some(ping) = pulse.ping(now, &self.limits)
                {
                    self.send(Message::Ping(ping));
                }
            }
            State::Greeting { .. } | State::Deciding { .. } | State::Closed => {}
        }
    }

    /// When [`Session::handle_timeout`] is due. Ask again after every other call.
    pub fn poll_timeout(&self) -> Option<Moment> {
        match &self.state {
            State::Greeting { deadline } | State::Deciding { deadline, .. } => Some(*deadline),
            State::Open { pulse } => Some(pulse.next(&self.limits)),
            State::Draining { pulse, deadline } => {
                let next = pulse.next(&self.limits);
                Some(deadline.map_or(next, |deadline| deadline.min(next)))
            }
            State::Closed => None,
        }
    }

    /// The next thing to do. Call until `None`.
    pub fn poll_output(&mut self) -> Option<Output> {
        let output = self.outputs.pop_front();
        if self.outputs.is_empty() {
            // Thousands of sessions rest most of the time.
            self.outputs.shrink_to(IDLE_OUTPUTS);
        }
        output
    }

    fn phase(&self) -> Phase {
        self.state.phase()
    }

    fn send(&mut self, message: Message) {
        self.outputs.push_back(Output::Send(message));
    }

    fn emit(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    /// The last output.
    fn close(&mut self, exit: Exit) {
        self.state = State::Closed;
        self.transfers.clear();
        self.lists.clear();
        self.outputs.push_back(Output::Close(exit));
    }

    /// A last word: a refusal where the client still waits for its answer, else a goodbye.
    fn dismiss(&mut self, refusal: RefusalCode, goodbye: GoodbyeCode, words: impl Into<String>) {
        let words = cut(words.into());
        let message = match (self.role, self.phase()) {
            (Role::Server, Phase::Greeting | Phase::Deciding) => Message::Refusal(Refusal::new(refusal, words)),
            _ => Message::Goodbye(Goodbye::new(goodbye, words)),
        };
        self.send(message);
    }

    fn violated(&mut self, violation: Violation) -> Violation {
        self.dismiss(RefusalCode::Malformed, GoodbyeCode::Violation, violation.to_string());
        self.close(Exit::Violation(violation.clone()));
        violation
    }

    /// Ends a draining session with nothing left to do.
    fn settle(&mut self) {
        if self.is_draining() && self.transfers.is_empty() && self.lists.is_empty() {
            self.send(Message::Goodbye(Goodbye::new(GoodbyeCode::Done, "")));
            self.close(Exit::Clean);
        }
    }

    /// The drain's deadline: whoever still has transfers is told that each can be tried again elsewhere, or later.
    fn end_drain(&mut self) {
        let live: Vec<u32> = self.transfers.iter().map(|transfer| transfer.id).collect();
        for transfer in live {
            self.send_failed(transfer, FailureCode::Draining, "the node stopped before the transfer was done");
        }
        self.send(Message::Goodbye(Goodbye::new(GoodbyeCode::Done, "the drain is over")));
        self.close(Exit::TimedOut("drain"));
    }
}

/// Outputs for which an idle session keeps room.
const IDLE_OUTPUTS: usize = 4;
