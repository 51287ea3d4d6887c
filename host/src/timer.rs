//! A timer of the kernel's own precision. Those of an event loop are rounded to the millisecond twice, up each time: by its
//! wheel, and by `epoll_wait`.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
    time::Duration,
};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

/// The least that can be waited for: zero would disarm it.
const LEAST: Duration = Duration::from_nanos(1);

/// Readable once its time has come, until it is set again. For edge-triggered polling: there is nothing to be read out.
#[derive(Debug)]
pub struct Timer {
    descriptor: OwnedFd,
}

impl Timer {
    /// A timer that is not set.
    ///
    /// # Errors
    /// What the kernel says, as when no descriptor is left.
    pub fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        Ok(Self { descriptor: timerfd_create(TimerfdClockId::Monotonic, flags)? })
    }

    /// Goes off once, `after` from now, whatever it was set to before.
    ///
    /// # Errors
    /// What the kernel says, as when `after` is beyond what it can count.
    pub fn set(&self, after: Duration) -> io::Result<()> {
        let after = Timespec::try_from(after.max(LEAST)).map_err(|_| io::ErrorKind::InvalidInput)?;
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: after };
        timerfd_settime(&self.descriptor, TimerfdTimerFlags::empty(), &once)?;
        Ok(())
    }
}

impl AsFd for Timer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl AsRawFd for Timer {
    fn as_raw_fd(&self) -> RawFd {
        self.descriptor.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use rustix::event::{PollFd, PollFlags, Timespec as Wait, poll};

    use super::*;

    fn is_due(timer: &Timer, within: Duration) -> bool {
        let wait = Wait::try_from(within).unwrap();
        poll(&mut [PollFd::new(timer, PollFlags::IN)], Some(&wait)).unwrap() == 1
    }

    #[test]
    fn it_goes_off_no_sooner_than_it_was_set_to_and_can_be_set_again() {
        let timer = Timer::new().unwrap();
        assert!(!is_due(&timer, Duration::ZERO), "not set");
        let began = Instant::now();
        timer.set(Duration::from_micros(2_300)).unwrap();
        assert!(is_due(&timer, Duration::from_secs(10)));
        assert!(began.elapsed() >= Duration::from_micros(2_300));
        timer.set(Duration::from_secs(1000)).unwrap();
        assert!(!is_due(&timer, Duration::ZERO), "what was due before is forgotten");
        timer.set(Duration::ZERO).unwrap();
        assert!(is_due(&timer, Duration::from_secs(10)), "now, and not never");
    }
}
