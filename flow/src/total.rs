//! What the line carries, learnt (DESIGN 5, "Total allowed"; seed 003: with no limit given, find the maximum and leave a
//! margin so as not to saturate).
//!
//! The total in force is the lesser of the configured limit and 97 % of the learnt capacity. It is lowered only on evidence
//! that the path, not the sources, was the limit: idle is not slow, and an idle server does not forget its line.

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
#[derive(Copy, Clone, Debug, PartialEq)]
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
        match self.total {
            None => self.round_ungated(seen),
            Some(total) => self.round_gated(total, seen),
        }
        self.allowed()
    }

    /// Without a limit: the first round that the path dominates shows the line, and the next one how much more it carries.
    fn round_ungated(&mut self, seen: &RoundObservation) {
        if seen.dominated_by(&[Limiter::Receiver, Limiter::Network], true) {
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
            self.shrink(total, seen.used);
        } else if short && total < self.bound() {
            let factor = if self.capacity.is_none() { 2.0 } else { GROWTH };
            self.total = Some(self.bound().min(factor * total.min(in_force).max(seen.used)));
        } else if network {
            self.ease_off(seen.used);
        } else if short && !asked {
            self.wait_at_margin();
        }
        self.missed = missed;
    }

    /// The network carried clearly less than allowed. Once may be chance and is damped; twice is a smaller line.
    fn shrink(&mut self, total: f64, used: f64) {
        if self.missed {
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
            self.probe = Probe::Asked { total: (total * (1.0 + excess)).min(self.limit.as_f64()) };
        }
    }

    fn learn(&mut self, capacity: f64) {
        self.capacity = Some(capacity.max(CAPACITY_MIN));
    }

    /// The most that is allowed without a try; infinite when neither limit nor capacity is known.
    fn bound(&self) -> f64 {
        self.capacity.map_or(f64::INFINITY, |capacity| self.knobs.threshold * capacity).min(self.limit.as_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(bytes_per_second: u64) -> Rate {
        Rate::from_bytes_per_second(bytes_per_second)
    }

    fn controller(limit: u64) -> TotalController {
        TotalController::new(Rate::from_wire(limit), TotalKnobs::default())
    }

    fn seen(controller: &TotalController, used: f64, limiter: Limiter) -> RoundObservation {
        let mut bytes_by_limiter = [0.0; 6];
        bytes_by_limiter[limiter.index()] = used;
        let short_of_tokens = limiter == Limiter::Tokens;
        RoundObservation { used, released: used, in_force: controller.allowed(), bytes_by_limiter, short_of_tokens }
    }

    fn round(controller: &mut TotalController, used: f64, limiter: Limiter) -> u64 {
        let seen = seen(controller, used, limiter);
        controller.round(&seen).bytes_per_second()
    }

    #[test]
    fn one_miss_is_damped_as_the_seed_says_and_two_are_a_smaller_line() {
        let mut total = controller(1_000_000);
        let damped: f64 = 1_000_000.0 - 0.15 * (1_000_000.0 - 500_000.0 / 0.97);
        assert_eq!(round(&mut total, 500_000.0, Limiter::Network), damped.round() as u64);
        // What stands in the sockets drains first.
        assert_eq!(round(&mut total, 500_000.0, Limiter::Network), 436_500);
        assert_eq!(total.capacity(), Some(rate(500_000)));
        assert_eq!(round(&mut total, 436_500.0, Limiter::Tokens), 485_000);
    }

    #[test]
    fn one_miss_is_made_good_when_somebody_wants_more() {
        let mut total = controller(1_000_000);
        round(&mut total, 500_000.0, Limiter::Network);
        assert_eq!(round(&mut total, 900_000.0, Limiter::Tokens), 1_000_000);
        assert_eq!(total.capacity(), None);
    }

    #[test]
    fn without_a_limit_nothing_is_gated_until_the_path_dominates() {
        let mut total = controller(0);
        for limiter in [Limiter::Source, Limiter::Disk, Limiter::Worker] {
            assert_eq!(round(&mut total, 500_000.0, limiter), u64::MAX);
        }
        assert_eq!(round(&mut total, 500_000.0, Limiter::Network), 606_250, "a first look is seldom a whole round");
        assert_eq!(round(&mut total, 500_000.0, Limiter::Network), 485_000);
        total.set_limit(rate(300_000));
        assert_eq!(total.allowed(), rate(300_000));
        total.set_limit(rate(900_000));
        assert_eq!(total.allowed(), rate(485_000));
        total.set_limit(Rate::UNLIMITED);
        assert_eq!((total.allowed(), total.capacity()), (Rate::UNLIMITED, None));
    }

    /// A controller that has found a line of 1 MB/s and rests at its margin.
    fn settled() -> TotalController {
        let mut total = controller(0);
        round(&mut total, 1_000_000.0, Limiter::Network);
        assert_eq!(round(&mut total, 1_000_000.0, Limiter::Network), 970_000);
        total
    }

    #[test]
    fn a_try_every_few_rounds_and_on_while_it_succeeds() {
        let mut total = settled();
        assert_eq!(round(&mut total, 970_000.0, Limiter::Tokens), 970_000);
        assert_eq!(round(&mut total, 970_000.0, Limiter::Tokens), 1_047_600);
        // It came: that may be chance.
        let again = 0.97 * 1_047_600.0 * 1.08;
        assert_eq!(round(&mut total, 1_047_600.0, Limiter::Tokens), f64::round(again) as u64);
        // It came again: the line has changed, by nobody knows how much.
        let margin = 0.97 * again;
        assert_eq!(round(&mut total, again, Limiter::Tokens), (margin * 2.2f64).round() as u64);
        // The line carries 1.3 MB/s and no more.
        assert_eq!(round(&mut total, 1_300_000.0, Limiter::Network), 1_261_000);
        assert_eq!(total.capacity(), Some(rate(1_300_000)));
    }

    #[test]
    fn soon_after_a_shrinking_the_search_is_careful() {
        let mut total = settled();
        round(&mut total, 500_000.0, Limiter::Network);
        round(&mut total, 500_000.0, Limiter::Network);
        assert_eq!(total.capacity(), Some(rate(500_000)), "a smaller line, measured too small");
        while total.allowed() <= rate(485_000) {
            let used = total.allowed().as_f64();
            round(&mut total, used, Limiter::Tokens);
        }
        for _ in 0..2 {
            let used = total.allowed().as_f64();
            round(&mut total, used, Limiter::Tokens);
        }
        let capacity = total.capacity().map_or(0.0, Rate::as_f64);
        assert_eq!(total.allowed(), Rate::from_f64(0.97 * capacity * 1.25), "and not 2.2 times");
    }

    #[test]
    fn what_sockets_took_beyond_the_line_is_not_carried_and_drains() {
        let mut total = settled();
        round(&mut total, 970_000.0, Limiter::Tokens);
        let tried = round(&mut total, 970_000.0, Limiter::Tokens) as f64;
        // Everything was released, nobody was blocked, but the sockets hold 40 KB/s times a round more than before.
        let mut try_seen = seen(&total, tried, Limiter::Tokens);
        try_seen.used = tried - 40_000.0;
        total.round(&try_seen);
        let capacity = try_seen.used;
        assert_eq!(total.capacity(), Some(Rate::from_f64(capacity)));
        assert_eq!(total.allowed(), Rate::from_f64(0.97 * capacity - 40_000.0));
        assert_eq!(round(&mut total, 0.97 * capacity - 40_000.0, Limiter::Tokens), (0.97 * capacity).round() as u64);
    }

    #[test]
    fn a_try_and_the_draining_after_it_are_short() {
        let mut total = settled();
        round(&mut total, 970_000.0, Limiter::Tokens);
        assert_eq!(total.span(), 1.0);
        let tried = round(&mut total, 970_000.0, Limiter::Tokens) as f64;
        assert_eq!(total.span(), TotalKnobs::default().try_part);
        let mut try_seen = seen(&total, tried, Limiter::Tokens);
        try_seen.used = 1_000_000.0;
        total.round(&try_seen);
        assert!(total.allowed() < rate(970_000));
        assert_eq!(total.span(), TotalKnobs::default().try_part);
        round(&mut total, 930_000.0, Limiter::Tokens);
        assert_eq!(total.span(), 1.0);
    }

    #[test]
    fn clearing_a_limit_that_was_never_set_forgets_the_line_too() {
        let mut total = settled();
        total.set_limit(Rate::UNLIMITED);
        assert_eq!((total.allowed(), total.capacity()), (Rate::UNLIMITED, None));
    }

    #[test]
    fn nobody_is_short_of_a_total_that_is_not_used_up() {
        let mut total = settled();
        // One of many flows waits for its turns, and has most of what gets through a line of half the size.
        let mut halved = seen(&total, 500_000.0, Limiter::Tokens);
        halved.bytes_by_limiter[Limiter::Network.index()] = 200_000.0;
        halved.bytes_by_limiter[Limiter::Tokens.index()] = 300_000.0;
        total.round(&halved);
        total.round(&halved);
        assert_eq!(total.capacity(), Some(rate(500_000)));
    }

    #[test]
    fn idle_sources_never_change_the_total() {
        let mut total = controller(1_000_000);
        round(&mut total, 500_000.0, Limiter::Network);
        round(&mut total, 500_000.0, Limiter::Network);
        for used in [400_000.0, 10.0, 0.0, 480_000.0] {
            for limiter in [Limiter::Source, Limiter::Receiver, Limiter::Disk, Limiter::Worker] {
                assert_eq!(round(&mut total, used, limiter), 485_000);
            }
        }
        assert_eq!(round(&mut total, f64::NAN, Limiter::Network), 485_000);
    }

    #[test]
    fn a_line_that_fails_is_not_forgotten_at_once() {
        let mut total = controller(1_000_000);
        for _ in 0..2 {
            round(&mut total, 10.0, Limiter::Network);
        }
        assert!(total.allowed() > rate(180_000));
        for _ in 0..100 {
            round(&mut total, 10.0, Limiter::Network);
        }
        assert_eq!(total.capacity(), Some(Rate::from_f64(CAPACITY_MIN)));
    }
}
