//! The shaper itself: requests in, releases out.

use std::sync::Arc;

use super::MANY_LEAVES;
use super::bucket::{SharedBucket, rate_changes};
use super::clock::{NANOS_PER_MILLI, Slack, cost_ns};
use super::keys::KeyMap;
use super::leaf::{Counted, LastRelease, Leaf, LeafRates, next_turn};
use super::line::LineSeat;
use super::mode::Mode;
use super::peer::{Peer, waking};
use super::quantum::ShaperConfig;
use super::tier::{TIERS, Tier};
use super::tree::{Kind, NodeId, ROOT, Tree};
use super::wheel::Wheel;
use crate::{GroupKey, LeafKey, Moment, PeerKey, Rate};

/// Permission for one leaf to move so many bytes now.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct Release {
    /// Whose.
    pub leaf: LeafKey,
    /// At most what was asked for, at most the leaf's quantum.
    pub bytes: u32,
    /// Beyond what the leaf was assigned.
    pub lent: bool,
}

/// How far above its guarantee a leaf's pace is before what is lent to it comes in larger pieces than that.
const FAR_ABOVE: u64 = 4;

/// Among so few the pieces are as small as the leaf's own rate asks for; that they are a large part of the line's second then is its own.
const FEW_LEAVES: usize = 2;

/// One direction of one worker. See the module's documentation.
#[derive(Debug)]
pub struct Shaper {
    pub(super) total: Arc<SharedBucket>,
    pub(super) config: ShaperConfig,
    pub(super) now: u64,
    pub(super) tree: Tree,
    pub(super) wheel: Wheel,
    /// Dense; vacant ones have no key in `leaf_of`.
    pub(super) leaves: Vec<Leaf>,
    pub(super) vacant: Vec<u32>,
    pub(super) leaf_of: KeyMap<LeafKey, u32>,
    pub(super) groups: KeyMap<GroupKey, NodeId>,
    pub(super) peers: KeyMap<PeerKey, Peer>,
    /// Branches that wait for their bucket.
    pub(super) parked: usize,
    /// Rate changes of buckets that parked branches have been told of, and when they were last told.
    pub(super) changes_seen: u64,
    changes_seen_at: Option<u64>,
    /// Among the workers on the total.
    pub(super) seat: LineSeat,
    /// When somebody whom nothing gates had his turn last, in moments of which no two are the same.
    turned_at: u64,
    /// Until when leaves may live on what nobody has planned, on this worker: later no peer has to be looked up.
    pub(super) waking_until: u64,
    /// How late wakings are at times.
    pub(super) late_ns: u64,
}

impl Shaper {
    /// A shaper that draws on `total`, with the default group, uncapped.
    pub fn new(total: Arc<SharedBucket>, config: ShaperConfig, now: Moment) -> Self {
        let mut shaper = Shaper {
            seat: LineSeat::new(total.line()),
            total,
            config,
            now: now.as_nanos(),
            tree: Tree::new(),
            wheel: Wheel::new(now.as_nanos()),
            leaves: Vec::new(),
            vacant: Vec::new(),
            leaf_of: KeyMap::default(),
            groups: KeyMap::default(),
            peers: KeyMap::default(),
            parked: 0,
            changes_seen: rate_changes(),
            changes_seen_at: None,
            turned_at: 0,
            waking_until: 0,
            late_ns: 0,
        };
        shaper.put_group(GroupKey(0), Arc::new(SharedBucket::new(Rate::UNLIMITED)), 1.0);
        shaper
    }

    /// Adds or changes a group: its cap, shared by all workers, and its weight among the groups.
    pub fn put_group(&mut self, key: GroupKey, bucket: Arc<SharedBucket>, weight: f64) {
        let id = match self.groups.get(&key) {
            Some(&id) => {
                self.tree.nodes[id as usize].kind = Kind::group(bucket);
                self.tree.set_weight(id, weight);
                id
            }
            None => {
                let id = self.tree.add(ROOT, Kind::group(bucket), weight);
                self.groups.insert(key, id);
                id
            }
        };
        self.regate(id);
    }

