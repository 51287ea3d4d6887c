//! Moderation (seed 003: the measures take seconds to have effect, so apply them in moderation): which new rates are worth
//! sending, and in which order.

use super::{LeafPlan, Plan};
use crate::{Binding, Rate};

/// Part of a rate that it must move by.
pub const MOVE_WORTH_SENDING: f64 = 0.02;

/// The leaves of `new` whose rates must be sent to whoever acts on `old`: decreases first, so that the sum never rises above
/// the total on the way, each in the order of `new`.
///
/// A move under 2 % is left out, unless it goes to or from zero or unlimited, leaves the leaf above its new ceiling, or is
/// one of its weight or class. `old` must be the plan *in force*, see [`Plan::with_unsent`]; else small moves would add up unsent.
pub fn changes(old: &Plan, new: &Plan) -> Vec<LeafPlan> {
    let before = ByKey::of(old);
    let (mut down, up): (Vec<_>, Vec<_>) = new
        .leaves
        .iter()
        .enumerate()
        .map(|(index, leaf)| (before.find(index, leaf), leaf))
        .filter(|(old, new)| old.is_none_or(|old| is_worth_sending(old, new)))
        .partition(|(old, new)| old.is_some_and(|old| is_decrease(old, new)));
    down.extend(up);
    down.into_iter().map(|(_, leaf)| *leaf).collect()
}

impl Plan {
    /// This plan as it is in force after [`changes`] from `old` were sent: whoever was not sent anything keeps his rates.
    #[must_use]
    pub fn with_unsent(mut self, old: &Plan) -> Self {
        let before = ByKey::of(old);
        for (index, leaf) in self.leaves.iter_mut().enumerate() {
            if let Some(old) = before.find(index, leaf).filter(|old| !is_worth_sending(old, leaf)) {
                leaf.assigned = old.assigned;
                leaf.ceiling = old.ceiling;
            }
        }
        self
    }
}

fn is_decrease(old: &LeafPlan, new: &LeafPlan) -> bool {
    (new.assigned, new.ceiling) < (old.assigned, old.ceiling)
}

fn is_worth_sending(old: &LeafPlan, new: &LeafPlan) -> bool {
    // Only the leaf itself enforces its own cap; all other caps have a bucket of their own.
    let above_own_cap = new.binding == Binding::TransferCap && old.ceiling > new.ceiling;
    moved(old.assigned, new.assigned)
        || moved(old.ceiling, new.ceiling)
        || old.assigned > new.ceiling
        || above_own_cap
        || old.weight != new.weight
        || old.class != new.class
}

fn moved(old: Rate, new: Rate) -> bool {
    let edge = |rate: Rate| rate == Rate::ZERO || rate.is_unlimited();
    if edge(old) || edge(new) {
        return old != new;
    }
    let difference = old.bytes_per_second().abs_diff(new.bytes_per_second()) as f64;
    difference >= MOVE_WORTH_SENDING * old.as_f64()
}

/// Leaves of a plan by key. Plans of neighbouring rounds mostly have the same leaves in the same places.
struct ByKey<'a> {
    plan: &'a Plan,
    sorted: Vec<u32>,
}

impl<'a> ByKey<'a> {
    fn of(plan: &'a Plan) -> Self {
        let mut sorted: Vec<u32> = (0..plan.leaves.len() as u32).collect();
        sorted.sort_unstable_by_key(|index| plan.leaves[*index as usize].key);
        Self { plan, sorted }
    }

    fn find(&self, likely: usize, wanted: &LeafPlan) -> Option<&'a LeafPlan> {
        if let Some(leaf) = self.plan.leaves.get(likely).filter(|leaf| leaf.key == wanted.key) {
            return Some(leaf);
        }
        let key = |index: &u32| self.plan.leaves[*index as usize].key;
        let found = self.sorted.binary_search_by_key(&wanted.key, key).ok()?;
        Some(&self.plan.leaves[self.sorted[found] as usize])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Class, GroupKey, LeafKey, PeerKey};

    fn plan(rates: &[(u64, u64, u64)]) -> Plan {
        let leaf = |(key, assigned, ceiling): &(u64, u64, u64)| LeafPlan {
            key: LeafKey(*key),
            peer: PeerKey(0),
            group: GroupKey::DEFAULT,
            assigned: Rate::from_bytes_per_second(*assigned),
            ceiling: Rate::from_bytes_per_second(*ceiling),
            demand: 0.0,
            binding: Binding::Total,
            if_lifted: Rate::UNLIMITED,
            weight: 1.0,
            class: Class::Foreground,
        };
        Plan { leaves: rates.iter().map(leaf).collect(), ..Plan::default() }
    }

    fn keys(old: &[(u64, u64, u64)], new: &[(u64, u64, u64)]) -> Vec<u64> {
        changes(&plan(old), &plan(new)).iter().map(|leaf| leaf.key.0).collect()
    }

    #[test]
    fn decreases_come_first_and_small_moves_not_at_all() {
        let old = [(1, 100, 1000), (2, 100, 1000), (3, 100, 1000), (4, 100, 1000)];
        let new = [(4, 101, 1000), (1, 110, 1000), (3, 98, 1000), (2, 99, 1000), (5, 10, 1000)];
        assert_eq!(keys(&old, &new), [3, 1, 5]);
    }

    #[test]
    fn edges_are_always_sent() {
        let unlimited = u64::MAX;
        assert_eq!(keys(&[(1, 0, 1000)], &[(1, 1, 1000)]), [1]);
        assert_eq!(keys(&[(1, 1, 1000)], &[(1, 0, 1000)]), [1]);
        assert_eq!(keys(&[(1, 100, 1000)], &[(1, 100, unlimited)]), [1]);
        assert_eq!(keys(&[(1, unlimited, unlimited)], &[(1, unlimited, unlimited)]), [] as [u64; 0]);
        // 1 % down, but what it has is now above what it may have.
        assert_eq!(keys(&[(1, 1000, 1000)], &[(1, 990, 990)]), [1]);
    }

    /// A class that moves no rate was never told to the shaper, which lent to it as before.
    #[test]
    fn a_change_of_class_alone_is_sent() {
        let old = plan(&[(1, 100, 1000)]);
        let mut new = old.clone();
        new.leaves[0].class = Class::Background;
        assert_eq!(changes(&old, &new).len(), 1);
        assert_eq!(changes(&new.clone().with_unsent(&old), &new).len(), 0);
    }

    #[test]
    fn small_moves_do_not_add_up_unsent() {
        let mut in_force = plan(&[(1, 1000, 9000)]);
        let mut sent = 0;
        for round in 1..=10 {
            let new = plan(&[(1, 1000 - 10 * round, 9000)]);
            sent += changes(&in_force, &new).len();
            in_force = new.with_unsent(&in_force);
        }
        assert_eq!(sent, 5);
    }
}
