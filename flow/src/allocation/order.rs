//! Sorting by keys in linear time: a radix sort, least significant digit first, over only the digits in which the keys
//! differ. Keys are handed out by counters, so that is two digits; comparing took half of the round.

use super::LeafInput;

/// 2048 buckets: the counters fit the first cache, and three digits cover eight billion keys.
const DIGIT_BITS: u32 = 11;
const BUCKETS: usize = 1 << DIGIT_BITS;

/// Where a leaf belongs, and its position in the snapshot.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(super) struct Place {
    pub(super) peer: u64,
    pub(super) group: u32,
    pub(super) input: u32,
}

/// The places of all leaves by peer, then group, then key.
pub(super) fn sorted(leaves: &[LeafInput]) -> Vec<Place> {
    let mut places: Vec<Place> =
        (0..).zip(leaves).map(|(input, leaf)| Place { peer: leaf.peer.0, group: leaf.group.0, input }).collect();
    sort_by(&mut places, |place| place.peer);
    // A peer has few leaves: there, comparing is faster.
    for of_one_peer in places.chunk_by_mut(|one, next| one.peer == next.peer) {
        of_one_peer.sort_unstable_by_key(|place| (place.group, leaves[place.input as usize].key));
    }
    places
}

/// Stable.
pub(super) fn sort_by<T: Copy>(items: &mut Vec<T>, key: impl Fn(&T) -> u64) {
    if items.is_sorted_by_key(&key) {
        return;
    }
    let first = items.first().map_or(0, &key);
    let differing = items.iter().fold(0, |bits, item| bits | (key(item) ^ first));
    let mut spare = items.clone();
    for shift in (0..u64::BITS).step_by(DIGIT_BITS as usize) {
        if (differing >> shift) & (BUCKETS as u64 - 1) == 0 {
            continue;
        }
        let digit = |item: &T| (key(item) >> shift) as usize & (BUCKETS - 1);
        let mut next = [0u32; BUCKETS];
        for item in items.iter() {
            next[digit(item)] += 1;
        }
        let mut start = 0;
        for bucket in &mut next {
            start += std::mem::replace(bucket, start);
        }
        for item in items.iter() {
            let slot = &mut next[digit(item)];
            spare[*slot as usize] = *item;
            *slot += 1;
        }
        std::mem::swap(items, &mut spare);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn sorts_as_comparing_does(keys in prop::collection::vec(any::<u64>(), 0..200), narrow: bool) {
            let mut items: Vec<(u64, usize)> =
                keys.into_iter().map(|key| if narrow { key % 50 } else { key }).zip(0..).collect();
            let mut compared = items.clone();
            compared.sort_by_key(|(key, _)| *key);
            sort_by(&mut items, |(key, _)| *key);
            prop_assert_eq!(items, compared);
        }
    }
}
