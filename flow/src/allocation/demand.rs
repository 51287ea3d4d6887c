//! What a leaf wants in the next round, judged by what held it in the last (DESIGN 5, "Shares").
//!
//! Idle is not slow: a leaf that had nothing to send keeps no memory of it and competes at its weight the moment it wakes.

use super::{Knobs, LeafInput};
use crate::{Limiter, LimiterShares};

/// Bytes per second below which a leaf counts as unused: less than a byte a second is no transfer.
const UNUSED_BELOW: f64 = 1.0;

/// Part of the gap between a remembered demand and a lower use that is given up per round. Half: a pause of one round costs
/// little, and after four rounds nine tenths are forgotten.
const FALL: f64 = 0.5;

/// From this part of the round on that the path held it, a leaf that took no more than before is held by that, also where it waited longer
/// for permission: a socket of a slow reader takes several pieces at once, then none, and the pieces come one by one.
const PATH_TOO: f64 = 0.2;

/// How much of the headroom is left to one that takes no more than before.
const NO_MORE: f64 = 0.8;

/// One leaf's demand.
#[derive(Copy, Clone, Debug, PartialEq)]
pub(super) struct Demand {
    /// Bytes per second that it would take, at most its own cap; infinite when nothing is known to stop it.
    pub(super) want: f64,
    /// The part of `want` that use has shown; what the next round falls from. Meaningless while `hungry`.
    pub(super) shown: f64,
    /// What it moved in the last round.
    pub(super) used: f64,
    /// It would take whatever it got.
    pub(super) hungry: bool,
    /// What held it longest in the last round.
    pub(super) limiter: Limiter,
}

impl Demand {
    pub(super) fn of(leaf: &LeafInput, knobs: &Knobs) -> Self {
        let cap = leaf.cap.as_f64();
        let used = finite(leaf.achieved);
        let before = finite(leaf.demand_before);
        let limiter = match leaf.limited.dominant() {
            Limiter::Tokens if took_no_more(leaf, used, before, knobs) => {
                LimiterShares { tokens: 0.0, ..leaf.limited }.dominant()
            }
            limiter => limiter,
        };
        if !leaf.backlogged && used < UNUSED_BELOW {
            return Self { want: 0.0, shown: 0.0, used, hungry: false, limiter };
        }
        let hungry = match limiter {
            Limiter::Tokens => true,
            // It slept through the last round, or is new: nothing was learnt about it.
            Limiter::Source => leaf.backlogged && before < UNUSED_BELOW,
            Limiter::Receiver | Limiter::Network | Limiter::Disk | Limiter::Worker => false,
        };
        if hungry {
            return Self { want: cap, shown: used, used, hungry, limiter };
        }
        let shown = if used >= before { used } else { before - FALL * (before - used) };
        let shown = if shown < UNUSED_BELOW { 0.0 } else { shown };
        let mut want = shown * (1.0 + knobs.headroom);
        if leaf.backlogged {
            // A guarantee does not depend on use.
            want = want.max(leaf.floor as f64);
        }
        Self { want: want.min(cap), shown, used, hungry, limiter }
    }
}

/// Whether it left of its headroom what nobody leaves whom only permission holds.
fn took_no_more(leaf: &LeafInput, used: f64, before: f64, knobs: &Knobs) -> bool {
    leaf.is_settled
        && leaf.limited.path() >= PATH_TOO
        && before >= UNUSED_BELOW
        && used <= before * (1.0 + NO_MORE * knobs.headroom)
}

/// A measurement as a number that can be added: no NaN, no infinity, nothing below zero.
fn finite(value: f64) -> f64 {
    if value.is_finite() { value.max(0.0) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Class, GroupKey, LeafKey, PeerKey, Rate};

    fn leaf(achieved: f64, limiter: Limiter, demand_before: f64, backlogged: bool) -> LeafInput {
        LeafInput {
            key: LeafKey(1),
            peer: PeerKey(1),
            group: GroupKey::DEFAULT,
            weight: 1.0,
            cap: Rate::UNLIMITED,
            floor: 0,
            class: Class::Foreground,
            achieved,
            limited: LimiterShares::all(limiter),
            demand_before,
            is_settled: true,
            backlogged,
        }
    }

    fn demand(leaf: &LeafInput) -> Demand {
        Demand::of(leaf, &Knobs::default())
    }

    #[test]
    fn short_of_tokens_wants_its_cap() {
        let mut starved = leaf(100.0, Limiter::Tokens, 100.0, true);
        assert_eq!(demand(&starved).want, f64::INFINITY);
        starved.cap = Rate::from_bytes_per_second(500);
        assert_eq!(demand(&starved).want, 500.0);
    }

    #[test]
    fn others_rise_at_once_and_fall_by_half_the_gap() {
        assert!((demand(&leaf(200.0, Limiter::Network, 100.0, true)).want - 230.0).abs() < 1e-9);
        assert!((demand(&leaf(0.0, Limiter::Receiver, 100.0, true)).want - 57.5).abs() < 1e-9);
    }

    #[test]
    fn idle_wants_nothing_and_wakes_hungry() {
        assert_eq!(demand(&leaf(0.0, Limiter::Source, 100.0, false)).want, 0.0);
        assert!(demand(&leaf(0.0, Limiter::Source, 0.0, true)).hungry);
        // A stuck receiver does not become hungry again by being stuck for long.
        assert!(!demand(&leaf(0.0, Limiter::Receiver, 0.0, true)).hungry);
    }

    #[test]
    fn a_floor_counts_while_there_is_something_to_send() {
        let mut stuck = leaf(0.0, Limiter::Receiver, 0.0, true);
        stuck.floor = 50;
        assert_eq!(demand(&stuck).want, 50.0);
        stuck.backlogged = false;
        assert_eq!(demand(&stuck).want, 0.0);
    }

    /// One that reads 300 KB/s took them in lumps, waited for permission within each, and was taken every other round for one that wants
    /// everything: its group was 15 % short.
    #[test]
    fn a_slow_reader_that_takes_lumps_is_not_short_of_tokens() {
        let lumps = LimiterShares { tokens: 0.58, receiver: 0.42, ..LimiterShares::default() };
        let took = |used, before| demand(&LeafInput { limited: lumps, ..leaf(used, Limiter::Tokens, before, true) });
        assert!(took(300.0, 0.0).hungry, "nothing is known of it");
        let slow = took(300.0, 300.0);
        assert!(!slow.hungry && (slow.want - 345.0).abs() < 1e-9 && slow.limiter == Limiter::Receiver, "{slow:?}");
        assert!(!took(325.0, 300.0).hungry);
        assert!(took(344.0, 300.0).hungry, "what it left is used");
        let raised = LeafInput { limited: lumps, is_settled: false, ..leaf(300.0, Limiter::Tokens, 1000.0, true) };
        assert!(demand(&raised).hungry, "what it was raised to a moment ago it can't have shown yet");
        let short = LimiterShares { tokens: 0.9, receiver: 0.1, ..LimiterShares::default() };
        assert!(demand(&LeafInput { limited: short, ..leaf(300.0, Limiter::Tokens, 300.0, true) }).hungry);
    }

    #[test]
    fn broken_meters_do_no_harm() {
        let broken = leaf(f64::NAN, Limiter::Network, f64::INFINITY, true);
        assert_eq!(demand(&broken).want, 0.0);
    }
}
