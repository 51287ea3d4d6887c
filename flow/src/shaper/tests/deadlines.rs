//! Guarantees by their deadlines: keys that follow what changes, and many that wait for one clock.

use std::collections::BTreeSet;

use super::sim::{MILLI, SECOND, Sim, assigned, borrowing, rate};
use crate::shaper::LeafRates;
use crate::{GroupKey, LeafKey, PeerKey, Rate};

/// It kept the deadline of the byte per second that it was assigned when it asked, and had nothing in a minute.
#[test]
fn a_leaf_that_waits_has_the_deadline_of_what_it_is_assigned_now() {
    for before in [1, 1_000, 10_000] {
        let mut sim = Sim::new(rate(1_000_000), 1);
        for leaf in 1..101 {
            sim.join(leaf, Rate::UNLIMITED, assigned(10_300));
            sim.start(leaf);
        }
        sim.run(2 * SECOND);
        sim.join(0, Rate::UNLIMITED, assigned(before));
        sim.start(0);
        sim.run(2 * SECOND + MILLI);
        // Together a little more than there is, as between two plans.
        (1..101).for_each(|leaf| sim.set(leaf, assigned(10_150)));
        sim.set(0, assigned(10_000));
        sim.check();
        sim.run(22 * SECOND);
        let got = sim.bytes(2 * SECOND, 22 * SECOND, |leaf| leaf == 0) as f64 / 20.0;
        assert!(got >= 9_500.0, "{got:.0} of 10,000 B/s, {before} B/s before");
    }
}

/// What one waits for without a limit is its turn. It came after all that the others did before its old deadline: 10 s.
#[test]
fn a_leaf_that_waits_takes_its_turn_at_once_where_nothing_gates_any_more() {
    let mut sim = Sim::new(rate(1_000_000), 1);
    sim.asks_after_ns = 100_000;
    for leaf in 0..5 {
        sim.join(leaf, Rate::UNLIMITED, assigned(if leaf == 0 { 100 } else { 400_000 }));
        sim.start(leaf);
    }
    sim.run(SECOND);
    let now = sim.at();
    sim.total.set_rate(Rate::UNLIMITED, now);
    let ungated = LeafRates { assigned: Rate::UNLIMITED, ..borrowing(1.0) };
    (0..5).for_each(|leaf| sim.set(leaf, ungated));
    sim.run(SECOND + 100 * MILLI);
    sim.check();
    let got = [0, 1].map(|leaf| sim.bytes(SECOND, SECOND + 100 * MILLI, |of| of == leaf));
    assert!(got[0].abs_diff(got[1]) <= got[1] / 50, "{got:?}");
}

/// Its piece was that of the 1 MB/s that had run out, at the 1,000 B/s that it has now: due in 131 s.
#[test]
fn a_leaf_whose_provisional_guarantee_has_run_out_has_the_deadline_of_its_own() {
    let mut sim = Sim::new(rate(100_000_000), 1);
    (0..1_100).for_each(|leaf| sim.join(leaf, Rate::UNLIMITED, assigned(1_000)));
    sim.group.set_fair_rate(1_000_000.0);
    sim.run(SECOND);
    sim.start(0);
    sim.run(SECOND + 499 * MILLI);
    sim.stop(0);
    sim.run(SECOND + 600 * MILLI);
    let now = sim.at();
    let shaper = &mut sim.shapers[0];
    shaper.request(LeafKey(0), u32::MAX, now);
    let due_at = shaper.tree.first_due().expect("within its guarantee");
    assert!(due_at <= now.as_nanos() + 2 * SECOND, "due in {} ms", (due_at - now.as_nanos()) / MILLI);
}

/// All of them were looked at for each piece that their peer's clock let through.
#[test]
fn transfers_that_wait_for_their_peers_clock_come_one_after_the_other() {
    let mut sim = Sim::new(rate(10_000_000), 1);
    (sim.gathers, sim.asks_after_ns) = (true, 50_000);
    sim.join(900, Rate::UNLIMITED, assigned(9_000_000));
    (0..800).for_each(|leaf| sim.join_at(leaf, PeerKey(1), GroupKey(0), Rate::UNLIMITED, borrowing(1.0)));
    sim.run(SECOND);
    sim.start(900);
    sim.group.set_fair_rate(1_000_000.0);
    (0..800).for_each(|leaf| sim.start(leaf));
    sim.run(SECOND + 20 * MILLI);
    sim.check();
    let turns: BTreeSet<u64> = sim.shapers[0].leaves.iter().map(|leaf| leaf.comes_at).collect();
    // One for each piece of the 250 ms for which they are given.
    assert!(turns.len() > 30, "{}", turns.len());
}

/// Turns that were given to transfers that had ended were waited for.
#[test]
fn who_begins_anew_before_he_gets_anything_has_his_share_all_the_same() {
    for at_once in [1, 10] {
        let mut sim = Sim::new(rate(10_000_000), 1);
        (sim.gathers, sim.asks_after_ns, sim.late_ns_max) = (true, 50_000, MILLI / 4);
        for leaf in 0..9 {
            sim.join(leaf, Rate::UNLIMITED, assigned(1_111_000));
            sim.start(leaf);
        }
        sim.group.set_fair_rate(1_000_000.0);
        for ms in 0..4_000 {
            (0..at_once).for_each(|nth| sim.begin_anew(100 + ms % 7 * 10 + nth, PeerKey(100)));
            sim.run((ms + 1) * MILLI);
        }
        let got = sim.bytes(SECOND, 4 * SECOND, |leaf| leaf >= 100) as f64 / 3e6;
        assert!((0.95..1.05).contains(&got), "{got:.2} of 1 MB/s, {at_once} each millisecond");
    }
}
