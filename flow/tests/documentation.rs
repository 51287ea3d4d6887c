//! The worked example of `docs/allocation.md`, number by number.

mod support;

use flow::{
    Class, GroupKey, Limiter,
    allocation::{GroupInput, Knobs, LeafInput, PeerInput, Plan, Snapshot, allocate},
};
use support::{find, group, hungry, peer, rate, snapshot, using};

const LABORATORY: GroupKey = GroupKey(1);

/// A (two files, 2 : 1), B (asked for 100 KB/s) and E (background) in the default group; C and D (weight 3) in the laboratory.
fn example() -> Snapshot {
    let mut tree = snapshot(1_000_000);
    tree.groups = vec![group(0), GroupInput { cap: rate(400_000), ..group(1) }];
    tree.peers = vec![
        peer(0),
        PeerInput { negotiated: rate(100_000), ..peer(1) },
        peer(2),
        PeerInput { weight: 3.0, ..peer(3) },
        peer(4),
    ];
    tree.leaves = vec![
        LeafInput { weight: 2.0, ..hungry(0, 0) },
        hungry(1, 0),
        hungry(2, 1),
        LeafInput { group: LABORATORY, ..hungry(3, 2) },
        LeafInput { group: LABORATORY, ..hungry(4, 3) },
        LeafInput { class: Class::Background, ..hungry(5, 4) },
    ];
    tree
}

fn kilobytes(plan: &Plan) -> Vec<u64> {
    (0..6).map(|key| find(plan, key).assigned.bytes_per_second() / 1000).collect()
}

#[test]
fn the_worked_example() {
    let mut tree = example();
    let plan = allocate(&tree, &Knobs::default());
    assert_eq!(kilobytes(&plan), [320, 160, 100, 100, 300, 20]);
    let reasons: Vec<&str> = (0..6).map(|key| find(&plan, key).binding.as_str()).collect();
    assert_eq!(reasons, ["total", "total", "negotiated", "group", "group", "background_yield"]);
    // D's receiver takes no more than 120 KB/s.
    tree.leaves[4] = LeafInput { group: LABORATORY, demand_before: 0.0, ..using(4, 3, 120_000.0, Limiter::Receiver) };
    let plan = allocate(&tree, &Knobs::default());
    assert_eq!(kilobytes(&plan), [320, 160, 100, 262, 138, 20]);
    // A has nothing to send for a while.
    tree.leaves[0].backlogged = false;
    tree.leaves[1].backlogged = false;
    let plan = allocate(&tree, &Knobs::default());
    assert_eq!(kilobytes(&plan), [0, 0, 100, 262, 138, 500]);
}
