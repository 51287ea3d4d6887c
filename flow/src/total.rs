//! What the line carries, learnt (DESIGN 5, "Total allowed"; seed 003: with no limit given, find the maximum and leave a
//! margin so as not to saturate).
//!
//! The total in force is the lesser of the configured limit and 97 % of the learnt capacity. It is lowered only on evidence
//! that the path, not the sources, was the limit: idle is not slow, and an idle server does not forget its line. What few peers taught
//! may be lines of their own, and is believed until somebody else comes (`total/doubt.rs`).

mod doubt;
mod witnesses;

use self::doubt::Doubt;
pub use self::witnesses::Witnesses;
use crate::{Limiter, Rate};

/// The constants of the rule.
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct TotalKnobs {
    /// Part of the capacity that is used (seed 003: 97 %).
    pub threshold: f64,
    /// Part of a difference that one round takes away (seed 003: 15 %).
    pub damping: f64,
    /// Part of the total below which a round that the network dominated counts as missing it. A little under the
    /// threshold: measurements vary by a few percent.
    pub missed_below: f64,
    /// Rounds at the margin from one try for more to the next. With two more for the tries themselves, a line that came
    /// back is found within four.
    pub probe_every: u32,
    /// How much more a try at the margin asks for: 5 % more than the line is known to carry, so that a try that fails
    /// leaves no more behind than the sockets' buffers hold, and nobody's share is lost.
    pub probe_excess: f64,
    /// How much more is asked for after two in a row that were carried: the line has changed, by nobody knows how much. One
    /// alone may be chance, or a capacity that was learnt a little too small.
    pub search_excess: f64,
    /// Part of a round that a try lasts, and the draining after it. What a try sends beyond the line stands in sockets,
    /// where TCP and not the weights decide whose bytes go first: the less, the better.
    pub try_part: f64,
}

impl Default for TotalKnobs {
    fn default() -> Self {
        Self {
            threshold: 0.97,
            damping: 0.15,
            missed_below: 0.93,
            probe_every: 2,
            probe_excess: 0.08,
            search_excess: 1.2,
            try_part: 0.4,
        }
    }
}

/// How a round went in one direction.
#[derive(Clone, Debug, PartialEq)]
pub struct RoundObservation {
    /// Bytes per second that the line carried over the round: released, less what the sockets held more at its end.
    pub used: f64,
    /// Bytes per second that were released into sockets.
    pub released: f64,
    /// The total that was in force during it, which for a while after a change is not yet the allowed one.
    pub in_force: Rate,
    /// Bytes moved by the leaves whose dominant limiter that was, in the order of [`Limiter::ALL`].
    pub bytes_by_limiter: [f64; 6],
    /// Somebody below his ceiling waited for tokens. Waiting at one's own cap is not a want of total.
    pub short_of_tokens: bool,
    /// Whose bytes they were.
    pub witnesses: Witnesses,
}

impl RoundObservation {
    /// Whether leaves held by any of `limiters` moved most of the bytes. While permission was left over, waiting for it was
    /// waiting for a turn, and says nothing.
    fn dominated_by(&self, limiters: &[Limiter], permission_was_short: bool) -> bool {
        let moved = |limiter: &Limiter| self.bytes_by_limiter[limiter.index()];
        let all: f64 =
            Limiter::ALL.iter().filter(|limiter| permission_was_short || **limiter != Limiter::Tokens).map(moved).sum();
        limiters.iter().map(moved).sum::<f64>() > 0.5 * all
    }
}

/// Less than this was not learnt from a line but from its failure: 16 KiB/s, from which a gigabit is found in 14 tries.
const CAPACITY_MIN: f64 = 16_384.0;

/// A line is not taken for less than this part of the total at once. A failing line would else be forgotten in two rounds.
const SHRINK_MAX: f64 = 0.25;

/// Least that a try asks for beyond the total: two pieces and more in the second that it lasts. A few percent of a total that is next
/// to nothing would be less than a piece, and no try could ever tell that the line is there again.
const STEP_MIN: f64 = 24_576.0;

/// How far above the margin a total in force must be for its round to count as a try.
const ABOVE_MARGIN: f64 = 1.02;

/// Part of a try that must have come through for it to count as carried: half-way between the line as known and the try.
const CARRIED_MIN: f64 = 0.985;

/// Tries in a row that must be carried before much more is asked for.
const CARRIED_IN_A_ROW: u32 = 2;

/// How a total below its bound grows per round once the line is known; before, it doubles.
const GROWTH: f64 = 1.25;

/// The search that follows the first round that showed the line: that round was seldom a whole one.
const FIRST_EXCESS: f64 = 0.25;

/// Rounds after a shrinking in which the search asks for no more than `FIRST_EXCESS`: what was learnt while every queue on the
/// way was full may be a fifth too small, and more than twice of it would fill them all again.
const CAREFUL_ROUNDS: u32 = 12;

