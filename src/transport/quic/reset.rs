//! What a node that was started anew says to those whose sessions it has forgotten: a stateless reset (RFC 9000, 10.3).
//!
//! Without it a peer learns only from silence that a node was killed, since for UDP no kernel says so. The keys come from the
//! node's own, so that they are the same after a start, and are told by no connection.

use std::sync::Arc;

use quinn::{
    EndpointConfig,
    crypto::{CryptoError, HmacKey},
};

use super::super::Credentials;

/// For the derivation of keys that are used for nothing else.
const CONTEXT: &str = "evenkeel 2026-11 QUIC stateless reset of a control socket";

/// Of a node's control socket on `port`. No other socket may have the same: it would reset what this one serves, for whoever
/// sends it a connection id that he has seen (RFC 9000, 21.11). So data sockets, whose ports are new at each start, have none.
/// Beside it, the key of its connection ids: they are known after a start as well.
pub(super) fn endpoint_config(credentials: &Credentials, port: u16) -> (EndpointConfig, u64) {
    let mut derivation = blake3::Hasher::new_derive_key(CONTEXT);
    derivation.update(credentials.key().secret_der()).update(&port.to_be_bytes());
    let (mut tokens, mut ids) = ([0; 32], [0; 8]);
    let mut keys = derivation.finalize_xof();
    keys.fill(&mut tokens);
    keys.fill(&mut ids);
    (EndpointConfig::new(Arc::new(TokenKey(tokens))), u64::from_be_bytes(ids))
}

struct TokenKey([u8; 32]);

impl HmacKey for TokenKey {
    fn sign(&self, data: &[u8], signature: &mut [u8]) {
        signature.copy_from_slice(blake3::keyed_hash(&self.0, data).as_bytes());
    }

    fn signature_len(&self) -> usize {
        blake3::OUT_LEN
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        let signature: [u8; blake3::OUT_LEN] = signature.try_into().map_err(|_| CryptoError)?;
        // Compared in constant time.
        if blake3::keyed_hash(&self.0, data) == signature { Ok(()) } else { Err(CryptoError) }
    }
}
