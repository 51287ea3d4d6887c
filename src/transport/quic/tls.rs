//! TLS 1.3 inside QUIC: the same keys, verifiers and cipher suites as over TCP, and resumption with early data (0-RTT).
//!
//! The node keeps what it needs of a session itself (a stateful cache) and gives a ticket that is good once. So early data that
//! is replayed finds no session and is not even read, and a ticket ends with the cache, not with a date. A returning peer shows
//! no certificate; the cache has the one that it showed at first, and rights are asked for by the id in it, on every hello.
//!
//! A ticket is good only for the protocol name (ALPN) that it was got under. Ours say the same for both kinds of links, which
//! their ports tell apart anyway: so the first data link of a newcomer comes with a ticket of its control link, and a first
//! contact costs one round trip more than a return, not two. The way back is shut by the transport parameters, which may not
//! shrink between a ticket's giving and its use: those of data links are larger.

use std::sync::Arc;

use quinn::crypto::rustls::{NoInitialCipherSuite, QuicClientConfig, QuicServerConfig};
use rustls::{ClientConfig, client::Resumption};
use wire::{ALPN_CONTROL, ALPN_DATA};

use super::{
    super::{Credentials, tls},
    sessions::Sessions,
    tickets::Tickets,
    tuning::{self, End},
};

/// Tickets that a control link gives: one for the data link of this session, one to come back with, and one for the data link
/// then. Both are taken before the next ones come: those wait for the end of the handshake, a round trip behind the welcome.
const TICKETS_CONTROL: usize = 3;
/// That a data link gives: one for the next, if it lives long enough to hear of it.
const TICKETS_DATA: usize = 1;

/// What a node keeps of its sessions, for so many peers: the tickets of a control link and of a data link.
pub(super) fn sessions(peers: usize) -> Arc<Sessions> {
    Arc::new(Sessions::new(peers.saturating_mul(TICKETS_CONTROL + TICKETS_DATA)))
}

/// For a control endpoint.
pub(super) fn control_server(
    credentials: &Credentials,
    sessions: Arc<Sessions>,
) -> Result<quinn::ServerConfig, rustls::Error> {
    let mut config = server(credentials, &[ALPN_CONTROL], TICKETS_CONTROL, sessions)?;
    config.transport_config(tuning::control(End::Accepting));
    Ok(config)
}

/// For all data endpoints of a node.
pub(super) fn data_server(
    credentials: &Credentials,
    sessions: Arc<Sessions>,
) -> Result<quinn::ServerConfig, rustls::Error> {
    let mut config = server(credentials, &[ALPN_DATA, ALPN_CONTROL], TICKETS_DATA, sessions)?;
    config.transport_config(tuning::data(End::Accepting));
    Ok(config)
}

fn server(
    credentials: &Credentials,
    alpn: &[&[u8]],
    tickets: usize,
    sessions: Arc<Sessions>,
) -> Result<quinn::ServerConfig, rustls::Error> {
    let mut config = tls::server_base(credentials)?;
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    config.session_storage = sessions;
    config.send_tls13_tickets = tickets;
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
        let mut config = self.with(tickets)?;
        config.transport_config(tuning::control(End::Dialling));
        Ok(config)
    }

    /// For its data links.
    pub(super) fn data(&self, tickets: Arc<Tickets>) -> Result<quinn::ClientConfig, rustls::Error> {
        let mut config = self.with(tickets)?;
        config.transport_config(tuning::data(End::Dialling));
        Ok(config)
    }

    fn with(&self, tickets: Arc<Tickets>) -> Result<quinn::ClientConfig, rustls::Error> {
        let mut config = self.0.clone();
        config.alpn_protocols = vec![ALPN_CONTROL.to_vec()];
        config.resumption = Resumption::store(tickets);
        let crypto = QuicClientConfig::try_from(config).map_err(no_suite)?;
        Ok(quinn::ClientConfig::new(Arc::new(crypto)))
    }
}

/// QUIC's first packets need AES-128, which our provider has.
fn no_suite(error: NoInitialCipherSuite) -> rustls::Error {
    rustls::Error::General(error.to_string())
}

/// A dialler with a configuration of its own.
#[cfg(test)]
pub(super) fn client_of(mut config: ClientConfig, tickets: Arc<Tickets>) -> quinn::ClientConfig {
    config.alpn_protocols = vec![ALPN_CONTROL.to_vec()];
    config.resumption = Resumption::store(tickets);
    quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(config).expect("a suite")))
}

/// A dialler that shows no certificate.
#[cfg(test)]
pub(super) fn without_certificate() -> quinn::ClientConfig {
    let mut config = tls::anonymous_client();
    config.alpn_protocols = vec![ALPN_CONTROL.to_vec()];
    quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(config).expect("a suite")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sessions_of_all_peers_have_room() {
        use rustls::server::StoresServerSessions as _;
        let sessions = sessions(10);
        let each = TICKETS_CONTROL + TICKETS_DATA;
        let ticket = |peer: usize, number: usize| vec![peer as u8, number as u8];
        for (peer, number) in (0..11).flat_map(|peer| (0..each).map(move |number| (peer, number))) {
            assert!(sessions.put(ticket(peer, number), Vec::new()));
        }
        let kept = |peer: usize| (0..each).filter(|number| sessions.get(&ticket(peer, *number)).is_some()).count();
        assert_eq!((0..11).map(kept).collect::<Vec<_>>(), [&[0][..], &[each; 10]].concat(), "the first peer's went");
    }
}
