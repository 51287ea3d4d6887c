//! What is said before a handshake is done: by whom it is heard, and what of it.

use std::{future::poll_fn, sync::Arc, time::Duration};

use actors::port::{Dialer as _, Transport};
use bytes::BytesMut;
use tokio::net::UdpSocket;
use wire::{Message, Put, encode_message};

use super::{
    super::SERVER_NAME,
    relay::{Relay, Way},
    rounds::hello,
};
use crate::transport::{
    AutoDialer, DialConfig, ListenConfig, QuicClient, QuicDialer,
    awake::timeout,
    tests::stage::{Expect, Over, Stage, credentials, dialer, ping, receive, send, token},
};

/// Nothing comes within this: thirty round trips over a relay without delay.
const NOTHING: Duration = Duration::from_millis(300);

/// What is sent again after a second has come by now.
const LATE: Duration = Duration::from_secs(4);

/// A node behind a relay, and a client that has been there and has a ticket.
struct Known {
    stage: Stage,
    relay: Relay,
    client: Arc<QuicClient>,
}

impl Known {
    async fn open() -> Self {
        let mut stage = Stage::open(ListenConfig::default());
        let relay = Relay::before(stage.address, Duration::ZERO).await;
        let client = Arc::new(QuicClient::new(&credentials()).unwrap());
        let links = stage.meet(&quic(&stage, &relay, &client)).await;
        let (mut ours, _, mut theirs) = links;
        // A ticket has come with this at the latest.
        send(&mut theirs.sender, &ping(2)).await;
        assert_eq!(receive(&mut ours.receiver).await.unwrap(), Some(ping(2)));
        drop((ours, theirs));
        tokio::time::sleep(Duration::from_millis(100)).await;
        relay.forget();
        Self { stage, relay, client }
    }

    fn dialer(&self) -> QuicDialer {
        quic(&self.stage, &self.relay, &self.client)
    }
}

fn quic(stage: &Stage, relay: &Relay, client: &Arc<QuicClient>) -> QuicDialer {
    let pins = Arc::new(Expect(Some(stage.server.peer_id())));
    QuicDialer::new(relay.address.to_string(), Arc::clone(client), pins, DialConfig::default()).unwrap()
}

#[tokio::test]
async fn a_put_that_is_said_early_waits_for_the_handshake() {
    let mut known = Known::open().await;
    let node = known.client.node(&known.relay.address.to_string()).unwrap();
    let (address, _) = node.returning().expect("a ticket");
    let socket = known.client.control(address).unwrap();
    known.relay.let_up(1);
    let connecting = socket.connect_with(node.control.clone(), address, SERVER_NAME).unwrap();
    let (connection, _accepted) = connecting.into_0rtt().expect("a ticket");
    let (mut stream, _answers) = connection.open_bi().await.unwrap();
    let put = Message::Put(Put { transfer: 2, path: "share/a".into(), size: 1, ..Put::default() });
    let mut bytes = BytesMut::new();
    encode_message(&hello(), &mut bytes).unwrap();
    encode_message(&put, &mut bytes).unwrap();
    stream.write_all(&bytes).await.unwrap();
    let (_, mut theirs) = known.stage.next_control().await;
    assert_eq!(receive(&mut theirs.receiver).await.unwrap(), Some(hello()));
    let early = timeout(NOTHING, poll_fn(|cx| theirs.receiver.poll_receive(cx))).await;
    assert!(early.is_err(), "a put was heard before its sender had proven to be there");
    known.relay.let_up(usize::MAX);
    assert_eq!(receive(&mut theirs.receiver).await.unwrap(), Some(put));
}

#[tokio::test]
async fn a_first_flight_that_is_replayed_is_not_heard() {
    let mut known = Known::open().await;
    let mut ours = known.dialer().control().await.unwrap();
    send(&mut ours.sender, &hello()).await;
    let (_, mut theirs) = known.stage.next_control().await;
    assert_eq!(receive(&mut theirs.receiver).await.unwrap(), Some(hello()));
    let flight = known.relay.seen().into_iter().find(|seen| seen.way == Way::Up).unwrap().bytes;
    let foe = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for _ in 0..2 {
        for _ in 0..20 {
            foe.send_to(&flight, known.stage.address).await.unwrap();
        }
        assert!(timeout(NOTHING, known.stage.next_control()).await.is_err(), "a copy made a link");
        send(&mut ours.sender, &ping(5)).await;
        assert_eq!(receive(&mut theirs.receiver).await.unwrap(), Some(ping(5)), "the session goes on");
    }
    drop((ours, theirs));
    tokio::time::sleep(Duration::from_millis(100)).await;
    foe.send_to(&flight, known.stage.address).await.unwrap();
    assert!(timeout(NOTHING, known.stage.next_control()).await.is_err(), "a copy made a link after the end");
}

