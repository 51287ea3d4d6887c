//! Rests in what the allocator does to thousands of leaves, so that it never has a core for long.
//!
//! The kernel's scheduler lets a thread go before others for as long as it was kept waiting by them. On one core with 5,000 leaves, a
//! worker waited up to 5 ms for a round, sent for 4 ms without a pause after it, and the API's thread waited meanwhile (by the
//! kernel's scheduling events).

use std::{
    thread,
    time::{Duration, Instant},
};

/// Leaves between two looks at the clock.
const LEAVES: u32 = 32;
/// Work between two rests.
const PIECE: Duration = Duration::from_micros(200);
/// A worker that waited for the core has it back.
const REST: Duration = Duration::from_micros(50);

/// When the allocator rests.
#[derive(Debug)]
pub(super) struct Rests {
    /// It has a thread of its own, and keeps nobody waiting who shares it.
    pub(super) is_apart: bool,
    leaves: u32,
    began: Option<Instant>,
}

impl Rests {
    /// Of an allocator that shares its thread: none.
    pub(super) fn none() -> Self {
        Self { is_apart: false, leaves: 0, began: None }
    }

    /// Work begins.
    pub(super) fn begin(&mut self) {
        self.began = self.is_apart.then(Instant::now);
    }

    /// A leaf was dealt with, and no lock is held: rests if it is time.
    pub(super) fn after_leaf(&mut self) {
        self.leaves = (self.leaves + 1) % LEAVES;
        if self.leaves == 0 && self.began.is_some_and(|began| began.elapsed() >= PIECE) {
            thread::sleep(REST);
            self.begin();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Milliseconds that 100 x 32 leaves take, each 32 of which are 0.2 ms of work.
    fn took(mut rests: Rests) -> f64 {
        let start = Instant::now();
        rests.begin();
        for _ in 0..100 {
            let began = Instant::now();
            while began.elapsed() < PIECE {}
            (0..LEAVES).for_each(|_| rests.after_leaf());
        }
        start.elapsed().as_secs_f64() * 1e3
    }

    #[test]
    fn only_an_allocator_on_a_thread_of_its_own_rests() {
        let mut shares = Rests::none();
        shares.begin();
        assert!(shares.began.is_none(), "it would keep the workers of its thread waiting");
        assert!(took(Rests { is_apart: true, ..Rests::none() }) >= 20.0 + 5.0);
    }
}
