//! The properties that DESIGN 5 ends with, over arbitrary trees.

mod support;

use flow::{
    Binding, Class, GroupKey, Limiter, LimiterShares, PeerKey, Rate,
    allocation::{GroupInput, Knobs, LeafInput, Plan, Snapshot, allocate},
    weighted_max_min,
};
use proptest::prelude::*;
use support::{EVERYTHING, PLAIN, Shape, any_snapshot};

fn plan(snapshot: &Snapshot) -> Plan {
    allocate(snapshot, &Knobs::default())
}

/// The documented demand rule, written once more.
fn demand(leaf: &LeafInput) -> f64 {
    let cap = leaf.cap.as_f64();
    if !leaf.backlogged && leaf.achieved < 1.0 {
        return 0.0;
    }
    let limiter = leaf.limited.dominant();
    if limiter == Limiter::Tokens || (limiter == Limiter::Source && leaf.backlogged && leaf.demand_before < 1.0) {
        return cap;
    }
    let shown = leaf.achieved.max((leaf.achieved + leaf.demand_before) / 2.0);
    let shown = if shown < 1.0 { 0.0 } else { shown * 1.15 };
    cap.min(if leaf.backlogged { shown.max(leaf.floor as f64) } else { shown })
}

/// Hierarchical max-min by the oracle, for trees without floors, with one class and with every peer in one group.
fn oracle(snapshot: &Snapshot) -> Vec<f64> {
    let limit = |key: PeerKey| {
        let peer = &snapshot.peers[key.0 as usize];
        peer.cap.min(peer.negotiated).as_f64()
    };
    let leaves_of = |key: PeerKey| (0..snapshot.leaves.len()).filter(move |leaf| snapshot.leaves[*leaf].peer == key);
    let peers_of = |group: GroupKey| {
        snapshot.peers.iter().filter(move |peer| leaves_of(peer.key).any(|leaf| snapshot.leaves[leaf].group == group))
    };
    let peer_demand = |key| leaves_of(key).map(|leaf| demand(&snapshot.leaves[leaf])).sum::<f64>().min(limit(key));
    let groups: Vec<(f64, f64)> = snapshot
        .groups
        .iter()
        .map(|group| {
            (group.weight, peers_of(group.key).map(|peer| peer_demand(peer.key)).sum::<f64>().min(group.cap.as_f64()))
        })
        .collect();
    let mut rates = vec![0.0; snapshot.leaves.len()];
    for (group, amount) in snapshot.groups.iter().zip(pour(snapshot.total.as_f64(), &groups)) {
        let peers: Vec<(f64, f64)> = peers_of(group.key).map(|peer| (peer.weight, peer_demand(peer.key))).collect();
        for (peer, amount) in peers_of(group.key).zip(pour(amount, &peers)) {
            let demands: Vec<(f64, f64)> = leaves_of(peer.key)
                .map(|leaf| (snapshot.leaves[leaf].weight, demand(&snapshot.leaves[leaf])))
                .collect();
            for (leaf, amount) in leaves_of(peer.key).zip(pour(amount, &demands)) {
                rates[leaf] = amount;
            }
        }
    }
    rates
}

fn pour(capacity: f64, demands: &[(f64, f64)]) -> Vec<f64> {
    if capacity.is_infinite() {
        demands.iter().map(|(_, cap)| *cap).collect()
    } else {
        weighted_max_min(capacity, demands)
    }
}

/// Rates are whole bytes.
fn about(rate: f64, expected: f64) -> bool {
    rate == expected || (rate - expected).abs() <= 1.5 + 1e-9 * expected
}

