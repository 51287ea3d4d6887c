//! A connection to the node's ports over either transport: bytes there and back, blocking, with a limit on every wait.

use std::{
    future::Future,
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    sync::{Arc, OnceLock},
    thread,
    time::Duration,
};

use quinn::{Connection, Endpoint, RecvStream, SendStream, crypto::rustls::QuicClientConfig};
use rustls::{ClientConfig, ClientConnection, StreamOwned, pki_types::ServerName};
use tokio::{
    runtime::{Builder, Handle},
    time::timeout,
};
use wire::Ways;

/// The longest wait for an answer; far above what is needed, since the machine may be busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// How long a line that is dropped goes on with what was written to it, as the kernel does for TCP.
const LINGER: Duration = Duration::from_secs(2);

/// TLS over TCP.
pub(crate) type Tls = StreamOwned<ClientConnection, TcpStream>;

/// A stream of bytes to the node and one from it.
pub(crate) enum Line {
    Tcp(Box<Tls>),
    Quic(QuicLine),
}

impl Line {
    /// How long a read may take.
    pub(crate) fn set_read_patience(&mut self, time: Duration) {
        match self {
            Self::Tcp(tls) => tls.sock.set_read_timeout(Some(time)).unwrap(),
            Self::Quic(line) => line.read_patience = time,
        }
    }

    /// How long a write may take.
    pub(crate) fn set_write_patience(&mut self, time: Duration) {
        match self {
            Self::Tcp(tls) => tls.sock.set_write_timeout(Some(time)).unwrap(),
            Self::Quic(line) => line.write_patience = time,
        }
    }
}

impl Read for Line {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(tls) => tls.read(room),
            Self::Quic(line) => line.read(room),
        }
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(tls) => tls.write(bytes),
            Self::Quic(line) => line.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(tls) => tls.flush(),
            Self::Quic(_) => Ok(()),
        }
    }
}

/// The stream of a QUIC connection. Its sockets go on, on a thread of their own, while nobody waits for them.
pub(crate) struct QuicLine {
    /// `None` when it is dropped.
    streams: Option<(SendStream, Option<RecvStream>)>,
    connection: Connection,
    read_patience: Duration,
    write_patience: Duration,
}

impl QuicLine {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let Some((_, receiving)) = &mut self.streams else { return Ok(0) };
        let receiving = match receiving {
            Some(receiving) => receiving,
            // What comes to who has opened a stream that carries one way comes over the node's own.
            none => none.insert(within(self.read_patience, self.connection.accept_uni())??),
        };
        let read = within(self.read_patience, receiving.read(room))?;
        Ok(read.map_err(io::Error::from)?.unwrap_or(0))
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some((sending, _)) = &mut self.streams else { return Ok(0) };
        within(self.write_patience, sending.write(bytes))?.map_err(io::Error::from)
    }
}

impl Drop for QuicLine {
    fn drop(&mut self) {
        let (Some((mut sending, receiving)), connection) = (self.streams.take(), self.connection.clone()) else {
            return;
        };
        sockets().spawn(async move {
            let _ = sending.finish();
            let _ = timeout(LINGER, sending.stopped()).await;
            drop((sending, receiving, connection));
        });
    }
}

/// The runtime of all QUIC sockets of this process.
fn sockets() -> &'static Handle {
    static SOCKETS: OnceLock<Handle> = OnceLock::new();
    SOCKETS.get_or_init(|| {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let handle = runtime.handle().clone();
        thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
        handle
    })
}

fn within<T>(time: Duration, step: impl Future<Output = T>) -> io::Result<T> {
    sockets().block_on(async { timeout(time, step).await }).map_err(|_| io::ErrorKind::TimedOut.into())
}

/// A UDP socket of one's own.
pub(crate) fn udp() -> Endpoint {
    let _on = sockets().enter();
    Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).unwrap()
}

/// A QUIC handshake to its end, and the stream of a link that carries `ways`.
pub(crate) fn shake_quic(
    config: Arc<ClientConfig>,
    endpoint: &Endpoint,
    address: SocketAddr,
    ways: Ways,
) -> io::Result<Line> {
    let config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(config).unwrap()));
    let shaken = within(PATIENCE, async {
        let connection = endpoint.connect_with(config, address, "evenkeel").unwrap().await?;
        let streams = match ways {
            Ways::Both => connection.open_bi().await.map(|(sending, receiving)| (sending, Some(receiving)))?,
            Ways::Down | Ways::Up => (connection.open_uni().await?, None),
        };
        Ok::<_, quinn::ConnectionError>((connection, streams))
    });
    let (connection, streams) = shaken?.map_err(io::Error::from)?;
    let streams = Some(streams);
    Ok(Line::Quic(QuicLine { streams, connection, read_patience: PATIENCE, write_patience: PATIENCE }))
}

/// A connection to the node's port.
pub(crate) fn tcp(peers: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(peers).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// A TLS handshake to its end.
pub(crate) fn shake(config: Arc<ClientConfig>, name: &str, mut stream: TcpStream) -> io::Result<Tls> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut connection = ClientConnection::new(config, name).unwrap();
    while connection.is_handshaking() {
        connection.complete_io(&mut stream)?;
    }
    // Our own last flight; more `complete_io` would wait for bytes that may never come.
    while connection.wants_write() {
        connection.write_tls(&mut stream)?;
    }
    Ok(StreamOwned::new(connection, stream))
}
