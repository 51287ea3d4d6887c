//! How much one release may be: the chunk decides the processor's bill and the smoothness alike (DESIGN section 6).

use super::{
    MANY_LEAVES,
    mode::{Marks, Mode},
};
use crate::Rate;

/// Sizes of quanta. DESIGN section 6 starts from 400 ms of rate and at most 64 KiB; measured beside servers that send a second's worth
/// at a time, a visit costs about 10 us and 0.25 us per KiB, and with 1 s and 128 KiB thousands of leaves cost less there.
#[derive(Copy, Clone, Debug)]
pub struct ShaperConfig {
    /// Milliseconds of its rate that a leaf gets at once when there are many leaves. Few get as little as an 80th of it:
    /// the smaller the chunk the smoother the line, and what it costs hardly counts. What a leaf got in any window is off by
    /// about a chunk at either end: with chunks of 50 ms one of 50 peers was off by up to 2.3 % over 10 s, by chance alone.
    pub quantum_ms: u32,
    /// The least, for the slowest leaf.
    pub quantum_bytes_min: u32,
    /// For a leaf that was assigned nothing and has not gone yet.
    pub quantum_bytes_at_first: u32,
    /// The most for a leaf on a link in precise mode.
    pub quantum_bytes_max: u32,
    /// The most for one on a link in bulk mode.
    pub quantum_bytes_bulk: u32,
    /// Where links change their modes.
    pub marks: Marks,
}

impl Default for ShaperConfig {
    fn default() -> Self {
        ShaperConfig {
            quantum_ms: 1_000,
            quantum_bytes_min: 1 << 10,
            quantum_bytes_at_first: 8 << 10,
            quantum_bytes_max: 128 << 10,
            quantum_bytes_bulk: 256 << 10,
            marks: Marks::default(),
        }
    }
}

impl ShaperConfig {
    /// The quantum of one of `leaves` leaves that is guaranteed `guarantee`, went at `pace` bytes per second and may go at
    /// `ceiling`, on a link in `mode`.
    pub(crate) fn quantum(&self, mode: Mode, leaves: usize, guarantee: Rate, pace: u64, ceiling: Rate) -> u32 {
        let most = self.most(mode, ceiling);
        if guarantee.min(ceiling).is_unlimited() {
            // Nothing but turns shares the line among those that nothing gates: a larger piece in each would be a larger share.
            return if leaves > 1 { most.min(self.quantum_bytes_max) } else { most };
        }
        let at_first = self.bytes_per_second(self.quantum_bytes_at_first);
        let going = if guarantee == Rate::ZERO && pace == 0 { at_first } else { pace };
        let rate = going.max(guarantee.bytes_per_second()).min(ceiling.bytes_per_second());
        let in_ms = |ms: u64| rate.saturating_mul(ms) / 1000;
        let quantum_ms = u64::from(self.quantum_ms);
        let visits_per_second = if leaves < MANY_LEAVES { VISITS_PER_SECOND } else { VISITS_PER_SECOND_OF_MANY };
        let enough_ms = (leaves as u64 * 1000 / visits_per_second).clamp(quantum_ms / FEW, quantum_ms);
        // What a slow leaf gets at once stays worth a visit, up to the 8 KiB of DESIGN 6.
        let worth = in_ms(quantum_ms).min(u64::from(self.quantum_bytes_at_first));
        let bytes = in_ms(enough_ms).max(worth);
        bytes.clamp(u64::from(self.quantum_bytes_min), u64::from(most)) as u32
    }

    /// The largest quantum on a link in `mode` that is to carry `ceiling` at most, whoever gets it.
    pub fn largest(&self, mode: Mode, ceiling: Rate) -> u32 {
        self.quantum(mode, MANY_LEAVES, Rate::ZERO, u64::MAX, ceiling)
    }

    /// The largest below a total of `line` that is so large only because leaves are many, or those who are fast among slow ones would have
    /// it in lumps: of 10 MB/s three had 128 KiB each in turns, with nothing in between for a tenth of a second, and a second was 1.3 % over.
    pub(crate) fn of_line(&self, line: Rate) -> u32 {
        let part = line.bytes_per_second() / PARTS_OF_A_SECOND;
        u32::try_from(part.max(u64::from(self.quantum_bytes_at_first))).unwrap_or(u32::MAX)
    }

    /// The largest quantum below a limit of `rate`, whoever gets it: what somebody's turn may take.
    pub(crate) fn turn(&self, leaves: usize, rate: Rate) -> u32 {
        self.quantum(Mode::Bulk, leaves, Rate::ZERO, u64::MAX, rate)
    }

    fn most(&self, mode: Mode, ceiling: Rate) -> u32 {
        match mode {
            Mode::Precise => self.quantum_bytes_max,
            Mode::Bulk => {
                let share = ceiling.bytes_per_second() / PARTS_OF_A_SECOND;
                let (least, most) = (u64::from(self.quantum_bytes_max), u64::from(self.quantum_bytes_bulk));
                share.clamp(least.min(most), most) as u32
            }
        }
    }

