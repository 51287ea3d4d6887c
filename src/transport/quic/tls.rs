//! TLS 1.3 inside QUIC: the same keys, verifiers and cipher suites as over TCP, and resumption with early data (0-RTT).
//!
//! The node keeps what it needs of a session itself (a stateful cache) and gives a ticket that is good once. So early data that
//! is replayed finds no session and is not even read, and a ticket ends with the cache, not with a date. A returning peer shows
//! no certificate; the cache has the one that it showed at first, and rights are asked for by the id in it, on every hello.

use std::sync::Arc;

use quinn::crypto::rustls::{NoInitialCipherSuite, QuicClientConfig, QuicServerConfig};
use rustls::{ClientConfig, client::Resumption, server::ServerSessionMemoryCache};
use wire::{ALPN_CONTROL, ALPN_DATA};

use super::{
    super::{Credentials, tls},
    tickets::Tickets,
    tuning::{self, End},
};

/// Tickets that a connection gives: one to come back with. A peer with several connections gets one with each.
const TICKETS: usize = 1;

/// For a control endpoint, with a cache for `sessions` peers.
pub(super) fn control_server(credentials: &Credentials, sessions: usize) -> Result<quinn::ServerConfig, rustls::Error> {
    let mut config = server(credentials, ALPN_CONTROL, sessions)?;
    config.transport_config(tuning::control(End::Accepting));
    Ok(config)
}

/// For all data endpoints of a node.
pub(super) fn data_server(credentials: &Credentials, sessions: usize) -> Result<quinn::ServerConfig, rustls::Error> {
    let mut config = server(credentials, ALPN_DATA, sessions)?;
    config.transport_config(tuning::data(End::Accepting));
    Ok(config)
}

fn server(credentials: &Credentials, alpn: &[u8], sessions: usize) -> Result<quinn::ServerConfig, rustls::Error> {
    let mut config = tls::server_base(credentials)?;
    config.alpn_protocols = vec![alpn.to_vec()];
    config.session_storage = ServerSessionMemoryCache::new(sessions);
    config.send_tls13_tickets = TICKETS;
    // All or nothing: the other values are not defined for QUIC (RFC 9001, 4.6.1).
    config.max_early_data_size = u32::MAX;
    let crypto = QuicServerConfig::try_from(config).map_err(no_suite)?;
    Ok(quinn::ServerConfig::with_crypto(Arc::new(crypto)))
}

/// A dialler's side for links of both kinds. Tickets are good only for the verifier and the key object that they were got with,
/// so that all nodes' configurations are made of one.
#[derive(Clone, Debug)]
pub(super) struct ClientBase(ClientConfig);

impl ClientBase {
    /// For one key.
    pub(super) fn new(credentials: &Credentials) -> Result<Self, rustls::Error> {
        let mut config = tls::client_base(credentials)?;
        config.enable_early_data = true;
        Ok(Self(config))
    }

    /// For control links of one node, whose tickets are kept in `tickets`.
    pub(super) fn control(&self, tickets: Arc<Tickets>) -> Result<quinn::ClientConfig, rustls::Error> {
        let mut config = self.with(ALPN_CONTROL, tickets)?;
        config.transport_config(tuning::control(End::Dialling));
        Ok(config)
    }

    /// For its data links.
    pub(super) fn data(&self, tickets: Arc<Tickets>) -> Result<quinn::ClientConfig, rustls::Error> {
        let mut config = self.with(ALPN_DATA, tickets)?;
        config.transport_config(tuning::data(End::Dialling));
        Ok(config)
    }

    fn with(&self, alpn: &[u8], tickets: Arc<Tickets>) -> Result<quinn::ClientConfig, rustls::Error> {
        let mut config = self.0.clone();
        config.alpn_protocols = vec![alpn.to_vec()];
        config.resumption = Resumption::store(tickets);
        let crypto = QuicClientConfig::try_from(config).map_err(no_suite)?;
        Ok(quinn::ClientConfig::new(Arc::new(crypto)))
    }
}

/// QUIC's first packets need AES-128, which our provider has.
fn no_suite(error: NoInitialCipherSuite) -> rustls::Error {
    rustls::Error::General(error.to_string())
}

/// A dialler that shows no certificate.
#[cfg(test)]
pub(super) fn without_certificate() -> quinn::ClientConfig {
    let mut config = tls::anonymous_client();
    config.alpn_protocols = vec![ALPN_CONTROL.to_vec()];
    quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(config).expect("a suite")))
}
