//! Several workers on one total.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use std::time::{Duration, Instant};

use super::sim::{MILLI, SECOND, Sim, assigned, borrowing, rate};
use crate::shaper::{LeafRates, SharedBucket};
use crate::{Class, Moment, Rate};

#[test]
fn guarantees_of_one_worker_go_before_loans_of_another() {
    let mut sim = Sim::new(rate(20_000_000), 2);
    sim.late_ns_max = MILLI;
    // Worker 0 polls first and has everything to borrow; worker 1 has most of the guarantees.
    for leaf in 0..40 {
        let rates = if leaf % 2 == 1 { assigned(900_000) } else { assigned(50_000) };
        sim.join(leaf, Rate::UNLIMITED, rates);
        sim.start(leaf);
    }
    sim.run(12 * SECOND);
    sim.check();
    for leaf in 0..40 {
        let share = if leaf % 2 == 1 { 900_000.0 } else { 50_000.0 };
        let got = sim.bytes(2 * SECOND, 12 * SECOND, |sent| sent == leaf) as f64 / 10.0;
        assert!(got >= 0.98 * share - 6_554.0, "leaf {leaf}: {got:.0} of {share}");
    }
    let total = sim.bytes(2 * SECOND, 12 * SECOND, |_| true);
    assert!((199_000_000..=201_000_000).contains(&total), "{total}");
    assert!(sim.busiest_second(|_| true) <= 20_200_000);
}

#[test]
fn a_leaf_that_wakes_alone_on_its_worker_has_its_share_at_once_though_rates_were_told_long_ago() {
    let mut sim = Sim::new(rate(20_000_000), 2);
    // All but leaf 0 live on worker 1, and are told once.
    let others = [1, 3, 5, 7, 9, 11, 13, 15, 17];
    for leaf in others {
        sim.join(leaf, Rate::UNLIMITED, assigned(20_000_000 / 9));
        sim.start(leaf);
    }
    sim.run(20 * SECOND);
    // Come, seen idle by the allocator, then awake.
    sim.join(0, Rate::UNLIMITED, borrowing(1.0));
    sim.set(0, borrowing(1.0));
    sim.run(30 * SECOND);
    sim.set(0, borrowing(1.0));
    let woken = sim.now;
    sim.start(0);
    // The early round that it rings for makes room for it; until then it takes turns with what is guaranteed to others.
    sim.run(woken + 20 * MILLI);
    let first = sim.bytes(woken, woken + 20 * MILLI, |leaf| leaf == 0);
    assert!(first > 0, "nothing in 20 ms");
    for leaf in others {
        sim.set(leaf, assigned(2_000_000));
    }
    sim.set(0, assigned(2_000_000));
    sim.run(woken + 520 * MILLI);
    let got = sim.bytes(woken, woken + 520 * MILLI, |leaf| leaf == 0);
    assert!(got + 65_536 >= 1_000_000, "{got} bytes in 520 ms");
}

#[test]
fn workers_that_only_borrow_take_turns() {
    let mut sim = Sim::new(rate(20_000_000), 2);
    for leaf in 0..20 {
        sim.join(leaf, Rate::UNLIMITED, borrowing(1.0));
        sim.start(leaf);
    }
    sim.run(10 * SECOND);
    sim.check();
    for worker in 0..2 {
        let got = sim.bytes(0, 10 * SECOND, |leaf| leaf % 2 == worker);
        assert!((80_000_000..=120_000_000).contains(&got), "worker {worker}: {got}");
    }
}

