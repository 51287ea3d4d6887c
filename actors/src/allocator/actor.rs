//! The actor: its ticks, its early rounds, and the orders it takes.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use actix::{Actor, ActorFutureExt, AsyncContext, Context, Handler, WrapFuture};
use flow::{Direction, Moment, Rate, RateWindow, TotalController, TotalKnobs, allocation::Plan};

use crate::{
    log_gate::{LOG_INTERVAL, LogGate},
    port::OperateError,
    shared::Shared,
};

use super::{Order, rests::Rests, round::Cause, survey::Survey, witnesses::Sums};

/// Between two samples of the meters (DESIGN 7).
const SAMPLE: Duration = Duration::from_millis(250);

/// One that comes back with every round is logged once per interval.
static PANICS: LogGate = LogGate::new(LOG_INTERVAL);

/// The central allocator.
pub struct Allocator {
    pub(super) shared: Arc<Shared>,
    pub(super) totals: [TotalController; 2],
    pub(super) survey: Survey,
    /// What each leaf was last told, by direction.
    pub(super) told: [Plan; 2],
    /// Configured totals, by direction.
    pub(super) limits: [Rate; 2],
    pub(super) round_began: Moment,
    /// Rates of the totals.
    pub(super) achieved: [RateWindow; 2],
    /// Payload bytes at the last sample.
    pub(super) sampled_bytes: [u64; 2],
    /// Payload bytes at the last tick.
    pub(super) round_bytes: [u64; 2],
    pub(super) round_in_sockets: [u64; 2],
    /// What was sent to peers at the last tick.
    pub(super) sums: Sums,
    pub(super) rests: Rests,
    last_round: Moment,
}

impl Allocator {
    /// An allocator for the node whose parts are `shared`.
    pub fn new(shared: Arc<Shared>) -> Self {
        let limits = shared.config.limits;
        Self::with_limits(shared, limits)
    }

    /// The same, on a thread of its own.
    pub fn apart(shared: Arc<Shared>) -> Self {
        let mut allocator = Self::new(shared);
        allocator.rests.is_apart = true;
        allocator
    }

    /// One that remembers nothing but the limits in force.
    fn with_limits(shared: Arc<Shared>, limits: [Rate; 2]) -> Self {
        let knobs = TotalKnobs {
            threshold: shared.config.knobs.threshold,
            damping: shared.config.knobs.damping,
            ..TotalKnobs::default()
        };
        let moved: [u64; 2] = std::array::from_fn(|index| shared.moved[index].load(Relaxed));
        Self {
            totals: limits.map(|limit| TotalController::new(limit, knobs)),
            survey: Survey::default(),
            told: Default::default(),
            limits,
            round_began: shared.clock.now(),
            // Nothing had been moved when the node started.
            achieved: [RateWindow::new(Moment::ZERO), RateWindow::new(Moment::ZERO)],
            sampled_bytes: moved,
            round_bytes: moved,
            round_in_sockets: [shared.in_sockets.load(Relaxed), 0],
            sums: Sums::default(),
            rests: Rests::none(),
            last_round: shared.clock.now(),
            shared,
        }
    }

    /// Does a part of the work. A panic, which is a bug of ours, costs what the allocator remembers and nothing else: limits
    /// stay, sessions keep the rates that they have, and an early round plans anew from the registry and tells everybody.
    pub(super) fn watched<T>(&mut self, work: impl FnOnce(&mut Self) -> T) -> Option<T> {
        let done = catch_unwind(AssertUnwindSafe(|| work(self)));
        if done.is_err() {
            self.shared.metrics.actor_panics.increment(1);
            if let Some(suppressed) = PANICS.open(self.shared.clock.now().as_nanos()) {
                tracing::error!(suppressed, "the allocator panicked; it begins anew from those who are here");
            }
            let is_apart = self.rests.is_apart;
            *self = Self::with_limits(self.shared.clone(), self.limits);
            self.rests.is_apart = is_apart;
            self.shared.early.ring();
        }
        done.ok()
    }

    /// The configured limit of `direction`.
    pub(super) fn limit(&self, direction: Direction) -> Rate {
        self.limits[direction.index()]
    }

    /// Brings a direction's total into force on all workers.
    pub(super) fn put_total(&self, direction: Direction, now: Moment) {
        let allowed = self.totals[direction.index()].allowed();
        let bucket = &self.shared.totals[direction.index()];
        if bucket.rate() != allowed {
            bucket.set_rate(allowed, now);
            if direction == Direction::Download {
                self.shared.arrivals.set_rate(allowed, now);
            }
            self.shared.ring_workers();
        }
    }

    fn tick(&mut self, ctx: &mut Context<Self>) {
        let now = self.shared.clock.now();
        self.sample(now);
        // While a total is tried, the round is as short as the try.
        let part = self.totals.iter().map(TotalController::span).fold(1.0, f64::min);
        if now.saturating_since(self.last_round) + SAMPLE / 2 >= self.shared.config.interval.mul_f64(part) {
            self.last_round = now;
            self.round(Cause::Tick);
        }
        ctx.run_later(SAMPLE, Self::tick);
    }

    /// Waits for the bell, then for what is left of the pause between early rounds: a burst of joins is one round.
    fn listen(&mut self, ctx: &mut Context<Self>) {
        let shared = self.shared.clone();
        let heard = async move { shared.early.heard().await };
        ctx.spawn(heard.into_actor(self).map(|(), allocator, ctx| {
            allocator.watched(|allocator| allocator.round(Cause::Early));
            let pause = allocator.shared.config.early;
            ctx.run_later(pause, Self::listen);
        }));
    }
}

impl Actor for Allocator {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let now = self.shared.clock.now();
        for direction in Direction::ALL {
            self.put_total(direction, now);
        }
        self.watched(|allocator| allocator.round(Cause::Tick));
        self.listen(ctx);
        ctx.run_later(SAMPLE, Self::tick);
    }
}

impl Handler<Order> for Allocator {
    type Result = Result<(), OperateError>;

    fn handle(&mut self, order: Order, _: &mut Self::Context) -> Self::Result {
        let words = "the allocator failed over this order, and its log says how; ask what is in force";
        self.watched(|allocator| allocator.carry_out(&order))
            .unwrap_or_else(|| Err(OperateError::Conflict(words.into())))
    }
}
