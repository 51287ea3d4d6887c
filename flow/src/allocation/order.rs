//! Sorting leaves by peer, group and key in linear time: a radix sort, least significant digit first, over only the digits
//! in which the keys differ. Keys are handed out by counters, so that is two digits each; comparing took half of the round.

use super::LeafInput;

/// 2048 buckets: the counters fit the first cache, and three digits cover eight billion keys.
const DIGIT_BITS: u32 = 11;
const BUCKETS: usize = 1 << DIGIT_BITS;

/// Where a leaf belongs, and its position in the snapshot.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Place {
    pub(super) peer: u64,
    leaf: u64,
    pub(super) group: u32,
    pub(super) input: u32,
}

/// The places of all leaves by peer, then group, then key.
pub(super) fn sorted(leaves: &[LeafInput]) -> Vec<Place> {
    let mut places: Vec<Place> = (0..)
        .zip(leaves)
        .map(|(input, leaf)| Place { peer: leaf.peer.0, leaf: leaf.key.0, group: leaf.group.0, input })
        .collect();
    if places.is_sorted_by_key(|place| (place.peer, place.group, place.leaf)) {
        return places;
    }
    let mut spare = vec![Place::default(); places.len()];
    sort_by(&mut places, &mut spare, |place| place.leaf);
    sort_by(&mut places, &mut spare, |place| u64::from(place.group));
    sort_by(&mut places, &mut spare, |place| place.peer);
    places
}

/// Stable.
fn sort_by(places: &mut Vec<Place>, spare: &mut Vec<Place>, key: impl Fn(&Place) -> u64) {
    let first = places.first().map_or(0, &key);
    let differing = places.iter().fold(0, |bits, place| bits | (key(place) ^ first));
    for shift in (0..u64::BITS).step_by(DIGIT_BITS as usize) {
        if (differing >> shift) & (BUCKETS as u64 - 1) == 0 {
            continue;
        }
        let digit = |place: &Place| (key(place) >> shift) as usize & (BUCKETS - 1);
        let mut next = [0u32; BUCKETS];
        for place in places.iter() {
            next[digit(place)] += 1;
        }
        let mut start = 0;
        for bucket in &mut next {
            start += std::mem::replace(bucket, start);
        }
        for place in places.iter() {
            let slot = &mut next[digit(place)];
            spare[*slot as usize] = *place;
            *slot += 1;
        }
        std::mem::swap(places, spare);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn sorts_as_comparing_does(keys in prop::collection::vec((any::<u64>(), 0u32..9, 0u64..5000), 0..200), narrow: bool) {
            let place = |(input, (peer, group, leaf)): (usize, (u64, u32, u64))| Place {
                peer: if narrow { peer % 50 } else { peer },
                leaf,
                group,
                input: input as u32,
            };
            let mut places: Vec<Place> = keys.into_iter().enumerate().map(place).collect();
            let mut compared = places.clone();
            compared.sort_by_key(|place| (place.peer, place.group, place.leaf));
            let mut spare = places.clone();
            sort_by(&mut places, &mut spare, |place| place.leaf);
            sort_by(&mut places, &mut spare, |place| u64::from(place.group));
            sort_by(&mut places, &mut spare, |place| place.peer);
            prop_assert_eq!(places, compared);
        }
    }
}