#[tokio::test]
async fn who_is_known_and_not_answered_goes_on_over_tcp_with_the_same_words() {
    let mut known = Known::open().await;
    known.relay.let_up(0);
    let tcp = dialer(known.stage.address, &credentials(), Expect(Some(known.stage.server.peer_id())));
    let auto = AutoDialer::new(known.dialer(), tcp);
    let mut ours = auto.control().await.unwrap();
    send(&mut ours.sender, &hello()).await;
    let (_, mut theirs) = known.stage.next_control().await;
    assert_eq!(theirs.remote.transport, Transport::Tcp);
    assert_eq!(receive(&mut theirs.receiver).await.unwrap(), Some(hello()));
    send(&mut theirs.sender, &ping(3)).await;
    assert_eq!(receive(&mut ours.receiver).await.unwrap(), Some(ping(3)));
    send(&mut ours.sender, &ping(4)).await;
    assert_eq!(receive(&mut theirs.receiver).await.unwrap(), Some(ping(4)));
}

/// It is sent again after a second, which is more than the silence after which TCP is tried.
#[tokio::test]
async fn a_first_datagram_that_is_lost_where_tcp_is_shut_does_not_keep_anybody_out() {
    let mut stage = Stage::open(ListenConfig::default());
    let relay = Relay::before(stage.address, Duration::ZERO).await;
    relay.let_up(0);
    let client = Arc::new(QuicClient::new(&credentials()).unwrap());
    // Nobody listens for TCP where the relay is.
    let tcp = dialer(relay.address, &credentials(), Expect(Some(stage.server.peer_id())));
    let auto = AutoDialer::new(quic(&stage, &relay, &client), tcp);
    let met = async { stage.meet(&auto).await };
    let opens = async {
        tokio::time::sleep(Duration::from_millis(400)).await;
        relay.let_up(usize::MAX);
    };
    let ((ours, worker, theirs), ()) = tokio::join!(met, opens);
    assert_eq!((ours.remote.transport, theirs.remote.transport), (Transport::Quic, Transport::Quic));
    stage.issue(token(3), worker);
    auto.data(stage.offer(Over::Quic, token(3), worker)).await.unwrap();
}

/// The same for one that has been there: its first datagram carries its hello, and is sent again with it.
#[tokio::test]
async fn a_first_datagram_of_a_return_that_is_lost_where_tcp_is_shut_does_not_keep_anybody_out() {
    let mut known = Known::open().await;
    known.relay.let_up(0);
    // Nobody listens for TCP where the relay is.
    let tcp = dialer(known.relay.address, &credentials(), Expect(Some(known.stage.server.peer_id())));
    let auto = AutoDialer::new(known.dialer(), tcp);
    let mut ours = auto.control().await.unwrap();
    send(&mut ours.sender, &hello()).await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    known.relay.let_up(usize::MAX);
    let (worker, mut theirs) = timeout(LATE, known.stage.next_control()).await.expect("nobody came again");
    assert_eq!(theirs.remote.transport, Transport::Quic);
    assert_eq!(receive(&mut theirs.receiver).await.unwrap(), Some(hello()));
    send(&mut theirs.sender, &ping(3)).await;
    assert_eq!(receive(&mut ours.receiver).await.unwrap(), Some(ping(3)));
    send(&mut ours.sender, &ping(4)).await;
    assert_eq!(receive(&mut theirs.receiver).await.unwrap(), Some(ping(4)), "what was not said early is said once");
    known.stage.issue(token(3), worker);
    auto.data(known.stage.offer(Over::Quic, token(3), worker)).await.unwrap();
}

/// TCP that is dropped and not refused fails after many seconds: who answers over QUIC meanwhile is not kept waiting for it.
#[tokio::test]
async fn a_lost_first_datagram_does_not_wait_for_a_tcp_that_is_silent() {
    let mut known = Known::open().await;
    known.relay.let_up(0);
    // The listener's backlog takes the connection, and nobody ever shakes hands.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let tcp = dialer(silent.local_addr().unwrap(), &credentials(), Expect(Some(known.stage.server.peer_id())));
    let auto = AutoDialer::new(known.dialer(), tcp);
    let mut ours = auto.control().await.unwrap();
    send(&mut ours.sender, &hello()).await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    known.relay.let_up(usize::MAX);
    let (_, mut theirs) = timeout(LATE, known.stage.next_control()).await.expect("nobody came again");
    assert_eq!(receive(&mut theirs.receiver).await.unwrap(), Some(hello()));
    send(&mut theirs.sender, &ping(3)).await;
    let heard = timeout(LATE, receive(&mut ours.receiver)).await.expect("TCP was waited for");
    assert_eq!(heard.unwrap(), Some(ping(3)));
    send(&mut ours.sender, &ping(4)).await;
    let heard = timeout(LATE, receive(&mut theirs.receiver)).await.expect("TCP was waited for");
    assert_eq!(heard.unwrap(), Some(ping(4)));
}

#[tokio::test]
async fn where_udp_is_dropped_tcp_answers_soon() {
    let mut stage = Stage::open(ListenConfig::default());
    let relay = Relay::before(stage.address, Duration::ZERO).await;
    relay.let_up(0);
    let client = Arc::new(QuicClient::new(&credentials()).unwrap());
    let tcp = dialer(stage.address, &credentials(), Expect(Some(stage.server.peer_id())));
    let auto = AutoDialer::new(quic(&stage, &relay, &client), tcp);
    let began = tokio::time::Instant::now();
    let (ours, _, theirs) = stage.meet(&auto).await;
    assert_eq!((ours.remote.transport, theirs.remote.transport), (Transport::Tcp, Transport::Tcp));
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(290) && took < Duration::from_secs(3), "{took:?}");
}
