//! Who gets how much, against the exact weighted max-min share.

use super::sim::{MILLI, SECOND, Sim, assigned, borrowing, rate};
use crate::Rate;

/// Exact max-min for equal weights by bisection on the level: an oracle that shares no line with the shaper.
fn max_min(capacity: f64, wants: &[(f64, f64)]) -> Vec<f64> {
    let used = |level: f64| wants.iter().map(|&(weight, cap)| cap.min(level * weight)).sum::<f64>();
    let (mut low, mut high) = (0.0, capacity * 1e6);
    for _ in 0..200 {
        let level = (low + high) / 2.0;
        if used(level) > capacity { high = level } else { low = level }
    }
    wants.iter().map(|&(weight, cap)| cap.min(low * weight)).collect()
}

fn assert_within(sim: &Sim, from: u64, until: u64, expected: &[f64], tolerance: f64) {
    let seconds = (until - from) as f64 / SECOND as f64;
    for (leaf, &share) in expected.iter().enumerate() {
        let got = sim.bytes(from, until, |sent| sent == leaf as u64) as f64 / seconds;
        let allowed = tolerance * share + 2.0 * 65_536.0 / seconds;
        assert!((got - share).abs() <= allowed, "leaf {leaf}: {got:.0} B/s instead of {share:.0}");
    }
}

#[test]
fn equal_borrowers_share_equally() {
    let mut sim = Sim::new(rate(20_000_000), 1);
    for leaf in 0..50 {
        sim.join(leaf, Rate::UNLIMITED, borrowing(1.0));
        sim.start(leaf);
    }
    sim.run(20 * SECOND);
    sim.check();
    assert_within(&sim, 10 * SECOND, 20 * SECOND, &[400_000.0; 50], 0.01);
    assert!(sim.busiest_second(|_| true) <= 20_200_000);
}

#[test]
fn fifty_peers_with_unequal_caps_get_their_max_min_share() {
    for planned in [true, false] {
        let caps: Vec<u64> = (1..=50).map(|n| n * n * 400).collect();
        let wants: Vec<_> = caps.iter().map(|&cap| (1.0, cap as f64)).collect();
        let expected = max_min(10_000_000.0, &wants);
        let mut sim = Sim::new(rate(10_000_000), 1);
        sim.late_ns_max = MILLI;
        for (leaf, &cap) in caps.iter().enumerate() {
            let rates = if planned { assigned(expected[leaf] as u64) } else { borrowing(1.0) };
            sim.join(leaf as u64, rate(cap), rates);
            sim.start(leaf as u64);
        }
        sim.run(20 * SECOND);
        sim.check();
        let sums: Vec<_> = (0..50)
            .map(|l| sim.bytes(10 * SECOND, 20 * SECOND, |s| s == l) as f64 / 10.0 / expected[l as usize])
            .collect();
        println!(
            "{sums:.3?} total {} busiest {}",
            sim.bytes(10 * SECOND, 20 * SECOND, |_| true) / 10,
            sim.busiest_second(|_| true)
        );
    }
}
