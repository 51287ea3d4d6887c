//! What holds a full socket: the path, or a receiver that takes no more.

use actors::port::Pressure;
use host::TcpInfo;

/// What is judged is at least so long, in time in which there was something to send: a receiver that reads in strokes holds its
/// sender in between, and the counters of two looks of one stroke say the contrary.
const SPAN_US: u64 = 200_000;

/// A receiver whose window never was wider has not been held up by the path: whoever reads what comes gets a wider one from his
/// kernel as long as the window is what holds.
const WIDE_BYTES: u32 = 256 << 10;

/// Where the kernel's counters stood, and what they said of a sender that is blocked.
#[derive(Default)]
pub(super) struct Limits {
    /// The older, from which on is judged, and one that takes its place.
    stands: [Stand; 2],
    seen_busy_us: u64,
    /// The widest window that the receiver has shown.
    window_max: u32,
    pub(super) pressure: Pressure,
}

/// Where they stood once.
#[derive(Copy, Clone, Default)]
struct Stand {
    busy_us: u64,
    rwnd_limited_us: u64,
    bytes_acked: u64,
}

impl Limits {
    /// Takes the counters: what held most of the busy time of late. They move in the kernel's ticks, so that two looks within one
    /// tick have nothing new to say and the last answer stands.
    ///
    /// A receiver's window stops a sender because its program does not read, or because the path holds all of it in a queue,
    /// which is the network's doing: taking that for the receiver hid a halved line. What the path held is what it brought within
    /// a round trip. (The window of one moment does not tell: that of a program which reads in strokes may stand open or shut.)
    pub(super) fn observe(&mut self, info: &TcpInfo) {
        self.window_max = self.window_max.max(info.send_window_bytes);
        let since = self.stands[0];
        let busy = info.busy_us.saturating_sub(since.busy_us);
        if busy == 0 || info.busy_us == self.seen_busy_us {
            return;
        }
        self.seen_busy_us = info.busy_us;
        let limited = info.rwnd_limited_us.saturating_sub(since.rwnd_limited_us);
        let acked = info.bytes_acked.saturating_sub(since.bytes_acked);
        let held_bytes = acked as f64 / busy as f64 * f64::from(info.rtt_us);
        let receiver = match self.window_max {
            // The kernel counts a window of a few segments as full for half of the time in which it is.
            ..WIDE_BYTES => limited.saturating_mul(4) > busy,
            _ => limited.saturating_mul(2) > busy && 2.0 * held_bytes < f64::from(self.window_max),
        };
        self.pressure = if receiver { Pressure::Receiver } else { Pressure::Network };
        let now = Stand { busy_us: info.busy_us, rwnd_limited_us: info.rwnd_limited_us, bytes_acked: info.bytes_acked };
        if now.busy_us.saturating_sub(self.stands[1].busy_us) >= SPAN_US {
            self.stands = [self.stands[1], now];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A socket that is looked at now and then.
    struct Socket {
        info: TcpInfo,
        limits: Limits,
    }

    impl Socket {
        fn new(window: u32, rtt_us: u32) -> Self {
            let info = TcpInfo { rtt_us, send_window_bytes: window, ..TcpInfo::default() };
            Self { info, limits: Limits::default() }
        }

        /// `ms` of having something to send, of them stopped by the window, and what was acknowledged meanwhile.
        fn pass(&mut self, ms: u64, limited_ms: u64, acked: u64) -> Pressure {
            self.info.busy_us += 1000 * ms;
            self.info.rwnd_limited_us += 1000 * limited_ms;
            self.info.bytes_acked += acked;
            self.limits.observe(&self.info);
            self.limits.pressure
        }
    }

    #[test]
    fn pressure_follows_what_was_of_late() {
        let mut socket = Socket::new(64_000, 1000);
        assert_eq!(socket.pass(500, 0, 5_000_000), Pressure::Network);
        assert_eq!(
            socket.pass(500, 200, 1_000_000),
            Pressure::Network,
            "since the beginning it is less than a quarter"
        );
        assert_eq!(socket.pass(500, 400, 1_000_000), Pressure::Receiver);
        assert_eq!(socket.pass(0, 0, 0), Pressure::Receiver, "two looks in one tick");
        assert_eq!(socket.pass(500, 0, 5_000_000), Pressure::Receiver);
        assert_eq!(socket.pass(500, 0, 5_000_000), Pressure::Network);
    }

    /// Measured on loopback: a program that reads 4 KB each 20 ms through a buffer of 4 KB, and one that reads 16 KB through a
    /// buffer as it is by default. Round trips are as long as the strokes.
    #[test]
    fn a_program_that_reads_slowly_is_the_receiver() {
        for (window, bytes, limited) in [(4096, 4096, [8, 16]), (95_232, 16_384, [20, 20]), (110_592, 16_384, [16, 20])]
        {
            let mut socket = Socket::new(window, 20_000);
            socket.pass(20, 20, bytes);
            for stroke in 0..200 {
                // Its window is seen open or shut.
                socket.info.send_window_bytes = if stroke % 3 == 0 { 0 } else { window };
                assert_eq!(
                    socket.pass(20, limited[stroke % 2], bytes),
                    Pressure::Receiver,
                    "{window}, stroke {stroke}"
                );
            }
        }
    }

    #[test]
    fn one_with_a_wide_window_that_reads_in_strokes_is_the_receiver_too() {
        let mut socket = Socket::new(3 << 20, 500);
        for _ in 0..50 {
            assert_eq!(socket.pass(600, 590, 3 << 20), Pressure::Receiver);
        }
    }

    #[test]
    fn a_wide_window_that_the_path_holds_is_the_network() {
        // 50 Mbit/s with all of a window of 3 MiB in its queue: half a second.
        let mut socket = Socket::new(3 << 20, 500_000);
        for _ in 0..50 {
            assert_eq!(socket.pass(500, 495, 3 << 20), Pressure::Network);
        }
    }

    #[test]
    fn a_kernel_that_does_not_tell_the_window_is_believed() {
        let mut socket = Socket::new(0, 500_000);
        assert_eq!(socket.pass(500, 495, 3 << 20), Pressure::Receiver);
        assert_eq!(Socket::new(0, 500_000).pass(500, 0, 3 << 20), Pressure::Network);
    }
}
