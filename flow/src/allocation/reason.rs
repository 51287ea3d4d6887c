//! Why a leaf has its rate, and the rate it would have if that one rule were lifted.
//!
//! The answer to the second question is not an estimate: the leaf's changed demand goes up the tree and the changed amount
//! comes down again, at every node with that one child replaced and all others as they are.

use super::{
    curve::{Claim, Curve, Level},
    needs::{Capacities, Needs},
    pass::Pass,
    tree::{Leaf, Tree},
};
use crate::{Binding, Class, Limiter, Rate};

/// Part of a limit that may be missing through rounding when it is used up.
const ROUNDING: f64 = 1e-9;

/// The rule that holds a leaf.
#[derive(Copy, Clone, Debug)]
pub(super) struct Reason {
    pub(super) binding: Binding,
    /// Bytes per second.
    pub(super) if_lifted: f64,
    /// What the peer could then have at most.
    lifted: Lift,
}

impl Reason {
    /// The ceiling of the peer without the rule; that with it when the rule is no part of it.
    pub(super) fn ceiling_if_lifted(&self, ceiling: Rate) -> Rate {
        match self.lifted {
            Lift::Nothing => ceiling,
            Lift::Total | Lift::Group | Lift::Peer(_) => Rate::UNLIMITED,
        }
    }
}

/// A limit that is taken away above a leaf.
#[derive(Copy, Clone, Debug, PartialEq)]
enum Lift {
    Nothing,
    /// The node's limit becomes the other of its two.
    Peer(f64),
    Group,
    Total,
}

/// Answers for every leaf of one plan.
pub(super) struct Reasons<'a> {
    tree: &'a Tree,
    needs: &'a Needs,
    limits: &'a Capacities,
    passes: [&'a Pass; 2],
    /// Per class and group: the level without the total, and without the group's cap.
    without: [Vec<(Level, Level)>; 2],
    /// The curve of the leaves of `cached`, a node and class.
    curve: Curve,
    cached: Option<(usize, Class)>,
}

