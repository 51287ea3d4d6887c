//! What a data link has brought and the disk has not written yet: beside what the disk has in hand, one quantum of the link. So
//! whoever sends faster than the disk writes is held back by the kernel, or by QUIC's credit, and not by memory of ours.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::SeqCst},
};

use tokio::sync::Notify;

/// Quanta here: one that is being written, and one that waits. Without the latter each moment that one side is late is lost to both: a
/// put of 1 GiB over loopback took 2 to 10 % longer.
const QUANTA: u64 = 2;
/// What a chunk counts for at least: more than its records cost, so that a quantum is few chunks however small they are.
const CHUNK_BYTES_MIN: u64 = 4 * 1024;

/// The bytes between one link and the disk. The link's reader is the only one who waits here.
#[derive(Default)]
pub(super) struct Backlog {
    bytes: AtomicU64,
    freed: Notify,
}

impl Backlog {
    /// Waits until `len` bytes more leave no more than the disk has in hand, and one `quantum`. One chunk always has room where nothing is: it may be a
    /// larger piece than this end would choose.
    pub(super) async fn room(self: &Arc<Self>, len: u32, quantum: u32) -> Room {
        let bytes = u64::from(len).max(CHUNK_BYTES_MIN);
        loop {
            let held = self.bytes.load(SeqCst);
            if held == 0 || held + bytes <= QUANTA * u64::from(quantum) {
                break;
            }
            self.freed.notified().await;
        }
        self.bytes.fetch_add(bytes, SeqCst);
        Room { backlog: self.clone(), bytes }
    }
}

/// A chunk's place in its link's backlog, given back on drop.
pub struct Room {
    backlog: Arc<Backlog>,
    bytes: u64,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.backlog.bytes.fetch_sub(self.bytes, SeqCst);
        self.backlog.freed.notify_one();
    }
}