/// Two workers, half of the total promised to the one leaf of one, half to those of the other. The worker with few leaves woke when the
/// total was ready, the one with 300 only on a grid: at 20 MB/s the one leaf had 93 % of the line. On one grid of 4 ms the total has
/// more unclaimed than what must be before anything is lent: 2.2 of 4 MB/s.
#[test]
fn what_is_promised_on_one_worker_is_not_lent_on_another_that_wakes_with_it() {
    for (total, others) in [(1_000_000, 8), (4_000_000, 8), (20_000_000, 300), (100_000_000, 8), (100_000_000, 300)] {
        for (late, asks_after) in [(0, 0), (MILLI / 4, 50_000), (MILLI, 300_000)] {
            let mut sim = Sim::new(rate(total), 2);
            (sim.late_ns_max, sim.gathers, sim.asks_after_ns) = (late, true, asks_after);
            // Even numbers live on one worker, odd ones on the other.
            for leaf in (0..2 * others).step_by(2).chain([1]) {
                sim.join(leaf, Rate::UNLIMITED, assigned(total / 2 / if leaf == 1 { 1 } else { others }));
                sim.start(leaf);
            }
            sim.run(22 * SECOND);
            sim.check();
            let of = |odd: u64| sim.bytes(2 * SECOND, 22 * SECOND, |leaf| leaf % 2 == odd) as f64;
            let ratio = of(0) / of(1);
            assert!((0.94..1.06).contains(&ratio), "{ratio:.3} with {others} of {total} B/s, late by up to {late} ns");
            let used = (of(0) + of(1)) / 20.0 / total as f64;
            assert!((0.995..1.005).contains(&used), "{used} of {total} B/s");
        }
    }
}

/// As happens for a moment when transfers begin. The worker that was promised more than the line has drew whenever the total was ready, and
/// a leaf of another worker, which wakes on its grid, found it taken.
#[test]
fn where_more_is_promised_than_the_line_has_each_worker_keeps_the_same_part_of_it() {
    for (late, asks_after) in [(MILLI / 4, 50_000), (MILLI / 4, 300_000), (MILLI, 50_000)] {
        let mut sim = Sim::new(rate(8_000_000), 2);
        (sim.late_ns_max, sim.gathers, sim.asks_after_ns) = (late, true, asks_after);
        sim.join(0, rate(2_000_000), LeafRates { ceiling: rate(2_000_000), ..assigned(2_000_000) });
        sim.start(0);
        for leaf in [1, 3, 5] {
            sim.join(leaf, Rate::UNLIMITED, assigned(4_000_000));
            sim.start(leaf);
        }
        sim.run(12 * SECOND);
        sim.check();
        let got = sim.bytes(2 * SECOND, 12 * SECOND, |leaf| leaf == 0) as f64 / 10.0;
        let all = sim.bytes(2 * SECOND, 12 * SECOND, |_| true) as f64 / 10.0;
        let part = got / (8e6 * 2.0 / 14.0);
        assert!((0.95..1.05).contains(&part), "{got:.0} B/s of 8 MB/s for 2 of 14, late by up to {late} ns");
        assert!(all >= 7.96e6, "{all:.0} of 8 MB/s");
    }
}

/// The order in which they fall due holds over all workers. Whoever came to his turn waited until all had been served that waited already,
/// though he was behind: floors of 60 KB/s beside many of 21 KB/s had 44. And those of a worker that has more of them had as many turns as
/// those of one that has fewer.
#[test]
fn guarantees_are_kept_alike_whatever_their_rates_and_workers() {
    for (workers, floors) in [(1, 40), (2, 40), (2, 30), (2, 10), (4, 37)] {
        for (late, asks_after) in [(MILLI / 4, 50_000), (MILLI, 50_000), (MILLI, 300_000)] {
            let mut sim = Sim::new(rate(10_000_000), workers);
            (sim.late_ns_max, sim.gathers, sim.asks_after_ns) = (late, true, asks_after);
            // The first worker has `floors` of the forty, the others have the rest.
            let nth = |leaf: u64| leaf / workers as u64;
            let has_floor = |leaf: u64| match leaf % workers as u64 {
                0 => nth(leaf) < floors,
                _ => nth(leaf) < (40 - floors).div_ceil(workers as u64),
            };
            for leaf in 0..400 {
                sim.join(leaf, Rate::UNLIMITED, assigned(if has_floor(leaf) { 60_000 } else { 21_000 }));
                sim.start(leaf);
            }
            sim.run(32 * SECOND);
            sim.check();
            let part = |leaf: u64| {
                let due = if has_floor(leaf) { 60_000.0 } else { 21_000.0 };
                sim.bytes(2 * SECOND, 32 * SECOND, |of| of == leaf) as f64 / 30.0 / due
            };
            let least = (0..400).map(part).fold(f64::INFINITY, f64::min);
            let used = sim.bytes(2 * SECOND, 32 * SECOND, |_| true) as f64 / 3e8;
            assert!(
                least >= 0.97 && used >= 0.997,
                "{least:.3} of a guarantee, {used:.4} of the line; {workers} workers, {floors} floors on one, late by up to {late} ns"
            );
        }
    }
}

