//! The total as rounds go by: misses, tries, a line that shrinks, fails and comes back.

use super::*;
use crate::PeerKey;

fn rate(bytes_per_second: u64) -> Rate {
    Rate::from_bytes_per_second(bytes_per_second)
}

fn controller(limit: u64) -> TotalController {
    TotalController::new(Rate::from_wire(limit), TotalKnobs::default())
}

fn seen(controller: &TotalController, used: f64, limiter: Limiter) -> RoundObservation {
    let mut bytes_by_limiter = [0.0; 6];
    bytes_by_limiter[limiter.index()] = used;
    let (short_of_tokens, witnesses) = (limiter == Limiter::Tokens, Witnesses::Several);
    RoundObservation {
        used,
        released: used,
        in_force: controller.allowed(),
        bytes_by_limiter,
        short_of_tokens,
        witnesses,
    }
}

fn round(controller: &mut TotalController, used: f64, limiter: Limiter) -> u64 {
    let seen = seen(controller, used, limiter);
    controller.round(&seen).bytes_per_second()
}

#[test]
fn one_miss_is_damped_as_the_seed_says_and_two_are_a_smaller_line() {
    let mut total = controller(1_000_000);
    let damped: f64 = 1_000_000.0 - 0.15 * (1_000_000.0 - 500_000.0 / 0.97);
    assert_eq!(round(&mut total, 500_000.0, Limiter::Network), damped.round() as u64);
    // What stands in the sockets drains first.
    assert_eq!(round(&mut total, 500_000.0, Limiter::Network), 436_500);
    assert_eq!(total.capacity(), Some(rate(500_000)));
    assert_eq!(round(&mut total, 436_500.0, Limiter::Tokens), 485_000);
}

#[test]
fn one_miss_is_made_good_when_somebody_wants_more() {
    let mut total = controller(1_000_000);
    round(&mut total, 500_000.0, Limiter::Network);
    assert_eq!(round(&mut total, 900_000.0, Limiter::Tokens), 1_000_000);
    assert_eq!(total.capacity(), None);
}

#[test]
fn without_a_limit_nothing_is_gated_until_the_path_dominates() {
    let mut total = controller(0);
    for limiter in [Limiter::Source, Limiter::Disk, Limiter::Worker] {
        assert_eq!(round(&mut total, 500_000.0, limiter), u64::MAX);
    }
    assert_eq!(round(&mut total, 500_000.0, Limiter::Network), 606_250, "a first look is seldom a whole round");
    assert_eq!(round(&mut total, 500_000.0, Limiter::Network), 485_000);
    total.set_limit(rate(300_000));
    assert_eq!(total.allowed(), rate(300_000));
    total.set_limit(rate(900_000));
    assert_eq!(total.allowed(), rate(485_000));
    total.set_limit(Rate::UNLIMITED);
    assert_eq!((total.allowed(), total.capacity()), (Rate::UNLIMITED, None));
}

/// A controller that has found a line of 1 MB/s and rests at its margin.
fn settled() -> TotalController {
    let mut total = controller(0);
    round(&mut total, 1_000_000.0, Limiter::Network);
    assert_eq!(round(&mut total, 1_000_000.0, Limiter::Network), 970_000);
    total
}

#[test]
fn a_try_every_few_rounds_and_on_while_it_succeeds() {
    let mut total = settled();
    assert_eq!(round(&mut total, 970_000.0, Limiter::Tokens), 970_000);
    assert_eq!(round(&mut total, 970_000.0, Limiter::Tokens), 1_047_600);
    // It came: that may be chance.
    let again = 0.97 * 1_047_600.0 * 1.08;
    assert_eq!(round(&mut total, 1_047_600.0, Limiter::Tokens), f64::round(again) as u64);
    // It came again: the line has changed, by nobody knows how much.
    let margin = 0.97 * again;
    assert_eq!(round(&mut total, again, Limiter::Tokens), (margin * 2.2f64).round() as u64);
    // The line carries 1.3 MB/s and no more.
    assert_eq!(round(&mut total, 1_300_000.0, Limiter::Network), 1_261_000);
    assert_eq!(total.capacity(), Some(rate(1_300_000)));
}