    /// Adds a leaf below a peer in a group. A peer or group that was never put is uncapped until it is.
    /// An existing leaf moves there and keeps its request and its link's mode.
    pub fn put_leaf(&mut self, key: LeafKey, peer: PeerKey, group: GroupKey, rates: LeafRates, now: Moment) {
        let before = self.leaf_of.get(&key).map(|&index| &self.leaves[index as usize]);
        let (request, mode) = before.map_or((0, Mode::Precise), |leaf| (leaf.request, leaf.mode));
        self.remove_leaf(key);
        let parent = self.peer_node(peer, group);
        let index = self.vacant.pop().unwrap_or(self.leaves.len() as u32);
        let node = self.tree.add(parent, Kind::Leaf(index), rates.weight);
        let mut leaf = Leaf::new(key, peer, node, rates, now.as_nanos());
        leaf.mode = mode;
        match self.leaves.get_mut(index as usize) {
            Some(slot) => *slot = leaf,
            None => self.leaves.push(leaf),
        }
        self.leaf_of.insert(key, index);
        self.note_counted(index, Counted::NOTHING, self.leaves[index as usize].counted(), now.as_nanos());
        if request > 0 {
            self.request(key, request, now);
        }
    }

    /// Changes a leaf's rates, weight and class, in force at once, also while it waits.
    pub fn set_leaf(&mut self, key: LeafKey, rates: LeafRates, now: Moment) {
        let Some(&index) = self.leaf_of.get(&key) else { return };
        let leaf = &mut self.leaves[index as usize];
        let before = leaf.counted();
        leaf.set_rates(rates, now.as_nanos());
        let after = leaf.counted();
        self.tree.set_weight(leaf.node, rates.weight);
        self.note_counted(index, before, after, now.as_nanos());
        self.settle(index, now.as_nanos());
    }

    /// Removes a leaf with its request. Return unused permission before.
    pub fn remove_leaf(&mut self, key: LeafKey) {
        let Some(index) = self.leaf_of.remove(&key) else { return };
        let node = self.leaves[index as usize].node;
        let group = self.tree.parent(self.tree.parent(node));
        self.note_spent(index, self.now);
        self.note_counted(index, self.leaves[index as usize].counted(), Counted::NOTHING, self.now);
        self.wheel.remove(node);
        self.tree.remove(node);
        self.vacant.push(index);
        self.note_waiting_below(group);
        self.note_waiting();
    }

    /// The leaf has up to `bytes` ready. Replaces a request that waits; 0 cancels it. Released at most once. Returns whether it is
    /// due at once: it has just woken, or is behind its guarantee and the total is open.
    pub fn request(&mut self, key: LeafKey, bytes: u32, now: Moment) -> bool {
        let Some(&index) = self.leaf_of.get(&key) else { return false };
        let now = now.as_nanos();
        if !std::mem::replace(&mut self.leaves[index as usize].has_asked, true) {
            let piece = self.quantum_of(index, Tier::Lent).min(bytes);
            self.leaves[index as usize].wait_for_first(piece, now);
        }
        if self.leaves[index as usize].wakes(now) {
            self.wake_leaf(index, bytes, now);
        } else {
            self.leaves[index as usize].ask(bytes, now, None);
        }
        self.settle(index, now);
        self.note_waiting();
        let leaf = &self.leaves[index as usize];
        leaf.woken || leaf.tier == Some(Tier::Guaranteed) && self.total.ready_at(0) <= now
    }

    /// What the leaf was assigned last; zero for one that is not here.
    pub fn assigned(&self, key: LeafKey) -> Rate {
        self.leaf_of.get(&key).map_or(Rate::ZERO, |&index| self.leaves[index as usize].rates.assigned)
    }

    /// Withdraws a request.
    pub fn cancel(&mut self, key: LeafKey) {
        let Some(&index) = self.leaf_of.get(&key) else { return };
        self.leaves[index as usize].request = 0;
        self.settle(index, self.now);
        self.note_waiting();
    }

