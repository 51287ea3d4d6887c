//! What the workers that draw on one limit, the total or a group's, tell each other: who waits, and who is due first.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU32, AtomicU64, Ordering},
};

use super::clock::NEVER;
use super::tier::{RINGS, Tier};

/// A step is forgotten when lending has come so many times as far without another like it.
const STEPS_REMEMBERED: u64 = 4;

/// Shared by all shapers below one limit.
#[derive(Debug, Default)]
pub(crate) struct Line {
    /// A desk for each worker.
    desks: Mutex<Vec<Arc<Desk>>>,
    /// Comings and goings.
    changes: AtomicU32,
    /// How far lending has come in each tier, and the largest steps that it makes; see `loans.rs`.
    lent: [AtomicU64; RINGS],
    steps: [AtomicU64; RINGS],
}

/// Where a worker puts down who waits on it. On a cache line of its own.
#[derive(Debug)]
#[repr(align(64))]
struct Desk {
    /// When the first of its leaves that wait within a guarantee is due.
    due_at: AtomicU64,
    /// Where the peer that borrowed last in each tier stood, while leaves wait to borrow in it.
    borrowed: [AtomicU64; RINGS],
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
    /// What is on its own.
    due_at: u64,
    borrowed: [u64; RINGS],
    /// Where the peer that borrowed last stood.
    stood: [u64; RINGS],
}

impl LineSeat {
    pub(crate) fn new(line: Arc<Line>) -> Self {
        let never = || AtomicU64::new(NEVER);
        let own = Arc::new(Desk { due_at: never(), borrowed: std::array::from_fn(|_| never()) });
        line.desks().push(own.clone());
        line.changes.fetch_add(1, Ordering::Release);
        let mut seat = LineSeat {
            line,
            own,
            others: Vec::new(),
            changes_seen: 0,
            due_at: NEVER,
            borrowed: [NEVER; RINGS],
            stood: [0; RINGS],
        };
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

    /// Tells the others who waits here: when the first is due within a guarantee, and in which tiers leaves wait to borrow.
    pub(crate) fn note(&mut self, due_at: Option<u64>, borrows: [bool; RINGS]) {
        let due_at = due_at.unwrap_or(NEVER);
        if std::mem::replace(&mut self.due_at, due_at) != due_at {
            self.own.due_at.store(due_at, Ordering::Relaxed);
        }
        for (nth, borrows) in borrows.into_iter().enumerate() {
            let borrowed = if borrows { self.stood[nth] } else { NEVER };
            if std::mem::replace(&mut self.borrowed[nth], borrowed) != borrowed {
                self.own.borrowed[nth].store(borrowed, Ordering::Relaxed);
            }
        }
    }

    /// How far lending has come in a tier, over all workers.
    pub(crate) fn lent(&self, nth: usize) -> u64 {
        self.line.lent[nth].load(Ordering::Relaxed)
    }

    /// The largest of the steps that peers make there, nearly.
    pub(crate) fn step(&self, nth: usize) -> u64 {
        self.line.steps[nth].load(Ordering::Relaxed)
    }

    /// A peer here that stands at `at` borrows, and moves on by `step`.
    pub(crate) fn lend(&mut self, nth: usize, at: u64, step: u64) {
        self.stood[nth] = at;
        let came = at.saturating_sub(self.line.lent[nth].fetch_max(at, Ordering::Relaxed));
        // Where two workers come at once, one of the steps is lost until the next.
        let left = self.step(nth).saturating_sub(came / STEPS_REMEMBERED);
        self.line.steps[nth].store(step.max(left), Ordering::Relaxed);
    }

    fn least_borrowed_elsewhere(&self, nth: usize) -> u64 {
        self.others.iter().map(|desk| desk.borrowed[nth].load(Ordering::Relaxed)).min().unwrap_or(NEVER)
    }

    /// Whether this worker leaves what lies unclaimed to another in `tier`: to those in the tiers before who wait there, or since less was
    /// borrowed there.
    pub(crate) fn is_turn_elsewhere(&self, tier: Tier) -> bool {
        let waits_before = match tier {
            Tier::Guaranteed => false,
            Tier::Lent => self.is_due_elsewhere(NEVER),
            Tier::Background => self.has_foreground_elsewhere(),
        };
        waits_before || self.borrows_less_elsewhere(tier)
    }

    /// Whether leaves wait to borrow in `tier` on another worker, where the last to borrow had had less.
    fn borrows_less_elsewhere(&self, tier: Tier) -> bool {
        tier.ring().is_some_and(|nth| self.least_borrowed_elsewhere(nth) < self.stood[nth])
    }

    /// Whether somebody on another worker waits within a guarantee and is due before `at`.
    pub(crate) fn is_due_elsewhere(&self, at: u64) -> bool {
        self.others.iter().any(|desk| desk.due_at.load(Ordering::Relaxed) < at)
    }

    /// Whether foreground waits on another worker.
    fn has_foreground_elsewhere(&self) -> bool {
        let borrows = Tier::Lent.ring().is_some_and(|nth| self.least_borrowed_elsewhere(nth) != NEVER);
        borrows || self.is_due_elsewhere(NEVER)
    }
}

impl Drop for LineSeat {
    fn drop(&mut self) {
        self.note(None, [false; RINGS]);
        self.line.desks().retain(|desk| !Arc::ptr_eq(desk, &self.own));
        self.line.changes.fetch_add(1, Ordering::Release);
    }
}
