//! The UDP sockets: their buffers, and that data waits for control.

use std::{
    fmt, io,
    net::{SocketAddr, UdpSocket},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use quinn::{
    AsyncUdpSocket, Endpoint, EndpointConfig, Runtime as _, UdpPoller,
    udp::{RecvMeta, Transmit},
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{Domain, Protocol, Socket, Type};

use super::{door::Door, runtime::LaneRuntime};

/// Of a control socket: a few thousand frames that wait for a busy thread.
pub(super) const CONTROL_BUFFER_BYTES: usize = 1 << 20;
/// Of a data socket: 16 ms at 1 GB/s either way. A datagram that finds no room is lost, and its sender takes that for congestion.
pub(super) const DATA_BUFFER_BYTES: usize = 4 << 20;
/// How often in a row a data socket steps back for the control socket. A flood of control datagrams slows data down, and does
/// not end it.
const YIELDS_MAX: u32 = 16;

/// Binds a socket with buffers of about `buffer_bytes`; `[::]` takes IPv4 as well.
pub(super) fn bind(address: SocketAddr, buffer_bytes: usize) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    size_buffers(&socket, buffer_bytes);
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// The kernel gives as much as `net.core.rmem_max` and `wmem_max` let it, and says nothing if that is less.
fn size_buffers(socket: &Socket, wanted: usize) {
    let asked = socket.set_recv_buffer_size(wanted).and_then(|()| socket.set_send_buffer_size(wanted));
    // It answers twice what one may use; the other half is its own bookkeeping.
    let got = |size: io::Result<usize>| size.unwrap_or(0) / 2;
    let (receive, send) = (got(socket.recv_buffer_size()), got(socket.send_buffer_size()));
    if asked.is_err() || receive < wanted || send < wanted {
        tracing::info!(
            wanted,
            receive,
            send,
            "the kernel gives UDP sockets smaller buffers than wanted: raise net.core.rmem_max and net.core.wmem_max if fast peers lose datagrams"
        );
    } else {
        tracing::debug!(receive, send, "UDP socket buffers");
    }
}

/// Where the kernel cuts and joins datagrams itself (GSO, GRO), many go and come with one call.
fn tell_batches(socket: &dyn AsyncUdpSocket) {
    let port = socket.local_addr().map_or(0, |address| address.port());
    let (sent, received) = (socket.max_transmit_segments(), socket.max_receive_segments());
    tracing::debug!(port, sent, received, "UDP datagrams at once");
}

/// An endpoint on `socket`, read by the current runtime; its connections are driven where they are accepted or dialled. Where
/// there is a door, it accepts.
pub(super) fn endpoint(
    socket: UdpSocket,
    config: EndpointConfig,
    door: Option<&Door>,
    lane: LaneRuntime,
) -> io::Result<Endpoint> {
    let socket = lane.wrap_udp_socket(socket)?;
    tell_batches(socket.as_ref());
    open(socket, config, door, lane)
}

/// The same for data, stepping back for `control`.
pub(super) fn data_endpoint(socket: UdpSocket, control: UdpSocket, door: Option<&Door>) -> io::Result<Endpoint> {
    let inner = LaneRuntime::Data.wrap_udp_socket(socket)?;
    tell_batches(inner.as_ref());
    let socket = Arc::new(DataSocket { inner, control, yields: AtomicU32::new(0) });
    open(socket, EndpointConfig::default(), door, LaneRuntime::Data)
}

fn open(
    socket: Arc<dyn AsyncUdpSocket>,
    mut config: EndpointConfig,
    door: Option<&Door>,
    lane: LaneRuntime,
) -> io::Result<Endpoint> {
    let (server, socket) = match door {
        Some(door) => (Some(door.config.clone()), door.bound(socket, &mut config)),
        None => (None, socket),
    };
    Endpoint::new_with_abstract_socket(config, server, socket, Arc::new(lane))
}

/// A data socket: read only while nothing waits on the control socket (DESIGN 4, seed 000).
struct DataSocket {
    inner: Arc<dyn AsyncUdpSocket>,
    /// A second handle of the control socket, to look at.
    control: UdpSocket,
    /// In a row.
    yields: AtomicU32,
}

impl DataSocket {
    /// Whether a datagram waits on the control socket. Asked of the kernel: the runtime knows only what was there when it last
    /// looked.
    fn control_waits(&self) -> bool {
        let mut sockets = [PollFd::new(&self.control, PollFlags::IN)];
        matches!(poll(&mut sockets, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })), Ok(1..))
    }
}

