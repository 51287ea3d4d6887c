//! One writer per part: a table among the sessions of this node. (Across processes a `flock` on the part does it.)

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Semaphore;

/// A part's place: its directory's device and number, and its name there.
pub(super) type PartKey = (u64, u64, Vec<u8>);

/// The table of parts being written. Bounded by the transfers that a node admits.
#[derive(Clone, Debug, Default)]
pub(super) struct PartLocks {
    table: Arc<Mutex<HashMap<PartKey, Holder>>>,
}

#[derive(Debug)]
struct Holder {
    /// Its sink was dropped and is just writing down how far it came.
    leaving: bool,
    /// Closed when it is gone.
    gone: Arc<Semaphore>,
}

impl PartLocks {
    /// Takes the part, waiting for a holder that is just leaving; `None` when somebody writes it.
    pub(super) async fn take(&self, key: PartKey) -> Option<PartLease> {
        loop {
            let gone = {
                let mut table = self.lock();
                match table.get(&key) {
                    None => {
                        let gone = Arc::new(Semaphore::new(0));
                        table.insert(key.clone(), Holder { leaving: false, gone });
                        return Some(PartLease { locks: self.clone(), key });
                    }
                    Some(holder) if holder.leaving => holder.gone.clone(),
                    Some(_) => return None,
                }
            };
            // It never has a permit: this ends when it is closed.
            let _ = gone.acquire().await;
        }
    }

    /// Waits for a holder that is just leaving: until it is gone the part's record says less than it will.
    pub(super) async fn settled(&self, key: &PartKey) {
        let leaving = self.lock().get(key).filter(|holder| holder.leaving).map(|holder| holder.gone.clone());
        if let Some(gone) = leaving {
            let _ = gone.acquire().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PartKey, Holder>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to write one part; given back on drop.
#[derive(Debug)]
pub(super) struct PartLease {
    locks: PartLocks,
    key: PartKey,
}

impl PartLease {
    /// Says that the lease ends soon, so that the next one waits instead of being refused.
    pub(super) fn leave(&self) {
        if let Some(holder) = self.locks.lock().get_mut(&self.key) {
            holder.leaving = true;
        }
    }
}

impl Drop for PartLease {
    fn drop(&mut self) {
        if let Some(holder) = self.locks.lock().remove(&self.key) {
            holder.gone.close();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_writer_and_the_next_waits_only_for_one_who_leaves() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let locks = PartLocks::default();
            let key = (1, 2, b"x".to_vec());
            let lease = locks.take(key.clone()).await.unwrap();
            assert!(locks.take(key.clone()).await.is_none());
            assert!(locks.take((1, 2, b"y".to_vec())).await.is_some());
            // Nobody knows when he ends.
            locks.settled(&key).await;
            lease.leave();
            let (waiting, key) = (locks.clone(), key);
            let (looking, its_key) = (locks.clone(), key.clone());
            let look = tokio::spawn(async move { looking.settled(&its_key).await });
            let next = tokio::spawn(async move { waiting.take(key).await.is_some() });
            tokio::task::yield_now().await;
            assert!(!next.is_finished() && !look.is_finished());
            drop(lease);
            assert!(next.await.unwrap());
            look.await.unwrap();
            assert!(locks.lock().is_empty());
        });
    }
}
