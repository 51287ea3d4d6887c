//! One connection from its first datagram to the front, on the worker that will own it.

use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};

use actors::port::{ControlLink, DataArrival, DataLink, DataSender, LinkFault, Remote, Transport};
use quinn::{
    Connection, ConnectionError, Incoming, ReadError, ReadExactError, RecvStream, SendStream, TransportErrorCode,
};
use rustls::pki_types::CertificateDer;
use tokio::time::{Instant, timeout_at};
use wire::{DATA_PREFACE_BYTES, DataPreface, PeerId, Ways};

use super::{
    super::{
        control_frames::{FramedControlReceiver, FramedControlSender},
        data_frames::FramedDataReceiver,
        halves::Guard,
        tls,
    },
    CLOSED, CLOSED_TOKEN,
    careful::{CarefulReceiver, UnderWay},
    data_sender::QuicDataSender,
    door::Door,
    halves::{Receiving, Streams, further, split, split_ways},
    listener::Reception,
    place::{Hold, Place},
    urgency::UrgentReceiver,
};

/// An admitted connection that is no link yet. It ends as a link at the front or as a fault there, within the handshake time.
pub(super) struct Arrival {
    place: Place,
    incoming: Incoming,
    door: Arc<Door>,
    deadline: Instant,
}

/// A connection whose peer is known.
struct Met {
    connection: Connection,
    peer: PeerId,
    hold: Hold,
}

impl Arrival {
    /// The clock of the handshake starts now.
    pub(super) fn new(place: Place, incoming: Incoming, door: Arc<Door>) -> Self {
        let deadline = Instant::now() + Duration::from_millis(place.reception().config.handshake_ms);
        Self { place, incoming, door, deadline }
    }

    /// On `worker`: becomes a control link.
    pub(super) async fn finish_control(self, worker: usize) {
        let Self { place, incoming, door, deadline } = self;
        let (reception, address) = (Arc::clone(place.reception()), place.address());
        let arriving = async {
            let met = meet(incoming, &door, place, deadline, Place::may_say_hello).await?;
            let streams = first_stream(&met.connection).await?;
            Ok((met, streams))
        };
        let (met, streams) = match within(deadline, arriving).await {
            Ok(arrived) => arrived,
            Err(ended) => return ended.tell(&reception, address),
        };
        let remote = Remote { peer: met.peer, address, transport: Transport::Quic };
        let data_endpoint = reception.data_endpoints.get(worker).cloned().unwrap_or_default();
        #[cfg(feature = "one-connection")]
        {
            let joined = super::joined::take_data(met.connection.clone(), address, met.peer, Arc::clone(&reception));
            tokio::task::spawn_local(joined);
        }
        let (guard, settled) = met.hold.split();
        let early = settled.map(|settled| UnderWay { connection: met.connection.clone(), settled });
        #[cfg(not(feature = "one-connection"))]
        let further = Some(further(&met.connection));
        // Data links are further streams there.
        #[cfg(feature = "one-connection")]
        let further = None;
        let (reader, writer) = split(met.connection, streams, further, None, Some(guard));
        let link = ControlLink {
            remote,
            receiver: Box::new(UrgentReceiver::here(CarefulReceiver::new(FramedControlReceiver::new(reader), early))),
            sender: Box::new(FramedControlSender::new(writer)),
            data_endpoint,
        };
        reception.front.control(link);
    }

