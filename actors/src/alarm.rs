//! What a worker's driver sleeps on: a timer that is precise to a few microseconds, where those of the event loop may be 2 ms
//! late. What a total may remember of unspent time is 5 to 8 ms, so that was rate lost.

use std::{
    io,
    task::{Context, Poll, ready},
    time::Duration,
};

use host::Timer;
use tokio::io::{Interest, unix::AsyncFd};

/// Longest time to be set; whoever has longer to wait looks again then.
const LONGEST: Duration = Duration::from_secs(3600);

/// An alarm of the current thread's event loop.
pub(crate) struct Alarm {
    timer: AsyncFd<Timer>,
}

impl Alarm {
    /// One that is not set.
    #[allow(deprecated, reason = "its successor is `unsafe`, for types whose descriptor may change; a `Timer`'s can't")]
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { timer: AsyncFd::with_interest(Timer::new()?, Interest::READABLE)? })
    }

    /// Sets it to go off `after` from now, instead of what it was set to.
    pub(crate) fn set(&self, after: Duration) -> io::Result<()> {
        self.timer.get_ref().set(after.min(LONGEST))
    }

    /// Ready when it has gone off. It may have been for what it was set to before: look at the clock.
    pub(crate) fn poll_rung(&self, cx: &mut Context<'_>) -> Poll<()> {
        // An error means that the event loop ends, and with it whoever asks.
        if let Ok(mut rung) = ready!(self.timer.poll_read_ready(cx)) {
            rung.clear_ready();
        }
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, time::Instant};

    use super::*;

    #[test]
    fn it_rings_again_and_again_though_nobody_reads_it_out() {
        actix_rt::System::new().block_on(async {
            let alarm = Alarm::new().unwrap();
            for _ in 0..3 {
                let began = Instant::now();
                alarm.set(Duration::from_micros(1_500)).unwrap();
                poll_fn(|cx| alarm.poll_rung(cx)).await;
                assert!(began.elapsed() >= Duration::from_micros(1_500));
            }
        });
    }
}
