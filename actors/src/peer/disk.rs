//! Waiting for a disk: off the actor's turn, measured, and answered over the data lane.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::{
    peer::{DataMessage, link::Tether},
    shared::Shared,
};

/// Awaits `work`, which a disk thread does, and sends what becomes of it.
pub(super) fn wait<T: 'static>(
    shared: &Arc<Shared>,
    lane: &mpsc::Sender<DataMessage>,
    operation: &'static str,
    work: impl Future<Output = T> + 'static,
    message: impl FnOnce(T) -> DataMessage + 'static,
) {
    actix_rt::spawn(answer(shared, lane, operation, work, message));
}

/// As [`wait`], until the tether is dropped: what is left of `work` then is not begun.
pub(super) fn tethered<T: 'static>(
    shared: &Arc<Shared>,
    lane: &mpsc::Sender<DataMessage>,
    operation: &'static str,
    work: impl Future<Output = T> + 'static,
    message: impl FnOnce(T) -> DataMessage + 'static,
) -> Tether {
    Tether::spawn(answer(shared, lane, operation, work, message))
}

fn answer<T: 'static>(
    shared: &Arc<Shared>,
    lane: &mpsc::Sender<DataMessage>,
    operation: &'static str,
    work: impl Future<Output = T> + 'static,
    message: impl FnOnce(T) -> DataMessage + 'static,
) -> impl Future<Output = ()> + 'static {
    let (shared, lane) = (shared.clone(), lane.clone());
    async move {
        let began = shared.clock.now();
        let result = work.await;
        let waited = shared.clock.now().saturating_since(began);
        shared.metrics.disk_wait(operation).record(waited.as_secs_f64());
        // An actor that has ended needs no answer.
        let _ = lane.send(message(result)).await;
    }
}
