//! The sending path: the only place where bytes of an answer go to a socket.
//!
//! The tree gives permission for one quantum, and then it is sent. Where no cipher must see it the kernel takes its pages (`sendfile`),
//! in bulk mode, and in precise mode where a quantum is of a size that makes it worth while. Else it is read from the page cache and written
//! at once, from memory that is still in this core's cache. Either way a transfer that waits for its turn holds no buffer. What the page cache does not hold is read on a
//! disk thread, its permission given back meanwhile.

use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    ops::Range,
    os::fd::BorrowedFd,
    task::{Context, Poll},
};

use actors::port::{Passage, Pressure, Source};
use bytes::Bytes;
use flow::{Limiter, Mode};

use super::{
    connection::{Connection, Stop},
    rows::Patience,
    stream::Stream,
};
use crate::transport::{halves::poll_direct, pressure::Limits};

/// Asked for at once; the tree gives a quantum, which is less.
const WISH_BYTES_MAX: u64 = 256 * 1024;
/// Quanta after which a socket is asked anew what it holds: the allocator wants to know it once in a round, of them all together.
const ASKED_EVERY: u32 = 4;
/// What the kernel sends for less by itself: worth the question whether the page cache holds it, and one pipe of 16 pages, which is what it
/// takes at a time. Just above that `sendfile` costs half as much again as a copy, a second pipe with next to nothing in it.
const PAGES_BYTES: std::ops::RangeInclusive<u32> = 32 * 1024..=60 * 1024;
/// Least and most that one read takes from a disk.
const COLD_BYTES: std::ops::RangeInclusive<u64> = 16 * 1024..=256 * 1024;

