//! Dialling a node over QUIC: a first contact shakes hands and checks who answers; a return says its hello in the first datagram.

use std::{future::Future, io, net::SocketAddr, pin::pin, sync::Arc, task::Poll, time::Duration};

use actors::port::{ControlLink, DataLink, DataOffer, Dialer, LinkError, PortFuture, Remote, Transport};
use quinn::{ConnectError, Connecting, Connection, ConnectionError, RecvStream, SendStream, ZeroRttAccepted};
use tokio::{
    net::lookup_host,
    task::JoinSet,
    time::{sleep, timeout},
};
use wire::{DataPreface, PeerId, Ways};

use super::{
    super::{
        DialConfig, Pins,
        control_frames::{FramedControlReceiver, FramedControlSender},
        destination::destination,
        dialer::{foreign, two_servers, unresolved},
    },
    QuicClient, SERVER_NAME,
    arrival::{data_link, peer_of},
    client::KnownNode,
    early::{Opened, Opener, Outcome, promise},
    halves::{Prompt, Receiving, Streams, split},
    instead::Instead,
    nudge::Nudge,
    turned_away,
};

/// Between the first datagrams to two addresses of one name: the first has a round trip to answer.
const NEXT_ADDRESS: Duration = Duration::from_millis(50);

/// Dials one endpoint over QUIC.
pub struct QuicDialer {
    target: Arc<Target>,
}

struct Target {
    /// `HOST:PORT`, as the user gave it.
    endpoint: String,
    client: Arc<QuicClient>,
    node: Arc<KnownNode>,
    pins: Arc<dyn Pins>,
    config: DialConfig,
    #[cfg(feature = "one-connection")]
    joined: std::sync::Mutex<Option<Connection>>,
}

impl QuicDialer {
    /// A dialler for `endpoint` (`HOST:PORT`, `[IPV6]:PORT`).
    ///
    /// # Errors
    /// When rustls refuses the credentials.
    pub fn new(
        endpoint: impl Into<String>,
        client: Arc<QuicClient>,
        pins: Arc<dyn Pins>,
        config: DialConfig,
    ) -> Result<Self, rustls::Error> {
        let endpoint = endpoint.into();
        let node = client.node(&endpoint)?;
        Ok(Self {
            target: Arc::new(Target {
                endpoint,
                client,
                node,
                pins,
                config,
                #[cfg(feature = "one-connection")]
                joined: std::sync::Mutex::default(),
            }),
        })
    }

    /// Where the last control link went, and who answered.
    pub(crate) fn answered(&self) -> Option<(SocketAddr, PeerId)> {
        self.target.node.answered()
    }

    /// Whether the node's ports for data did not answer when they were asked.
    pub(crate) fn data_is_shut(&self) -> bool {
        self.target.node.data_is_shut()
    }

    /// They did not.
    pub(crate) fn note_data_shut(&self) {
        self.target.node.note_data_shut();
    }

    /// The link that [`Dialer::data`] gives, where TCP is tried as well: the words of its error don't say to try it.
    pub(crate) fn data_beside_tcp(&self, offer: DataOffer) -> PortFuture<Result<DataLink, LinkError>> {
        let target = Arc::clone(&self.target);
        Box::pin(async move { target.data(offer).await })
    }

    /// The link that [`Dialer::control`] gives, where another may take its place: `instead` is asked if nobody has answered
    /// within `silence`.
    pub(crate) async fn control_or(
        &self,
        silence: Duration,
        instead: impl Fn() -> PortFuture<Result<ControlLink, LinkError>> + Send + Sync + 'static,
    ) -> Result<ControlLink, LinkError> {
        let (target, instead) = (Arc::clone(&self.target), Instead::after(silence, instead));
        match target.node.returning() {
            Some(known) => target.come_back(known, Some(instead)),
            None => instead.unless(target.first_contact(), |link| link).await,
        }
    }
}

