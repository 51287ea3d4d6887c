//! Short ways to write snapshots, and a strategy for arbitrary ones.
#![allow(dead_code)] // Each test program uses its part.

use flow::{
    Class, GroupKey, LeafKey, Limiter, LimiterShares, PeerKey, Rate,
    allocation::{GroupInput, LeafInput, LeafPlan, PeerInput, Plan, Snapshot},
};
use proptest::prelude::*;

pub(crate) fn rate(bytes_per_second: u64) -> Rate {
    Rate::from_bytes_per_second(bytes_per_second)
}

pub(crate) fn snapshot(total: u64) -> Snapshot {
    Snapshot { total: Rate::from_wire(total), groups: Vec::new(), peers: Vec::new(), leaves: Vec::new() }
}

pub(crate) fn group(key: u32) -> GroupInput {
    GroupInput { key: GroupKey(key), weight: 1.0, cap: Rate::UNLIMITED, floor: 0 }
}

pub(crate) fn peer(key: u64) -> PeerInput {
    PeerInput { key: PeerKey(key), weight: 1.0, cap: Rate::UNLIMITED, negotiated: Rate::UNLIMITED, floor: 0 }
}

/// A leaf that waits for tokens.
pub(crate) fn hungry(key: u64, peer: u64) -> LeafInput {
    LeafInput {
        key: LeafKey(key),
        peer: PeerKey(peer),
        group: GroupKey::DEFAULT,
        weight: 1.0,
        cap: Rate::UNLIMITED,
        floor: 0,
        class: Class::Foreground,
        achieved: 0.0,
        limited: LimiterShares::all(Limiter::Tokens),
        demand_before: 0.0,
        is_settled: true,
        backlogged: true,
    }
}

/// A leaf that uses `used` and is held by `limiter`.
pub(crate) fn using(key: u64, peer: u64, used: f64, limiter: Limiter) -> LeafInput {
    LeafInput { achieved: used, demand_before: used, limited: LimiterShares::all(limiter), ..hungry(key, peer) }
}

pub(crate) fn find(plan: &Plan, key: u64) -> LeafPlan {
    *plan.leaves.iter().find(|leaf| leaf.key == LeafKey(key)).expect("the leaf is in the plan")
}

/// What an arbitrary snapshot may hold.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) classes: bool,
    pub(crate) floors: bool,
    pub(crate) spread_peers: bool,
}

pub(crate) const PLAIN: Shape = Shape { classes: false, floors: false, spread_peers: false };
pub(crate) const EVERYTHING: Shape = Shape { classes: true, floors: true, spread_peers: true };

fn limit() -> impl Strategy<Value = Rate> {
    prop_oneof![2 => Just(Rate::UNLIMITED), 1 => (1_000u64..2_000_000).prop_map(rate)]
}

fn weight() -> impl Strategy<Value = f64> {
    prop_oneof![2 => Just(1.0), 1 => 0.1..10.0f64]
}

fn floor(shape: Shape) -> BoxedStrategy<u64> {
    if shape.floors { prop_oneof![4 => Just(0u64), 1 => 1_000u64..60_000].boxed() } else { Just(0).boxed() }
}

fn leaf_input(shape: Shape) -> impl Strategy<Value = LeafInput> {
    let class = if shape.classes {
        prop_oneof![Just(Class::Foreground), Just(Class::Background)].boxed()
    } else {
        Just(Class::Foreground).boxed()
    };
    let limiter = prop_oneof![3 => Just(Limiter::Tokens), 2 => prop::sample::select(Limiter::ALL.to_vec())];
    let used = prop_oneof![1 => Just(0.0), 3 => 0.0..500_000.0f64];
    (
        (0u64..12, 0u32..4, weight(), limit(), floor(shape)),
        (class, used.clone(), limiter, used, prop::bool::weighted(0.9)),
    )
        .prop_map(
            move |((peer, group, weight, cap, floor), (class, achieved, limiter, demand_before, backlogged))| {
                let group = if shape.spread_peers { group } else { (peer % 4) as u32 };
                LeafInput {
                    key: LeafKey(0),
                    peer: PeerKey(peer),
                    group: GroupKey(group),
                    weight,
                    cap,
                    floor: floor.min(cap.bytes_per_second()),
                    class,
                    achieved,
                    limited: LimiterShares::all(limiter),
                    demand_before,
                    is_settled: true,
                    backlogged,
                }
            },
        )
}

/// Up to 4 groups, 12 peers and 40 leaves.
pub(crate) fn any_snapshot(shape: Shape) -> impl Strategy<Value = Snapshot> {
    let groups = prop::collection::vec((weight(), limit(), floor(shape)), 4);
    let peers = prop::collection::vec((weight(), limit(), limit(), floor(shape)), 12);
    let leaves = prop::collection::vec(leaf_input(shape), 1..40);
    let total = prop_oneof![1 => Just(Rate::UNLIMITED), 6 => (1_000u64..5_000_000).prop_map(rate)];
    (total, groups, peers, leaves).prop_map(|(total, groups, peers, mut leaves)| {
        for (key, leaf) in leaves.iter_mut().enumerate() {
            leaf.key = LeafKey(key as u64);
        }
        let groups = (0..).zip(groups);
        let peers = (0..).zip(peers);
        Snapshot {
            total,
            groups: groups
                .map(|(key, (weight, cap, floor))| GroupInput { key: GroupKey(key), weight, cap, floor })
                .collect(),
            peers: peers
                .map(|(key, (weight, cap, negotiated, floor))| PeerInput {
                    key: PeerKey(key),
                    weight,
                    cap,
                    negotiated,
                    floor,
                })
                .collect(),
            leaves,
        }
    })
}
