//! What all actors of one node share: registry, buckets, groups, the published plan, metrics and the ports.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use flow::{
    Class, Direction, GroupKey, Moment, Rate,
    allocation::{Knobs, Plan},
    shaper::{LeafRates, ShaperConfig, SharedBucket},
};
use tokio::sync::Notify;
use wire::PeerId;

use crate::{
    clock::Clock,
    home::Home,
    metric::NodeMetrics,
    port::{Files, Policy},
    precedence::Precedence,
    registry::{NodeSettings, Registry},
    spread::Spread,
    trail::Trail,
};

/// Limits and intervals of a node; the program's configuration, resolved.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// This node's own id.
    pub id: PeerId,
    /// What it says it runs, in hellos.
    pub agent: String,
    /// Worker threads.
    pub workers: usize,
    /// Sessions at once.
    pub sessions_max: usize,
    /// Connections at once from one address.
    pub per_address_max: usize,
    /// Data links of one session.
    pub data_links_max: usize,
    /// Transfers of one session at once.
    pub transfers_max: usize,
    /// Control frames that a peer may send per second; beyond, its control link is read that slowly.
    pub control_frames_per_second: u32,
    /// Most bytes that a sender may be ahead of a receiver, per transfer.
    pub window_bytes_max: u64,
    /// Whether data links are plaintext.
    pub plaintext_data: bool,
    /// Session timers.
    pub session_limits: wire::Limits,
    /// Between two rounds.
    pub interval: Duration,
    /// Between two early rounds, at least.
    pub early: Duration,
    /// How long `drain` waits.
    pub drain: Duration,
    /// Allocation's knobs.
    pub knobs: Knobs,
    /// The shapers'.
    pub shaper: ShaperConfig,
    /// Configured totals, by direction.
    pub limits: [Rate; 2],
    /// Names of shares, for the status.
    pub shares: Vec<String>,
}

/// Which transfers a group takes: asked with the share, the peer and its address. `None` where no address is given and it
/// depends on that.
pub type GroupRule = Box<dyn Fn(&str, &PeerId, Option<IpAddr>) -> Option<bool> + Send + Sync>;

/// A group: peers that share a limit.
pub struct GroupEntry {
    /// Its key; 0 is the default group.
    pub key: GroupKey,
    /// Its name.
    pub name: String,
    /// Who belongs to it.
    pub rule: GroupRule,
    /// Weight, caps, floors, class.
    pub settings: Arc<ArcSwap<NodeSettings>>,
    /// What holds it on all workers, by direction.
    pub buckets: [Arc<SharedBucket>; 2],
    /// What its transfers have moved.
    pub trail: Trail,
}

impl GroupEntry {
    /// A group with its buckets.
    pub fn new(key: GroupKey, name: String, rule: GroupRule, settings: NodeSettings) -> Self {
        let buckets = settings.cap.map(|cap| Arc::new(SharedBucket::new(cap)));
        let trail = Trail::new(Moment::ZERO);
        Self { key, name, rule, settings: Arc::new(ArcSwap::from_pointee(settings)), buckets, trail }
    }
}

