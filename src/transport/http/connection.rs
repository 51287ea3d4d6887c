//! One connection: hears a request, has it answered, and so on until either side has had enough.
//!
//! While it waits it holds a socket, a row and nothing else: what is read lands on the stack first, and the state of an
//! answer is made for the answer.

use std::{
    future::poll_fn,
    mem::MaybeUninit,
    net::SocketAddr,
    pin::pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use actors::log_gate::{LOG_INTERVAL, LogGate};
use flow::ModeSwitch;
use tokio::io::ReadBuf;

use super::{
    Frontage, answer,
    head::{self, HEAD_BYTES_MAX, Refusal},
    rows::{End, Patience, Row},
    stream::Stream,
};

/// Read at once; a request of a browser has one to two thousand bytes.
const READ_BYTES: usize = 4 * 1024;
/// How long the other side may take to close when it has our last word, and what it may still send: then a connection reset can't
/// take that word away from it.
const PARTING: Duration = Duration::from_secs(2);
const PARTING_BYTES_MAX: usize = 256 * 1024;

/// A failing disk fails many answers; the log gets one per interval.
static FAILURES: LogGate = LogGate::new(LOG_INTERVAL);

/// Why an answer, or a connection, ends early.
#[derive(Debug)]
pub(super) enum Stop {
    /// The client went away, or its socket failed.
    Lost,
    /// It took nothing for too long.
    Late,
    /// The operator closed it.
    Over,
    /// The node is going down, and nothing is being sent.
    Down,
    /// The file could not be read to its end: what was promised can't be sent.
    File(actors::port::FileError),
}

impl From<End> for Stop {
    fn from(end: End) -> Self {
        match end {
            End::Late => Self::Late,
            End::Over => Self::Over,
            End::Down => Self::Down,
        }
    }
}

/// What was heard.
enum Heard {
    /// A whole head of so many bytes.
    Head(usize),
    /// None that is served.
    Bad(Refusal),
    /// Nothing more.
    Nothing,
    /// Nothing, and the operator has closed it.
    Over,
}

/// A connection on its worker.
pub(super) struct Connection {
    pub(super) frontage: Arc<Frontage>,
    pub(super) address: SocketAddr,
    pub(super) row: Row,
    pub(super) stream: Stream,
    /// What was read and not used; empty and without memory while idle.
    input: Vec<u8>,
    scanned: usize,
    /// How fast it was sent to, for its next answer.
    pub(super) switch: Option<ModeSwitch>,
}

impl Connection {
    /// A connection that nothing was read of.
    pub(super) fn new(frontage: Arc<Frontage>, address: SocketAddr, row: Row, stream: Stream) -> Self {
        Self { frontage, address, row, stream, input: Vec::new(), scanned: 0, switch: None }
    }

    /// Serves it to its end.
    pub(super) async fn serve(mut self) {
        let mut patience = self.frontage.config.head_timeout;
        loop {
            match self.hear(patience).await {
                Heard::Head(len) => {
                    let served = Box::pin(self.serve_one(len)).await;
                    if !served {
                        return;
                    }
                }
                Heard::Bad(refusal) => return Box::pin(self.turn_away(refusal)).await,
                // The answer before may still be on its way.
                Heard::Nothing if self.stream.backlog_bytes() > 0 => return Box::pin(self.part()).await,
                Heard::Nothing => return,
                Heard::Over => return self.give_up(&Stop::Over),
            }
            patience = self.frontage.config.idle_timeout;
        }
    }

    /// Waits for a head; for its first byte at most `patience`.
    async fn hear(&mut self, patience: Duration) -> Heard {
        let head_timeout = self.frontage.config.head_timeout;
        self.row.idle(if self.input.is_empty() { patience } else { head_timeout });
        loop {
            match head::cut(&self.input, &mut self.scanned) {
                Ok(Some(len)) => return Heard::Head(len),
                Ok(None) => {}
                Err(refusal) => return Heard::Bad(refusal),
            }
            let was_empty = self.input.is_empty();
            match self.read().await {
                Ok(0) => return Heard::Nothing,
                Ok(_) if was_empty => self.row.idle(head_timeout),
                Ok(_) => {}
                Err(Stop::Late) if !was_empty => return Heard::Bad(Refusal::too_slow()),
                Err(Stop::Over) => return Heard::Over,
                Err(_) => return Heard::Nothing,
            }
        }
    }

    /// Reads what there is, behind what was read before.
    async fn read(&mut self) -> Result<usize, Stop> {
        let Self { stream, row, input, .. } = self;
        poll_fn(|cx| {
            if let Some(end) = row.poll_end(cx) {
                return Poll::Ready(Err(end.into()));
            }
            let mut bytes = [MaybeUninit::uninit(); READ_BYTES];
            let room = (HEAD_BYTES_MAX + 1).saturating_sub(input.len()).clamp(1, READ_BYTES);
            let mut buffer = ReadBuf::uninit(&mut bytes[..room]);
            stream.poll_read(cx, &mut buffer).map(|read| match read {
                Ok(()) => {
                    input.extend_from_slice(buffer.filled());
                    Ok(buffer.filled().len())
                }
                Err(_) => Err(Stop::Lost),
            })
        })
        .await
    }

    /// Answers the request whose head lies in front; whether another may follow.
    async fn serve_one(&mut self, len: usize) -> bool {
        let parsed = head::parse(&self.input[..len]);
        self.input.drain(..len);
        if self.input.is_empty() {
            self.input = Vec::new();
        }
        self.scanned = 0;
        self.row.busy();
        let request = match parsed {
            Ok(request) => request,
            Err(refusal) if refusal.close => {
                self.turn_away(refusal).await;
                return false;
            }
            Err(refusal) => {
                let refused = self.refuse(&refusal).await;
                return refused.inspect_err(|stop| self.give_up(stop)).is_ok();
            }
        };
        let lasts = request.lasts();
        match self.answer(request).await {
            Ok(()) if lasts && !self.frontage.front.is_draining() => true,
            Ok(()) => {
                self.part().await;
                false
            }
            Err(stop) => {
                if matches!(stop, Stop::Over | Stop::File(_)) {
                    // Cut short, an answer without a length would look whole: it ends where its connection does.
                    self.stream.reset_when_dropped();
                }
                self.give_up(&stop);
                false
            }
        }
    }

    /// Waits for what is not the client's to do, and no longer than the connection lasts.
    pub(super) async fn meanwhile<T>(&self, deed: impl Future<Output = T>) -> Result<T, Stop> {
        let (mut deed, mut lost) = (pin!(deed), pin!(self.stream.lost()));
        poll_fn(|cx| {
            if let Some(end) = self.row.poll_end(cx) {
                return Poll::Ready(Err(end.into()));
            }
            match deed.as_mut().poll(cx) {
                Poll::Ready(done) => Poll::Ready(Ok(done)),
                Poll::Pending => lost.as_mut().poll(cx).map(|()| Err(Stop::Lost)),
            }
        })
        .await
    }

    /// Nothing more is said on it. What a client would not take, or shall not have, the kernel does not keep for it: closed as usual, a
    /// socket is there until its last byte was taken.
    fn give_up(&self, stop: &Stop) {
        let address = self.address;
        if matches!(stop, Stop::Late | Stop::Over) && self.stream.backlog_bytes() > 0 {
            self.stream.reset_when_dropped();
        }
        match stop {
            Stop::Late => self.frontage.front.refused("stalled"),
            Stop::File(error) => {
                if let Some(suppressed) = FAILURES.open(host::monotonic_nanos()) {
                    let words = wire::printable(&error.message);
                    tracing::info!(%address, code = %error.code, suppressed, "an answer was cut short: {words}");
                }
            }
            Stop::Lost | Stop::Over | Stop::Down => {}
        }
    }

    /// Says why a request is not served.
    async fn refuse(&mut self, refusal: &Refusal) -> Result<(), Stop> {
        self.frontage.front.refused(refusal.reason);
        let bytes = answer::refusal(refusal, SystemTime::now());
        self.frontage.front.answered(refusal.status.as_str(), bytes.len() as u64);
        self.speak("", &bytes).await
    }

    /// Says why a request is not served, and closes.
    async fn turn_away(&mut self, refusal: Refusal) {
        self.row.busy();
        match self.refuse(&refusal).await {
            Ok(()) => self.part().await,
            Err(stop) => self.give_up(&stop),
        }
    }

    /// Ends our side, and lets go when the client has taken everything, or takes nothing.
    async fn part(&mut self) {
        self.input = Vec::new();
        let parted = match self.say_goodbye().await {
            Ok(()) => self.settle().await,
            stopped => stopped,
        };
        if let Err(stop) = parted {
            self.give_up(&stop);
        }
    }

    /// Ends our side, and listens until the client has ended its own; a moment only, once it has taken our last word.
    async fn say_goodbye(&mut self) -> Result<(), Stop> {
        let Self { stream, row, frontage, .. } = self;
        let mut patience = Patience::new(frontage.config.stall_timeout);
        let (mut is_said, mut is_taken, mut heard) = (false, false, 0);
        poll_fn(|cx| {
            if !is_said {
                match stream.poll_shutdown(cx) {
                    Poll::Ready(Ok(())) => is_said = true,
                    Poll::Ready(Err(_)) => return Poll::Ready(Err(Stop::Lost)),
                    // A cipher's last word needs room as any other.
                    Poll::Pending => {}
                }
            }
            if is_said && hear_out(stream, cx, &mut heard).is_ready() {
                return Poll::Ready(Ok(()));
            }
            match stream.backlog_bytes() {
                0 if is_taken => {}
                0 if is_said => {
                    is_taken = true;
                    row.idle(PARTING);
                }
                left => patience.look(row, left),
            }
            match row.poll_end(cx) {
                Some(End::Late) if is_taken => Poll::Ready(Ok(())),
                Some(end) => Poll::Ready(Err(end.into())),
                None => Poll::Pending,
            }
        })
        .await
    }

    /// Waits until the client has taken everything.
    async fn settle(&self) -> Result<(), Stop> {
        if self.stream.backlog_bytes() == 0 {
            return Ok(());
        }
        self.row.busy();
        let mut patience = Patience::new(self.frontage.config.stall_timeout);
        let taken = poll_fn(|_| match self.stream.backlog_bytes() {
            0 => Poll::Ready(()),
            left => {
                patience.look(&self.row, left);
                Poll::Pending
            }
        });
        self.meanwhile(taken).await
    }
}

/// Reads and forgets what the client still says, until it ends its side, or has said too much.
fn hear_out(stream: &mut Stream, cx: &mut Context<'_>, heard: &mut usize) -> Poll<()> {
    loop {
        let mut bytes = [MaybeUninit::uninit(); READ_BYTES];
        let mut buffer = ReadBuf::uninit(&mut bytes);
        match stream.poll_read(cx, &mut buffer) {
            Poll::Ready(Ok(())) if !buffer.filled().is_empty() && *heard < PARTING_BYTES_MAX => {
                *heard += buffer.filled().len();
            }
            Poll::Ready(_) => return Poll::Ready(()),
            Poll::Pending => return Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The size of what `make` would return.
    fn size_of_future<A, F: Future>(_make: impl Fn(A) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn an_idle_connection_is_small() {
        let bytes = size_of_future(Connection::serve);
        assert!(bytes <= 512, "the state of an answer belongs into a box of its own: {bytes} bytes");
    }
}
