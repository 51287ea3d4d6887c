//! Connections that are not as they should be: each ends soon, as the right fault, and gives its admission back.

use std::{io, sync::Arc, time::Duration};

use actors::port::{Dialer as _, LinkError, LinkFault};
use rcgen::{KeyPair, PKCS_ED25519};
use rustls::{
    ClientConfig, SignatureScheme,
    client::ResolvesClientCert,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName},
    sign::CertifiedKey,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{sleep, timeout},
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use wire::{
    ALPN_CONTROL, ALPN_DATA, CONTROL_FRAME_BYTES_MAX, DATA_PAYLOAD_BYTES_MAX, DataHeader, DataPreface, Hello, Message,
    Ways,
};

use super::stage::{Over, Stage, credentials, offer, ping, receive, receive_header, send, token};
use crate::transport::{ListenConfig, client_config, data_route};

/// What is left to read until the server closes; a reset counts as a close.
async fn until_closed(stream: &mut TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    let read = timeout(Duration::from_secs(5), stream.read_to_end(&mut rest)).await;
    let _ = read.expect("the server closes");
    rest
}

async fn shake(stage: &Stage, config: Arc<ClientConfig>) -> io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from("evenkeel").unwrap();
    TlsConnector::from(config).connect(name, stage.connect().await).await
}

#[tokio::test]
async fn neither_tls_nor_magic_is_closed_at_once() {
    let mut stage = Stage::open(ListenConfig::default());
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"EVKLDAT2xxxxxxxx", b"\0", b"SSH-2.0-OpenSSH_9.9\r\n"] {
        let mut stream = stage.connect().await;
        stream.write_all(bytes).await.unwrap();
        assert_eq!(stage.next_fault().await, LinkFault::Magic);
        assert!(until_closed(&mut stream).await.is_empty());
    }
    stage.all_given_back().await;
}

#[tokio::test]
async fn garbage_within_tls_is_a_tls_fault() {
    let mut stage = Stage::open(ListenConfig::default());
    for bytes in [&b"\x16\x03\x01\x00\x05hello"[..], b"\x16\xff\xff\xff\xffhello", &[0x16; 40_000]] {
        let mut stream = stage.connect().await;
        let _ = stream.write_all(bytes).await;
        assert_eq!(stage.next_fault().await, LinkFault::Tls);
        until_closed(&mut stream).await;
    }
    stage.all_given_back().await;
}

#[tokio::test]
async fn silence_is_bounded_at_every_step() {
    let mut stage = Stage::hasty();
    let mut nothing = stage.connect().await;
    assert_eq!(stage.next_fault().await, LinkFault::HandshakeTimeout);
    until_closed(&mut nothing).await;

    let mut half_a_record = stage.connect().await;
    half_a_record.write_all(b"\x16\x03\x01\x01\x00").await.unwrap();
    assert_eq!(stage.next_fault().await, LinkFault::HandshakeTimeout);

    let mut half_a_token = stage.connect().await;
    half_a_token.write_all(b"EVKLDAT1half").await.unwrap();
    assert_eq!(stage.next_fault().await, LinkFault::HandshakeTimeout);

    let config = client_config(&credentials(), ALPN_DATA).unwrap();
    let _no_token = shake(&stage, config).await.unwrap();
    assert_eq!(stage.next_fault().await, LinkFault::HandshakeTimeout);
    stage.all_given_back().await;
}

#[tokio::test]
async fn a_trickle_of_bytes_does_not_stretch_the_time() {
    let mut stage = Stage::hasty();
    let mut stream = stage.connect().await;
    let trickle = tokio::spawn(async move {
        for byte in tls12_hello() {
            if stream.write_all(&[byte]).await.is_err() {
                return;
            }
            sleep(Duration::from_millis(20)).await;
        }
    });
    assert_eq!(stage.next_fault().await, LinkFault::HandshakeTimeout);
    stage.all_given_back().await;
    trickle.abort();
}

#[tokio::test]
async fn who_leaves_in_the_handshake_is_lost() {
    let mut stage = Stage::open(ListenConfig::default());
    drop(stage.connect().await);
    assert_eq!(stage.next_fault().await, LinkFault::Lost);
    stage.all_given_back().await;
}

#[tokio::test]
async fn other_protocols_are_refused() {
    let mut stage = Stage::open(ListenConfig::default());
    let refused = shake(&stage, client_config(&credentials(), b"h2").unwrap()).await.unwrap_err();
    assert!(refused.to_string().contains("NoApplicationProtocol"), "{refused}");
    assert_eq!(stage.next_fault().await, LinkFault::Tls);

    let mut silent = ClientConfig::clone(&client_config(&credentials(), b"h2").unwrap());
    silent.alpn_protocols.clear();
    assert!(shake(&stage, Arc::new(silent)).await.is_err());
    assert_eq!(stage.next_fault().await, LinkFault::Tls);
    stage.all_given_back().await;
}

