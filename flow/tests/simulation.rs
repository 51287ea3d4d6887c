//! The allocator and the learnt total together, round by round in virtual time: see `world`.

mod support;
mod world;

use flow::{Rate, jain};
use world::{GREEDY, IDLE, Source, World};

const LINE: f64 = 10_000_000.0;

fn limit(bytes_per_second: f64) -> Rate {
    Rate::from_f64(bytes_per_second)
}

fn mixed(peers: usize) -> Vec<Source> {
    (0..peers)
        .map(|index| match index % 4 {
            0 => Source { path: 2_000.0, ..GREEDY },
            1 => Source { offered: 5_000.0, ..GREEDY },
            _ => Source { weight: 1.0 + (index % 10) as f64, ..GREEDY },
        })
        .collect()
}

#[test]
fn shares_settle_within_four_rounds_of_a_step() {
    let mut world = World::new(limit(LINE / 2.0), LINE, mixed(1000));
    world.rounds(4);
    assert!(world.unfairness() < 0.02, "after the start: {}", world.unfairness());
    // Half of those who had all they wanted now want more, and half of the greedy vanish.
    for (index, source) in world.sources.iter_mut().enumerate() {
        match index % 8 {
            0 | 1 => *source = GREEDY,
            2 | 3 => *source = IDLE,
            _ => {}
        }
    }
    world.rounds(4);
    assert!(world.unfairness() < 0.02, "after the step: {}", world.unfairness());
    assert!((world.sum() - LINE / 2.0).abs() < 0.01 * LINE / 2.0, "{}", world.sum());
}

#[test]
fn an_idle_peer_has_its_share_back_within_two_rounds() {
    let mut world = World::new(limit(LINE), 2.0 * LINE, vec![GREEDY; 100]);
    world.sources[7] = IDLE;
    world.rounds(120);
    assert_eq!(world.plan.leaves[7].assigned, Rate::ZERO);
    world.sources[7] = GREEDY;
    world.rounds(2);
    assert!((world.achieved[7] - LINE / 100.0).abs() < 0.02 * LINE / 100.0, "{}", world.achieved[7]);
    assert!(jain(&world.achieved) > 0.9999);
}

#[test]
fn a_line_that_halves_is_followed_within_four_rounds() {
    for configured in [limit(LINE), limit(5.0 * LINE), Rate::UNLIMITED] {
        let mut world = World::new(configured, LINE, vec![GREEDY; 200]);
        world.rounds(30);
        world.line = LINE / 2.0;
        world.rounds(4);
        let allowed = world.total.allowed().as_f64();
        // A try asks for 5 % more than the line is known to carry.
        assert!(allowed <= 1.055 * world.line && allowed >= 0.9 * world.line, "{configured}: {allowed}");
        world.rounds(1);
        assert!(world.unfairness() < 0.02, "{configured}: {}", world.unfairness());
    }
}

#[test]
fn a_restored_line_is_found_within_four_rounds() {
    for configured in [limit(LINE), limit(5.0 * LINE), Rate::UNLIMITED] {
        // At any moment between two tries.
        for halved in 20..26 {
            let mut world = World::new(configured, LINE, vec![GREEDY; 200]);
            world.rounds(30);
            world.line = LINE / 2.0;
            world.rounds(halved);
            world.line = LINE;
            world.rounds(4);
            assert!(world.sum() > 0.92 * LINE, "{configured} after {halved}: {}", world.sum());
        }
    }
}

#[test]
fn a_learnt_line_is_used_within_five_percent_below_it() {
    let mut world = World::new(Rate::UNLIMITED, LINE, mixed(400));
    world.rounds(10);
    let mut used = 0.0;
    let mut saturated = 0;
    for _ in 0..200 {
        world.round();
        used += world.sum() / 200.0;
        saturated += usize::from(world.sum() >= 0.999 * LINE);
    }
    assert!(used > 0.95 * LINE, "{used}");
    // The tries, one round of three and 5 % above the line, and nothing else, fill the line's queue.
    assert!(saturated < 70, "{saturated}");
}

