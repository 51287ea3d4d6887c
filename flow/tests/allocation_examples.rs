//! Small trees whose answer a reader can check in his head.

mod support;

use flow::{
    Binding, Class, GroupKey, Limiter, Rate,
    allocation::{GroupInput, Knobs, LeafInput, PeerInput, allocate},
};
use support::{find, group, hungry, peer, rate, snapshot, using};

fn plan(snapshot: &flow::allocation::Snapshot) -> flow::allocation::Plan {
    allocate(snapshot, &Knobs::default())
}

#[test]
fn the_seeds_three_peers_get_a_third_each() {
    let mut tree = snapshot(100_000);
    tree.peers = (0..3).map(peer).collect();
    tree.leaves = (0..3).map(|key| hungry(key, key)).collect();
    let plan = plan(&tree);
    assert!(plan.leaves.iter().all(|leaf| leaf.assigned == rate(33_333) && leaf.ceiling == rate(100_000)));
    assert!(plan.leaves.iter().all(|leaf| leaf.binding == Binding::Total && leaf.if_lifted.is_unlimited()));
}

#[test]
fn without_a_total_nothing_is_gated_but_what_has_a_cap() {
    let mut tree = snapshot(0);
    tree.peers = vec![peer(0), PeerInput { cap: rate(1000), ..peer(1) }];
    tree.leaves = vec![
        hungry(0, 0),
        using(1, 0, 5.0, Limiter::Network),
        hungry(2, 1),
        LeafInput { backlogged: false, ..hungry(3, 0) },
    ];
    let plan = plan(&tree);
    assert_eq!(find(&plan, 0).assigned, Rate::UNLIMITED);
    assert_eq!(find(&plan, 0).binding, Binding::Unlimited);
    assert_eq!(find(&plan, 1).assigned, Rate::UNLIMITED);
    assert_eq!(find(&plan, 1).binding, Binding::Network);
    assert_eq!(find(&plan, 2).assigned, rate(1000));
    assert_eq!(find(&plan, 2).binding, Binding::PeerCap);
    assert_eq!(find(&plan, 3).assigned, Rate::UNLIMITED);
    assert_eq!(find(&plan, 3).binding, Binding::Source);
    assert_eq!(plan.peers[0].assigned, Rate::UNLIMITED);
}

#[test]
fn an_idle_leaf_has_nothing_but_its_ceiling() {
    let mut tree = snapshot(1000);
    tree.peers = vec![peer(0), peer(1)];
    tree.leaves = vec![hungry(0, 0), LeafInput { backlogged: false, ..hungry(1, 1) }];
    let plan = plan(&tree);
    assert_eq!(find(&plan, 0).assigned, rate(1000));
    let idle = find(&plan, 1);
    assert_eq!((idle.assigned, idle.ceiling, idle.binding), (Rate::ZERO, rate(1000), Binding::Source));
    assert_eq!(idle.if_lifted, rate(500));
}

#[test]
fn each_rule_is_named_where_it_binds() {
    let mut tree = snapshot(1_000_000);
    tree.groups = vec![group(0), GroupInput { cap: rate(100_000), ..group(1) }];
    tree.peers = vec![
        PeerInput { cap: rate(50_000), ..peer(0) },
        PeerInput { negotiated: rate(40_000), ..peer(1) },
        peer(2),
        peer(3),
        peer(4),
    ];
    let grouped = |key, peer| LeafInput { group: GroupKey(1), ..hungry(key, peer) };
    tree.leaves = vec![
        hungry(0, 0),
        hungry(1, 1),
        LeafInput { cap: rate(30_000), ..hungry(2, 2) },
        grouped(3, 3),
        grouped(4, 4),
        using(5, 2, 20_000.0, Limiter::Receiver),
        hungry(6, 2),
    ];
    let plan = plan(&tree);
    let said = |key| {
        let leaf = find(&plan, key);
        (leaf.binding, leaf.assigned.bytes_per_second())
    };
    assert_eq!(said(0), (Binding::PeerCap, 50_000));
    assert_eq!(said(1), (Binding::Negotiated, 40_000));
    assert_eq!(said(2), (Binding::TransferCap, 30_000));
    assert_eq!(said(3), (Binding::Group, 50_000));
    assert_eq!(said(5), (Binding::Receiver, 23_000));
    assert_eq!(said(6), (Binding::Total, 1_000_000 - 50_000 - 40_000 - 100_000 - 53_000));
    assert_eq!(plan.peers[0].binding, Binding::PeerCap);
    assert_eq!(plan.peers[2].binding, Binding::Total);
}

