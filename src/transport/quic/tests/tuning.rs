//! What connections are set up with, seen on connections themselves.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use quinn::{Connection, Endpoint, TransportConfig, congestion::BbrConfig};
use tokio::time::sleep;
use wire::Ways;

use super::super::{CLOSED, QuicConfig, SERVER_NAME, gauge, tls};
use crate::transport::{
    ListenConfig, QuicClient,
    tests::stage::{Stage, credentials},
};

/// A connection of two configurations: the dialling end, the accepting one.
async fn connect(server: quinn::ServerConfig, client: quinn::ClientConfig) -> [Connection; 2] {
    let any = (Ipv4Addr::LOCALHOST, 0).into();
    let (accepting, dialling) = (Endpoint::server(server, any).unwrap(), Endpoint::client(any).unwrap());
    let connecting = dialling.connect_with(client, accepting.local_addr().unwrap(), SERVER_NAME).unwrap();
    let (ours, theirs) = tokio::join!(connecting, async { accepting.accept().await.unwrap().await });
    [ours.unwrap(), theirs.unwrap()]
}

/// Release is our own shaper's: a controller that paces by a model of its own, as BBR does, would be a second one.
#[tokio::test]
async fn both_ends_of_both_kinds_of_connections_have_cubic_and_none_has_bbr() {
    let (node, peer) = (credentials(), QuicClient::new(&credentials()).unwrap());
    let known = peer.node("a-node:7400").unwrap();
    let server = |data: bool| {
        let sessions = tls::sessions(1);
        if data { tls::data_server(&node, sessions) } else { tls::control_server(&node, sessions) }.unwrap()
    };
    for (server, client) in [(server(false), known.control.clone()), (server(true), known.data_config(Ways::Both))] {
        for end in connect(server, client).await {
            assert!(gauge::is_cubic(&end), "{end:?}");
        }
    }
    // And one that had it would be noticed.
    let (mut bbr, mut server, mut client) = (TransportConfig::default(), server(false), known.control.clone());
    bbr.congestion_controller_factory(Arc::new(BbrConfig::default()));
    let bbr = Arc::new(bbr);
    server.transport_config(Arc::clone(&bbr));
    client.transport_config(bbr);
    for end in connect(server, client).await {
        assert!(!gauge::is_cubic(&end), "{end:?}");
    }
}

/// Whoever the node keeps sessions for comes back with the early data that he has a ticket for, all of them and not the last few.
#[tokio::test]
async fn as_many_peers_as_sessions_are_kept_for_come_back_in_one_datagram() {
    const PEERS: usize = 12;
    let quic = QuicConfig { sessions: PEERS, ..QuicConfig::default() };
    let stage = Stage::with(ListenConfig::default(), quic);
    let mut peers = Vec::new();
    for _ in 0..PEERS {
        let client = QuicClient::new(&credentials()).unwrap();
        let node = client.node(&stage.address.to_string()).unwrap();
        let socket = client.control(stage.address).unwrap();
        let connection = socket.connect_with(node.control.clone(), stage.address, SERVER_NAME).unwrap().await.unwrap();
        // Its tickets.
        sleep(Duration::from_millis(50)).await;
        connection.close(CLOSED, b"");
        peers.push((client, node, socket));
    }
    for (index, (_, node, socket)) in peers.iter().enumerate() {
        let connecting = socket.connect_with(node.control.clone(), stage.address, SERVER_NAME).unwrap();
        let (connection, accepted) = connecting.into_0rtt().unwrap_or_else(|_| panic!("peer {index} has no ticket"));
        assert!(accepted.await, "peer {index} of {PEERS} was forgotten");
        connection.close(CLOSED, b"");
    }
}
