//! What is left over is lent to the peers of all workers alike.

use std::sync::Arc;

use super::sim::{MILLI, SECOND, Sim, assigned, borrowing, rate};
use crate::shaper::{LeafRates, SharedBucket};
use crate::{Class, GroupKey, PeerKey, Rate};

/// How late a driver's timer is at most, and how long a leaf takes to ask again.
const LATE: [(u64, u64); 3] = [(0, 0), (MILLI / 4, 50_000), (MILLI, 300_000)];

fn sim(workers: usize, (late, asks_after): (u64, u64)) -> Sim {
    let mut sim = Sim::new(rate(20_000_000), workers);
    (sim.late_ns_max, sim.gathers, sim.asks_after_ns) = (late, true, asks_after);
    sim
}

/// What a leaf got since `from`, in bytes per second.
fn got(sim: &Sim, from: u64, leaf: u64) -> f64 {
    sim.bytes(from, sim.now, |of| of == leaf) as f64 * 1e9 / (sim.now - from) as f64
}

#[track_caller]
fn near(what: &str, got: f64, expected: f64) {
    assert!((0.99..1.01).contains(&(got / expected)), "{what}: {got:.0} of {expected:.0} B/s");
}

/// Workers took turns borrowing, as quick as they were and whatever they had to serve: of what one peer had left of its share, those on one
/// worker had a fifth, and one of twelve equal transfers had 3 % more than another.
#[test]
fn what_is_left_over_is_lent_on_all_workers_alike() {
    for (workers, on_first) in [(2, 6), (2, 10), (2, 3), (4, 5)] {
        for part_left in [3, 10, 40] {
            for late in LATE {
                let mut sim = sim(workers, late);
                // The first worker has `on_first` of twelve, the others have the rest.
                let others = workers as u64 - 1;
                let rest = (12 - on_first) / others;
                let here = |leaf: u64| match leaf % workers as u64 {
                    0 => leaf / (workers as u64) < on_first,
                    _ => leaf / (workers as u64) < rest,
                };
                let leaves: Vec<u64> = (0..12 * workers as u64).filter(|&leaf| here(leaf)).collect();
                let guarantee = 20_000_000 * (100 - part_left) / 100 / leaves.len() as u64;
                for &leaf in &leaves {
                    sim.join(leaf, Rate::UNLIMITED, assigned(guarantee));
                    sim.start(leaf);
                }
                sim.run(22 * SECOND);
                sim.check();
                let share = 20e6 / leaves.len() as f64;
                for &leaf in &leaves {
                    let what =
                        format!("{workers} workers, {on_first} of 12 on one, {part_left} % left, late by {late:?}");
                    near(&what, got(&sim, 2 * SECOND, leaf), share);
                }
            }
        }
    }
}

/// On one worker peers with much and with little guaranteed take turns, too: what they are lent is by their weights. The lone one's pieces are
/// the larger: with a memory of its own pieces each of the others lost what it had not yet borrowed whenever it left the ring for a moment.
#[test]
fn peers_borrow_by_their_weights_whatever_they_are_guaranteed() {
    for late in LATE {
        for weight in [1.0, 3.0] {
            let mut sim = sim(2, late);
            sim.join(0, Rate::UNLIMITED, assigned(5_000_000));
            sim.shapers[0].put_peer(PeerKey(0), Arc::new(SharedBucket::new(Rate::UNLIMITED)), weight);
            for leaf in [1, 3, 5, 7] {
                sim.join(leaf, Rate::UNLIMITED, assigned(1_250_000));
            }
            sim.start(0);
            // Between two of its pieces, when the others begin.
            sim.run(5 * SECOND + 137_000);
            [1, 3, 5, 7].into_iter().for_each(|leaf| sim.start(leaf));
            let from = sim.now + 2 * SECOND;
            sim.run(from + 20 * SECOND);
            let lent = 10e6 / (4.0 + weight);
            near(&format!("{weight} late by {late:?}"), got(&sim, from, 0), 5e6 + weight * lent);
            for leaf in [1, 3, 5, 7] {
                near(&format!("beside {weight}, late by {late:?}"), got(&sim, from, leaf), 1.25e6 + lent);
            }
        }
    }
}

