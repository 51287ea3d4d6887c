//! The runtime that quinn's tasks get: tokio's, in which control goes before data.

use std::{
    io,
    net::UdpSocket,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use quinn::{AsyncTimer, AsyncUdpSocket, Runtime, TokioRuntime};

use super::urgency::{Answerer, Urgency};

/// The turns of all others before a new connection's task sends anything: enough for an actor to answer a hello that came with
/// the first datagram, so that the welcome goes with the handshake and not behind it.
const TURNS: usize = 8;
/// How often in a row a task of data steps back for control: some ten microseconds, in which a control message passes through all
/// of its tasks. A flood of control slows data down, and does not end it.
const STEPS_BACK_MAX: u32 = 64;

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Of which lane the tasks of an endpoint are: those of its connections, and the one that reads its socket.
#[derive(Copy, Clone, Debug)]
pub(super) enum LaneRuntime {
    /// They ring when they are woken.
    Control,
    /// They wait while one on their thread rings.
    Data,
}

impl Runtime for LaneRuntime {
    fn new_timer(&self, at: Instant) -> Pin<Box<dyn AsyncTimer>> {
        TokioRuntime.new_timer(at)
    }

    fn spawn(&self, task: Task) {
        let task: Task = match self {
            Self::Control => Box::pin(Urgent { task, answerer: Answerer::here() }),
            Self::Data => Box::pin(Polite { task, urgency: Urgency::here(), steps_back: 0 }),
        };
        tokio::spawn(async move {
            for _ in 0..TURNS {
                tokio::task::yield_now().await;
            }
            task.await;
        });
    }

    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        TokioRuntime.wrap_udp_socket(socket)
    }

    fn now(&self) -> Instant {
        TokioRuntime.now()
    }
}

/// A task for which data waits from its waking until it runs.
struct Urgent {
    task: Task,
    answerer: Answerer,
}

impl Future for Urgent {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { task, answerer } = &mut *self;
        task.as_mut().poll(&mut answerer.answer(cx))
    }
}

/// A task that waits for control.
struct Polite {
    task: Task,
    urgency: Arc<Urgency>,
    /// In a row.
    steps_back: u32,
}

impl Future for Polite {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.steps_back < STEPS_BACK_MAX && self.urgency.is_any() {
            self.steps_back += 1;
            // Behind all that are ready, those of control among them.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.steps_back = 0;
        self.task.as_mut().poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, sync::Mutex};

    use super::*;

    /// Ready whenever it is polled; says so, and is done after three times.
    fn busy(name: &'static str, said: &Arc<Mutex<Vec<&'static str>>>) -> Task {
        let (said, mut times) = (Arc::clone(said), 0);
        Box::pin(poll_fn(move |cx| {
            said.lock().unwrap().push(name);
            times += 1;
            cx.waker().wake_by_ref();
            if times < 3 { Poll::Pending } else { Poll::Ready(()) }
        }))
    }

    #[tokio::test]
    async fn data_waits_while_control_has_something_to_do() {
        let said = Arc::default();
        for _ in 0..2 {
            LaneRuntime::Data.spawn(busy("data", &said));
        }
        LaneRuntime::Control.spawn(busy("control", &said));
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        let said = said.lock().unwrap();
        assert_eq!(said.len(), 9);
        let last = said.iter().rposition(|name| *name == "control").unwrap();
        let before = said[..last].iter().filter(|name| **name == "data").count();
        // Both had their first turn before control was there to ring.
        assert!(before <= 2, "{said:?}");
    }

    #[tokio::test]
    async fn control_that_never_rests_does_not_end_data() {
        let said = Arc::default();
        LaneRuntime::Control.spawn(Box::pin(poll_fn(|cx| {
            cx.waker().wake_by_ref();
            Poll::Pending
        })));
        LaneRuntime::Data.spawn(busy("data", &said));
        for _ in 0..4 * STEPS_BACK_MAX {
            tokio::task::yield_now().await;
        }
        assert_eq!(said.lock().unwrap().len(), 3);
    }
}
