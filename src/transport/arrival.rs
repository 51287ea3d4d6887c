//! One connection from its acceptance to the front: first bytes on the accepting thread, then the worker that will own it.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use actors::port::{ControlLink, DataArrival, DataLink, DataSender, Front, LinkFault, Remote, Transport};
use rustls::{ServerConfig, server::Accepted};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, timeout_at},
};
use tokio_rustls::{StartHandshake, TlsStream};
use wire::{ALPN_CONTROL, ALPN_DATA, DATA_PREFACE_BYTES, DataPreface, PeerId, Role, Ways};

use super::{
    ListenConfig,
    control_frames::{FramedControlReceiver, FramedControlSender},
    data_frames::{FramedDataReceiver, FramedDataSender},
    halves::{Guard, Socket, split},
    intake::Intake,
    opening::{self, Opening},
    tls,
};

/// What all arrivals of a listener share.
pub(super) struct Reception {
    pub(super) front: Arc<dyn Front>,
    pub(super) tls: Arc<ServerConfig>,
    pub(super) config: ListenConfig,
    /// Control links so far: they take turns over the workers.
    pub(super) turn: AtomicUsize,
}

/// An admitted connection that is no link yet. It ends as a link at the front or as a fault there, within the handshake time.
pub(super) struct Arrival {
    reception: Arc<Reception>,
    address: SocketAddr,
    guard: Guard,
    deadline: Instant,
}

impl Arrival {
    /// The clock of the handshake starts now.
    pub(super) fn new(reception: Arc<Reception>, address: SocketAddr, guard: Box<dyn Send>) -> Self {
        let deadline = Instant::now() + Duration::from_millis(reception.config.handshake_ms);
        Self { reception, address, guard: Some(guard), deadline }
    }

    /// On the accepting thread: reads the first bytes and moves the connection to its worker.
    pub(super) async fn receive(self, mut stream: TcpStream) {
        let opening = within(self.deadline, opening::read(&mut stream)).await;
        match opening.and_then(|opening| self.route(opening, &stream)) {
            Ok((worker, opening)) => self.hand_over(worker, opening, stream),
            Err(fault) => self.fault(fault),
        }
    }

    fn fault(&self, fault: LinkFault) {
        self.reception.front.fault(self.address, fault);
    }

    /// Chooses the worker. A data link that names no worker goes to the first, where its token will be refused unless its
    /// session happens to live there.
    fn route(&self, opening: Opening, stream: &TcpStream) -> Result<(usize, Opening), LinkFault> {
        let Reception { front, tls, config, turn } = &*self.reception;
        let worker = match opening {
            Opening::Plain(_) if config.data_encryption => return Err(LinkFault::Plaintext),
            Opening::Plain(ref preface) => front.route(&preface.token).ok_or(LinkFault::Token)?,
            Opening::Control(_) => turn.fetch_add(1, Ordering::Relaxed) % front.workers().max(1),
            Opening::Data { worker, .. } => worker.unwrap_or(0) % front.workers().max(1),
            Opening::Foreign(accepted) => {
                if let Err((_, alert)) = accepted.into_connection(Arc::clone(tls)) {
                    opening::send_alert(stream, alert);
                }
                return Err(LinkFault::Tls);
            }
        };
        Ok((worker, opening))
    }

    /// The socket leaves this thread's reactor; it is registered where it will be used.
    fn hand_over(self, worker: usize, opening: Opening, stream: TcpStream) {
        match opening {
            Opening::Control(_) => self.reception.config.socket.apply_control(&stream),
            _ => self.reception.config.socket.apply_data(&stream),
        }
        let Ok(socket) = stream.into_std() else { return self.fault(LinkFault::Lost) };
        let front = Arc::clone(&self.reception.front);
        let job = move || match TcpStream::from_std(socket) {
            Ok(stream) => {
                // Local: what the front starts for a link may be bound to this thread.
                tokio::task::spawn_local(self.finish(opening, stream));
            }
            Err(_) => self.fault(LinkFault::Lost),
        };
        front.run_on(worker, Box::new(job));
    }

    /// On the worker: the rest of the handshake, then the front.
    async fn finish(self, opening: Opening, stream: TcpStream) {
        let config = Arc::clone(&self.reception.tls);
        let delivered = match opening {
            Opening::Plain(preface) => return self.deliver_data(stream, preface, None).await,
            Opening::Control(accepted) => within(self.deadline, shake(*accepted, config, stream, ALPN_CONTROL))
                .await
                .map(|(peer, stream)| (peer, stream, None)),
            Opening::Data { accepted, .. } => within(self.deadline, shake_data(*accepted, config, stream)).await,
            Opening::Foreign(_) => Err(LinkFault::Tls),
        };
        match delivered {
            Ok((peer, stream, None)) => self.deliver_control(stream, peer),
            Ok((peer, stream, Some(preface))) => self.deliver_data(stream, preface, Some(peer)).await,
            Err(fault) => self.fault(fault),
        }
    }

