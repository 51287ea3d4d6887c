//! Links that are as they should be.

use std::{future::poll_fn, io, net::SocketAddr, sync::Arc, time::Duration};

use actors::port::{Dialer as _, LinkError, Pressure, Transport};
use bytes::Bytes;
use flow::Mode;
use tokio::{
    io::AsyncWriteExt as _,
    net::TcpListener,
    time::{sleep, timeout},
};
use wire::{DATA_PAYLOAD_BYTES_MAX, DataHeader};

use super::stage::{
    Expect, Over, Stage, credentials, dialer, offer, ping, receive, receive_chunk, receive_header, send_chunk, sender,
    token,
};
use crate::transport::{ListenConfig, Listener};

/// Each of these cases, over each transport.
macro_rules! over_both {
    ($($case:ident),+ $(,)?) => {
        mod over_tcp {
            $(#[tokio::test]
            async fn $case() {
                super::$case(super::Over::Tcp).await;
            })+
        }
        mod over_quic {
            $(#[tokio::test]
            async fn $case() {
                super::$case(super::Over::Quic).await;
            })+
        }
    };
}

over_both!(
    both_sides_prove_who_they_are,
    a_close_is_clean_and_gives_the_admission_back,
    control_links_take_turns_over_the_workers,
    a_data_link_goes_to_the_worker_of_its_route,
    a_full_socket_stops_the_sender_and_names_the_receiver,
    an_unexpected_key_needs_a_human,
);

fn transport_of(over: Over) -> Transport {
    match over {
        Over::Tcp => Transport::Tcp,
        Over::Quic => Transport::Quic,
    }
}

async fn both_sides_prove_who_they_are(over: Over) {
    let mut stage = Stage::open(ListenConfig::default());
    let client = credentials();
    let dialer = stage.dialer_over(over, &client);
    let (mut ours, _, mut theirs) = stage.meet(dialer.as_ref()).await;
    assert_eq!(ours.remote.peer, stage.server.peer_id());
    assert_eq!(theirs.remote.peer, client.peer_id());
    assert_eq!(theirs.remote.transport, transport_of(over));
    assert_eq!(ours.remote.address, stage.address);
    for nonce in 0..3000 {
        theirs.sender.start_send(&ping(nonce)).unwrap();
    }
    poll_fn(|cx| theirs.sender.poll_flush(cx)).await.unwrap();
    for nonce in 0..3000 {
        assert_eq!(receive(&mut ours.receiver).await.unwrap(), Some(ping(nonce)));
    }
}

/// As when its program was killed: the kernel ends the connection, and TLS does not.
#[tokio::test]
async fn a_link_that_ends_without_a_word_is_lost_in_words_for_a_person() {
    let mut stage = Stage::open(ListenConfig::default());
    let dialer = stage.dialer_over(Over::Tcp, &credentials());
    let (mut ours, _, theirs) = stage.meet(dialer.as_ref()).await;
    drop(theirs);
    let Err(LinkError::Lost(error)) = receive(&mut ours.receiver).await else { panic!("it was not lost") };
    let words = error.to_string();
    assert!(words.contains("without a word") && !words.contains("https"), "{words}");
}

async fn a_close_is_clean_and_gives_the_admission_back(over: Over) {
    let mut stage = Stage::open(ListenConfig::default());
    let dialer = stage.dialer_over(over, &credentials());
    let (mut ours, _, mut theirs) = stage.meet(dialer.as_ref()).await;
    ours.sender.start_send(&ping(9)).unwrap();
    poll_fn(|cx| ours.sender.poll_close(cx)).await.unwrap();
    assert_eq!(receive(&mut theirs.receiver).await.unwrap(), Some(ping(9)));
    assert_eq!(receive(&mut theirs.receiver).await.unwrap(), None);
    assert_eq!(receive(&mut theirs.receiver).await.unwrap(), None);
    drop(theirs);
    stage.all_given_back().await;
}

async fn control_links_take_turns_over_the_workers(over: Over) {
    let mut stage = Stage::open(ListenConfig::default());
    let dialer = stage.dialer_over(over, &credentials());
    let mut workers = Vec::new();
    let mut links = Vec::new();
    for _ in 0..4 {
        let (ours, worker, theirs) = stage.meet(dialer.as_ref()).await;
        links.push((ours, theirs));
        workers.push(worker);
    }
    assert_eq!(workers, [0, 1, 0, 1]);
}

async fn a_data_link_goes_to_the_worker_of_its_route(over: Over) {
    let mut stage = Stage::open(ListenConfig::default());
    let client = credentials();
    let dialer = stage.dialer_over(over, &client);
    let _control = stage.meet(dialer.as_ref()).await;
    for worker in [1, 0] {
        stage.issue(token(worker), usize::from(worker));
        let mut ours = dialer.data(stage.offer(over, token(worker), usize::from(worker))).await.unwrap();
        let (arrived_on, mut theirs) = stage.next_arrival().await;
        assert_eq!(arrived_on, usize::from(worker));
        assert!(theirs.token == token(worker));
        assert_eq!(theirs.link.peer, Some(client.peer_id()));
        assert_eq!(theirs.link.transport, transport_of(over));
        exchange_chunks(&mut ours, &mut theirs.link).await;
    }
}

#[tokio::test]
async fn a_plaintext_data_link_follows_its_token() {
    let mut stage = Stage::plaintext();
    stage.issue(token(1), 1);
    let mut ours = stage.dialer(&credentials()).data(offer(token(1), String::new(), true)).await.unwrap();
    let (worker, mut theirs) = stage.next_arrival().await;
    assert_eq!(worker, 1);
    assert_eq!((theirs.link.peer, theirs.link.transport), (None, Transport::TcpPlain));
    exchange_chunks(&mut ours, &mut theirs.link).await;
}

