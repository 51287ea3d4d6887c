//! The total as rounds go by: misses, tries, a line that shrinks, fails and comes back.

use super::*;
use crate::PeerKey;

fn rate(bytes_per_second: u64) -> Rate {
    Rate::from_bytes_per_second(bytes_per_second)
}

fn controller(limit: u64) -> TotalController {
    TotalController::new(Rate::from_wire(limit), TotalKnobs::default())
}

/// Peers who moved as much each.
fn of(peers: impl IntoIterator<Item = u64>) -> Witnesses {
    let mut witnesses = Witnesses::default();
    peers.into_iter().for_each(|peer| witnesses.meet(PeerKey(peer), 100.0));
    witnesses
}

fn seen(controller: &TotalController, used: f64, limiter: Limiter) -> RoundObservation {
    let mut bytes_by_limiter = [0.0; 6];
    bytes_by_limiter[limiter.index()] = used;
    let (short_of_tokens, witnesses) = (limiter == Limiter::Tokens, of(0..20));
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

fn round_of(controller: &mut TotalController, peers: &[u64], used: f64, limiter: Limiter) -> u64 {
    let seen = RoundObservation { witnesses: of(peers.iter().copied()), ..seen(controller, used, limiter) };
    controller.round(&seen).bytes_per_second()
}

#[test]
fn what_few_taught_may_be_their_own_lines_and_is_doubted_when_somebody_else_comes() {
    for limit in [0, 8_000_000] {
        for (taught_by, others) in [(&[1][..], &[2][..]), (&[1], &[1, 2]), (&[1, 2, 3], &[1, 2, 3, 4])] {
            let mut total = controller(limit);
            for _ in 0..2 {
                round_of(&mut total, taught_by, 20_000.0, Limiter::Network);
            }
            round_of(&mut total, &[], 0.0, Limiter::Source);
            assert!(total.capacity().is_some() && total.allowed() < rate(3_000_000), "they are told what it carries");
            round_of(&mut total, others, 10_000.0, Limiter::Source);
            assert!(total.capacity().is_some(), "nobody is short of it");
            round_of(&mut total, others, 19_000.0, Limiter::Tokens);
            assert_eq!((total.allowed(), total.capacity()), (Rate::from_wire(limit), None), "{others:?}");
        }
    }
}

/// Two teach, a third comes, and has his part; who comes then finds what is proven.
#[test]
fn what_others_share_is_the_line_and_is_not_doubted_again() {
    let mut total = controller(0);
    for (peers, used) in [(&[1, 2][..], 1_000_000.0), (&[1, 2, 3], 1_020_000.0)] {
        round_of(&mut total, peers, used, Limiter::Network);
        assert!(total.capacity().is_some());
        round_of(&mut total, &[1, 2, 3], 900_000.0, Limiter::Tokens);
    }
    let known = total.capacity();
    assert!(known > Some(rate(900_000)), "{known:?}");
    for peers in [&[4][..], &[5, 6]] {
        round_of(&mut total, peers, 900_000.0, Limiter::Tokens);
        assert!(total.capacity().is_some(), "{peers:?}");
    }
}

#[test]
fn whoever_is_too_small_to_tell_is_not_tried_with_all_the_time() {
    let mut total = controller(0);
    let mut opened = 0;
    for visitor in 10..130 {
        // A visitor has 4 % of the line.
        let mut witnesses = of([1]);
        witnesses.meet(PeerKey(visitor), 4.0);
        let limiter = if total.allowed().is_unlimited() { Limiter::Network } else { Limiter::Tokens };
        let used = total.allowed().as_f64().min(1_000_000.0);
        let seen = RoundObservation { witnesses, ..seen(&total, used, limiter) };
        total.round(&seen);
        opened += u32::from(total.allowed().is_unlimited());
    }
    assert!((4..=10).contains(&opened), "{opened} of 120 rounds without a total");
}

#[test]
fn what_is_proven_holds_again_when_somebody_comes_beside_one_with_a_bad_line() {
    let mut total = settled();
    // The last of them has a bad line.
    for _ in 0..6 {
        round_of(&mut total, &[1], 20_000.0, Limiter::Network);
    }
    assert!(total.allowed() < rate(30_000));
    assert_eq!(round_of(&mut total, &[1, 2], 29_000.0, Limiter::Tokens), 970_000);
    // The line has become worse, and they share it.
    for _ in 0..2 {
        round_of(&mut total, &[1, 2], 500_000.0, Limiter::Network);
    }
    assert_eq!(total.capacity(), Some(rate(500_000)));
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
