//! When a worker is woken, and what it leaves to those who come a moment later.
//!
//! Wakings are gathered on a grid: one by one they were dearer than what they were for. So permission lies unclaimed when a worker
//! wakes, and whoever asks first would have it, but for the holds below.

use super::MANY_LEAVES;
use super::bucket::{SharedBucket, rate_changes};
use super::clock::{NANOS_PER_MILLI, NEVER, SLACK_BELOW_ROOT_NS, SLACK_NS};
use super::line::LineSeat;
use super::shaper::Shaper;
use super::tier::Tier;
use super::tree::{Kind, Node, NodeId};
use crate::Moment;

/// Within the 5 ms of unspent time that the total remembers at least: being late costs no rate.
const GATHER_NS: u64 = 4 * NANOS_PER_MILLI;
/// Among leaves that are many and get large pieces, and few enough that hardly anybody falls due within the time above. Their pieces
/// are about a thousandth of a second's worth, so the total remembers 8 ms: a waking may come [`LATE_NS`] late.
const GATHER_SPARSE_NS: u64 = 7 * NANOS_PER_MILLI;
/// The same on a thread that is late by more than that at times.
const GATHER_SPARSE_LATE_NS: u64 = 5 * NANOS_PER_MILLI;
/// How late wakings may be for the longer of the two.
const LATE_NS: u64 = NANOS_PER_MILLI;
/// A waking that was late counts for half as much after some 44 others.
const LATE_FADES: u64 = 64;
/// Polls that follow one another sooner are of one waking.
const ONE_WAKING_NS: u64 = NANOS_PER_MILLI;
/// From so many leaves on, eight and more fall due within the shorter time.
const DENSE_LEAVES: usize = 2_000;

/// A leaf that was released asks again within this time, if it is going to.
const ASKS_AGAIN_NS: u64 = NANOS_PER_MILLI / 2;

/// With so much unclaimed whoever is waited for does not come: from then on waiting would cost rate.
const FULL_NS: u64 = SLACK_NS * 9 / 10;

/// The same of a group: what another worker leaves, a grid of wakings, and how late they are. Less than what a group remembers.
const GROUP_FULL_NS: u64 = SLACK_BELOW_ROOT_NS * 7 / 10;

/// A worker with a guarantee to keep lets another go first by this much that has one which is due before: a grid of wakings and how
/// late they are. Less than what must lie unclaimed before anything is lent.
const GIVE_WAY_NS: u64 = SLACK_NS * 9 / 20;

impl Shaper {
    /// When to poll next: now or earlier when something can go, `None` when nothing waits for time.
    pub fn wake_at(&self) -> Option<Moment> {
        self.wake(1)
    }

    /// When to poll next for the processor's sake: as [`wake_at`](Self::wake_at), but what falls due within 4 ms (7 ms among 256 to
    /// 2,000 leaves, 5 ms where the thread is woken late; 2 ms among several workers) is done at once, in one waking of the thread and
    /// with warm caches.
    pub fn gathered_wake_at(&self) -> Option<Moment> {
        self.wake(self.grid_ns())
    }

    fn grid_ns(&self) -> u64 {
        let is_sparse = (MANY_LEAVES..DENSE_LEAVES).contains(&self.leaf_of.len());
        match self.seat.has_one_worker() {
            true if is_sparse && self.late_ns < LATE_NS => GATHER_SPARSE_NS,
            true if is_sparse => GATHER_SPARSE_LATE_NS,
            true => GATHER_NS,
            false => GATHER_NS / 2,
        }
    }

    /// Learns from the first poll of a waking how late that is; `before` is the poll before it.
    pub(super) fn note_lateness(&mut self, before: u64) {
        if self.now < before + ONE_WAKING_NS {
            return;
        }
        let Some(planned) = self.wake(self.grid_ns()).map(Moment::as_nanos) else { return };
        // What was due at the poll before has been asked for since.
        if before < planned && planned <= self.now {
            self.late_ns = (self.now - planned).max(self.late_ns - self.late_ns / LATE_FADES);
        }
    }

