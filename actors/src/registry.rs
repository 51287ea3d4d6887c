//! Who is here: peers, sessions, leaves and unused data tokens, shared by all workers behind dashmaps.
//!
//! The allocator reads meters here, so that a byte costs no message; every entry is removed by a guard, also on panic. No
//! dashmap lock is held across an await or while another key is touched.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{
            AtomicU64, AtomicUsize,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
};

use arc_swap::ArcSwap;
use dashmap::DashMap;
use flow::{Class, Direction, GroupKey, LeafKey, Moment, PeerKey, Rate, shaper::SharedBucket};
use tokio::sync::mpsc;
use wire::{PeerId, Token, Ways};

use crate::{
    meter::LeafMeter,
    peer::{ControlMessage, DataMessage},
    port::Transport,
    trail::Trail,
};

/// An operator's wishes for one node of the tree; also what a configuration file says of it.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeSettings {
    /// Share in proportion.
    pub weight: f64,
    /// Overrides what the peer asked for.
    pub class: Option<Class>,
    /// Never above, by direction.
    pub cap: [Rate; 2],
    /// Guaranteed bytes per second while there is something to send, by direction.
    pub floor: [u64; 2],
}

impl Default for NodeSettings {
    fn default() -> Self {
        Self { weight: 1.0, class: None, cap: [Rate::UNLIMITED; 2], floor: [0; 2] }
    }
}

/// A peer: an identity, however many sessions it has.
pub struct PeerEntry {
    /// Its key in the tree.
    pub key: PeerKey,
    /// Its identity.
    pub id: PeerId,
    /// From the authorized-peers file.
    pub comment: String,
    /// When its first session joined.
    pub joined: Moment,
    /// What holds the sum of its leaves on all workers, by direction.
    pub buckets: [Arc<SharedBucket>; 2],
    /// What holds the reading of its data links.
    pub arrivals: Arc<SharedBucket>,
    /// Weight, caps, floors.
    pub settings: ArcSwap<NodeSettings>,
    /// What it has moved since it joined.
    pub trail: Trail,
    /// Live sessions.
    pub sessions: AtomicUsize,
    /// Sessions that have a place on some worker.
    pub(crate) places: AtomicUsize,
}

impl PeerEntry {
    fn new(key: PeerKey, id: PeerId, comment: String, settings: NodeSettings, now: Moment) -> Arc<Self> {
        let bucket = |cap: Rate| Arc::new(SharedBucket::new(cap));
        Arc::new(Self {
            key,
            id,
            comment,
            joined: now,
            buckets: [bucket(settings.cap[0]), bucket(settings.cap[1])],
            arrivals: bucket(settings.cap[Direction::Download.index()]),
            settings: ArcSwap::from_pointee(settings),
            trail: Trail::new(now),
            sessions: AtomicUsize::new(0),
            places: AtomicUsize::new(0),
        })
    }

    /// Brings settings into force: the caps at once, weight and floors with the next round.
    pub fn apply(&self, settings: NodeSettings, now: Moment) {
        for (bucket, cap) in self.buckets.iter().zip(settings.cap) {
            bucket.set_rate(cap, now);
        }
        self.arrivals.set_rate(settings.cap[Direction::Download.index()], now);
        self.settings.store(settings.into());
    }
}

/// A session.
pub struct SessionEntry {
    /// Unique in this node's run.
    pub id: u64,
    /// Whose.
    pub peer: Arc<PeerEntry>,
    /// The worker on which it lives.
    pub worker: usize,
    /// Its actor's control lane.
    pub control: mpsc::Sender<ControlMessage>,
    /// Where its control link comes from.
    pub address: SocketAddr,
    /// What carries its control link.
    pub transport: Transport,
    /// What the peer says it runs.
    pub agent: String,
    /// When it joined.
    pub joined: Moment,
    /// What the peer desires, by the node's direction.
    pub desired: [AtomicU64; 2],
    /// What the peer was last told that the node grants, by the node's direction.
    pub granted: [AtomicU64; 2],
}

impl SessionEntry {
    /// The rate that the peer desires in `direction`.
    pub fn desired(&self, direction: Direction) -> Rate {
        Rate::from_wire(self.desired[direction.index()].load(Relaxed))
    }

    /// The rate that the peer was last told it is granted in `direction`.
    pub fn granted(&self, direction: Direction) -> Rate {
        Rate::from_wire(self.granted[direction.index()].load(Relaxed))
    }

    /// Remembers what the peer was told.
    pub fn set_granted(&self, grants: [Rate; 2]) {
        for (granted, grant) in self.granted.iter().zip(grants) {
            granted.store(grant.to_wire(), Relaxed);
        }
    }
}

/// A transfer's place in the tree of its direction.
pub struct LeafEntry {
    /// Unique in this node's run.
    pub key: LeafKey,
    /// Node to peer, or peer to node.
    pub direction: Direction,
    /// Whose.
    pub peer: Arc<PeerEntry>,
    /// Which session's.
    pub session: Arc<SessionEntry>,
    /// The number that the session's two sides call it by.
    pub transfer: u32,
    /// `SHARE/PATH`.
    pub path: String,
    /// The group it belongs to.
    pub group: GroupKey,
    /// Bytes of the file, once known.
    pub size: AtomicU64,
    /// What it measures.
    pub meter: LeafMeter,
    /// The peer's proportion for it, in thousandths.
    pub share_thousandths: AtomicU64,
    /// What the peer asked for.
    pub class: Class,
    /// The operator's.
    pub settings: ArcSwap<NodeSettings>,
    /// The operator's for its group.
    pub group_settings: Arc<ArcSwap<NodeSettings>>,
}

