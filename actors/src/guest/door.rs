//! The door for guests: how many connections, from where, and on which worker they live.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use dashmap::DashMap;
use flow::Direction;

use crate::{
    node::Node,
    port::{Company, Files, GuestFront, GuestPlace, GuestRefusal, GuestRequest, Passage},
    worker::Worker,
};

use super::id::shared_address;

/// How many guests there may be.
#[derive(Copy, Clone, Debug)]
pub struct GuestLimits {
    /// Connections in all.
    pub connections_max: usize,
    /// Connections from one address.
    pub per_address_max: usize,
}

/// One address is remembered after its last answer for every so many connections that there may be: it takes 6 KB, and
/// whoever has many addresses could use each for a moment.
const LINGERING_PART: usize = 4;

/// A node as fronts without identities see it.
pub struct Door {
    node: Arc<Node>,
    limits: GuestLimits,
    crowd: Arc<Crowd>,
}

impl Door {
    /// A door of `node`.
    pub fn new(node: Arc<Node>, limits: GuestLimits) -> Arc<Self> {
        let lingering_max = limits.connections_max.div_ceil(LINGERING_PART);
        let crowd = node.crowd.get_or_init(|| Arc::new(Crowd { lingering_max, ..Crowd::default() })).clone();
        Arc::new(Self { node, limits, crowd })
    }

    fn refuse(&self, refusal: GuestRefusal) -> GuestRefusal {
        self.node.shared.metrics.refusal(refusal.as_str()).increment(1);
        refusal
    }
}

/// Who has connections.
#[derive(Default)]
pub(crate) struct Crowd {
    all: AtomicUsize,
    /// Addresses so far: they take turns over the workers.
    turn: AtomicUsize,
    by_address: DashMap<IpAddr, Party>,
    /// Addresses that nothing is sent to, remembered for a moment.
    lingering: AtomicUsize,
    lingering_max: usize,
}

/// The connections of one address.
struct Party {
    connections: usize,
    /// It is a peer on that worker, also between two connections: on another one it would be a second one, with a second share.
    is_guest: bool,
    worker: usize,
    company: Arc<Company>,
}

impl Crowd {
    /// All connections that the address has now are over; those that come later are not. Whether it has any.
    pub(crate) fn eject(&self, address: IpAddr) -> bool {
        let party = self.by_address.get_mut(&shared_address(address));
        party.is_some_and(|mut party| {
            std::mem::take(&mut party.company).end();
            party.connections > 0
        })
    }

    /// The address has become a guest on its worker.
    pub(super) fn welcome(&self, address: IpAddr) {
        if let Some(mut party) = self.by_address.get_mut(&shared_address(address)) {
            party.is_guest = true;
        }
    }

    /// It is none any more.
    pub(super) fn forget(&self, address: IpAddr) {
        self.change(&shared_address(address), |party| party.is_guest = false);
    }

    fn change(&self, address: &IpAddr, change: impl FnOnce(&mut Party)) {
        if let Some(mut party) = self.by_address.get_mut(address) {
            change(&mut party);
        }
        self.by_address.remove_if(address, |_, party| party.connections == 0 && !party.is_guest);
    }

    /// A place for one more address to be remembered, given back on drop; `None` when there are enough.
    pub(super) fn linger(&self) -> Option<Lingering<'_>> {
        let lingering = Lingering(self);
        (self.lingering.fetch_add(1, Relaxed) < self.lingering_max).then_some(lingering)
    }
}

/// One remembered address.
pub(super) struct Lingering<'a>(&'a Crowd);

impl Drop for Lingering<'_> {
    fn drop(&mut self) {
        self.0.lingering.fetch_sub(1, Relaxed);
    }
}

impl GuestFront for Door {
    fn admit(&self, address: SocketAddr) -> Result<GuestPlace, GuestRefusal> {
        let shared = &self.node.shared;
        if shared.draining.load(Relaxed) {
            return Err(self.refuse(GuestRefusal::Draining));
        }
        if self.crowd.all.load(Relaxed) >= self.limits.connections_max {
            return Err(self.refuse(GuestRefusal::Connections));
        }
        let address = shared_address(address.ip());
        let mut party = self.crowd.by_address.entry(address).or_insert_with(|| Party {
            connections: 0,
            is_guest: false,
            worker: self.crowd.turn.fetch_add(1, Relaxed) % self.node.worker_count(),
            company: Arc::default(),
        });
        if party.connections >= self.limits.per_address_max {
            drop(party);
            return Err(self.refuse(GuestRefusal::PerAddress));
        }
        party.connections += 1;
        let (worker, company) = (party.worker, party.company.clone());
        drop(party);
        let open = self.crowd.all.fetch_add(1, Relaxed) + 1;
        let gauge = shared.metrics.http_connections.clone();
        gauge.set(open as f64);
        let lease = Admission { crowd: self.crowd.clone(), address, gauge };
        Ok(GuestPlace { worker, company, lease: Box::new(lease) })
    }

    fn run_on(&self, index: usize, job: Box<dyn FnOnce() + Send>) {
        self.node.run(index, job);
    }

    fn is_draining(&self) -> bool {
        self.node.shared.draining.load(Relaxed)
    }

    fn files(&self) -> &dyn Files {
        &*self.node.shared.files
    }

    fn begin(&self, request: GuestRequest) -> Result<Box<dyn Passage>, GuestRefusal> {
        if self.is_draining() {
            return Err(self.refuse(GuestRefusal::Draining));
        }
        let Some(worker) = Worker::current() else {
            tracing::error!("a guest's request came on a thread that is no worker");
            return Err(self.refuse(GuestRefusal::Connections));
        };
        let guest = worker.guests.guest(&worker, &request, &self.crowd);
        Ok(Box::new(guest.passage(&worker, request)))
    }

    fn answered(&self, status: &str, overhead_bytes: u64) {
        let metrics = &self.node.shared.metrics;
        metrics.http_request(status).increment(1);
        metrics.direction(Direction::Upload).overhead_bytes.increment(overhead_bytes);
    }

    fn waited(&self, operation: &str, time: Duration) {
        self.node.shared.metrics.disk_wait(operation).record(time.as_secs_f64());
    }

    fn hidden(&self, names: u64) {
        self.node.shared.metrics.names_hidden.increment(names);
    }

    fn refused(&self, reason: &'static str) {
        self.node.shared.metrics.refusal(reason).increment(1);
    }
}

/// One connection's place, given back on drop.
struct Admission {
    crowd: Arc<Crowd>,
    address: IpAddr,
    gauge: metrics::Gauge,
}

impl Drop for Admission {
    fn drop(&mut self) {
        let open = self.crowd.all.fetch_sub(1, Relaxed) - 1;
        self.gauge.set(open as f64);
        self.crowd.change(&self.address, |party| party.connections -= 1);
    }
}
