//! How much one release may be: the chunk decides the processor's bill and the smoothness alike (DESIGN section 6).

use crate::Rate;

/// Sizes of quanta. The defaults are those of DESIGN section 6.
#[derive(Copy, Clone, Debug)]
pub struct ShaperConfig {
    /// Milliseconds of its rate that a leaf gets at once.
    pub quantum_ms: u32,
    /// The least, for the slowest leaf.
    pub quantum_bytes_min: u32,
    /// For a leaf that was assigned nothing and has not gone yet.
    pub quantum_bytes_at_first: u32,
    /// The most for a leaf with a rate.
    pub quantum_bytes_max: u32,
    /// For a leaf that nothing limits.
    pub quantum_bytes_unlimited: u32,
}

impl Default for ShaperConfig {
    fn default() -> Self {
        ShaperConfig {
            quantum_ms: 400,
            quantum_bytes_min: 1 << 10,
            quantum_bytes_at_first: 8 << 10,
            quantum_bytes_max: 64 << 10,
            quantum_bytes_unlimited: 256 << 10,
        }
    }
}

impl ShaperConfig {
    /// The quantum of a leaf that is guaranteed `guarantee`, went at `pace` bytes per second and may go at `ceiling`.
    pub(crate) fn quantum(&self, guarantee: Rate, pace: u64, ceiling: Rate) -> u32 {
        if guarantee.min(ceiling).is_unlimited() {
            return self.quantum_bytes_unlimited;
        }
        let at_first = self.bytes_per_second(self.quantum_bytes_at_first);
        let going = if guarantee == Rate::ZERO && pace == 0 { at_first } else { pace };
        let rate = going.max(guarantee.bytes_per_second()).min(ceiling.bytes_per_second());
        let bytes = rate.saturating_mul(u64::from(self.quantum_ms)) / 1000;
        // 8 KiB is 400 ms of 20 KB/s: above that the lower bound of 8 KiB holds by itself.
        bytes.clamp(u64::from(self.quantum_bytes_min), u64::from(self.quantum_bytes_max)) as u32
    }

    fn bytes_per_second(&self, quantum_bytes: u32) -> u64 {
        u64::from(quantum_bytes) * 1000 / u64::from(self.quantum_ms.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quantum(guarantee: u64, pace: u64, ceiling: u64) -> u32 {
        let rate = Rate::from_bytes_per_second;
        ShaperConfig::default().quantum(rate(guarantee), pace, rate(ceiling))
    }

    #[test]
    fn scales_with_the_rate() {
        let unlimited = u64::MAX;
        assert_eq!(quantum(unlimited, 0, unlimited), 256 << 10);
        assert_eq!(quantum(0, 0, unlimited), 8 << 10);
        assert_eq!(quantum(0, 0, 1024), 1 << 10);
        assert_eq!(quantum(5_000, 0, unlimited), 2_000);
        assert_eq!(quantum(100_000, 0, 50_000), 20_000);
        assert_eq!(quantum(0, 10_000_000, unlimited), 64 << 10);
        assert_eq!(quantum(unlimited, 0, 100_000), 40_000);
    }
}
