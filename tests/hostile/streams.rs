//! Streams that a connection does not need, and one that it needs and does not get.

use std::{sync::Arc, time::Duration};

use quinn::{ClientConfig, Connection, ConnectionError, RecvStream, SendStream, TransportConfig, TransportErrorCode};
use tokio::time::timeout;
use wire::{ALPN_CONTROL, ALPN_DATA, DataPreface, GoodbyeCode, Hello, Message, Ways};

use super::{Foe, Session, driven};
use crate::{
    foe::{PATIENCE, hello},
    generous::Generous,
    stage::{Counts, Neighbour, connections_fall_to, node, serves_on},
    support::wait_until,
};

/// Far more than anybody may open.
const STREAMS: u64 = 10_000;

#[test]
fn ten_thousand_streams_end_the_session_of_who_opens_them() {
    driven(streams_without_end());
}

async fn streams_without_end() {
    let server = node("");
    let counts = Counts::of(&server);
    let neighbour = Neighbour::getting(&server);
    let foe = Foe::new(&server);
    let memory = server.memory_bytes();
    let before = counts.violations("transport");
    for round in 1..=3 {
        let config = ClientConfig::new(Arc::new(Generous(foe.tls(ALPN_CONTROL), STREAMS)));
        let session = Session::over(foe.connect(foe.peers, config).await).await;
        let mut streams = Vec::new();
        for _ in 1..STREAMS {
            let Ok(Ok((mut stream, _))) = timeout(PATIENCE, session.connection.open_bi()).await else { break };
            if stream.write_all(b"one more").await.is_err() {
                break;
            }
            streams.push(stream);
        }
        match timeout(PATIENCE, session.connection.closed()).await.expect("the link stays open") {
            ConnectionError::ConnectionClosed(close) => {
                assert_eq!(close.error_code, TransportErrorCode::STREAM_LIMIT_ERROR, "{close}");
            }
            other => panic!("{other}"),
        }
        let counted = before + f64::from(round);
        wait_until("it is counted", 10, || counts.violations("transport") >= counted);
    }
    assert!(server.memory_bytes() < memory + (16 << 20), "{memory} -> {}", server.memory_bytes());
    serves_on(&server);
    neighbour.was_undisturbed();
}

#[test]
fn ten_thousand_streams_on_a_data_connection_end_its_session() {
    driven(data_streams_without_end(Ways::Both));
}

/// Of the kind that carries one way: one may be opened, for a link of that kind.
#[test]
fn nor_may_they_be_unidirectional() {
    driven(data_streams_without_end(Ways::Up));
}

/// The stream of a link that carries `ways`.
async fn stream(connection: &Connection, ways: Ways) -> Result<(SendStream, Option<RecvStream>), ConnectionError> {
    match ways {
        Ways::Both => connection.open_bi().await.map(|(sending, receiving)| (sending, Some(receiving))),
        Ways::Down | Ways::Up => connection.open_uni().await.map(|sending| (sending, None)),
    }
}

async fn data_streams_without_end(ways: Ways) {
    let server = node("");
    let counts = Counts::of(&server);
    let neighbour = Neighbour::getting(&server);
    let foe = Foe::new(&server);
    let (memory, before) = (server.memory_bytes(), counts.violations("transport"));
    let session = foe.session().await;
    let config = ClientConfig::new(Arc::new(Generous(foe.tls(ALPN_DATA), STREAMS)));
    let connection = foe.connect(foe.data_address(&session.welcome), config).await;
    let mut streams = vec![stream(&connection, ways).await.unwrap()];
    // The session was granted no other kind.
    if ways == Ways::Both {
        streams[0].0.write_all(&DataPreface { token: session.token(0), ways }.encode()).await.unwrap();
    }
    for _ in 1..STREAMS {
        let Ok(Ok((mut sending, receiving))) = timeout(PATIENCE, stream(&connection, ways)).await else { break };
        if sending.write_all(b"one more").await.is_err() {
            break;
        }
        streams.push((sending, receiving));
    }
    match timeout(PATIENCE, connection.closed()).await.expect("the link stays open") {
        ConnectionError::ConnectionClosed(close) => {
            assert_eq!(close.error_code, TransportErrorCode::STREAM_LIMIT_ERROR, "{close}");
        }
        other => panic!("{other}"),
    }
    // If its token was heard before that, it was a link of the session; else it was nobody's yet.
    let _ = timeout(Duration::from_secs(2), session.connection.closed()).await;
    println!("violations: {before} -> {}", counts.violations("transport"));
    assert!(server.memory_bytes() < memory + (16 << 20), "{memory} -> {}", server.memory_bytes());
    serves_on(&server);
    neighbour.was_undisturbed();
}