    /// When to poll next, on a grid that is the same for all: whoever falls due in between does not move it.
    fn wake(&self, grid_ns: u64) -> Option<Moment> {
        let changes = (self.parked > 0 && self.changes_seen != rate_changes()).then(|| self.next_notice_at());
        let tier = Tier::ALL.into_iter().find(|&tier| self.tree.has_backlog(tier));
        let root = tier.map(|tier| self.total.ready_at(self.reserve_ns(tier)));
        let root = root.filter(|&at| at != NEVER);
        let soonest = [root, changes, self.wheel.next_deadline()].into_iter().flatten().min()?;
        let at = soonest.div_ceil(grid_ns).saturating_mul(grid_ns);
        // Off the grid: on it those who are waited for come.
        let held = tier.filter(|_| root == Some(soonest)).map_or(0, |tier| self.held_until(tier));
        Some(Moment::from_nanos(at.max(held)))
    }

    /// Until when what lies unclaimed is left to those in the tiers before, a leaf that is about to ask again or those who wait on another
    /// worker, and to a worker that has borrowed less.
    pub(super) fn held_until(&self, tier: Tier) -> u64 {
        if self.seat.is_turn_elsewhere(tier) { self.total.ready_at(FULL_NS) } else { self.held_at(&self.total, tier) }
    }

    /// The same at one bucket, for leaves that are about to ask again.
    pub(super) fn held_at(&self, bucket: &SharedBucket, tier: Tier) -> u64 {
        let until = bucket.held_until(tier);
        if until <= self.now { 0 } else { until.min(bucket.ready_at(FULL_NS)) }
    }

    /// When a group is open for a tier. Below a limit of its own, what lies unclaimed is left to those who wait on another worker as at the
    /// root; it remembers more, so more than they find when they wake may lie there.
    pub(super) fn group_ready_at(&self, bucket: &SharedBucket, seat: &LineSeat, tier: Tier) -> u64 {
        if bucket.rate().is_unlimited() {
            return 0;
        }
        if seat.is_turn_elsewhere(tier) {
            bucket.ready_at(GROUP_FULL_NS)
        } else {
            bucket.ready_at(tier.reserve_ns(self.seat.has_one_worker())).max(self.held_at(bucket, tier))
        }
    }

    /// Tells the other workers who waits here below a group with a limit.
    pub(super) fn note_waiting_below(&mut self, group: NodeId) {
        if self.seat.has_one_worker() {
            return;
        }
        let Node { due, rings, kind, .. } = &mut self.tree.nodes[group as usize];
        if let Kind::Group { bucket, seat } = kind {
            seat.look_around();
            // Without a limit nobody waits for it, and nobody did when it comes again.
            let is_limited = !bucket.rate().is_unlimited();
            let due_at = due.first_at(&self.tree.places).filter(|_| is_limited);
            seat.note(due_at, rings.each_ref().map(|ring| is_limited && !ring.is_empty()));
        }
    }

    /// Tells the other workers who waits here.
    pub(super) fn note_waiting(&mut self) {
        let due_at = self.tree.first_due();
        self.seat.note(due_at, [Tier::Lent, Tier::Background].map(|tier| self.tree.has_backlog(tier)));
    }

    /// What must lie unclaimed for this worker to draw in a tier.
    pub(super) fn reserve_ns(&self, tier: Tier) -> u64 {
        let gives_way =
            tier == Tier::Guaranteed && self.tree.first_due().is_some_and(|at| self.seat.is_due_elsewhere(at));
        tier.reserve_ns(self.seat.has_one_worker()) + if gives_way { GIVE_WAY_NS } else { 0 }
    }

    /// Somebody who would go in `tier` has just been released, and asks again in a moment: what that will take of the total is not
    /// lent, nor is background given what it will take of its group's cap.
    pub(super) fn hold_below(&self, tier: Tier, group: NodeId) {
        let until = self.now + ASKS_AGAIN_NS;
        self.total.hold_below(tier, until);
        // A group that is closed waits for the grid, so foreground, and whoever asks again himself, must find it open.
        self.bucket(group).hold_below(tier.max(Tier::Lent), until);
    }
}