#[test]
fn background_leaves_the_line_to_foreground_that_waits_on_another_worker() {
    for (total, leaves) in [(20_000_000, 1), (20_000_000, 8), (200_000_000, 1), (200_000_000, 8)] {
        for asks_after in [50_000, 300_000] {
            let mut sim = Sim::new(rate(total), 2);
            (sim.late_ns_max, sim.gathers, sim.asks_after_ns) = (MILLI / 4, true, asks_after);
            let background = LeafRates { class: Class::Background, ..assigned(total / 50) };
            sim.join(1, Rate::UNLIMITED, background);
            (0..leaves).for_each(|leaf| sim.join(2 * leaf, Rate::UNLIMITED, assigned(total / 2 / leaves)));
            (0..leaves).for_each(|leaf| sim.start(2 * leaf));
            sim.start(1);
            sim.run(12 * SECOND);
            sim.check();
            let part = |from, until| {
                sim.bytes(from, until, |leaf| leaf == 1) as f64 * 1e9 / (until - from) as f64 / total as f64
            };
            let got = part(2 * SECOND, 12 * SECOND);
            assert!((0.019..0.04).contains(&got), "{got:.3} of {total} B/s beside {leaves} that want it all");
            // What foreground may not use is background's, on whichever worker.
            for leaf in 0..leaves {
                sim.set(2 * leaf, LeafRates { ceiling: rate(total * 3 / 4 / leaves), ..assigned(total / 2 / leaves) });
            }
            sim.run(22 * SECOND);
            let part = sim.bytes(13 * SECOND, 22 * SECOND, |leaf| leaf == 1) as f64 / 9.0 / total as f64;
            assert!(
                (0.245..0.255).contains(&part),
                "{part:.3} of {total} B/s beside {leaves} that may have three quarters"
            );
        }
    }
}

#[test]
fn threads_together_take_no_more_than_the_rate() {
    let bucket = Arc::new(SharedBucket::new(rate(200_000_000)));
    let taken = Arc::new(AtomicU64::new(0));
    let origin = Instant::now();
    let now = move || Moment::from_nanos(origin.elapsed().as_nanos() as u64);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while origin.elapsed() < Duration::from_millis(300) {
                    match bucket.try_take(8192, now(), false) {
                        Ok(()) => _ = taken.fetch_add(8192, Ordering::Relaxed),
                        Err(_) => std::thread::yield_now(),
                    }
                }
            });
        }
    });
    let seconds = origin.elapsed().as_secs_f64();
    let most = 200_000_000.0 * (seconds + 0.005) + 8192.0;
    let taken = taken.load(Ordering::Relaxed) as f64;
    // A loaded machine may leave permission unused, never use more.
    assert!(taken <= most, "{taken} of {most}");
    assert!(taken >= 0.5 * 200_000_000.0 * 0.3, "{taken}");
}

#[test]
fn spare_draws_leave_half_the_burst() {
    let bucket = SharedBucket::new(rate(1_000_000));
    let now = Moment::from_nanos(SECOND);
    // 5 ms of burst are unclaimed: 2 ms are spare, then half is left for guarantees.
    assert_eq!(bucket.try_take(3_000, now, true), Ok(()));
    assert_eq!(bucket.try_take(100, now, true), Err(Moment::from_nanos(SECOND + MILLI / 2)));
    assert_eq!(bucket.try_take(2_000, now, false), Ok(()));
    assert_eq!(bucket.try_take(1_000, now, false), Ok(()));
    assert_eq!(bucket.try_take(1, now, false), Err(Moment::from_nanos(SECOND + MILLI)));
    bucket.give_back(1_000);
    assert_eq!(bucket.try_take(1, now, false), Ok(()));
    assert_eq!(SharedBucket::new(Rate::UNLIMITED).try_take(u32::MAX, Moment::ZERO, true), Ok(()));
    assert!(SharedBucket::new(Rate::ZERO).try_take(1, now, false).is_err());
}