/// Measured by what is guaranteed to a worker's leaves, one with four that wait for a cap borrowed 6.6 of 8 MB/s for its fifth.
#[test]
fn who_may_not_borrow_counts_for_nothing() {
    for late in LATE {
        for cap in ["group", "peer", "leaf"] {
            let mut sim = sim(2, late);
            let eight = Arc::new(SharedBucket::new(rate(8_000_000)));
            sim.shapers.iter_mut().for_each(|shaper| shaper.put_group(GroupKey(7), eight.clone(), 1.0));
            for leaf in [2, 4, 6, 8] {
                let rates = assigned(2_000_000);
                match cap {
                    "group" => sim.join_at(leaf, PeerKey(leaf), GroupKey(7), Rate::UNLIMITED, rates),
                    "peer" => sim.join(leaf, rate(2_000_000), rates),
                    _ => sim.join(leaf, Rate::UNLIMITED, LeafRates { ceiling: rate(2_000_000), ..rates }),
                }
                sim.start(leaf);
            }
            for leaf in [0, 1] {
                sim.join(leaf, Rate::UNLIMITED, assigned(2_000_000));
                sim.start(leaf);
            }
            sim.run(22 * SECOND);
            for leaf in [0, 1] {
                near(&format!("beside a {cap}'s cap, late by {late:?}"), got(&sim, 2 * SECOND, leaf), 6e6);
            }
        }
    }
}

/// What it had borrowed while nobody else wanted anything was held against a worker when others came: its leaves had 0 for minutes.
#[test]
fn a_worker_that_borrowed_alone_borrows_like_the_others_when_they_come() {
    for late in LATE {
        for (guarantee, others) in [(0, 4), (400_000, 4), (300_000, 40)] {
            let mut sim = sim(2, late);
            let rates = if guarantee == 0 { borrowing(1.0) } else { assigned(guarantee) };
            let first: Vec<u64> = (0..4).map(|nth| 2 * nth).collect();
            let then: Vec<u64> = (0..others).map(|nth| 2 * nth + 1).collect();
            first.iter().chain(&then).for_each(|&leaf| sim.join(leaf, Rate::UNLIMITED, rates));
            first.iter().for_each(|&leaf| sim.start(leaf));
            sim.run(60 * SECOND);
            first.iter().for_each(|&leaf| sim.stop(leaf));
            sim.run(60 * SECOND + 10 * MILLI);
            then.iter().for_each(|&leaf| sim.start(leaf));
            sim.run(60 * SECOND + 20 * MILLI);
            first.iter().for_each(|&leaf| sim.start(leaf));
            // Their last pieces alone were large.
            sim.run(105 * SECOND);
            let share = 20e6 / (4 + others) as f64;
            let all = first.iter().map(|&leaf| got(&sim, 75 * SECOND, leaf)).sum::<f64>() / 4.0;
            near(&format!("{guarantee} B/s guaranteed, {others} others, late by {late:?}"), all, share);
        }
    }
}

/// With more to lie unclaimed than for foreground, what a timer was late was lost: 1.1 % of the line.
#[test]
fn background_of_several_workers_fills_the_line_and_shares_it() {
    for late in LATE {
        for foreground in [0, 6_000_000] {
            let mut sim = sim(2, late);
            let background = LeafRates { class: Class::Background, ..assigned(100_000) };
            [1, 2, 3].into_iter().for_each(|leaf| sim.join(leaf, Rate::UNLIMITED, background));
            let rates = LeafRates { ceiling: rate(foreground), ..assigned(foreground) };
            sim.join(0, Rate::UNLIMITED, rates);
            (0..4).for_each(|leaf| sim.start(leaf));
            sim.run(22 * SECOND);
            let share = (20_000_000 - foreground) as f64 / 3.0;
            for leaf in [1, 2, 3] {
                near(&format!("beside {foreground}, late by {late:?}"), got(&sim, 2 * SECOND, leaf), share);
            }
            let used = sim.bytes(2 * SECOND, 22 * SECOND, |_| true) as f64 / 400e6;
            assert!((0.997..1.003).contains(&used), "{used:.4} of the line beside {foreground}, late by {late:?}");
        }
    }
}

