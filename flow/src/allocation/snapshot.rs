//! What the allocator is told: one direction's tree in one round.

use crate::{Class, GroupKey, LeafKey, LimiterShares, PeerKey, Rate};

/// The constants of the rule. Configuration keys of the same names.
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct Knobs {
    /// Share of a limit that counts as reaching it, and share of the line that is used at most (seed 003: 97 %).
    pub threshold: f64,
    /// Part of a difference that one round takes away (seed 003: 15 %).
    pub damping: f64,
    /// Part of every limit that background transfers may have while foreground transfers want all of it; 0 is strict.
    pub background_floor: f64,
    /// Assigned above use to a leaf that is not short of tokens, so that it can grow within a round.
    pub headroom: f64,
}

impl Default for Knobs {
    fn default() -> Self {
        Self { threshold: 0.97, damping: 0.15, background_floor: 0.02, headroom: 0.15 }
    }
}

/// One direction's tree in one round.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Allowed total, in force for the next round; [`Rate::UNLIMITED`] gates nothing.
    pub total: Rate,
    /// Groups that may have leaves.
    pub groups: Vec<GroupInput>,
    /// Peers that may have leaves.
    pub peers: Vec<PeerInput>,
    /// Live transfers of this direction.
    pub leaves: Vec<LeafInput>,
}

/// A group.
#[derive(Clone, Debug)]
pub struct GroupInput {
    /// Which.
    pub key: GroupKey,
    /// Share in proportion among groups.
    pub weight: f64,
    /// Never above.
    pub cap: Rate,
    /// Bytes per second, guaranteed while it has something to send.
    pub floor: u64,
}

/// A peer: one identity, all its sessions, in all groups.
#[derive(Clone, Debug)]
pub struct PeerInput {
    /// Which.
    pub key: PeerKey,
    /// Share in proportion among the peers of a group.
    pub weight: f64,
    /// Never above, from the operator; over the sum of the peer's transfers.
    pub cap: Rate,
    /// Never above, from the peer's own wish; over the sum of the peer's transfers.
    pub negotiated: Rate,
    /// Bytes per second, guaranteed while it has something to send.
    pub floor: u64,
}

/// A transfer and how its last round went.
#[derive(Clone, Debug)]
pub struct LeafInput {
    /// Which.
    pub key: LeafKey,
    /// Whose.
    pub peer: PeerKey,
    /// The group whose rule matched it.
    pub group: GroupKey,
    /// Share in proportion among the transfers of its peer: the proportions that the receiver asked for.
    pub weight: f64,
    /// Never above.
    pub cap: Rate,
    /// Bytes per second, guaranteed while it has something to send.
    pub floor: u64,
    /// How urgent.
    pub class: Class,
    /// Bytes per second in the last round.
    pub achieved: f64,
    /// What held it in the last round.
    pub limited: LimiterShares,
    /// [`crate::allocation::LeafPlan::demand`] of the round before; 0 for a new leaf.
    pub demand_before: f64,
    /// `achieved` is of a time in which it was permitted all of `demand_before`: that was not raised within it.
    pub is_settled: bool,
    /// Has something to send now.
    pub backlogged: bool,
}
