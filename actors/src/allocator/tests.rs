//! The allocator without a thread and without a session: orders, floors, classes, fairness, and what a round costs.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use flow::{Class, Direction, GroupKey, Limiter, PeerKey};

use super::{
    Allocator, Order, Target,
    round::Cause,
    survey::{Showing, jain_index},
};
use crate::{
    peer::ControlMessage,
    port::OperateError,
    registry::{LeafEntry, NodeSettings},
    testing::{Lane, hungry, join, peer_id, rate, shared},
    view::{Change, LimitsPatch, NodePatch},
};

/// The rates that the lane brought last, by leaf.
fn told(lane: &mut Lane, leaf: &LeafEntry) -> Option<flow::LeafRates> {
    let mut last = None;
    while let Ok(message) = lane.try_recv() {
        if let ControlMessage::Rates(rates) = message {
            last = rates.iter().rev().find(|rate| rate.key == leaf.key).map(|rate| rate.rates).or(last);
        }
    }
    last
}

fn cap(bytes_per_second: u64) -> NodePatch {
    NodePatch { upload_cap_bytes_per_second: Change(Some(Some(bytes_per_second))), ..NodePatch::default() }
}

fn floor(bytes_per_second: u64) -> NodePatch {
    NodePatch { upload_floor_bytes_per_second: Change(Some(Some(bytes_per_second))), ..NodePatch::default() }
}

fn order(allocator: &mut Allocator, target: Target, patch: NodePatch) -> Result<(), OperateError> {
    allocator.carry_out(&Order::Settings(target, patch))
}

fn limit(allocator: &mut Allocator, upload: u64) -> Result<(), OperateError> {
    let patch = LimitsPatch { upload_bytes_per_second: Change(Some(Some(upload))), ..LimitsPatch::default() };
    allocator.carry_out(&Order::Limits(patch))
}

#[test]
fn orders_are_in_force_when_they_are_answered() {
    let shared = shared(1_000_000);
    let ((a, mut lane_a), (b, mut lane_b)) = (join(&shared, "a"), join(&shared, "b"));
    let (leaf_a, leaf_b) = (hungry(&shared, &a, 0), hungry(&shared, &b, 0));
    let mut allocator = Allocator::new(shared.clone());
    allocator.round(Cause::Early);
    assert_eq!(told(&mut lane_a, &leaf_a).unwrap().assigned, rate(500_000));

    order(&mut allocator, Target::Peer(peer_id("a")), cap(100_000)).unwrap();
    assert_eq!(told(&mut lane_a, &leaf_a).unwrap().ceiling, rate(100_000));
    assert_eq!(told(&mut lane_b, &leaf_b).unwrap().assigned, rate(900_000));
    assert_eq!(a.peer.buckets[0].rate(), rate(100_000));
    assert_eq!(a.granted(Direction::Upload), rate(100_000), "it is told what it is granted");

    limit(&mut allocator, 400_000).unwrap();
    assert_eq!(shared.totals[0].rate(), rate(400_000));
    assert_eq!(told(&mut lane_b, &leaf_b).unwrap().assigned, rate(300_000));

    order(&mut allocator, Target::Transfer(leaf_b.key), cap(50_000)).unwrap();
    assert_eq!(told(&mut lane_b, &leaf_b).unwrap().ceiling, rate(50_000));
    order(&mut allocator, Target::Transfer(leaf_b.key), cap(0)).unwrap();
    order(&mut allocator, Target::Group(0), cap(200_000)).unwrap();
    assert_eq!(shared.groups[0].buckets[0].rate(), rate(200_000));
    assert_eq!(told(&mut lane_b, &leaf_b).unwrap().assigned, rate(100_000));
}

#[test]
fn a_transfer_that_waited_for_its_file_has_its_share_in_the_early_round_it_rings_for() {
    let shared = shared(1_000_000);
    let ((a, _lane_a), (b, mut lane_b)) = (join(&shared, "a"), join(&shared, "b"));
    hungry(&shared, &a, 0);
    let mut allocator = Allocator::new(shared.clone());
    allocator.round(Cause::Early);
    for waited_for in [Limiter::Source, Limiter::Disk] {
        let woken = hungry(&shared, &b, 0);
        // Since it came, it waited for its file, and has only now asked for permission to send.
        woken.meter.hold(waited_for, shared.clock.now());
        std::thread::sleep(Duration::from_millis(2));
        woken.meter.hold(Limiter::Tokens, shared.clock.now());
        allocator.round(Cause::Early);
        assert_eq!(told(&mut lane_b, &woken).unwrap().assigned, rate(500_000), "{waited_for:?}");
        shared.registry.remove_leaf(woken.key);
        allocator.round(Cause::Early);
    }
}

