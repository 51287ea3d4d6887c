//! Dialling a node: connects, shakes hands, checks who answers.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use actors::port::{ControlLink, DataLink, DataOffer, Dialer, LinkError, PortFuture, Remote, Transport};
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpSocket, TcpStream, lookup_host},
};
use tokio_rustls::{TlsConnector, TlsStream};
use wire::{ALPN_CONTROL, ALPN_DATA, DataPreface, PeerId, Role};

use super::{
    Credentials, SocketConfig,
    arrival::{control_link, data_link},
    awake,
    intake::Intake,
    tls, turned_away,
};

/// The server name that is sent when no route is asked for. Never compared with anything: ids are keys.
const ANY_WORKER: &str = "evenkeel";

/// Whether the key that answers at an endpoint is the expected one (known peers, or an id the user gave).
pub trait Pins: Send + Sync + 'static {
    /// `Err` carries words for the user: what was expected, what came, what to do.
    ///
    /// # Errors
    /// When `id` is not the one that belongs to `endpoint`.
    fn check(&self, endpoint: &str, id: &PeerId) -> Result<(), String>;
}

/// How to dial.
#[derive(Clone, Debug)]
pub struct DialConfig {
    /// For finding the name and connecting, over all its addresses, milliseconds.
    pub connect_ms: u64,
    /// For the handshake after that, milliseconds.
    pub handshake_ms: u64,
    /// Socket options.
    pub socket: SocketConfig,
}

impl Default for DialConfig {
    fn default() -> Self {
        Self { connect_ms: 10_000, handshake_ms: 10_000, socket: SocketConfig::default() }
    }
}

/// Dials one endpoint over TCP.
pub struct TcpDialer {
    target: Arc<Target>,
}

struct Target {
    /// `HOST:PORT`, as the user gave it.
    endpoint: String,
    control_tls: Arc<ClientConfig>,
    data_tls: Arc<ClientConfig>,
    pins: Arc<dyn Pins>,
    config: DialConfig,
    /// Where the last control link went and who answered: its data links go to the same machine, also when the name has
    /// several addresses.
    answered: Mutex<Option<(SocketAddr, PeerId)>>,
}

impl TcpDialer {
    /// A dialler for `endpoint` (`HOST:PORT`, `[IPV6]:PORT`).
    ///
    /// # Errors
    /// When rustls refuses the credentials.
    pub fn new(
        endpoint: impl Into<String>,
        credentials: &Credentials,
        pins: Arc<dyn Pins>,
        config: DialConfig,
    ) -> Result<Self, rustls::Error> {
        let target = Target {
            endpoint: endpoint.into(),
            control_tls: tls::client_config(credentials, ALPN_CONTROL)?,
            data_tls: tls::client_config(credentials, ALPN_DATA)?,
            pins,
            config,
            answered: Mutex::new(None),
        };
        Ok(Self { target: Arc::new(target) })
    }

    /// Data links go where a control link of another transport went.
    pub(super) fn follow(&self, address: SocketAddr, peer: PeerId) {
        *self.target.answered.lock().unwrap_or_else(PoisonError::into_inner) = Some((address, peer));
    }
}

impl Dialer for TcpDialer {
    fn control(&self) -> PortFuture<Result<ControlLink, LinkError>> {
        let target = Arc::clone(&self.target);
        Box::pin(async move { target.control().await })
    }

    fn data(&self, offer: DataOffer) -> PortFuture<Result<DataLink, LinkError>> {
        let target = Arc::clone(&self.target);
        Box::pin(async move { target.data(offer).await })
    }
}

impl Target {
    async fn control(&self) -> Result<ControlLink, LinkError> {
        awake::once_more(|| self.meet(), |error| matches!(error, LinkError::Lost(_))).await
    }

