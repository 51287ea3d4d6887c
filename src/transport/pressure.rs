//! What holds a full socket: the path, or a receiver that takes no more.

use actors::port::Pressure;
use host::TcpInfo;

/// Where the kernel's two counters stood, and what they said of a sender that is blocked.
#[derive(Default)]
pub(super) struct Limits {
    busy_us: u64,
    rwnd_limited_us: u64,
    /// The widest window that the receiver has shown.
    window_max: u32,
    pub(super) pressure: Pressure,
}

impl Limits {
    /// Takes the counters: what held most of the busy time since the last look. They move in the kernel's ticks, so that two
    /// looks within one tick have nothing new to say and the last answer stands.
    ///
    /// A receiver that takes no more closes its window. One that stays as wide as it ever was is full because the path
    /// holds so much: that is the network's queue, and taking it for the receiver hid a halved line.
    pub(super) fn observe(&mut self, info: &TcpInfo) {
        let busy = info.busy_us.saturating_sub(self.busy_us);
        let limited = info.rwnd_limited_us.saturating_sub(self.rwnd_limited_us);
        self.window_max = self.window_max.max(info.send_window_bytes);
        if busy == 0 {
            return;
        }
        let closing = self.window_max == 0 || info.send_window_bytes < self.window_max / 2;
        let receiver = closing && limited.saturating_mul(2) > busy;
        self.pressure = if receiver { Pressure::Receiver } else { Pressure::Network };
        (self.busy_us, self.rwnd_limited_us) = (info.busy_us, info.rwnd_limited_us);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(limits: &mut Limits, busy_us: u64, rwnd_limited_us: u64, send_window_bytes: u32) -> Pressure {
        limits.observe(&TcpInfo { busy_us, rwnd_limited_us, send_window_bytes, ..TcpInfo::default() });
        limits.pressure
    }

    #[test]
    fn pressure_follows_the_newest_look() {
        let mut limits = Limits::default();
        assert_eq!(look(&mut limits, 10_000, 0, 64_000), Pressure::Network);
        assert_eq!(look(&mut limits, 20_000, 8_000, 9_000), Pressure::Receiver);
        assert_eq!(look(&mut limits, 20_000, 8_000, 64_000), Pressure::Receiver);
        assert_eq!(look(&mut limits, 30_000, 9_000, 9_000), Pressure::Network);
    }

    #[test]
    fn a_wide_window_that_is_full_is_the_network() {
        let mut limits = Limits::default();
        assert_eq!(look(&mut limits, 10_000, 9_000, 64_000), Pressure::Network);
        assert_eq!(look(&mut limits, 20_000, 19_000, 31_000), Pressure::Receiver);
        // A kernel that does not tell the window.
        assert_eq!(look(&mut Limits::default(), 10_000, 9_000, 0), Pressure::Receiver);
    }
}
