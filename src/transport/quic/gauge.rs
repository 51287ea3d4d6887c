//! What congestion control knows of a path, where a link's sender can read it: how much the path takes, how much is on its way,
//! and whether the path or something else held the sender back. quinn shows none of the last two by itself.

use std::{
    any::Any,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use quinn::{
    Connection,
    congestion::{Controller, ControllerFactory, CubicConfig},
};
use quinn_proto::RttEstimator;

/// A path's figures, shared with its controller.
#[derive(Debug, Default)]
pub(super) struct Gauge {
    window: AtomicU64,
    in_flight: AtomicU64,
    /// All that was ever sent.
    sent: AtomicU64,
    app_limited: AtomicBool,
    mtu: AtomicU64,
}

impl Gauge {
    /// Of a connection's present path.
    pub(super) fn of(connection: &Connection) -> Arc<Self> {
        let controller = connection.congestion_state().into_any();
        controller.downcast::<Gauged>().map(|gauged| gauged.gauge).unwrap_or_default()
    }

    /// Bytes that the path takes at once.
    pub(super) fn window(&self) -> u64 {
        self.window.load(Relaxed)
    }

    /// Bytes that are sent and not acknowledged.
    pub(super) fn in_flight(&self) -> u64 {
        self.in_flight.load(Relaxed)
    }

    /// Bytes that were sent, what was sent again and headers with them.
    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Relaxed)
    }

    /// Whether the path would take more: what waits then waits for the receiver's window.
    pub(super) fn has_room(&self) -> bool {
        let room = self.window().saturating_sub(self.in_flight());
        self.app_limited.load(Relaxed) && room > 2 * self.mtu.load(Relaxed)
    }
}

/// Whether `connection` has a gauge, and cubic behind it.
#[cfg(test)]
pub(super) fn is_cubic(connection: &Connection) -> bool {
    let controller = connection.congestion_state().into_any().downcast::<Gauged>();
    controller.is_ok_and(|gauged| gauged.controller.into_any().is::<quinn::congestion::Cubic>())
}

/// Makes cubic controllers with a gauge each.
#[derive(Debug, Default)]
pub(super) struct GaugeFactory {
    cubic: Arc<CubicConfig>,
}

impl ControllerFactory for GaugeFactory {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        let controller = Arc::clone(&self.cubic).build(now, current_mtu);
        let gauge = Arc::new(Gauge::default());
        gauge.window.store(controller.window(), Relaxed);
        gauge.mtu.store(current_mtu.into(), Relaxed);
        Box::new(Gauged { controller, gauge })
    }
}

/// A controller that tells its gauge what it hears.
struct Gauged {
    controller: Box<dyn Controller>,
    gauge: Arc<Gauge>,
}

impl Gauged {
    fn sent(&self, bytes: u64) {
        self.gauge.in_flight.fetch_add(bytes, Relaxed);
        self.gauge.sent.fetch_add(bytes, Relaxed);
    }

    fn gone(&self, bytes: u64) {
        let left = self.gauge.in_flight.load(Relaxed).saturating_sub(bytes);
        self.gauge.in_flight.store(left, Relaxed);
        self.gauge.window.store(self.controller.window(), Relaxed);
    }
}

impl Controller for Gauged {
    fn on_sent(&mut self, now: Instant, bytes: u64, last_packet_number: u64) {
        self.sent(bytes);
        self.controller.on_sent(now, bytes, last_packet_number);
    }

    fn on_ack(&mut self, now: Instant, sent: Instant, bytes: u64, app_limited: bool, rtt: &RttEstimator) {
        self.controller.on_ack(now, sent, bytes, app_limited, rtt);
        self.gone(bytes);
    }

    fn on_end_acks(&mut self, now: Instant, in_flight: u64, app_limited: bool, largest: Option<u64>) {
        self.controller.on_end_acks(now, in_flight, app_limited, largest);
        self.gauge.in_flight.store(in_flight, Relaxed);
        self.gauge.app_limited.store(app_limited, Relaxed);
        self.gauge.window.store(self.controller.window(), Relaxed);
    }

    fn on_congestion_event(&mut self, now: Instant, sent: Instant, is_persistent_congestion: bool, lost_bytes: u64) {
        self.controller.on_congestion_event(now, sent, is_persistent_congestion, lost_bytes);
        self.gone(lost_bytes);
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.controller.on_mtu_update(new_mtu);
        self.gauge.mtu.store(new_mtu.into(), Relaxed);
    }

    fn window(&self) -> u64 {
        self.controller.window()
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(Self { controller: self.controller.clone_box(), gauge: Arc::clone(&self.gauge) })
    }

    fn initial_window(&self) -> u64 {
        self.controller.initial_window()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}
