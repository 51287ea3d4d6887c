//! Who goes before the workers for a moment: the thread that answers an operator, where it shares a worker's core.
//!
//! The kernel runs that thread at once when a request wakes it, but an answer takes longer than one of its short turns. A worker that
//! wakes meanwhile goes first, and would until the kernel's next tick, 4 ms later. So the worker looks here after each of its turns
//! and leaves the core to an answer that is under way on it. On a core of its own the worker never does.

use std::{
    sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed},
    thread,
};

/// How often workers step aside for one answer at most: it may wait for something else than the core, a big one takes long, and
/// others who want the core get some of it, too.
const TIMES_MAX: u32 = 16;
const NOWHERE: usize = usize::MAX;

/// Whether an answer is under way, and on which core.
#[derive(Debug)]
pub struct Precedence {
    core: AtomicUsize,
    times: AtomicU32,
}

impl Default for Precedence {
    fn default() -> Self {
        Self { core: AtomicUsize::new(NOWHERE), times: AtomicU32::new(0) }
    }
}

impl Precedence {
    /// The calling thread begins an answer.
    pub fn begin(&self) {
        self.times.store(TIMES_MAX, Relaxed);
        self.core.store(host::current_core(), Relaxed);
    }

    /// It has given it.
    pub fn end(&self) {
        self.core.store(NOWHERE, Relaxed);
    }

    /// Leaves the calling thread's core to an answer that is under way on it; tells whether there was one.
    pub(crate) fn step_aside(&self) -> bool {
        let core = self.core.load(Relaxed);
        if core == NOWHERE || core != host::current_core() {
            return false;
        }
        let left = self.times.load(Relaxed);
        if left == 0 {
            return false;
        }
        // Two workers on one core may both have seen the last time.
        self.times.store(left - 1, Relaxed);
        thread::yield_now();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_steps_aside_for_nothing_nor_for_another_core_nor_for_ever() {
        let precedence = Precedence::default();
        assert!(!precedence.step_aside(), "nothing is under way");
        // A thread may be moved to another core between two calls: try until one run was not.
        for _ in 0..100 {
            let core = host::current_core();
            precedence.begin();
            let times = (0..TIMES_MAX + 5).filter(|_| precedence.step_aside()).count();
            if precedence.core.load(Relaxed) == core && host::current_core() == core {
                assert_eq!(times, TIMES_MAX as usize);
                precedence.begin();
                precedence.core.store(core + 1, Relaxed);
                assert!(!precedence.step_aside() || host::current_core() != core);
                precedence.begin();
                precedence.end();
                assert!(!precedence.step_aside());
                return;
            }
        }
        panic!("the thread never stayed where it was");
    }
}