fn at_most(rate: Rate, limit: f64) -> bool {
    rate.as_f64() <= limit * (1.0 + 1e-9) + 1.0
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn sums_conserve_and_nobody_is_above_cap_or_demand(snapshot in any_snapshot(EVERYTHING)) {
        let plan = plan(&snapshot);
        let sum = |leaves: &mut dyn Iterator<Item = Rate>| leaves.fold(Rate::ZERO, Rate::saturating_add);
        prop_assert!(sum(&mut plan.leaves.iter().map(|leaf| leaf.assigned)) <= snapshot.total);
        for (group, input) in plan.groups.iter().zip(&snapshot.groups) {
            let below = sum(&mut plan.leaves.iter().filter(|leaf| leaf.group == group.key).map(|leaf| leaf.assigned));
            prop_assert_eq!(group.assigned, below);
            prop_assert!(group.assigned <= group.ceiling && group.ceiling <= input.cap);
        }
        for (peer, input) in plan.peers.iter().zip(&snapshot.peers) {
            let below = sum(&mut plan.leaves.iter().filter(|leaf| leaf.peer == peer.key).map(|leaf| leaf.assigned));
            prop_assert_eq!(peer.assigned, below);
            prop_assert!(peer.assigned <= peer.ceiling && peer.ceiling <= input.cap.min(input.negotiated));
            prop_assert!(peer.if_lifted >= peer.assigned);
        }
        for (leaf, input) in plan.leaves.iter().zip(&snapshot.leaves) {
            prop_assert_eq!(leaf.key, input.key);
            prop_assert!(leaf.assigned <= leaf.ceiling && leaf.ceiling <= input.cap);
            prop_assert!(leaf.ceiling.is_unlimited() || at_most(leaf.assigned, demand(input)), "{leaf:?} {input:?}");
            prop_assert!(leaf.if_lifted >= leaf.assigned, "{leaf:?}");
            prop_assert!(leaf.demand.is_finite() && leaf.demand >= 0.0);
        }
    }

    #[test]
    fn is_exactly_max_min_at_every_node(snapshot in any_snapshot(PLAIN)) {
        let plan = plan(&snapshot);
        for (leaf, expected) in plan.leaves.iter().zip(oracle(&snapshot)) {
            prop_assert!(leaf.ceiling.is_unlimited() || about(leaf.assigned.as_f64(), expected), "{leaf:?} for {expected}");
        }
        prop_assert_eq!(plan.floors_scaled, None);
    }

    #[test]
    fn is_monotone_in_the_total(snapshot in any_snapshot(Shape { spread_peers: false, ..EVERYTHING }), more in 1u64..1_000_000) {
        prop_assume!(!snapshot.total.is_unlimited());
        let less = plan(&snapshot);
        let more = plan(&Snapshot { total: snapshot.total.saturating_add(support::rate(more)), ..snapshot.clone() });
        prop_assume!(less.floors_scaled.is_none());
        for (index, leaf) in less.leaves.iter().enumerate() {
            // Background may lose where a group or peer has a cap of its own: foreground, which gets more, goes first.
            if snapshot.leaves[index].class == Class::Foreground {
                prop_assert!(at_most(leaf.assigned, more.leaves[index].assigned.as_f64()), "{leaf:?}");
            }
        }
        let sum = |plan: &Plan| plan.leaves.iter().fold(Rate::ZERO, |sum, leaf| sum.saturating_add(leaf.assigned));
        prop_assert!(sum(&less).as_f64() <= sum(&more).as_f64() + 40.0);
    }

    #[test]
    fn a_greater_demand_raises_nobody_else(snapshot in any_snapshot(Shape { floors: true, ..PLAIN }), index: prop::sample::Index) {
        let index = index.index(snapshot.leaves.len());
        let mut greater = snapshot.clone();
        greater.leaves[index].limited = LimiterShares::all(Limiter::Tokens);
        greater.leaves[index].backlogged = true;
        // An idle leaf's floor would come with its waking; that may scale others' floors, which are then not shares.
        let (before, after) = (plan(&snapshot), plan(&greater));
        for (old, new) in before.leaves.iter().zip(&after.leaves).filter(|(old, _)| old.key != before.leaves[index].key) {
            prop_assert!(at_most(new.assigned, old.assigned.as_f64()), "{old:?} {new:?}");
        }
    }

    #[test]
    fn the_order_of_the_input_is_irrelevant(snapshot in any_snapshot(EVERYTHING), seed: u64) {
        let mut other = snapshot.clone();
        let scatter = |key: u64| (key ^ seed).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29) ^ seed;
        other.leaves.sort_by_key(|leaf| scatter(leaf.key.0));
        other.peers.sort_by_key(|peer| scatter(peer.key.0));
        other.groups.sort_by_key(|group| scatter(u64::from(group.key.0)));
        let (mut one, mut two) = (plan(&snapshot), plan(&other));
        for plan in [&mut one, &mut two] {
            plan.leaves.sort_by_key(|leaf| leaf.key);
            plan.peers.sort_by_key(|peer| peer.key);
            plan.groups.sort_by_key(|group| group.key);
        }
        prop_assert_eq!(one, two);
    }

    #[test]
    fn backlogged_implies_the_floor(snapshot in any_snapshot(EVERYTHING)) {
        let plan = plan(&snapshot);
        prop_assume!(plan.floors_scaled.is_none());
        for (leaf, input) in plan.leaves.iter().zip(&snapshot.leaves).filter(|(_, input)| input.backlogged) {
            prop_assert!(leaf.assigned.bytes_per_second() >= input.floor.min(input.cap.bytes_per_second()), "{leaf:?} {input:?}");
        }
        for (peer, input) in plan.peers.iter().zip(&snapshot.peers) {
            let wants: f64 = snapshot.leaves.iter().filter(|leaf| leaf.peer == input.key).map(demand).sum();
            let due = wants.min(input.floor as f64).min(input.cap.min(input.negotiated).as_f64());
            prop_assert!(peer.assigned.as_f64() + 40.0 >= due, "{peer:?} {due}");
        }
    }

    #[test]
    fn what_is_said_of_a_lifted_rule_comes_true(snapshot in any_snapshot(PLAIN)) {
        let plan = plan(&snapshot);
        for (index, leaf) in plan.leaves.iter().enumerate() {
            let mut lifted = snapshot.clone();
            let peer = leaf.peer.0 as usize;
            match leaf.binding {
                Binding::Total => lifted.total = Rate::UNLIMITED,
                Binding::Group => lifted.groups[leaf.group.0 as usize].cap = Rate::UNLIMITED,
                Binding::PeerCap => lifted.peers[peer].cap = Rate::UNLIMITED,
                Binding::Negotiated => lifted.peers[peer].negotiated = Rate::UNLIMITED,
                Binding::TransferCap => lifted.leaves[index].cap = Rate::UNLIMITED,
                Binding::Unlimited | Binding::BackgroundYield => {}
                Binding::Source | Binding::Receiver | Binding::Network | Binding::Disk | Binding::Worker => {
                    lifted.leaves[index].limited = LimiterShares::all(Limiter::Tokens);
                    lifted.leaves[index].backlogged = true;
                }
            }
            let truth = allocate(&lifted, &Knobs::default()).leaves[index].assigned;
            let said = leaf.if_lifted;
            prop_assert!(about(said.as_f64(), truth.as_f64()) || truth.is_unlimited(), "{leaf:?} {truth:?}");
        }
    }

    #[test]
    fn background_has_its_part_while_foreground_wants_all(foreground in 1u64..20, background in 1u64..20, total in 10_000u64..10_000_000) {
        let mut snapshot = support::snapshot(total);
        for key in 0..foreground + background {
            snapshot.peers.push(support::peer(key));
            let class = if key < foreground { Class::Foreground } else { Class::Background };
            snapshot.leaves.push(LeafInput { class, ..support::hungry(key, key) });
        }
        let plan = plan(&snapshot);
        let given: u64 = plan.leaves[foreground as usize..].iter().map(|leaf| leaf.assigned.bytes_per_second()).sum();
        prop_assert!((given as f64 - 0.02 * total as f64).abs() <= background as f64 + 1.0);
        for leaf in &plan.leaves[foreground as usize..] {
            prop_assert_eq!(leaf.binding, Binding::BackgroundYield);
            let as_foreground = 0.98 * total as f64 / (foreground + 1) as f64;
            prop_assert!((leaf.if_lifted.as_f64() - as_foreground).abs() < 2.0, "{leaf:?} {as_foreground}");
        }
    }
    #[test]
    fn background_that_has_all_but_what_foreground_wants_is_held_by_the_limit(wants in 1u64..400_000, foreground in 1u64..4) {
        let mut snapshot = support::snapshot(1_000_000);
        for key in 0..=foreground {
            snapshot.peers.push(support::peer(key));
        }
        for key in 0..foreground {
            snapshot.peers[key as usize].cap = Rate::from_bytes_per_second(wants);
            snapshot.leaves.push(support::hungry(key, key));
        }
        snapshot.leaves.push(LeafInput { class: Class::Background, ..support::hungry(foreground, foreground) });
        let plan = plan(&snapshot);
        let background = &plan.leaves[foreground as usize];
        // As one of them it would have its equal part, of all but the reserve of background.
        let equal = 1_000_000 / (foreground + 1);
        match background.binding {
            Binding::Total => prop_assert!(wants <= equal + equal / 30, "{background:?}"),
            Binding::BackgroundYield => prop_assert!(wants + 1 >= equal, "{background:?}"),
            binding => prop_assert!(false, "{binding:?}"),
        }
        let at_least = background.assigned.bytes_per_second().saturating_sub(1);
        prop_assert!(background.if_lifted.bytes_per_second() >= at_least, "{background:?}");
    }

    /// It had a fiftieth of what it asked for instead, and who set a limit of 50 kB/s starved beside who set none.
    #[test]
    fn background_with_a_low_limit_of_its_own_has_its_part_of_the_total(cap in 1_000u64..400_000, held_by in 0usize..3, foreground in 1u64..5) {
        let mut snapshot = support::snapshot(10_000_000);
        for key in 0..=foreground {
            snapshot.peers.push(support::peer(key));
        }
        for key in 0..foreground {
            snapshot.leaves.push(support::hungry(key, key));
        }
        let mut leaf = LeafInput { class: Class::Background, ..support::hungry(foreground, foreground) };
        let limit = Rate::from_bytes_per_second(cap);
        match held_by {
            0 => snapshot.peers[foreground as usize].cap = limit,
            1 => snapshot.peers[foreground as usize].negotiated = limit,
            _ => {
                snapshot.groups.push(GroupInput { cap: limit, ..support::group(9) });
                leaf.group = GroupKey(9);
            }
        }
        snapshot.leaves.push(leaf);
        let given = plan(&snapshot).leaves[foreground as usize].assigned.bytes_per_second();
        let due = cap.min(200_000);
        prop_assert!(given.abs_diff(due) <= 1 + due / 1000, "{given} of {due}");
    }
}