impl fmt::Debug for DataSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataSocket").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl AsyncUdpSocket for DataSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Arc::clone(&self.inner).create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.inner.try_send(transmit)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [io::IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        if self.yields.load(Relaxed) < YIELDS_MAX && self.control_waits() {
            self.yields.fetch_add(1, Relaxed);
            tracing::trace!("data steps back: the control socket is readable");
            // Wakes this task after the runtime has looked at its sockets and at what other threads handed over, and so after
            // the tasks that what waits there is for.
            let _ = pin!(tokio::task::yield_now()).poll(cx);
            return Poll::Pending;
        }
        self.yields.store(0, Relaxed);
        self.inner.poll_recv(cx, bufs, meta)
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

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, io::IoSliceMut, net::Ipv4Addr, time::Duration};

    use quinn::TokioRuntime;
    use tokio::time::timeout;

    use super::*;

    fn loopback() -> UdpSocket {
        bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), CONTROL_BUFFER_BYTES).unwrap()
    }

    async fn receive(socket: &DataSocket, patience: Duration) -> Option<usize> {
        let mut room = vec![0; 65_536];
        let mut metas = [RecvMeta::default(); 1];
        let mut waits = 0;
        let received = poll_fn(|cx| {
            let polled = socket.poll_recv(cx, &mut [IoSliceMut::new(&mut room)], &mut metas);
            waits += u32::from(polled.is_pending());
            polled
        });
        timeout(patience, received).await.ok()?.unwrap();
        Some(waits as usize)
    }

    #[tokio::test]
    async fn data_waits_while_control_is_readable_but_not_for_ever() {
        let (control, data, sender) = (loopback(), loopback(), loopback());
        let socket = DataSocket {
            inner: TokioRuntime.wrap_udp_socket(data.try_clone().unwrap()).unwrap(),
            control: control.try_clone().unwrap(),
            yields: AtomicU32::new(0),
        };
        sender.send_to(b"data", data.local_addr().unwrap()).unwrap();
        assert!(receive(&socket, Duration::from_secs(5)).await.unwrap() <= 1, "nothing to step back for");
        sender.send_to(b"control", control.local_addr().unwrap()).unwrap();
        sender.send_to(b"data", data.local_addr().unwrap()).unwrap();
        // Nobody reads the control socket here: after so many steps back data has a turn.
        let waits = receive(&socket, Duration::from_secs(5)).await.unwrap();
        assert!((YIELDS_MAX as usize..=YIELDS_MAX as usize + 1).contains(&waits), "{waits}");
        control.recv(&mut [0; 16]).unwrap();
        sender.send_to(b"data", data.local_addr().unwrap()).unwrap();
        assert!(receive(&socket, Duration::from_secs(5)).await.unwrap() <= 1);
    }

    #[test]
    fn a_port_below_the_wildcard_takes_both_families() {
        let socket = bind("[::]:0".parse().unwrap(), CONTROL_BUFFER_BYTES).unwrap();
        let port = socket.local_addr().unwrap().port();
        let sender = loopback();
        sender.send_to(b"over IPv4", (Ipv4Addr::LOCALHOST, port)).unwrap();
        socket.set_nonblocking(false).unwrap();
        assert_eq!(socket.recv(&mut [0; 16]).unwrap(), 9);
    }
}
