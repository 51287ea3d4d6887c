//! A peer's node in one group, and which part of the peer's share is for those of its leaves there that no plan has seen.
//!
//! All of them together have what their weights give them beside the others. Whoever begins a transfer anew after each piece would else
//! have all that is due to his peer, and one that goes on nothing.

use super::clock::{Clock, Slack};
use super::leaf::Counted;
use super::ring::sane_weight;
use super::tree::NodeId;
use crate::{GroupKey, Rate};

#[derive(Debug)]
pub(super) struct PeerNode {
    pub(super) group: GroupKey,
    pub(super) id: NodeId,
    /// Of all leaves, in [`millionths`].
    pub(super) weights: u64,
    /// Of those that woke, until a plan has seen them.
    pub(super) woken: u64,
    /// What those may have.
    clock: Clock,
}

impl PeerNode {
    pub(super) fn new(group: GroupKey, id: NodeId) -> Self {
        Self { group, id, weights: 0, woken: 0, clock: Clock::new(Rate::ZERO, 0) }
    }

    /// Of a leaf the sums hold `after`, and did hold `before`.
    pub(super) fn note(&mut self, before: Counted, after: Counted) {
        self.weights = self.weights - before.weight + after.weight;
        self.woken = self.woken - before.woken_weight + after.woken_weight;
    }

    /// The part of `share` that leaves of this weight have.
    pub(super) fn part(&self, share: Rate, weights: u64) -> Rate {
        if weights >= self.weights {
            share
        } else {
            Rate::from_f64(share.as_f64() * weights as f64 / self.weights as f64)
        }
    }

    /// A leaf has woken here; `first`: none of the peer's had for long.
    pub(super) fn wake(&mut self, share: Rate, first: bool, now: u64) {
        if first {
            self.clock = Clock::new(Rate::ZERO, now);
        }
        self.clock.set_rate(self.part(share, self.woken), now);
    }

    pub(super) fn ready_at(&self) -> u64 {
        self.clock.ready_at()
    }

    pub(super) fn charge(&mut self, bytes: u32, now: u64, slack: Slack) {
        self.clock.charge(bytes, now, slack);
    }

    pub(super) fn refund(&mut self, bytes: u32) {
        self.clock.refund(bytes);
    }
}

/// A weight as a number whose sums are exact, however often something is added and taken away.
pub(super) fn millionths(weight: f64) -> u64 {
    (sane_weight(weight) * 1e6) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_woke_have_their_part_together() {
        let share = Rate::from_bytes_per_second(1_000_000);
        for (planned, woken, expected) in [
            (&[][..], &[1.0][..], 1_000_000),
            (&[1.0], &[1.0], 500_000),
            (&[1.0], &[1.0; 4], 800_000),
            (&[1.0], &[3.0], 750_000),
            (&[0.5, 0.5], &[0.001], 999),
        ] {
            let counted = |weight: f64, woken| {
                let weight = millionths(weight);
                Counted { assigned: Rate::ZERO, weight, woken_weight: if woken { weight } else { 0 } }
            };
            let mut node = PeerNode::new(GroupKey(0), 1);
            planned.iter().for_each(|&weight| node.note(Counted::NOTHING, counted(weight, false)));
            for &weight in woken {
                node.note(Counted::NOTHING, counted(weight, true));
                node.wake(share, true, 0);
            }
            assert_eq!(node.clock.rate().bytes_per_second(), expected, "{woken:?} beside {planned:?}");
            assert_eq!(node.part(Rate::UNLIMITED, node.woken), Rate::UNLIMITED, "nothing gates them");
            woken.iter().for_each(|&weight| node.note(counted(weight, true), Counted::NOTHING));
            planned.iter().for_each(|&weight| node.note(counted(weight, false), Counted::NOTHING));
            assert_eq!((node.weights, node.woken), (0, 0));
        }
    }
}
