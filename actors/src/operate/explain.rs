//! Why a peer, and each of its transfers, has the rate it has.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use flow::{Binding, Direction, Limiter, Rate, allocation::LeafPlan};

use crate::{
    registry::PeerEntry,
    shared::{Conduct, TotalView},
    view::{Explanation, Reason},
};

use super::{Scene, add};

impl Scene<'_> {
    /// First the peer, each direction in use, then each transfer.
    pub(super) fn explain(&self, peer: &Arc<PeerEntry>) -> Explanation {
        let view = self.peer(peer);
        let totals = &self.shared.book.load().totals;
        let mut reasons = Vec::new();
        for direction in Direction::ALL {
            let Some(plan) = self.peer_plans[direction.index()].get(&peer.key) else { continue };
            let side = if direction == Direction::Upload { &view.upload } else { &view.download };
            let own = self.leaves_of(peer).iter().filter(|leaf| leaf.direction == direction);
            let own = own.filter_map(|leaf| self.plans.get(&leaf.key));
            let (if_lifted, at_least) = if_lifted(plan.binding, plan.if_lifted, own);
            reasons.push(Reason {
                subject: "peer".into(),
                path: None,
                mode: None,
                direction: direction.to_string(),
                rates: side.rates.clone(),
                binding: plan.binding.as_str().into(),
                if_lifted_bytes_per_second: if_lifted,
                if_lifted_at_least: at_least,
                because: match plan.binding {
                    // It is of the moment between two.
                    Binding::Source if peer.trail.has_ended_one(direction, self.shared.clock.now()) => {
                        "its transfers are short, and between two of them there is nothing to send".into()
                    }
                    binding => because(binding, &totals[direction.index()]).into(),
                },
                limited_by: BTreeMap::new(),
            });
        }
        for leaf in self.leaves_of(peer) {
            let Some(planned @ (plan, conduct)) = self.plans.get(&leaf.key) else { continue };
            let limited = conduct.limited.to_array();
            let (if_lifted, at_least) = if_lifted(plan.binding, plan.if_lifted, std::iter::once(planned));
            reasons.push(Reason {
                subject: leaf.key.0.to_string(),
                path: Some(leaf.path.clone()),
                mode: Some(leaf.meter.mode().to_string()),
                direction: leaf.direction.to_string(),
                rates: self.transfer(leaf).rate.rates,
                binding: plan.binding.as_str().into(),
                if_lifted_bytes_per_second: if_lifted,
                if_lifted_at_least: at_least,
                because: because(plan.binding, &totals[leaf.direction.index()]).into(),
                limited_by: Limiter::ALL
                    .iter()
                    .zip(limited)
                    .map(|(limiter, fraction)| (limiter.as_str().to_owned(), (fraction * 1000.0).round() / 1000.0))
                    .collect(),
            });
        }
        Explanation { peer: view.id, reasons }
    }
}

/// What transfers held by `binding` would have together without it, and whether that is only the least.
///
/// The plan gives one that was not short of tokens some headroom above what it used, to see whether it takes it. That is no
/// knowledge: without the rule it would take what it has shown to use, and nobody knows how much more.
fn if_lifted<'a>(
    binding: Binding,
    planned: Rate,
    leaves: impl Iterator<Item = &'a (LeafPlan, Conduct)>,
) -> (Option<u64>, bool) {
    let by_a_limit = match binding {
        Binding::Total
        | Binding::Group
        | Binding::PeerCap
        | Binding::TransferCap
        | Binding::Negotiated
        | Binding::BackgroundYield => true,
        Binding::Source
        | Binding::Receiver
        | Binding::Network
        | Binding::Disk
        | Binding::Worker
        | Binding::Unlimited => false,
    };
    let mut shown = Some(0);
    let mut leaves = leaves.peekable();
    if leaves.peek().is_none() {
        // It has ended; another of its peer's has begun, or is about to.
        return (planned.limit(), by_a_limit && !planned.is_unlimited());
    }
    for (plan, conduct) in leaves {
        if plan.binding == binding && conduct.limited.dominant() == Limiter::Tokens {
            return (planned.limit(), false);
        }
        shown = add(shown, plan.assigned.max(Rate::from_f64(plan.demand)));
    }
    match shown {
        Some(shown) if by_a_limit => (Some(planned.bytes_per_second().min(shown)), true),
        _ => (planned.limit(), false),
    }
}

