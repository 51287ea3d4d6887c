//! Peers with sessions on several workers. Each of those gives such a peer the part of its weight and floors that belongs to the sessions
//! there: with all of them on each, whoever comes with a session for every worker would borrow as many shares.

use std::{
    collections::HashSet,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use flow::PeerKey;

/// By worker: which peers' parts have changed elsewhere.
#[derive(Debug)]
pub struct Spread(Vec<Changed>);

#[derive(Debug, Default)]
struct Changed {
    any: AtomicBool,
    peers: Mutex<HashSet<PeerKey>>,
}

impl Spread {
    /// For so many workers.
    pub fn new(workers: usize) -> Self {
        Self((0..workers).map(|_| Changed::default()).collect())
    }

    /// Something is different for `peer` on `worker`, and so its part on every other. They have to be woken.
    pub(crate) fn changed(&self, worker: usize, peer: PeerKey) {
        for (_, other) in self.0.iter().enumerate().filter(|(index, _)| *index != worker) {
            other.peers.lock().unwrap_or_else(PoisonError::into_inner).insert(peer);
            other.any.store(true, Relaxed);
        }
    }

    /// Those that `worker` has not looked at since they changed; bounded by the peers that are here.
    pub(crate) fn take(&self, worker: usize) -> HashSet<PeerKey> {
        match self.0.get(worker) {
            Some(here) if here.any.swap(false, Relaxed) => {
                std::mem::take(&mut *here.peers.lock().unwrap_or_else(PoisonError::into_inner))
            }
            _ => HashSet::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_other_worker_is_told_once() {
        let spread = Spread::new(3);
        spread.changed(1, PeerKey(7));
        spread.changed(1, PeerKey(7));
        spread.changed(0, PeerKey(8));
        assert_eq!(spread.take(0), HashSet::from([PeerKey(7)]));
        assert_eq!(spread.take(1), HashSet::from([PeerKey(8)]));
        assert_eq!(spread.take(2), HashSet::from([PeerKey(7), PeerKey(8)]));
        assert!(spread.take(2).is_empty() && spread.take(9).is_empty());
    }
}
