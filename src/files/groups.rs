//! BLAKE3 by groups of 1 MiB: the pure part (DESIGN 3.7).
//!
//! BLAKE3 is a tree. The chaining values of its 1 MiB subtrees are enough to make the root of the whole file and of every
//! prefix that is a multiple of 1 MiB, without reading a byte again. A group is a power of two of BLAKE3 chunks, so that
//! groups always are whole subtrees (paper, section 2.1); only the last may be short.

use blake3::{
    Hasher,
    hazmat::{ChainingValue, HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root},
};

/// Bytes of a group; also the grain of resuming.
pub(super) const GROUP_BYTES: u64 = 1 << 20;

/// One hashed group.
#[derive(Copy, Clone, Debug)]
pub(super) struct Group {
    /// As an inner node of a larger file.
    value: ChainingValue,
    /// As a file of its own; of use for the first group only.
    alone: [u8; 32],
}

/// Hashes the group with that index. `bytes` is 1 MiB, or 1 byte and more when it is the last.
pub(super) fn hash_group(index: u64, bytes: &[u8]) -> Group {
    debug_assert!(!bytes.is_empty() && bytes.len() as u64 <= GROUP_BYTES);
    let mut hasher = Hasher::new();
    hasher.set_input_offset(index * GROUP_BYTES).update(bytes);
    let alone = if index == 0 { *hasher.finalize().as_bytes() } else { [0; 32] };
    Group { value: hasher.finalize_non_root(), alone }
}

/// The groups of a file from its start, as far as they are known.
#[derive(Clone, Debug, Default)]
pub(super) struct GroupChain {
    values: Vec<ChainingValue>,
    first_alone: [u8; 32],
}

impl GroupChain {
    /// Adds the next group.
    pub(super) fn push(&mut self, group: Group) {
        if self.values.is_empty() {
            self.first_alone = group.alone;
        }
        self.values.push(group.value);
    }

    /// Groups known.
    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    /// Bytes of memory held.
    pub(super) fn memory_bytes(&self) -> usize {
        self.values.capacity() * size_of::<ChainingValue>()
    }

    /// The hash of a file made of exactly the first `groups` groups; `None` when not so many are known.
    pub(super) fn root_of(&self, groups: usize) -> Option<[u8; 32]> {
        let values = self.values.get(..groups)?;
        Some(match values {
            [] => *blake3::hash(b"").as_bytes(),
            [_] => self.first_alone,
            _ => {
                let (left, right) = values.split_at(left_groups(values.len()));
                *merge_subtrees_root(&merged(left), &merged(right), Mode::Hash).as_bytes()
            }
        })
    }
}

/// How many groups a file of `bytes` has.
pub(super) fn groups_in(bytes: u64) -> usize {
    usize::try_from(bytes.div_ceil(GROUP_BYTES)).unwrap_or(usize::MAX)
}

/// The chaining value of a subtree; the recursion is as deep as the logarithm of its groups.
fn merged(values: &[ChainingValue]) -> ChainingValue {
    match values {
        [one] => *one,
        _ => {
            let (left, right) = values.split_at(left_groups(values.len()));
            merge_subtrees_non_root(&merged(left), &merged(right), Mode::Hash)
        }
    }
}

/// BLAKE3's rule: the left subtree is the greatest power of two that leaves something for the right one.
fn left_groups(groups: usize) -> usize {
    groups.div_ceil(2).next_power_of_two()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn chain(data: &[u8]) -> GroupChain {
        let mut chain = GroupChain::default();
        for (index, bytes) in data.chunks(GROUP_BYTES as usize).enumerate() {
            chain.push(hash_group(index as u64, bytes));
        }
        chain
    }

    fn noise(bytes: usize) -> Vec<u8> {
        let mut data = vec![0; bytes];
        Hasher::new().update(b"noise").finalize_xof().fill(&mut data);
        data
    }

    #[test]
    fn roots_and_prefixes_are_those_of_blake3() {
        let mib = GROUP_BYTES as usize;
        let data = noise(9 * mib + 4097);
        let mut sizes = vec![0, 1, 1023, 1024, 1025, 65_537, 9 * mib + 4097];
        for groups in 1..=9 {
            sizes.extend([groups * mib - 1, groups * mib, groups * mib + 1, groups * mib + 1025]);
        }
        for size in sizes {
            let chain = chain(&data[..size]);
            assert_eq!(chain.len(), groups_in(size as u64));
            let whole = chain.root_of(chain.len()).unwrap();
            assert_eq!(whole, *blake3::hash(&data[..size]).as_bytes(), "{size}");
            for groups in 0..=size / mib {
                let prefix = *blake3::hash(&data[..groups * mib]).as_bytes();
                assert_eq!(chain.root_of(groups), Some(prefix), "{groups} of {size}");
            }
            assert_eq!(chain.root_of(chain.len() + 1), None);
        }
    }

    #[test]
    fn left_side_is_blake3s_own() {
        for groups in 2..5000_u64 {
            let left = blake3::hazmat::left_subtree_len(groups * GROUP_BYTES) / GROUP_BYTES;
            assert_eq!(left_groups(groups as usize) as u64, left);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn any_size(size in 0_usize..5_000_000) {
            let data = noise(size);
            let chain = chain(&data);
            prop_assert_eq!(chain.root_of(chain.len()).unwrap(), *blake3::hash(&data).as_bytes());
        }
    }
}
