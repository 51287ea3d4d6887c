//! The two halves of a link over a connection: of one stream, or of one each. The connection lives as long as either.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, ready},
    time::Duration,
};

use flow::{Mode, Rate};
use quinn::{Connection, ConnectionError, RecvStream, SendStream, StoppedError, VarInt};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::{Notify, futures::OwnedNotified},
    time::Instant,
};
use wire::Violation;

use super::{
    super::halves::{Guard, Moded},
    CLOSED, CLOSED_TOKEN,
    nudge::Nudge,
    tuning::{CONTROL_WINDOW_BYTES, DATA_WINDOW_BYTES_AT_FIRST, DATA_WINDOW_BYTES_MAX, DATA_WINDOW_BYTES_MIN},
};

/// What ends with the last half.
struct Held {
    /// Dropping it closes the connection.
    connection: Connection,
    /// This end has dialled a node's port for control.
    asks_no_token: bool,
    /// Never locked: it makes the guard something that two halves may hold.
    _guard: Mutex<Guard>,
}

/// What a link sends and receives over.
pub(super) struct Streams {
    /// Nothing on a link that carries nothing to the peer.
    pub(super) sending: Option<SendStream>,
    pub(super) receiving: Receiving,
    /// Nothing at the end that dials: it lets the peer open no stream but those of the link.
    pub(super) further: Option<Further>,
    /// Nothing at the end that accepts: whoever moves is heard of when he says something.
    pub(super) nudge: Option<Nudge>,
}

/// Completes when the peer has opened a stream that is none of the link's, or when the connection ends.
pub(super) type Further = Pin<Box<dyn Future<Output = Result<(), ConnectionError>> + Send>>;

/// What a link receives from.
pub(super) enum Receiving {
    Stream(RecvStream),
    /// A stream that has brought a token for a link down, and nothing more may come on it. That it ends says nothing.
    Token(RecvStream),
    /// A stream that the peer has yet to open. It never does so on a link that carries nothing from it; then this says when the
    /// connection ends.
    Awaited(Pin<Box<dyn Future<Output = Result<RecvStream, ConnectionError>> + Send>>),
}

impl Receiving {
    /// The stream that the peer opens when it has something to say.
    pub(super) fn awaited(connection: &Connection) -> Self {
        let connection = connection.clone();
        Self::Awaited(Box::pin(async move { connection.accept_uni().await }))
    }
}

/// The next stream that the peer opens, of either kind.
pub(super) fn further(connection: &Connection) -> Further {
    let connection = connection.clone();
    Box::pin(async move {
        tokio::select! {
            opened = connection.accept_bi() => opened.map(drop),
            opened = connection.accept_uni() => opened.map(drop),
        }
    })
}

/// The reading half.
pub(super) struct ReadHalf {
    stream: Receiving,
    further: Option<Further>,
    /// What the peer was last told that it may have on its way or unread here.
    window: u32,
    /// When it is to say something though it has nothing to say.
    prompt: Option<Prompt>,
    held: Arc<Held>,
}

/// What makes an end say something that has nothing to say.
pub(super) enum Prompt {
    /// Silence on a data link.
    Silence(Nudge),
    /// That a data link of the same node's did so.
    Bell(Arc<Notify>, Pin<Box<OwnedNotified>>),
}

impl Prompt {
    /// Rung by the data links.
    pub(super) fn bell(bell: &Arc<Notify>) -> Self {
        Self::Bell(Arc::clone(bell), rung(bell))
    }

    fn heard(&mut self) {
        if let Self::Silence(nudge) = self {
            nudge.heard(Instant::now());
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Silence(nudge) => nudge.poll_due(cx),
            Self::Bell(bell, next) => {
                ready!(next.as_mut().poll(cx));
                *next = rung(bell);
                Poll::Ready(())
            }
        }
    }
}

fn rung(bell: &Arc<Notify>) -> Pin<Box<OwnedNotified>> {
    Box::pin(Arc::clone(bell).notified_owned())
}