impl Dialer for QuicDialer {
    fn control(&self) -> PortFuture<Result<ControlLink, LinkError>> {
        let target = Arc::clone(&self.target);
        Box::pin(async move {
            match target.node.returning() {
                Some(known) => target.come_back(known, None),
                None => target.first_contact().await.map_err(advise),
            }
        })
    }

    fn data(&self, offer: DataOffer) -> PortFuture<Result<DataLink, LinkError>> {
        let dialled = self.data_beside_tcp(offer);
        Box::pin(async move { dialled.await.map_err(advise) })
    }
}

/// What to do about silence where nothing but QUIC was tried.
fn advise(error: LinkError) -> LinkError {
    match error {
        LinkError::Lost(error) if error.kind() == io::ErrorKind::TimedOut => {
            LinkError::Lost(io::Error::new(error.kind(), format!("{error} (`--transport tcp` does without)")))
        }
        error => error,
    }
}

impl Target {
    /// A whole handshake, then the link.
    async fn first_contact(self: Arc<Self>) -> Result<ControlLink, LinkError> {
        let connecting = async {
            let addresses = match self.node.answered() {
                Some((address, _)) => vec![address],
                None => self.resolve().await?,
            };
            self.connect_any(addresses).await
        };
        let (connection, address) = self.in_time(connecting).await?;
        let peer = self.meet(&connection, address)?;
        let streams = connection.open_bi().await.map_err(|error| self.unconnected(&error))?;
        Ok(self.link(connection, streams, Remote { peer, address, transport: Transport::Quic }))
    }

    /// A link that opens with its first message, in one datagram with the handshake.
    fn come_back(
        self: Arc<Self>,
        (address, peer): (SocketAddr, PeerId),
        instead: Option<Instead>,
    ) -> Result<ControlLink, LinkError> {
        self.pins.check(&self.endpoint, &peer).map_err(LinkError::Identity)?;
        let remote = Remote { peer, address, transport: Transport::Quic };
        let opener: Opener = Box::new(move || {
            let socket = self.client.control(address).map_err(no_socket)?;
            let connecting = socket.connect_with(self.node.control.clone(), address, SERVER_NAME);
            match connecting.map_err(|error| self.unstarted(&error))?.into_0rtt() {
                Ok((connection, accepted)) => Ok(self.early(connection, accepted, remote, instead)),
                // Another session took the ticket meanwhile.
                Err(connecting) => Ok(self.late(connecting, remote, instead)),
            }
        });
        Ok(promise(remote, opener))
    }

    /// The first message goes with the handshake.
    fn early(
        self: Arc<Self>,
        connection: Connection,
        accepted: ZeroRttAccepted,
        remote: Remote,
        instead: Option<Instead>,
    ) -> Opened {
        // None: the node lets no stream be opened early.
        let early = now(connection.open_bi()).map(|streams| self.link(connection.clone(), streams, remote));
        let is_early = early.is_some();
        let outcome = Box::pin(async move {
            let answered =
                async { if accepted.await && is_early { Outcome::Kept } else { self.go_on(connection, remote).await } };
            self.unless_silent(answered, instead).await
        });
        match early {
            Some(ControlLink { receiver, sender, .. }) => Opened { receiver, sender, outcome },
            None => Opened::nothing(outcome),
        }
    }

    /// There is no ticket any more: the first message waits for the handshake.
    fn late(self: Arc<Self>, connecting: Connecting, remote: Remote, instead: Option<Instead>) -> Opened {
        let outcome = Box::pin(async move {
            let shaken = async {
                match connecting.await {
                    Ok(connection) => self.go_on(connection, remote).await,
                    Err(error) => Outcome::Failed(self.unconnected(&error)),
                }
            };
            self.unless_silent(shaken, instead).await
        });
        Opened::nothing(outcome)
    }