    /// The next release at `now`. Call until `None`.
    pub fn poll(&mut self, now: Moment) -> Option<Release> {
        let before = self.now;
        self.now = before.max(now.as_nanos());
        let now = self.now;
        self.note_lateness(before);
        self.seat.look_around();
        self.tree.shared_line = (!self.seat.has_one_worker()).then(|| self.total.rate());
        self.notice_rate_changes();
        while let Some(id) = self.wheel.expire(now) {
            match self.tree.nodes[id as usize].kind {
                Kind::Leaf(index) => self.settle(index, now),
                Kind::Group { .. } | Kind::Peer { .. } => self.regate(id),
                Kind::Root | Kind::Vacant => {}
            }
        }
        for tier in Tier::ALL {
            while self.tree.has_backlog(tier) {
                let reserve_ns = self.reserve_ns(tier);
                if self.total.ready_at(reserve_ns).max(self.held_until(tier)) > now {
                    // Lower tiers need more than this one, and are held longer.
                    self.note_waiting();
                    return None;
                }
                let Some(index) = self.next_in_turn(tier) else { continue };
                if let Some(release) = self.release(index, tier, reserve_ns) {
                    self.note_waiting();
                    return Some(release);
                }
            }
        }
        self.note_waiting();
        None
    }

    /// Returns what a leaf didn't use of its last release, to everybody who was charged for it.
    pub fn give_back(&mut self, key: LeafKey, bytes: u32, now: Moment) {
        let Some(&index) = self.leaf_of.get(&key) else { return };
        let leaf = &mut self.leaves[index as usize];
        let (bytes, step) = leaf.refund(bytes);
        let (node, tier) = (leaf.node, leaf.last.tier);
        let peer = self.tree.parent(node);
        if tier == Tier::Guaranteed
            && let Some(node) = waking(&mut self.peers, self.waking_until, leaf.peer, peer, now.as_nanos())
        {
            node.refund(bytes, leaf.is_unplanned(now.as_nanos()));
        }
        self.tree.refund(node, tier, bytes);
        self.take_back(peer, tier, step);
        self.total.give_back(bytes);
        for id in [peer, self.tree.parent(peer)] {
            if let Kind::Group { bucket, .. } | Kind::Peer { bucket, .. } = &self.tree.nodes[id as usize].kind {
                bucket.give_back(bytes);
            }
            if self.tree.nodes[id as usize].is_parked() {
                self.regate(id);
            }
        }
        self.settle(index, now.as_nanos());
    }

    /// The leaf's link is in `mode` from its next release on.
    pub fn set_mode(&mut self, key: LeafKey, mode: Mode) {
        if let Some(&index) = self.leaf_of.get(&key) {
            self.leaves[index as usize].mode = mode;
        }
    }

    /// What one release of this leaf would be at most; 0 for an unknown leaf. A piece that is lent is never smaller than one that is
    /// guaranteed.
    pub fn quantum(&self, key: LeafKey) -> u32 {
        self.leaf_of.get(&key).map_or(0, |&index| self.quantum_of(index, Tier::Lent))
    }

    /// What is guaranteed is released in pieces of the guarantee, however much was lent before: guarantees take turns as they fall
    /// due, and where they fill the line, whoever took larger pieces got more. What is lent comes in pieces of the pace where that is
    /// far above the guarantee.
    fn quantum_of(&self, index: u32, tier: Tier) -> u32 {
        let leaf = &self.leaves[index as usize];
        let peer = self.tree.parent(leaf.node);
        let group = self.tree.parent(peer);
        let ceiling =
            leaf.rates.ceiling.min(self.bucket(peer).rate()).min(self.bucket(group).rate()).min(self.total.rate());
        let guarantee = leaf.guarantee.rate();
        let pace = if tier == Tier::Guaranteed { 0 } else { leaf.pace.after_waiting(self.now) };
        let is_far = pace / FAR_ABOVE > guarantee.bytes_per_second();
        let pace = if is_far { pace } else { 0 };
        let quantum = |leaves| self.config.quantum(leaf.mode, leaves, guarantee, pace, ceiling);
        quantum(self.leaf_of.len()).min(self.config.of_line(self.total.rate()).max(quantum(FEW_LEAVES)))
    }

