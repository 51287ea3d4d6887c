//! Control messages over a byte stream: `wire`'s frames, read in steps and written in order.

use std::{
    cell::RefCell,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use actors::port::{ControlReceiver, ControlSender, LinkError};
use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use wire::{CONTROL_FRAME_BYTES_MAX, FrameDecoder, Message, Violation, encode_message};

/// Read at once: one TLS record. Control frames are mostly tens of bytes, so a step holds many of them.
const STEP_BYTES: usize = 16 * 1024;

thread_local! {
    /// Where steps are read into: one per thread and not per link, because thousands of links are mostly silent.
    static STEP: RefCell<Box<[u8; STEP_BYTES]>> = RefCell::new(Box::new([0; STEP_BYTES]));
}

/// Receives control messages from `R`.
pub(super) struct FramedControlReceiver<R> {
    io: R,
    decoder: FrameDecoder,
    closed: bool,
}

impl<R> FramedControlReceiver<R> {
    /// Nothing was read yet.
    pub(super) fn new(io: R) -> Self {
        Self { io, decoder: FrameDecoder::new(CONTROL_FRAME_BYTES_MAX), closed: false }
    }
}

impl<R: AsyncRead + Unpin> FramedControlReceiver<R> {
    /// Reads one step into the decoder; the number of bytes, 0 at the end.
    fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        STEP.with_borrow_mut(|step| {
            let mut buffer = ReadBuf::new(step.as_mut_slice());
            ready!(Pin::new(&mut self.io).poll_read(cx, &mut buffer))?;
            self.decoder.extend(buffer.filled());
            Poll::Ready(Ok(buffer.filled().len()))
        })
    }
}

impl<R: AsyncRead + Send + Unpin> ControlReceiver for FramedControlReceiver<R> {
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Message>, LinkError>> {
        loop {
            // The decoder holds at most a frame and a step: it is filled only while it has no whole frame.
            if let Some(message) = self.decoder.next_message()? {
                return Poll::Ready(Ok(Some(message)));
            }
            if self.closed {
                return Poll::Ready(Ok(None));
            }
            if ready!(self.poll_step(cx)).map_err(unread)? == 0 {
                if self.decoder.is_mid_frame() {
                    return Poll::Ready(Err(cut_short("a control frame")));
                }
                self.closed = true;
            }
        }
    }
}

/// The other side closed in the middle of `what`.
pub(super) fn cut_short(what: &str) -> LinkError {
    LinkError::Lost(io::Error::new(io::ErrorKind::UnexpectedEof, format!("the peer closed in the middle of {what}")))
}

/// Why nothing more can be read. A transport that saw its peer break a rule says so by a violation inside.
pub(super) fn unread(error: io::Error) -> LinkError {
    match error.downcast::<Violation>() {
        Ok(violation) => LinkError::PeerFault(violation),
        // TLS alone finds an end like this, and has the words of a manual for it.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            let words = "the connection ended without a word; the program at its other end may have been killed";
            LinkError::Lost(io::Error::new(error.kind(), words))
        }
        // Nothing was begun, and nothing would be by dialling there again.
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => LinkError::Local(error.to_string()),
        Err(error) => LinkError::Lost(error),
    }
}

/// Sends control messages to `W`.
pub(super) struct FramedControlSender<W> {
    io: W,
    /// Encoded, not yet taken by `io`. The actor bounds how many messages that are.
    queue: BytesMut,
}

impl<W> FramedControlSender<W> {
    /// Nothing is queued.
    pub(super) fn new(io: W) -> Self {
        Self { io, queue: BytesMut::new() }
    }
}

impl<W: AsyncWrite + Send + Unpin> ControlSender for FramedControlSender<W> {
    fn start_send(&mut self, message: &Message) -> Result<(), LinkError> {
        encode_message(message, &mut self.queue)
            .map_err(|error| LinkError::Local(format!("a control message could not be encoded: {error}")))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LinkError>> {
        while !self.queue.is_empty() {
            let taken = ready!(Pin::new(&mut self.io).poll_write(cx, &self.queue)).map_err(LinkError::Lost)?;
            if taken == 0 {
                return Poll::Ready(Err(LinkError::Lost(io::ErrorKind::WriteZero.into())));
            }
            self.queue.advance(taken);
        }
        // An idle link holds no buffer.
        self.queue = BytesMut::new();
        Pin::new(&mut self.io).poll_flush(cx).map_err(LinkError::Lost)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LinkError>> {
        ready!(self.poll_flush(cx))?;
        Pin::new(&mut self.io).poll_shutdown(cx).map_err(LinkError::Lost)
    }
}
