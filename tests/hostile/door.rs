//! Before there is a session: wrong magic, wrong TLS, silence, and crowds.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::ring,
    pki_types::{CertificateDer, ServerName, UnixTime},
    version::TLS13,
};
use socket2::{Domain, Socket, Type};
use wire::{ALPN_CONTROL, RefusalCode, Welcome};

use crate::{
    foe::{Foe, PATIENCE},
    line::{shake, tcp},
    stage::{Counts, Neighbour, connections_fall_to, node, serves_on},
};

const ALERT_PROTOCOL_VERSION: u8 = 70;
const ALERT_CERTIFICATE_REQUIRED: u8 = 116;
const ALERT_NO_APPLICATION_PROTOCOL: u8 = 120;

#[test]
fn what_is_not_our_tls_is_closed_and_counted() {
    let server = node("");
    let counts = Counts::of(&server);
    let neighbour = Neighbour::getting(&server);
    let peers: SocketAddr = server.peers.parse().unwrap();

    for start in
        ["GET / HTTP/1.1\r\nHost: x\r\n\r\n".as_bytes(), &[0; 100], &[0xff; 5000], b"EVKLDATA", b"SSH-2.0-x\r\n"]
    {
        counts.refused("magic", 1, || assert_eq!(closed_with(peers, start), Vec::<u8>::new()));
    }
    counts.refused("tls", 1, || drop(closed_with(peers, b"\x16\x03\x01\x00\x05hello")));
    counts.refused("tls", 1, || drop(closed_with(peers, b"\x16\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")));
    // A plaintext data link where data is encrypted.
    let preface = wire::DataPreface { token: wire::Token::from_bytes([1; 32]), ways: wire::Ways::Both }.encode();
    counts.refused("plaintext", 1, || assert_eq!(closed_with(peers, &preface), Vec::<u8>::new()));
    counts.refused("lost", 1, || drop(tcp(peers)));

    let alert = |bytes: Vec<u8>| (bytes[0], bytes[bytes.len() - 1]);
    counts.refused("tls", 1, || {
        assert_eq!(alert(closed_with(peers, &tls12_hello())), (0x15, ALERT_PROTOCOL_VERSION));
    });
    counts.refused("tls", 1, || {
        let told = refused_by_alert(peers, &[b"h2", b"http/1.1"]);
        assert!(told.contains(&alert_name(ALERT_NO_APPLICATION_PROTOCOL)), "{told}");
    });
    counts.refused("tls", 1, || {
        let told = refused_by_alert(peers, &[ALPN_CONTROL]);
        assert!(told.contains(&alert_name(ALERT_CERTIFICATE_REQUIRED)), "{told}");
    });
    serves_on(&server);
    neighbour.was_undisturbed();
}

#[test]
fn silence_ends_with_the_handshake_time() {
    let server = node("");
    let counts = Counts::of(&server);
    let neighbour = Neighbour::getting(&server);
    let foe = Foe::stranger(&server);

    // Nothing at all, half of a TLS record, a data link without a token.
    counts.refused("handshake_timeout", 1, || {
        assert_eq!(closed_with(server.peers.parse().unwrap(), b""), Vec::<u8>::new());
    });
    counts.refused("handshake_timeout", 1, || drop(closed_with(server.peers.parse().unwrap(), &tls12_hello()[..40])));
    counts.refused("handshake_timeout", 1, || {
        assert!(
            foe.data_silent(&Welcome { data_route: "w0".into(), ..Welcome::default() })
                .unwrap()
                .is_closed_within(PATIENCE)
        );
    });
    // A hello that never comes is told so, since there is a link to say it on.
    counts.refused("timeout", 1, || {
        let refusal = foe.control().expect_refusal();
        assert_eq!((refusal.code(), refusal.message.as_str()), (RefusalCode::Timeout, "the handshake took too long"));
    });
    serves_on(&server);
    neighbour.was_undisturbed();
}

#[test]
fn five_hundred_half_open_connections_go_with_the_handshake_time() {
    let server = node("");
    let counts = Counts::of(&server);
    let neighbour = Neighbour::getting(&server);
    let before = server.metric("evenkeel_connections", &[]);
    counts.refused("handshake_timeout", 400, || {
        let crowd: Vec<TcpStream> = (0..500)
            .map(|index| {
                let mut stream = tcp(server.peers.parse().unwrap());
                // Some say nothing, some begin.
                let _ = stream.write_all(&tls12_hello()[..index % 10]);
                stream
            })
            .collect();
        serves_on(&server);
        for mut stream in crowd {
            let _ = stream.read_to_end(&mut Vec::new());
        }
    });
    connections_fall_to(&server, before, 10);
    serves_on(&server);
    neighbour.was_undisturbed();
}

#[test]
fn one_address_does_not_take_all_places() {
    let server = node("per_address_max = 20\n");
    let counts = Counts::of(&server);
    let neighbour = Neighbour::getting(&server);
    let before = server.metric("evenkeel_connections", &[]);
    let peers: SocketAddr = server.peers.parse().unwrap();
    counts.refused("per_address", 180, || {
        let crowd: Vec<Socket> = (0..200)
            .map(|_| {
                let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
                socket.bind(&"127.0.0.9:0".parse::<SocketAddr>().unwrap().into()).unwrap();
                socket.connect(&peers.into()).unwrap();
                socket
            })
            .collect();
        assert!(server.metric("evenkeel_connections", &[]) <= before + 20.0);
        // Other addresses have theirs.
        serves_on(&server);
        drop(crowd);
    });
    connections_fall_to(&server, before, 10);
    neighbour.was_undisturbed();
}

/// Sends `start` and reads to the end: what the node said before it closed.
#[track_caller]
fn closed_with(peers: SocketAddr, start: &[u8]) -> Vec<u8> {
    let mut stream = tcp(peers);
    let _ = stream.write_all(start);
    let mut told = Vec::new();
    if let Err(error) = stream.read_to_end(&mut told) {
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "the node does not close: {error}");
    }
    told
}

/// A handshake without a certificate, to its bad end: the words of the alert.
fn refused_by_alert(peers: SocketAddr, protocols: &[&[u8]]) -> String {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let mut config = builder
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody))
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    let ended = shake(Arc::new(config), "evenkeel", tcp(peers)).and_then(|mut tls| tls.read(&mut [0; 1]));
    ended.expect_err("no session without a certificate").to_string()
}

/// How rustls writes an alert.
fn alert_name(code: u8) -> String {
    format!("{:?}", rustls::AlertDescription::from(code))
}

/// A ClientHello of TLS 1.2, without the extension that would offer 1.3 (RFC 5246, 7.4.1.2).
fn tls12_hello() -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([7; 32]); // random
    body.push(0); // session id
    body.extend([0, 2, 0xc0, 0x2b]); // TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
    body.extend([1, 0]); // compression: none
    let extensions: &[&[u8]] = &[
        &[0, 10, 0, 4, 0, 2, 0, 29], // groups: x25519
        &[0, 13, 0, 4, 0, 2, 8, 7],  // signatures: ed25519
        &[0, 11, 0, 2, 1, 0],        // point formats
    ];
    let extensions = extensions.concat();
    body.extend(u16::try_from(extensions.len()).unwrap().to_be_bytes());
    body.extend(extensions);
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    let handshake = [&[1], &length[1..], &body].concat();
    let length = u16::try_from(handshake.len()).unwrap().to_be_bytes();
    [&[0x16, 3, 1], &length[..], &handshake].concat()
}

/// Takes any server: this client is not the one to be protected.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::InvalidCertificate(CertificateError::BadEncoding))
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}