    /// On the worker of this data socket: becomes a data link.
    pub(super) async fn finish_data(self) {
        let Self { place, incoming, door, deadline } = self;
        let (reception, address) = (Arc::clone(place.reception()), place.address());
        let arriving = async {
            // A token takes nothing that its session does not have already.
            let met = meet(incoming, &door, place, deadline, |_| true).await?;
            let first = first_data_stream(&met.connection).await?;
            match join(&met.connection, first).await {
                Ok((preface, streams)) => Ok((met, preface, streams)),
                Err(ended) => {
                    met.connection.close(CLOSED_TOKEN, b"no data token");
                    Err(ended)
                }
            }
        };
        let (met, DataPreface { token, ways }, streams) = match within(deadline, arriving).await {
            Ok(arrived) => arrived,
            Err(ended) => return ended.tell(&reception, address),
        };
        let Met { connection, peer, hold } = met;
        let (closer, (guard, _)) = (connection.clone(), hold.split());
        let not_sent = reception.config.not_sent_bytes;
        let link = data_link(connection, ways, streams, address, peer, Some(guard), not_sent);
        if let Err(refusal) = reception.front.data(DataArrival { token, link }) {
            tracing::debug!(%address, code = ?refusal.code, "a data link was refused");
            closer.close(CLOSED_TOKEN, refusal.message.as_bytes());
        }
    }
}

/// A data link over a connection whose token was shown.
pub(super) fn data_link(
    connection: Connection,
    ways: Ways,
    streams: Streams,
    address: SocketAddr,
    peer: PeerId,
    guard: Guard,
    not_sent_bytes: u32,
) -> DataLink {
    let (reader, writer) = split_ways(connection, streams, guard);
    let sender = |half| -> Box<dyn DataSender> { Box::new(QuicDataSender::new(half, not_sent_bytes.into())) };
    DataLink {
        address,
        peer: Some(peer),
        transport: Transport::Quic,
        ways,
        receiver: Box::new(FramedDataReceiver::new(reader)),
        sender: writer.map(sender),
    }
}

/// As much of the handshake as is needed to know who comes. A peer that comes back is known from its first datagram, by the
/// certificate in the session that it resumes, and heard if it `may_be_heard`; a new one only when it has shown its own, and then
/// it has proven its address.
async fn meet(
    incoming: Incoming,
    door: &Door,
    mut place: Place,
    deadline: Instant,
    may_be_heard: fn(&mut Place) -> bool,
) -> Result<Met, Ended> {
    let connecting = door.accept(incoming).map_err(|error| ended(&error))?;
    let Ok((connection, mut handshake)) = connecting.into_0rtt() else { return Err(Ended::Fault(LinkFault::Lost)) };
    if let Some(peer) = peer_of(&connection)
        && may_be_heard(&mut place)
    {
        let peer = peer.map_err(|_| Ended::Fault(LinkFault::Tls))?;
        let hold = place.when(connection.clone(), handshake, deadline);
        return Ok(Met { connection, peer, hold });
    }
    (&mut handshake).await;
    if let Some(error) = connection.close_reason() {
        return Err(ended(&error));
    }
    if !place.claim(&connection) {
        return Err(Ended::TurnedAway);
    }
    match peer_of(&connection) {
        Some(Ok(peer)) => Ok(Met { connection, peer, hold: Hold::Taken(place) }),
        Some(Err(_)) | None => Err(Ended::Fault(LinkFault::Tls)),
    }
}

/// The id of the key in the other side's certificate; `None`: it has shown none yet.
pub(super) fn peer_of(connection: &Connection) -> Option<Result<PeerId, rustls::Error>> {
    let identity = connection.peer_identity()?;
    let chain = identity.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    Some(tls::peer_of_chain(Some(&chain[..])))
}

async fn first_stream(connection: &Connection) -> Result<(SendStream, RecvStream), Ended> {
    connection.accept_bi().await.map_err(|error| ended(&error))
}

/// The stream with which the peer begins a data link: a bidirectional one carries both ways, and where both kinds have come, it is
/// the link's; the other is found to be one too many when the link is read.
async fn first_data_stream(connection: &Connection) -> Result<(Option<SendStream>, RecvStream), Ended> {
    let opened = tokio::select! {
        biased;
        opened = connection.accept_bi() => opened.map(|(sending, receiving)| (Some(sending), receiving)),
        opened = connection.accept_uni() => opened.map(|receiving| (None, receiving)),
    };
    opened.map_err(|error| ended(&error))
}

