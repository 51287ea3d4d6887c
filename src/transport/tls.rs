//! TLS 1.3 between keys, not names: both sides show a self-signed certificate, each proves that it holds the key, and the
//! key's hash is the id. Whether that id is welcome is asked elsewhere: by pins when dialling, by rights on every hello. QUIC
//! builds on the same two sides, with resumption (`quic/tls.rs`).

use std::sync::Arc;

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible, ServerConfig,
    SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{
        CryptoProvider,
        ring::{self, cipher_suite},
        verify_tls13_signature,
    },
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::{
        NoServerSessionStorage, ParsedCertificate,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    version::TLS13,
};
use wire::{ALPN_CONTROL, ALPN_DATA, PeerId};

use super::Credentials;

/// An Ed25519 key's SPKI in DER (RFC 8410): this, then the 32 bytes of the key. DER has one encoding, so a comparison
/// of bytes is the whole check.
const ED25519_SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// Length of the whole SPKI.
const ED25519_SPKI_BYTES: usize = 44;

/// Makes ring the process's provider, for libraries that ask for the default. Ours is named explicitly everywhere: a second
/// provider in the dependency tree would make the default ambiguous and rustls panic (DESIGN 15). May be called again.
pub fn install_provider() {
    // An error says that one is installed already, which is what is wanted.
    let _ = ring::default_provider().install_default();
}

/// For a listener: asks for a client certificate, speaks both protocols, keeps no session state (a peer comes back with a
/// whole handshake, so that no ticket outlives a change of rights).
///
/// # Errors
/// When the key and the certificate do not fit rustls.
pub fn server_config(credentials: &Credentials) -> Result<Arc<ServerConfig>, Error> {
    let mut config = server_base(credentials)?;
    config.alpn_protocols = vec![ALPN_CONTROL.to_vec(), ALPN_DATA.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// For a dialler: shows its own certificate, offers the one protocol `alpn`.
///
/// # Errors
/// When the key and the certificate do not fit rustls.
pub fn client_config(credentials: &Credentials, alpn: &[u8]) -> Result<Arc<ClientConfig>, Error> {
    let mut config = client_base(credentials)?;
    config.alpn_protocols = vec![alpn.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// A listener's side of TLS 1.3 between keys; protocols and resumption are still to be said.
pub(super) fn server_base(credentials: &Credentials) -> Result<ServerConfig, Error> {
    ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(Arc::new(KeyVerifier(provider())))
        .with_single_cert(credentials.cert_chain(), credentials.key())
}

/// A dialler's side of it.
pub(super) fn client_base(credentials: &Credentials) -> Result<ClientConfig, Error> {
    ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(KeyVerifier(provider())))
        .with_client_auth_cert(credentials.cert_chain(), credentials.key())
}

/// A dialler that shows this chain of certificates.
#[cfg(test)]
pub(super) fn client_showing(
    chain: Vec<CertificateDer<'static>>,
    key: rustls::pki_types::PrivateKeyDer<'static>,
) -> Result<ClientConfig, Error> {
    ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(KeyVerifier(provider())))
        .with_client_auth_cert(chain, key)
}

/// A dialler that shows no certificate.
#[cfg(test)]
pub(super) fn anonymous_client() -> ClientConfig {
    ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .expect("TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(KeyVerifier(provider())))
        .with_no_client_auth()
}

/// The id of the key in a certificate. Read by the same parser that the signature's check uses, so that the key which signed
/// and the key which is hashed cannot differ.
///
/// # Errors
/// When it is no certificate, or its key is not Ed25519.
pub(super) fn peer_of(certificate: &CertificateDer<'_>) -> Result<PeerId, Error> {
    let spki = ParsedCertificate::try_from(certificate)?.subject_public_key_info();
    if spki.len() != ED25519_SPKI_BYTES || !spki.starts_with(&ED25519_SPKI_PREFIX) {
        return Err(Error::InvalidCertificate(CertificateError::BadEncoding));
    }
    Ok(PeerId::from_spki_der(&spki))
}

/// The id of the other side of a finished handshake.
///
/// # Errors
/// When it showed no certificate or one that [`peer_of`] refuses; the verifier has refused those before.
pub(super) fn peer_of_chain(chain: Option<&[CertificateDer<'_>]>) -> Result<PeerId, Error> {
    peer_of(chain.and_then(<[_]>::first).ok_or(Error::NoCertificatesPresented)?)
}

/// ring, TLS 1.3's suites only, AES-128 first: its 128 bits are what X25519 and Ed25519 offer, and it costs a third less CPU
/// per byte than AES-256.
pub(super) fn provider() -> Arc<CryptoProvider> {
    let mut provider = ring::default_provider();
    provider.cipher_suites = vec![
        cipher_suite::TLS13_AES_128_GCM_SHA256,
        cipher_suite::TLS13_AES_256_GCM_SHA384,
        cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    ];
    Arc::new(provider)
}

/// Takes any certificate whose key is Ed25519 and signed this handshake. Names, dates and issuers are not looked at: the id
/// is the key.
#[derive(Debug)]
struct KeyVerifier(Arc<CryptoProvider>);

impl KeyVerifier {
    fn signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }
}

/// TLS 1.2 is not configured; rustls never gets as far as asking.
fn no_tls12() -> Result<HandshakeSignatureValid, Error> {
    Err(Error::PeerIncompatible(PeerIncompatible::Tls12NotOffered))
}

impl ServerCertVerifier for KeyVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        peer_of(end_entity).map(|_| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

impl ClientCertVerifier for KeyVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        peer_of(end_entity).map(|_| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}
