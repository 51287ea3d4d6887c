//! Deficit round robin among the children of one node that borrow, in one tier.
//!
//! Shreedhar and Varghese's DRR with three changes that the shaper needs:
//! - a release is never split, so a deficit may go below zero and is paid back in later rounds;
//! - a child leaves while it waits for a limit of its own or for its next request. Each child knows the round in which
//!   its next turn is due. One that comes back to a due turn goes first, so that a limit below the fair share is met in full; one
//!   that has had its turn waits for the next round. No child has more than one turn in a round either way;
//! - the credit of a round tunes itself: it grows when many turns pass without a release and shrinks when none do, so that
//!   a release costs O(1) turns whatever the weights and quanta are.

use super::due::DueSeat;
use super::peer_node::millionths;
use super::tier::RINGS;

pub(crate) const NONE: u32 = u32::MAX;

/// Bytes of credit per unit of weight and round at first: the least quantum.
const CREDIT_BYTES_AT_FIRST: f64 = 1024.0;
const CREDIT_BYTES_MIN: f64 = 64.0;
/// One turn in five may pass without a release before credit grows.
const TURNS_PER_SKIP: u32 = 5;
const CREDIT_GROWTH: f64 = 1.25;
const CREDIT_DECAY: f64 = 0.95;

/// Limits a weight to what the arithmetic bears; configuration refuses others long before.
pub(crate) fn sane_weight(weight: f64) -> f64 {
    if weight.is_finite() { weight.clamp(1e-6, 1e6) } else { 1.0 }
}

/// A child's place in its parent's ring of one tier.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Seat {
    pub(crate) prev: u32,
    pub(crate) next: u32,
    pub(crate) taken: bool,
    /// Bytes it may still have in this turn; negative: owes.
    deficit: f64,
    /// The round in which its next turn is due.
    due: u64,
}

/// What a node's queue and its rings know of a child.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Place {
    pub(crate) weight: f64,
    /// What it is given credit by in its parent's ring of each tier: its weight, or what the weights of those that borrow below it are worth.
    pub(crate) shares: [f64; RINGS],
    pub(crate) due: DueSeat,
    pub(crate) seats: [Seat; RINGS],
}

impl Place {
    pub(crate) fn new(weight: f64) -> Self {
        // Due since round 0 with something in hand: a newcomer's first turn comes first.
        let seat = Seat { prev: NONE, next: NONE, taken: false, deficit: 1.0, due: 0 };
        let weight = sane_weight(weight);
        Place { weight, shares: [weight; RINGS], due: DueSeat::new(), seats: [seat; RINGS] }
    }
}

/// Children in the order in which they came.
#[derive(Copy, Clone, Debug)]
struct Queue {
    head: u32,
    tail: u32,
}

const EMPTY: Queue = Queue { head: NONE, tail: NONE };

/// The children of one node that can release in one nth, in the order of their turns.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Ring {
    /// Those who came back to a turn that is already due, those who stayed and wait for it, those whose turn is in the
    /// next round.
    queues: [Queue; 3],
    round: u64,
    /// The same for all in one round, or those who end their turns early and late in it would get unequal credit.
    credit_per_weight: f64,
    /// Turns of this round, and those of them that released nothing.
    turns: u32,
    skips: u32,
    /// Of all that are seated, in millionths: whole numbers leave nothing behind.
    weight: u64,
}

const BACK: usize = 0;
const THIS: usize = 1;
const NEXT: usize = 2;

impl Ring {
    pub(crate) const fn new() -> Self {
        Ring { queues: [EMPTY; 3], round: 0, credit_per_weight: CREDIT_BYTES_AT_FIRST, turns: 0, skips: 0, weight: 0 }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queues.iter().all(|queue| queue.head == NONE)
    }

    /// Seats a child according to the round in which its turn is due.
    pub(crate) fn enter(&mut self, places: &mut [Place], id: u32, nth: usize) {
        let place = &mut places[id as usize];
        let credit = self.credit_per_weight * place.shares[nth];
        let seat = &mut place.seats[nth];
        let missed = self.round.saturating_sub(seat.due);
        if missed > 0 {
            // The rounds it was away for would each have paid back one credit; at most one is kept in hand.
            seat.deficit = seat.deficit.max(credit.min(seat.deficit + missed as f64 * credit));
            seat.due = self.round;
        }
        let queue = if seat.due <= self.round { BACK } else { NEXT };
        self.push(places, id, nth, queue);
    }