    /// `answered`, unless there is another way and nobody answers.
    async fn unless_silent(&self, answered: impl Future<Output = Outcome>, instead: Option<Instead>) -> Outcome {
        let Some(instead) = instead else {
            let limit_ms = self.config.handshake_ms;
            let in_time = timeout(Duration::from_millis(limit_ms), answered).await;
            return match in_time.unwrap_or_else(|_| Outcome::Failed(self.silent())) {
                Outcome::Failed(error) => Outcome::Failed(advise(error)),
                outcome => outcome,
            };
        };
        let answered = async {
            match answered.await {
                Outcome::Failed(error) => Err(error),
                outcome => Ok(outcome),
            }
        };
        instead.unless(answered, Outcome::Instead).await.unwrap_or_else(Outcome::Failed)
    }

    /// The node did not take what was said early, and has shaken hands: a new stream.
    async fn go_on(&self, connection: Connection, remote: Remote) -> Outcome {
        if let Some(error) = connection.close_reason() {
            return Outcome::Failed(self.unconnected(&error));
        }
        let peer = match self.meet(&connection, remote.address) {
            Ok(peer) => peer,
            Err(error) => return Outcome::Failed(error),
        };
        match connection.open_bi().await {
            Ok(streams) => Outcome::Instead(self.link(connection, streams, Remote { peer, ..remote })),
            Err(error) => Outcome::Failed(self.unconnected(&error)),
        }
    }

    fn link(&self, connection: Connection, streams: (SendStream, RecvStream), remote: Remote) -> ControlLink {
        #[cfg(feature = "one-connection")]
        self.joined.lock().unwrap_or_else(std::sync::PoisonError::into_inner).replace(connection.clone());
        let prompt = Some(Prompt::bell(&self.node.silence));
        let (reader, writer) = split(connection, streams, None, prompt, Some(Box::new(self.client.count_link())));
        ControlLink {
            remote,
            receiver: Box::new(FramedControlReceiver::new(reader)),
            sender: Box::new(FramedControlSender::new(writer)),
            data_endpoint: String::new(),
        }
    }

    /// Who answered; the pins decide whether that is who was to.
    fn meet(&self, connection: &Connection, address: SocketAddr) -> Result<PeerId, LinkError> {
        let peer = self.peer(connection)?;
        self.pins.check(&self.endpoint, &peer).map_err(LinkError::Identity)?;
        self.node.has_answered(address, peer);
        Ok(peer)
    }

    fn peer(&self, connection: &Connection) -> Result<PeerId, LinkError> {
        match peer_of(connection) {
            Some(peer) => peer.map_err(|error| foreign(&self.endpoint, error)),
            None => Err(foreign(&self.endpoint, "it showed no key")),
        }
    }

    /// Dials all addresses, each a little after the one before; the first that answers is taken.
    async fn connect_any(self: &Arc<Self>, addresses: Vec<SocketAddr>) -> Result<(Connection, SocketAddr), LinkError> {
        let mut attempts = JoinSet::new();
        for (index, address) in (0_u32..).zip(addresses) {
            let this = Arc::clone(self);
            attempts.spawn(async move {
                sleep(NEXT_ADDRESS * index).await;
                let socket = this.client.control(address).map_err(no_socket)?;
                let config = this.node.control.clone();
                let connecting = socket.connect_with(config, address, SERVER_NAME);
                let connecting = connecting.map_err(|error| this.unstarted(&error))?;
                let connection = connecting.await.map_err(|error| this.unconnected(&error))?;
                Ok::<_, LinkError>((connection, address))
            });
        }
        let mut last = unresolved(&self.endpoint, "it has no address");
        while let Some(attempt) = attempts.join_next().await {
            match attempt {
                Ok(Ok(connected)) => return Ok(connected),
                Ok(Err(error)) => last = error,
                Err(error) => last = LinkError::Local(error.to_string()),
            }
        }
        Err(last)
    }

    async fn resolve(&self) -> Result<Vec<SocketAddr>, LinkError> {
        let found = lookup_host(self.endpoint.as_str()).await;
        Ok(found.map_err(|error| unresolved(&self.endpoint, error))?.map(destination).collect())
    }