    fn deliver_control(self, stream: TlsStream<Intake>, peer: PeerId) {
        let remote = Remote { peer, address: self.address, transport: Transport::Tcp };
        let link = control_link(stream, remote, self.guard);
        self.reception.front.control(link);
    }

    async fn deliver_data(self, stream: impl Socket, preface: DataPreface, peer: Option<PeerId>) {
        let Self { reception, address, guard, deadline } = self;
        let DataPreface { token, ways } = preface;
        let linking = async {
            let linked = data_link(stream, Role::Server, ways, address, peer, guard).await;
            linked.map_err(|error| fault_of(&error))
        };
        let link = match within(deadline, linking).await {
            Ok(link) => link,
            Err(fault) => return reception.front.fault(address, fault),
        };
        // The front has counted a refusal; dropping the link closes it. A data link has no way to carry words: its session
        // lives, and its control link tells what happened there.
        if let Err(refusal) = reception.front.data(DataArrival { token, link }) {
            tracing::debug!(%address, code = ?refusal.code, "a data link was refused");
        }
    }
}

/// A control link over a stream whose handshake is done.
pub(super) fn control_link(stream: impl Socket, remote: Remote, guard: Guard) -> ControlLink {
    let (reader, writer) = split(stream, guard);
    ControlLink {
        remote,
        receiver: Box::new(FramedControlReceiver::new(reader)),
        sender: Box::new(FramedControlSender::new(writer)),
        data_endpoint: String::new(),
    }
}

/// The end of `role` of a data link over a stream whose token was shown; `peer` is what TLS proved, nothing on a plaintext link.
/// Who sends nothing ends its half here.
pub(super) async fn data_link(
    mut stream: impl Socket,
    role: Role,
    ways: Ways,
    address: SocketAddr,
    peer: Option<PeerId>,
    guard: Guard,
) -> io::Result<DataLink> {
    let transport = if peer.is_some() { Transport::Tcp } else { Transport::TcpPlain };
    let sends = ways.carry_from(role);
    if !sends {
        stream.shutdown().await?;
    }
    let (reader, writer) = split(stream, guard);
    let sender = sends.then(|| -> Box<dyn DataSender> { Box::new(FramedDataSender::new(writer)) });
    Ok(DataLink { address, peer, transport, ways, receiver: Box::new(FramedDataReceiver::new(reader)), sender })
}

async fn within<T>(deadline: Instant, step: impl Future<Output = Result<T, LinkFault>>) -> Result<T, LinkFault> {
    timeout_at(deadline, step).await.unwrap_or(Err(LinkFault::HandshakeTimeout))
}

async fn shake(
    accepted: Accepted,
    config: Arc<ServerConfig>,
    stream: TcpStream,
    alpn: &[u8],
) -> Result<(PeerId, TlsStream<Intake>), LinkFault> {
    let stream = StartHandshake::from_parts(accepted, Intake::new(stream))
        .into_stream(config)
        .await
        .map_err(|error| fault_of(&error))?;
    let (_, session) = stream.get_ref();
    if session.alpn_protocol() != Some(alpn) {
        return Err(LinkFault::Tls);
    }
    let peer = tls::peer_of_chain(session.peer_certificates()).map_err(|_| LinkFault::Tls)?;
    Ok((peer, stream.into()))
}

async fn shake_data(
    accepted: Accepted,
    config: Arc<ServerConfig>,
    stream: TcpStream,
) -> Result<(PeerId, TlsStream<Intake>, Option<DataPreface>), LinkFault> {
    let (peer, mut stream) = shake(accepted, config, stream, ALPN_DATA).await?;
    let mut preface = [0; DATA_PREFACE_BYTES];
    stream.read_exact(&mut preface).await.map_err(|error| fault_of(&error))?;
    let preface = DataPreface::decode(&preface).map_err(|_| LinkFault::Magic)?;
    Ok((peer, stream, Some(preface)))
}

/// tokio-rustls wraps every error of TLS itself, alerts too, as `InvalidData`; the rest is the network's.
fn fault_of(error: &io::Error) -> LinkFault {
    match error.kind() {
        io::ErrorKind::InvalidData => LinkFault::Tls,
        _ => LinkFault::Lost,
    }
}