#[test]
fn what_a_full_lane_was_not_told_is_told_in_the_next_round() {
    let shared = shared(1_000_000);
    let (session, mut lane) = join(&shared, "a");
    let leaf = hungry(&shared, &session, 0);
    while session.control.try_send(ControlMessage::Drain).is_ok() {}
    let mut allocator = Allocator::new(shared.clone());
    allocator.round(Cause::Early);
    assert!(told(&mut lane, &leaf).is_none());
    assert!(session.granted(Direction::Upload).is_unlimited());
    allocator.round(Cause::Early);
    assert_eq!(told(&mut lane, &leaf).unwrap().assigned, rate(1_000_000));
    assert_eq!(session.granted(Direction::Upload), rate(1_000_000));
}

#[test]
fn a_class_reaches_live_transfers_by_transfer_then_peer_then_group() {
    let shared = shared(0);
    let (session, mut lane) = join(&shared, "a");
    let leaf = hungry(&shared, &session, 1);
    let mut allocator = Allocator::new(shared.clone());
    allocator.round(Cause::Early);
    let class = |class: &str| NodePatch { class: Change(Some(Some(class.into()))), ..NodePatch::default() };
    // Nothing is gated and no rate moves: the class alone is sent.
    order(&mut allocator, Target::Group(1), class("background")).unwrap();
    assert_eq!(told(&mut lane, &leaf).unwrap().class, Class::Background);
    order(&mut allocator, Target::Peer(peer_id("a")), class("foreground")).unwrap();
    assert_eq!(told(&mut lane, &leaf).unwrap().class, Class::Foreground);
    order(&mut allocator, Target::Transfer(leaf.key), class("background")).unwrap();
    assert_eq!(told(&mut lane, &leaf).unwrap().class, Class::Background);
    let nonsense = order(&mut allocator, Target::Group(1), class("urgent"));
    assert!(matches!(nonsense, Err(OperateError::Invalid(_))));
}

#[test]
fn what_was_set_can_be_taken_back() {
    let shared = shared(0);
    let (session, mut lane) = join(&shared, "a");
    let leaf = hungry(&shared, &session, 1);
    let mut allocator = Allocator::new(shared.clone());
    allocator.round(Cause::Early);
    let class = |class: Option<&str>| NodePatch { class: Change(Some(class.map(Into::into))), ..NodePatch::default() };
    let peer = || Target::Peer(peer_id("a"));
    order(&mut allocator, Target::Group(1), class(Some("background"))).unwrap();
    order(&mut allocator, peer(), class(Some("foreground"))).unwrap();
    assert_eq!(told(&mut lane, &leaf).unwrap().class, Class::Foreground);
    order(&mut allocator, peer(), class(None)).unwrap();
    assert_eq!(told(&mut lane, &leaf).unwrap().class, Class::Background, "its group's again");
    order(&mut allocator, Target::Group(1), class(Some("default"))).unwrap();
    assert_eq!(told(&mut lane, &leaf).unwrap().class, Class::Foreground, "what it asked for");

    let set = NodePatch { weight: Change(Some(Some(3.0))), ..cap(500_000) };
    let set = NodePatch { upload_floor_bytes_per_second: Change(Some(Some(100_000))), ..set };
    let lifted = |zero: Option<u64>| NodePatch {
        weight: Change(Some(None)),
        upload_cap_bytes_per_second: Change(Some(zero)),
        upload_floor_bytes_per_second: Change(Some(zero)),
        ..NodePatch::default()
    };
    for zero in [None, Some(0)] {
        order(&mut allocator, peer(), set.clone()).unwrap();
        assert_ne!(**session.peer.settings.load(), NodeSettings::default());
        order(&mut allocator, peer(), lifted(zero)).unwrap();
        assert_eq!(**session.peer.settings.load(), NodeSettings::default());
        assert!(session.peer.buckets[0].rate().is_unlimited());
    }
}

#[test]
fn floors_that_cannot_be_kept_are_refused_and_change_nothing() {
    let shared = shared(1_000_000);
    let (session, _lane) = join(&shared, "a");
    let leaf = hungry(&shared, &session, 1);
    let mut allocator = Allocator::new(shared.clone());
    let conflict = |result: Result<(), OperateError>| match result {
        Err(OperateError::Conflict(words)) => words,
        other => panic!("{other:?}"),
    };
    let peer = || Target::Peer(peer_id("a"));
    // A peer's floor lies within its group's: they are not added.
    order(&mut allocator, Target::Group(1), floor(800_000)).unwrap();
    order(&mut allocator, peer(), floor(700_000)).unwrap();
    order(&mut allocator, Target::Transfer(leaf.key), floor(600_000)).unwrap();
    let words = conflict(order(&mut allocator, Target::Group(0), floor(300_000)));
    assert!(words.starts_with("upload: ") && words.contains("group mirrors"), "{words}");
    assert_eq!(shared.groups[0].settings.load().floor[0], 0);
    conflict(order(&mut allocator, peer(), cap(650_000)));
    let words = conflict(order(&mut allocator, Target::Transfer(leaf.key), cap(500_000)));
    assert!(words.contains("above its cap"), "{words}");
    conflict(limit(&mut allocator, 750_000));
    assert_eq!(shared.totals[0].rate(), rate(1_000_000));
    // One always gets out of what does not fit.
    order(&mut allocator, Target::Group(1), floor(0)).unwrap();
    limit(&mut allocator, 750_000).unwrap();
}

