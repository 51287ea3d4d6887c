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

/// Types of long headers (RFC 9000, 17.2).
const INITIAL: u8 = 0x00;
const HANDSHAKE: u8 = 0x20;
const RETRY: u8 = 0x30;
/// The smallest datagram that begins a handshake (14.1).
const FIRST_BYTES: usize = 1200;

/// Whether a handshake may begin to an id of such a length (7.2, 17.2).
fn is_first_id(id: &[u8]) -> bool {
    (8..=20).contains(&id.len())
}

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
        // Of no other length: an id's type takes none that is longer, and its check none that is much shorter.
        let is_ours = |id: Option<&[u8]>| {
            id.is_some_and(|id| id.len() == ID_BYTES && self.ids.validate(&ConnectionId::new(id)).is_ok())
        };
        let first = *datagram.first()?;
        if first & 0x80 == 0 {
            return (!is_ours(datagram.get(1..=ID_BYTES))).then_some(LinkFault::Stray);
        }
        let Some((head, rest)) = datagram.split_at_checked(LONG_BYTES) else { return Some(LinkFault::Stray) };
        let id = rest.split_first().and_then(|(len, rest)| rest.get(..usize::from(*len)));
        let is_stray = match u32::from_be_bytes([head[1], head[2], head[3], head[4]]) {
            // An answer to a version that was never asked for.
            0 => true,
            version if !DEFAULT_SUPPORTED_VERSIONS.contains(&version) => return Some(LinkFault::Version),
            _ => match first & 0x30 {
                INITIAL => !is_ours(id) && (datagram.len() < FIRST_BYTES || !id.is_some_and(is_first_id)),
                HANDSHAKE => !is_ours(id),
                // What a node says, and nobody says to one.
                RETRY => true,
                // Early data goes to the id that its handshake begins with.
                _ => false,
            },
        };
        is_stray.then_some(LinkFault::Stray)
    }
}
