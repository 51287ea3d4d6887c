//! The tasks that move frames between a session's links and its lanes. They know ports, never sockets.

use std::{
    cell::Cell,
    future::poll_fn,
    rc::Rc,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use flow::{Direction, Mode, ModeSwitch, Moment, Rate};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use wire::{DataHeader, Message, Role, Violation, Ways};

use crate::{
    link_mode::LinkMode,
    peer::{ControlMessage, DataMessage, backlog::Backlog, download::UNREAD},
    port::{ControlReceiver, ControlSender, DataLink, DataReceiver, DataSender, LinkError, Payload, Transport},
    registry::PeerEntry,
    shared::Shared,
    worker::Worker,
};

/// Control messages that wait for the kernel: beyond, the peer does not read what it asked for and is closed.
const CONTROL_OUT_MAX: usize = 1024;
/// The same in bytes: 16 of the largest frames. A page of names has tens of kilobytes, so that the number alone would let
/// one peer hold 64 MiB.
const CONTROL_OUT_BYTES_MAX: usize = 1 << 20;
/// Between two looks at what holds a full socket: when it fills, a receiver that has stopped looks like a slow network.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// How long the last words may take.
const GOODBYE: Duration = Duration::from_secs(3);

/// A task that ends with its owner.
pub(super) struct Tether(tokio::task::JoinHandle<()>);

impl Tether {
    pub(super) fn spawn(task: impl Future<Output = ()> + 'static) -> Self {
        Self(actix_rt::spawn(task))
    }
}

impl Drop for Tether {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A control message on its way out.
pub(super) struct Outgoing {
    pub(super) message: Message,
    /// Its bytes in the outbox's budget, given back when the kernel has them.
    pub(super) room: OwnedSemaphorePermit,
    /// When the frame that it answers became readable.
    pub(super) cause: Option<Moment>,
}

/// Control messages to their writer, bounded in number and in bytes.
pub(super) struct Outbox {
    messages: mpsc::Sender<Outgoing>,
    room: Arc<Semaphore>,
}

impl Outbox {
    /// An outbox, and its writer's end.
    pub(super) fn new() -> (Self, mpsc::Receiver<Outgoing>) {
        let (messages, outgoing) = mpsc::channel(CONTROL_OUT_MAX);
        (Self { messages, room: Arc::new(Semaphore::new(CONTROL_OUT_BYTES_MAX)) }, outgoing)
    }

    /// Puts a message in; false when there is no room for it.
    pub(super) fn put(&self, message: Message, cause: Option<Moment>) -> bool {
        let bytes = u32::try_from(message.encoded_len()).unwrap_or(u32::MAX);
        let Ok(room) = self.room.clone().try_acquire_many_owned(bytes) else { return false };
        self.messages.try_send(Outgoing { message, room, cause }).is_ok()
    }
}

/// Reads the control link into the control lane. A full lane, or a peer that talks too fast, stops the reading.
pub(super) async fn read_control(
    mut receiver: Box<dyn ControlReceiver>,
    lane: mpsc::Sender<ControlMessage>,
    shared: Arc<Shared>,
) {
    let per_second = f64::from(shared.config.control_frames_per_second.max(1));
    let mut allowance = per_second;
    let mut before = shared.clock.now();
    loop {
        // Room first, then the socket: a full lane is felt by the sender.
        let Ok(room) = lane.reserve().await else { return linger(receiver).await };
        let received = tokio::select! {
            biased;
            () = lane.closed() => return linger(receiver).await,
            received = poll_fn(|cx| receiver.poll_receive(cx)) => received,
        };
        let at = shared.clock.now();
        match received {
            Ok(Some(message)) => room.send(ControlMessage::Frame { message, at }),
            Ok(None) => return room.send(ControlMessage::LinkEnded(None)),
            Err(error) => return room.send(ControlMessage::LinkEnded(Some(error))),
        }
        allowance = (allowance + at.saturating_since(before).as_secs_f64() * per_second).min(per_second) - 1.0;
        before = at;
        if allowance < 0.0 {
            shared.metrics.refusal("rate_limited").increment(1);
            tokio::time::sleep(Duration::from_secs_f64(-allowance / per_second)).await;
        }
    }
}

/// Our session is over: read on for a moment, so that what the peer still sends does not turn into a reset that takes our
/// last words away from it.
async fn linger(mut receiver: Box<dyn ControlReceiver>) {
    let until_closed = async { while let Ok(Some(_)) = poll_fn(|cx| receiver.poll_receive(cx)).await {} };
    let _ = tokio::time::timeout(GOODBYE, until_closed).await;
}

/// Writes control messages, whatever data does.
pub(super) async fn write_control(
    mut sender: Box<dyn ControlSender>,
    mut messages: mpsc::Receiver<Outgoing>,
    lane: mpsc::Sender<ControlMessage>,
    shared: Arc<Shared>,
) {
    let (mut causes, mut rooms) = (Vec::new(), Vec::new());
    while let Some(first) = messages.recv().await {
        let mut next = Some(first);
        let mut result = Ok(());
        // As many as wait, up to one flush of about 64 small frames.
        while let Some(outgoing) = next.take() {
            causes.extend(outgoing.cause);
            rooms.push(outgoing.room);
            result = sender.start_send(&outgoing.message);
            if result.is_ok() && rooms.len() < 64 {
                next = messages.try_recv().ok();
            }
        }
        if result.is_ok() {
            result = tokio::select! {
                biased;
                flushed = poll_fn(|cx| sender.poll_flush(cx)) => flushed,
                // Whoever does not read keeps its place no longer than its session, and a moment for the last words.
                () = abandoned(&lane) => return,
            };
        }
        rooms.clear();
        if let Err(error) = result {
            let _ = lane.send(ControlMessage::WriterEnded(Some(error))).await;
            return;
        }
        let now = shared.clock.now();
        for cause in causes.drain(..) {
            shared.metrics.control_latency.record(now.saturating_since(cause).as_secs_f64());
        }
    }
    let _ = tokio::time::timeout(GOODBYE, poll_fn(|cx| sender.poll_close(cx))).await;
}

/// Completes a moment after the actor has ended.
async fn abandoned(lane: &mpsc::Sender<ControlMessage>) {
    lane.closed().await;
    tokio::time::sleep(GOODBYE).await;
}

/// How the data links of a session are read.
pub(super) struct Reading {
    /// The most at which any is read: the ceiling of the download that may go fastest.
    pub(super) rate: Cell<Rate>,
    /// How many there are that bring bytes.
    pub(super) links: Cell<u32>,
}

impl Default for Reading {
    fn default() -> Self {
        Self { rate: Cell::new(Rate::UNLIMITED), links: Cell::new(0) }
    }
}

impl Reading {
    /// What may wait unread on each link, as time at that rate. They bring no more than it together, and a peer that sends more
    /// than it may can fill all of them.
    fn unread(&self) -> Duration {
        UNREAD / self.links.get().max(1)
    }
}

/// Reads a data link into the data lane, as far as there is room and permission to receive.
async fn read_data(
    link: usize,
    mut receiver: Box<dyn DataReceiver>,
    lane: mpsc::Sender<DataMessage>,
    worker: Rc<Worker>,
    peer: Arc<PeerEntry>,
    shown: Rc<Cell<Mode>>,
    reading: Rc<Reading>,
) {
    let mut mode = LinkMode::new(worker.shared.clone(), Direction::Download, ModeSwitch::new(worker.now()));
    let backlog = Arc::new(Backlog::default());
    loop {
        let Ok(place) = lane.reserve().await else { return };
        let header = match poll_fn(|cx| receiver.poll_header(cx)).await {
            Ok(Some(header)) => header,
            Ok(None) => return place.send(DataMessage::LinkEnded { link, error: None }),
            Err(error) => return place.send(DataMessage::LinkEnded { link, error: Some(error) }),
        };
        receiver.set_rate(reading.rate.get(), reading.unread());
        match poll_fn(|cx| receiver.poll_payload(cx)).await {
            Ok(payload) => {
                // Paid when it has come: a header is a promise, and what was only promised must cost others nothing. The
                // next chunk is not read before.
                worker.arrive(&peer, header.len).await;
                let quantum = worker.shared.config.shaper.largest(shown.get(), reading.rate.get());
                // While the disk writes what came before, this one chunk has been read.
                let room = backlog.room(header.len, quantum).await;
                let at = worker.now();
                if let Some(mode) = mode.moved(header.len, at) {
                    receiver.set_mode(mode);
                    shown.set(mode);
                }
                place.send(DataMessage::Chunk { link, header, payload, at, room });
            }
            Err(error) => return place.send(DataMessage::LinkEnded { link, error: Some(error) }),
        }
    }
}

/// Watches the half of a data link on which nothing may come. That it ends says nothing of the link: whoever sends nothing has
/// nothing to keep it open for.
async fn watch(link: usize, mut receiver: Box<dyn DataReceiver>, lane: mpsc::Sender<DataMessage>) {
    let error = match poll_fn(|cx| receiver.poll_header(cx)).await {
        Ok(Some(header)) => LinkError::PeerFault(Violation::WrongWay(header.transfer)),
        Ok(None) => return,
        Err(error) => error,
    };
    // The actor may be gone.
    let _ = lane.send(DataMessage::LinkEnded { link, error: Some(error) }).await;
}

/// Writes chunks to a data link, one at a time, and says when the socket is full.
async fn write_data(
    link: usize,
    mut sender: Box<dyn DataSender>,
    mut chunks: mpsc::Receiver<(DataHeader, Payload)>,
    lane: mpsc::Sender<DataMessage>,
    shared: Arc<Shared>,
) {
    let mut in_socket = InSocket::new(shared);
    while let Some((header, payload)) = chunks.recv().await {
        in_socket.set(sender.unacknowledged_bytes() + u64::from(header.len));
        let mut result = sender.start_send(header, payload);
        if result.is_ok() {
            result = flush(link, sender.as_mut(), &lane).await;
        }
        let message = match result {
            Ok(()) => DataMessage::Sent { link },
            Err(error) => DataMessage::LinkEnded { link, error: Some(error) },
        };
        let ended = matches!(message, DataMessage::LinkEnded { .. });
        if lane.send(message).await.is_err() || ended {
            return;
        }
    }
    let _ = tokio::time::timeout(GOODBYE, poll_fn(|cx| sender.poll_close(cx))).await;
}

/// A link's part of what all sockets hold, given back on drop.
pub(crate) struct InSocket {
    bytes: u64,
    shared: Arc<Shared>,
}

impl InSocket {
    /// A socket that holds nothing yet.
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { bytes: 0, shared }
    }

    /// It holds `bytes` now.
    pub(crate) fn set(&mut self, bytes: u64) {
        // Adds what may be a negative number: the sum wraps back.
        self.shared.in_sockets.fetch_add(bytes.wrapping_sub(self.bytes), Relaxed);
        self.bytes = bytes;
    }
}

impl Drop for InSocket {
    fn drop(&mut self) {
        self.set(0);
    }
}

async fn flush(link: usize, sender: &mut dyn DataSender, lane: &mpsc::Sender<DataMessage>) -> Result<(), LinkError> {
    loop {
        let mut told = false;
        let flushed = poll_fn(|cx| {
            let poll = sender.poll_flush(cx);
            if poll.is_pending() && !told {
                told = lane.try_send(DataMessage::Blocked { link, pressure: sender.pressure() }).is_ok();
            }
            poll
        });
        if let Ok(result) = tokio::time::timeout(LOOK_AGAIN, flushed).await {
            return result;
        }
    }
}

/// What the actor keeps of a data link.
pub(super) struct Link {
    /// What carries it.
    pub(super) transport: Transport,
    /// Which ways it carries.
    pub(super) ways: Ways,
    /// Towards the peer; `None`: it carries nothing there.
    pub(super) outlet: Option<Outlet>,
    /// Its mode from the peer, which its reader keeps.
    pub(super) arriving: Rc<Cell<Mode>>,
    _reader: Tether,
}

/// The half of a data link that goes to the peer.
pub(super) struct Outlet {
    /// Chunks to its writer, one at a time.
    pub(super) chunks: mpsc::Sender<(DataHeader, Payload)>,
    /// The transfer whose chunk the writer has.
    pub(super) in_flight: Option<u32>,
    /// What the kernel said when that chunk did not fit.
    pub(super) blocked: Option<crate::port::Pressure>,
    /// Transfers pinned to it.
    pub(super) transfers: usize,
    /// Where the next round over its transfers begins, so that each comes first in turn.
    pub(super) first: u32,
    /// What carries it.
    pub(super) transport: Transport,
    /// Its mode.
    pub(super) mode: LinkMode,
    _writer: Tether,
}

impl Link {
    /// Starts the reader and the writer of data link `index` of a session in which we are `role`; `reading` says
    /// how all of them are read.
    pub(super) fn open(
        index: usize,
        link: DataLink,
        role: Role,
        lane: &mpsc::Sender<DataMessage>,
        worker: &Rc<Worker>,
        peer: Arc<PeerEntry>,
        reading: &Rc<Reading>,
    ) -> Self {
        let DataLink { transport, ways, receiver, sender, .. } = link;
        let arriving = Rc::new(Cell::new(Mode::Precise));
        let reader = if ways.carry_from(role.other()) {
            let (lane, worker, shown) = (lane.clone(), worker.clone(), arriving.clone());
            Tether::spawn(read_data(index, receiver, lane, worker, peer, shown, reading.clone()))
        } else {
            Tether::spawn(watch(index, receiver, lane.clone()))
        };
        let outlet = sender.map(|sender| Outlet::open(index, transport, sender, lane, worker));
        Self { transport, ways, outlet, arriving, _reader: reader }
    }
}

impl Outlet {
    /// Starts the writer.
    fn open(
        index: usize,
        transport: Transport,
        sender: Box<dyn DataSender>,
        lane: &mpsc::Sender<DataMessage>,
        worker: &Rc<Worker>,
    ) -> Self {
        let shared = &worker.shared;
        let (chunks, queue) = mpsc::channel(1);
        Self {
            chunks,
            in_flight: None,
            blocked: None,
            transfers: 0,
            first: 0,
            transport,
            mode: LinkMode::new(shared.clone(), Direction::Upload, ModeSwitch::new(worker.now())),
            _writer: Tether::spawn(write_data(index, sender, queue, lane.clone(), shared.clone())),
        }
    }

    /// Whether its bytes go from the page cache now: in bulk, where no cipher must see them.
    pub(super) fn takes_pages(&self) -> bool {
        self.transport == Transport::TcpPlain && self.mode.mode() == Mode::Bulk
    }
}