impl Held {
    /// `error` in words for who doesn't know QUIC.
    fn why(&self, error: io::Error) -> io::Error {
        let (kind, words) = match self.connection.close_reason() {
            // Found by this end: the peer has used what it was given no credit for, or spoken no QUIC.
            Some(ConnectionError::TransportError(fault)) => return broken(fault.to_string()),
            Some(ConnectionError::TimedOut) => (
                io::ErrorKind::TimedOut,
                "nothing comes over QUIC any more: the other end is gone, or UDP no longer gets through",
            ),
            Some(ConnectionError::Reset) => (
                io::ErrorKind::ConnectionReset,
                "the other end does not know this connection any more: it was started anew",
            ),
            Some(ConnectionError::ApplicationClosed(close))
                if close.error_code == CLOSED_TOKEN && self.asks_no_token =>
            {
                (
                    io::ErrorKind::ConnectionRefused,
                    "this is a node's port for data: dial the one that `evenkeel serve` names as `peers`",
                )
            }
            _ => return error,
        };
        io::Error::new(kind, words)
    }
}

/// The writing half.
pub(super) struct WriteHalf {
    stream: SendStream,
    closing: Option<Closing>,
    held: Arc<Held>,
}

type Closing = Pin<Box<dyn Future<Output = Result<Option<VarInt>, StoppedError>> + Send>>;

/// Splits a link over one stream; `guard` lives as long as either half. `further` as in [`Streams`], `prompt` at the end that dials.
pub(super) fn split(
    connection: Connection,
    streams: (SendStream, RecvStream),
    further: Option<Further>,
    prompt: Option<Prompt>,
    guard: Guard,
) -> (ReadHalf, WriteHalf) {
    let asks_no_token = matches!(prompt, Some(Prompt::Bell(..)));
    let held = Arc::new(Held { connection, asks_no_token, _guard: Mutex::new(guard) });
    let (sending, receiving) = streams;
    let writer = WriteHalf { stream: sending, closing: None, held: Arc::clone(&held) };
    (ReadHalf { stream: Receiving::Stream(receiving), further, window: CONTROL_WINDOW_BYTES, prompt, held }, writer)
}

/// The same for a link that may carry one way only.
pub(super) fn split_ways(connection: Connection, streams: Streams, guard: Guard) -> (ReadHalf, Option<WriteHalf>) {
    let held = Arc::new(Held { connection, asks_no_token: false, _guard: Mutex::new(guard) });
    let Streams { sending, receiving, further, nudge } = streams;
    let writer = sending.map(|stream| WriteHalf { stream, closing: None, held: Arc::clone(&held) });
    let prompt = nudge.map(Prompt::Silence);
    (ReadHalf { stream: receiving, further, window: DATA_WINDOW_BYTES_AT_FIRST, prompt, held }, writer)
}

impl ReadHalf {
    fn poll_stream(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        loop {
            match &mut self.stream {
                Receiving::Stream(stream) => return Pin::new(stream).poll_read(cx, buf),
                Receiving::Token(stream) => {
                    ready!(Pin::new(stream).poll_read(cx, buf))?;
                    return if buf.filled().len() > before { Poll::Ready(Ok(())) } else { Poll::Pending };
                }
                Receiving::Awaited(opened) => match ready!(opened.as_mut().poll(cx)) {
                    Ok(stream) => self.stream = Receiving::Stream(stream),
                    Err(error) => return Poll::Ready(ended(error)),
                },
            }
        }
    }

    /// Looks for a further stream while the link's own has nothing to read.
    fn poll_further(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Some(further) = &mut self.further else { return Poll::Pending };
        let opened = ready!(further.as_mut().poll(cx));
        self.further = None;
        match (opened, &self.stream) {
            (Ok(()), _) => Poll::Ready(Err(broken("a further stream on a connection that has its own".to_owned()))),
            (Err(error), Receiving::Token(_)) => Poll::Ready(ended(error)),
            // The stream says how it ends.
            (Err(_), _) => self.poll_stream(cx, buf),
        }
    }
}