/// One that it has credit for, since the node can't know with which kind a link will begin.
#[test]
fn a_further_stream_on_a_data_connection_ends_its_session() {
    driven(a_further_stream(ALPN_DATA));
}

/// One that a control connection has credit for because a data link may come with its ticket.
#[test]
fn so_does_one_on_a_control_connection() {
    driven(a_further_stream(ALPN_CONTROL));
}

async fn a_further_stream(on: &[u8]) {
    let server = node("");
    let counts = Counts::of(&server);
    let neighbour = Neighbour::getting(&server);
    let foe = Foe::new(&server);
    let connections = server.metric("evenkeel_connections", &[]);
    let mut session = foe.session().await;
    let (welcome, token) = (session.welcome.clone(), session.token(0));
    let link = foe.data(&welcome, token).await;
    let before = counts.violations("transport");
    let connection = if on == ALPN_DATA { link.connection.clone() } else { session.connection.clone() };
    let mut further = connection.open_uni().await.unwrap();
    further.write_all(b"one more").await.unwrap();
    let goodbye = session.hear(|message| match message {
        Message::Goodbye(goodbye) => Some(goodbye.clone()),
        _ => None,
    });
    let goodbye = goodbye.await;
    assert_eq!(goodbye.code(), GoodbyeCode::Violation);
    assert!(goodbye.message.contains("a further stream on a connection that has its own"), "{}", goodbye.message);
    session.ends().await;
    assert_eq!(counts.violations("transport"), before + 1.0);
    connections_fall_to(&server, connections, 10);
    serves_on(&server);
    neighbour.was_undisturbed();
}

/// Bytes down come over a stream that the node opens; who never lets it is in a handshake that takes too long.
#[test]
fn a_link_down_whose_stream_is_not_let_in_comes_to_nothing() {
    driven(a_stream_not_let_in());
}

async fn a_stream_not_let_in() {
    let server = node("");
    let counts = Counts::of(&server);
    let neighbour = Neighbour::getting(&server);
    let foe = Foe::new(&server);
    let config = ClientConfig::new(foe.tls(ALPN_CONTROL));
    let wish = Hello { data_links: 1, down_links: 1, ..hello() };
    let mut session = Session::saying(wish, foe.connect(foe.peers, config).await).await;
    let (connections, before) = (server.metric("evenkeel_connections", &[]), counts.refusals("handshake_timeout"));
    let mut closed = TransportConfig::default();
    closed.max_concurrent_uni_streams(0_u32.into());
    let mut config = ClientConfig::new(foe.tls(ALPN_DATA));
    config.transport_config(Arc::new(closed));
    let link = foe.connect(foe.data_address(&session.welcome), config).await;
    let mut sending = link.open_uni().await.unwrap();
    sending.write_all(&DataPreface { token: session.token(0), ways: Ways::Down }.encode()).await.unwrap();
    timeout(PATIENCE, link.closed()).await.expect("the link stays open");
    wait_until("it is counted", 10, || counts.refusals("handshake_timeout") > before);
    connections_fall_to(&server, connections, 10);
    session.is_answered().await;
    serves_on(&server);
    neighbour.was_undisturbed();
}
