//! A connection's stream, plain or TLS.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;

/// What bytes come from and go to.
pub(super) enum Stream {
    /// As it is.
    Plain(TcpStream),
    /// Boxed: its state is larger than all else that an idle connection has.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// The socket beneath.
    pub(super) fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
        }
    }

    /// Bytes that the client's kernel has not acknowledged; a socket that is gone holds none.
    pub(super) fn backlog_bytes(&self) -> u64 {
        host::unacked_bytes(self.tcp()).unwrap_or(0)
    }

    /// Completes when the connection is no more: reset, or given up by the kernel. Not when the client has ended its
    /// side, for it may still read, and not when more requests lie in the socket. The reactor knows; the kernel is not asked.
    pub(super) async fn lost(&self) {
        let _ = self.tcp().ready(Interest::ERROR).await;
    }

    /// What the socket still holds goes with it, and the client hears of that.
    pub(super) fn reset_when_dropped(&self) {
        reset_when_dropped(self.tcp());
    }

    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, into),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_read(cx, into),
        }
    }

    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_write(cx, bytes),
        }
    }

    /// The socket itself, where what is written is what travels: the kernel may take it from a file.
    pub(super) fn plain(&self) -> Option<&TcpStream> {
        match self {
            Self::Plain(stream) => Some(stream),
            Self::Tls(_) => None,
        }
    }

    /// Ready when what was written is in the kernel's hands.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(_) => Poll::Ready(Ok(())),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
        }
    }

    /// Ends the sending side.
    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
        }
    }
}

/// What a socket still holds goes with it, and the client hears of that.
pub(super) fn reset_when_dropped(tcp: &TcpStream) {
    // One that is gone holds nothing.
    let _ = tcp.set_zero_linger();
}
