//! Data frames: u32 length, u32 transfer, u64 offset, all big-endian, then payload; and what a plaintext data link begins
//! with.

use crate::{DATA_PAYLOAD_BYTES_MAX, Token, Violation, Ways};

/// Bytes of a data frame before its payload.
pub const DATA_HEADER_BYTES: usize = 16;
/// What a data link begins with, so that a plaintext one can come to the port that otherwise speaks TLS: no TLS record begins
/// with `E`. Its last byte says which ways the link carries; the one for both is as old as the protocol.
const fn magic(ways: Ways) -> [u8; 8] {
    match ways {
        Ways::Both => *b"EVKLDAT1",
        Ways::Down => *b"EVKLDATD",
        Ways::Up => *b"EVKLDATU",
    }
}

/// Bytes of the magic and the token.
pub const DATA_PREFACE_BYTES: usize = magic(Ways::Both).len() + 32;

/// What stands before each payload.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Hash)]
pub struct DataHeader {
    /// Bytes of payload, 1 to [`DATA_PAYLOAD_BYTES_MAX`].
    pub len: u32,
    /// Whose bytes they are; never 0.
    pub transfer: u32,
    /// Where in the file they belong.
    pub offset: u64,
}

impl DataHeader {
    /// As it goes over the wire.
    pub fn encode(&self) -> [u8; DATA_HEADER_BYTES] {
        let mut bytes = [0; DATA_HEADER_BYTES];
        bytes[0..4].copy_from_slice(&self.len.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.transfer.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.offset.to_be_bytes());
        bytes
    }

    /// As it comes from the wire; checked for what holds in every session.
    pub fn decode(bytes: &[u8; DATA_HEADER_BYTES]) -> Result<Self, Violation> {
        let [l0, l1, l2, l3, t0, t1, t2, t3, offset @ ..] = *bytes;
        let header = Self {
            len: u32::from_be_bytes([l0, l1, l2, l3]),
            transfer: u32::from_be_bytes([t0, t1, t2, t3]),
            offset: u64::from_be_bytes(offset),
        };
        header.check()?;
        Ok(header)
    }

    /// Where its payload ends. Saturates, which [`DataHeader::decode`] has ruled out.
    pub fn end(&self) -> u64 {
        self.offset.saturating_add(self.len.into())
    }

    fn check(&self) -> Result<(), Violation> {
        if self.len == 0 || self.len > DATA_PAYLOAD_BYTES_MAX {
            return Err(Violation::DataLength { len: self.len, max: DATA_PAYLOAD_BYTES_MAX });
        }
        if self.transfer == 0 {
            return Err(Violation::BadNumber { what: "transfer", value: 0 });
        }
        if self.offset.checked_add(self.len.into()).is_none() {
            return Err(Violation::BadNumber { what: "offset", value: self.offset });
        }
        Ok(())
    }
}

/// The beginning of a data link: on a plaintext link its first bytes, over TLS the first after the handshake.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct DataPreface {
    /// The ticket from the welcome.
    pub token: Token,
    /// Which ways the link carries: those that the welcome gave the ticket for.
    pub ways: Ways,
}

impl DataPreface {
    /// As it goes over the wire.
    pub fn encode(&self) -> [u8; DATA_PREFACE_BYTES] {
        let mut bytes = [0; DATA_PREFACE_BYTES];
        let magic = magic(self.ways);
        bytes[..magic.len()].copy_from_slice(&magic);
        bytes[magic.len()..].copy_from_slice(self.token.as_bytes());
        bytes
    }

    /// As it comes from the wire.
    pub fn decode(bytes: &[u8; DATA_PREFACE_BYTES]) -> Result<Self, Violation> {
        let (start, token) = bytes.split_at(magic(Ways::Both).len());
        let ways = Ways::ALL.into_iter().find(|ways| start == magic(*ways)).ok_or(Violation::DataMagic)?;
        Ok(Self { token: Token::try_from(token)?, ways })
    }

    /// Whether a link that began with `first` may still turn out to begin with the magic; decided by the first byte already.
    pub fn is_magic_prefix(first: &[u8]) -> bool {
        Ways::ALL.iter().any(|ways| first.iter().zip(magic(*ways)).all(|(a, b)| *a == b))
    }
}