    fn bytes_per_second(&self, quantum_bytes: u32) -> u64 {
        u64::from(quantum_bytes) * 1000 / u64::from(self.quantum_ms.max(1))
    }
}

/// Releases that a worker can afford without feeling them: at 20 us a visit, 5 % of a core.
const VISITS_PER_SECOND: u64 = 2_500;
/// The same where leaves are many, so that one of them hardly shows in the line: a thousand leaves have the full quantum.
const VISITS_PER_SECOND_OF_MANY: u64 = 1_000;
/// A quantum is at most this part of what the total lets through in a second, and a large one of what every limit above the leaf does:
/// 0.5 %, so that a second exceeds its limit by less than 1 % (the other half is what the buckets remember).
const PARTS_OF_A_SECOND: u64 = 200;

/// Into how many parts a full quantum is cut at most when leaves are few.
const FEW: u64 = 80;

#[cfg(test)]
mod tests {
    use super::*;

    fn quantum(guarantee: u64, pace: u64, ceiling: u64) -> u32 {
        let rate = Rate::from_bytes_per_second;
        ShaperConfig::default().quantum(Mode::Precise, 10_000, rate(guarantee), pace, rate(ceiling))
    }

    #[test]
    fn scales_with_the_rate() {
        let unlimited = u64::MAX;
        assert_eq!(quantum(unlimited, 0, unlimited), 128 << 10);
        // Of a rate that nobody knows yet.
        assert_eq!(quantum(0, 0, unlimited), 8 << 10);
        assert_eq!(quantum(0, 0, 1024), 1 << 10);
        assert_eq!(quantum(5_000, 0, unlimited), 5_000);
        assert_eq!(quantum(100_000, 0, 50_000), 50_000);
        assert_eq!(quantum(0, 10_000_000, unlimited), 128 << 10);
        assert_eq!(quantum(unlimited, 0, 100_000), 100_000);
    }

    #[test]
    fn few_leaves_go_in_smaller_steps() {
        let rate = Rate::from_bytes_per_second(200_000);
        let quantum = |leaves| ShaperConfig::default().quantum(Mode::Precise, leaves, rate, 0, Rate::UNLIMITED);
        assert_eq!(quantum(1), 8 << 10);
        let fast = Rate::from_bytes_per_second(1_000_000);
        assert_eq!(ShaperConfig::default().quantum(Mode::Precise, 50, fast, 0, Rate::UNLIMITED), 20_000);
        assert_eq!(quantum(250), 20_000);
        assert_eq!(quantum(500), 100_000);
        assert_eq!(quantum(1_001), 131_072);
        assert_eq!(quantum(100_000), 131_072);
        let slow = Rate::from_bytes_per_second(30_000);
        assert_eq!(ShaperConfig::default().quantum(Mode::Precise, 1, slow, 0, Rate::UNLIMITED), 8 << 10);
    }

    /// Of 64 at 40 MB/s each some links were bulk and some precise, stayed so, and differed by 50 %.
    #[test]
    fn beside_others_that_nothing_gates_a_bulk_link_gets_no_more_than_a_precise_one() {
        let quantum = |mode, leaves| ShaperConfig::default().quantum(mode, leaves, Rate::UNLIMITED, 0, Rate::UNLIMITED);
        for leaves in [2, 64, 10_000] {
            assert_eq!(quantum(Mode::Bulk, leaves), quantum(Mode::Precise, leaves), "{leaves}");
        }
        assert!(quantum(Mode::Bulk, 1) > quantum(Mode::Precise, 1), "alone it takes nothing from anybody");
    }

    #[test]
    fn bulk_is_larger_only_where_the_limits_do_not_feel_it() {
        let rate = Rate::from_bytes_per_second;
        let bulk = |pace, ceiling| ShaperConfig::default().quantum(Mode::Bulk, 5_000, Rate::ZERO, pace, rate(ceiling));
        assert!(bulk(0, 100_000_000) <= 8 << 10, "a slow leaf is not made coarse by its link");
        assert_eq!(bulk(10_000_000, u64::MAX), 256 << 10);
        assert_eq!(bulk(10_000_000, 1_000_000_000), 256 << 10);
        assert_eq!(bulk(10_000_000, 40_000_000), 200_000, "0.5 % of a second");
        assert_eq!(bulk(10_000_000, 5_000_000), 128 << 10);
        let nothing = ShaperConfig::default().quantum(Mode::Bulk, 1, Rate::UNLIMITED, 0, Rate::UNLIMITED);
        assert_eq!(nothing, 256 << 10);
        let fine = ShaperConfig { quantum_bytes_bulk: 32 << 10, ..ShaperConfig::default() };
        assert_eq!(fine.quantum(Mode::Bulk, 1, Rate::UNLIMITED, 0, Rate::UNLIMITED), 32 << 10);
    }
}