#[tokio::test]
async fn who_speaks_only_tls_1_2_gets_an_alert() {
    let mut stage = Stage::open(ListenConfig::default());
    let mut stream = stage.connect().await;
    stream.write_all(&tls12_hello()).await.unwrap();
    assert_eq!(stage.next_fault().await, LinkFault::Tls);
    // An alert record: fatal (2), protocol_version (70).
    assert_eq!(until_closed(&mut stream).await, [0x15, 3, 3, 0, 2, 2, 70]);
    stage.all_given_back().await;
}

/// A ClientHello without `supported_versions`, which is where TLS 1.3 would be offered.
fn tls12_hello() -> Vec<u8> {
    let alpn = [&[0, 16, 0, 13, 0, 11, 10][..], ALPN_CONTROL].concat();
    let groups = [0, 10, 0, 4, 0, 2, 0, 29];
    let signatures = [0, 13, 0, 4, 0, 2, 8, 7];
    let extensions = [&alpn[..], &groups, &signatures].concat();
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([0, 0, 4, 0xc0, 0x2b, 0xc0, 0x2f, 1, 0]);
    body.extend((extensions.len() as u16).to_be_bytes());
    body.extend(extensions);
    let mut hello = vec![0x16, 3, 1];
    hello.extend((body.len() as u16 + 4).to_be_bytes());
    hello.extend([1, 0]);
    hello.extend((body.len() as u16).to_be_bytes());
    hello.extend(body);
    hello
}

/// Shows one key's certificate and signs with another key.
#[derive(Debug)]
struct Impostor(Arc<CertifiedKey>);

impl ResolvesClientCert for Impostor {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn a_certificate_without_its_key_proves_nothing() {
    let mut stage = Stage::open(ListenConfig::default());
    let victim = credentials();
    let own = KeyPair::generate_for(&PKCS_ED25519).unwrap().serialize_der();
    let own = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(own));
    let signer = rustls::crypto::ring::sign::any_eddsa_type(match &own {
        PrivateKeyDer::Pkcs8(key) => key,
        _ => unreachable!(),
    });
    let stolen = CertifiedKey::new(victim.cert_chain(), signer.unwrap());
    let mut config = ClientConfig::clone(&client_config(&victim, ALPN_CONTROL).unwrap());
    config.client_auth_cert_resolver = Arc::new(Impostor(Arc::new(stolen)));
    // In TLS 1.3 the client is done before the server has looked at its certificate.
    let _stream = shake(&stage, Arc::new(config)).await;
    assert_eq!(stage.next_fault().await, LinkFault::Tls);
    stage.all_given_back().await;
}

/// Has no certificate to show.
#[derive(Debug)]
struct Nobody;