impl<'a> Reasons<'a> {
    pub(super) fn new(tree: &'a Tree, needs: &'a Needs, limits: &'a Capacities, passes: [&'a Pass; 2]) -> Self {
        let without = passes.map(|pass| {
            let groups = if pass.present { tree.groups.len() } else { 0 };
            (0..groups)
                .map(|group| {
                    let curve = &pass.group_curves[group];
                    let total = curve.level(pass.group_claims[group].demand);
                    (total, curve.level(pass.group_amount(group, pass.group_wants[group], Lift::Group)))
                })
                .collect()
        });
        Self { tree, needs, limits, passes, without, curve: Curve::default(), cached: None }
    }

    /// Why the leaf at `position`, in node `index`, has its amount.
    pub(super) fn of(&mut self, index: usize, position: usize) -> Reason {
        let leaf = &self.tree.leaves[position];
        let pass = self.passes[leaf.class as usize];
        let amount = pass.leaf_amounts[position];
        let demand = leaf.claim.demand;
        let satisfied = amount >= demand * (1.0 - ROUNDING);
        if leaf.hungry && demand.is_infinite() && amount.is_infinite() {
            return Reason { binding: Binding::Unlimited, if_lifted: amount, lifted: Lift::Nothing };
        }
        if leaf.hungry && satisfied {
            let if_lifted = self.if_wanting_more(index, leaf, f64::INFINITY);
            return Reason { binding: Binding::TransferCap, if_lifted, lifted: Lift::Nothing };
        }
        // It has all that it uses, if not all of the headroom, nor all that it used before: not the tree holds it.
        let has_what_it_uses = !leaf.hungry && (satisfied || amount >= leaf.used * (1.0 - ROUNDING));
        if has_what_it_uses {
            let asked = (!satisfied && keeps_to_its_wish(leaf.limiter)).then(|| self.held_by_tree(index, leaf, amount));
            let asked = asked.filter(|reason| reason.binding == Binding::Negotiated);
            return asked.unwrap_or_else(|| self.held_by_itself(index, leaf, amount));
        }
        self.held_by_tree(index, leaf, amount)
    }

    /// Held by what the leaf itself waited for.
    fn held_by_itself(&mut self, index: usize, leaf: &Leaf, amount: f64) -> Reason {
        let if_lifted = self.if_wanting_more(index, leaf, leaf.cap).max(amount);
        Reason { binding: leaf.limiter.binding().unwrap_or(Binding::Source), if_lifted, lifted: Lift::Nothing }
    }

    /// Held by the lowest node above that is used up: lifting one farther up would change nothing.
    fn held_by_tree(&mut self, index: usize, leaf: &Leaf, amount: f64) -> Reason {
        let node = &self.tree.nodes[index];
        let peer = &self.tree.peers[node.peer];
        let pass = self.passes[leaf.class as usize];
        let used_up = |amount: f64, cap: f64| cap.is_finite() && amount >= cap * (1.0 - ROUNDING);

        let (binding, lift) = if used_up(pass.node_amounts[index], pass.node_caps[index]) {
            let limit = peer.limit().as_f64();
            let (binding, other) = if peer.cap <= peer.negotiated {
                (Binding::PeerCap, peer.negotiated)
            } else {
                (Binding::Negotiated, peer.cap)
            };
            let more = if other.is_unlimited() { f64::INFINITY } else { other.as_f64() - limit };
            (binding, Lift::Peer(pass.node_caps[index] + more))
        } else if used_up(pass.group_amounts[node.group], pass.limits.groups[node.group]) {
            (Binding::Group, Lift::Group)
        } else {
            (Binding::Total, Lift::Total)
        };
        if leaf.class == Class::Background && self.foreground_below(index, lift) > 0.0 {
            let if_lifted = self.if_foreground(index, leaf);
            // Where foreground wants little, there is no more to be had by being one of them.
            if if_lifted > amount * (1.0 + ROUNDING) {
                return Reason { binding: Binding::BackgroundYield, if_lifted, lifted: Lift::Nothing };
            }
        }
        let if_lifted = self.if_without(index, leaf, lift);
        Reason { binding, if_lifted, lifted: lift }
    }

    /// What foreground has of the limit, which is above node `index`.
    fn foreground_below(&self, index: usize, limit: Lift) -> f64 {
        let foreground = self.passes[Class::Foreground as usize];
        let node = &self.tree.nodes[index];
        match limit {
            Lift::Nothing => 0.0,
            Lift::Peer(_) => foreground.node_amounts[self.tree.peers[node.peer].nodes.clone()].iter().sum(),
            Lift::Group => foreground.group_amounts[node.group],
            Lift::Total => foreground.group_amounts.iter().sum(),
        }
    }

    /// The leaf's amount without a limit above it.
    fn if_without(&mut self, index: usize, leaf: &Leaf, lift: Lift) -> f64 {
        let pass = self.passes[leaf.class as usize];
        let group = self.tree.nodes[index].group;
        let claim = &pass.node_claims[index];
        let amount = match lift {
            Lift::Nothing => pass.node_amounts[index],
            Lift::Total => self.without[leaf.class as usize][group].0.share(claim),
            Lift::Group => self.without[leaf.class as usize][group].1.share(claim),
            Lift::Peer(cap) => {
                let demand = self.needs.node_wants[index][leaf.class as usize].min(cap);
                pass.node_amount(group, claim, demand)
            }
        };
        self.node_curve(index, leaf.class).level(amount).share(&leaf.claim)
    }

    /// The leaf's amount if it wanted `demand`.
    fn if_wanting_more(&mut self, index: usize, leaf: &Leaf, demand: f64) -> f64 {
        let pass = self.passes[leaf.class as usize];
        let node = &self.tree.nodes[index];
        let claim = Claim { demand: demand.max(leaf.claim.demand), ..leaf.claim };
        let wants = replaced(self.needs.node_wants[index][leaf.class as usize], leaf.claim.demand, claim.demand);
        let amount = pass.node_amount(node.group, &pass.node_claims[index], wants.min(pass.node_caps[index]));
        if node.leaves.len() == 1 {
            return claim.demand.min(amount);
        }
        self.node_curve(index, leaf.class).level_replacing(amount, &leaf.claim, &claim).share(&claim)
    }

    /// The amount of a background leaf if it were foreground.
    fn if_foreground(&mut self, index: usize, leaf: &Leaf) -> f64 {
        let pass = self.passes[Class::Foreground as usize];
        let node = &self.tree.nodes[index];
        let wants = self.needs.node_wants[index][Class::Foreground as usize] + leaf.claim.demand;
        // Its own class' reserve is not taken off for it.
        let cap = self.limits.peers[node.peer].min(pass.node_caps[index].max(leaf.claim.floor));
        let own = Claim::new(self.tree.peers[node.peer].weight, 0.0, pass.node_claims[index].demand);
        let old = Claim { floor: pass.node_claims[index].floor, ..own };
        let amount = pass.node_amount(node.group, &old, wants.min(cap));
        let absent = Claim { floor: 0.0, demand: 0.0, ..leaf.claim };
        let now = self.passes[Class::Background as usize];
        let as_foreground =
            self.node_curve(index, Class::Foreground).level_replacing(amount, &absent, &leaf.claim).share(&leaf.claim);
        let position = node.leaves.clone().find(|position| self.tree.leaves[*position].input == leaf.input);
        as_foreground.max(position.map_or(0.0, |position| now.leaf_amounts[position]))
    }

    /// The curve of a node's leaves; neighbours ask for the same.
    fn node_curve(&mut self, index: usize, class: Class) -> &Curve {
        if self.cached != Some((index, class)) {
            let node = &self.tree.nodes[index];
            self.curve.rebuild(self.tree.claims(node, class).map(|(_, claim)| claim));
            self.cached = Some((index, class));
        }
        &self.curve
    }
}

/// Whether what held a leaf may be its peer's wish, where that cuts its headroom off: who asks for a rate keeps to it by
/// itself, and seen from here it takes, or sends, no more.
fn keeps_to_its_wish(limiter: Limiter) -> bool {
    match limiter {
        Limiter::Receiver | Limiter::Network | Limiter::Source => true,
        Limiter::Tokens | Limiter::Disk | Limiter::Worker => false,
    }
}

impl Pass {
    /// A node's amount if it wanted `demand` instead of what it claims.
    fn node_amount(&self, group: usize, claim: &Claim, demand: f64) -> f64 {
        if demand == claim.demand {
            return self.group_levels[group].share(claim);
        }
        let wants = replaced(self.group_wants[group], claim.demand, demand);
        let amount = self.group_amount(group, wants, Lift::Nothing);
        let new = Claim { demand, ..*claim };
        self.group_curves[group].level_replacing(amount, claim, &new).share(&new)
    }

    /// A group's amount if its children wanted `wants`.
    fn group_amount(&self, group: usize, wants: f64, lift: Lift) -> f64 {
        let claim = &self.group_claims[group];
        let demand = if lift == Lift::Group { wants } else { wants.min(self.limits.groups[group]) };
        if demand == claim.demand {
            return self.group_amounts[group];
        }
        let new = Claim { demand, ..*claim };
        self.total_curve.level_replacing(self.limits.total, claim, &new).share(&new)
    }
}

/// A sum with one of its terms changed for a greater one.
fn replaced(sum: f64, old: f64, new: f64) -> f64 {
    if old.is_infinite() || new.is_infinite() { f64::INFINITY } else { sum - old + new }
}
