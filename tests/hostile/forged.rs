//! Datagrams that name the address of somebody else as their sender: answers go there, and nobody goes on with them.

use std::{net::Ipv4Addr, time::Duration};

use quinn::{ClientConfig, ConnectionError};
use wire::ALPN_CONTROL;

use crate::{
    quic::{Foe, driven, one_way},
    stage::{Counts, Neighbour, connections_fall_to, node, serves_on},
    support::wait_until,
};

/// Whose places are meant.
const VICTIM: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);

/// Eight forged datagrams used to keep everybody at that address out for the handshake time, over both transports.
#[test]
fn forged_handshakes_take_no_places_of_the_address_that_they_name() {
    driven(forged());
}

async fn forged() {
    let server = node("per_address_max = 8\n");
    let counts = Counts::of(&server);
    let neighbour = Neighbour::getting(&server);
    let before = server.metric("evenkeel_connections", &[]);
    let foe = Foe::new(&server);
    let (relay, tls) = (one_way(foe.peers, VICTIM), foe.tls(ALPN_CONTROL));
    let mut flood = Vec::new();
    for _ in 0..60 {
        flood.push(foe.endpoint.connect_with(ClientConfig::new(tls.clone()), relay, "evenkeel").unwrap());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // All eight places are there for who is there.
    let victim = Foe::new(&server).at(VICTIM);
    let (mut sessions, mut links) = (Vec::new(), Vec::new());
    for _ in 0..2 {
        let session = victim.session().await;
        for index in 0..2 {
            links.push(victim.data(&session.welcome, session.token(index)).await);
        }
        sessions.push(session);
    }
    sessions.push(victim.session().await);
    sessions.push(victim.session().await);
    // And no more.
    let refused = counts.refusals("per_address");
    let ninth = victim.endpoint.connect_with(ClientConfig::new(tls.clone()), victim.peers, "evenkeel").unwrap();
    assert!(matches!(ninth.await.unwrap_err(), ConnectionError::ConnectionClosed(_)));
    wait_until("it is counted", 10, || counts.refusals("per_address") > refused);
    for session in &mut sessions {
        session.is_answered().await;
    }
    drop((flood, sessions, links));
    connections_fall_to(&server, before, 15);
    serves_on(&server);
    neighbour.was_undisturbed();
}
