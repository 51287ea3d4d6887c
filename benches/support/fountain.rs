//! A file that is nowhere: it has a size and zeros, so that the node is measured and not a disk.

use std::sync::{Arc, OnceLock};

use actors::port::{FileError, PortFuture, PrefixHash, Source};
use bytes::Bytes;
use wire::FailureCode;

/// 4 MB/s for 16 s; those of 50 peers, each once whole and once under way, are 6.7 GB in the node's memory.
const BYTES: u64 = 64 << 20;
/// What one read gives at most.
const PIECE_BYTES: usize = 1 << 20;

/// Gives zeros.
pub(crate) struct Fountain;

impl Fountain {
    fn piece() -> Bytes {
        static PIECE: OnceLock<Bytes> = OnceLock::new();
        PIECE.get_or_init(|| Bytes::from(vec![0; PIECE_BYTES])).clone()
    }

    fn whole_hash() -> [u8; 32] {
        static HASH: OnceLock<[u8; 32]> = OnceLock::new();
        *HASH.get_or_init(|| {
            let mut hasher = blake3::Hasher::new();
            for _ in 0..BYTES / PIECE_BYTES as u64 {
                hasher.update(&Self::piece());
            }
            hasher.finalize().into()
        })
    }

    /// For a put.
    pub(crate) fn source() -> Arc<dyn Source> {
        // Not while it is measured.
        Self::whole_hash();
        Arc::new(Self)
    }
}

impl Source for Fountain {
    fn size(&self) -> u64 {
        BYTES
    }

    fn mtime_ns(&self) -> i64 {
        0
    }

    fn read(&self, _: u64, len: u32) -> PortFuture<Result<Bytes, FileError>> {
        let piece = Self::piece();
        Box::pin(async move {
            match len as usize {
                len @ ..=PIECE_BYTES => Ok(piece.slice(..len)),
                len => Ok(Bytes::from(vec![0; len])),
            }
        })
    }

    fn prefix_matches(&self, _: u64, _: PrefixHash) -> PortFuture<Result<bool, FileError>> {
        Box::pin(async { Err(FileError::new(FailureCode::Changed, "nothing is kept")) })
    }

    fn hash(&self) -> PortFuture<Result<[u8; 32], FileError>> {
        Box::pin(async { Ok(Self::whole_hash()) })
    }
}