/// A wish for an early round: many rings before it is heard are one.
#[derive(Default)]
pub struct EarlyBell {
    rung: AtomicBool,
    notify: Notify,
    /// Called with each ring, as if the round began at that very moment.
    #[cfg(test)]
    pub(crate) at_ring: std::sync::OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl EarlyBell {
    /// Asks for a round soon.
    pub fn ring(&self) {
        #[cfg(test)]
        self.at_ring.get().inspect(|at_ring| at_ring());
        if !self.rung.swap(true, Ordering::AcqRel) {
            self.notify.notify_one();
        }
    }

    /// Waits for a ring, and takes all that came.
    pub async fn heard(&self) {
        self.notify.notified().await;
        // Sees what was done before the bell was rung.
        self.rung.swap(false, Ordering::AcqRel);
    }
}

/// What the allocator last decided, and what it saw; read by the console.
#[derive(Default)]
pub struct PlanBook {
    /// The plan by direction.
    pub plans: [Option<Plan>; 2],
    /// What each leaf did, by direction, in the order of the plan's leaves.
    pub conducts: [Vec<Conduct>; 2],
    /// The totals: allowed, and capacity if known, by direction.
    pub totals: [TotalView; 2],
    /// Jain's index by direction, over the achieved rates by weight of the peers that the total holds.
    pub jain: [Option<f64>; 2],
}

/// What one leaf did in the last round.
#[derive(Copy, Clone, Debug, Default)]
pub struct Conduct {
    /// Bytes per second, over the window of [`flow::RateWindow`].
    pub achieved: f64,
    /// Bytes since the last tick.
    pub moved: u64,
    /// What held it, as fractions of the time.
    pub limited: flow::LimiterShares,
    /// Whether all of `achieved` is of a time in which its demand was not raised.
    pub is_settled: bool,
    /// Whether it wants to move bytes now.
    pub backlogged: bool,
}

/// A total as last decided.
#[derive(Copy, Clone, Debug, Default)]
pub struct TotalView {
    /// Configured.
    pub limit: Option<Rate>,
    /// In force.
    pub allowed: Option<Rate>,
    /// Learnt.
    pub capacity: Option<Rate>,
    /// What all transfers were assigned together; `None` before the first round.
    pub assigned: Option<Rate>,
}

/// What all actors share.
pub struct Shared {
    /// The node's clock.
    pub clock: Clock,
    /// Limits and intervals.
    pub config: NodeConfig,
    /// Who is here.
    pub registry: Registry,
    /// Groups in the order of their rules; the first is the default one and matches last.
    pub groups: Vec<GroupEntry>,
    /// What holds each direction's total on all workers.
    pub totals: [Arc<SharedBucket>; 2],
    /// Payload bytes since the start, by direction, whoever moved them.
    pub moved: [AtomicU64; 2],
    /// Payload bytes per second over the last rounds, by direction; 0 as soon as nothing is there to be moved.
    pub achieved: [AtomicU64; 2],
    /// Bytes handed to data links' sockets that the other sides have not acknowledged, as of each link's last chunk: what
    /// was moved and the line has not carried yet.
    pub in_sockets: AtomicU64,
    /// What holds the reading of all data links together.
    pub arrivals: Arc<SharedBucket>,
    /// One bell per worker: something changed that its shapers don't know.
    pub bells: Vec<Arc<Notify>>,
    /// Which peers' weights and floors have to be divided anew among workers.
    pub spread: Spread,
    /// Counts changes of weights.
    pub tree_version: AtomicU64,
    /// Wishes for an early round.
    pub early: EarlyBell,
    /// The last plan.
    pub book: ArcSwap<PlanBook>,
    /// No new sessions.
    pub draining: AtomicBool,
    /// Handles of all metrics.
    pub metrics: Arc<NodeMetrics>,
    /// Answers to operators, for which workers step aside.
    pub precedence: Arc<Precedence>,
    /// The node's shares.
    pub files: Arc<dyn Files>,
    /// Who may do what.
    pub policy: Arc<dyn Policy>,
}

impl Shared {
    /// The first group whose rule matches, else the default one.
    pub fn group_of(&self, path: &str, peer: &PeerId, address: IpAddr) -> &GroupEntry {
        let share = path.split('/').next().unwrap_or_default();
        let takes = |group: &&GroupEntry| (group.rule)(share, peer, Some(address)) == Some(true);
        self.groups[1..].iter().find(takes).unwrap_or(&self.groups[0])
    }

    /// The place in `groups` of the one group that takes all transfers of a peer; `None` where it may be in several, or it
    /// depends on its address and that is not given.
    pub fn only_group(&self, peer: &PeerId, address: Option<IpAddr>) -> Option<usize> {
        let shares = self.config.shares.iter().map(String::as_str);
        match Home::find(&self.groups[1..], shares, |group, share| (group.rule)(share, peer, address)) {
            Home::Default => Some(0),
            Home::Rule(index) => Some(index + 1),
            Home::Unknown => None,
        }
    }

    /// A new leaf before the allocator has seen it: nothing guaranteed, everything may be lent.
    pub(crate) fn first_rates(&self, direction: Direction, weight: f64, class: Class) -> LeafRates {
        let ungated = self.totals[direction.index()].rate().is_unlimited();
        let assigned = if ungated { Rate::UNLIMITED } else { Rate::ZERO };
        LeafRates { assigned, ceiling: Rate::UNLIMITED, weight, class }
    }

    /// Wakes every worker's driver.
    pub fn ring_workers(&self) {
        for bell in &self.bells {
            bell.notify_one();
        }
    }
}
