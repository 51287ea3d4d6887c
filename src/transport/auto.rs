//! Dials over QUIC, and over TCP where nobody answers: a firewall that drops UDP does so in silence. One may let the port for
//! control through and none for data; then the session stays on QUIC and its data goes over TCP, by the same tokens.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use actors::port::{ControlLink, DataLink, DataOffer, Dialer, LinkError, PortFuture};

use super::{QuicDialer, TcpDialer, awake};

/// How long QUIC has for its answer. Longer than most round trips, shorter than anybody's patience.
const SILENCE: Duration = Duration::from_millis(300);

/// The same for a data link of a session over QUIC. A first datagram that is lost is sent again after a second.
const DATA_SILENCE: Duration = Duration::from_millis(1500);

/// Dials one endpoint over whichever transport gets through.
pub struct AutoDialer {
    quic: Arc<QuicDialer>,
    tcp: Arc<TcpDialer>,
    /// Whether the last control link went over TCP: data links go the same way.
    over_tcp: Arc<AtomicBool>,
    /// Whether a data link of the last control link's session came through over QUIC. The next session asks anew: a firewall may
    /// have shut the ports, which is perhaps why there is one.
    data_came: Arc<AtomicBool>,
}

impl AutoDialer {
    /// Both must dial the same endpoint.
    pub fn new(quic: QuicDialer, tcp: TcpDialer) -> Self {
        Self { quic: Arc::new(quic), tcp: Arc::new(tcp), over_tcp: Arc::default(), data_came: Arc::default() }
    }
}

impl Dialer for AutoDialer {
    fn control(&self) -> PortFuture<Result<ControlLink, LinkError>> {
        let (quic, tcp, over_tcp) = (Arc::clone(&self.quic), Arc::clone(&self.tcp), Arc::clone(&self.over_tcp));
        over_tcp.store(false, Relaxed);
        self.data_came.store(false, Relaxed);
        let instead = move || -> PortFuture<Result<ControlLink, LinkError>> {
            tracing::debug!("nobody answers over QUIC: dialling over TCP");
            let (dialled, over_tcp) = (tcp.control(), Arc::clone(&over_tcp));
            Box::pin(async move {
                let link = dialled.await?;
                over_tcp.store(true, Relaxed);
                Ok(link)
            })
        };
        Box::pin(async move { quic.control_or(SILENCE, instead).await })
    }

    fn data(&self, offer: DataOffer) -> PortFuture<Result<DataLink, LinkError>> {
        if self.over_tcp.load(Relaxed) {
            return self.tcp.data(offer);
        }
        let (quic, tcp, data_came) = (Arc::clone(&self.quic), Arc::clone(&self.tcp), Arc::clone(&self.data_came));
        Box::pin(async move {
            if data_came.load(Relaxed) {
                // Others of this session got through just now: if this one does not, it is no firewall.
                return quic.data_beside_tcp(offer).await;
            }
            if !quic.data_is_shut() {
                if let Ok(dialled) = awake::timeout(DATA_SILENCE, quic.data_beside_tcp(offer.clone())).await {
                    if dialled.is_ok() {
                        data_came.store(true, Relaxed);
                    }
                    return dialled;
                }
                tracing::info!(
                    port = offer.endpoint,
                    "no answer from the node's UDP port for data: data goes over TCP"
                );
                if !data_came.load(Relaxed) {
                    quic.note_data_shut();
                }
            }
            if let Some((address, peer)) = quic.answered() {
                tcp.follow(address, peer);
            }
            let port = offer.endpoint.clone();
            tcp.data(offer).await.map_err(|error| neither(&port, error))
        })
    }
}

/// Neither transport carries data.
fn neither(port: &str, error: LinkError) -> LinkError {
    match error {
        LinkError::Lost(error) => {
            let words = format!(
                "{error}; and over UDP the node answers at its port for control, but not at {port} for data: let that through, or \
                 the TCP port"
            );
            LinkError::Lost(io::Error::new(error.kind(), words))
        }
        error => error,
    }
}
