//! Who had to do with a round.

use crate::PeerKey;

/// The peers that moved bytes in a round, or wanted to.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq)]
pub enum Witnesses {
    /// None.
    #[default]
    Nobody,
    /// One, with however many transfers.
    One(PeerKey),
    /// More.
    Several,
}

impl Witnesses {
    /// One more transfer is `peer`'s.
    pub fn meet(&mut self, peer: PeerKey) {
        *self = match *self {
            Self::Nobody => Self::One(peer),
            Self::One(known) if known == peer => *self,
            Self::One(_) | Self::Several => Self::Several,
        };
    }

    /// Whether this is one alone, and there is somebody else in `other`.
    pub(super) fn is_one_beside(self, other: Self) -> bool {
        matches!(self, Self::One(_)) && other != self && other != Self::Nobody
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_peer_is_one_with_any_number_of_transfers() {
        let of = |peers: &[u64]| {
            let mut witnesses = Witnesses::default();
            peers.iter().for_each(|&peer| witnesses.meet(PeerKey(peer)));
            witnesses
        };
        let (one, other) = (of(&[7, 7, 7]), of(&[8]));
        assert_eq!((of(&[]), one, of(&[7, 8, 7])), (Witnesses::Nobody, Witnesses::One(PeerKey(7)), Witnesses::Several));
        for (taught_by, seen, beside) in [
            (one, one, false),
            (one, Witnesses::Nobody, false),
            (one, other, true),
            (one, Witnesses::Several, true),
            (Witnesses::Several, one, false),
            (Witnesses::Nobody, one, false),
        ] {
            assert_eq!(taught_by.is_one_beside(seen), beside, "{taught_by:?}, {seen:?}");
        }
    }
}
