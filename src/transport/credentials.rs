//! What a node shows in a handshake: its Ed25519 key and a certificate that it signed itself.

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_ED25519};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use wire::PeerId;

use super::tls;

/// The one name in every certificate. Nobody checks it: an id is the hash of the key, never a name.
const SUBJECT: &str = "evenkeel";

/// A key could not be made into credentials.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The bytes are no PKCS#8 document of an Ed25519 key.
    #[error("the key is not an Ed25519 key in PKCS#8: {0}")]
    Key(rcgen::Error),
    /// The certificate could not be made or read back.
    #[error("a certificate for the key could not be made: {0}")]
    Certificate(String),
}

/// A key pair and its certificate. `Debug` hides the key.
#[derive(Debug)]
pub struct Credentials {
    cert_chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    peer_id: PeerId,
}

impl Credentials {
    /// Credentials for a given Ed25519 key (PKCS#8, DER). The certificate is made anew at every start: its only content that
    /// counts is the key.
    ///
    /// # Errors
    /// [`CredentialsError::Key`] when `pkcs8` is no Ed25519 key.
    pub fn generate_from_pkcs8(pkcs8: &[u8]) -> Result<Self, CredentialsError> {
        let document = PrivatePkcs8KeyDer::from(pkcs8.to_vec());
        let pair = KeyPair::from_pkcs8_der_and_sign_algo(&document, &PKCS_ED25519).map_err(CredentialsError::Key)?;
        let failed = |error: rcgen::Error| CredentialsError::Certificate(error.to_string());
        let mut params = CertificateParams::new(vec![SUBJECT.to_owned()]).map_err(failed)?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, SUBJECT);
        let certificate = params.self_signed(&pair).map_err(failed)?.der().clone();
        let peer_id = tls::peer_of(&certificate).map_err(|error| CredentialsError::Certificate(error.to_string()))?;
        Ok(Self { cert_chain: vec![certificate], key: document.into(), peer_id })
    }

    /// The id that the other side of a handshake will see.
    pub fn peer_id(&self) -> PeerId {
        self.peer_id
    }

    /// The same with so many bytes beside the certificate.
    #[cfg(test)]
    pub(super) fn beside(mut self, bytes: usize) -> Self {
        self.cert_chain.push(CertificateDer::from(vec![0; bytes]));
        self
    }

    /// The certificate, alone in its chain.
    pub(super) fn cert_chain(&self) -> Vec<CertificateDer<'static>> {
        self.cert_chain.clone()
    }

    /// The private key.
    pub(super) fn key(&self) -> PrivateKeyDer<'static> {
        self.key.clone_key()
    }
}

impl Clone for Credentials {
    fn clone(&self) -> Self {
        Self { cert_chain: self.cert_chain(), key: self.key(), peer_id: self.peer_id }
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{PKCS_ECDSA_P256_SHA256, PublicKeyData as _};

    use super::*;

    #[test]
    fn the_id_is_the_hash_of_the_public_key() {
        let pair = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let credentials = Credentials::generate_from_pkcs8(&pair.serialize_der()).unwrap();
        let expected = PeerId::from_spki_der(&pair.subject_public_key_info());
        assert_eq!(credentials.peer_id(), expected);
        let again = Credentials::generate_from_pkcs8(&pair.serialize_der()).unwrap();
        assert_eq!(again.peer_id(), expected);
        let shown = format!("{credentials:?}");
        assert!(!shown.contains(&format!("{:?}", &pair.serialize_der()[..4])), "{shown}");
    }

    #[test]
    fn only_ed25519_keys_are_taken() {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        assert!(matches!(Credentials::generate_from_pkcs8(&pair.serialize_der()), Err(CredentialsError::Key(_))));
        assert!(matches!(Credentials::generate_from_pkcs8(b"nonsense"), Err(CredentialsError::Key(_))));
    }
}