/// Only the total was left to foreground elsewhere. Below a group's cap, with the total far from full, whoever woke first had it: background
/// had half of the cap, and more beside several.
#[test]
fn background_leaves_a_groups_cap_to_foreground_on_another_worker() {
    for late in LATE {
        for foreground in [0, 1, 4] {
            let mut sim = sim(2, late);
            sim.total.set_rate(rate(100_000_000), sim.at());
            let cap = Arc::new(SharedBucket::new(rate(8_000_000)));
            cap.set_fair_rate(1_000_000.0);
            sim.shapers.iter_mut().for_each(|shaper| shaper.put_group(GroupKey(7), cap.clone(), 1.0));
            for leaf in (0..foreground).map(|nth| 2 * nth) {
                sim.join_at(leaf, PeerKey(leaf), GroupKey(7), Rate::UNLIMITED, assigned(2_000_000 / foreground));
                sim.start(leaf);
            }
            let background = LeafRates { class: Class::Background, ..assigned(100_000) };
            sim.join_at(1, PeerKey(1), GroupKey(7), Rate::UNLIMITED, background);
            sim.start(1);
            sim.run(22 * SECOND);
            sim.check();
            let used = sim.bytes(2 * SECOND, 22 * SECOND, |_| true) as f64 / 160e6;
            assert!((0.997..1.003).contains(&used), "{used:.4} of the cap beside {foreground}, late by {late:?}");
            let got = got(&sim, 2 * SECOND, 1);
            assert!(foreground == 0 || got < 200_000.0, "{got:.0} B/s beside {foreground} in front, late by {late:?}");
        }
    }
}

/// So did workers below a group's cap, with the total far from full: one peer on the first worker borrowed as much as seven on the other.
#[test]
fn what_a_groups_cap_leaves_over_is_lent_on_all_workers_alike() {
    for late in LATE {
        let mut sim = sim(2, late);
        sim.total.set_rate(rate(100_000_000), sim.at());
        let cap = Arc::new(SharedBucket::new(rate(8_000_000)));
        cap.set_fair_rate(1_000_000.0);
        sim.shapers.iter_mut().for_each(|shaper| shaper.put_group(GroupKey(7), cap.clone(), 1.0));
        let leaves = [0, 1, 3, 5, 7, 9, 11, 13];
        for leaf in leaves {
            sim.join_at(leaf, PeerKey(leaf), GroupKey(7), Rate::UNLIMITED, assigned(500_000));
            sim.start(leaf);
        }
        sim.run(22 * SECOND);
        sim.check();
        for leaf in leaves {
            near(&format!("leaf {leaf} below a cap, late by {late:?}"), got(&sim, 2 * SECOND, leaf), 1e6);
        }
    }
}

/// Uncapped, with what a unit of a peer's weight is assigned there.
fn put_groups(sim: &mut Sim, groups: &[(u32, f64)]) {
    for &(group, fair) in groups {
        let bucket = Arc::new(SharedBucket::new(Rate::UNLIMITED));
        bucket.set_fair_rate(fair);
        sim.shapers.iter_mut().for_each(|shaper| shaper.put_group(GroupKey(group), bucket.clone(), 1.0));
    }
}

/// On each worker groups took turns by their own weights, however few of their peers are there: the one ran ahead and stopped its worker, and
/// the ten of the other group, who were there too, borrowed a tenth of what they were due.
#[test]
fn what_is_left_over_is_lent_alike_where_groups_live_on_workers_unevenly() {
    for late in LATE {
        let mut sim = sim(2, late);
        put_groups(&mut sim, &[(1, 1_000_000.0), (2, 1_000_000.0)]);
        let one = (0..10).map(|nth| (2 * nth, 1));
        let leaves: Vec<_> = one.chain([(20, 2)]).chain((0..9).map(|nth| (2 * nth + 1, 2))).collect();
        for &(leaf, group) in &leaves {
            sim.join_at(leaf, PeerKey(leaf), GroupKey(group), Rate::UNLIMITED, assigned(500_000));
            sim.start(leaf);
        }
        sim.run(22 * SECOND);
        sim.check();
        for (leaf, group) in leaves {
            near(&format!("leaf {leaf} of group {group}, late by {late:?}"), got(&sim, 2 * SECOND, leaf), 1e6);
        }
    }
}

/// And a group whose peers are worth little had half of the turns of its worker: two equals of another group had 5 and 15 MB/s.
#[test]
fn a_peer_of_another_group_on_the_same_worker_costs_nobody_his_loans() {
    for late in LATE {
        let mut sim = sim(2, late);
        put_groups(&mut sim, &[(1, 100_000.0), (2, 9_500_000.0)]);
        for (leaf, group, guarantee) in [(0, 1, 100_000), (2, 2, 5_000_000), (1, 2, 5_000_000)] {
            sim.join_at(leaf, PeerKey(leaf), GroupKey(group), Rate::UNLIMITED, assigned(guarantee));
            sim.start(leaf);
        }
        sim.run(22 * SECOND);
        sim.check();
        let [beside, alone] = [2, 1].map(|leaf| got(&sim, 2 * SECOND, leaf));
        near(&format!("beside it, late by {late:?}"), beside, alone);
    }
}

