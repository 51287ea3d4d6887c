//! What a leaf measures of itself: bytes, and which limiter held it for how long.
//!
//! Written by the one worker on which the leaf lives, read by the allocator: relaxed atomics, no message per byte. A reader
//! may see a change of limiter a moment late; over a round that is noise far below a percent.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};

use flow::{Limiter, Mode, Moment};

/// Counters of one leaf since it was opened.
#[derive(Debug)]
pub struct LeafMeter {
    started: Moment,
    bytes: AtomicU64,
    chunks: AtomicU64,
    offset: AtomicU64,
    held_ns: [AtomicU64; Limiter::ALL.len()],
    current: AtomicU8,
    since_ns: AtomicU64,
    mode: AtomicU8,
    ended: AtomicBool,
}

/// What a meter showed at one moment.
#[derive(Copy, Clone, Debug, Default)]
pub struct Reading {
    /// Payload bytes moved.
    pub bytes: u64,
    /// Quanta in which they were moved.
    pub chunks: u64,
    /// Time under each limiter, by [`Limiter::index`].
    pub held_ns: [u64; Limiter::ALL.len()],
    /// Whether it wants to move bytes now.
    pub backlogged: bool,
}

impl LeafMeter {
    /// A meter that starts at `now`, waiting for its source.
    pub fn new(now: Moment) -> Self {
        Self {
            started: now,
            bytes: AtomicU64::new(0),
            chunks: AtomicU64::new(0),
            offset: AtomicU64::new(0),
            held_ns: Default::default(),
            current: AtomicU8::new(Limiter::Source.index() as u8),
            since_ns: AtomicU64::new(now.as_nanos()),
            mode: AtomicU8::new(Mode::Precise.index() as u8),
            ended: AtomicBool::new(false),
        }
    }

    /// The leaf has gone. Its bytes are counted where those of others are that have ended, by whoever says so.
    pub fn end(&self) {
        self.ended.store(true, Relaxed);
    }

    /// Payload bytes moved so far, if it is still here.
    pub fn live_bytes(&self) -> u64 {
        if self.ended.load(Relaxed) { 0 } else { self.bytes() }
    }

    /// Payload bytes moved so far.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// When the leaf was opened.
    pub fn started(&self) -> Moment {
        self.started
    }

    /// Quanta in which they were moved.
    pub fn chunks(&self) -> u64 {
        self.chunks.load(Relaxed)
    }

    /// Position in the file.
    pub fn offset(&self) -> u64 {
        self.offset.load(Relaxed)
    }

    /// The mode of its link.
    pub fn mode(&self) -> Mode {
        Mode::ALL[usize::from(self.mode.load(Relaxed))]
    }

    /// Its link is in `mode` from now on.
    pub fn set_mode(&self, mode: Mode) {
        self.mode.store(mode.index() as u8, Relaxed);
    }

    /// What holds the leaf now.
    pub fn limiter(&self) -> Limiter {
        Limiter::ALL[usize::from(self.current.load(Relaxed))]
    }

    /// The counters, the running interval included.
    pub fn read(&self, now: Moment) -> Reading {
        let mut held_ns = std::array::from_fn(|index| self.held_ns[index].load(Relaxed));
        let current = self.limiter();
        held_ns[current.index()] += now.as_nanos().saturating_sub(self.since_ns.load(Relaxed));
        Reading { bytes: self.bytes(), chunks: self.chunks(), held_ns, backlogged: current != Limiter::Source }
    }

    /// Counts `len` payload bytes; the file is now at `offset`.
    pub fn count(&self, len: u64, offset: u64) {
        self.bytes.fetch_add(len, Relaxed);
        self.chunks.fetch_add(1, Relaxed);
        self.offset.store(offset, Relaxed);
    }

    /// The file starts at `offset` (a resume).
    pub fn start_at(&self, offset: u64) {
        self.offset.store(offset, Relaxed);
    }

    /// From `now` on the leaf is held by `limiter`. Returns what held it before.
    pub fn hold(&self, limiter: Limiter, now: Moment) -> Limiter {
        let before = self.limiter();
        if before != limiter {
            let since = self.since_ns.swap(now.as_nanos(), Relaxed);
            self.held_ns[before.index()].fetch_add(now.as_nanos().saturating_sub(since), Relaxed);
            self.current.store(limiter.index() as u8, Relaxed);
        }
        before
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn time_goes_to_the_limiter_that_held() {
        let start = Moment::ZERO;
        let meter = LeafMeter::new(start);
        meter.hold(Limiter::Tokens, start + Duration::from_millis(10));
        meter.hold(Limiter::Tokens, start + Duration::from_millis(20));
        meter.hold(Limiter::Network, start + Duration::from_millis(40));
        let reading = meter.read(start + Duration::from_millis(45));
        assert_eq!(reading.held_ns[Limiter::Source.index()], 10_000_000);
        assert_eq!(reading.held_ns[Limiter::Tokens.index()], 30_000_000);
        assert_eq!(reading.held_ns[Limiter::Network.index()], 5_000_000);
        assert!(reading.backlogged);
    }
}
