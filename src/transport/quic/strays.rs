//! Datagrams of nobody: they are answered with nothing or next to nothing, and an operator should see that they come.
//!
//! quinn drops them without a word. So the same is looked at here, before it: the version, and whether a connection id is one that this
//! socket gave to somebody. That is seen by its hash (`HashedConnectionIdGenerator`), without a look at who is there.

use std::{
    fmt,
    hash::{BuildHasher as _, RandomState},
    net::SocketAddr,
    sync::Arc,
};

use actors::port::{Front, LinkFault};
use quinn::EndpointConfig;
use quinn_proto::{ConnectionId, ConnectionIdGenerator as _, DEFAULT_SUPPORTED_VERSIONS, HashedConnectionIdGenerator};

/// Of the ids that we give.
const ID_BYTES: usize = 8;
/// A long header's first byte and version, before the length of its id (RFC 8999).
const LONG_BYTES: usize = 5;

/// One socket's look at them.
pub(super) struct Strays {
    key: u64,
    ids: HashedConnectionIdGenerator,
    front: Arc<dyn Front>,
}

impl fmt::Debug for Strays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Strays").finish_non_exhaustive()
    }
}

impl Strays {
    /// `key` is what connection ids are made with; `None` for another one at each start.
    pub(super) fn new(key: Option<u64>, front: Arc<dyn Front>) -> Self {
        let key = key.unwrap_or_else(|| RandomState::new().hash_one(0));
        Self { key, ids: HashedConnectionIdGenerator::from_key(key), front }
    }

    /// Has an endpoint give ids that are known here. Others are answered with nothing, so that garbage costs nothing.
    pub(super) fn give_ids(&self, config: &mut EndpointConfig) {
        let key = self.key;
        config.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(key)));
    }

    /// Datagrams of `stride` bytes came from `address`, the last of them as long or shorter.
    pub(super) fn received(&self, address: SocketAddr, bytes: &[u8], stride: usize) {
        for datagram in bytes.chunks(stride.max(1)) {
            if let Some(fault) = self.fault(datagram) {
                self.front.fault(address, fault);
            }
        }
    }

    fn fault(&self, datagram: &[u8]) -> Option<LinkFault> {
        let is_ours = |id: Option<&[u8]>| id.is_some_and(|id| self.ids.validate(&ConnectionId::new(id)).is_ok());
        let first = *datagram.first()?;
        if first & 0x80 == 0 {
            return (!is_ours(datagram.get(1..=ID_BYTES))).then_some(LinkFault::Stray);
        }
        let Some((head, rest)) = datagram.split_at_checked(LONG_BYTES) else { return Some(LinkFault::Stray) };
        match u32::from_be_bytes([head[1], head[2], head[3], head[4]]) {
            // An answer to a version that was never asked for.
            0 => Some(LinkFault::Stray),
            version if !DEFAULT_SUPPORTED_VERSIONS.contains(&version) => Some(LinkFault::Version),
            // A handshake that goes on says our id; one that begins says anything (RFC 9000, 17.2).
            _ if first & 0x30 == 0x20 => {
                let id = rest.split_first().filter(|(len, _)| usize::from(**len) == ID_BYTES);
                (!is_ours(id.and_then(|(_, rest)| rest.get(..ID_BYTES)))).then_some(LinkFault::Stray)
            }
            _ => None,
        }
    }
}
