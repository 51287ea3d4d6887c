//! A node's UDP socket, which sends an address that is not proven no more than it may ([`super::unproven`]).
//!
//! A socket is not told which connection a datagram is of. But quinn asks the poller that it made for a connection right before
//! it sends anything of that connection, on the same thread, and makes that poller while the connection is accepted. So both
//! say it here, to what comes next on their thread.

use std::{
    cell::Cell,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use quinn::{
    AsyncUdpSocket, UdpPoller,
    udp::{RecvMeta, Transmit},
};

use super::{
    strays::Strays,
    unproven::{Handshake, Unproven},
};

thread_local! {
    /// Whose connection is accepted, until it has its poller.
    static ACCEPTED: Cell<Option<Arc<Handshake>>> = const { Cell::new(None) };
    /// Whose datagrams are sent next.
    static SENT_NEXT: Cell<Option<Arc<Handshake>>> = const { Cell::new(None) };
}

/// Runs `accept`, which accepts the connection of `handshake`.
pub(super) fn accepting<T>(handshake: Arc<Handshake>, accept: impl FnOnce() -> T) -> T {
    ACCEPTED.set(Some(handshake));
    let accepted = accept();
    // One that came to nothing has no poller.
    ACCEPTED.set(None);
    accepted
}

/// A socket before which there is nothing else that counts.
#[derive(Debug)]
pub(super) struct BoundedSocket {
    pub(super) inner: Arc<dyn AsyncUdpSocket>,
    pub(super) unproven: Arc<Unproven>,
    pub(super) strays: Arc<Strays>,
}

impl AsyncUdpSocket for BoundedSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        let inner = Arc::clone(&self.inner).create_io_poller();
        match ACCEPTED.take() {
            Some(handshake) => Box::pin(BoundedPoller { inner, handshake: Some(handshake) }),
            None => inner,
        }
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let Some(handshake) = SENT_NEXT.take() else { return self.inner.try_send(transmit) };
        let segment = transmit.segment_size.unwrap_or(transmit.contents.len());
        let sent = handshake.send(transmit.contents, segment, |contents| {
            let segment_size = transmit.segment_size.filter(|size| contents.len() > *size);
            self.inner.try_send(&Transmit { contents, segment_size, ..transmit.clone() })
        });
        // quinn keeps it then, and asks the poller when to come again.
        if sent? { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) }
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [io::IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let received = ready!(self.inner.poll_recv(cx, bufs, meta))?;
        for (meta, buf) in meta.iter().zip(bufs.iter()).take(received) {
            let bytes = &buf[..meta.len.min(buf.len())];
            self.strays.received(meta.addr, bytes, meta.stride);
            self.unproven.received(meta.addr, bytes.first().copied().unwrap_or(0), meta.len);
        }
        Poll::Ready(Ok(received))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.inner.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.inner.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.inner.may_fragment()
    }
}

/// What a connection asks before it sends.
#[derive(Debug)]
struct BoundedPoller {
    inner: Pin<Box<dyn UdpPoller>>,
    /// Until its address is proven.
    handshake: Option<Arc<Handshake>>,
}

impl UdpPoller for BoundedPoller {
    fn poll_writable(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.handshake.as_ref().is_some_and(|handshake| handshake.is_over()) {
            self.handshake = None;
        }
        if let Some(handshake) = &self.handshake {
            ready!(handshake.poll_room(cx));
        }
        ready!(self.inner.as_mut().poll_writable(cx))?;
        if let Some(handshake) = &self.handshake {
            SENT_NEXT.set(Some(Arc::clone(handshake)));
        }
        Poll::Ready(Ok(()))
    }
}
