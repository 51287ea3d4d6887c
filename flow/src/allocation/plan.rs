//! The allocator's answer.

use super::{
    Snapshot,
    level::{Held, Level, fair_rates},
    needs::{Capacities, Needs},
    pass::Pass,
    reason::{Reason, Reasons},
    tree::{Leaf, Tree},
};
use crate::{Binding, Class, GroupKey, LeafKey, PeerKey, Rate};

/// What everybody gets in the next round, and why.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Allowed total.
    pub total: Rate,
    /// In the order of the snapshot.
    pub groups: Vec<GroupPlan>,
    /// In the order of the snapshot.
    pub peers: Vec<PeerPlan>,
    /// In the order of the snapshot.
    pub leaves: Vec<LeafPlan>,
    /// When the floors did not fit under a cap: the part of them that the worst placed got.
    pub floors_scaled: Option<f64>,
}

/// A transfer's part of the plan.
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct LeafPlan {
    /// Which.
    pub key: LeafKey,
    /// Whose.
    pub peer: PeerKey,
    /// Where.
    pub group: GroupKey,
    /// Guaranteed. [`Rate::ZERO`] when idle, [`Rate::UNLIMITED`] when nothing gates it.
    pub assigned: Rate,
    /// The least cap on the path to the root: as far as siblings may lend.
    pub ceiling: Rate,
    /// Bytes per second that it is known to use, for [`super::LeafInput::demand_before`] of the next round.
    pub demand: f64,
    /// The one rule that holds it.
    pub binding: Binding,
    /// The rate it would have if that rule alone were lifted.
    pub if_lifted: Rate,
    /// Within its peer, for lending.
    pub weight: f64,
    /// How urgent, for lending.
    pub class: Class,
}

/// A peer's part of the plan, over all its groups.
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct PeerPlan {
    /// Which.
    pub key: PeerKey,
    /// Sum of its transfers'.
    pub assigned: Rate,
    /// The least cap on the path to the root. What is told to the peer as granted.
    pub ceiling: Rate,
    /// That of the transfer that wants most more; [`Binding::Source`] without transfers.
    pub binding: Binding,
    /// The peer's rate if the rule that holds that transfer were lifted for it.
    pub if_lifted: Rate,
}

/// A group's part of the plan.
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct GroupPlan {
    /// Which.
    pub key: GroupKey,
    /// Sum of its transfers'.
    pub assigned: Rate,
    /// The lesser of its cap and the total.
    pub ceiling: Rate,
    /// The level to which it fills, in bytes per second for one unit of a peer's weight: what one more peer would be assigned, nearly.
    /// Of those whom the group or the total holds, the one that has least for its weight: others have more by their floors. Where nobody
    /// is held so, the most that anybody has; where nobody is, what the group would have by its weight among the others.
    pub fair_rate: f64,
}