    async fn meet(&self) -> Result<ControlLink, LinkError> {
        let (stream, address) = self.connect(None).await?;
        self.config.socket.apply_control(&stream);
        let shaken = self.shake(&self.control_tls, "", stream);
        let (peer, stream) = self.in_time(shaken).await?;
        self.pins.check(&self.endpoint, &peer).map_err(LinkError::Identity)?;
        *self.answered.lock().unwrap_or_else(PoisonError::into_inner) = Some((address, peer));
        Ok(control_link(stream, Remote { peer, address, transport: Transport::Tcp }, None))
    }

    async fn data(&self, offer: DataOffer) -> Result<DataLink, LinkError> {
        let DataOffer { token, ways, route, plaintext, endpoint: _ } = offer;
        let answered = *self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut stream, address) = self.connect(answered.map(|(address, _)| address)).await?;
        self.config.socket.apply_data(&stream);
        let preface = DataPreface { token, ways }.encode();
        if plaintext {
            stream.write_all(&preface).await.map_err(LinkError::Lost)?;
            let linked = data_link(stream, Role::Client, ways, address, None, None).await;
            return linked.map_err(LinkError::Lost);
        }
        let shaken = async {
            let (peer, mut stream) = self.shake(&self.data_tls, &route, stream).await?;
            // Before the token is sent: it is good for the session, and only its node may see it.
            self.check_data_peer(answered.map(|(_, peer)| peer), &peer)?;
            stream.write_all(&preface).await.map_err(LinkError::Lost)?;
            stream.flush().await.map_err(LinkError::Lost)?;
            data_link(stream, Role::Client, ways, address, Some(peer), None).await.map_err(LinkError::Lost)
        };
        self.in_time(shaken).await
    }

    fn check_data_peer(&self, control: Option<PeerId>, data: &PeerId) -> Result<(), LinkError> {
        match control {
            Some(control) if control == *data => Ok(()),
            Some(control) => Err(two_servers(&self.endpoint, &control, data)),
            None => self.pins.check(&self.endpoint, data).map_err(LinkError::Identity),
        }
    }

    async fn in_time<T>(&self, step: impl Future<Output = Result<T, LinkError>>) -> Result<T, LinkError> {
        let limit_ms = self.config.handshake_ms;
        let limit = Duration::from_millis(limit_ms);
        awake::timeout(limit, step).await.unwrap_or(Err(LinkError::HandshakeTimeout(limit_ms)))
    }

    /// Connects to `settled`, else to the first address of the endpoint that answers.
    async fn connect(&self, settled: Option<SocketAddr>) -> Result<(TcpStream, SocketAddr), LinkError> {
        let limit_ms = self.config.connect_ms;
        let attempt = async {
            let addresses = match settled {
                Some(address) => vec![address],
                None => self.resolve().await?,
            };
            let mut last = None;
            for address in addresses {
                match self.connect_to(address).await {
                    Ok(stream) => return Ok((stream, address)),
                    Err(error) => last = Some(error),
                }
            }
            Err(last.map_or_else(|| self.unresolved("it has no address"), |error| self.unconnected(error)))
        };
        awake::timeout(Duration::from_millis(limit_ms), attempt).await.unwrap_or_else(|_| {
            let words =
                format!("{} did not answer within {limit_ms} ms: is it up, and is the port open?", self.endpoint);
            Err(LinkError::Lost(io::Error::new(io::ErrorKind::TimedOut, words)))
        })
    }

    async fn resolve(&self) -> Result<Vec<SocketAddr>, LinkError> {
        // tokio asks the resolver on its blocking threads.
        let found = lookup_host(self.endpoint.as_str()).await.map_err(|error| self.unresolved(error))?;
        Ok(found.collect())
    }

    async fn connect_to(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        self.config.socket.prepare(&socket)?;
        socket.connect(address).await
    }

    fn unresolved(&self, why: impl std::fmt::Display) -> LinkError {
        unresolved(&self.endpoint, why)
    }

    fn unconnected(&self, error: io::Error) -> LinkError {
        let endpoint = &self.endpoint;
        let kind = error.kind();
        let words = match kind {
            io::ErrorKind::ConnectionRefused => {
                format!("nothing listens at {endpoint}; is `evenkeel serve` running there?")
            }
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
                format!("{endpoint} cannot be reached: {error}; check the address and this machine's network")
            }
            io::ErrorKind::AddrNotAvailable => {
                return LinkError::Local(format!("no local port is free to dial {endpoint} from: {error}"));
            }
            _ if is_exhaustion(&error) => {
                return LinkError::Local(format!("cannot open a socket: {error}; raise the limit on open files"));
            }
            _ => format!("cannot connect to {endpoint}: {error}"),
        };
        LinkError::Lost(io::Error::new(kind, words))
    }

    /// TLS as a client; whose key it is remains to be checked.
    async fn shake(
        &self,
        config: &Arc<ClientConfig>,
        route: &str,
        stream: TcpStream,
    ) -> Result<(PeerId, TlsStream<Intake>), LinkError> {
        let name = server_name(route).map_err(|error| LinkError::Local(format!("a bad server name: {error}")))?;
        let stream = TlsConnector::from(Arc::clone(config))
            .connect(name, Intake::new(stream))
            .await
            .map_err(|error| self.unshaken(&error))?;
        let (_, session) = stream.get_ref();
        if session.alpn_protocol() != config.alpn_protocols.first().map(Vec::as_slice) {
            return Err(self.foreign("it speaks TLS, but not Evenkeel's protocol"));
        }
        let peer = tls::peer_of_chain(session.peer_certificates()).map_err(|error| self.foreign(error))?;
        Ok((peer, stream.into()))
    }

    fn unshaken(&self, error: &io::Error) -> LinkError {
        if let Some(why) = turned_away::why(error) {
            let words = format!("{} {why}", self.endpoint);
            return LinkError::Lost(io::Error::new(io::ErrorKind::ConnectionRefused, words));
        }
        // tokio-rustls wraps every error of TLS itself, alerts too, as `InvalidData`.
        if error.kind() == io::ErrorKind::InvalidData {
            return self.foreign(error);
        }
        let words = format!(
            "{} closed the connection during the handshake ({error}); it may be full, draining, or no Evenkeel server",
            self.endpoint
        );
        LinkError::Lost(io::Error::new(error.kind(), words))
    }

    fn foreign(&self, why: impl std::fmt::Display) -> LinkError {
        foreign(&self.endpoint, why)
    }
}