#[test]
fn a_floor_above_the_cap_of_the_peers_only_group_is_refused() {
    let shared = shared(1_000_000);
    let _peers = ["a", "b", "z"].map(|name| join(&shared, name));
    let mut allocator = Allocator::new(shared.clone());
    let peer = |name: &str| Target::Peer(peer_id(name));
    let conflict = |result: Result<(), OperateError>| match result {
        Err(OperateError::Conflict(words)) => words,
        other => panic!("{other:?}"),
    };
    order(&mut allocator, Target::Group(1), cap(300_000)).unwrap();
    let words = conflict(order(&mut allocator, peer("a"), floor(400_000)));
    assert!(words.contains("group mirrors: the floors below it add up to 400.0 KB/s"), "{words}");
    order(&mut allocator, peer("a"), floor(200_000)).unwrap();
    conflict(order(&mut allocator, peer("b"), floor(200_000)));
    conflict(order(&mut allocator, Target::Group(1), cap(150_000)));
    // Outside the group it has nothing to do with its cap; but what the group is guaranteed is not there twice.
    order(&mut allocator, peer("z"), floor(700_000)).unwrap();
    let words = conflict(order(&mut allocator, Target::Group(1), floor(300_001)));
    assert!(words.contains("above its cap"), "{words}");
    let words = conflict(order(&mut allocator, peer("z"), floor(800_001)));
    assert!(words.contains("the floors add up to 1.0 MB/s"), "{words}");
    order(&mut allocator, peer("z"), floor(800_000)).unwrap();
}

#[test]
fn a_peer_in_two_groups_keeps_its_own_cap_over_their_sum() {
    let shared = shared(1_000_000);
    let (session, mut lane) = join(&shared, "a");
    let (one, other) = (hungry(&shared, &session, 0), hungry(&shared, &session, 1));
    let mut allocator = Allocator::new(shared.clone());
    order(&mut allocator, Target::Peer(peer_id("a")), cap(300_000)).unwrap();
    let book = shared.book.load();
    let plan = book.plans[0].as_ref().unwrap();
    assert_eq!((plan.peers.len(), plan.peers[0].assigned), (1, rate(300_000)));
    let mut assigned = Vec::new();
    while let Ok(message) = lane.try_recv() {
        if let ControlMessage::Rates(rates) = message {
            assigned.extend(rates.iter().map(|rate| (rate.key, rate.rates.assigned)));
        }
    }
    assert_eq!(assigned, [(one.key, rate(150_000)), (other.key, rate(150_000))]);
}

/// Each takes what a socket holds and acknowledges none of it. Beside what the others carried meanwhile, that was much.
#[test]
fn a_crowd_that_falls_silent_does_not_lower_the_total() {
    let shared = shared(1_000_000);
    let ((gone, _lane_gone), (here, _lane_here)) = (join(&shared, "a"), join(&shared, "b"));
    let (silent, living) = (hungry(&shared, &gone, 0), hungry(&shared, &here, 0));
    let mut allocator = Allocator::new(shared.clone());
    allocator.round(Cause::Tick);
    for round in 0..5 {
        std::thread::sleep(Duration::from_millis(20));
        silent.meter.hold(Limiter::Network, shared.clock.now());
        for (leaf, bytes) in [(&silent, 12_000), (&living, 4_000)] {
            leaf.meter.count(bytes, round * bytes);
            shared.moved[Direction::Upload.index()].fetch_add(bytes, Relaxed);
        }
        shared.in_sockets.fetch_add(12_000, Relaxed);
        allocator.round(Cause::Tick);
        assert_eq!(shared.totals[0].rate(), rate(1_000_000), "round {round}");
    }
}