impl AsyncRead for ReadHalf {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut read = self.poll_stream(cx, buf);
        if read.is_pending() {
            read = self.poll_further(cx, buf);
        }
        let Self { prompt, held, window, .. } = &mut *self;
        match prompt {
            Some(prompt) if read.is_ready() => prompt.heard(),
            Some(prompt) => {
                while prompt.poll(cx).is_ready() {
                    speak(&held.connection, *window);
                }
            }
            None => {}
        }
        read.map_err(|error| self.held.why(error))
    }
}

/// Has `connection` send a datagram that changes nothing, and that the other end acknowledges: quinn sends no ping when it is asked to,
/// but a window that has become wider is told at once. It is the one in force, made a byte narrower just before.
fn speak(connection: &Connection, window: u32) {
    for window in [window - 1, window] {
        connection.set_receive_window(VarInt::from_u32(window));
    }
}

/// A connection that ends while nothing is being said on it.
fn ended(error: ConnectionError) -> io::Result<()> {
    match error {
        ConnectionError::ApplicationClosed(close) if close.error_code == CLOSED => Ok(()),
        error => Err(error.into()),
    }
}

/// The peer has broken a rule of the transport.
fn broken(words: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, Violation::Transport(words))
}

impl Moded for ReadHalf {
    /// quinn reads as many datagrams at once as there are, whatever the mode.
    fn set_mode(&mut self, _mode: Mode) {}

    /// The window holds what is on its way as well, so it is a round trip wider than what may wait.
    fn set_rate(&mut self, rate: Rate, unread: Duration) {
        let window = window_for(rate, unread + self.held.connection.rtt());
        // Telling it costs a wake of the connection's task, and often a datagram.
        if window.abs_diff(self.window) > self.window / 8 {
            self.window = window;
            self.held.connection.set_receive_window(VarInt::from_u32(window));
        }
    }
}

/// What may be on its way or unread: what `rate` brings in `time`.
fn window_for(rate: Rate, time: Duration) -> u32 {
    let Some(rate) = rate.limit() else { return DATA_WINDOW_BYTES_MAX };
    let bytes = rate as f64 * time.as_secs_f64();
    (bytes as u32).clamp(DATA_WINDOW_BYTES_MIN, DATA_WINDOW_BYTES_MAX)
}

impl WriteHalf {
    /// The stream itself.
    pub(super) fn stream(&mut self) -> &mut SendStream {
        &mut self.stream
    }

    /// The connection.
    pub(super) fn connection(&self) -> &Connection {
        &self.held.connection
    }

    /// Says that nothing follows, and waits until the other side has everything: the end of the connection takes with it what
    /// is still on its way.
    pub(super) fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream, closing, .. } = self;
        let closing = closing.get_or_insert_with(|| {
            // An error says that it was said before.
            let _ = stream.finish();
            Box::pin(stream.stopped())
        });
        match ready!(closing.as_mut().poll(cx)) {
            Ok(_) => Poll::Ready(Ok(())),
            Err(error) => Poll::Ready(Err(self.held.why(io::Error::new(io::ErrorKind::NotConnected, error)))),
        }
    }
}

impl AsyncWrite for WriteHalf {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes).map_err(|error| self.held.why(error.into()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_finish(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_of_a_second_waits_at_most_and_never_less_than_a_few_datagrams() {
        let (rate, unread) = (Rate::from_bytes_per_second, Duration::from_millis(250));
        assert_eq!(window_for(rate(1_000_000), unread), 250_000);
        assert_eq!(window_for(rate(1_000_000), unread + Duration::from_millis(50)), 300_000);
        assert_eq!(window_for(rate(1000), unread), DATA_WINDOW_BYTES_MIN);
        assert_eq!(window_for(rate(u64::from(u32::MAX) * 10), unread), DATA_WINDOW_BYTES_MAX);
        assert_eq!(window_for(Rate::UNLIMITED, unread), DATA_WINDOW_BYTES_MAX);
    }
}