/// Part of the difference by which a round that the network held, though the total was all but reached, corrects the
/// capacity. It was not meant to be full, so it is no measurement of the line as a try is.
const CORRECTION: f64 = 0.5;

/// Most that is held back in one round, as part of the total, so that what a try left in sockets and queues drains.
const DRAIN_MAX: f64 = 0.1;

/// The total of one direction: a state machine that is told about every round and answers the next total.
#[derive(Clone, Debug)]
pub struct TotalController {
    knobs: TotalKnobs,
    limit: Rate,
    /// Allowed, without any try; `None` while nothing is gated.
    total: Option<f64>,
    capacity: Option<f64>,
    /// Whether it is the line's.
    doubt: Doubt,
    /// The last round missed the total because of the network.
    missed: bool,
    /// Rounds at the margin with somebody waiting, since the last try.
    rounds_at_margin: u32,
    /// Tries in a row that were carried.
    carried: u32,
    /// Rounds since a smaller line was learnt.
    since_shrink: u32,
    probe: Probe,
}

/// Where the search for more stands.
#[derive(Copy, Clone, Debug, PartialEq)]
enum Probe {
    /// At the margin or below.
    Resting,
    /// This total, above the margin, was answered; its round is to come.
    Asked { total: f64 },
    /// This total, below the margin, was answered, so that queues drain, for this part of a round.
    Draining { total: f64, part: f64 },
}

impl TotalController {
    /// A controller that has learnt nothing yet.
    pub fn new(limit: Rate, knobs: TotalKnobs) -> Self {
        let total = limit.limit().map(|limit| limit as f64);
        Self {
            knobs,
            limit,
            total,
            capacity: None,
            doubt: Doubt::default(),
            missed: false,
            rounds_at_margin: 0,
            carried: 0,
            since_shrink: u32::MAX,
            probe: Probe::Resting,
        }
    }

    /// Changes the configured limit at once. Clearing it forgets what was learnt and gates nothing.
    pub fn set_limit(&mut self, limit: Rate) {
        if limit.is_unlimited() {
            *self = Self::new(limit, self.knobs);
            return;
        }
        if limit == self.limit {
            return;
        }
        self.limit = limit;
        self.total = Some(self.bound());
        self.missed = false;
        self.probe = Probe::Resting;
    }

    /// The total for the next round; [`Rate::UNLIMITED`] while nothing is gated.
    pub fn allowed(&self) -> Rate {
        match (self.probe, self.total) {
            (Probe::Asked { total } | Probe::Draining { total, .. }, _) => Rate::from_f64(total),
            (Probe::Resting, Some(total)) => Rate::from_f64(total),
            (Probe::Resting, None) => Rate::UNLIMITED,
        }
    }

    /// The part of a round after which what was answered last is to be judged.
    pub fn span(&self) -> f64 {
        match self.probe {
            Probe::Resting => 1.0,
            Probe::Asked { .. } => self.knobs.try_part,
            Probe::Draining { part, .. } => part,
        }
    }

    /// What the line was found to carry.
    pub fn capacity(&self) -> Option<Rate> {
        self.capacity.map(Rate::from_f64)
    }

    /// Takes note of a round and answers the total for the next.
    pub fn round(&mut self, seen: &RoundObservation) -> Rate {
        if !(seen.used.is_finite() && seen.released.is_finite() && seen.used >= 0.0) {
            return self.allowed();
        }
        self.since_shrink = self.since_shrink.saturating_add(1);
        if self.capacity.is_some_and(|capacity| self.doubt.arises(capacity, seen)) {
            self.reopen();
            return self.allowed();
        }
        match self.total {
            None => self.round_ungated(seen),
            Some(total) => self.round_gated(total, seen),
        }
        self.allowed()
    }

    /// Somebody came who did not teach what is known: what was proven before holds, or nothing does, until the network shows the line
    /// again.
    fn reopen(&mut self) {
        let known = self.doubt.proven().map(|proven| self.capacity.map_or(proven, |capacity| capacity.max(proven)));
        let doubt = std::mem::take(&mut self.doubt);
        *self = Self { capacity: known, doubt, ..Self::new(self.limit, self.knobs) };
        if known.is_some() {
            self.total = Some(self.bound());
        }
    }

    /// Without a limit: the first round that the path dominates shows the line, and the next one how much more it carries.
    fn round_ungated(&mut self, seen: &RoundObservation) {
        if seen.dominated_by(&[Limiter::Receiver, Limiter::Network], true) {
            self.doubt.taught(seen.used, seen);
            self.learn(seen.used);
            self.total = Some(self.bound());
            self.ask(FIRST_EXCESS);
        }
    }