/// One sentence for a person.
fn because(binding: Binding, total: &TotalView) -> Cow<'static, str> {
    if let (Binding::Total, Some(capacity)) = (binding, learnt(total)) {
        return format!("the line was found to carry {capacity}, shared among all who want it, by weight").into();
    }
    let words = match binding {
        Binding::Total => "the node's total limit is shared among all who want it, by weight",
        Binding::Group => "its group's cap is used up",
        Binding::PeerCap => "the operator capped this peer",
        Binding::TransferCap => "the operator capped this transfer",
        Binding::Negotiated => "the peer asked for no more",
        Binding::Source => "there is nothing to send right now",
        Binding::Receiver => "the receiver takes it no faster",
        Binding::Network => "the network between here and the peer carries no more",
        Binding::Disk => "the disk delivers no faster",
        Binding::Worker => "this node's processor is busy",
        Binding::BackgroundYield => "background work leaves the line to foreground work",
        Binding::Unlimited => "nothing holds it",
    };
    words.into()
}

/// What the line was found to carry, where that and no configured limit is the total.
fn learnt(total: &TotalView) -> Option<Rate> {
    let is_lower = match (total.allowed, total.limit) {
        (Some(allowed), Some(limit)) => allowed < limit,
        (allowed, None) => allowed.is_some(),
        (None, Some(_)) => false,
    };
    total.capacity.filter(|_| is_lower)
}

#[cfg(test)]
mod tests {
    use flow::{Class, GroupKey, LeafKey, LimiterShares, PeerKey};

    use super::*;

    fn leaf(binding: Binding, assigned: u64, shown: f64, limiter: Limiter) -> (LeafPlan, Conduct) {
        let plan = LeafPlan {
            key: LeafKey(1),
            peer: PeerKey(1),
            group: GroupKey::DEFAULT,
            assigned: Rate::from_bytes_per_second(assigned),
            ceiling: Rate::UNLIMITED,
            demand: shown,
            binding,
            if_lifted: Rate::UNLIMITED,
            weight: 1.0,
            class: Class::Foreground,
        };
        (plan, Conduct { limited: LimiterShares::all(limiter), ..Conduct::default() })
    }

    #[test]
    fn headroom_is_not_told_as_the_rate_it_would_have() {
        // It used 1000, is planned with 15 % of headroom, and asked for 1000 itself.
        let content = leaf(Binding::Negotiated, 1000, 1000.0, Limiter::Receiver);
        let told = |planned: u64, leaves: &[(LeafPlan, Conduct)]| {
            if_lifted(leaves[0].0.binding, Rate::from_bytes_per_second(planned), leaves.iter())
        };
        assert_eq!(told(1150, &[content]), (Some(1000), true));
        // Short of tokens, it would take what it got.
        let short = leaf(Binding::PeerCap, 1000, 1000.0, Limiter::Tokens);
        assert_eq!(told(4000, &[short]), (Some(4000), false));
        assert_eq!(told(4000, &[leaf(Binding::PeerCap, 500, 500.0, Limiter::Disk), short]), (Some(4000), false));
        assert_eq!(
            if_lifted(Binding::Total, Rate::UNLIMITED, [leaf(Binding::Total, 1, 1.0, Limiter::Tokens)].iter()),
            (None, false)
        );
        // Without what it waited for by itself, it would have what the tree leaves it.
        assert_eq!(told(4000, &[leaf(Binding::Disk, 1000, 1000.0, Limiter::Disk)]), (Some(4000), false));
        // What is less than it has already makes no sense.
        assert_eq!(told(1150, &[leaf(Binding::Total, 1100, 1000.0, Limiter::Network)]), (Some(1100), true));
    }

    #[test]
    fn a_total_that_was_learnt_is_told_from_one_that_was_set() {
        let rate = |megabytes: u64| Some(Rate::from_bytes_per_second(1_000_000 * megabytes));
        let said = |limit, allowed, capacity| {
            because(Binding::Total, &TotalView { limit, allowed, capacity, assigned: None }).into_owned()
        };
        assert!(said(None, rate(9), rate(10)).contains("the line was found to carry 10.0 MB/s"));
        assert!(said(rate(20), rate(9), rate(10)).contains("found to carry"));
        for (limit, allowed, capacity) in [(rate(5), rate(5), rate(10)), (rate(5), rate(5), None), (None, None, None)] {
            assert!(said(limit, allowed, capacity).contains("the node's total limit"));
        }
    }
}
