//! The one open port: accepts, asks for admission, and lets each connection arrive on its own.

use std::{
    io,
    net::{self, SocketAddr},
    sync::{Arc, atomic::AtomicUsize},
    time::Duration,
};

use actors::{
    log_gate::{LOG_INTERVAL, LogGate},
    port::Front,
};
use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

use super::{
    Credentials, SocketConfig,
    arrival::{Arrival, Reception},
    farewell::Farewells,
    tls, turned_away,
};

/// How long nothing is accepted after the machine ran out of descriptors or memory: long enough not to spin, short enough
/// that a client hardly notices. Waiting connections stay in the backlog.
pub(super) const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// How to listen.
#[derive(Clone, Debug)]
pub struct ListenConfig {
    /// From the connection to the end of its handshake (TLS, and the token of a data link), milliseconds.
    pub handshake_ms: u64,
    /// Whether data links must be encrypted; plaintext ones are refused then.
    pub data_encryption: bool,
    /// Connections that the kernel holds until they are accepted; it uses `net.core.somaxconn` if that is less.
    pub backlog: u32,
    /// Socket options.
    pub socket: SocketConfig,
}

impl Default for ListenConfig {
    fn default() -> Self {
        Self { handshake_ms: 10_000, data_encryption: true, backlog: 4096, socket: SocketConfig::default() }
    }
}

/// A bound port. Connections are taken only while [`Listener::run`] is polled.
pub struct Listener {
    socket: net::TcpListener,
    reception: Arc<Reception>,
}

impl Listener {
    /// Binds and listens. Needs no runtime, so that a taken port is known before anything is started. `[::]` takes IPv4 as
    /// well.
    ///
    /// # Errors
    /// The kernel's kind, with words for the operator: which address, and what to do.
    pub fn bind(
        address: SocketAddr,
        front: Arc<dyn Front>,
        credentials: &Credentials,
        config: ListenConfig,
    ) -> io::Result<Self> {
        let tls = tls::server_config(credentials).map_err(io::Error::other)?;
        let socket = listen(address, config.backlog, &config.socket).map_err(|error| explain("", address, &error))?;
        let reception = Arc::new(Reception { front, tls, config, turn: AtomicUsize::new(0) });
        Ok(Self { socket, reception })
    }

    /// The address in force; its port is a real one when 0 was asked for.
    ///
    /// # Errors
    /// What `getsockname(2)` answers.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Accepts for ever, on the runtime that polls it; dropping the future closes the port. Connections that are already
    /// arriving go on.
    ///
    /// # Errors
    /// Only when the socket cannot be registered with the runtime. What `accept(2)` answers ends nothing.
    pub async fn run(self) -> io::Result<()> {
        let listener = TcpListener::from_std(self.socket)?;
        let (warnings, farewells) = (LogGate::new(LOG_INTERVAL), Farewells::default());
        loop {
            match listener.accept().await {
                Ok((stream, address)) => greet(&self.reception, &farewells, stream, address),
                Err(error) if is_of_the_connection(&error) => {}
                Err(error) => {
                    if let Some(held_back) = warnings.open(host::monotonic_nanos()) {
                        let limit = host::descriptor_limit().soft;
                        tracing::warn!(%error, limit, held_back, "no connection can be accepted: raise the limit on open files");
                    }
                    tokio::time::sleep(EXHAUSTED_PAUSE).await;
                }
            }
        }
    }
}

/// Admission, before anything is read or allocated for the connection.
fn greet(reception: &Arc<Reception>, farewells: &Farewells, stream: TcpStream, address: SocketAddr) {
    match reception.front.admit(address) {
        Ok(guard) => {
            tokio::spawn(Arrival::new(Arc::clone(reception), address, guard).receive(stream));
        }
        Err(reason) => {
            tracing::debug!(%address, reason, "a connection was not admitted");
            turned_away::tell(farewells, stream, reason);
        }
    }
}

/// `accept(2)` also reports what had become of the connection it would have returned: nothing to wait for.
pub(super) fn is_of_the_connection(error: &io::Error) -> bool {
    [
        Errno::CONNABORTED,
        Errno::INTR,
        Errno::PROTO,
        Errno::NETDOWN,
        Errno::HOSTDOWN,
        Errno::HOSTUNREACH,
        Errno::NETUNREACH,
        Errno::PERM,
    ]
    .iter()
    .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

pub(super) fn listen(address: SocketAddr, backlog: u32, config: &SocketConfig) -> io::Result<net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A port whose old connections are still in TIME_WAIT may be taken at once after a restart.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    config.prepare(&socket)?;
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    Ok(socket.into())
}

/// `error` in words for the operator; `kind` is what kind of port it is, with a space behind.
pub(super) fn explain(kind: &str, address: SocketAddr, error: &io::Error) -> io::Error {
    let advice = match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another process listens there (another `evenkeel serve`?): stop it, or choose another port"
        }
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 need privilege: choose a higher one, or grant CAP_NET_BIND_SERVICE"
        }
        io::ErrorKind::AddrNotAvailable => {
            "this machine has no such address: choose one of its own, or 0.0.0.0 or [::] for all"
        }
        _ => "check the address and the socket options",
    };
    io::Error::new(error.kind(), format!("cannot listen on {kind}{address}: {error}; {advice}"))
}
