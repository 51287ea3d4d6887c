//! Waiting by time in which this process ran: who was stopped (Ctrl-Z, a debugger) has not listened meanwhile, and nobody was
//! silent towards him.

use std::{pin::pin, time::Duration};

use tokio::time::{Instant, sleep};

/// How often the clock is looked at.
const STEP: Duration = Duration::from_millis(250);
/// Who rested for longer was stopped.
const REST_MAX: Duration = Duration::from_millis(500);
/// Who rested for so much longer, in all, may have missed an answer.
const STOOD_STILL: Duration = Duration::from_secs(1);

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

/// As [`tokio::time::sleep`].
pub(super) async fn pause(limit: Duration) {
    let (mut left, mut has_listened) = (limit, false);
    while !left.is_zero() {
        let (step, began) = (left.min(STEP), Instant::now());
        sleep(step).await;
        let took = began.elapsed();
        left = left.saturating_sub(if took > REST_MAX { step } else { took });
        if took > REST_MAX && left.is_zero() && !has_listened {
            // What came meanwhile is read before the time is over.
            (left, has_listened) = (STEP, true);
        }
    }
}

/// What `dial` comes to; it is done once more if the error `may_be_missed` and this process stood still meanwhile. QUIC gives up by
/// the clock of the machine, as whoever is dialled does by his own.
///
/// # Errors
/// The last error of `dial`.
pub(super) async fn once_more<T, E, F: Future<Output = Result<T, E>>>(
    dial: impl Fn() -> F,
    may_be_missed: impl FnOnce(&E) -> bool,
) -> Result<T, E> {
    match watched(dial()).await {
        (Err(error), true) if may_be_missed(&error) => dial().await,
        (dialled, _) => dialled,
    }
}

/// What `step` comes to, and whether this process stood still meanwhile.
pub(super) async fn watched<F: Future>(step: F) -> (F::Output, bool) {
    let (mut step, mut stood) = (pin!(step), Duration::ZERO);
    loop {
        let began = Instant::now();
        let output = tokio::select! {
            biased;
            output = &mut step => Some(output),
            () = sleep(STEP) => None,
        };
        let took = began.elapsed();
        if took > REST_MAX {
            stood += took - STEP;
        }
        if let Some(output) = output {
            return (output, stood >= STOOD_STILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, future::pending, thread};

    use super::*;

    /// As if the process had been stopped: on a runtime of one thread nothing moves.
    const STOP: Duration = Duration::from_secs(2);

    async fn stop() {
        sleep(STEP / 2).await;
        thread::sleep(STOP);
    }

    #[tokio::test]
    async fn without_a_stop_it_is_the_time_of_the_clock() {
        let began = Instant::now();
        let limit = STEP + Duration::from_millis(60);
        assert!(timeout(limit, pending::<()>()).await.is_err());
        assert!(began.elapsed() >= limit, "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn a_stop_is_no_silence() {
        let began = Instant::now();
        let waiting = tokio::spawn(watched(timeout(4 * STEP, pending::<()>())));
        stop().await;
        let (ended, stood_still) = waiting.await.unwrap();
        assert!(ended.is_err() && stood_still);
        assert!(began.elapsed() >= STOP + 3 * STEP, "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn what_comes_right_after_a_stop_comes_in_time() {
        let waiting = tokio::spawn(timeout(3 * STEP, sleep(STOP + STEP)));
        stop().await;
        assert!(waiting.await.unwrap().is_ok());
    }

    #[tokio::test]
    async fn who_is_stopped_just_before_the_end_listens_for_a_moment_more() {
        let waiting = tokio::spawn(timeout(STEP, sleep(STOP + STEP * 3 / 4)));
        stop().await;
        assert!(waiting.await.unwrap().is_ok());
        let waiting = tokio::spawn(timeout(STEP, pending::<()>()));
        stop().await;
        let woken = Instant::now();
        assert!(waiting.await.unwrap().is_err());
        assert!(woken.elapsed() >= STEP, "{:?}", woken.elapsed());
    }

    #[tokio::test]
    async fn what_was_given_up_while_the_process_stood_still_is_done_once_more() {
        for (is_missed, wanted) in [(true, 2), (false, 1)] {
            let dialled = Cell::new(0);
            let dial = || async {
                dialled.set(dialled.get() + 1);
                stop().await;
                Err::<(), _>(())
            };
            assert!(once_more(dial, |()| is_missed).await.is_err());
            assert_eq!(dialled.get(), wanted);
        }
    }

    #[tokio::test]
    async fn what_failed_while_the_process_ran_is_not_done_once_more() {
        let dialled = Cell::new(0);
        let dial = || async {
            dialled.set(dialled.get() + 1);
            sleep(2 * STEP).await;
            Err::<(), _>(())
        };
        assert!(once_more(dial, |()| true).await.is_err());
        assert_eq!(dialled.get(), 1);
    }
}