thread_local! {
    /// One quantum on its way from the page cache to a socket; a worker moves one at a time.
    static QUANTUM: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A transfer on its way out: its place in the tree, and what holds its socket.
pub(super) struct Sending {
    passage: Box<dyn Passage>,
    limits: Limits,
    /// Quanta sent since the socket was asked what it holds.
    unasked: u32,
}

impl Sending {
    /// A transfer that nothing was sent of.
    pub(super) fn new(passage: Box<dyn Passage>) -> Self {
        Self { passage, limits: Limits::default(), unasked: 0 }
    }

    /// All of it was sent.
    pub(super) fn done(mut self) {
        self.passage.end("sent");
    }

    /// It can't be sent to its end.
    pub(super) fn failed(mut self) {
        self.passage.end("failed");
    }

    fn took(&mut self, bytes: usize, offset: u64, stream: &Stream) {
        if self.unasked == 0 {
            self.passage.in_socket(stream.backlog_bytes());
        }
        self.unasked = (self.unasked + 1) % ASKED_EVERY;
        self.passage.sent(bytes as u32, offset);
    }

    fn blocked(&mut self, stream: &Stream) {
        if let Ok(info) = host::tcp_info(stream.tcp()) {
            self.limits.observe(&info);
        }
        let limiter = match self.limits.pressure {
            Pressure::Network => Limiter::Network,
            Pressure::Receiver => Limiter::Receiver,
        };
        self.passage.hold(limiter);
    }
}

impl Connection {
    /// Writes what is no file's: heads, words. Counted, and paid for, by whoever made it.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        self.push(Piece::Memory(bytes), None, 0).await.map(drop)
    }

    /// Sends `span` of a file.
    pub(super) async fn send_file(
        &mut self,
        sending: &mut Sending,
        source: &dyn Source,
        span: Range<u64>,
    ) -> Result<(), Stop> {
        let mut at = span.start;
        let mut cold = Bytes::new();
        while at < span.end {
            let wanted = if cold.is_empty() { (span.end - at).min(WISH_BYTES_MAX) } else { cold.len() as u64 };
            let permit = self.permission(sending, wanted as u32).await?;
            let sent = match cold.is_empty() {
                true => self.push_file(sending, source, at, permit).await?,
                false => {
                    let piece = cold.split_to(cold.len().min(permit as usize));
                    self.push(Piece::Memory(&piece), Some(&mut *sending), at).await?;
                    piece.len() as u32
                }
            };
            at += u64::from(sent);
            if sent < permit {
                sending.passage.give_back(permit - sent);
            }
            if sent == 0 {
                let len = (2 * u64::from(permit)).clamp(*COLD_BYTES.start(), *COLD_BYTES.end()).min(span.end - at);
                cold = self.load(sending, source, at, len as u32).await?;
            }
        }
        self.switch = Some(sending.passage.switch());
        Ok(())
    }

    /// Waits for the turn of a transfer that has bytes ready.
    async fn permission(&self, sending: &mut Sending, wanted: u32) -> Result<u32, Stop> {
        self.meanwhile(poll_fn(|cx| sending.passage.poll_permit(wanted, cx))).await
    }

    /// Reads from a disk, which may take a while.
    async fn load(&self, sending: &mut Sending, source: &dyn Source, at: u64, len: u32) -> Result<Bytes, Stop> {
        sending.passage.hold(Limiter::Disk);
        let began = tokio::time::Instant::now();
        let loaded = self.meanwhile(source.read(at, len)).await?.map_err(Stop::File);
        self.frontage.front.waited("read", began.elapsed());
        loaded
    }

    /// Sends what was made in memory, a page of a listing.
    pub(super) async fn send_text(&mut self, sending: &mut Sending, text: &[u8], offset: u64) -> Result<(), Stop> {
        let mut sent = 0;
        while sent < text.len() {
            let wanted = (text.len() - sent).min(WISH_BYTES_MAX as usize);
            let permit = self.permission(sending, wanted as u32).await? as usize;
            let piece = &text[sent..sent + permit.min(wanted)];
            self.push(Piece::Memory(piece), Some(&mut *sending), offset + sent as u64).await?;
            sent += piece.len();
        }
        Ok(())
    }

    /// Brings at most `len` permitted bytes at `at` from the page cache into the socket; returns how many the page cache held.
    /// The kernel takes them from there, or they go through our memory: few of them in precise mode, and all that a cipher must see.
    async fn push_file(&mut self, sending: &mut Sending, source: &dyn Source, at: u64, len: u32) -> Result<u32, Stop> {
        let is_worth = sending.passage.mode() == Mode::Bulk || PAGES_BYTES.contains(&len);
        match source.descriptor().filter(|_| is_worth && self.stream.plain().is_some()) {
            Some(file) => {
                let len = source.resident(at, len) as usize;
                let sent = self.push(Piece::Pages { file, at, len }, Some(sending), at).await?;
                Ok(sent as u32)
            }
            None => self.push_copy(sending, source, at, len).await,
        }
    }

    /// Brings at most `len` permitted bytes at `at` into the socket by way of this thread's memory.
    async fn push_copy(&mut self, sending: &mut Sending, source: &dyn Source, at: u64, len: u32) -> Result<u32, Stop> {
        let stream = &mut self.stream;
        // Ready at once: what the socket does not take leaves the quantum's memory to the next connection.
        let (read, sent, rest) = poll_fn(|cx| {
            QUANTUM.with_borrow_mut(|quantum| {
                quantum.clear();
                let read = source.read_cached(at, len, quantum);
                let mut sent = 0;
                while sent < read {
                    match stream.poll_write(cx, &quantum[sent..read]) {
                        Poll::Ready(Ok(bytes)) if bytes > 0 => sent += bytes,
                        Poll::Ready(_) => return Poll::Ready(Err(Stop::Lost)),
                        Poll::Pending => break,
                    }
                }
                Poll::Ready(Ok((read, sent, quantum[sent..read].to_vec())))
            })
        })
        .await?;
        if sent > 0 {
            sending.took(sent, at + sent as u64, &self.stream);
        }
        self.push(Piece::Memory(&rest), Some(sending), at + sent as u64).await?;
        Ok(read as u32)
    }

    /// Writes all of `piece`, which stands at `offset` of what is being sent, and tells the transfer what became of it: once, or
    /// whenever the socket is full. Returns how much it was: less only of a file that has become shorter.
    async fn push(&mut self, piece: Piece<'_>, mut sending: Option<&mut Sending>, offset: u64) -> Result<usize, Stop> {
        let Self { stream, row, frontage, .. } = self;
        let (mut sent, mut told) = (0, 0);
        let mut patience = Patience::new(frontage.config.stall_timeout);
        let mut tell = |sent: usize, sending: &mut Option<&mut Sending>, stream: &Stream| {
            if let Some(sending) = sending.as_mut().filter(|_| sent > told) {
                sending.took(sent - told, offset + sent as u64, stream);
                told = sent;
            }
        };
        let pushed = poll_fn(|cx| {
            loop {
                let is_last = sent == piece.len();
                let step = match is_last {
                    true => stream.poll_flush(cx).map_ok(|()| 0),
                    false => piece.poll_rest(sent, stream, cx),
                };
                match step {
                    Poll::Ready(Ok(0)) if is_last || piece.is_of_file() => return Poll::Ready(Ok(())),
                    Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(Stop::Lost)),
                    Poll::Ready(Ok(taken)) => sent += taken,
                    Poll::Pending => {
                        if let Some(sending) = sending.as_mut() {
                            // It holds more than its quantum: ask.
                            sending.unasked = 0;
                        }
                        tell(sent, &mut sending, stream);
                        if let Some(sending) = sending.as_mut() {
                            sending.blocked(stream);
                        }
                        patience.look(row, stream.backlog_bytes());
                        return row.poll_end(cx).map_or(Poll::Pending, |end| Poll::Ready(Err(end.into())));
                    }
                }
            }
        })
        .await;
        tell(sent, &mut sending, stream);
        if patience.was_needed() {
            row.busy();
        }
        pushed.map(|()| sent)
    }
}

/// What is to be written.
enum Piece<'a> {
    /// Bytes in memory.
    Memory(&'a [u8]),
    /// `len` bytes at `at` of a file, which the page cache held a moment ago.
    Pages { file: BorrowedFd<'a>, at: u64, len: usize },
}

impl Piece<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Memory(bytes) => bytes.len(),
            Self::Pages { len, .. } => *len,
        }
    }

    fn is_of_file(&self) -> bool {
        matches!(self, Self::Pages { .. })
    }

    /// Writes some of what lies behind `sent`.
    fn poll_rest(&self, sent: usize, stream: &mut Stream, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        match (self, stream.plain()) {
            (Self::Memory(bytes), _) => stream.poll_write(cx, &bytes[sent..]),
            (Self::Pages { file, at, len }, Some(tcp)) => {
                poll_direct(tcp, cx, || host::send_file(tcp, file, at + sent as u64, len - sent))
            }
            (Self::Pages { .. }, None) => Poll::Ready(Err(io::ErrorKind::Unsupported.into())),
        }
    }
}