    fn round_gated(&mut self, total: f64, seen: &RoundObservation) {
        let in_force = seen.in_force.as_f64();
        // The shaper conserves work: while permission is left over, nobody is short of it.
        let short = seen.short_of_tokens && seen.released >= self.knobs.missed_below * in_force;
        let network = seen.dominated_by(&[Limiter::Network], short);
        let tried = self.capacity.is_some_and(|capacity| in_force > ABOVE_MARGIN * self.knobs.threshold * capacity);
        // A total that was asked for and is not in force yet has its round still to come.
        let asked = matches!(std::mem::replace(&mut self.probe, Probe::Resting), Probe::Asked { .. });
        if tried && in_force.is_finite() {
            self.after_try(in_force, seen, short, network);
            return;
        }
        let missed = network && !short && seen.used < self.knobs.missed_below * total.min(in_force);
        if missed {
            self.shrink(total, seen);
        } else if short && total < self.bound() {
            let factor = if self.capacity.is_none() { 2.0 } else { GROWTH };
            self.total = Some(self.bound().min(factor * total.min(in_force).max(seen.used)));
        } else if network && !short {
            self.ease_off(seen.used);
        } else if short && !asked {
            self.wait_at_margin();
        }
        self.missed = missed;
    }

    /// The network carried clearly less than allowed. Once may be chance and is damped; twice is a smaller line.
    fn shrink(&mut self, total: f64, seen: &RoundObservation) {
        let used = seen.used;
        if self.missed {
            self.doubt.taught(used, seen);
            self.learn(used.max(SHRINK_MAX * total));
            self.since_shrink = 0;
            let total = self.bound().min(total);
            self.total = Some(total);
            // Every socket is full.
            self.probe = Probe::Draining { total: total * (1.0 - DRAIN_MAX), part: 1.0 };
        } else {
            self.total = Some(total - self.knobs.damping * (total - used / self.knobs.threshold).max(0.0));
        }
        self.rounds_at_margin = 0;
    }

    /// The network, not the total, held most bytes, although the total was all but reached: what was learnt has no margin
    /// left. Noise in a try can do that, and without this the line would stay saturated.
    fn ease_off(&mut self, used: f64) {
        let Some(capacity) = self.capacity.filter(|capacity| used < *capacity) else { return };
        let near = self.total.is_some_and(|total| used >= self.knobs.missed_below * total);
        if near {
            self.learn(capacity - CORRECTION * (capacity - used));
            self.total = self.total.map(|total| total.min(self.bound()));
        }
    }

    /// Counts rounds in which somebody would take more than the margin allows, and tries for more every so often.
    fn wait_at_margin(&mut self) {
        if self.capacity.is_none_or(|capacity| self.limit.as_f64() <= self.knobs.threshold * capacity) {
            return;
        }
        self.rounds_at_margin += 1;
        if self.rounds_at_margin >= self.knobs.probe_every {
            self.ask(self.knobs.probe_excess);
        }
    }

    /// A round above the margin is over: the line carried what it carried.
    fn after_try(&mut self, in_force: f64, seen: &RoundObservation, short: bool, network: bool) {
        let capacity = self.capacity.unwrap_or(seen.used);
        self.missed = false;
        self.rounds_at_margin = 0;
        let carried = short && seen.used >= CARRIED_MIN * in_force;
        if seen.used > capacity {
            self.learn(seen.used);
        } else if short || network {
            // It was full, so this is what it carries.
            self.learn(seen.used.max((1.0 - SHRINK_MAX) * capacity));
        }
        let total = self.bound();
        self.total = Some(total);
        if carried && total < self.limit.as_f64() {
            // More was asked and more came: go on at once, a line restored is found in a few rounds.
            self.carried += 1;
            self.doubt.witnessed(seen);
            self.ask(match self.carried {
                ..CARRIED_IN_A_ROW => self.knobs.probe_excess,
                _ if self.since_shrink < CAREFUL_ROUNDS => FIRST_EXCESS,
                _ => self.knobs.search_excess,
            });
            return;
        }
        self.carried = 0;
        if short || network {
            let left_behind = (seen.released - seen.used).clamp(0.0, DRAIN_MAX * total);
            self.probe = Probe::Draining { total: total - left_behind, part: self.knobs.try_part };
        }
    }

    fn ask(&mut self, excess: f64) {
        self.rounds_at_margin = 0;
        if let Some(total) = self.total {
            let asked = (total * (1.0 + excess)).max(total + STEP_MIN);
            self.probe = Probe::Asked { total: asked.min(self.limit.as_f64()) };
        }
    }

    fn learn(&mut self, capacity: f64) {
        let capacity = capacity.max(CAPACITY_MIN);
        self.capacity = Some(capacity);
        self.doubt.follow(capacity);
    }

    /// The most that is allowed without a try; infinite when neither limit nor capacity is known.
    fn bound(&self) -> f64 {
        self.capacity.map_or(f64::INFINITY, |capacity| self.knobs.threshold * capacity).min(self.limit.as_f64())
    }
}

#[cfg(test)]
mod tests;
