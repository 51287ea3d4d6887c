//! A node that shakes hands and then does nothing more.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use actors::port::Dialer as _;
use quinn::{Endpoint, TransportConfig};
use tokio::time::timeout;

use super::super::tls;
use crate::transport::{
    DialConfig, QuicClient, QuicDialer,
    tests::stage::{Expect, credentials},
};

/// Nothing else would have ended it: a session's deadlines begin with its link, and the connection is kept alive.
#[tokio::test]
async fn a_node_that_permits_no_stream_holds_nobody_who_dials_it() {
    let (theirs, ours) = (credentials(), credentials());
    let mut config = tls::control_server(&theirs, tls::sessions(1)).unwrap();
    let mut transport = TransportConfig::default();
    transport.max_concurrent_bidi_streams(0_u32.into());
    config.transport_config(Arc::new(transport));
    let node = Endpoint::server(config, (Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let address = node.local_addr().unwrap();
    let _kept = tokio::spawn(async move { node.accept().await.unwrap().await.unwrap().closed().await });
    let client = Arc::new(QuicClient::new(&ours).unwrap());
    let config = DialConfig { handshake_ms: 600, ..DialConfig::default() };
    let pins = Arc::new(Expect(Some(theirs.peer_id())));
    let dialer = QuicDialer::new(address.to_string(), client, pins, config).unwrap();
    let dialled = timeout(Duration::from_secs(12), dialer.control()).await.expect("it is given up");
    assert!(dialled.is_err());
}
