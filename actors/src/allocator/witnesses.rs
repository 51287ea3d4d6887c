//! How much was sent to which peers since the last tick, also in transfers that have ended meanwhile.

use flow::{Direction, PeerKey, Witnesses, shaper::KeyMap};

use crate::{registry::Registry, shared::Conduct};

use super::survey::Track;

/// What each peer had moved at the last tick; `None` where many moved something, and nobody was looked at.
#[derive(Default)]
pub(super) struct Sums(Option<KeyMap<PeerKey, u64>>);

impl Sums {
    /// Those of the round that ends. A peer that fetches one small thing after the other has often no transfer when it does.
    pub(super) fn witnesses(&mut self, registry: &Registry, tracks: &[Track], conducts: &[Conduct]) -> Witnesses {
        let mut here = Witnesses::default();
        for (track, conduct) in tracks.iter().zip(conducts).filter(|(_, conduct)| conduct.moved > 0) {
            here.meet(track.leaf.peer.key, conduct.moved as f64);
        }
        if here.are_many() {
            self.0 = None;
            return here;
        }
        let mut sums: KeyMap<PeerKey, u64> = KeyMap::default();
        for peer in &registry.peers {
            sums.insert(peer.key, peer.trail.ended(Direction::Upload));
        }
        for track in tracks {
            *sums.entry(track.leaf.peer.key).or_default() += track.leaf.meter.live_bytes();
        }
        let before = self.0.replace(sums);
        let (Some(before), Some(sums)) = (before, &self.0) else { return here };
        let mut witnesses = Witnesses::default();
        for (peer, sum) in sums {
            let moved = sum.saturating_sub(before.get(peer).copied().unwrap_or(0));
            if moved > 0 {
                witnesses.meet(*peer, moved as f64);
            }
        }
        witnesses
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        allocator::{rests::Rests, survey::Survey},
        testing::{hungry, join, shared},
    };

    /// Each was a newcomer whenever it was met in the middle of a transfer, and what was known of the line was doubted again.
    #[test]
    fn whoever_fetches_one_small_thing_after_the_other_is_one_peer_also_between_two() {
        let shared = shared(0);
        let (session, _lane) = join(&shared, "a");
        let (mut survey, mut sums) = (Survey::default(), Sums::default());
        let mut met = |moved: &[u64], ends: bool| {
            for &bytes in moved {
                let leaf = hungry(&shared, &session, 0);
                leaf.meter.count(bytes, bytes);
                if ends {
                    shared.registry.remove_leaf(leaf.key);
                    leaf.peer.trail.end(Direction::Upload, bytes);
                }
            }
            survey.meet(&shared.registry, shared.clock.now());
            survey.sample(shared.clock.now(), &mut Rests::none());
            let tracks = survey.of(Direction::Upload);
            let conducts: Vec<Conduct> =
                tracks.iter_mut().map(|track| track.conduct(shared.clock.now(), true)).collect();
            sums.witnesses(&shared.registry, tracks, &conducts)
        };
        let moved = |bytes: f64| {
            let mut witnesses = Witnesses::default();
            witnesses.meet(session.peer.key, bytes);
            witnesses
        };
        assert_eq!(met(&[], true), Witnesses::default());
        assert_eq!(met(&[100, 200, 300], true), moved(600.0), "no transfer is here");
        assert_eq!(met(&[], true), Witnesses::default());
        assert_eq!(met(&[50], false), moved(50.0));
        assert_eq!(met(&[70], true), moved(70.0), "what moved before is not counted again");
        // One that was met under way and has ended is planned for a while longer.
        let live: Vec<_> = shared.registry.leaves.iter().map(|leaf| leaf.clone()).collect();
        for leaf in live {
            shared.registry.remove_leaf(leaf.key);
            leaf.meter.end();
            leaf.peer.trail.end(Direction::Upload, leaf.meter.bytes());
        }
        assert_eq!(met(&[], true), Witnesses::default(), "its bytes are not counted twice");
        assert_eq!(met(&[30], true), moved(30.0));
    }
}
