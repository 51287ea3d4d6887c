//! A timing wheel: 4096 slots of 1 ms under a two-level bitmap.
//!
//! It is armed for the soonest deadline, never ticks, and costs O(1) per insertion and removal. A deadline beyond the
//! horizon is clamped to it; whoever is woken looks at its own clock and waits again, so nothing is ever dropped.
//! Carousel (SIGCOMM 2017) is the model for the wheel, the bitmap search is that of timer wheels in kernels.

use super::clock::NANOS_PER_MILLI;

const SLOTS: usize = 4096;
const WORDS: usize = SLOTS / 64;
/// A list beside the slots: timers that are due and not yet handed out.
const DUE: usize = SLOTS;
const NONE: u32 = u32::MAX;
const SLOT_NS: u64 = NANOS_PER_MILLI;

#[derive(Copy, Clone, Debug)]
struct Entry {
    prev: u32,
    next: u32,
    /// The list it is on, `NONE` when it has no timer.
    slot: u32,
}

const UNARMED: Entry = Entry { prev: NONE, next: NONE, slot: NONE };

/// Timers for the nodes of one shaper, at most one each, named by the node's index.
#[derive(Debug)]
pub(crate) struct Wheel {
    /// Every slot up to this tick has been emptied into `DUE`.
    tick: u64,
    heads: Box<[u32]>,
    due_tail: u32,
    words: [u64; WORDS],
    summary: u64,
    entries: Vec<Entry>,
    armed: usize,
}

impl Wheel {
    pub(crate) fn new(now: u64) -> Self {
        Wheel {
            tick: now / SLOT_NS,
            heads: vec![NONE; SLOTS + 1].into_boxed_slice(),
            due_tail: NONE,
            words: [0; WORDS],
            summary: 0,
            entries: Vec::new(),
            armed: 0,
        }
    }

    /// How many timers are armed.
    #[cfg(any(test, debug_assertions))]
    pub(crate) fn armed(&self) -> usize {
        self.armed
    }

    pub(crate) fn is_armed(&self, id: u32) -> bool {
        self.entries.get(id as usize).is_some_and(|entry| entry.slot != NONE)
    }

    /// Arms, or re-arms, the timer of `id`. It fires at the first whole millisecond not before the deadline.
    pub(crate) fn insert(&mut self, id: u32, deadline: u64) {
        self.remove(id);
        if self.entries.len() <= id as usize {
            self.entries.resize(id as usize + 1, UNARMED);
        }
        let horizon = self.tick + SLOTS as u64 - 1;
        let tick = deadline.div_ceil(SLOT_NS).clamp(self.tick + 1, horizon);
        let slot = (tick % SLOTS as u64) as usize;
        let head = self.heads[slot];
        self.entries[id as usize] = Entry { prev: NONE, next: head, slot: slot as u32 };
        if head != NONE {
            self.entries[head as usize].prev = id;
        }
        self.heads[slot] = id;
        self.words[slot / 64] |= 1 << (slot % 64);
        self.summary |= 1 << (slot / 64);
        self.armed += 1;
    }

    /// Disarms the timer of `id`, if it has one.
    pub(crate) fn remove(&mut self, id: u32) {
        if !self.is_armed(id) {
            return;
        }
        let Entry { prev, next, slot } = std::mem::replace(&mut self.entries[id as usize], UNARMED);
        let slot = slot as usize;
        if prev == NONE {
            self.heads[slot] = next;
        } else {
            self.entries[prev as usize].next = next;
        }
        if next != NONE {
            self.entries[next as usize].prev = prev;
        } else if slot == DUE {
            self.due_tail = prev;
        }
        if slot != DUE && self.heads[slot] == NONE {
            self.clear(slot);
        }
        self.armed -= 1;
    }

    /// A timer that is due at `now`, disarmed. Call until `None`; timers armed meanwhile for later stay.
    pub(crate) fn expire(&mut self, now: u64) -> Option<u32> {
        let now_tick = now / SLOT_NS;
        while now_tick > self.tick {
            match self.next_tick() {
                Some(tick) if tick <= now_tick => self.fall_due((tick % SLOTS as u64) as usize, tick),
                _ => self.tick = now_tick,
            }
        }
        let id = self.heads[DUE];
        if id == NONE {
            return None;
        }
        self.remove(id);
        Some(id)
    }

