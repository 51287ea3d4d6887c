//! The ports for peers: TCP, and UDP beside it where that can be had.

use std::{io, net::SocketAddr, sync::Arc};

use actors::Node;

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
}

impl Doors {
    /// Binds them. A node that has no UDP serves TCP.
    ///
    /// # Errors
    /// When the TCP port cannot be had, with words for the operator.
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
                tracing::warn!(%error, "peers are served over TCP only");
            }
            return Ok(Self { tcp, quic });
        }
    }

    /// Where peers connect.
    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// What a person is told of QUIC.
    pub(super) fn quic_words(&self) -> String {
        let ports = |listener: &QuicListener| Ok::<_, io::Error>((listener.local_addr()?, listener.data_ports()?));
        match self.quic.as_ref().map(ports) {
            Ok(Ok((control, data))) => {
                let data: Vec<_> = data.iter().map(u16::to_string).collect();
                format!("{control} (UDP), data on {}", data.join(", "))
            }
            Ok(Err(error)) => format!("off: {error}"),
            Err(error) => format!("off: {error}"),
        }
    }

    /// Opens them; aborting the tasks closes them.
    pub(super) fn open(self) -> Vec<tokio::task::JoinHandle<io::Result<()>>> {
        let mut accepting = vec![actix_rt::spawn(self.tcp.run())];
        accepting.extend(self.quic.ok().map(|listener| actix_rt::spawn(listener.run())));
        accepting
    }
}
