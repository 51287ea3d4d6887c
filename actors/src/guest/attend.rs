//! The actor of one address: in the registry and the tree while anything is sent to it, and a moment longer.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use flow::Direction;
use tokio::sync::{Notify, mpsc};
use wire::PeerId;

use crate::{
    peer::{ControlMessage, Membership},
    port::{GuestRequest, Remote, Transport},
    registry::SessionEntry,
    worker::Worker,
};

use super::{door::Crowd, id::guest_id};

/// How long an address stays a peer after its last answer: the next request of a page or a walk comes sooner, and the operator
/// still sees who was here.
const LINGER: Duration = Duration::from_secs(5);
/// Messages that wait for one guest: rates of a round, a grant and an order. What does not fit is told in the next round.
const CONTROL_LANE: usize = 16;

/// The guests of one worker, by id.
#[derive(Default)]
pub(crate) struct Guests(RefCell<HashMap<PeerId, Rc<Guest>>>);

impl Guests {
    /// The guest that `request` comes from, made if need be.
    pub(super) fn guest(&self, worker: &Rc<Worker>, request: &GuestRequest, crowd: &Arc<Crowd>) -> Rc<Guest> {
        let id = guest_id(request.address.ip());
        let known = self.0.borrow().get(&id).cloned();
        known.unwrap_or_else(|| {
            let (guest, task) = Guest::join(worker, id, request, crowd);
            self.0.borrow_mut().insert(id, guest.clone());
            actix_rt::spawn(task);
            guest
        })
    }
}

/// What requests of one address share.
pub(super) struct Guest {
    pub(super) session: Arc<SessionEntry>,
    /// Requests so far: numbers of transfers.
    pub(super) requests: Cell<u32>,
    pub(super) in_flight: Cell<usize>,
    /// Rung when the last request in flight has ended.
    pub(super) quiet: Notify,
    draining: Cell<bool>,
}

impl Guest {
    fn join(
        worker: &Rc<Worker>,
        peer: PeerId,
        request: &GuestRequest,
        crowd: &Arc<Crowd>,
    ) -> (Rc<Self>, impl Future<Output = ()> + use<>) {
        let (control, messages) = mpsc::channel(CONTROL_LANE);
        let remote = Remote { peer, address: request.address, transport: Transport::Http };
        let membership = Membership::join(worker, &remote, request.agent.clone(), [0, 0], control);
        worker.shared.registry.guests.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let guest = Rc::new(Self {
            session: membership.session.clone(),
            requests: Cell::new(0),
            in_flight: Cell::new(0),
            quiet: Notify::new(),
            draining: Cell::new(false),
        });
        crowd.welcome(request.address.ip());
        let seat = Seat { peer, worker: worker.clone(), membership, crowd: crowd.clone() };
        (guest.clone(), guest.attend(seat, messages, crowd.clone()))
    }

    /// The actor: takes what the allocator and the operator say, until nothing was sent for a while.
    async fn attend(self: Rc<Self>, mut seat: Seat, mut messages: mpsc::Receiver<ControlMessage>, crowd: Arc<Crowd>) {
        let gone = self.left_alone(&crowd);
        tokio::pin!(gone);
        loop {
            let message = tokio::select! {
                biased;
                message = messages.recv() => message,
                () = &mut gone => None,
            };
            match message {
                Some(ControlMessage::Rates(rates)) => {
                    rates.iter().for_each(|rate| seat.worker.set_rates(Direction::Upload, rate.key, rate.rates));
                }
                // There is nobody to tell.
                Some(ControlMessage::Granted { .. }) => {}
                Some(ControlMessage::Disconnect) => {
                    seat.membership.reason = "disconnected";
                    crowd.eject(self.address().ip());
                }
                Some(ControlMessage::Overdue) => {
                    seat.membership.reason = "drained";
                    crowd.eject(self.address().ip());
                }
                Some(ControlMessage::Drain) => {
                    seat.membership.reason = "drained";
                    self.draining.set(true);
                    self.quiet.notify_one();
                }
                // A guest has no control link and no user.
                Some(
                    ControlMessage::Frame { .. }
                    | ControlMessage::LinkEnded(_)
                    | ControlMessage::WriterEnded(_)
                    | ControlMessage::Command(_),
                ) => {}
                None => break,
            }
        }
        if seat.membership.reason == "lost" {
            seat.membership.reason = "clean";
        }
    }

    /// Completes when nothing was in flight for [`LINGER`]; when nothing is, while draining and where enough others linger.
    async fn left_alone(&self, crowd: &Crowd) {
        let mut seen = self.requests.get();
        loop {
            match (self.in_flight.get(), self.draining.get()) {
                (0, true) => return,
                (0, false) => {
                    let Some(_place) = crowd.linger() else { return };
                    let rung = tokio::time::timeout(LINGER, self.quiet.notified()).await.is_ok();
                    if !rung && self.in_flight.get() == 0 && self.requests.get() == seen {
                        return;
                    }
                }
                (_, _) => self.quiet.notified().await,
            }
            seen = self.requests.get();
        }
    }

    fn address(&self) -> SocketAddr {
        self.session.address
    }
}

/// A guest's place in its worker's table, in the registry and in the tree, given back on drop.
struct Seat {
    peer: PeerId,
    worker: Rc<Worker>,
    membership: Membership,
    crowd: Arc<Crowd>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.worker.guests.0.borrow_mut().remove(&self.peer);
        self.crowd.forget(self.membership.session.address.ip());
        self.worker.shared.registry.guests.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
    }
}
