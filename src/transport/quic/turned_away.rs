//! Newcomers that are not admitted, and what they are told: the first answer closes the connection, with an error that says why.
//!
//! quinn itself refuses with an error and no reason. So here is a TLS that reads no hello and fails with the node's reason: its
//! connection ends with its first packet, before a key is made or anything is kept.

use std::{
    any::Any,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use quinn::{
    ConnectionClose, ConnectionId, Incoming, Side, TransportErrorCode,
    crypto::{self, ExportKeyingMaterialError, HeaderKey, KeyPair, Keys, PacketKey, Session, UnsupportedVersion},
};
use quinn_proto::{TransportError, transport_parameters::TransportParameters};

use super::{super::turned_away, door::Door};

/// Newcomers that are told why, each second: it costs more than to refuse without a word. Beyond, they are refused without.
const TOLD_PER_SECOND_MAX: u64 = 256;

/// How many were told why in the second under way.
#[derive(Default)]
pub(super) struct Told {
    second: AtomicU64,
    count: AtomicU64,
}

impl Told {
    /// Whether one more may be told. Threads that meet at the turn of a second may let a few more through.
    fn may(&self, now_ns: u64) -> bool {
        let second = now_ns / 1_000_000_000;
        if self.second.swap(second, Relaxed) != second {
            self.count.store(0, Relaxed);
        }
        self.count.fetch_add(1, Relaxed) < TOLD_PER_SECOND_MAX
    }
}

/// Ends `incoming` for the front's `reason`.
pub(super) fn tell(told: &Told, incoming: Incoming, door: &Door, reason: &str) {
    match turned_away::alert(reason) {
        Some((code, words)) if told.may(host::monotonic_nanos()) => {
            let mut config = door.config.clone();
            config.crypto = Arc::new(Closed { crypto: config.crypto, code, words });
            // The error is ours.
            let _ = door.accept_with(incoming, config);
        }
        _ => incoming.refuse(),
    }
}

/// What the end of a connection says of the node's reason; `None` when it ended otherwise.
pub(super) fn why(close: &ConnectionClose) -> Option<&'static str> {
    // What an alert becomes in QUIC: RFC 9001, 4.8.
    let code = u64::from(close.error_code).checked_sub(0x100)?;
    turned_away::words(u8::try_from(code).ok()?)
}

/// Makes sessions that end at once.
struct Closed {
    crypto: Arc<dyn crypto::ServerConfig>,
    code: u8,
    words: &'static str,
}

impl crypto::ServerConfig for Closed {
    fn initial_keys(&self, version: u32, dst_cid: &ConnectionId) -> Result<Keys, UnsupportedVersion> {
        self.crypto.initial_keys(version, dst_cid)
    }

    fn retry_tag(&self, version: u32, orig_dst_cid: &ConnectionId, packet: &[u8]) -> [u8; 16] {
        self.crypto.retry_tag(version, orig_dst_cid, packet)
    }

    fn start_session(self: Arc<Self>, version: u32, params: &TransportParameters) -> Box<dyn Session> {
        let inner = Arc::clone(&self.crypto).start_session(version, params);
        Box::new(Ended { inner, closed: self })
    }
}

/// One of them. What is not part of its end is left to the session that it would have been.
struct Ended {
    inner: Box<dyn Session>,
    closed: Arc<Closed>,
}

impl Session for Ended {
    fn read_handshake(&mut self, _: &[u8]) -> Result<bool, TransportError> {
        let Closed { code, words, .. } = *self.closed;
        Err(TransportError { code: TransportErrorCode::crypto(code), frame: None, reason: words.to_owned() })
    }

    fn initial_keys(&self, dst_cid: &ConnectionId, side: Side) -> Keys {
        self.inner.initial_keys(dst_cid, side)
    }

    fn handshake_data(&self) -> Option<Box<dyn Any>> {
        None
    }

    fn peer_identity(&self) -> Option<Box<dyn Any>> {
        None
    }

    fn early_crypto(&self) -> Option<(Box<dyn HeaderKey>, Box<dyn PacketKey>)> {
        None
    }

    fn early_data_accepted(&self) -> Option<bool> {
        None
    }

    fn is_handshaking(&self) -> bool {
        true
    }

    fn transport_parameters(&self) -> Result<Option<TransportParameters>, TransportError> {
        Ok(None)
    }

    fn write_handshake(&mut self, _: &mut Vec<u8>) -> Option<Keys> {
        None
    }

    fn next_1rtt_keys(&mut self) -> Option<KeyPair<Box<dyn PacketKey>>> {
        None
    }

    fn is_valid_retry(&self, _: &ConnectionId, _: &[u8], _: &[u8]) -> bool {
        false
    }

    fn export_keying_material(&self, _: &mut [u8], _: &[u8], _: &[u8]) -> Result<(), ExportKeyingMaterialError> {
        Err(ExportKeyingMaterialError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_are_told_in_each_second() {
        let told = Told::default();
        let in_second = |second: u64| (0..1000).filter(|_| told.may(second * 1_000_000_000 + 5)).count() as u64;
        assert_eq!([in_second(7), in_second(7), in_second(8)], [TOLD_PER_SECOND_MAX, 0, TOLD_PER_SECOND_MAX]);
    }
}
