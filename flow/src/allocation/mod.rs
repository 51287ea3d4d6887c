//! The allocator (DESIGN 5): one pure function, snapshot in, plan out. Seed 003: "a static class that only knows how to do
//! this calculation".
//!
//! The tree is total > group > peer > transfer. Three ideas carry the whole calculation:
//!
//! 1. **Demand** (`demand`) goes bottom-up: a leaf that waited for tokens wants all it may have, any other what it used
//!    and some headroom, an idle one nothing. A node wants the sum of its children, at most its cap.
//! 2. **Water** (`curve`) goes top-down: a node's share is poured over its children until they are all at one level per
//!    weight, or full. A child never falls below its floor. This is exact weighted max-min; there is no rounding of levels
//!    and no search with a tolerance.
//! 3. **Classes** are two pours (`pass`): foreground first into the capacity less background's small reserve, background
//!    into what foreground left, at every node.
//!
//! A peer with transfers in several groups has a node in each; its own cap holds over their sum. That crosses the tree, so
//! such peers' caps are split over their nodes by a monotone iteration that is feasible at every step (see `pass`).
//!
//! Why a rate is what it is, and what it would be if that rule were lifted, is answered from the same curves (`reason`).

mod changes;
mod curve;
mod demand;
mod floors;
mod level;
mod needs;
mod order;
mod pass;
mod plan;
mod reason;
mod snapshot;
mod tree;

pub use changes::{MOVE_WORTH_SENDING, changes};
pub use floors::{FloorError, FloorNode, floors_fit};
pub use plan::{GroupPlan, LeafPlan, PeerPlan, Plan};
pub use snapshot::{GroupInput, Knobs, LeafInput, PeerInput, Snapshot};

use crate::Class;
use needs::{Capacities, Needs};
use pass::Pass;
use tree::Tree;

/// Shares the total among all leaves of one direction. O(n log n) for n leaves; the order of the input is irrelevant.
///
/// A leaf that names a peer or group which the snapshot does not hold is treated as if it were there with weight 1 and
/// without limits: a join that is half registered must not cost anybody his rate.
pub fn allocate(snapshot: &Snapshot, knobs: &Knobs) -> Plan {
    let tree = Tree::of(snapshot, knobs);
    let limits = Capacities::configured(&tree, snapshot.total);
    let mut needs = Needs::of(&tree, &limits, None);
    let mut passes = pour(&tree, &limits, &needs, knobs);
    if tree.peers.iter().any(|peer| peer.floor > 0.0 && peer.nodes.len() > 1) {
        // What such a peer is guaranteed over all its groups it has first where it would have something anyway: put into one of them,
        // it would take from others what the peer has no need of.
        let [foreground, background] = &passes;
        let natural: Vec<f64> =
            foreground.node_amounts.iter().zip(&background.node_amounts).map(|(a, b)| a + b).collect();
        needs = Needs::of(&tree, &limits, Some(&natural));
        passes = pour(&tree, &limits, &needs, knobs);
    }
    plan::assemble(snapshot, &tree, &limits, &needs, [&passes[0], &passes[1]])
}

/// Foreground, then background into what that leaves.
fn pour(tree: &Tree, limits: &Capacities, needs: &Needs, knobs: &Knobs) -> [Pass; 2] {
    let reserve = needs.background_reserve(tree, limits, knobs.background_floor);
    let foreground = Pass::run(tree, needs, Class::Foreground, limits.less(reserve));
    let background = Pass::run(tree, needs, Class::Background, limits.less(foreground.amounts(tree)));
    [foreground, background]
}
