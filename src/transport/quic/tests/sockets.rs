//! The UDP sockets: when they are opened, how much passes them at once, what is said of their buffers.

use std::{
    future::poll_fn,
    io::{self, IoSliceMut},
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use actors::port::Dialer as _;
use quinn::{
    Runtime as _,
    udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState},
};
use tokio::time::timeout;
use tracing_subscriber::fmt::MakeWriter;
use wire::{DataHeader, DataPreface, Ways};

use super::super::{SERVER_NAME, runtime::LaneRuntime, socket};
use crate::transport::{
    DialConfig, ListenConfig, QuicClient, QuicDialer,
    tests::stage::{Expect, Over, Stage, credentials, receive_chunk, token},
};

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
const CHUNK_BYTES: usize = 256 << 10;
const CHUNKS: usize = 16;

/// Seed 000: data sockets exist only after the session does.
#[tokio::test]
async fn a_client_has_no_data_socket_before_its_first_data_link() {
    let mut stage = Stage::open(ListenConfig::default());
    let client = Arc::new(QuicClient::new(&credentials()).unwrap());
    assert_eq!(client.sockets_open(), (0, 0));
    let pins = Arc::new(Expect(Some(stage.server.peer_id())));
    let dialer = QuicDialer::new(stage.address.to_string(), Arc::clone(&client), pins, DialConfig::default()).unwrap();
    let _links = stage.meet(&dialer).await;
    assert_eq!(client.sockets_open(), (1, 0));
    stage.issue(token(1), 0);
    let _data = dialer.data(stage.offer(Over::Quic, token(1), 0)).await.unwrap();
    assert_eq!(client.sockets_open(), (1, 1));
    stage.issue(token(2), 1);
    let _more = dialer.data(stage.offer(Over::Quic, token(2), 1)).await.unwrap();
    assert_eq!(client.sockets_open(), (1, 1), "one for all data links");
}

/// Where the kernel cuts datagrams itself (GSO), many go with one call.
#[tokio::test]
async fn datagrams_go_in_batches() {
    let probe = std::net::UdpSocket::bind(ANY).unwrap();
    let state = UdpSocketState::new(UdpSockRef::from(&probe)).unwrap();
    if state.max_gso_segments() == 1 {
        return println!("SKIPPED: this kernel has no GSO");
    }
    let mut stage = Stage::open(ListenConfig::default());
    let client = QuicClient::new(&credentials()).unwrap();
    let node = client.node(&stage.address.to_string()).unwrap();
    let address = stage.data_address(0);
    let connecting = client.data(address).unwrap().connect_with(node.data_config(Ways::Both), address, SERVER_NAME);
    let connection = connecting.unwrap().await.unwrap();
    let (mut stream, _answers) = connection.open_bi().await.unwrap();
    stage.issue(token(1), 0);
    stream.write_all(&DataPreface { token: token(1), ways: Ways::Both }.encode()).await.unwrap();
    let (_, mut arrival) = stage.next_arrival().await;
    let sending = async {
        for index in 0..CHUNKS {
            let offset = (index * CHUNK_BYTES) as u64;
            let header = DataHeader { len: CHUNK_BYTES as u32, transfer: 7, offset };
            stream.write_all(&header.encode()).await.unwrap();
            stream.write_all(&[0; CHUNK_BYTES]).await.unwrap();
        }
    };
    let receiving = async {
        for _ in 0..CHUNKS {
            receive_chunk(&mut arrival.link.receiver).await;
        }
    };
    let both = async { tokio::join!(sending, receiving) };
    timeout(Duration::from_secs(20), both).await.expect("all chunks");
    let sent = connection.stats().udp_tx;
    println!("{} datagrams in {} calls", sent.datagrams, sent.ios);
    assert!(sent.datagrams > 3 * sent.ios, "{} datagrams in {} calls", sent.datagrams, sent.ios);
}

/// Where the kernel joins datagrams itself (GRO), many come with one call.
#[tokio::test]
async fn datagrams_come_in_batches() {
    const DATAGRAM_BYTES: usize = 1200;
    const DATAGRAMS: usize = 10;
    let sender = std::net::UdpSocket::bind(ANY).unwrap();
    let state = UdpSocketState::new(UdpSockRef::from(&sender)).unwrap();
    let ours = socket::bind(ANY, 1 << 20).unwrap();
    let ours = LaneRuntime::Data.wrap_udp_socket(ours).unwrap();
    if state.max_gso_segments() < DATAGRAMS || ours.max_receive_segments() < DATAGRAMS {
        return println!("SKIPPED: this kernel has no GSO or no GRO");
    }
    let batch = Transmit {
        destination: ours.local_addr().unwrap(),
        ecn: None,
        contents: &[7; DATAGRAMS * DATAGRAM_BYTES],
        segment_size: Some(DATAGRAM_BYTES),
        src_ip: None,
    };
    state.send(UdpSockRef::from(&sender), &batch).unwrap();
    let (mut room, mut metas) = (vec![0; 65_536], [RecvMeta::default()]);
    let received = poll_fn(|cx| ours.poll_recv(cx, &mut [IoSliceMut::new(&mut room)], &mut metas));
    assert_eq!(timeout(Duration::from_secs(5), received).await.expect("a batch").unwrap(), 1);
    assert_eq!((metas[0].len, metas[0].stride), (DATAGRAMS * DATAGRAM_BYTES, DATAGRAM_BYTES), "one by one");
}

/// A log, to be read.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// What is logged while a socket with such buffers is bound.
fn logged(buffer_bytes: usize) -> String {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_writer(log.clone()).with_ansi(false).finish();
    tracing::subscriber::with_default(subscriber, || drop(socket::bind(ANY, buffer_bytes).unwrap()));
    String::from_utf8(log.0.lock().unwrap().clone()).unwrap()
}

#[test]
fn an_operator_is_told_where_the_kernel_gives_smaller_buffers_than_wanted() {
    // More than any kernel gives by itself, and as little as all give.
    let (refused, given) = (logged(1 << 30), logged(16 << 10));
    assert!(refused.contains("smaller buffers than wanted") && refused.contains("net.core.rmem_max"), "{refused:?}");
    assert!(refused.contains("wanted=1073741824"), "{refused:?}");
    assert_eq!(given, "", "nothing to tell");
}
