//! To which level groups and the total fill: what one more peer would be assigned, nearly.

/// What holds a peer in its group.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(super) enum Held {
    Total,
    Group,
    /// Something of its own.
    Itself,
}

/// What the peers of one group have for their weight.
#[derive(Copy, Clone, Debug, Default)]
pub(super) struct Level {
    /// The least of those whom the group or the total holds: others have more by their floors.
    held: Option<f64>,
    /// The total holds one of them.
    is_at_total: bool,
    /// The most that anybody has.
    most: f64,
    /// All together.
    sum: f64,
}

impl Level {
    /// A peer of that weight is assigned `rate`, and is held there.
    pub(super) fn note(&mut self, rate: f64, weight: f64, held: Held) {
        if rate <= 0.0 || weight <= 0.0 {
            return;
        }
        let level = rate / weight;
        self.sum += rate;
        self.most = self.most.max(level);
        self.is_at_total |= held == Held::Total;
        if held != Held::Itself {
            self.held = Some(self.held.map_or(level, |least| least.min(level)));
        }
    }
}

/// For each group, given its weight: in bytes per second for one unit of a peer's weight.
pub(super) fn fair_rates(groups: &[(Level, f64)]) -> impl Iterator<Item = f64> {
    // What a unit of a group's weight has, where the total is shared: a group that its own limit holds has less.
    let shared = groups.iter().filter(|(level, weight)| level.is_at_total && *weight > 0.0);
    let root = shared.map(|(level, weight)| level.sum / weight).fold(f64::INFINITY, f64::min);
    let most = groups.iter().map(|(level, _)| level.most).fold(0.0, f64::max);
    groups.iter().map(move |(level, weight)| match level.held {
        Some(held) => held,
        // Who wants little leaves the group's share to one more.
        None if root.is_finite() => level.most.max(root * weight),
        None if level.most > 0.0 => level.most,
        None => most,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rate, weight, and whether the total holds it.
    type Peer = (f64, f64, bool);

    fn level(peers: &[Peer]) -> Level {
        let mut level = Level::default();
        for &(rate, weight, held) in peers {
            level.note(rate, weight, if held { Held::Total } else { Held::Itself });
        }
        level
    }

    fn fair(groups: &[(&[Peer], f64)]) -> Vec<f64> {
        let groups: Vec<_> = groups.iter().map(|(peers, weight)| (level(peers), *weight)).collect();
        fair_rates(&groups).collect()
    }

    #[test]
    fn it_is_what_one_more_peer_would_have_for_its_weight() {
        assert_eq!(fair(&[(&[(50.0, 1.0, true), (450.0, 9.0, true)], 1.0)]), [50.0], "the same for all weights");
        assert_eq!(fair(&[(&[(300.0, 1.0, true), (67.0, 1.0, true)], 1.0)]), [67.0], "a floor is nobody else's");
        assert_eq!(fair(&[(&[(300.0, 1.0, true), (2.0, 1.0, false)], 1.0)]), [300.0], "nor is a slow line");
        assert_eq!(fair(&[(&[(3.0, 1.0, false), (2.0, 1.0, false)], 1.0)]), [3.0], "who wants little leaves the rest");
    }

    /// A peer that woke in a quiet group was promised what a group that is full at its own small limit has, or what one who trickles has.
    #[test]
    fn quiet_groups_are_measured_by_those_that_share_the_total() {
        let mut full = Level::default();
        full.note(0.1, 1.0, Held::Group);
        let busy = level(&[(99.0, 1.0, true)]);
        let trickles = level(&[(0.001, 1.0, false)]);
        let fair: Vec<_> = fair_rates(&[(full, 1.0), (busy, 1.0), (Level::default(), 1.0), (trickles, 0.5)]).collect();
        assert_eq!(fair, [0.1, 99.0, 99.0, 49.5]);
        let alone: Vec<_> = fair_rates(&[(full, 1.0), (Level::default(), 1.0), (trickles, 1.0)]).collect();
        assert_eq!(alone, [0.1, 0.1, 0.001], "nobody is held by the total: nothing is known of it");
    }

    #[test]
    fn a_group_without_anybody_has_its_weight_among_the_others() {
        let busy = &[(50.0, 1.0, true), (50.0, 1.0, true)][..];
        assert_eq!(fair(&[(busy, 1.0), (&[], 3.0)]), [50.0, 300.0]);
        assert_eq!(fair(&[(&[(20.0, 2.0, false)], 1.0), (&[], 3.0)]), [10.0, 10.0]);
        assert_eq!(fair(&[(&[], 1.0)]), [0.0]);
    }
}
