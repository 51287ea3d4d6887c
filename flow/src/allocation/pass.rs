//! One pour: the leaves of one class into the capacities that are theirs.
//!
//! **Peers in several groups.** Their cap holds over the sum of their nodes, which no tree can say. At the answer, each such
//! peer has a level of its own, and each of its nodes takes the least of what it wants, what its group's level gives, and
//! what the peer's level gives: max-min with two bottlenecks. It is found by turns: split the peer's cap by what the groups
//! would give, pour, split again. The first split takes the groups for unlimited, so group levels only fall and peer levels
//! only rise from turn to turn; so every turn is feasible, and stopping early wastes a little but breaks no cap.

use super::{
    curve::{Claim, Curve, Level},
    needs::{Capacities, Needs},
    tree::{Node, Tree},
};
use crate::Class;

/// Turns for peers in several groups. Each settles at least one of the bottlenecks that depend on one another; chains of
/// more than a few are not met, and stopping early is feasible.
const TURNS_MAX: usize = 12;

/// Relative change of a peer's split below which the turns end.
const SETTLED: f64 = 1e-9;

/// The result for one class, with what is needed to ask "what if".
#[derive(Debug)]
pub(super) struct Pass {
    pub(super) class: Class,
    /// Whether there are leaves of the class; if not, only the amounts above the leaves are there, all 0.
    pub(super) present: bool,
    pub(super) limits: Capacities,
    /// Per node: the peer's cap, or this node's part of it; infinite when nothing limits it.
    pub(super) node_caps: Vec<f64>,
    pub(super) node_claims: Vec<Claim>,
    pub(super) node_amounts: Vec<f64>,
    pub(super) group_wants: Vec<f64>,
    pub(super) group_claims: Vec<Claim>,
    pub(super) group_amounts: Vec<f64>,
    pub(super) group_curves: Vec<Curve>,
    pub(super) group_levels: Vec<Level>,
    pub(super) total_curve: Curve,
    pub(super) total_level: Level,
    /// Per leaf of the tree; 0 for the other class.
    pub(super) leaf_amounts: Vec<f64>,
    pub(super) floors_scale: f64,
}

impl Pass {
    pub(super) fn run(tree: &Tree, needs: &Needs, class: Class, limits: Capacities) -> Self {
        let present = needs.present[class as usize];
        let (nodes, leaves) = if present { (tree.nodes.as_slice(), tree.leaves.len()) } else { (&[][..], 0) };
        let mut pass = Self {
            class,
            present,
            node_caps: nodes.iter().map(|node| limits.peers[node.peer]).collect(),
            limits,
            node_claims: vec![Claim::NONE; nodes.len()],
            node_amounts: vec![0.0; tree.nodes.len()],
            group_wants: vec![0.0; tree.groups.len()],
            group_claims: vec![Claim::NONE; tree.groups.len()],
            group_amounts: vec![0.0; tree.groups.len()],
            group_curves: vec![Curve::default(); tree.groups.len()],
            group_levels: vec![Level::FULL; tree.groups.len()],
            total_curve: Curve::default(),
            total_level: Level::FULL,
            leaf_amounts: vec![0.0; leaves],
            floors_scale: 1.0,
        };
        if !present {
            return pass;
        }
        for node in 0..nodes.len() {
            pass.claim(tree, needs, node);
        }
        let spread: Vec<usize> = (0..tree.peers.len())
            .filter(|peer| tree.peers[*peer].nodes.len() > 1 && pass.limits.peers[*peer].is_finite())
            .collect();
        let mut scratch = Split::default();
        for turn in 0..TURNS_MAX {
            // Not `any`: every peer must be split anew.
            let moved = spread.iter().filter(|peer| pass.split(tree, needs, **peer, &mut scratch)).count();
            if turn > 0 && moved == 0 {
                break;
            }
            for node in spread.iter().flat_map(|peer| tree.peers[*peer].nodes.clone()) {
                pass.claim(tree, needs, node);
            }
            pass.pour(tree, needs);
        }
        pass.pour_nodes(tree);
        pass.pour_leaves(tree, needs);
        pass
    }

    /// What this pass gave at every node above the leaves.
    pub(super) fn amounts(&self, tree: &Tree) -> Capacities {
        let mut peers = vec![0.0; tree.peers.len()];
        for (node, amount) in tree.nodes.iter().zip(&self.node_amounts) {
            peers[node.peer] += amount;
        }
        Capacities { total: self.group_amounts.iter().sum(), groups: self.group_amounts.clone(), peers }
    }