impl ResolvesClientCert for Nobody {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

#[tokio::test]
async fn a_client_without_certificate_is_refused() {
    let mut stage = Stage::open(ListenConfig::default());
    let mut config = ClientConfig::clone(&client_config(&credentials(), ALPN_CONTROL).unwrap());
    config.client_auth_cert_resolver = Arc::new(Nobody);
    let _stream = shake(&stage, Arc::new(config)).await;
    assert_eq!(stage.next_fault().await, LinkFault::Tls);
}

#[tokio::test]
async fn a_wrong_token_ends_the_link() {
    let stage = Stage::open(ListenConfig::default());
    let mut ours = stage.dialer(&credentials()).data(offer(token(66), data_route(0), false)).await.unwrap();
    assert!(matches!(receive_header(&mut ours.receiver).await, Ok(None) | Err(LinkError::Lost(_))));
    // A token of another worker is as good as none.
    stage.issue(token(1), 1);
    let mut ours = stage.dialer(&credentials()).data(offer(token(1), data_route(0), false)).await.unwrap();
    assert!(matches!(receive_header(&mut ours.receiver).await, Ok(None) | Err(LinkError::Lost(_))));
    stage.all_given_back().await;

    let mut plain = Stage::plaintext();
    let mut ours = plain.dialer(&credentials()).data(offer(token(66), String::new(), true)).await.unwrap();
    assert_eq!(plain.next_fault().await, LinkFault::Token);
    assert!(matches!(receive_header(&mut ours.receiver).await, Ok(None) | Err(LinkError::Lost(_))));
}

#[tokio::test]
async fn plaintext_is_refused_where_data_is_encrypted() {
    let mut stage = Stage::open(ListenConfig::default());
    stage.issue(token(1), 0);
    let mut ours = stage.dialer(&credentials()).data(offer(token(1), String::new(), true)).await.unwrap();
    assert_eq!(stage.next_fault().await, LinkFault::Plaintext);
    assert!(matches!(receive_header(&mut ours.receiver).await, Ok(None) | Err(LinkError::Lost(_))));
    stage.all_given_back().await;
}

#[tokio::test]
async fn who_is_not_admitted_hears_why() {
    let stage = Stage::open(ListenConfig::default());
    stage.fill();
    for over in [Over::Tcp, Over::Quic] {
        let error = stage.dialer_over(over, &credentials()).control().await.err().unwrap();
        assert!(matches!(error, LinkError::Lost(_)), "{over:?}: {error}");
        assert!(
            error.to_string().ends_with("has as many connections from this address as it takes"),
            "{over:?}: {error}"
        );
    }
}

/// It learns of it where it would have heard the welcome.
#[tokio::test]
async fn who_comes_back_and_is_not_admitted_hears_why() {
    let mut stage = Stage::open(ListenConfig::default());
    let dialer = stage.dialer_over(Over::Quic, &credentials());
    let (mut ours, _, mut theirs) = stage.meet(dialer.as_ref()).await;
    // The ticket has come with this.
    send(&mut theirs.sender, &ping(2)).await;
    receive(&mut ours.receiver).await.unwrap();
    stage.fill();
    let mut back = dialer.control().await.unwrap();
    send(&mut back.sender, &Message::Hello(Hello::default())).await;
    let error = receive(&mut back.receiver).await.unwrap_err();
    assert!(error.to_string().ends_with("has as many connections from this address as it takes"), "{error}");
}

#[tokio::test]
async fn an_oversized_control_frame_is_the_peers_fault() {
    let mut stage = Stage::open(ListenConfig::default());
    let mut stream = shake(&stage, client_config(&credentials(), ALPN_CONTROL).unwrap()).await.unwrap();
    let (_, mut theirs) = stage.next_control().await;
    stream.write_all(&(CONTROL_FRAME_BYTES_MAX as u32 + 1).to_be_bytes()).await.unwrap();
    assert!(matches!(receive(&mut theirs.receiver).await, Err(LinkError::PeerFault(_))));
}

#[tokio::test]
async fn a_control_link_cut_in_a_frame_is_lost() {
    let mut stage = Stage::open(ListenConfig::default());
    let mut stream = shake(&stage, client_config(&credentials(), ALPN_CONTROL).unwrap()).await.unwrap();
    let (_, mut theirs) = stage.next_control().await;
    stream.write_all(&[0, 0, 0, 9, 1]).await.unwrap();
    stream.shutdown().await.unwrap();
    let error = receive(&mut theirs.receiver).await.unwrap_err();
    assert!(error.to_string().contains("in the middle of a control frame"), "{error}");
}

#[tokio::test]
async fn bad_chunks_are_told_from_broken_links() {
    let mut stage = Stage::plaintext();
    stage.issue(token(1), 0);
    let opened = async |stage: &mut Stage, bytes: &[u8]| {
        let mut raw = stage.connect().await;
        raw.write_all(&DataPreface { token: token(1), ways: Ways::Both }.encode()).await.unwrap();
        raw.write_all(bytes).await.unwrap();
        raw.shutdown().await.unwrap();
        (raw, stage.next_arrival().await.1)
    };
    for len in [0, DATA_PAYLOAD_BYTES_MAX + 1, u32::MAX] {
        let head = DataHeader { len, transfer: 1, offset: 0 }.encode();
        let (_raw, mut theirs) = opened(&mut stage, &head).await;
        assert!(matches!(receive_header(&mut theirs.link.receiver).await, Err(LinkError::PeerFault(_))), "{len}");
    }
    let head = DataHeader { len: 100, transfer: 1, offset: 0 }.encode();
    let (_raw, mut theirs) = opened(&mut stage, &head[..7]).await;
    assert!(matches!(receive_header(&mut theirs.link.receiver).await, Err(LinkError::Lost(_))));

    let (_raw, mut theirs) = opened(&mut stage, &[&head[..], b"too few"].concat()).await;
    receive_header(&mut theirs.link.receiver).await.unwrap().unwrap();
    let cut = std::future::poll_fn(|cx| theirs.link.receiver.poll_payload(cx)).await.unwrap_err();
    assert!(cut.to_string().contains("in the middle of a data chunk"), "{cut}");

    let (_raw, mut theirs) = opened(&mut stage, b"").await;
    assert!(receive_header(&mut theirs.link.receiver).await.unwrap().is_none());
}