#[test]
fn soon_after_a_shrinking_the_search_is_careful() {
    let mut total = settled();
    round(&mut total, 500_000.0, Limiter::Network);
    round(&mut total, 500_000.0, Limiter::Network);
    assert_eq!(total.capacity(), Some(rate(500_000)), "a smaller line, measured too small");
    while total.allowed() <= rate(485_000) {
        let used = total.allowed().as_f64();
        round(&mut total, used, Limiter::Tokens);
    }
    for _ in 0..2 {
        let used = total.allowed().as_f64();
        round(&mut total, used, Limiter::Tokens);
    }
    let capacity = total.capacity().map_or(0.0, Rate::as_f64);
    assert_eq!(total.allowed(), Rate::from_f64(0.97 * capacity * 1.25), "and not 2.2 times");
}

const ONE: Witnesses = Witnesses::One(PeerKey(1));
const OTHER: Witnesses = Witnesses::One(PeerKey(2));

fn round_of(controller: &mut TotalController, witnesses: Witnesses, used: f64, limiter: Limiter) -> u64 {
    let seen = RoundObservation { witnesses, ..seen(controller, used, limiter) };
    controller.round(&seen).bytes_per_second()
}

#[test]
fn what_one_alone_taught_may_be_his_own_line_and_is_forgotten_when_he_is_not_alone() {
    for (limit, witnesses) in [(0, OTHER), (0, Witnesses::Several), (8_000_000, OTHER), (8_000_000, Witnesses::Several)]
    {
        let mut total = controller(limit);
        for _ in 0..2 {
            round_of(&mut total, ONE, 20_000.0, Limiter::Network);
        }
        round_of(&mut total, Witnesses::Nobody, 0.0, Limiter::Source);
        assert!(total.capacity().is_some() && total.allowed() < rate(3_000_000), "he is told what his line carries");
        round_of(&mut total, witnesses, 19_000.0, Limiter::Tokens);
        assert_eq!((total.allowed(), total.capacity()), (Rate::from_wire(limit), None), "{witnesses:?}");
    }
}

#[test]
fn what_several_taught_before_is_remembered_and_what_they_teach_next_is_believed() {
    let mut total = settled();
    // The last of them has a bad line.
    for _ in 0..6 {
        round_of(&mut total, ONE, 20_000.0, Limiter::Network);
    }
    assert!(total.allowed() < rate(30_000));
    assert_eq!(round_of(&mut total, Witnesses::Several, 29_000.0, Limiter::Tokens), 970_000);
    for witnesses in [ONE, OTHER] {
        assert_eq!(round_of(&mut total, witnesses, 970_000.0, Limiter::Tokens), 970_000);
        total.rounds_at_margin = 0;
    }
    for _ in 0..2 {
        round_of(&mut total, Witnesses::Several, 500_000.0, Limiter::Network);
    }
    assert_eq!(total.capacity(), Some(rate(500_000)));
    // One whom the line lets have more.
    round_of(&mut total, ONE, 485_000.0, Limiter::Tokens);
    while total.capacity() < Some(rate(700_000)) {
        let used = total.allowed().as_f64();
        round_of(&mut total, ONE, used, Limiter::Tokens);
    }
    let found = total.capacity();
    round_of(&mut total, OTHER, 400_000.0, Limiter::Source);
    assert_eq!(total.capacity(), found, "the line carries at least what one gets");
}

#[test]
fn what_sockets_took_beyond_the_line_is_not_carried_and_drains() {
    let mut total = settled();
    round(&mut total, 970_000.0, Limiter::Tokens);
    let tried = round(&mut total, 970_000.0, Limiter::Tokens) as f64;
    // Everything was released, nobody was blocked, but the sockets hold 40 KB/s times a round more than before.
    let mut try_seen = seen(&total, tried, Limiter::Tokens);
    try_seen.used = tried - 40_000.0;
    total.round(&try_seen);
    let capacity = try_seen.used;
    assert_eq!(total.capacity(), Some(Rate::from_f64(capacity)));
    assert_eq!(total.allowed(), Rate::from_f64(0.97 * capacity - 40_000.0));
    assert_eq!(round(&mut total, 0.97 * capacity - 40_000.0, Limiter::Tokens), (0.97 * capacity).round() as u64);
}

