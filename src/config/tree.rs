//! The sections that may be many: shares, group rules, peers. They are the branches of the tree total > group > peer.

use std::{net::IpAddr, path::PathBuf};

use flow::{Class, Rate};
use wire::PeerId;

use super::AddressRange;

/// `[[share]]`: a directory that peers see under a name.
#[derive(Clone, Debug, PartialEq)]
pub struct Share {
    /// The first part of `SHARE/PATH`.
    pub name: String,
    /// The directory.
    pub path: PathBuf,
    /// Whether peers with the right `write` may put files there.
    pub writable: bool,
    /// Whether fronts without identities may read it.
    pub public: bool,
}

/// One direction's limits of a node of the tree.
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct Bounds {
    /// Never above.
    pub cap: Rate,
    /// Guaranteed while there is something to send, in bytes per second; 0 = nothing.
    pub floor_bytes_per_second: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { cap: Rate::UNLIMITED, floor_bytes_per_second: 0 }
    }
}

/// What an operator may set on a group or a peer.
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct Standing {
    /// Node to peers.
    pub upload: Bounds,
    /// Peers to node.
    pub download: Bounds,
    /// Share in proportion, 0.001 ..= 1000.
    pub weight: f64,
    /// `None` = what the peer asks for.
    pub class: Option<Class>,
}

impl Default for Standing {
    fn default() -> Self {
        Self { upload: Bounds::default(), download: Bounds::default(), weight: 1.0, class: None }
    }
}

/// `[[group]]`: peers that share a limit. The first rule that matches a transfer wins; what no rule matches is in the
/// group `default`, which has no limits.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// For the API and the metrics.
    pub name: String,
    /// Transfers of these shares; empty = of any.
    pub shares: Vec<String>,
    /// Of these peers; empty = of any.
    pub peers: Vec<PeerId>,
    /// From these addresses; empty = from any.
    pub addresses: Vec<AddressRange>,
    /// Its limits.
    pub standing: Standing,
}

impl Group {
    /// Whether a transfer belongs to this group: each kind of condition that the rule has must hold. `None` where no address
    /// is given and it depends on that.
    pub fn takes(&self, share: &str, peer: &PeerId, address: Option<IpAddr>) -> Option<bool> {
        let share_holds = self.shares.is_empty() || self.shares.iter().any(|name| name == share);
        let peer_holds = self.peers.is_empty() || self.peers.contains(peer);
        if !share_holds || !peer_holds {
            return Some(false);
        }
        if self.addresses.is_empty() {
            return Some(true);
        }
        address.map(|address| self.addresses.iter().any(|range| range.contains(address)))
    }
}

/// `[[peer]]`: what is set for one identity.
#[derive(Clone, Debug, PartialEq)]
pub struct Peer {
    /// Who.
    pub id: PeerId,
    /// Its limits, over all its groups.
    pub standing: Standing,
}