impl LeafEntry {
    /// The class in force: the operator's for the transfer, else for the peer, else for the group, else what was asked for.
    pub fn class(&self) -> Class {
        let own = self.settings.load().class;
        let of_peer = || self.peer.settings.load().class;
        own.or_else(of_peer).or_else(|| self.group_settings.load().class).unwrap_or(self.class)
    }

    /// Its weight within its peer: the peer's proportion times the operator's weight.
    pub fn weight(&self) -> f64 {
        self.share_thousandths.load(Relaxed) as f64 / 1000.0 * self.settings.load().weight
    }
}

/// An unused data token.
pub struct TokenEntry {
    /// Which ways its link carries.
    pub ways: Ways,
    /// Whose data link it opens.
    pub session: Arc<SessionEntry>,
    /// Where the link is handed over.
    pub data: mpsc::Sender<DataMessage>,
}

/// Tokens that were still unused when their sessions said goodbye. A data link that was on its way then shows one of them: it is
/// closed, and nobody was refused.
#[derive(Default)]
pub struct LateTokens {
    latest: Mutex<VecDeque<Token>>,
}

impl LateTokens {
    /// Remembers a token. The oldest one is forgotten for it.
    pub fn put(&self, token: Token) {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        if latest.len() == LATE_TOKENS_MAX {
            latest.pop_front();
        }
        latest.push_back(token);
    }

    /// Whether it is one of them.
    pub fn has(&self, token: &Token) -> bool {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).contains(token)
    }
}

/// Sessions that end within one handshake of a data link, and more.
const LATE_TOKENS_MAX: usize = 256;

/// Everybody who is here.
#[derive(Default)]
pub struct Registry {
    /// By identity.
    pub peers: DashMap<PeerId, Arc<PeerEntry>>,
    /// By session id.
    pub sessions: DashMap<u64, Arc<SessionEntry>>,
    /// By leaf. Put and removed by [`Registry::put_leaf`] and [`Registry::remove_leaf`], which count.
    pub leaves: DashMap<LeafKey, Arc<LeafEntry>>,
    /// Unused data tokens.
    pub tokens: DashMap<Token, TokenEntry>,
    /// Those of sessions that have just ended well.
    pub late_tokens: LateTokens,
    /// Settings that outlive a peer's sessions: from the configuration and from the operator.
    pub peer_settings: DashMap<PeerId, NodeSettings>,
    /// Sessions that are guests'.
    pub guests: AtomicUsize,
    next_key: AtomicU64,
    leaf_changes: AtomicU64,
}

impl Registry {
    /// A number never given before in this run.
    pub fn fresh_key(&self) -> u64 {
        self.next_key.fetch_add(1, Relaxed) + 1
    }

    /// A leaf is here from now on.
    pub fn put_leaf(&self, leaf: Arc<LeafEntry>) {
        self.leaves.insert(leaf.key, leaf);
        // After it: whoever reads this number before the leaves sees a greater one the next time.
        self.leaf_changes.fetch_add(1, Release);
    }

    /// A leaf has gone.
    pub fn remove_leaf(&self, key: LeafKey) {
        self.leaves.remove(&key);
        self.leaf_changes.fetch_add(1, Release);
    }

    /// A number that grows with every leaf that comes or goes.
    pub fn leaf_changes(&self) -> u64 {
        self.leaf_changes.load(Acquire)
    }

    /// Sessions of peers with a key: guests have limits of their own and take no places from them.
    pub fn keyed_sessions(&self) -> usize {
        self.sessions.len().saturating_sub(self.guests.load(Relaxed))
    }

    /// The entry of `id`, made if need be, with one more session.
    ///
    /// An order that comes meanwhile is written into `peer_settings` before the entry is looked for: so either the order
    /// finds the entry, or we find what it wrote.
    pub fn join(&self, id: PeerId, comment: impl FnOnce() -> String, now: Moment) -> Arc<PeerEntry> {
        let settings = self.peer_settings.get(&id).map(|entry| entry.clone()).unwrap_or_default();
        let entry = self.peers.entry(id);
        let entry = entry.or_insert_with(|| PeerEntry::new(PeerKey(self.fresh_key()), id, comment(), settings, now));
        entry.sessions.fetch_add(1, Relaxed);
        let peer = entry.clone();
        drop(entry);
        loop {
            let ordered = self.peer_settings.get(&id).map(|entry| entry.clone()).unwrap_or_default();
            if ordered == **peer.settings.load() {
                return peer;
            }
            peer.apply(ordered, now);
        }
    }

    /// A peer that isn't here and has settings: an entry of which nobody else knows.
    pub fn absent(&self, id: PeerId, now: Moment) -> Option<Arc<PeerEntry>> {
        let settings = self.peer_settings.get(&id).map(|entry| entry.clone())?;
        Some(PeerEntry::new(PeerKey(self.fresh_key()), id, String::new(), settings, now))
    }

    /// One session less; with the last, the peer is gone.
    pub fn leave(&self, peer: &PeerEntry) {
        // Under the entry's lock, as `join` is: a peer that comes back now is either counted before or made anew.
        self.peers.remove_if(&peer.id, |_, entry| entry.sessions.fetch_sub(1, Relaxed) == 1);
    }
}