#[test]
fn a_try_and_the_draining_after_it_are_short() {
    let mut total = settled();
    round(&mut total, 970_000.0, Limiter::Tokens);
    assert_eq!(total.span(), 1.0);
    let tried = round(&mut total, 970_000.0, Limiter::Tokens) as f64;
    assert_eq!(total.span(), TotalKnobs::default().try_part);
    let mut try_seen = seen(&total, tried, Limiter::Tokens);
    try_seen.used = 1_000_000.0;
    total.round(&try_seen);
    assert!(total.allowed() < rate(970_000));
    assert_eq!(total.span(), TotalKnobs::default().try_part);
    round(&mut total, 930_000.0, Limiter::Tokens);
    assert_eq!(total.span(), 1.0);
}

#[test]
fn clearing_a_limit_that_was_never_set_forgets_the_line_too() {
    let mut total = settled();
    total.set_limit(Rate::UNLIMITED);
    assert_eq!((total.allowed(), total.capacity()), (Rate::UNLIMITED, None));
}

#[test]
fn nobody_is_short_of_a_total_that_is_not_used_up() {
    let mut total = settled();
    // One of many flows waits for its turns, and has most of what gets through a line of half the size.
    let mut halved = seen(&total, 500_000.0, Limiter::Tokens);
    halved.bytes_by_limiter[Limiter::Network.index()] = 200_000.0;
    halved.bytes_by_limiter[Limiter::Tokens.index()] = 300_000.0;
    total.round(&halved);
    total.round(&halved);
    assert_eq!(total.capacity(), Some(rate(500_000)));
}

#[test]
fn idle_sources_never_change_the_total() {
    let mut total = controller(1_000_000);
    round(&mut total, 500_000.0, Limiter::Network);
    round(&mut total, 500_000.0, Limiter::Network);
    for used in [400_000.0, 10.0, 0.0, 480_000.0] {
        for limiter in [Limiter::Source, Limiter::Receiver, Limiter::Disk, Limiter::Worker] {
            assert_eq!(round(&mut total, used, limiter), 485_000);
        }
    }
    assert_eq!(round(&mut total, f64::NAN, Limiter::Network), 485_000);
}

#[test]
fn a_line_that_fails_is_not_forgotten_at_once() {
    let mut total = controller(1_000_000);
    for _ in 0..2 {
        round(&mut total, 10.0, Limiter::Network);
    }
    assert!(total.allowed() > rate(180_000));
    for _ in 0..100 {
        round(&mut total, 10.0, Limiter::Network);
    }
    assert_eq!(total.capacity(), Some(Rate::from_f64(CAPACITY_MIN)));
}

/// A link behind a black hole had taught it the least there is. What a round moves is whole pieces.
#[test]
fn from_next_to_nothing_it_finds_the_line_again() {
    const PIECE: f64 = 8192.0;
    const ROUND_SECONDS: f64 = 2.5;
    const LINE: f64 = 10_000_000.0;
    let mut total = controller(0);
    round(&mut total, 10.0, Limiter::Network);
    assert_eq!(total.capacity(), Some(Rate::from_f64(CAPACITY_MIN)));
    let (mut seconds, mut permitted) = (0.0, 0.0);
    while total.allowed().as_f64() < 0.9 * LINE {
        let span = ROUND_SECONDS * total.span();
        permitted += total.allowed().as_f64() * span;
        let moved = (permitted / PIECE).floor() * PIECE;
        permitted -= moved;
        round(&mut total, (moved / span).min(LINE), Limiter::Tokens);
        seconds += span;
        assert!(seconds < 60.0, "{} after {seconds} s", total.allowed());
    }
}
