//! That control is under way on a thread, so that data on the same thread waits for it (seed 000).
//!
//! A control message passes through several tasks, and each of them would wait for all that were ready before it. So whoever
//! works for control rings a [`Bell`] when it is woken, from whichever thread, and data does nothing on its own thread as long as
//! one rings ([`super::runtime`]).

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll, Wake, Waker},
};

use actors::port::{ControlReceiver, LinkError};
use wire::Message;

thread_local! {
    static HERE: Arc<Urgency> = Arc::default();
}

/// How many tasks of one thread have something to do for control.
#[derive(Debug, Default)]
pub(super) struct Urgency {
    ringing: AtomicUsize,
}

impl Urgency {
    /// Of the current thread.
    pub(super) fn here() -> Arc<Self> {
        HERE.with(Arc::clone)
    }

    /// Whether data is to wait.
    pub(super) fn is_any(&self) -> bool {
        self.ringing.load(SeqCst) > 0
    }
}

/// The waker of a task that works for control: rings from its waking until the task runs.
pub(super) struct Bell {
    urgency: Arc<Urgency>,
    rings: AtomicBool,
    task: Mutex<Option<Waker>>,
}

/// A task's end of its bell.
pub(super) struct Answerer {
    bell: Arc<Bell>,
    waker: Waker,
}

impl Answerer {
    /// Of a task of the current thread.
    pub(super) fn here() -> Self {
        let bell = Arc::new(Bell { urgency: Urgency::here(), rings: AtomicBool::new(false), task: Mutex::new(None) });
        Self { waker: Waker::from(Arc::clone(&bell)), bell }
    }

    /// The task runs: the bell is silent, and rings when what is polled with the context wakes it.
    pub(super) fn answer(&self, cx: &Context<'_>) -> Context<'_> {
        let mut task = self.bell.task.lock().unwrap_or_else(PoisonError::into_inner);
        if !task.as_ref().is_some_and(|task| task.will_wake(cx.waker())) {
            *task = Some(cx.waker().clone());
        }
        drop(task);
        self.bell.fall_silent();
        Context::from_waker(&self.waker)
    }
}

impl Drop for Answerer {
    fn drop(&mut self) {
        // Nobody would answer it: from now on it wakes nobody and does not ring.
        let task = self.bell.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.bell.fall_silent();
        drop(task);
    }
}

impl Bell {
    fn fall_silent(&self) {
        if self.rings.swap(false, SeqCst) {
            self.urgency.ringing.fetch_sub(1, SeqCst);
        }
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let task = {
            let task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(task) = task.as_ref() else { return };
            // While it is locked: a task that ends meanwhile silences it after.
            if !self.rings.swap(true, SeqCst) {
                self.urgency.ringing.fetch_add(1, SeqCst);
            }
            task.clone()
        };
        task.wake();
    }
}

/// A control link's receiver for which data waits. It can ring only while its reader waits here: a read that gave something
/// leaves no waker behind, so a reader that rests (a full lane, a peer that talks too fast) keeps nobody waiting.
pub(super) struct UrgentReceiver<R> {
    inner: R,
    answerer: Answerer,
}

impl<R> UrgentReceiver<R> {
    /// To be read on the current thread.
    pub(super) fn here(inner: R) -> Self {
        Self { inner, answerer: Answerer::here() }
    }
}

impl<R: ControlReceiver> ControlReceiver for UrgentReceiver<R> {
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Message>, LinkError>> {
        let Self { inner, answerer } = self;
        inner.poll_receive(&mut answerer.answer(cx))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nobody;

    impl Wake for Nobody {
        fn wake(self: Arc<Self>) {}
    }

    #[test]
    fn a_bell_rings_from_its_waking_until_its_task_runs() {
        let (urgency, task) = (Urgency::here(), Waker::from(Arc::new(Nobody)));
        let answerer = Answerer::here();
        let cx = Context::from_waker(&task);
        let waker = answerer.answer(&cx).waker().clone();
        assert!(!urgency.is_any());
        let other = waker.clone();
        std::thread::spawn(move || other.wake()).join().unwrap();
        waker.wake_by_ref();
        assert!(urgency.is_any(), "from another thread, for this one");
        let _ = answerer.answer(&cx);
        assert!(!urgency.is_any(), "two wakings are one run");
        waker.wake_by_ref();
        drop(answerer);
        assert!(!urgency.is_any(), "a task that ended keeps nobody waiting");
        waker.wake_by_ref();
        assert!(!urgency.is_any());
    }
}
