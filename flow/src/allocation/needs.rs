//! What is wanted and what is guaranteed at every node, bottom-up, for each class; and what that leaves for the other.

use super::tree::Tree;
use crate::{Class, Rate};

/// Bytes per second at every node above the leaves: limits, or amounts to take off limits.
#[derive(Clone, Debug)]
pub(super) struct Capacities {
    pub(super) total: f64,
    pub(super) groups: Vec<f64>,
    /// Over the sum of a peer's nodes.
    pub(super) peers: Vec<f64>,
}

impl Capacities {
    /// The limits as they were configured and negotiated.
    pub(super) fn configured(tree: &Tree, total: Rate) -> Self {
        Self {
            total: total.as_f64(),
            groups: tree.groups.iter().map(|group| group.cap.as_f64()).collect(),
            peers: tree.peers.iter().map(|peer| peer.limit().as_f64()).collect(),
        }
    }

    /// What is left after `taken`, in its memory.
    pub(super) fn less(&self, mut taken: Self) -> Self {
        let leave = |all: &[f64], taken: &mut [f64]| {
            for (all, taken) in all.iter().zip(taken) {
                *taken = rest(*all, *taken);
            }
        };
        leave(&self.groups, &mut taken.groups);
        leave(&self.peers, &mut taken.peers);
        Self { total: rest(self.total, taken.total), ..taken }
    }
}

/// `all - taken`, where whoever has no limit has none left either.
fn rest(all: f64, taken: f64) -> f64 {
    if all.is_infinite() { all } else { (all - taken).max(0.0) }
}

/// Foreground and background, in the order of [`Class::ALL`].
type ByClass = [f64; 2];

/// Sums over the leaves below.
#[derive(Clone, Debug)]
pub(super) struct Needs {
    /// Per node, before any cap.
    pub(super) node_wants: Vec<ByClass>,
    /// Guarantees per node that fit its caps.
    pub(super) node_floors: Vec<ByClass>,
    pub(super) group_floors: Vec<ByClass>,
    total_floors: ByClass,
    /// Whether there are leaves of the class, also idle ones.
    pub(super) present: [bool; 2],
    /// Below 1 when guarantees did not fit a cap above them.
    pub(super) floors_scale: f64,
}

impl Needs {
    /// `natural` is what each node has where peers in several groups have no guarantees, and how these are split then. Without, they
    /// have none.
    pub(super) fn of(tree: &Tree, limits: &Capacities, natural: Option<&[f64]>) -> Self {
        let mut needs = Self {
            node_wants: vec![[0.0; 2]; tree.nodes.len()],
            node_floors: vec![[0.0; 2]; tree.nodes.len()],
            group_floors: vec![[0.0; 2]; tree.groups.len()],
            total_floors: [0.0; 2],
            present: [false; 2],
            floors_scale: 1.0,
        };
        for (index, node) in tree.nodes.iter().enumerate() {
            for leaf in &tree.leaves[node.leaves.clone()] {
                let class = leaf.class as usize;
                needs.node_wants[index][class] += leaf.claim.demand;
                needs.node_floors[index][class] += leaf.claim.floor;
                needs.present[class] = true;
            }
        }
        needs.put_peer_floors(tree, limits, natural);
        needs.put_group_floors(tree, limits);
        needs
    }

    fn put_peer_floors(&mut self, tree: &Tree, limits: &Capacities, natural: Option<&[f64]>) {
        for (peer, limit) in tree.peers.iter().zip(&limits.peers) {
            let wants: f64 = self.node_wants[peer.nodes.clone()].iter().flatten().sum();
            if wants == 0.0 {
                continue;
            }
            // A peer's guarantee is one, also where its transfers are in several groups: what one node has no use for, the next may
            // have.
            let mut left = peer.floor - self.node_floors[peer.nodes.clone()].iter().flatten().sum::<f64>();
            if peer.nodes.len() > 1 {
                let parts = natural.map_or(&[][..], |natural| &natural[peer.nodes.clone()]);
                let together: f64 = parts.iter().sum();
                for (node, part) in peer.nodes.clone().zip(parts).filter(|_| together > 0.0 && together.is_finite()) {
                    left -= self.guarantee(node, peer.floor * part / together);
                }
                left = if parts.is_empty() { 0.0 } else { left };
            }
            for node in peer.nodes.clone() {
                let own: f64 = self.node_floors[node].iter().sum();
                left -= self.guarantee(node, own + left.max(0.0));
            }
            let sum: f64 = self.node_floors[peer.nodes.clone()].iter().flatten().sum();
            if sum > *limit {
                let scale = limit / sum;
                self.floors_scale = self.floors_scale.min(scale);
                self.node_floors[peer.nodes.clone()].iter_mut().flatten().for_each(|floor| *floor *= scale);
            }
        }
    }

