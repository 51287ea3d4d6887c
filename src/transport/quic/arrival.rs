//! One connection from its first datagram to the front, on the worker that will own it.

use std::{
    future::Future,
    net::SocketAddr,
    sync::{Arc, Mutex, atomic::Ordering::Relaxed},
    time::Duration,
};

use actors::port::{ControlLink, DataArrival, DataLink, LinkFault, Remote, Transport};
use quinn::{
    Connection, ConnectionError, Incoming, ReadError, ReadExactError, RecvStream, SendStream, TransportErrorCode,
    ZeroRttAccepted,
};
use rustls::pki_types::CertificateDer;
use tokio::time::{Instant, timeout_at};
use wire::{DATA_PREFACE_BYTES, DataPreface, PeerId, Token};

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
    halves::split,
    listener::Reception,
    urgency::UrgentReceiver,
};

/// A handshake under way, counted as long as it is.
pub(super) struct Handshake(Arc<Reception>);

impl Handshake {
    /// One more.
    pub(super) fn begin(reception: &Arc<Reception>) -> Self {
        reception.handshakes.fetch_add(1, Relaxed);
        Self(Arc::clone(reception))
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        self.0.handshakes.fetch_sub(1, Relaxed);
    }
}

/// An admitted connection that is no link yet. It ends as a link at the front or as a fault there, within the handshake time.
pub(super) struct Arrival {
    handshake: Handshake,
    address: SocketAddr,
    guard: Guard,
    incoming: Incoming,
    deadline: Instant,
}

/// A connection whose peer is known. With one that came back, its handshake may still be going on.
struct Met {
    connection: Connection,
    peer: PeerId,
    handshake: Option<ZeroRttAccepted>,
}

impl Arrival {
    /// The clock of the handshake starts now.
    pub(super) fn new(handshake: Handshake, address: SocketAddr, guard: Box<dyn Send>, incoming: Incoming) -> Self {
        let deadline = Instant::now() + Duration::from_millis(handshake.0.config.handshake_ms);
        Self { handshake, address, guard: Some(guard), incoming, deadline }
    }

    /// On `worker`: becomes a control link.
    pub(super) async fn finish_control(self, worker: usize) {
        let Self { handshake, address, guard, incoming, deadline } = self;
        let arriving = async {
            let met = meet(incoming).await?;
            let streams = first_stream(&met.connection).await?;
            Ok((met, streams))
        };
        let (met, streams) = match within(deadline, arriving).await {
            Ok(arrived) => arrived,
            Err(ended) => return ended.tell(&handshake, address),
        };
        let remote = Remote { peer: met.peer, address, transport: Transport::Quic };
        let data_endpoint = handshake.0.data_endpoints.get(worker).cloned().unwrap_or_default();
        #[cfg(feature = "one-connection")]
        {
            let joined = super::joined::take_data(met.connection.clone(), address, met.peer, handshake.0.clone());
            tokio::task::spawn_local(joined);
        }
        let front = Arc::clone(&handshake.0.front);
        let counted = Arc::new(Mutex::new(Some(handshake)));
        let (early, guard): (_, Guard) = match met.handshake {
            Some(accepted) => {
                let (connection, guard) = (met.connection.clone(), (guard, Arc::clone(&counted)));
                (Some(UnderWay { connection, accepted, counted }), Some(Box::new(guard)))
            }
            None => (None, guard),
        };
        let (reader, writer) = split(met.connection, streams, guard);
        let link = ControlLink {
            remote,
            receiver: Box::new(UrgentReceiver::here(CarefulReceiver::new(FramedControlReceiver::new(reader), early))),
            sender: Box::new(FramedControlSender::new(writer)),
            data_endpoint,
        };
        front.control(link);
    }

    /// On the worker of this data socket: becomes a data link.
    pub(super) async fn finish_data(self) {
        let Self { handshake, address, guard, incoming, deadline } = self;
        let arriving = async {
            let met = meet(incoming).await?;
            let mut streams = first_stream(&met.connection).await?;
            match read_token(&mut streams.1).await {
                Ok(token) => Ok((met, streams, token)),
                Err(ended) => {
                    met.connection.close(CLOSED_TOKEN, b"no data token");
                    Err(ended)
                }
            }
        };
        let (met, streams, token) = match within(deadline, arriving).await {
            Ok(arrived) => arrived,
            Err(ended) => return ended.tell(&handshake, address),
        };
        let Met { connection, peer, .. } = met;
        let closer = connection.clone();
        let link = data_link(connection, streams, address, peer, guard, handshake.0.config.not_sent_bytes);
        let front = Arc::clone(&handshake.0.front);
        drop(handshake);
        if let Err(refusal) = front.data(DataArrival { token, link }) {
            tracing::debug!(%address, code = ?refusal.code, "a data link was refused");
            closer.close(CLOSED_TOKEN, refusal.message.as_bytes());
        }
    }
}

/// A data link over a connection whose token was shown.
pub(super) fn data_link(
    connection: Connection,
    streams: (SendStream, RecvStream),
    address: SocketAddr,
    peer: PeerId,
    guard: Guard,
    not_sent_bytes: u32,
) -> DataLink {
    let (reader, writer) = split(connection, streams, guard);
    DataLink {
        address,
        peer: Some(peer),
        transport: Transport::Quic,
        receiver: Box::new(FramedDataReceiver::new(reader)),
        sender: Box::new(QuicDataSender::new(writer, not_sent_bytes.into())),
    }
}

/// As much of the handshake as is needed to know who comes. A peer that comes back is known from its first datagram, by the
/// certificate in the session that it resumes; a new one only when it has shown its own.
async fn meet(incoming: Incoming) -> Result<Met, Ended> {
    let connecting = incoming.accept().map_err(|error| ended(&error))?;
    let Ok((connection, mut handshake)) = connecting.into_0rtt() else { return Err(Ended::Fault(LinkFault::Lost)) };
    if let Some(peer) = peer_of(&connection) {
        let peer = peer.map_err(|_| Ended::Fault(LinkFault::Tls))?;
        return Ok(Met { connection, peer, handshake: Some(handshake) });
    }
    (&mut handshake).await;
    if let Some(error) = connection.close_reason() {
        return Err(ended(&error));
    }
    match peer_of(&connection) {
        Some(Ok(peer)) => Ok(Met { connection, peer, handshake: None }),
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

pub(super) async fn read_token(stream: &mut RecvStream) -> Result<Token, Ended> {
    let mut preface = [0; DATA_PREFACE_BYTES];
    match stream.read_exact(&mut preface).await {
        Ok(()) => {}
        Err(ReadExactError::ReadError(ReadError::ConnectionLost(error))) => return Err(ended(&error)),
        // A link that brings less than a token and ends has brought none.
        Err(_) => return Err(Ended::Fault(LinkFault::Token)),
    }
    let preface = DataPreface::decode(&preface).map_err(|_| Ended::Fault(LinkFault::Magic))?;
    Ok(preface.token)
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
}

impl Ended {
    fn tell(self, handshake: &Handshake, address: SocketAddr) {
        match self {
            Self::Fault(fault) => handshake.0.front.fault(address, fault),
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
