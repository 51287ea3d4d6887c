//! Dialling a node over QUIC: a first contact shakes hands and checks who answers; a return says its hello in the first datagram.

use std::{future::Future, io, net::SocketAddr, pin::pin, sync::Arc, task::Poll, time::Duration};

use actors::port::{ControlLink, DataLink, DataOffer, Dialer, LinkError, PortFuture, Remote, Transport};
use quinn::{ConnectError, Connecting, Connection, ConnectionError, RecvStream, SendStream, ZeroRttAccepted};
use tokio::{
    net::lookup_host,
    task::JoinSet,
    time::{sleep, timeout},
};
use wire::PeerId;

use super::{
    super::{
        DialConfig, Pins, awake,
        control_frames::{FramedControlReceiver, FramedControlSender},
        destination::destination,
        dialer::{foreign, unresolved},
    },
    QuicClient, SERVER_NAME,
    arrival::peer_of,
    client::KnownNode,
    early::{Opened, Opener, Outcome, promise},
    halves::{Prompt, split},
    instead::Instead,
    refused::refused,
    turned_away,
};

mod data;

/// Between the first datagrams to two addresses of one name: the first has a round trip to answer.
const NEXT_ADDRESS: Duration = Duration::from_millis(50);

/// How long the known address of a name waits for others to be looked up.
const OTHERS_WAIT: Duration = Duration::from_secs(2);

/// What it is when a host says that nobody is at its port. Who is there and has no room refuses the connection.
const NOTHING_LISTENS: io::ErrorKind = io::ErrorKind::HostUnreachable;

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
        let target = Arc::clone(&self.target);
        Box::pin(async move { target.data_alone(offer).await })
    }
}

/// What to do about silence where nothing but QUIC was tried.
fn advise(error: LinkError) -> LinkError {
    match error {
        LinkError::Lost(error) if is_silence(error.kind()) => {
            LinkError::Lost(io::Error::new(error.kind(), format!("{error} (`--transport tcp` does without)")))
        }
        error => error,
    }
}

/// Either end waited for the other in vain.
fn is_given_up(error: &LinkError) -> bool {
    use io::ErrorKind::{ConnectionAborted, TimedOut};
    matches!(error, LinkError::Lost(error) if matches!(error.kind(), TimedOut | ConnectionAborted))
}

/// Nobody answers, or a host says that nobody will.
fn is_silence(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::TimedOut | NOTHING_LISTENS)
}

impl Target {
    /// A whole handshake, then the link.
    async fn first_contact(self: Arc<Self>) -> Result<ControlLink, LinkError> {
        let meet = || async {
            let (connection, address) = self.connect_any(self.addresses().await?).await?;
            let peer = self.meet(&connection, address)?;
            let streams = connection.open_bi().await.map_err(|error| self.unconnected(&error))?;
            Ok((connection, streams, Remote { peer, address, transport: Transport::Quic }))
        };
        let met = self.in_time(meet).await.inspect_err(|error| self.note_silence(error));
        let (connection, streams, remote) = met?;
        Ok(self.link(connection, streams, remote))
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
            self.unless_silent(remote.address, answered, instead).await
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
            self.unless_silent(remote.address, shaken, instead).await
        });
        Opened::nothing(outcome)
    }

    /// `answered`, unless there is another way and nobody answers from `address`.
    async fn unless_silent(
        self: &Arc<Self>,
        address: SocketAddr,
        answered: impl Future<Output = Outcome>,
        instead: Option<Instead>,
    ) -> Outcome {
        let Some(instead) = instead else {
            let heard = async {
                tokio::select! {
                    biased;
                    outcome = answered => outcome,
                    () = refused(address) => Outcome::Failed(self.unheard(address)),
                    () = awake::pause(Duration::from_millis(self.config.handshake_ms)) => Outcome::Failed(self.silent()),
                }
            };
            let outcome = match awake::watched(heard).await {
                (Outcome::Failed(error), true) if is_given_up(&error) => {
                    Arc::clone(self).first_contact().await.map_or_else(Outcome::Failed, Outcome::Instead)
                }
                (outcome, _) => outcome,
            };
            return match outcome {
                Outcome::Failed(error) => {
                    self.note_silence(&error);
                    Outcome::Failed(advise(error))
                }
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
                let connection = tokio::select! {
                    biased;
                    connected = connecting => connected.map_err(|error| this.unconnected(&error))?,
                    () = refused(address) => return Err(this.unheard(address)),
                };
                Ok((connection, address))
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

    /// One that fell silent may be found at another address.
    fn note_silence(&self, error: &LinkError) {
        if matches!(error, LinkError::Lost(error) if is_silence(error.kind())) {
            self.node.note_silent();
        }
    }

    /// Where it answered last; where it no longer does, whatever else its name stands for, too.
    async fn addresses(&self) -> Result<Vec<SocketAddr>, LinkError> {
        let Some((known, _)) = self.node.answered() else { return self.resolve().await };
        if !self.node.is_silent() {
            return Ok(vec![known]);
        }
        // The resolver may be out of reach as well.
        let others = timeout(OTHERS_WAIT, self.resolve()).await.ok().and_then(Result::ok).unwrap_or_default();
        Ok(std::iter::once(known).chain(others.into_iter().filter(|other| *other != known)).collect())
    }

    async fn resolve(&self) -> Result<Vec<SocketAddr>, LinkError> {
        let found = lookup_host(self.endpoint.as_str()).await;
        Ok(found.map_err(|error| unresolved(&self.endpoint, error))?.map(destination).collect())
    }

    /// What `dial` comes to in the time of a handshake; who stood still meanwhile dials once more.
    async fn in_time<T, F: Future<Output = Result<T, LinkError>>>(&self, dial: impl Fn() -> F) -> Result<T, LinkError> {
        let limit = Duration::from_millis(self.config.handshake_ms);
        let dial = || async { awake::timeout(limit, dial()).await.unwrap_or_else(|_| Err(self.silent())) };
        awake::once_more(dial, is_given_up).await
    }

    fn silent(&self) -> LinkError {
        let words = format!(
            "{} did not answer over QUIC within {} s: is it up, and does every firewall between let UDP through?",
            self.endpoint,
            self.config.handshake_ms as f64 / 1e3
        );
        LinkError::Lost(io::Error::new(io::ErrorKind::TimedOut, words))
    }

    /// Its host says that nothing listens at `address`.
    fn unheard(&self, address: SocketAddr) -> LinkError {
        let words = format!(
            "nothing listens at UDP port {} of {}; is `evenkeel serve` running there, with QUIC, and does no firewall turn UDP away?",
            address.port(),
            self.endpoint
        );
        LinkError::Lost(io::Error::new(NOTHING_LISTENS, words))
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

/// A stream, if it can be had without waiting.
fn now<T>(opening: impl Future<Output = Result<T, ConnectionError>>) -> Option<T> {
    let mut opening = pin!(opening);
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    match opening.as_mut().poll(&mut cx) {
        Poll::Ready(opened) => opened.ok(),
        Poll::Pending => None,
    }
}

fn no_socket(error: io::Error) -> LinkError {
    LinkError::Local(format!("no UDP socket can be opened: {error}"))
}
