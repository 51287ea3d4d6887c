//! At the end of a round: what each peer and each group has moved so far, so that their rates can be told in the next.

use flow::{Direction, Moment};

use crate::shared::Shared;

use super::{rests::Rests, survey::Survey};

/// Looks at the trails of all who are here.
pub(super) fn look(shared: &Shared, survey: &mut Survey, rests: &mut Rests, now: Moment) {
    for direction in Direction::ALL {
        let mut groups = vec![0; shared.groups.len()];
        let tracks = survey.of(direction);
        for own in tracks.chunk_by(|one, next| one.leaf.peer.key == next.leaf.peer.key) {
            let mut live = 0;
            for track in own {
                let bytes = track.leaf.meter.live_bytes();
                live += bytes;
                if let Some(index) = shared.groups.iter().position(|group| group.key == track.leaf.group) {
                    groups[index] += bytes;
                }
                rests.after_leaf();
            }
            own.iter().take(1).for_each(|track| track.leaf.peer.trail.look(direction, now, live));
        }
        for (group, live) in shared.groups.iter().zip(groups) {
            group.trail.look(direction, now, live);
        }
    }
    // Those who have nothing under way. Who was looked at just now is not looked at again.
    for peer in &shared.registry.peers {
        Direction::ALL.into_iter().for_each(|direction| peer.trail.look(direction, now, 0));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::testing::{hungry, join, shared};

    const UP: Direction = Direction::Upload;

    /// What had ended since the round began was in both sums, and for some seconds its peer and its group seemed to move nothing.
    #[test]
    fn a_transfer_that_ends_during_a_round_is_counted_once() {
        let shared = shared(0);
        let (session, _lane) = join(&shared, "a");
        let mut survey = Survey::default();
        let [ended, goes_on] = [hungry(&shared, &session, 0), hungry(&shared, &session, 0)];
        ended.meter.count(9_000_000, 0);
        goes_on.meter.count(1_000_000, 0);
        survey.meet(&shared.registry, shared.clock.now());
        ended.meter.end();
        for trail in [&session.peer.trail, &shared.groups[0].trail] {
            trail.end(UP, 9_000_000);
        }
        let now = shared.clock.now() + Duration::from_secs(3);
        look(&shared, &mut survey, &mut Rests::none(), now);
        for trail in [&session.peer.trail, &shared.groups[0].trail] {
            assert_eq!(trail.rate(UP, now + Duration::from_secs(2), 3_000_000), 1e6);
        }
    }
}
