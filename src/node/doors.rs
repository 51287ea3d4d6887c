//! The ports for peers: TCP, and UDP beside it where that can be had.

use std::{io, net::SocketAddr, sync::Arc};

use actors::{Node, view::QuicView};

use super::compose;
use crate::{
    config::Config,
    transport::{Credentials, Listener, QuicListener},
};

/// Tries to find a port that is free for TCP and UDP where the system may choose it.
const TRIES: usize = 32;

/// Bound, and not yet open.
pub(super) struct Doors {
    tcp: Listener,
    quic: Result<QuicListener, io::Error>,
    /// What a person is told of it.
    view: QuicView,
}

impl Doors {
    /// Binds them. A node that has no UDP serves TCP, unless its operator has named the port for data.
    ///
    /// # Errors
    /// When a port cannot be had that must be, with words for the operator.
    pub(super) fn bind(node: &Arc<Node>, config: &Config, credentials: &Credentials) -> io::Result<Self> {
        let mut tries = 0;
        loop {
            tries += 1;
            let listen = compose::listen_config(config);
            let tcp = Listener::bind(config.listen.peers, node.clone(), credentials, listen)?;
            let control = tcp.local_addr()?;
            let data = config.listen.data.unwrap_or(SocketAddr::new(control.ip(), 0));
            let quic = QuicListener::bind(control, data, node.clone(), credentials, compose::quic_config(config));
            let is_taken = quic.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse);
            if is_taken && config.listen.peers.port() == 0 && tries < TRIES {
                continue;
            }
            if let Err(error) = &quic {
                if config.listen.data.is_some() {
                    let words = format!("{error}; without `listen.data` (`--listen-data`) it would do without QUIC");
                    return Err(io::Error::new(error.kind(), words));
                }
                tracing::warn!(%error, "peers are served over TCP only");
            }
            let view = view(&quic);
            return Ok(Self { tcp, quic, view });
        }
    }

    /// Where peers connect.
    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// Where peers connect over QUIC.
    pub(super) fn quic(&self) -> &QuicView {
        &self.view
    }

    /// Opens them; aborting the tasks closes them.
    pub(super) fn open(self) -> Vec<tokio::task::JoinHandle<io::Result<()>>> {
        let mut accepting = vec![actix_rt::spawn(self.tcp.run())];
        accepting.extend(self.quic.ok().map(|listener| actix_rt::spawn(listener.run())));
        accepting
    }
}

fn view(quic: &io::Result<QuicListener>) -> QuicView {
    let on = |listener: &QuicListener| {
        let listen = Some(listener.local_addr()?.to_string());
        Ok(QuicView { listen, data_ports: listener.data_ports()?, off: None })
    };
    let off = |error: &io::Error| QuicView { off: Some(error.to_string()), ..QuicView::default() };
    quic.as_ref().map_or_else(off, |listener| on(listener).unwrap_or_else(|error| off(&error)))
}