    /// Walks down to the leaf whose turn it is, parking branches whose bucket is found empty. `None`: look again.
    fn next_in_turn(&mut self, tier: Tier) -> Option<u32> {
        let mut at = ROOT;
        loop {
            let child = self.tree.turn(at, tier)?;
            if let Kind::Leaf(index) = self.tree.nodes[child as usize].kind {
                return Some(index);
            }
            if self.branch_ready_at(child, tier) > self.now {
                self.regate(child);
                return None;
            }
            at = child;
        }
    }

    /// When a branch's bucket is open for a tier.
    fn branch_ready_at(&self, id: NodeId, tier: Tier) -> u64 {
        match &self.tree.nodes[id as usize].kind {
            Kind::Group { bucket, seat } => self.group_ready_at(bucket, seat, tier),
            // A peer lives on one worker: nobody's guarantee elsewhere can be in its way. Its own nodes in several groups
            // take turns: the one that drew last leaves the others a quarter of a quantum's time, which its slack covers.
            Kind::Peer { bucket, shared: true } if bucket.is_last_borrower(id) => {
                let quantum = self.config.turn(self.leaf_of.len(), bucket.rate());
                bucket.ready_at(cost_ns(quantum, bucket.rate()) / 4)
            }
            Kind::Peer { bucket, .. } => bucket.ready_at(0),
            Kind::Root | Kind::Leaf(_) | Kind::Vacant => 0,
        }
    }

    /// Draws on every bucket above the leaf and books the release; `None` when another worker was quicker.
    fn release(&mut self, index: u32, tier: Tier, reserve_ns: u64) -> Option<Release> {
        let now = self.now;
        let leaf = &self.leaves[index as usize];
        if tier == Tier::Guaranteed && self.peer_ready_at(leaf, now) > now {
            // Another leaf of its peer has been quicker.
            self.settle(index, now);
            return None;
        }
        let bytes = leaf.request.min(self.quantum_of(index, tier));
        let node = leaf.node;
        let peer = self.tree.parent(node);
        let group = self.tree.parent(peer);
        let line = self.total.rate();
        let turn = |leaves| self.config.turn(leaves, line);
        let turn_bytes = turn(self.leaf_of.len()).min(self.config.of_line(line).max(turn(FEW_LEAVES)));
        let turn_ns = cost_ns(turn_bytes, line);
        let slack = Slack::BelowRoot { turn_ns };
        let group_reserve_ns = tier.reserve_ns(self.seat.has_one_worker());
        // Among several workers what is remembered is lent to whoever is awake, and those with a guarantee on the others wait. Among few
        // leaves a large piece may follow on a small one, and a second would be over by both.
        let is_by_piece = self.seat.has_one_worker() && self.leaf_of.len() >= MANY_LEAVES;
        let piece_ns = if is_by_piece { cost_ns(bytes, line) } else { turn_ns };
        self.total.draw(bytes, now, reserve_ns, Slack::Root { piece_ns }).ok()?;
        if self.bucket(group).draw(bytes, now, group_reserve_ns, slack).is_err() {
            self.total.give_back(bytes);
            self.regate(group);
            return None;
        }
        if self.bucket(peer).draw(bytes, now, 0, slack).is_err() {
            self.total.give_back(bytes);
            self.bucket(group).give_back(bytes);
            self.regate(peer);
            return None;
        }
        if matches!(self.tree.nodes[peer as usize].kind, Kind::Peer { shared: true, .. }) {
            self.bucket(peer).note_borrower(peer);
        }
        let step = self.lend(peer, tier, bytes);
        let leaf = &mut self.leaves[index as usize];
        let lent = tier != Tier::Guaranteed || leaf.is_unplanned(now);
        let key = leaf.key;
        leaf.charge(LastRelease { bytes, tier, step }, now, turn_ns);
        if tier == Tier::Guaranteed
            && let Some(node) = waking(&mut self.peers, self.waking_until, leaf.peer, peer, now)
        {
            node.charge(bytes, leaf.is_unplanned(now), now, Slack::Owed);
        }
        let leaf = &self.leaves[index as usize];
        if let Some(next) = leaf.next_tier(now, self.peer_ready_at(leaf, now)) {
            self.hold_below(next, group);
        }
        self.settle(index, now);
        if self.leaves[index as usize].guarantee.rate().is_unlimited() {
            self.tree.end_turn(node, next_turn(&mut self.turned_at, now));
        }
        self.tree.charge(node, tier, bytes);
        Some(Release { leaf: key, bytes, lent })
    }

