//! One connection, a reading and a writing half.
//!
//! Both halves live on one worker thread, so the lock between them is never waited for; it is there because the ports ask
//! for `Send`. tokio's own `split` would do, but it hides the socket, which [`WriteHalf::tcp_info`] needs, and has no place
//! for the admission's guard.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use host::TcpInfo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::TlsStream;

/// What the front's admission gave; dropped with the last half of the connection. `None` on links that we dialled.
pub(super) type Guard = Option<Box<dyn Send>>;

/// A stream that has a TCP socket beneath it.
pub(super) trait Socket: AsyncRead + AsyncWrite + Send + Unpin + 'static {
    /// The socket.
    fn tcp(&self) -> &TcpStream;
}

impl Socket for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Socket for TlsStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0
    }
}

/// What the kernel says of the connection beneath a writer.
pub(super) trait Probe {
    /// The connection's figures.
    fn tcp_info(&self) -> io::Result<TcpInfo>;
    /// Bytes that the other side has not acknowledged.
    fn unacked_bytes(&self) -> io::Result<u64>;
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
}
