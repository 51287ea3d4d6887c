//! Data chunks over a byte stream: a header of 16 bytes, then the payload.

use std::{
    io::{self, IoSlice},
    mem,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use actors::port::{DataReceiver, DataSender, LinkError, Payload, Pressure, Source};
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use flow::{Mode, Rate};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use wire::{DATA_HEADER_BYTES, DataHeader};

use super::{
    control_frames::{cut_short, unread},
    halves::{Moded, Probe},
    pressure::Limits,
};

/// Receives chunks from `R`. Never reads past the chunk it is in, so that what was not permitted stays with the sender.
pub(super) struct FramedDataReceiver<R> {
    io: R,
    head: [u8; DATA_HEADER_BYTES],
    head_filled: usize,
    /// The header, from the moment it is whole until its payload is.
    header: Option<DataHeader>,
    payload: BytesMut,
}

impl<R> FramedDataReceiver<R> {
    /// Nothing was read yet.
    pub(super) fn new(io: R) -> Self {
        Self { io, head: [0; DATA_HEADER_BYTES], head_filled: 0, header: None, payload: BytesMut::new() }
    }
}

impl<R: AsyncRead + Moded + Send + Unpin> DataReceiver for FramedDataReceiver<R> {
    fn poll_header(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<DataHeader>, LinkError>> {
        if let Some(header) = self.header {
            return Poll::Ready(Ok(Some(header)));
        }
        while self.head_filled < DATA_HEADER_BYTES {
            let mut buffer = ReadBuf::new(&mut self.head[self.head_filled..]);
            ready!(Pin::new(&mut self.io).poll_read(cx, &mut buffer)).map_err(unread)?;
            match (buffer.filled().len(), self.head_filled) {
                (0, 0) => return Poll::Ready(Ok(None)),
                (0, _) => return Poll::Ready(Err(cut_short("a data header"))),
                (bytes, _) => self.head_filled += bytes,
            }
        }
        let header = DataHeader::decode(&self.head)?;
        self.header = Some(header);
        Poll::Ready(Ok(Some(header)))
    }

    fn poll_payload(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, LinkError>> {
        let Some(header) = self.header else {
            return Poll::Ready(Err(LinkError::Local("a payload was asked for before its header".to_owned())));
        };
        // The decoder checked that this is at most a quantum.
        let len = header.len as usize;
        if self.payload.capacity() == 0 {
            self.payload.reserve(len);
        }
        while self.payload.len() < len {
            let missing = len - self.payload.len();
            let mut room = (&mut self.payload).limit(missing);
            // Reads into memory that was never zeroed. The future keeps nothing, so it may be made anew for each poll.
            let read = pin!(self.io.read_buf(&mut room));
            if ready!(std::future::Future::poll(read, cx)).map_err(unread)? == 0 {
                return Poll::Ready(Err(cut_short("a data chunk")));
            }
        }
        self.header = None;
        self.head_filled = 0;
        Poll::Ready(Ok(mem::take(&mut self.payload).freeze()))
    }

    fn set_mode(&mut self, mode: Mode) {
        self.io.set_mode(mode);
    }

    fn set_rate(&mut self, rate: Rate, unread: Duration) {
        self.io.set_rate(rate, unread);
    }
}

/// What is left of a chunk's payload.
enum Rest {
    Memory(Bytes),
    File {
        source: Arc<dyn Source>,
        offset: u64,
        len: usize,
    },
    /// What a file lacks that became shorter: the chunk must be as long as it says.
    Zeros(usize),
}

impl Rest {
    fn len(&self) -> usize {
        match self {
            Self::Memory(bytes) => bytes.len(),
            Self::File { len, .. } | Self::Zeros(len) => *len,
        }
    }
}

/// Sends chunks to `W`, one at a time. The payload is handed on without a copy of our own: to the kernel on plaintext links,
/// from memory or from a file, to the cipher on others, which takes 64 KiB at a time.
pub(super) struct FramedDataSender<W> {
    io: W,
    head: [u8; DATA_HEADER_BYTES],
    /// How much of `head` was taken.
    head_sent: usize,
    payload: Rest,
    last: Limits,
}

impl<W> FramedDataSender<W> {
    /// Nothing is queued.
    pub(super) fn new(io: W) -> Self {
        Self {
            io,
            head: [0; DATA_HEADER_BYTES],
            head_sent: DATA_HEADER_BYTES,
            payload: Rest::Memory(Bytes::new()),
            last: Limits::default(),
        }
    }

    fn is_idle(&self) -> bool {
        self.head_sent == DATA_HEADER_BYTES && self.payload.len() == 0
    }

    fn advance(&mut self, taken: usize) {
        let of_head = taken.min(DATA_HEADER_BYTES - self.head_sent);
        self.head_sent += of_head;
        let taken = taken - of_head;
        match &mut self.payload {
            Rest::Memory(bytes) => bytes.advance(taken),
            Rest::File { offset, len, .. } => {
                *offset += taken as u64;
                *len -= taken;
            }
            Rest::Zeros(len) => *len -= taken,
        }
        if self.payload.len() == 0 {
            // Frees the chunk's memory, or its file, while the link waits for its next turn.
            self.payload = Rest::Memory(Bytes::new());
        }
    }
}

impl<W: AsyncWrite + Probe + Send + Unpin> FramedDataSender<W> {
    /// One write of what is left: from memory with the header, from a file behind it.
    fn poll_some(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let head = &self.head[self.head_sent..];
        match &self.payload {
            Rest::Memory(bytes) => {
                Pin::new(&mut self.io).poll_write_vectored(cx, &[IoSlice::new(head), IoSlice::new(bytes)])
            }
            Rest::File { .. } if !head.is_empty() => self.io.poll_write_more(cx, head),
            Rest::File { source, offset, len } => match source.descriptor() {
                Some(file) => match ready!(self.io.poll_send_file(cx, file, *offset, *len))? {
                    0 => {
                        self.payload = Rest::Zeros(*len);
                        self.poll_some(cx)
                    }
                    taken => Poll::Ready(Ok(taken)),
                },
                None => Poll::Ready(Err(io::ErrorKind::Unsupported.into())),
            },
            Rest::Zeros(len) => {
                let zeros = [0; 4096];
                Pin::new(&mut self.io).poll_write(cx, &zeros[..zeros.len().min(*len)])
            }
        }
    }
}

impl<W: AsyncWrite + Probe + Send + Unpin> DataSender for FramedDataSender<W> {
    fn start_send(&mut self, header: DataHeader, payload: Payload) -> Result<(), LinkError> {
        if !self.is_idle() {
            return Err(LinkError::Local("a chunk was started before the last one was flushed".to_owned()));
        }
        let payload = match payload {
            Payload::Memory(bytes) => Rest::Memory(bytes),
            Payload::File { source, offset } => Rest::File { source, offset, len: header.len as usize },
        };
        if header.len as usize != payload.len() {
            return Err(LinkError::Local(format!("a chunk of {} bytes says {}", payload.len(), header.len)));
        }
        self.head = header.encode();
        self.head_sent = 0;
        self.payload = payload;
        Ok(())
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LinkError>> {
        while !self.is_idle() {
            let taken = ready!(self.poll_some(cx)).map_err(LinkError::Lost)?;
            if taken == 0 {
                return Poll::Ready(Err(LinkError::Lost(io::ErrorKind::WriteZero.into())));
            }
            self.advance(taken);
        }
        Pin::new(&mut self.io).poll_flush(cx).map_err(LinkError::Lost)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LinkError>> {
        ready!(self.poll_flush(cx))?;
        Pin::new(&mut self.io).poll_shutdown(cx).map_err(LinkError::Lost)
    }

    fn pressure(&mut self) -> Pressure {
        if let Ok(info) = self.io.tcp_info() {
            self.last.observe(&info);
        }
        self.last.pressure
    }

    fn unacknowledged_bytes(&self) -> u64 {
        // A socket that is gone holds nothing.
        self.io.unacked_bytes().unwrap_or(0)
    }
}