    /// Seats a leaf, or arms its timer, as its request and clocks demand.
    fn settle(&mut self, index: u32, now: u64) {
        let peer_ready_at = self.peer_ready_at(&self.leaves[index as usize], now);
        let standing = self.leaves[index as usize].standing(now, peer_ready_at);
        let piece = self.quantum_of(index, Tier::Guaranteed);
        let timer = self.timer(index, standing.timer, peer_ready_at, piece, now);
        let leaf = &mut self.leaves[index as usize];
        let (node, due_at) = (leaf.node, leaf.due_at(peer_ready_at, piece, &mut self.turned_at, now));
        let before = std::mem::replace(&mut leaf.tier, standing.tier);
        if before != standing.tier {
            if let Some(tier) = before {
                self.tree.leave(node, tier);
            }
            if let Some(tier) = standing.tier {
                self.stand(self.tree.parent(node), tier);
                self.tree.enter(node, tier, due_at);
            }
        } else if before == Some(Tier::Guaranteed) && due_at < self.tree.places[node as usize].due.at {
            // It is guaranteed more than when it asked.
            self.tree.enter(node, Tier::Guaranteed, due_at);
        }
        match timer {
            Some(at) => self.wheel.insert(node, at),
            None => self.wheel.remove(node),
        }
        self.note_waiting_below(self.tree.parent(self.tree.parent(node)));
    }

    /// Opens or closes a branch as its bucket demands, with a timer for the first tier that it is closed for.
    pub(super) fn regate(&mut self, id: NodeId) {
        let closed =
            Tier::ALL.into_iter().map(|tier| (tier, self.branch_ready_at(id, tier))).find(|&(_, at)| at > self.now);
        match closed {
            Some((tier, at)) => {
                self.set_open_tiers(id, tier.index());
                self.wheel.insert(id, at);
            }
            None => {
                self.set_open_tiers(id, TIERS);
                self.wheel.remove(id);
            }
        }
        // Who waits for a limit of his own, or no longer does, waits for the group's no more, or again.
        match self.tree.nodes[id as usize].kind {
            Kind::Peer { .. } => self.note_waiting_below(self.tree.parent(id)),
            Kind::Group { .. } => self.note_waiting_below(id),
            _ => {}
        }
    }

    pub(super) fn set_open_tiers(&mut self, id: NodeId, open_tiers: usize) {
        let was_parked = self.tree.nodes[id as usize].is_parked();
        self.tree.set_open_tiers(id, open_tiers as u8);
        self.parked = self.parked + usize::from(open_tiers < TIERS) - usize::from(was_parked);
    }

    /// Looks again at every parked branch after some bucket's rate was changed, at most once per millisecond, so that a
    /// plan that changes thousands of caps costs one look and not thousands.
    fn notice_rate_changes(&mut self) {
        let changes = rate_changes();
        if changes == self.changes_seen || self.parked > 0 && self.now < self.next_notice_at() {
            return;
        }
        self.changes_seen = changes;
        if self.parked == 0 {
            return;
        }
        self.changes_seen_at = Some(self.now);
        for id in 0..self.tree.nodes.len() as NodeId {
            if self.tree.nodes[id as usize].is_parked() {
                self.regate(id);
            }
        }
    }

    pub(super) fn next_notice_at(&self) -> u64 {
        self.changes_seen_at.map_or(0, |at| at + NANOS_PER_MILLI)
    }

    pub(super) fn bucket(&self, id: NodeId) -> &SharedBucket {
        match &self.tree.nodes[id as usize].kind {
            Kind::Group { bucket, .. } | Kind::Peer { bucket, .. } => bucket,
            Kind::Root | Kind::Leaf(_) | Kind::Vacant => &self.total,
        }
    }
}