/// Chunks of every kind of size both ways at once, larger than all buffers between.
async fn exchange_chunks(ours: &mut actors::port::DataLink, theirs: &mut actors::port::DataLink) {
    let sizes = [1, 15, 16_368, 16_384, 65_536, DATA_PAYLOAD_BYTES_MAX as usize, 3];
    let chunk = |size: usize| -> Bytes { (0..size).map(|i| (i * 7 + size) as u8).collect() };
    let (up, down) = (sender(&mut ours.sender), sender(&mut theirs.sender));
    let sending = async {
        for (at, &size) in sizes.iter().cycle().take(21).enumerate() {
            send_chunk(up, at as u64, chunk(size)).await;
            send_chunk(down, at as u64, chunk(size)).await;
        }
        poll_fn(|cx| up.poll_close(cx)).await.unwrap();
    };
    let receiving = async {
        for (at, &size) in sizes.iter().cycle().take(21).enumerate() {
            for receiver in [&mut theirs.receiver, &mut ours.receiver] {
                // What was taken at once and not used yet is never lost or doubled.
                receiver.set_mode(if (5..15).contains(&at) { Mode::Bulk } else { Mode::Precise });
                let (header, payload) = receive_chunk(receiver).await;
                assert_eq!(header, DataHeader { len: size as u32, transfer: 7, offset: at as u64 });
                assert!(payload == chunk(size), "chunk {at} of {size} bytes differs");
            }
        }
        assert!(receive_header(&mut theirs.receiver).await.unwrap().is_none());
    };
    tokio::join!(sending, receiving);
}

async fn a_full_socket_stops_the_sender_and_names_the_receiver(over: Over) {
    let mut stage = Stage::open(ListenConfig::default());
    let (mut ours, mut theirs) = stage.data_link(over, token(1), 0).await;
    let payload = Bytes::from(vec![5; DATA_PAYLOAD_BYTES_MAX as usize]);
    let header = DataHeader { len: DATA_PAYLOAD_BYTES_MAX, transfer: 1, offset: 0 };
    let mut chunks = 0;
    let stuck = loop {
        assert!(chunks < 1000, "nothing stopped the sender");
        sender(&mut theirs.link.sender).start_send(header, payload.clone().into()).unwrap();
        chunks += 1;
        if !flush_for(&mut theirs.link, Duration::from_millis(300)).await {
            break sender(&mut theirs.link.sender).pressure();
        }
    };
    assert_eq!(stuck, Pressure::Receiver);
    assert!(sender(&mut theirs.link.sender).start_send(header, payload.into()).is_err(), "one chunk at a time");
    let link = &mut theirs.link;
    let flushed = poll_fn(|cx| sender(&mut link.sender).poll_flush(cx));
    let received = async {
        for _ in 0..chunks {
            receive_chunk(&mut ours.receiver).await;
        }
    };
    let (flushed, ()) = tokio::join!(flushed, received);
    flushed.unwrap();
}

/// Whether everything was taken within `limit`.
async fn flush_for(link: &mut actors::port::DataLink, limit: Duration) -> bool {
    match timeout(limit, poll_fn(|cx| sender(&mut link.sender).poll_flush(cx))).await {
        Ok(answer) => answer.map(|()| true).unwrap(),
        Err(_) => false,
    }
}

#[tokio::test]
async fn a_header_is_seen_before_its_payload_and_as_often_as_asked() {
    let mut stage = Stage::plaintext();
    stage.issue(token(3), 0);
    let mut raw = stage.connect().await;
    raw.write_all(&wire::DataPreface { token: token(3), ways: wire::Ways::Both }.encode()).await.unwrap();
    let (_, mut theirs) = stage.next_arrival().await;
    let header = DataHeader { len: 4, transfer: 1, offset: 0 };
    raw.write_all(&header.encode()).await.unwrap();
    for _ in 0..3 {
        assert_eq!(receive_header(&mut theirs.link.receiver).await.unwrap(), Some(header));
    }
    raw.write_all(b"data").await.unwrap();
    assert_eq!(receive_chunk(&mut theirs.link.receiver).await, (header, Bytes::from_static(b"data")));
}

async fn an_unexpected_key_needs_a_human(over: Over) {
    let mut stage = Stage::open(ListenConfig::default());
    stage.server = credentials();
    let dialer = stage.dialer_over(over, &credentials());
    match dialer.control().await {
        Err(LinkError::Identity(words)) => assert!(words.contains("has changed"), "{words}"),
        other => panic!("{:?}", other.err()),
    }
}

#[tokio::test]
async fn dialling_nobody_says_so() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = dialer(address, &credentials(), Expect(None)).control().await.err().unwrap();
    let words = error.to_string();
    assert!(matches!(error, LinkError::Lost(_)), "{words}");
    assert!(words.contains(&format!("nothing listens at {address}; is `evenkeel serve` running there?")), "{words}");
}

#[tokio::test]
async fn dialling_another_kind_of_server_says_so() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        sleep(Duration::from_secs(5)).await;
    });
    let error = dialer(address, &credentials(), Expect(None)).control().await.err().unwrap();
    assert!(matches!(error, LinkError::Identity(_)), "{error}");
    assert!(error.to_string().contains("is no Evenkeel server"), "{error}");
}

#[tokio::test]
async fn a_taken_port_is_named_with_advice() {
    let stage = Stage::open(ListenConfig::default());
    let taken: SocketAddr = stage.address;
    let front = Arc::clone(&stage.front);
    let error = Listener::bind(taken, front, &credentials(), ListenConfig::default()).err().unwrap();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    let words = error.to_string();
    assert!(words.contains(&taken.to_string()) && words.contains("another process"), "{words}");
}