    /// Makes the claim of a node, whose cap is known.
    fn claim(&mut self, tree: &Tree, needs: &Needs, node: usize) {
        let class = self.class as usize;
        let demand = needs.node_wants[node][class].min(self.node_caps[node]);
        let weight = tree.peers[tree.nodes[node].peer].weight;
        self.node_claims[node] = Claim::new(weight, needs.node_floors[node][class], demand);
    }

    /// Splits the cap of a peer over its nodes by the levels of their groups. Answers whether anything moved.
    fn split(&mut self, tree: &Tree, needs: &Needs, peer: usize, Split { offers, curve }: &mut Split) -> bool {
        let nodes = tree.peers[peer].nodes.clone();
        let class = self.class as usize;
        offers.clear();
        offers.extend(nodes.clone().map(|node| {
            let floor = needs.node_floors[node][class];
            let want = needs.node_wants[node][class];
            let group = Claim::new(tree.peers[peer].weight, floor, want);
            let offered = self.group_levels[tree.nodes[node].group].share(&group);
            // The proportions among all of the peer's transfers hold over its groups as well.
            let weight: f64 = tree.claims(&tree.nodes[node], self.class).map(|(_, claim)| claim.weight).sum();
            Claim::new(weight.max(f64::MIN_POSITIVE), floor, offered)
        }));
        curve.rebuild(offers.iter().copied().filter(|claim| claim.demand > 0.0));
        let level = curve.level(self.limits.peers[peer]);
        let mut moved = false;
        for (node, offer) in nodes.zip(offers) {
            let cap = level.share(&offer.unbounded()).min(self.limits.peers[peer]);
            moved |= (cap - self.node_caps[node]).abs() > SETTLED * cap;
            self.node_caps[node] = cap;
        }
        moved
    }

    /// Claims and levels of the groups and of the total, from the claims of the nodes.
    fn pour(&mut self, tree: &Tree, needs: &Needs) {
        let class = self.class as usize;
        for (index, group) in tree.groups.iter().enumerate() {
            let claims = &self.node_claims;
            let children = group.nodes.iter().map(|node| claims[*node as usize]);
            self.group_wants[index] = children.clone().map(|claim| claim.demand).sum();
            let demand = self.group_wants[index].min(self.limits.groups[index]);
            self.group_claims[index] = Claim::new(group.weight, needs.group_floors[index][class], demand);
            self.group_curves[index].rebuild(children);
        }
        self.total_curve.rebuild(self.group_claims.iter().copied());
        self.total_level = self.total_curve.level(self.limits.total);
        self.floors_scale = self.total_level.floors_scale;
        for index in 0..tree.groups.len() {
            let amount = self.total_level.share(&self.group_claims[index]);
            let level = self.group_curves[index].level(amount);
            self.floors_scale = self.floors_scale.min(level.floors_scale);
            self.group_amounts[index] = amount;
            self.group_levels[index] = level;
        }
    }

    fn pour_nodes(&mut self, tree: &Tree) {
        for (index, node) in tree.nodes.iter().enumerate() {
            self.node_amounts[index] = self.group_levels[node.group].share(&self.node_claims[index]);
        }
    }

    fn pour_leaves(&mut self, tree: &Tree, needs: &Needs) {
        let mut curve = Curve::default();
        for (index, node) in tree.nodes.iter().enumerate() {
            let amount = self.node_amounts[index];
            let enough = amount >= needs.node_wants[index][self.class as usize];
            let level = if enough { Level::FULL } else { self.node_level(tree, node, amount, &mut curve) };
            self.floors_scale = self.floors_scale.min(level.floors_scale);
            for (leaf, claim) in tree.claims(node, self.class) {
                self.leaf_amounts[leaf] = level.share(&claim);
            }
        }
    }

    /// The level among the leaves of a node that has `amount`.
    fn node_level(&self, tree: &Tree, node: &Node, amount: f64, curve: &mut Curve) -> Level {
        curve.rebuild(tree.claims(node, self.class).map(|(_, claim)| claim));
        curve.level(amount)
    }
}

/// Memory for one split after the other.
#[derive(Default)]
struct Split {
    /// Per node of the peer: what its group would give.
    offers: Vec<Claim>,
    curve: Curve,
}
