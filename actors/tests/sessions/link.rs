//! Links without sockets: two bounded pipes, and the ports over them.

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::Duration,
};

use actors::port::{
    ControlLink, ControlReceiver, ControlSender, DataLink, DataReceiver, DataSender, LinkError, Payload, Pressure,
    Remote, Transport,
};
use bytes::Bytes;
use flow::Rate;
use wire::{DataHeader, Message, PeerId, Role, Ways};

struct Pipe<T> {
    queue: VecDeque<T>,
    room: usize,
    closed: bool,
    waiting: Vec<Waker>,
    /// At which rate it is read, and what may wait unread.
    read_at: Option<(Rate, Duration)>,
}

impl<T> Pipe<T> {
    fn wake(&mut self) {
        self.waiting.drain(..).for_each(Waker::wake);
    }
}

/// One end of a pipe, or both: dropping either closes it.
pub(crate) struct End<T>(Arc<Mutex<Pipe<T>>>);

impl<T> Drop for End<T> {
    fn drop(&mut self) {
        let mut pipe = self.0.lock().unwrap();
        pipe.closed = true;
        pipe.wake();
    }
}

impl<T> End<T> {
    /// A pipe that takes `room` items before its writer must wait.
    pub(crate) fn pair(room: usize) -> (Self, Self) {
        let pipe = Pipe { queue: VecDeque::new(), room, closed: false, waiting: Vec::new(), read_at: None };
        let pipe = Arc::new(Mutex::new(pipe));
        (Self(pipe.clone()), Self(pipe))
    }

    fn lost() -> LinkError {
        LinkError::Lost(io::ErrorKind::BrokenPipe.into())
    }

    /// At which rate the other end reads, and what it lets wait unread.
    pub(crate) fn read_at(&self) -> Option<(Rate, Duration)> {
        self.0.lock().unwrap().read_at
    }

    /// Moves what fits.
    fn poll_push(&self, cx: &mut Context<'_>, items: &mut VecDeque<T>) -> Poll<Result<(), LinkError>> {
        let mut pipe = self.0.lock().unwrap();
        if pipe.closed {
            return Poll::Ready(Err(Self::lost()));
        }
        while pipe.queue.len() < pipe.room
            && let Some(item) = items.pop_front()
        {
            pipe.queue.push_back(item);
            pipe.wake();
        }
        if items.is_empty() {
            return Poll::Ready(Ok(()));
        }
        pipe.waiting.push(cx.waker().clone());
        Poll::Pending
    }

    fn poll_pop(&self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut pipe = self.0.lock().unwrap();
        if let Some(item) = pipe.queue.pop_front() {
            pipe.wake();
            return Poll::Ready(Some(item));
        }
        if pipe.closed {
            return Poll::Ready(None);
        }
        pipe.waiting.push(cx.waker().clone());
        Poll::Pending
    }

    /// The next item; `None` when the other end is gone.
    pub(crate) async fn next(&self) -> Option<T> {
        std::future::poll_fn(|cx| self.poll_pop(cx)).await
    }

    /// Sends one item; false when the other end is gone.
    pub(crate) async fn send(&self, item: T) -> bool {
        let mut items = VecDeque::from([item]);
        std::future::poll_fn(|cx| self.poll_push(cx, &mut items)).await.is_ok()
    }
}

struct ControlOut {
    end: End<Message>,
    pending: VecDeque<Message>,
}

impl ControlSender for ControlOut {
    fn start_send(&mut self, message: &Message) -> Result<(), LinkError> {
        self.pending.push_back(message.clone());
        Ok(())
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LinkError>> {
        self.end.poll_push(cx, &mut self.pending)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LinkError>> {
        self.poll_flush(cx)
    }
}

impl ControlReceiver for End<Message> {
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Message>, LinkError>> {
        self.poll_pop(cx).map(Ok)
    }
}

/// A data chunk.
pub(crate) type Chunk = (DataHeader, Bytes);

struct DataOut {
    end: End<Chunk>,
    pending: VecDeque<Chunk>,
}

impl DataSender for DataOut {
    fn start_send(&mut self, header: DataHeader, payload: Payload) -> Result<(), LinkError> {
        let Payload::Memory(payload) = payload else {
            return Err(LinkError::Local("only plaintext links of a real transport take files".into()));
        };
        assert!(self.pending.is_empty(), "a chunk is started only after the one before was flushed");
        self.pending.push_back((header, payload));
        Ok(())
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LinkError>> {
        self.end.poll_push(cx, &mut self.pending)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LinkError>> {
        self.poll_flush(cx)
    }

    fn pressure(&mut self) -> Pressure {
        Pressure::Network
    }

    fn unacknowledged_bytes(&self) -> u64 {
        0
    }
}

struct DataIn {
    end: End<Chunk>,
    current: Option<Chunk>,
}

impl DataReceiver for DataIn {
    fn poll_header(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<DataHeader>, LinkError>> {
        if self.current.is_none() {
            self.current = std::task::ready!(self.end.poll_pop(cx));
        }
        Poll::Ready(Ok(self.current.as_ref().map(|(header, _)| *header)))
    }

    fn poll_payload(&mut self, _: &mut Context<'_>) -> Poll<Result<Bytes, LinkError>> {
        let (_, payload) = self.current.take().expect("a payload is asked for after its header");
        Poll::Ready(Ok(payload))
    }

    fn set_rate(&mut self, rate: Rate, unread: Duration) {
        self.end.0.lock().unwrap().read_at = Some((rate, unread));
    }
}

/// Where all fake links come from.
pub(crate) fn address() -> SocketAddr {
    ([192, 0, 2, 7], 4711).into()
}

/// One side of a control link to `peer`.
pub(crate) fn control(peer: PeerId, incoming: End<Message>, outgoing: End<Message>) -> ControlLink {
    ControlLink {
        remote: Remote { peer, address: address(), transport: Transport::Tcp },
        receiver: Box::new(incoming),
        sender: Box::new(ControlOut { end: outgoing, pending: VecDeque::new() }),
        data_endpoint: String::new(),
    }
}

/// The side of `role` of a data link to `peer`. Where it sends nothing its half ends at once.
pub(crate) fn data(peer: PeerId, role: Role, ways: Ways, incoming: End<Chunk>, outgoing: End<Chunk>) -> DataLink {
    let sender: Box<dyn DataSender> = Box::new(DataOut { end: outgoing, pending: VecDeque::new() });
    DataLink {
        address: address(),
        peer: Some(peer),
        transport: Transport::Tcp,
        ways,
        receiver: Box::new(DataIn { end: incoming, current: None }),
        sender: ways.carry_from(role).then_some(sender),
    }
}
