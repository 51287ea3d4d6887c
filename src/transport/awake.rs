//! Waiting by time in which this process ran: who was stopped (Ctrl-Z, a debugger) has not listened meanwhile, and nobody was
//! silent towards him.

use std::{pin::pin, time::Duration};

use tokio::time::{Instant, sleep};

/// How often the clock is looked at.
const STEP: Duration = Duration::from_millis(250);
/// Who rested for longer was stopped.
const REST_MAX: Duration = Duration::from_millis(500);
/// Who ran for less than this much below a limit, and was given up all the same, was given up by the clock of the machine.
const BRIEFLY: Duration = Duration::from_secs(1);

/// The time is over.
#[derive(Debug)]
pub(super) struct Elapsed;

/// What `step` comes to within `limit`, as [`tokio::time::timeout`].
///
/// # Errors
/// When it has come to nothing although this process ran for so long.
pub(super) async fn timeout<F: Future>(limit: Duration, step: F) -> Result<F::Output, Elapsed> {
    tokio::select! {
        biased;
        output = step => Ok(output),
        () = pause(limit) => Err(Elapsed),
    }
}

/// What `step` comes to, and how long this process ran until then, give or take a step.
pub(super) async fn timed<F: Future>(step: F) -> (F::Output, Duration) {
    let (mut step, mut ran) = (pin!(step), Duration::ZERO);
    loop {
        tokio::select! {
            biased;
            output = &mut step => return (output, ran),
            took = rest(STEP) => ran += took,
        }
    }
}

/// As [`tokio::time::sleep`].
pub(super) async fn pause(limit: Duration) {
    let mut left = limit;
    while !left.is_zero() {
        left = left.saturating_sub(rest(left.min(STEP)).await);
    }
}

/// Sleeps for a step; how long this process ran meanwhile. With a stop less than the step, so that another follows: what came
/// meanwhile is read before the time is over.
async fn rest(step: Duration) -> Duration {
    let began = Instant::now();
    sleep(step).await;
    let took = began.elapsed();
    if took > REST_MAX { step / 2 } else { took }
}

/// Whether somebody who ran for so long listened for `limit`.
pub(super) fn has_listened(ran: Duration, limit: Duration) -> bool {
    ran + BRIEFLY >= limit
}

#[cfg(test)]
mod tests {
    use std::{future::pending, thread};

    use super::*;

    /// As if the process had been stopped: on a runtime of one thread nothing moves.
    const STOP: Duration = Duration::from_secs(2);

    #[tokio::test]
    async fn without_a_stop_it_is_the_time_of_the_clock() {
        let began = Instant::now();
        let limit = STEP + Duration::from_millis(60);
        assert!(timeout(limit, pending::<()>()).await.is_err());
        assert!((limit..limit * 3).contains(&began.elapsed()), "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn a_stop_is_no_silence() {
        let began = Instant::now();
        let waiting = tokio::spawn(timed(timeout(4 * STEP, pending::<()>())));
        sleep(STEP / 2).await;
        thread::sleep(STOP);
        let (ended, ran) = waiting.await.unwrap();
        assert!(ended.is_err() && ran <= 5 * STEP, "{ran:?}");
        assert!(began.elapsed() >= STOP + 2 * STEP, "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn what_is_done_when_the_process_wakes_is_done_in_time() {
        let waiting = tokio::spawn(timeout(3 * STEP, sleep(STOP)));
        sleep(STEP / 2).await;
        thread::sleep(STOP);
        assert!(waiting.await.unwrap().is_ok());
    }

    #[tokio::test]
    async fn who_is_stopped_just_before_the_end_listens_for_a_moment_more() {
        let waiting = tokio::spawn(timeout(STEP, sleep(STEP + STEP / 4)));
        sleep(STEP / 2).await;
        thread::sleep(STOP);
        assert!(waiting.await.unwrap().is_ok());
        let began = Instant::now();
        let waiting = tokio::spawn(timeout(STEP, pending::<()>()));
        sleep(STEP / 2).await;
        thread::sleep(STOP);
        let stopped_until = began.elapsed();
        assert!(waiting.await.unwrap().is_err());
        assert!(began.elapsed() >= stopped_until + STEP / 3, "{:?}", began.elapsed());
    }
}
