//! One connection, a reading and a writing half.
//!
//! Both halves live on one worker thread, so the lock between them is never waited for; it is there because the ports ask
//! for `Send`. tokio's own `split` would do, but it hides the socket, which [`WriteHalf::tcp_info`] needs, and has no place
//! for the admission's guard.

use std::{
    io::{self, IoSlice},
    os::fd::BorrowedFd,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use flow::{Mode, Rate};
use host::TcpInfo;
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::TlsStream;

use super::intake::Intake;

/// What the front's admission gave; dropped with the last half of the connection. `None` on links that we dialled.
pub(super) type Guard = Option<Box<dyn Send>>;

/// A stream that has a TCP socket beneath it.
pub(super) trait Socket: AsyncRead + AsyncWrite + Send + Unpin + 'static {
    /// The socket.
    fn tcp(&self) -> &TcpStream;
    /// Whether what is written is what travels, so that the kernel may take it from a file.
    const IS_PLAIN: bool;
    /// From now on the link is in `mode`. What is read without a cipher is read in one piece anyway.
    fn set_mode(&mut self, _mode: Mode) {}
}

/// A reader that is told its link's mode.
pub(super) trait Moded {
    /// From now on the link is in `mode`.
    fn set_mode(&mut self, mode: Mode);
    /// It is read at `rate` at most, and no more is to wait than that brings in `unread`. TCP's window follows the reading by
    /// itself.
    fn set_rate(&mut self, _rate: Rate, _unread: Duration) {}
}

impl<S: Socket> Moded for ReadHalf<S> {
    fn set_mode(&mut self, mode: Mode) {
        lock(&self.0).stream.set_mode(mode);
    }
}

impl Socket for TcpStream {
    const IS_PLAIN: bool = true;

    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Socket for TlsStream<Intake> {
    const IS_PLAIN: bool = false;

    fn tcp(&self) -> &TcpStream {
        self.get_ref().0.tcp()
    }

    fn set_mode(&mut self, mode: Mode) {
        self.get_mut().0.set_mode(mode);
    }
}

/// What the kernel says of the connection beneath a writer.
pub(super) trait Probe {
    /// The connection's figures.
    fn tcp_info(&self) -> io::Result<TcpInfo>;
    /// Bytes that the other side has not acknowledged.
    fn unacked_bytes(&self) -> io::Result<u64>;
    /// Writes `bytes`, more of which will follow at once, past any cipher. `Unsupported` where there is one.
    fn poll_write_more(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>>;
    /// The same with `len` bytes at `offset` of a file; 0: it ends before `offset`.
    fn poll_send_file(
        &self,
        cx: &mut Context<'_>,
        file: BorrowedFd<'_>,
        offset: u64,
        len: usize,
    ) -> Poll<io::Result<usize>>;
}

/// Does `send` as soon as the socket takes anything.
pub(super) fn poll_direct(
    tcp: &TcpStream,
    cx: &mut Context<'_>,
    mut send: impl FnMut() -> io::Result<usize>,
) -> Poll<io::Result<usize>> {
    loop {
        ready!(tcp.poll_write_ready(cx))?;
        match tcp.try_io(Interest::WRITABLE, &mut send) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            sent => return Poll::Ready(sent),
        }
    }
}

struct Connection<S> {
    stream: S,
    _guard: Guard,
}

/// The reading half.
pub(super) struct ReadHalf<S>(Arc<Mutex<Connection<S>>>);

/// The writing half.
pub(super) struct WriteHalf<S>(Arc<Mutex<Connection<S>>>);

/// Splits a connection; `guard` lives as long as either half.
pub(super) fn split<S: Socket>(stream: S, guard: Guard) -> (ReadHalf<S>, WriteHalf<S>) {
    let connection = Arc::new(Mutex::new(Connection { stream, _guard: guard }));
    (ReadHalf(Arc::clone(&connection)), WriteHalf(connection))
}

/// A panic while polling leaves a stream that is at worst broken, and says so on its next use.
fn lock<S>(connection: &Mutex<Connection<S>>) -> MutexGuard<'_, Connection<S>> {
    connection.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<S: Socket> AsyncRead for ReadHalf<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut lock(&self.0).stream).poll_read(cx, buf)
    }
}

impl<S: Socket> AsyncWrite for WriteHalf<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut lock(&self.0).stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut lock(&self.0).stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        lock(&self.0).stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut lock(&self.0).stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut lock(&self.0).stream).poll_shutdown(cx)
    }
}

impl<S: Socket> Probe for WriteHalf<S> {
    fn tcp_info(&self) -> io::Result<TcpInfo> {
        host::tcp_info(lock(&self.0).stream.tcp())
    }

    fn unacked_bytes(&self) -> io::Result<u64> {
        host::unacked_bytes(lock(&self.0).stream.tcp())
    }

    fn poll_write_more(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_past_cipher(cx, |tcp| host::send_more(tcp, bytes))
    }

    fn poll_send_file(
        &self,
        cx: &mut Context<'_>,
        file: BorrowedFd<'_>,
        offset: u64,
        len: usize,
    ) -> Poll<io::Result<usize>> {
        self.poll_past_cipher(cx, |tcp| host::send_file(tcp, file, offset, len))
    }
}

impl<S: Socket> WriteHalf<S> {
    /// Does `send` on the socket itself, where no cipher must see what is sent.
    fn poll_past_cipher(
        &self,
        cx: &mut Context<'_>,
        send: impl Fn(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        if !S::IS_PLAIN {
            return Poll::Ready(Err(io::ErrorKind::Unsupported.into()));
        }
        let connection = lock(&self.0);
        let tcp = connection.stream.tcp();
        poll_direct(tcp, cx, || send(tcp))
    }
}
