//! A firewall that lets the port for control through and no other.

use std::{sync::Arc, time::Duration};

use actors::port::{DataLink, Dialer as _, LinkError, Transport};
use bytes::Bytes;
use tokio::time::Instant;

use super::relay::Relay;
use crate::transport::{
    AutoDialer, DialConfig, ListenConfig, QuicClient, QuicDialer, TcpDialer, data_route,
    tests::stage::{Expect, Stage, credentials, dialer, ping, receive, receive_chunk, send, send_chunk, sender, token},
};
use actors::port::DataOffer;

const SOON: Duration = Duration::from_secs(1);

/// A node whose data ports nobody reaches, and a client's side.
struct Scene {
    stage: Stage,
    blocked: Relay,
    client: Arc<QuicClient>,
}

impl Scene {
    async fn open() -> Self {
        let stage = Stage::open(ListenConfig::default());
        let blocked = Relay::before(stage.data_address(0), Duration::ZERO).await;
        blocked.let_up(0);
        Self { stage, blocked, client: Arc::new(QuicClient::new(&credentials()).unwrap()) }
    }

    fn quic(&self, handshake_ms: u64) -> QuicDialer {
        let pins = Arc::new(Expect(Some(self.stage.server.peer_id())));
        let config = DialConfig { handshake_ms, ..DialConfig::default() };
        QuicDialer::new(self.stage.address.to_string(), Arc::clone(&self.client), pins, config).unwrap()
    }

    fn auto(&self) -> AutoDialer {
        AutoDialer::new(self.quic(10_000), self.tcp())
    }

    fn tcp(&self) -> TcpDialer {
        dialer(self.stage.address, &credentials(), Expect(Some(self.stage.server.peer_id())))
    }

    fn offer(&self, byte: u8) -> DataOffer {
        self.stage.issue(token(byte), 0);
        DataOffer { route: data_route(0), ..self.stage.offer_at(token(byte), self.blocked.address.port()) }
    }

    /// A data link of `auto`, over which a chunk came.
    async fn data(&mut self, auto: &AutoDialer, byte: u8) -> DataLink {
        let dialling = tokio::spawn(auto.data(self.offer(byte)));
        let (_, mut arrival) = self.stage.next_arrival().await;
        send_chunk(sender(&mut arrival.link.sender), 0, Bytes::from_static(b"a chunk")).await;
        let mut link = dialling.await.unwrap().unwrap();
        receive_chunk(&mut link.receiver).await;
        link
    }
}

/// A message that is shorter than a token was waited on for ten seconds, and then the connection was lost.
#[tokio::test]
async fn who_dials_a_port_for_data_as_if_it_were_control_is_told_so_at_once() {
    let stage = Stage::open(ListenConfig::default());
    let pins = Arc::new(Expect(Some(stage.server.peer_id())));
    let client = Arc::new(QuicClient::new(&credentials()).unwrap());
    let dialer = QuicDialer::new(stage.data_address(0).to_string(), client, pins, DialConfig::default()).unwrap();
    let mut link = dialer.control().await.unwrap();
    let began = Instant::now();
    send(&mut link.sender, &ping(1)).await;
    let error = receive(&mut link.receiver).await.unwrap_err();
    // Dialling again would not help.
    assert!(matches!(&error, LinkError::Local(words) if words.contains("port for data")), "{error}");
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
}

#[tokio::test]
async fn where_only_control_passes_data_goes_over_tcp_and_the_next_knows_at_once() {
    let mut scene = Scene::open().await;
    let auto = scene.auto();
    let (ours, _, _theirs) = scene.stage.meet(&auto).await;
    assert_eq!(ours.remote.transport, Transport::Quic);
    assert_eq!(scene.data(&auto, 1).await.transport, Transport::Tcp);
    let began = Instant::now();
    assert_eq!(scene.data(&auto, 2).await.transport, Transport::Tcp);
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    // So does the next session of the process.
    let next = scene.auto();
    let (ours, _, _theirs) = scene.stage.meet(&next).await;
    assert_eq!(ours.remote.transport, Transport::Quic);
    let began = Instant::now();
    assert_eq!(scene.data(&next, 3).await.transport, Transport::Tcp);
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
}

/// What got through before says nothing of now: a firewall may have begun to drop UDP in between.
#[tokio::test]
async fn where_data_got_through_until_its_ports_were_shut_the_next_session_moves_it_over_tcp() {
    let mut scene = Scene::open().await;
    scene.blocked.let_up(usize::MAX);
    let auto = scene.auto();
    let (_ours, _, _theirs) = scene.stage.meet(&auto).await;
    assert_eq!(scene.data(&auto, 1).await.transport, Transport::Quic);
    scene.blocked.let_up(0);
    let next = scene.auto();
    let (ours, _, _theirs) = scene.stage.meet(&next).await;
    assert_eq!(ours.remote.transport, Transport::Quic);
    assert_eq!(scene.data(&next, 2).await.transport, Transport::Tcp);
}

/// The advice is for who chose QUIC alone.
#[tokio::test]
async fn where_tcp_is_tried_as_well_the_words_do_not_say_to_try_it() {
    let mut scene = Scene::open().await;
    scene.blocked.let_up(usize::MAX);
    let auto = AutoDialer::new(scene.quic(500), scene.tcp());
    let _links = scene.stage.meet(&auto).await;
    assert_eq!(scene.data(&auto, 1).await.transport, Transport::Quic);
    scene.blocked.let_up(0);
    let Err(LinkError::Lost(error)) = auto.data(scene.offer(2)).await else { panic!("a link") };
    let words = error.to_string();
    let port = format!("UDP port {} for data did not", scene.blocked.address.port());
    assert!(words.contains(&port) && !words.contains("--transport"), "{words}");
}

#[tokio::test]
async fn where_only_control_passes_and_only_quic_is_wanted_the_words_name_the_port() {
    let mut scene = Scene::open().await;
    let quic = scene.quic(500);
    let _links = scene.stage.meet(&quic).await;
    // Nothing that dialling again would mend.
    let Err(LinkError::Local(words)) = quic.data(scene.offer(1)).await else { panic!("a link") };
    let port = format!("UDP port {} for data did not", scene.blocked.address.port());
    assert!(words.contains(&port) && words.contains("--transport tcp"), "{words}");
}