/// A client with `--bwlimit` asks for that rate and takes no more: that was said to be a receiver that is slow.
#[test]
fn a_receiver_that_takes_what_it_asked_for_is_held_by_its_wish() {
    let mut tree = snapshot(1_000_000);
    tree.peers = vec![PeerInput { negotiated: rate(40_000), ..peer(0) }];
    for (used, binding) in
        [(39_000.0, Binding::Negotiated), (40_000.0, Binding::Negotiated), (30_000.0, Binding::Receiver)]
    {
        tree.leaves = vec![using(0, 0, used, Limiter::Receiver)];
        assert_eq!(find(&plan(&tree), 0).binding, binding, "{used}");
    }
    tree.leaves = vec![using(0, 0, 20_000.0, Limiter::Receiver), using(1, 0, 19_000.0, Limiter::Network)];
    let both = plan(&tree);
    assert_eq!((find(&both, 0).binding, find(&both, 1).binding), (Binding::Negotiated, Binding::Negotiated));
    assert_eq!(both.peers[0].binding, Binding::Negotiated);
    // What the operator decided is not the peer's wish, and a slow disk is neither.
    tree.leaves = vec![using(0, 0, 39_000.0, Limiter::Disk)];
    assert_eq!(find(&plan(&tree), 0).binding, Binding::Disk);
    tree.peers = vec![PeerInput { cap: rate(40_000), ..peer(0) }];
    tree.leaves = vec![using(0, 0, 39_000.0, Limiter::Receiver)];
    assert_eq!(find(&plan(&tree), 0).binding, Binding::Receiver);
}

#[test]
fn a_peers_cap_holds_over_its_groups_and_is_used_up() {
    // Group 1 is crowded and gives peer 0 only 10 000; group 0 gives the rest of its cap, not half of it.
    let mut tree = snapshot(0);
    tree.groups = vec![group(0), GroupInput { cap: rate(20_000), ..group(1) }];
    tree.peers = vec![PeerInput { cap: rate(100_000), ..peer(0) }, peer(1)];
    tree.leaves = vec![
        hungry(0, 0),
        LeafInput { group: GroupKey(1), ..hungry(1, 0) },
        LeafInput { group: GroupKey(1), ..hungry(2, 1) },
    ];
    let plan = plan(&tree);
    assert_eq!(plan.peers[0].assigned, rate(100_000));
    assert_eq!(find(&plan, 0).assigned, rate(90_000));
    assert_eq!(find(&plan, 1).assigned, rate(10_000));
    assert_eq!(find(&plan, 2).assigned, rate(10_000));
    assert_eq!(find(&plan, 0).binding, Binding::PeerCap);
    assert_eq!(find(&plan, 1).binding, Binding::Group);
}

#[test]
fn what_a_capped_peer_leaves_in_a_group_goes_to_the_others() {
    let mut tree = snapshot(0);
    tree.groups = vec![GroupInput { cap: rate(60_000), ..group(0) }, GroupInput { cap: rate(60_000), ..group(1) }];
    tree.peers = vec![PeerInput { cap: rate(20_000), ..peer(0) }, peer(1), peer(2)];
    let second = |key, peer| LeafInput { group: GroupKey(1), ..hungry(key, peer) };
    tree.leaves = vec![hungry(0, 0), second(1, 0), hungry(2, 1), second(3, 2)];
    let plan = plan(&tree);
    assert_eq!(
        plan.leaves.iter().map(|leaf| leaf.assigned.bytes_per_second()).collect::<Vec<_>>(),
        [10_000, 10_000, 50_000, 50_000]
    );
}

