//! Dials over QUIC, and over TCP where nobody answers: a firewall that drops UDP does so in silence.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use actors::port::{ControlLink, DataLink, DataOffer, Dialer, LinkError, PortFuture};

use super::{QuicDialer, TcpDialer};

/// How long QUIC has for its answer. Longer than most round trips, shorter than anybody's patience.
const SILENCE: Duration = Duration::from_millis(300);

/// Dials one endpoint over whichever transport gets through.
pub struct AutoDialer {
    quic: Arc<QuicDialer>,
    tcp: Arc<TcpDialer>,
    /// Whether the last control link went over TCP: data links go the same way.
    over_tcp: Arc<AtomicBool>,
}

impl AutoDialer {
    /// Both must dial the same endpoint.
    pub fn new(quic: QuicDialer, tcp: TcpDialer) -> Self {
        Self { quic: Arc::new(quic), tcp: Arc::new(tcp), over_tcp: Arc::default() }
    }
}

impl Dialer for AutoDialer {
    fn control(&self) -> PortFuture<Result<ControlLink, LinkError>> {
        let (quic, tcp, over_tcp) = (Arc::clone(&self.quic), Arc::clone(&self.tcp), Arc::clone(&self.over_tcp));
        over_tcp.store(false, Relaxed);
        let instead = move || -> PortFuture<Result<ControlLink, LinkError>> {
            tracing::debug!("nobody answers over QUIC: dialling over TCP");
            over_tcp.store(true, Relaxed);
            tcp.control()
        };
        Box::pin(async move { quic.control_or(SILENCE, instead).await })
    }

    fn data(&self, offer: DataOffer) -> PortFuture<Result<DataLink, LinkError>> {
        if self.over_tcp.load(Relaxed) { self.tcp.data(offer) } else { self.quic.data(offer) }
    }
}