    /// Guarantees `own` at a node where it wants that; answers how much more is guaranteed there now.
    fn guarantee(&mut self, node: usize, own: f64) -> f64 {
        let before: f64 = self.node_floors[node].iter().sum();
        self.node_floors[node] = raised(self.node_floors[node], self.node_wants[node], own);
        self.node_floors[node].iter().sum::<f64>() - before
    }

    fn put_group_floors(&mut self, tree: &Tree, limits: &Capacities) {
        for (index, group) in tree.groups.iter().enumerate() {
            let mut wants = [0.0; 2];
            let mut below = [0.0; 2];
            for node in &group.nodes {
                for class in [0, 1] {
                    let peer = tree.nodes[*node as usize].peer;
                    wants[class] += self.node_wants[*node as usize][class].min(limits.peers[peer]);
                    below[class] += self.node_floors[*node as usize][class];
                }
            }
            self.group_floors[index] = self.fitted(raised(below, wants, group.floor), limits.groups[index]);
            for class in [0, 1] {
                self.total_floors[class] += self.group_floors[index][class];
            }
        }
        self.total_floors = self.fitted(self.total_floors, limits.total);
    }

    /// Guarantees scaled so that they fit under `cap`, which is remembered.
    fn fitted(&mut self, floors: ByClass, cap: f64) -> ByClass {
        let sum: f64 = floors.iter().sum();
        if sum <= cap {
            return floors;
        }
        self.floors_scale = self.floors_scale.min(cap / sum);
        floors.map(|floor| floor * cap / sum)
    }

    /// What foreground leaves to background at every node: its floors, and `part` of the limit while it wants that.
    ///
    /// Made bottom-up only, so that a greater total never takes from a foreground leaf.
    pub(super) fn background_reserve(&self, tree: &Tree, limits: &Capacities, part: f64) -> Capacities {
        let part = if part.is_nan() { 0.0 } else { part.clamp(0.0, 1.0) };
        let mut node_wants = self.node_wants.clone();
        let mut peers = Vec::with_capacity(tree.peers.len());
        for (peer, limit) in tree.peers.iter().zip(&limits.peers) {
            let (mut floors, mut wants) = ([0.0; 2], [0.0; 2]);
            for node in peer.nodes.clone() {
                for class in [0, 1] {
                    wants[class] += self.node_wants[node][class];
                    floors[class] += self.node_floors[node][class];
                }
            }
            let Reserve { left, wanted } = Reserve::of(wants, floors, *limit, part);
            for wants in &mut node_wants[peer.nodes.clone()] {
                *wants = [wants[0].min(*limit), wants[BACKGROUND].min(wanted)];
            }
            peers.push(left);
        }
        let mut total_wants = [0.0; 2];
        let mut groups = Vec::with_capacity(tree.groups.len());
        for (index, (group, limit)) in tree.groups.iter().zip(&limits.groups).enumerate() {
            let mut wants = [0.0; 2];
            for node in &group.nodes {
                for class in [0, 1] {
                    wants[class] += node_wants[*node as usize][class];
                }
            }
            let Reserve { left, wanted } = Reserve::of(wants, self.group_floors[index], *limit, part);
            total_wants[BACKGROUND] += wanted;
            groups.push(left);
        }
        let total = Reserve::of(total_wants, self.total_floors, limits.total, part).left;
        Capacities { total, groups, peers }
    }
}

/// Of background, in what is kept by class.
const BACKGROUND: usize = Class::Background as usize;

/// At one node.
struct Reserve {
    /// What foreground leaves of the node's limit.
    left: f64,
    /// What background wants of the limits above: also what foreground has no use for below this one.
    wanted: f64,
}

impl Reserve {
    fn of(wants: ByClass, floors: ByClass, limit: f64, part: f64) -> Self {
        let background = wants[BACKGROUND];
        if background == 0.0 || limit.is_infinite() {
            return Self { left: 0.0, wanted: background };
        }
        let spare = (limit - floors[0]).max(0.0);
        let at_most = |most: f64| background.min(most).min(spare).max(floors[BACKGROUND]);
        Self { left: at_most(part * limit), wanted: at_most((part * limit).max(limit - wants[0])) }
    }
}

/// The guarantees of a node's children, raised to its own where they want it: foreground first.
fn raised(below: ByClass, wants: ByClass, own: f64) -> ByClass {
    let foreground = below[0].max(own.min(wants[0]));
    let background = below[1].max((own - foreground).max(0.0).min(wants[1]));
    [foreground, background]
}