#[test]
fn floors_that_do_not_fit_are_scaled_and_said() {
    let mut tree = snapshot(1000);
    tree.peers = vec![PeerInput { floor: 1500, ..peer(0) }, PeerInput { floor: 500, ..peer(1) }];
    tree.leaves = vec![hungry(0, 0), hungry(1, 1)];
    let scaled = plan(&tree);
    assert_eq!(scaled.floors_scaled, Some(0.5));
    assert_eq!((find(&scaled, 0).assigned, find(&scaled, 1).assigned), (rate(750), rate(250)));
    tree.total = rate(2500);
    let fits = plan(&tree);
    assert_eq!(fits.floors_scaled, None);
    assert_eq!((find(&fits, 0).assigned, find(&fits, 1).assigned), (rate(1500), rate(1000)));
}

#[test]
fn a_background_floor_goes_before_foreground() {
    let mut tree = snapshot(100_000);
    tree.peers = vec![peer(0), peer(1)];
    tree.leaves = vec![hungry(0, 0), LeafInput { class: Class::Background, floor: 30_000, ..hungry(1, 1) }];
    let plan = plan(&tree);
    assert_eq!((find(&plan, 0).assigned, find(&plan, 1).assigned), (rate(70_000), rate(30_000)));
}

#[test]
fn strict_background_gets_what_foreground_leaves() {
    let mut tree = snapshot(100_000);
    tree.peers = vec![peer(0), peer(1)];
    tree.leaves = vec![using(0, 0, 50_000.0, Limiter::Source), LeafInput { class: Class::Background, ..hungry(1, 1) }];
    let strict = Knobs { background_floor: 0.0, ..Knobs::default() };
    let shared = allocate(&tree, &strict);
    assert_eq!((find(&shared, 0).assigned, find(&shared, 1).assigned), (rate(57_500), rate(42_500)));
    tree.leaves[0] = hungry(0, 0);
    let starved = allocate(&tree, &strict);
    assert_eq!((find(&starved, 0).assigned, find(&starved, 1).assigned), (rate(100_000), Rate::ZERO));
}

#[test]
fn a_leaf_whose_peer_and_group_are_not_there_yet_is_served() {
    let mut tree = snapshot(1000);
    tree.leaves = vec![LeafInput { group: GroupKey(7), ..hungry(0, 9) }, hungry(1, 8)];
    let plan = plan(&tree);
    assert_eq!((find(&plan, 0).assigned, find(&plan, 1).assigned), (rate(500), rate(500)));
}

#[test]
fn nobody_there_is_a_plan_too() {
    let plan = plan(&snapshot(1000));
    assert!(plan.leaves.is_empty() && plan.floors_scaled.is_none());
}

/// Its floor was put whole into the first of its groups, and whoever shared that one with it had next to nothing.
#[test]
fn a_peer_in_two_groups_has_its_floor_over_both() {
    let two = |floor: u64, groups: [GroupInput; 2]| {
        let mut tree = snapshot(4000);
        tree.groups = groups.into();
        tree.peers = vec![PeerInput { floor, ..peer(8) }, peer(1), peer(2)];
        let at = |leaf: LeafInput, group| LeafInput { group: GroupKey(group), ..leaf };
        tree.leaves = vec![at(hungry(0, 8), 1), at(hungry(1, 8), 2), at(hungry(2, 1), 1), at(hungry(3, 2), 2)];
        let plan = plan(&tree);
        [0, 1, 2, 3].map(|key| find(&plan, key).assigned.bytes_per_second())
    };
    let plain = || [group(1), group(2)];
    assert_eq!(two(0, plain()), [1000; 4]);
    assert_eq!(two(1900, plain()), [1000; 4], "it has more than that anyway");
    assert_eq!(two(3000, plain()), [1500, 1500, 500, 500], "and a part of it in each");
    let capped = || [GroupInput { cap: rate(600), ..group(1) }, group(2)];
    assert_eq!(two(0, capped()), [300, 1700, 300, 1700]);
    let [one, other, beside, last] = two(3000, capped());
    assert_eq!(one + other, 3000, "{one} and {other}");
    assert_eq!((one + beside, other + last), (600, 3400), "no group goes beyond its cap");
}
