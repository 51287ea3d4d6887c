//! What the workers that draw on one total tell each other: who waits, and who is due first.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU32, AtomicU64, Ordering},
};

use super::clock::NEVER;

/// Shared by all shapers of one total.
#[derive(Debug, Default)]
pub(crate) struct Line {
    /// A desk for each worker.
    desks: Mutex<Vec<Arc<Desk>>>,
    /// Comings and goings.
    changes: AtomicU32,
    /// Workers on which a foreground leaf waits.
    foreground: AtomicU32,
}

/// Where a worker puts down when the first of its leaves that wait within a guarantee is due. On a cache line of its own.
#[derive(Debug)]
#[repr(align(64))]
struct Desk {
    due_at: AtomicU64,
}

impl Line {
    fn desks(&self) -> MutexGuard<'_, Vec<Arc<Desk>>> {
        self.desks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One worker's place on a line; it leaves when dropped.
#[derive(Debug)]
pub(crate) struct LineSeat {
    line: Arc<Line>,
    own: Arc<Desk>,
    /// Those of the others, as of so many changes.
    others: Vec<Arc<Desk>>,
    changes_seen: u32,
    /// What is on its own, and whether the line was told that foreground waits here.
    due_at: u64,
    foreground: bool,
}

impl LineSeat {
    pub(crate) fn new(line: Arc<Line>) -> Self {
        let own = Arc::new(Desk { due_at: AtomicU64::new(NEVER) });
        line.desks().push(own.clone());
        line.changes.fetch_add(1, Ordering::Release);
        let mut seat = LineSeat { line, own, others: Vec::new(), changes_seen: 0, due_at: NEVER, foreground: false };
        seat.look_around();
        seat
    }

    /// Whether there was no other when it looked around last.
    pub(crate) fn has_one_worker(&self) -> bool {
        self.others.is_empty()
    }

    /// Notices who came and who left.
    pub(crate) fn look_around(&mut self) {
        let changes = self.line.changes.load(Ordering::Acquire);
        if changes != self.changes_seen {
            self.changes_seen = changes;
            let desks = self.line.desks();
            self.others = desks.iter().filter(|desk| !Arc::ptr_eq(desk, &self.own)).cloned().collect();
        }
    }

    /// Tells the others who waits here: when the first is due within a guarantee, and whether there is foreground.
    pub(crate) fn note(&mut self, due_at: Option<u64>, foreground: bool) {
        let due_at = due_at.unwrap_or(NEVER);
        if std::mem::replace(&mut self.due_at, due_at) != due_at {
            self.own.due_at.store(due_at, Ordering::Relaxed);
        }
        if std::mem::replace(&mut self.foreground, foreground) != foreground {
            match foreground {
                true => self.line.foreground.fetch_add(1, Ordering::Relaxed),
                false => self.line.foreground.fetch_sub(1, Ordering::Relaxed),
            };
        }
    }

    /// Whether somebody on another worker waits within a guarantee and is due before `at`.
    pub(crate) fn is_due_elsewhere(&self, at: u64) -> bool {
        self.others.iter().any(|desk| desk.due_at.load(Ordering::Relaxed) < at)
    }

    /// Whether foreground waits on another worker.
    pub(crate) fn has_foreground_elsewhere(&self) -> bool {
        self.line.foreground.load(Ordering::Relaxed) > u32::from(self.foreground)
    }
}

impl Drop for LineSeat {
    fn drop(&mut self) {
        self.note(None, false);
        self.line.desks().retain(|desk| !Arc::ptr_eq(desk, &self.own));
        self.line.changes.fetch_add(1, Ordering::Release);
    }
}