/// What that stream begins with, and what the link is made of: bytes down go over a stream of our own if it is not for both.
async fn join(
    connection: &Connection,
    (answering, mut receiving): (Option<SendStream>, RecvStream),
) -> Result<(DataPreface, Streams), Ended> {
    let preface = read_preface(&mut receiving).await?;
    let (sending, receiving) = match (preface.ways, answering) {
        (Ways::Both, Some(stream)) => (Some(stream), Receiving::Stream(receiving)),
        (Ways::Down, None) => {
            let stream = connection.open_uni().await.map_err(|error| ended(&error))?;
            (Some(stream), Receiving::Token(receiving))
        }
        (Ways::Up, None) => (None, Receiving::Stream(receiving)),
        (Ways::Both, None) | (Ways::Down | Ways::Up, Some(_)) => return Err(Ended::Fault(LinkFault::Magic)),
    };
    Ok((preface, Streams { sending, receiving, further: Some(further(connection)), nudge: None }))
}

pub(super) async fn read_preface(stream: &mut RecvStream) -> Result<DataPreface, Ended> {
    let mut preface = [0; DATA_PREFACE_BYTES];
    // A hello may be shorter than a preface, and whoever says it here waits for an answer.
    let (first, rest) = preface.split_at_mut(1);
    fill(stream, first).await?;
    if !DataPreface::is_magic_prefix(first) {
        return Err(Ended::Fault(LinkFault::Magic));
    }
    fill(stream, rest).await?;
    DataPreface::decode(&preface).map_err(|_| Ended::Fault(LinkFault::Magic))
}

async fn fill(stream: &mut RecvStream, bytes: &mut [u8]) -> Result<(), Ended> {
    match stream.read_exact(bytes).await {
        Ok(()) => Ok(()),
        Err(ReadExactError::ReadError(ReadError::ConnectionLost(error))) => Err(ended(&error)),
        // A link that brings less than a token and ends has brought none.
        Err(_) => Err(Ended::Fault(LinkFault::Token)),
    }
}

async fn within<T>(deadline: Instant, step: impl Future<Output = Result<T, Ended>>) -> Result<T, Ended> {
    timeout_at(deadline, step).await.unwrap_or(Err(Ended::Fault(LinkFault::HandshakeTimeout)))
}

/// How a connection ended before it was a link.
pub(super) enum Ended {
    /// The front is told.
    Fault(LinkFault),
    /// Its peer closed it in order: one that has just got a link and needs it no more may not have sent its first bytes yet.
    Left,
    /// There was no room any more when its address was proven. Counted.
    TurnedAway,
}

impl Ended {
    fn tell(self, reception: &Reception, address: SocketAddr) {
        match self {
            Self::Fault(fault) => reception.front.fault(address, fault),
            Self::TurnedAway => tracing::debug!(%address, "a connection was not admitted"),
            Self::Left => tracing::debug!(%address, "a connection was closed before it was a link"),
        }
    }
}

fn ended(error: &ConnectionError) -> Ended {
    Ended::Fault(match error {
        ConnectionError::ApplicationClosed(close) if close.error_code == CLOSED => return Ended::Left,
        // The same, said during the handshake: what an application means is secret until then (RFC 9000, 10.2.3).
        ConnectionError::ConnectionClosed(close) if close.error_code == TransportErrorCode::APPLICATION_ERROR => {
            return Ended::Left;
        }
        ConnectionError::TransportError(_) | ConnectionError::ConnectionClosed(_) => LinkFault::Tls,
        ConnectionError::TimedOut => LinkFault::HandshakeTimeout,
        ConnectionError::VersionMismatch
        | ConnectionError::ApplicationClosed(_)
        | ConnectionError::Reset
        | ConnectionError::LocallyClosed
        | ConnectionError::CidsExhausted => LinkFault::Lost,
    })
}