#[test]
fn an_idle_server_never_forgets_its_line() {
    let mut world = World::new(Rate::UNLIMITED, LINE, vec![GREEDY; 50]);
    world.rounds(20);
    world.sources.fill(Source { offered: 1_000.0, ..GREEDY });
    world.rounds(3);
    let known = (world.total.allowed(), world.total.capacity());
    assert!(known.1.is_some());
    world.rounds(500);
    world.sources.fill(IDLE);
    world.rounds(500);
    assert_eq!((world.total.allowed(), world.total.capacity()), known);
    world.sources.fill(GREEDY);
    world.rounds(2);
    assert!(world.sum() > 0.9 * LINE, "{}", world.sum());
}

#[test]
fn nothing_makes_waves() {
    let mut world = World::new(limit(LINE), 3.0 * LINE, mixed(500));
    world.rounds(10);
    let steady = world.plan.clone();
    for _ in 0..100 {
        world.round();
        for (now, before) in world.plan.leaves.iter().zip(&steady.leaves) {
            let (now, before) = (now.assigned.as_f64(), before.assigned.as_f64());
            // No more than the noise of the measurement, twice: once then, once now.
            assert!((now - before).abs() <= 0.07 * before, "{now} {before}");
        }
        assert!((world.sum() - LINE).abs() < 0.01 * LINE);
    }
}

#[test]
fn churn_keeps_the_line_used() {
    let mut world = World::new(limit(LINE), 2.0 * LINE, vec![GREEDY; 300]);
    world.rounds(3);
    let mut used = 0.0;
    for round in 0..100 {
        for place in 0..30 {
            let index = (round * 37 + place * 11) % 300;
            world.sources[index] = if (round + place) % 3 == 0 { IDLE } else { GREEDY };
        }
        world.round();
        used += world.sum() / 100.0;
    }
    assert!(used > 0.97 * LINE, "{used}");
}

/// 2, 3 and 5 Mbit/s, then somebody for whom the line is there: he had a thirtieth of it for five rounds.
#[test]
fn who_comes_beside_slow_lines_has_the_line_with_the_next_round() {
    let slow = [250_000.0, 375_000.0, 625_000.0].map(|path| Source { path, ..GREEDY });
    let mut world = World::new(Rate::UNLIMITED, LINE, slow.into_iter().chain([IDLE]).collect());
    world.rounds(10);
    assert!(world.total.capacity().is_some_and(|capacity| capacity < limit(2_000_000.0)));
    world.sources[3] = GREEDY;
    world.rounds(3);
    assert!(world.achieved[3] > 0.8 * (LINE - 1_250_000.0), "{:?}", world.achieved);
    // It is learnt again, as what the four of them carry, and nobody loses.
    world.rounds(20);
    assert!(world.achieved[3] > 0.9 * (LINE - 1_250_000.0), "{:?}", world.achieved);
    for (achieved, source) in world.achieved.iter().zip(&slow) {
        assert!(*achieved > 0.95 * source.path, "{:?}", world.achieved);
    }
}

/// The fourth is not the cause of the first three's being slow: he takes from them, and that shows that they share.
#[test]
fn who_comes_where_all_share_a_line_opens_it_once() {
    let mut world = World::new(Rate::UNLIMITED, LINE, [vec![GREEDY; 3], vec![IDLE; 3]].concat());
    world.rounds(10);
    let mut opened = 0;
    for comes in 3..6 {
        world.sources[comes] = GREEDY;
        for _ in 0..20 {
            world.round();
            opened += u32::from(world.total.allowed().is_unlimited());
        }
        assert!(world.unfairness() < 0.1, "{:?}", world.achieved);
    }
    assert_eq!(opened, 1);
}