/// Turns amounts into rates. Leaves are rounded down to whole bytes, so that the sums, which are made of the rounded ones,
/// conserve exactly.
pub(super) fn assemble(
    snapshot: &Snapshot,
    tree: &Tree,
    limits: &Capacities,
    needs: &Needs,
    passes: [&Pass; 2],
) -> Plan {
    let mut plan = blank(snapshot, tree, limits);
    let mut reasons = Reasons::new(tree, needs, limits, passes);
    let mut levels = vec![Level::default(); tree.groups.len()];
    for peer in &tree.peers {
        let mut sum = Rate::ZERO;
        let mut ceiling = Rate::ZERO;
        let mut foremost: Option<(f64, Reason, f64)> = None;
        for index in peer.nodes.clone() {
            let node = &tree.nodes[index];
            let group = &tree.groups[node.group];
            let node_ceiling = snapshot.total.min(peer.limit()).min(group.cap);
            ceiling = ceiling.saturating_add(node_ceiling);
            let level = &mut levels[node.group];
            let (mut here, mut held) = (0.0, Held::Itself);
            for position in node.leaves.clone() {
                let leaf = &tree.leaves[position];
                let amount = passes[leaf.class as usize].leaf_amounts[position];
                let reason = reasons.of(index, position);
                let missing = leaf.claim.demand - amount;
                // Without anything missing, the largest stands for the peer: below any that misses something.
                let rank = if missing > 0.0 { missing } else { amount - f64::MAX };
                if foremost.is_none_or(|(best, ..)| rank > best) {
                    foremost = Some((rank, reason, amount));
                }
                let out = &mut plan.leaves[leaf.input as usize];
                fill(out, leaf, amount, node_ceiling, reason);
                sum = sum.saturating_add(out.assigned);
                if out.class == Class::Foreground && !out.assigned.is_unlimited() {
                    here += out.assigned.as_f64();
                    held = match (out.binding, held) {
                        (Binding::Total, _) | (_, Held::Total) => Held::Total,
                        (Binding::Group, _) => Held::Group,
                        (_, held) => held,
                    };
                }
                if let Some(input) = group.input {
                    let assigned = &mut plan.groups[input as usize].assigned;
                    *assigned = assigned.saturating_add(out.assigned);
                }
            }
            level.note(here, peer.weight, held);
        }
        let Some(out) = peer.input.map(|input| &mut plan.peers[input as usize]) else { continue };
        out.assigned = sum;
        if let Some((_, reason, amount)) = foremost {
            out.binding = reason.binding;
            out.ceiling = out.ceiling.min(ceiling);
            let others = (sum.as_f64() - amount).max(0.0);
            out.if_lifted = rate(reason.if_lifted + others).min(reason.ceiling_if_lifted(out.ceiling)).max(sum);
        }
    }
    let groups: Vec<_> = levels.into_iter().zip(tree.groups.iter().map(|group| group.weight)).collect();
    for (group, fair_rate) in tree.groups.iter().zip(fair_rates(&groups)) {
        if let Some(input) = group.input {
            plan.groups[input as usize].fair_rate = fair_rate;
        }
    }
    let scale = passes.iter().fold(needs.floors_scale, |scale, pass| scale.min(pass.floors_scale));
    plan.floors_scaled = (scale < 1.0).then_some(scale);
    plan
}

/// Puts into a leaf's blank plan what it gets, and why.
fn fill(out: &mut LeafPlan, leaf: &Leaf, amount: f64, node_ceiling: Rate, reason: Reason) {
    out.ceiling = out.ceiling.min(node_ceiling);
    // Where nothing limits, nothing is gated, also not whoever sleeps: it must not wait when it wakes.
    out.assigned = if out.ceiling.is_unlimited() { Rate::UNLIMITED } else { rate(amount) };
    // A hungry leaf is known to use what it gets and no more is known: its demand falls from there.
    out.demand = if leaf.hungry && amount.is_finite() { amount.max(1.0) } else { leaf.shown };
    out.binding = reason.binding;
    out.if_lifted = rate(reason.if_lifted).max(out.assigned);
    out.weight = leaf.claim.weight;
}

/// A plan in which nobody has anything, under nothing but his own cap and the total.
fn blank(snapshot: &Snapshot, tree: &Tree, limits: &Capacities) -> Plan {
    debug_assert_eq!(tree.leaves.len(), snapshot.leaves.len());
    debug_assert_eq!(tree.peers.len(), limits.peers.len());
    Plan {
        total: snapshot.total,
        groups: snapshot
            .groups
            .iter()
            .map(|group| GroupPlan {
                key: group.key,
                assigned: Rate::ZERO,
                ceiling: group.cap.min(snapshot.total),
                fair_rate: 0.0,
            })
            .collect(),
        peers: snapshot
            .peers
            .iter()
            .map(|peer| {
                let ceiling = peer.cap.min(peer.negotiated).min(snapshot.total);
                let assigned = Rate::ZERO;
                PeerPlan { key: peer.key, assigned, ceiling, binding: Binding::Source, if_lifted: ceiling }
            })
            .collect(),
        leaves: snapshot
            .leaves
            .iter()
            .map(|leaf| LeafPlan {
                key: leaf.key,
                peer: leaf.peer,
                group: leaf.group,
                assigned: Rate::ZERO,
                ceiling: leaf.cap,
                demand: 0.0,
                binding: Binding::Source,
                if_lifted: Rate::ZERO,
                weight: 1.0,
                class: leaf.class,
            })
            .collect(),
        floors_scaled: None,
    }
}

/// Rounded down, but not for the sake of an error in the last digits.
fn rate(amount: f64) -> Rate {
    Rate::from_f64_down(amount + 1e-6 + amount * 1e-14)
}
