//! TLS in front of a QUIC client that lets it believe it has more credit than its server gave: only so can quinn be brought to
//! use what it has not.

use std::{any::Any, sync::Arc};

use quinn::{ConnectError, crypto::rustls::QuicClientConfig};
use quinn_proto::{
    ConnectionId, Side, TransportError,
    coding::Codec as _,
    crypto::{ClientConfig, ExportKeyingMaterialError, HeaderKey, KeyPair, Keys, PacketKey, Session},
    transport_parameters::TransportParameters,
};

/// RFC 9000, 18.2: `initial_max_streams_bidi` and `initial_max_streams_uni`.
const STREAMS: [u8; 2] = [0x08, 0x09];

/// The configuration inside, and how many streams of each kind a connection of it may open whatever the server says.
pub(crate) struct Generous(pub(crate) Arc<QuicClientConfig>, pub(crate) u64);

impl ClientConfig for Generous {
    fn start_session(
        self: Arc<Self>,
        version: u32,
        server_name: &str,
        params: &TransportParameters,
    ) -> Result<Box<dyn Session>, ConnectError> {
        let session = Arc::clone(&self.0).start_session(version, server_name, params)?;
        Ok(Box::new(GenerousSession { session, streams: self.1 }))
    }
}

struct GenerousSession {
    session: Box<dyn Session>,
    streams: u64,
}

/// What the server said, with `streams` in the place of its limits.
fn widened(said: &TransportParameters, streams: u64) -> TransportParameters {
    let mut bytes = Vec::new();
    said.write(&mut bytes);
    let mut wide = Vec::new();
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        let before = rest;
        let id = quinn::VarInt::decode(&mut rest).unwrap().into_inner();
        let len = quinn::VarInt::decode(&mut rest).unwrap().into_inner();
        rest = &rest[usize::try_from(len).unwrap()..];
        if STREAMS.iter().all(|streams| id != u64::from(*streams)) {
            wide.extend_from_slice(&before[..before.len() - rest.len()]);
        }
    }
    let mut limit = Vec::new();
    quinn::VarInt::try_from(streams).unwrap().encode(&mut limit);
    for id in STREAMS {
        wide.extend_from_slice(&[id, limit.len() as u8]);
        wide.extend_from_slice(&limit);
    }
    TransportParameters::read(Side::Client, &mut &wide[..]).unwrap()
}

impl Session for GenerousSession {
    fn transport_parameters(&self) -> Result<Option<TransportParameters>, TransportError> {
        Ok(self.session.transport_parameters()?.map(|said| widened(&said, self.streams)))
    }

    fn initial_keys(&self, dst_cid: &ConnectionId, side: Side) -> Keys {
        self.session.initial_keys(dst_cid, side)
    }

    fn handshake_data(&self) -> Option<Box<dyn Any>> {
        self.session.handshake_data()
    }

    fn peer_identity(&self) -> Option<Box<dyn Any>> {
        self.session.peer_identity()
    }

    fn early_crypto(&self) -> Option<(Box<dyn HeaderKey>, Box<dyn PacketKey>)> {
        self.session.early_crypto()
    }

    fn early_data_accepted(&self) -> Option<bool> {
        self.session.early_data_accepted()
    }

    fn is_handshaking(&self) -> bool {
        self.session.is_handshaking()
    }

    fn read_handshake(&mut self, buf: &[u8]) -> Result<bool, TransportError> {
        self.session.read_handshake(buf)
    }

    fn write_handshake(&mut self, buf: &mut Vec<u8>) -> Option<Keys> {
        self.session.write_handshake(buf)
    }

    fn next_1rtt_keys(&mut self) -> Option<KeyPair<Box<dyn PacketKey>>> {
        self.session.next_1rtt_keys()
    }

    fn is_valid_retry(&self, orig_dst_cid: &ConnectionId, header: &[u8], payload: &[u8]) -> bool {
        self.session.is_valid_retry(orig_dst_cid, header, payload)
    }

    fn export_keying_material(
        &self,
        output: &mut [u8],
        label: &[u8],
        context: &[u8],
    ) -> Result<(), ExportKeyingMaterialError> {
        self.session.export_keying_material(output, label, context)
    }
}