    async fn data(&self, offer: DataOffer) -> Result<DataLink, LinkError> {
        let Some((control, peer)) = self.node.answered() else {
            return Err(LinkError::Local("a data link was dialled before its control link".to_owned()));
        };
        #[cfg(feature = "one-connection")]
        let joined = self.joined.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        #[cfg(feature = "one-connection")]
        if let Some(joined) = joined {
            let not_sent = self.config.socket.not_sent_low_water_bytes;
            return super::joined::dial(joined, control, peer, offer.token, not_sent).await;
        }
        let address = data_address(&offer.endpoint, control).await?;
        let socket = self.client.data(address).map_err(no_socket)?;
        let DataOffer { token, ways, .. } = offer;
        let connecting = socket.connect_with(self.node.data_config(ways), address, SERVER_NAME);
        let connecting = connecting.map_err(|error| self.unstarted(&error))?;
        let (connection, streams) = self.show_in_time(connecting, DataPreface { token, ways }, peer, address).await?;
        let guard: Box<dyn Send> = Box::new(self.client.count_link());
        let not_sent = self.config.socket.not_sent_low_water_bytes;
        let streams = Streams { nudge: Some(Nudge::new(Arc::clone(&self.node.silence))), ..streams };
        Ok(data_link(connection, ways, streams, address, peer, Some(guard), not_sent))
    }

    async fn show_in_time(
        &self,
        connecting: Connecting,
        preface: DataPreface,
        control: PeerId,
        address: SocketAddr,
    ) -> Result<(Connection, Streams), LinkError> {
        let limit_ms = self.config.handshake_ms;
        let shown = timeout(Duration::from_millis(limit_ms), self.show(connecting, preface, control)).await;
        shown.unwrap_or_else(|_| {
            let (endpoint, port) = (&self.endpoint, address.port());
            let words = format!(
                "{endpoint} answers over QUIC, but its UDP port {port} for data did not within {limit_ms} ms: let every firewall \
                 between pass the ports that `evenkeel serve` names (`--listen-data` chooses them)"
            );
            Err(LinkError::Lost(io::Error::new(io::ErrorKind::TimedOut, words)))
        })
    }

    /// The token goes with the handshake where there is a ticket, and else after it.
    async fn show(
        &self,
        connecting: Connecting,
        preface: DataPreface,
        control: PeerId,
    ) -> Result<(Connection, Streams), LinkError> {
        let DataPreface { ways, .. } = preface;
        let preface = preface.encode();
        let connection = match connecting.into_0rtt() {
            Ok((connection, accepted)) => {
                // The ticket of a control link, with which the first data link comes, is good for no other streams than such a
                // link has: one that carries one way waits for the handshake then.
                let early = now(open(&connection, ways));
                if let Some(mut streams) = early {
                    // Whoever can read it has the key of a session with this node.
                    let written = streams.0.write_all(&preface).await;
                    if accepted.await && written.is_ok() {
                        let streams = streams_of(&connection, ways, streams);
                        return Ok((connection, streams));
                    }
                } else {
                    accepted.await;
                }
                connection
            }
            Err(connecting) => connecting.await.map_err(|error| self.unconnected(&error))?,
        };
        if let Some(error) = connection.close_reason() {
            return Err(self.unconnected(&error));
        }
        // Before the token is sent: it is good for the session, and only its node may see it.
        let data = self.peer(&connection)?;
        if data != control {
            return Err(two_servers(&self.endpoint, &control, &data));
        }
        let mut streams = open(&connection, ways).await.map_err(|error| self.unconnected(&error))?;
        streams.0.write_all(&preface).await.map_err(|error| LinkError::Lost(error.into()))?;
        let streams = streams_of(&connection, ways, streams);
        Ok((connection, streams))
    }

    async fn in_time<T>(&self, step: impl Future<Output = Result<T, LinkError>>) -> Result<T, LinkError> {
        let limit = Duration::from_millis(self.config.handshake_ms);
        timeout(limit, step).await.unwrap_or_else(|_| Err(self.silent()))
    }

