//! Who had to do with a round, and how much of it was theirs.

use crate::PeerKey;

/// So many peers are not all held by lines of their own by chance, and one more is a small part of them: what they teach is the line.
const MANY: usize = 10;

/// The peers that moved bytes in a round.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Witnesses {
    /// With what they moved; none of them any more when they are many.
    few: Vec<(PeerKey, f64)>,
    are_many: bool,
}

impl Witnesses {
    /// A transfer of `peer` moved so many bytes.
    pub fn meet(&mut self, peer: PeerKey, bytes: f64) {
        if self.are_many {
            return;
        }
        if let Some((_, sum)) = self.few.iter_mut().find(|(known, _)| *known == peer) {
            *sum += bytes;
        } else if self.few.len() + 1 < MANY {
            self.few.push((peer, bytes));
        } else {
            *self = Self { few: Vec::new(), are_many: true };
        }
    }

    /// Whether they are more than anybody needs to tell apart.
    pub fn are_many(&self) -> bool {
        self.are_many
    }

    /// The part of all bytes that was moved by those who are not among `others`, `None` when they all are. Many are others than few.
    pub(super) fn part_beside(&self, others: &Self) -> Option<f64> {
        if self.are_many {
            return (!others.are_many).then_some(1.0);
        }
        let is_new = |peer: PeerKey| !others.few.iter().any(|(known, _)| *known == peer);
        let (mut has_new, mut fresh, mut all) = (false, 0.0, 0.0);
        for &(peer, bytes) in &self.few {
            let is_new = is_new(peer);
            has_new |= is_new;
            fresh += if is_new { bytes } else { 0.0 };
            all += bytes;
        }
        has_new.then(|| fresh / all.max(1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(peers: impl IntoIterator<Item = (u64, f64)>) -> Witnesses {
        let mut witnesses = Witnesses::default();
        peers.into_iter().for_each(|(peer, bytes)| witnesses.meet(PeerKey(peer), bytes));
        witnesses
    }

    #[test]
    fn one_peer_is_one_with_any_number_of_transfers() {
        let one = of([(7, 10.0), (7, 20.0)]);
        assert_eq!(one, of([(7, 30.0)]));
        for (seen, others, part) in [
            (of([(7, 1.0)]), &one, None),
            (of([]), &one, None),
            (of([(8, 0.0)]), &one, Some(0.0)),
            (of([(7, 30.0), (8, 5.0), (9, 5.0)]), &one, Some(0.25)),
            (of([(7, 1.0)]), &of([]), Some(1.0)),
        ] {
            assert_eq!(seen.part_beside(others), part, "{seen:?} beside {others:?}");
        }
    }

    #[test]
    fn many_are_not_told_apart() {
        let crowd = of((0..10).map(|peer| (peer, 1.0)));
        assert!(crowd.are_many() && !of((0..9).map(|peer| (peer, 1.0))).are_many());
        assert_eq!((crowd.part_beside(&of([(1, 1.0)])), crowd.part_beside(&crowd)), (Some(1.0), None));
    }
}
