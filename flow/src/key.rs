//! Plain numbers that name the nodes of the tree inside one running node.

/// One transfer in one direction. Unique for the life of the node, never reused.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct LeafKey(pub u64);

/// One peer identity during one run of the node; all its sessions share it.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct PeerKey(pub u64);

/// One group of the configuration.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct GroupKey(pub u32);

impl GroupKey {
    /// The group of transfers that no rule matches: uncapped, weight 1.
    pub const DEFAULT: Self = Self(0);
}