    /// When to look again, in nanoseconds.
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        if self.heads[DUE] != NONE {
            return Some(self.tick * SLOT_NS);
        }
        self.next_tick().map(|tick| tick * SLOT_NS)
    }

    /// The soonest occupied slot after the current tick, as a tick.
    fn next_tick(&self) -> Option<u64> {
        if self.summary == 0 {
            return None;
        }
        let from = ((self.tick + 1) % SLOTS as u64) as usize;
        let slot = self.occupied_from(from).or_else(|| self.occupied_from(0))?;
        let ahead = (slot + SLOTS - from) % SLOTS;
        Some(self.tick + 1 + ahead as u64)
    }

    /// The first occupied slot at or after `from`, without wrapping.
    fn occupied_from(&self, from: usize) -> Option<usize> {
        let word = from / 64;
        let here = self.words[word] & (u64::MAX << (from % 64));
        if here != 0 {
            return Some(word * 64 + here.trailing_zeros() as usize);
        }
        let later = self.summary & u64::MAX.checked_shl(word as u32 + 1).unwrap_or(0);
        if later == 0 {
            return None;
        }
        let word = later.trailing_zeros() as usize;
        Some(word * 64 + self.words[word].trailing_zeros() as usize)
    }

    /// Moves a whole slot to the due list, so that what is armed from now on can't be mistaken for it.
    fn fall_due(&mut self, slot: usize, tick: u64) {
        let first = std::mem::replace(&mut self.heads[slot], NONE);
        self.clear(slot);
        self.tick = tick;
        if self.due_tail == NONE {
            self.heads[DUE] = first;
        } else {
            self.entries[self.due_tail as usize].next = first;
            self.entries[first as usize].prev = self.due_tail;
        }
        let mut id = first;
        while id != NONE {
            let entry = &mut self.entries[id as usize];
            entry.slot = DUE as u32;
            self.due_tail = id;
            id = entry.next;
        }
    }

    fn clear(&mut self, slot: usize) {
        self.words[slot / 64] &= !(1 << (slot % 64));
        if self.words[slot / 64] == 0 {
            self.summary &= !(1 << (slot / 64));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const MS: u64 = SLOT_NS;

    #[test]
    fn fires_at_the_millisecond_after_the_deadline() {
        let mut wheel = Wheel::new(0);
        wheel.insert(7, 3 * MS + 1);
        assert_eq!(wheel.next_deadline(), Some(4 * MS));
        assert_eq!(wheel.expire(4 * MS - 1), None);
        assert_eq!(wheel.expire(4 * MS), Some(7));
        assert_eq!(wheel.next_deadline(), None);
    }

    #[test]
    fn clamps_what_lies_beyond_the_horizon() {
        let mut wheel = Wheel::new(5 * MS);
        wheel.insert(0, u64::MAX);
        let first = wheel.next_deadline().expect("armed");
        assert_eq!(first, (5 + SLOTS as u64 - 1) * MS);
        assert_eq!(wheel.expire(first), Some(0));
    }

    #[test]
    fn a_jump_past_the_horizon_hands_each_timer_out_once() {
        let mut wheel = Wheel::new(0);
        for id in 0..100 {
            wheel.insert(id, u64::from(id) * 37 * MS);
        }
        let now = 300_000 * MS;
        for _ in 0..100 {
            let id = wheel.expire(now).expect("due");
            wheel.insert(id, now + 10 * MS);
        }
        assert_eq!(wheel.expire(now), None);
        assert_eq!(wheel.next_deadline(), Some(now + 10 * MS));
    }

    proptest! {
        /// The wheel against a sorted map: same timers, never early, at most 1 ms late when asked every millisecond.
        #[test]
        fn agrees_with_a_sorted_map(steps in prop::collection::vec((0_u32..50, 0_u64..6_000_000_000, 0_u8..3), 1..300)) {
            let mut wheel = Wheel::new(0);
            let mut model: BTreeMap<u32, u64> = BTreeMap::new();
            let mut now = 0;
            for (id, ahead, what) in steps {
                match what {
                    0 => { wheel.insert(id, now + ahead); model.insert(id, now + ahead.min((SLOTS as u64 - 2) * MS)); }
                    1 => { wheel.remove(id); model.remove(&id); }
                    _ => {
                        now += ahead / 8;
                        while let Some(id) = wheel.expire(now) {
                            let due = model.remove(&id);
                            prop_assert!(due.is_some_and(|due| due <= now));
                        }
                        prop_assert!(model.values().all(|&due| due + MS > now));
                    }
                }
                prop_assert_eq!(wheel.armed(), model.len());
            }
        }
    }
}