    /// Takes a child's seat away. Deficit and due round stay with the child.
    pub(crate) fn leave(&mut self, places: &mut [Place], id: u32, nth: usize) {
        self.weight -= millionths(places[id as usize].weight);
        let seat = &mut places[id as usize].seats[nth];
        let (prev, next) = (seat.prev, seat.next);
        (seat.prev, seat.next, seat.taken) = (NONE, NONE, false);
        match prev {
            // A child at an end is the end of exactly one queue.
            NONE => self.queues.iter_mut().filter(|queue| queue.head == id).for_each(|queue| queue.head = next),
            _ => places[prev as usize].seats[nth].next = next,
        }
        match next {
            NONE => self.queues.iter_mut().filter(|queue| queue.tail == id).for_each(|queue| queue.tail = prev),
            _ => places[next as usize].seats[nth].prev = prev,
        }
    }

    /// Whose turn it is.
    pub(crate) fn turn(&mut self, places: &mut [Place], nth: usize) -> Option<u32> {
        loop {
            let id = match [self.queues[BACK].head, self.queues[THIS].head] {
                [NONE, NONE] if self.queues[NEXT].head == NONE => return None,
                [NONE, NONE] => {
                    self.begin_round();
                    self.go_on_alone(places, nth);
                    continue;
                }
                [NONE, id] | [id, _] => id,
            };
            self.turns += 1;
            if places[id as usize].seats[nth].deficit > 0.0 {
                return Some(id);
            }
            self.skips += 1;
            self.end_turn(places, id, nth);
        }
    }

    /// Books a release; the turn ends when the deficit is used up.
    pub(crate) fn charge(&mut self, places: &mut [Place], id: u32, nth: usize, bytes: u32) {
        let seat = &mut places[id as usize].seats[nth];
        seat.deficit -= f64::from(bytes);
        if seat.deficit <= 0.0 {
            self.end_turn(places, id, nth);
        }
    }

    /// Books a release back.
    pub(crate) fn refund(places: &mut [Place], id: u32, nth: usize, bytes: u32) {
        places[id as usize].seats[nth].deficit += f64::from(bytes);
    }

    /// The weight of all that are seated.
    pub(crate) fn weight(&self) -> f64 {
        self.weight as f64 / 1e6
    }

    /// One that is seated weighs `after`, and weighed `before`.
    pub(crate) fn reweigh(&mut self, before: f64, after: f64) {
        self.weight = self.weight + millionths(after) - millionths(before);
    }

    /// The seated children, for the recount.
    #[cfg(any(test, debug_assertions))]
    pub(crate) fn heads(&self) -> [u32; 3] {
        self.queues.map(|queue| queue.head)
    }

    fn begin_round(&mut self) {
        self.queues[THIS] = std::mem::replace(&mut self.queues[NEXT], EMPTY);
        self.round += 1;
        let factor = match self.skips * TURNS_PER_SKIP > self.turns {
            // It says nothing of what others will need.
            _ if self.is_one_alone() => 1.0,
            true => CREDIT_GROWTH,
            false => CREDIT_DECAY,
        };
        self.credit_per_weight = CREDIT_BYTES_MIN.max(self.credit_per_weight * factor);
        (self.turns, self.skips) = (0, 0);
    }

    fn is_one_alone(&self) -> bool {
        self.queues[BACK].head == NONE && self.queues[THIS].head == self.queues[THIS].tail
    }

    /// One that is alone goes through all the rounds at once that its debt takes. Were credit to grow until it fits one whose weight is next
    /// to nothing, the next who comes would have a turn of megabytes.
    fn go_on_alone(&mut self, places: &mut [Place], nth: usize) {
        let id = self.queues[THIS].head;
        if id == NONE || !self.is_one_alone() {
            return;
        }
        let place = &mut places[id as usize];
        let (credit, seat) = (self.credit_per_weight * place.shares[nth], &mut place.seats[nth]);
        if seat.deficit <= 0.0 {
            let rounds = (-seat.deficit / credit).floor() + 1.0;
            seat.deficit += rounds * credit;
            self.round += rounds as u64;
            seat.due = self.round;
        }
    }

