//! To which level groups and the total fill: what one more peer would be assigned, nearly.

/// What the peers of one group have for their weight.
#[derive(Copy, Clone, Debug, Default)]
pub(super) struct Level {
    /// The least of those whom the group or the total holds: others have more by their floors.
    held: Option<f64>,
    /// The most that anybody has.
    most: f64,
    /// All together.
    sum: f64,
}

impl Level {
    /// A peer of that weight is assigned `rate`, and is held there by the group or the total, or by something of its own.
    pub(super) fn note(&mut self, rate: f64, weight: f64, held: bool) {
        if rate <= 0.0 || weight <= 0.0 {
            return;
        }
        let level = rate / weight;
        self.sum += rate;
        self.most = self.most.max(level);
        if held {
            self.held = Some(self.held.map_or(level, |least| least.min(level)));
        }
    }
}

/// For each group, given its weight: in bytes per second for one unit of a peer's weight.
pub(super) fn fair_rates(groups: &[(Level, f64)]) -> impl Iterator<Item = f64> {
    // What a unit of a group's weight has, where the total is shared.
    let shared = groups.iter().filter(|(level, weight)| level.held.is_some() && *weight > 0.0);
    let root = shared.map(|(level, weight)| level.sum / weight).fold(f64::INFINITY, f64::min);
    let most = groups.iter().map(|(level, _)| level.most).fold(0.0, f64::max);
    groups.iter().map(move |(level, weight)| match level.held {
        Some(held) => held,
        None if level.most > 0.0 => level.most,
        None if root.is_finite() => root * weight,
        None => most,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rate, weight, and whether the group or the total holds it.
    type Peer = (f64, f64, bool);

    fn level(peers: &[Peer]) -> Level {
        let mut level = Level::default();
        peers.iter().for_each(|&(rate, weight, held)| level.note(rate, weight, held));
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

    #[test]
    fn a_group_without_anybody_has_its_weight_among_the_others() {
        let busy = &[(50.0, 1.0, true), (50.0, 1.0, true)][..];
        assert_eq!(fair(&[(busy, 1.0), (&[], 3.0)]), [50.0, 300.0]);
        assert_eq!(fair(&[(&[(20.0, 2.0, false)], 1.0), (&[], 3.0)]), [10.0, 10.0]);
        assert_eq!(fair(&[(&[], 1.0)]), [0.0]);
    }
}