/// `endpoint` has no address.
pub(super) fn unresolved(endpoint: &str, why: impl std::fmt::Display) -> LinkError {
    let words = format!("cannot find {endpoint}: {why}; write it as HOST:PORT and check the name");
    LinkError::Lost(io::Error::new(io::ErrorKind::NotFound, words))
}

/// Something else answers at `endpoint`.
pub(super) fn foreign(endpoint: &str, why: impl std::fmt::Display) -> LinkError {
    LinkError::Identity(format!(
        "what answers at {endpoint} is no Evenkeel server ({why}); check the host and the port"
    ))
}

/// Two machines answer at `endpoint`.
pub(super) fn two_servers(endpoint: &str, control: &PeerId, data: &PeerId) -> LinkError {
    LinkError::Identity(format!(
        "{endpoint} answered the control link as {control} and the data link as {data}: two servers behind one address?"
    ))
}

/// The route when it can be a server name, else the neutral one: the route came from the other side.
fn server_name(route: &str) -> Result<ServerName<'static>, rustls::pki_types::InvalidDnsNameError> {
    match ServerName::try_from(route.to_owned()) {
        Ok(name) if !route.is_empty() => Ok(name),
        _ => ServerName::try_from(ANY_WORKER),
    }
}

/// Out of descriptors or memory.
fn is_exhaustion(error: &io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM]
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}
