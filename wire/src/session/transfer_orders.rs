//! What a session does with single transfers because its own shell wants it; otherwise as `orders.rs`.

use super::{
    GetRequest, PutRequest, Role, Session, SessionError, Step, Transfer, requests::prefix_bytes, transfer::first_limit,
};
use crate::{
    Begin, Cancel, ClassCode, FailureCode, Finished, Message, Opened, Progress, Put, Ready, Stored,
    WEIGHT_THOUSANDTHS_MAX, Window,
};

impl Session {
    /// Client: asks for a file. Gives the transfer's id; the answer is [`super::Event::Opened`] or [`super::Event::Failed`].
    pub fn get(&mut self, request: GetRequest) -> Result<u32, SessionError> {
        let transfer = self.check_transfer("get", &request.path, request.weight_thousandths)?;
        if request.offset > 0 && request.prefix_hash.is_none() {
            return Err(SessionError::OutOfRange("offset without a hash"));
        }
        self.transfers.insert(transfer, Step::Requested { offset: request.offset, window: request.window });
        self.send(Message::Get(request.message(transfer)));
        Ok(transfer)
    }

    /// Client: offers a file. Gives the transfer's id; the answer is [`super::Event::Ready`] or [`super::Event::Failed`].
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

    /// Client: begins to send a put at `start`: the offset of [`super::Event::Ready`], or 0 when the prefix does not match. Data may
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
}

impl Transfer {
    fn wrong_step(&self, order: &'static str) -> SessionError {
        SessionError::WrongStep { order, transfer: self.id, state: self.step.as_str() }
    }
}