    fn silent(&self) -> LinkError {
        let words = format!(
            "{} did not answer over QUIC within {} s: is it up, and does every firewall between let UDP through?",
            self.endpoint,
            self.config.handshake_ms as f64 / 1e3
        );
        LinkError::Lost(io::Error::new(io::ErrorKind::TimedOut, words))
    }

    fn unstarted(&self, error: &ConnectError) -> LinkError {
        LinkError::Local(format!("cannot dial {} over QUIC: {error}", self.endpoint))
    }

    fn unconnected(&self, error: &ConnectionError) -> LinkError {
        let endpoint = &self.endpoint;
        if let ConnectionError::ConnectionClosed(close) = error
            && let Some(why) = turned_away::why(close)
        {
            let words = format!("{endpoint} {why}");
            return LinkError::Lost(io::Error::new(io::ErrorKind::ConnectionRefused, words));
        }
        let words = match error {
            ConnectionError::TimedOut => return self.silent(),
            ConnectionError::TransportError(error) => return foreign(endpoint, error),
            ConnectionError::VersionMismatch => {
                return foreign(endpoint, "it speaks another version of QUIC");
            }
            error => format!(
                "{endpoint} closed the connection during the handshake ({error}); it may be full, draining, or no Evenkeel server"
            ),
        };
        LinkError::Lost(io::Error::new(io::ErrorKind::ConnectionAborted, words))
    }
}

/// The stream that begins a data link: bidirectional if it is to carry both ways.
async fn open(connection: &Connection, ways: Ways) -> Result<(SendStream, Option<RecvStream>), ConnectionError> {
    match ways {
        Ways::Both => connection.open_bi().await.map(|(sending, receiving)| (sending, Some(receiving))),
        Ways::Down | Ways::Up => connection.open_uni().await.map(|sending| (sending, None)),
    }
}

/// What the link is made of when its token was shown on that stream. Bytes down come over a stream that the node opens.
fn streams_of(
    connection: &Connection,
    ways: Ways,
    (mut sending, receiving): (SendStream, Option<RecvStream>),
) -> Streams {
    let receiving = receiving.map_or_else(|| Receiving::awaited(connection), Receiving::Stream);
    let sending = match ways {
        Ways::Both | Ways::Up => Some(sending),
        Ways::Down => {
            // An error says that the connection has ended, which the other stream says as well.
            let _ = sending.finish();
            None
        }
    };
    Streams { sending, receiving, further: None, nudge: None }
}

/// A stream, if it can be had without waiting.
fn now<T>(opening: impl Future<Output = Result<T, ConnectionError>>) -> Option<T> {
    let mut opening = pin!(opening);
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    match opening.as_mut().poll(&mut cx) {
        Poll::Ready(opened) => opened.ok(),
        Poll::Pending => None,
    }
}

/// Where data links go: `:PORT` is on the machine that answered the control link.
async fn data_address(endpoint: &str, control: SocketAddr) -> Result<SocketAddr, LinkError> {
    let unusable = || LinkError::Local(format!("the node's data endpoint {endpoint:?} is not HOST:PORT"));
    match endpoint.strip_prefix(':') {
        Some(port) => {
            let port = port.parse().map_err(|_| unusable())?;
            // All of it: a link-local address is nothing without its interface.
            let mut address = control;
            address.set_port(port);
            Ok(address)
        }
        None => {
            let found = lookup_host(endpoint).await.ok().and_then(|mut found| found.next());
            found.map(destination).ok_or_else(unusable)
        }
    }
}

fn no_socket(error: io::Error) -> LinkError {
    LinkError::Local(format!("no UDP socket can be opened: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn data_to_a_link_local_address_goes_over_the_interface_of_control() {
        let at = |port| SocketAddr::from(std::net::SocketAddrV6::new("fe80::1".parse().unwrap(), port, 0, 3));
        assert_eq!(data_address(":7401", at(7400)).await.unwrap(), at(7401));
        for none in ["", ":", ":x", ":70000"] {
            assert!(data_address(none, at(7400)).await.is_err(), "{none}");
        }
    }
}