#[test]
fn what_was_achieved_does_not_outlive_the_transfers() {
    let shared = shared(0);
    let (session, _lane) = join(&shared, "a");
    let leaf = hungry(&shared, &session, 0);
    let mut allocator = Allocator::new(shared.clone());
    let (start, upload) = (shared.clock.now(), Direction::Upload.index());
    let mut sample = |millis| {
        allocator.sample(start + Duration::from_millis(millis));
        shared.achieved[upload].load(Relaxed)
    };
    shared.moved[upload].store(1_000_000, Relaxed);
    assert!(sample(1000) > 900_000);
    assert!(sample(1250) > 700_000, "a pause is none: it is still there");
    shared.moved[upload].store(1_000_001, Relaxed);
    shared.registry.remove_leaf(leaf.key);
    assert!(sample(1500) > 0, "small files that come one by one are no rest");
    assert_eq!(sample(1750), 0);
}

#[test]
fn an_order_for_a_peer_that_is_away_waits_for_it() {
    let shared = shared(0);
    shared.registry.peer_settings.insert(peer_id("a"), NodeSettings::default());
    let mut allocator = Allocator::new(shared.clone());
    order(&mut allocator, Target::Peer(peer_id("a")), cap(5_000)).unwrap();
    let (session, _lane) = join(&shared, "a");
    assert_eq!(session.peer.buckets[0].rate(), rate(5_000));
    let unknown = order(&mut allocator, Target::Peer(peer_id("b")), cap(5_000));
    assert!(matches!(unknown, Err(OperateError::NotFound(_))));
}

#[test]
fn fairness_is_judged_among_peers_that_the_total_holds() {
    let showing = |group, peer, weight, achieved, held_by_total| Showing {
        group: GroupKey(group),
        peer: PeerKey(peer),
        weight,
        achieved,
        held_by_total,
    };
    assert_eq!(jain_index(Vec::new()), None);
    assert_eq!(jain_index(vec![showing(0, 1, 1.0, 10.0, true), showing(0, 2, 1.0, 1.0, false)]), None);
    // Two transfers of one peer are one showing; a weight of 3 deserves thrice; the capped one does not count.
    let even = vec![
        showing(0, 1, 1.0, 4.0, true),
        showing(0, 2, 3.0, 30.0, true),
        showing(0, 1, 1.0, 6.0, false),
        showing(0, 3, 1.0, 0.5, false),
    ];
    assert_eq!(jain_index(even), Some(1.0));
    // Groups stand at different levels by right.
    let groups = [(0, 1, 10.0), (0, 2, 10.0), (1, 3, 50.0), (1, 4, 50.0), (2, 5, 1.0)];
    let groups = groups.map(|(group, peer, achieved)| showing(group, peer, 1.0, achieved, true));
    assert_eq!(jain_index(groups.to_vec()), Some(1.0));
    let uneven = jain_index(vec![showing(0, 1, 1.0, 30.0, true), showing(0, 2, 1.0, 10.0, true)]);
    assert!((uneven.unwrap() - 0.8).abs() < 1e-9);
}

#[test]
fn an_early_round_soon_after_a_tick_does_not_forget_what_held_a_leaf() {
    let shared = shared(1_000_000);
    let (session, _lane) = join(&shared, "a");
    let leaf = hungry(&shared, &session, 0);
    let mut allocator = Allocator::new(shared.clone());
    std::thread::sleep(Duration::from_millis(20));
    leaf.meter.count(10_000, 10_000);
    allocator.sample(shared.clock.now());
    allocator.round(Cause::Tick);
    leaf.meter.hold(Limiter::Network, shared.clock.now());
    allocator.round(Cause::Early);
    let book = shared.book.load();
    assert_eq!(book.conducts[0][0].limited.dominant(), Limiter::Tokens);
    assert_eq!(book.plans[0].as_ref().unwrap().leaves[0].assigned, rate(1_000_000));
}

/// 10,000 peers with one transfer each. The bound leaves room for unoptimised builds on loaded machines; `--nocapture` shows
/// what the rounds cost.
#[test]
fn a_round_of_ten_thousand_peers_is_cheap() {
    let shared = shared(1_000_000_000);
    let peers: Vec<_> = (0..10_000)
        .map(|number| {
            let (session, lane) = join(&shared, &number.to_string());
            (hungry(&shared, &session, number % 2), lane)
        })
        .collect();
    let mut allocator = Allocator::new(shared.clone());
    let mut costs = Vec::new();
    for round in 0..4u64 {
        for (leaf, _) in &peers {
            leaf.meter.count(250_000, (round + 1) * 250_000);
        }
        shared.moved[0].fetch_add(250_000 * 10_000, Relaxed);
        allocator.sample(shared.clock.now());
        let began = host::thread_cpu_nanos();
        allocator.round(Cause::Tick);
        costs.push(Duration::from_nanos(host::thread_cpu_nanos() - began));
    }
    println!("rounds of 10,000 peers: {costs:?}");
    assert_eq!(shared.book.load().plans[0].as_ref().unwrap().leaves.len(), 10_000);
    assert!(costs.iter().min().unwrap() < &Duration::from_millis(250), "{costs:?}");
}
