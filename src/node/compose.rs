//! From a configuration to the parts of a node.

use std::sync::Arc;

use actors::{GroupRule, NodeConfig, NodeSettings, Standings, Tree, guest::GuestLimits};
use flow::{Direction, Marks, allocation::Knobs, shaper::ShaperConfig};
use wire::PeerId;

use crate::{
    config::{Bounds, Config, SessionSettings, Standing},
    transport::{
        ListenConfig, QuicConfig, SocketConfig,
        http::{Certificate, HttpConfig, SigningKey, Visible},
    },
};

use super::{Exit, Failure};

/// What a node says it runs, in its hellos.
pub(super) fn agent() -> String {
    format!("evenkeel/{}", env!("CARGO_PKG_VERSION"))
}

/// The actors' limits and intervals.
pub(super) fn node_config(config: &Config, id: PeerId) -> NodeConfig {
    NodeConfig {
        id,
        agent: agent(),
        workers: config.node.workers_here(),
        sessions_max: config.sessions.max,
        per_address_max: config.sessions.per_address_max,
        data_links_max: config.sessions.max_data_links as usize,
        transfers_max: config.sessions.transfers_max,
        control_frames_per_second: config.sessions.control_frames_per_second,
        window_bytes_max: config.sessions.window_max_bytes,
        plaintext_data: !config.transport.data_encryption,
        session_limits: session_limits(&config.sessions),
        interval: config.allocation.interval,
        early: config.allocation.early,
        drain: config.node.drain,
        knobs: knobs(config),
        shaper: shaper(config),
        limits: [config.limits.upload, config.limits.download],
        shares: config.shares.iter().map(|share| share.name.clone()).collect(),
    }
}

fn session_limits(sessions: &SessionSettings) -> wire::Limits {
    wire::Limits {
        handshake_ms: sessions.handshake.as_millis() as u64,
        keepalive_ms: sessions.keepalive.as_millis() as u64,
        dead_ms: sessions.dead.as_millis() as u64,
        transfers_max: sessions.transfers_max,
        ..wire::Limits::default()
    }
}

fn knobs(config: &Config) -> Knobs {
    Knobs {
        threshold: config.allocation.threshold,
        damping: config.allocation.damping,
        background_floor: config.allocation.background_floor,
        headroom: config.allocation.headroom,
    }
}

fn shaper(config: &Config) -> ShaperConfig {
    ShaperConfig {
        quantum_ms: config.shaping.quantum.as_millis() as u32,
        quantum_bytes_at_first: config.shaping.quantum_min_bytes,
        quantum_bytes_max: config.shaping.quantum_max_bytes,
        quantum_bytes_bulk: config.shaping.quantum_bulk_bytes,
        marks: Marks { on: config.shaping.bulk_on, off: config.shaping.bulk_off },
        ..ShaperConfig::default()
    }
}

/// What a running node takes over.
pub(super) fn standings(config: &Config) -> Standings {
    Standings {
        limits: [config.limits.upload, config.limits.download],
        groups: config.groups.iter().map(|group| (group.name.clone(), settings(&group.standing))).collect(),
        peers: config.peers.iter().map(|peer| (peer.id, settings(&peer.standing))).collect(),
    }
}

/// The tree's groups and peers.
pub(super) fn tree(config: &Config) -> Tree {
    let groups = config.groups.iter().map(|group| {
        let (rule, name) = (group.clone(), group.name.clone());
        let matches: GroupRule = Box::new(move |share, peer, address| rule.takes(share, peer, address));
        (name, matches, settings(&group.standing))
    });
    let peers = config.peers.iter().map(|peer| (peer.id, settings(&peer.standing)));
    Tree { groups: groups.collect(), peers: peers.collect() }
}

fn settings(standing: &Standing) -> NodeSettings {
    let bounds: [Bounds; 2] = Direction::ALL.map(|direction| match direction {
        Direction::Upload => standing.upload,
        Direction::Download => standing.download,
    });
    NodeSettings {
        weight: standing.weight,
        class: standing.class,
        cap: bounds.map(|bounds| bounds.cap),
        floor: bounds.map(|bounds| bounds.floor_bytes_per_second),
    }
}

/// How to listen for peers.
pub(super) fn listen_config(config: &Config) -> ListenConfig {
    ListenConfig {
        handshake_ms: config.sessions.handshake.as_millis() as u64,
        data_encryption: config.transport.data_encryption,
        socket: socket_config(config),
        ..ListenConfig::default()
    }
}

/// How to listen for peers over QUIC.
pub(super) fn quic_config(config: &Config) -> QuicConfig {
    QuicConfig {
        handshake_ms: config.sessions.handshake.as_millis() as u64,
        not_sent_bytes: config.transport.not_sent_low_water_bytes,
        // Twice the peer limit: who has just left may come back in one datagram too.
        sessions: config.sessions.max * 2,
        ..QuicConfig::default()
    }
}

fn socket_config(config: &Config) -> SocketConfig {
    SocketConfig {
        not_sent_low_water_bytes: config.transport.not_sent_low_water_bytes,
        congestion: config.transport.congestion.clone(),
        ..SocketConfig::default()
    }
}

/// How many guests there may be, where so many of their connections fit.
pub(super) fn guest_limits(config: &Config, connections_max: usize) -> GuestLimits {
    GuestLimits { connections_max, per_address_max: config.http.per_address_max }
}

/// The certificate for HTTPS, if there is to be one.
///
/// # Errors
/// What is wrong with its files; for the operator.
pub(super) fn certificate(config: &Config) -> Result<Option<Arc<Certificate>>, Failure> {
    let (Some(chain), Some(key)) = (&config.http.certificate, &config.http.key) else { return Ok(None) };
    Certificate::load(chain, key).map(Some).map_err(|error| Failure::new(Exit::Config, error.to_string()))
}

/// How to serve guests over HTTP.
///
/// # Errors
/// What is wrong with the certificate or the signing key; for the operator.
pub(super) fn http_config(config: &Config, certificate: Option<&Arc<Certificate>>) -> Result<HttpConfig, Failure> {
    let bad = |error: String| Failure::new(Exit::Config, error);
    let tls = certificate.map(Certificate::server_config).transpose().map_err(|error| bad(error.to_string()))?;
    let signing_key = config.http.signing_key_file.as_deref().map(SigningKey::from_file).transpose();
    let signing_key = signing_key.map_err(|error| bad(format!("http.signing_key_file: {error}")))?;
    let public = config.shares.iter().filter(|share| share.public).map(|share| share.name.clone());
    Ok(HttpConfig {
        head_timeout: config.http.head_timeout,
        idle_timeout: config.http.idle_timeout,
        stall_timeout: config.http.stall_timeout,
        visible: if config.access.open { Visible::All } else { Visible::Named(public.collect()) },
        signing_key,
        tls,
        socket: socket_config(config),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who has just left may come back in one datagram, though as many others are there by now.
    #[test]
    fn quic_sessions_are_kept_of_at_least_twice_as_many_peers_as_there_may_be() {
        for max in [1, 16, 4096, 100_000] {
            let mut config = Config::default();
            config.sessions.max = max;
            assert!(quic_config(&config).sessions >= 2 * max, "{} for {max} peers", quic_config(&config).sessions);
        }
    }
}