    fn end_turn(&mut self, places: &mut [Place], id: u32, nth: usize) {
        let place = &mut places[id as usize];
        let credit = self.credit_per_weight * place.shares[nth];
        let seat = &mut place.seats[nth];
        seat.deficit += credit;
        seat.due = self.round + 1;
        if seat.taken {
            self.leave(places, id, nth);
            self.push(places, id, nth, NEXT);
        }
    }

    fn push(&mut self, places: &mut [Place], id: u32, nth: usize, queue: usize) {
        self.weight += millionths(places[id as usize].weight);
        let queue = &mut self.queues[queue];
        let seat = &mut places[id as usize].seats[nth];
        (seat.prev, seat.next, seat.taken) = (queue.tail, NONE, true);
        match queue.tail {
            NONE => queue.head = id,
            tail => places[tail as usize].seats[nth].next = id,
        }
        queue.tail = id;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn served(weights: &[f64], bytes: &[u32], releases: usize) -> Vec<u64> {
        let mut places: Vec<Place> = weights.iter().map(|&weight| Place::new(weight)).collect();
        let mut ring = Ring::new();
        for id in 0..weights.len() as u32 {
            ring.enter(&mut places, id, 0);
        }
        let mut sums = vec![0; weights.len()];
        for _ in 0..releases {
            let id = ring.turn(&mut places, 0).expect("seated");
            ring.charge(&mut places, id, 0, bytes[id as usize]);
            sums[id as usize] += u64::from(bytes[id as usize]);
        }
        sums
    }

    #[test]
    fn splits_by_weight_whatever_the_quanta() {
        let sums = served(&[1.0, 2.0, 10.0], &[65_536, 1_024, 8_192], 100_000);
        let per_weight = [sums[0] as f64, sums[1] as f64 / 2.0, sums[2] as f64 / 10.0];
        for share in per_weight {
            assert!((share / per_weight[0] - 1.0).abs() < 0.01, "{sums:?}");
        }
    }

    #[test]
    fn a_tiny_weight_neither_stops_the_ring_nor_is_forgotten() {
        let sums = served(&[0.001, 1.0, 1.0], &[65_536; 3], 100_000);
        let share = sums[0] as f64 / sums[1] as f64;
        assert!((0.0008..0.0015).contains(&share), "{sums:?}");
    }

    /// A weight of next to nothing raised what a unit of weight has in a round by a hundred thousand, and the next who came had as much.
    #[test]
    fn a_tiny_weight_that_was_alone_leaves_no_huge_turns_behind() {
        let mut places = [1e-6, 1.0, 1.0].map(Place::new);
        let mut ring = Ring::new();
        ring.enter(&mut places, 0, 0);
        for _ in 0..100 {
            assert_eq!(ring.turn(&mut places, 0), Some(0));
            ring.charge(&mut places, 0, 0, 65_536);
        }
        (1..3).for_each(|id| ring.enter(&mut places, id, 0));
        let (mut last, mut in_a_row, mut sums) = (0, 0_u32, [0_u32; 3]);
        for _ in 0..1_000 {
            let id = ring.turn(&mut places, 0).expect("seated");
            ring.charge(&mut places, id, 0, 8_192);
            sums[id as usize] += 1;
            in_a_row = if id == last { in_a_row + 1 } else { 1 };
            last = id;
            assert!(in_a_row <= 8, "{sums:?}");
        }
        assert!(sums[0] <= 1 && sums[1].abs_diff(sums[2]) <= 8, "{sums:?}");
    }

    #[test]
    fn leaving_between_turns_gains_nothing() {
        let mut places = vec![Place::new(1.0); 3];
        let mut ring = Ring::new();
        for id in 0..3 {
            ring.enter(&mut places, id, 0);
        }
        let mut sums = [0_u32; 3];
        for _ in 0..3_000 {
            let id = ring.turn(&mut places, 0).expect("seated");
            // Children 0 and 1 leave and come back around every release, as leaves do.
            if id < 2 {
                ring.leave(&mut places, id, 0);
            }
            ring.charge(&mut places, id, 0, 1000);
            if id < 2 {
                ring.enter(&mut places, id, 0);
            }
            sums[id as usize] += 1;
        }
        assert!(sums.iter().all(|&sum| (980..1020).contains(&sum)), "{sums:?}");
    }
}