/// The largest step was forgotten after so many others, however small: before a hundred with small pieces had come as far as four with large
/// ones, those stood beside them again, and they had 95 % of their share.
#[test]
fn many_with_small_pieces_borrow_as_much_as_few_with_large_ones() {
    for late in LATE {
        let mut sim = sim(2, late);
        sim.total.set_rate(rate(100_000_000), sim.at());
        let few: Vec<u64> = (0..4).map(|nth| 2 * nth).collect();
        let many: Vec<u64> = (0..100).map(|nth| 2 * nth + 1).collect();
        few.iter().for_each(|&leaf| sim.join(leaf, Rate::UNLIMITED, assigned(20_000_000)));
        many.iter().for_each(|&leaf| sim.join(leaf, Rate::UNLIMITED, assigned(50_000)));
        sim.group.set_fair_rate(144_000.0);
        few.iter().chain(&many).for_each(|&leaf| sim.start(leaf));
        sim.run(42 * SECOND);
        sim.check();
        let all = many.iter().map(|&leaf| got(&sim, 2 * SECOND, leaf)).sum::<f64>();
        near(&format!("a hundred, late by {late:?}"), all, 100.0 * (50_000.0 + 15e6 / 104.0));
    }
}

/// Credit is a part of the line: by bytes, a group that was worth a thousand times as much from one moment to the next had one turn of a second.
#[test]
fn a_total_that_is_raised_is_lent_alike_at_once() {
    let mut sim = sim(2, LATE[1]);
    sim.total.set_rate(rate(200_000), sim.at());
    let groups: Vec<_> = (0..2).map(|_| Arc::new(SharedBucket::new(Rate::UNLIMITED))).collect();
    for (group, bucket) in (1..).zip(&groups) {
        sim.shapers.iter_mut().for_each(|shaper| shaper.put_group(GroupKey(group), bucket.clone(), 1.0));
    }
    for (fair, until) in [(50_000, 20 * SECOND), (50_000_000, 21 * SECOND)] {
        groups.iter().for_each(|bucket| bucket.set_fair_rate(fair as f64));
        sim.total.set_rate(rate(4 * fair), sim.at());
        for leaf in 0..4 {
            let group = GroupKey(1 + leaf as u32 / 2);
            if sim.now == 0 {
                sim.join_at(leaf, PeerKey(leaf), group, Rate::UNLIMITED, assigned(fair / 2));
                sim.start(leaf);
            }
            sim.set(leaf, assigned(fair / 2));
        }
        sim.run(until);
        sim.check();
    }
    for leaf in 0..4 {
        let got = got(&sim, 20 * SECOND + SECOND / 2, leaf);
        assert!((45e6..55e6).contains(&got), "leaf {leaf}: {got:.0} of 50 MB/s");
    }
}

/// A group kept the credit it came with for as long as one peer of it always had a transfer waiting: an operator's order gave all groups the
/// credit of their weights, and ten peers on that worker had a tenth each of what one with eight transfers had.
#[test]
fn an_order_or_a_departure_while_all_borrow_leaves_loans_by_weight() {
    for late in LATE {
        let mut sim = sim(2, late);
        let groups = [(7, 1e6), (8, 1e6)];
        put_groups(&mut sim, &groups);
        // One peer with eight transfers in the one group and ten with one each in the other, all on the first worker; one of each on the
        // second. The one with eight has nothing guaranteed, and so always somebody who waits to borrow.
        for leaf in (0..16).step_by(2) {
            sim.join_at(leaf, PeerKey(100), GroupKey(7), Rate::UNLIMITED, borrowing(1.0));
        }
        for leaf in (16..36).step_by(2) {
            sim.join_at(leaf, PeerKey(leaf), GroupKey(8), Rate::UNLIMITED, assigned(1_000_000));
        }
        for (leaf, group) in [(1, 7), (3, 8)] {
            sim.join_at(leaf, PeerKey(leaf), GroupKey(group), Rate::UNLIMITED, assigned(1_000_000));
        }
        for leaf in (0..36).step_by(2).chain([1, 3]) {
            sim.start(leaf);
        }
        sim.run(3 * SECOND);
        put_groups(&mut sim, &groups);
        let from = sim.now + SECOND;
        sim.run(from + 20 * SECOND);
        sim.check();
        let lent = 20e6 - 12e6;
        let of_one = (0..16).step_by(2).map(|leaf| got(&sim, from, leaf)).sum();
        near(&format!("of one with eight, late by {late:?}"), of_one, lent / 13.0);
        for leaf in (16..36).step_by(2).chain([1, 3]) {
            near(&format!("{leaf} late by {late:?}"), got(&sim, from, leaf), 1e6 + lent / 13.0);
        }
    }
}
