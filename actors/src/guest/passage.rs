//! One request that has a body: a leaf of the tree, from its first to its last byte.

use std::{
    cell::Cell,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
};

use arc_swap::ArcSwap;
use flow::{Class, Direction, LeafKey, LeafRates, Limiter, ModeSwitch, Moment};

use crate::{
    link_mode::LinkMode,
    meter::LeafMeter,
    peer::InSocket,
    port::{GuestRequest, GuestTerms, Passage, Transport},
    registry::{LeafEntry, NodeSettings},
    shared::Shared,
    worker::{LeafLease, Owner, Worker},
};

use super::attend::Guest;

impl Guest {
    /// Opens the leaf of one request.
    pub(super) fn passage(self: &Rc<Self>, worker: &Rc<Worker>, request: GuestRequest) -> GuestPassage {
        let shared = &worker.shared;
        let group = shared.group_of(&request.path, &self.session.peer.id, request.address.ip());
        self.requests.set(self.requests.get().wrapping_add(1));
        self.in_flight.set(self.in_flight.get() + 1);
        let leaf = Arc::new(LeafEntry {
            key: LeafKey(shared.registry.fresh_key()),
            direction: Direction::Upload,
            peer: self.session.peer.clone(),
            session: self.session.clone(),
            transfer: self.requests.get(),
            path: request.path,
            group: group.key,
            size: AtomicU64::new(request.size),
            meter: LeafMeter::new(worker.now()),
            share_thousandths: AtomicU64::new(1000),
            class: flow::Class::default(),
            settings: ArcSwap::from_pointee(settings(&request.terms)),
            group_settings: group.settings.clone(),
        });
        leaf.meter.start_at(request.start);
        let rates = shared.first_rates(Direction::Upload, leaf.weight(), leaf.class());
        // From its first byte on: the first plan may be a quarter of a second away.
        let rates = LeafRates {
            assigned: rates.assigned.min(request.terms.cap),
            ceiling: rates.ceiling.min(request.terms.cap),
            ..rates
        };
        shared.metrics.direction(Direction::Upload).transfers.increment(1.0);
        let slot = Rc::new(PermitSlot::default());
        let lease = worker.open_leaf(leaf, rates, Owner::Slot(slot.clone()));
        let class = (shared.tree_version.load(Relaxed), lease.leaf.class());
        let switch = request.switch.unwrap_or_else(|| ModeSwitch::new(worker.now()));
        lease.set_mode(switch.mode());
        GuestPassage {
            lease,
            link: LinkMode::new(shared.clone(), Direction::Upload, switch),
            slot,
            requested: false,
            unused: 0,
            outcome: "lost",
            in_socket: InSocket::new(shared.clone()),
            class,
            worker: worker.clone(),
            guest: self.clone(),
        }
    }
}

/// What was signed for a request are the operator's wishes for it; an order may change them.
fn settings(terms: &GuestTerms) -> NodeSettings {
    let mut settings = NodeSettings { weight: terms.weight, class: terms.class, ..NodeSettings::default() };
    settings.cap[Direction::Upload.index()] = terms.cap;
    settings
}

/// A permission on its way from the worker's driver to whoever asked: there is at most one.
#[derive(Default)]
pub(crate) struct PermitSlot {
    permit: Cell<Option<(u32, Moment)>>,
    waker: Cell<Option<Waker>>,
}

impl PermitSlot {
    /// Puts a permission in, and wakes who waits for it.
    pub(crate) fn put(&self, bytes: u32, at: Moment) {
        let before = self.permit.take().map_or(0, |(bytes, _)| bytes);
        self.permit.set(Some((before + bytes, at)));
        if let Some(waker) = self.waker.take() {
            waker.wake_by_ref();
            // It will wait here again: a clone less.
            self.waker.set(Some(waker));
        }
    }
}

/// A request's place in the tree, given back on drop.
pub(super) struct GuestPassage {
    lease: LeafLease,
    link: LinkMode,
    slot: Rc<PermitSlot>,
    requested: bool,
    /// Permitted, and neither sent nor given back: who is gone takes nothing from others.
    unused: u32,
    outcome: &'static str,
    in_socket: InSocket,
    /// As of the tree's version beside it.
    class: (u64, Class),
    worker: Rc<Worker>,
    guest: Rc<Guest>,
}

impl GuestPassage {
    fn shared(&self) -> &Arc<Shared> {
        &self.worker.shared
    }

    /// The class in force. Three settings decide it, each in memory of its own: they are looked up when one of them may have changed.
    fn class(&mut self) -> Class {
        let version = self.shared().tree_version.load(Relaxed);
        if self.class.0 != version {
            self.class = (version, self.lease.leaf.class());
        }
        self.class.1
    }
}

impl Passage for GuestPassage {
    fn poll_permit(&mut self, wanted: u32, cx: &mut Context<'_>) -> Poll<u32> {
        if let Some((bytes, at)) = self.slot.permit.take() {
            self.requested = false;
            self.unused += bytes;
            // Since then it was only a matter of this thread's time.
            self.lease.leaf.meter.hold(Limiter::Worker, at);
            return Poll::Ready(bytes);
        }
        let waker = self.slot.waker.take().filter(|waker| waker.will_wake(cx.waker()));
        self.slot.waker.set(waker.or_else(|| Some(cx.waker().clone())));
        if !self.requested {
            self.requested = true;
            self.lease.request(wanted);
        }
        Poll::Pending
    }

    fn give_back(&mut self, bytes: u32) {
        self.unused = self.unused.saturating_sub(bytes);
        self.lease.give_back(bytes);
    }

    fn hold(&mut self, limiter: Limiter) {
        let before = self.lease.leaf.meter.hold(limiter, self.worker.now());
        if before == Limiter::Source && limiter != Limiter::Source {
            self.shared().early.ring();
        }
    }

    fn sent(&mut self, bytes: u32, offset: u64) {
        let class = self.class();
        let len = u64::from(bytes);
        self.unused = self.unused.saturating_sub(bytes);
        self.lease.leaf.meter.count(len, offset);
        let shared = &self.worker.shared;
        let metrics = shared.metrics.direction(Direction::Upload);
        metrics.payload_bytes(class, Transport::Http).increment(len);
        shared.moved[Direction::Upload.index()].fetch_add(len, Relaxed);
        if let Some(mode) = self.link.moved(bytes, self.worker.now()) {
            self.lease.set_mode(mode);
        }
    }

    fn said(&mut self, bytes: u32) {
        self.unused = self.unused.saturating_sub(bytes);
    }

    fn in_socket(&mut self, unacknowledged_bytes: u64) {
        self.in_socket.set(unacknowledged_bytes);
    }

    fn switch(&self) -> ModeSwitch {
        self.link.switch()
    }

    fn end(&mut self, outcome: &'static str) {
        self.outcome = outcome;
    }
}

impl Drop for GuestPassage {
    fn drop(&mut self) {
        let unused = self.unused + self.slot.permit.take().map_or(0, |(bytes, _)| bytes);
        if unused > 0 {
            self.lease.give_back(unused);
        }
        let metrics = self.shared().metrics.direction(Direction::Upload);
        metrics.transfers.decrement(1.0);
        metrics.ended(self.outcome).increment(1);
        let left = self.guest.in_flight.get() - 1;
        self.guest.in_flight.set(left);
        if left == 0 {
            self.guest.quiet.notify_one();
        }
    }
}
