//! One round: survey, plan, publish, tell.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Instant,
};

use flow::{
    Binding, Direction, LeafKey, LeafRates, Limiter, Moment, Rate, RoundObservation,
    allocation::{self, GroupInput, LeafInput, PeerInput, Plan, Snapshot},
};

use crate::{
    metric::DirectionMetrics,
    peer::{ControlMessage, LeafRate},
    registry::LeafEntry,
    shared::{PlanBook, TotalView},
};

use super::{Allocator, survey::Conduct};

/// Grants that moved less are not sent: the same 2 % as for rates (DESIGN 5).
const GRANT_MOVED: f64 = 0.02;

impl Allocator {
    /// Feeds the rings.
    pub(super) fn sample(&mut self, now: Moment) {
        self.survey.sample(&self.shared.registry, now);
        for direction in Direction::ALL {
            let bytes = self.bytes(direction);
            let moved = bytes.saturating_sub(self.moved_total[direction.index()]);
            self.moved_total[direction.index()] = bytes;
            // A direction's sum is never few chunks: the window stays at 2.5 s.
            self.achieved[direction.index()].add_chunks(now, moved, 40);
        }
    }

    /// Payload bytes of a direction since the start, ended transfers included.
    fn bytes(&self, direction: Direction) -> u64 {
        self.shared.moved[direction.index()].load(Relaxed)
    }

    /// One round for both directions.
    pub(super) fn round(&mut self, cause: &'static str) {
        let began = Instant::now();
        let now = self.shared.clock.now();
        self.shared.metrics.round(cause).increment(1);
        let mut book = PlanBook::default();
        for direction in Direction::ALL {
            self.plan(direction, now, cause, &mut book);
        }
        self.grant();
        if cause == "tick" {
            self.round_began = now;
        }
        self.shared.book.store(book.into());
        self.shared.metrics.round_duration.record(began.elapsed().as_secs_f64());
    }

    fn plan(&mut self, direction: Direction, now: Moment, cause: &'static str, book: &mut PlanBook) {
        let index = direction.index();
        let leaves: Vec<Arc<LeafEntry>> = self
            .shared
            .registry
            .leaves
            .iter()
            .filter(|leaf| leaf.direction == direction)
            .map(|leaf| leaf.value().clone())
            .collect();
        // Only a tick ends a round of measurement: an early round plans with what the last tick saw and who is here now.
        let conducts: Vec<Conduct> =
            leaves.iter().map(|leaf| self.survey.conduct(leaf, now, cause == "tick")).collect();
        if cause == "tick" {
            self.judge_total(direction, &leaves, &conducts, now);
            self.put_total(direction, now);
        }
        let snapshot = self.snapshot(direction, &leaves, &conducts);
        let plan = allocation::allocate(&snapshot, &self.shared.config.knobs);
        for leaf in &plan.leaves {
            self.survey.set_demand(leaf.key, leaf.demand);
        }
        self.tell(direction, &plan, &leaves);
        let achieved = self.achieved[index].rate(now);
        book.totals[index] = TotalView {
            limit: self.limit(direction).limit().map(Rate::from_bytes_per_second),
            allowed: plan.total.limit().map(Rate::from_bytes_per_second),
            capacity: self.totals[index].capacity(),
            achieved,
        };
        book.jain[index] = jain_index(&leaves, &conducts);
        for (leaf, conduct) in leaves.iter().zip(&conducts) {
            book.achieved.insert(leaf.key, conduct.achieved);
            book.limited.insert(leaf.key, conduct.limited);
        }
        self.measure(direction, &plan, &snapshot, book, cause);
        self.bindings[index] = plan.leaves.iter().map(|leaf| (leaf.key, leaf.binding)).collect();
        book.plans[index] = Some(plan);
    }

    /// What the round says of the line (DESIGN 5: "What limited a leaf in the last round").
    fn judge_total(&mut self, direction: Direction, leaves: &[Arc<LeafEntry>], conducts: &[Conduct], now: Moment) {
        let index = direction.index();
        let span = now.saturating_since(self.round_began).as_secs_f64().max(1e-3);
        let mut bytes_by_limiter = [0.0; Limiter::ALL.len()];
        let mut short_of_tokens = false;
        for (leaf, conduct) in leaves.iter().zip(conducts) {
            let dominant = conduct.limited.dominant();
            // A receiver that takes no more says nothing of the line, and a receiver can't tell a slow line from a slow
            // sender: such rounds must not teach the total anything. (Taken for the path, one client with a limit of its
            // own made a node without one believe that its line was as slow as that client.)
            let seen = match (direction, dominant) {
                (_, Limiter::Receiver) | (Direction::Download, Limiter::Network) => Limiter::Source,
                (_, dominant) => dominant,
            };
            bytes_by_limiter[seen.index()] += conduct.moved as f64;
            // One that waits at a cap of its own says nothing of the total.
            short_of_tokens |= dominant == Limiter::Tokens && !self.held_by_its_own(direction, leaf.key);
        }
        let bytes = self.bytes(direction);
        let used = bytes.saturating_sub(self.round_bytes[index]) as f64 / span;
        self.round_bytes[index] = bytes;
        let in_force = self.shared.totals[index].rate();
        let observation = RoundObservation { used, in_force, bytes_by_limiter, short_of_tokens };
        self.totals[index].round(&observation);
    }

    /// Whether the last plan found something other than the total to hold the leaf.
    fn held_by_its_own(&self, direction: Direction, key: LeafKey) -> bool {
        self.bindings[direction.index()].get(&key).is_some_and(|binding| {
            matches!(binding, Binding::Group | Binding::PeerCap | Binding::TransferCap | Binding::Negotiated)
        })
    }

    fn snapshot(&self, direction: Direction, leaves: &[Arc<LeafEntry>], conducts: &[Conduct]) -> Snapshot {
        let index = direction.index();
        let groups = self.shared.groups.iter().map(|group| {
            let settings = group.settings.load();
            GroupInput {
                key: group.key,
                weight: settings.weight,
                cap: settings.cap[index],
                floor: settings.floor[index],
            }
        });
        let mut peers: HashMap<_, PeerInput> = HashMap::new();
        let mut inputs = Vec::with_capacity(leaves.len());
        let mut seen_sessions = HashSet::new();
        for (leaf, conduct) in leaves.iter().zip(conducts) {
            let settings = leaf.peer.settings.load();
            let peer = peers.entry(leaf.peer.key).or_insert_with(|| PeerInput {
                key: leaf.peer.key,
                weight: settings.weight,
                cap: settings.cap[index],
                negotiated: Rate::ZERO,
                floor: settings.floor[index],
            });
            if seen_sessions.insert(leaf.session.id) {
                // A peer's sessions desire together what each of them desires.
                peer.negotiated = sum(peer.negotiated, leaf.session.desired(direction));
            }
            let own = leaf.settings.load();
            inputs.push(LeafInput {
                key: leaf.key,
                peer: leaf.peer.key,
                group: leaf.group,
                weight: leaf.weight(),
                cap: own.cap[index],
                floor: own.floor[index],
                class: leaf.class(),
                achieved: conduct.achieved,
                limited: conduct.limited,
                demand_before: self.survey.demand(leaf.key),
                backlogged: conduct.backlogged,
            });
        }
        Snapshot {
            total: self.totals[index].allowed(),
            groups: groups.collect(),
            peers: peers.into_values().collect(),
            leaves: inputs,
        }
    }

    /// Sends new rates to the control lanes of those whose rates moved, decreases first.
    fn tell(&mut self, direction: Direction, plan: &Plan, leaves: &[Arc<LeafEntry>]) {
        let by_key: HashMap<LeafKey, &Arc<LeafEntry>> = leaves.iter().map(|leaf| (leaf.key, leaf)).collect();
        let told = &mut self.told[direction.index()];
        let moved = allocation::changes(told, plan);
        let suppressed = plan.leaves.len() - moved.len();
        // In the order of the changes, those of one session together as far as they follow one another.
        let mut batches: Vec<(&Arc<LeafEntry>, Vec<LeafRate>)> = Vec::new();
        for leaf in &moved {
            let Some(entry) = by_key.get(&leaf.key) else { continue };
            let rates =
                LeafRates { assigned: leaf.assigned, ceiling: leaf.ceiling, weight: leaf.weight, class: entry.class() };
            let rate = LeafRate { key: leaf.key, rates };
            match batches.last_mut() {
                Some((last, batch)) if last.session.id == entry.session.id => batch.push(rate),
                Some(_) | None => batches.push((entry, vec![rate])),
            }
        }
        let mut next = plan.clone().with_unsent(told);
        let mut missed = HashSet::new();
        for (entry, batch) in batches {
            let (count, keys) = (batch.len() as u64, batch.iter().map(|rate| rate.key).collect::<Vec<_>>());
            match entry.session.control.try_send(ControlMessage::Rates(batch)) {
                Ok(()) => self.shared.metrics.rate_updates_sent.increment(count),
                // A full lane is tried again in the next round: what was not told is not remembered as told.
                Err(_) => missed.extend(keys),
            }
        }
        next.leaves.retain(|leaf| !missed.contains(&leaf.key));
        *told = next;
        self.shared.metrics.rate_updates_suppressed.increment(suppressed as u64);
    }

    /// Tells peers what they are granted: the ceiling, not the share of the moment (DESIGN 5).
    fn grant(&mut self) {
        let registry = &self.shared.registry;
        self.granted.retain(|id, _| registry.sessions.contains_key(id));
        for session in &registry.sessions {
            let settings = session.peer.settings.load();
            let grant = Direction::ALL.map(|direction| {
                let total = self.totals[direction.index()].allowed();
                session.desired(direction).min(settings.cap[direction.index()]).min(total)
            });
            let before = self.granted.get(session.key()).copied();
            if before.is_some_and(|before| (0..2).all(|index| !moved(before[index], grant[index]))) {
                continue;
            }
            let message = ControlMessage::Granted { upload: grant[0], download: grant[1] };
            // The first grant went with the welcome.
            if before.is_none() || session.control.try_send(message).is_ok() {
                self.granted.insert(*session.key(), grant);
            }
        }
    }

    fn measure(&self, direction: Direction, plan: &Plan, snapshot: &Snapshot, book: &PlanBook, cause: &str) {
        let metrics: &DirectionMetrics = self.shared.metrics.direction(direction);
        let total = book.totals[direction.index()];
        let desired = snapshot.peers.iter().fold(Rate::ZERO, |sum_so_far, peer| sum(sum_so_far, peer.negotiated));
        metrics.desired.set(gauge(desired));
        metrics.allowed.set(gauge(plan.total));
        let assigned = plan.leaves.iter().fold(Rate::ZERO, |sum_so_far, leaf| sum(sum_so_far, leaf.assigned));
        metrics.assigned.set(gauge(assigned));
        metrics.achieved.set(total.achieved);
        metrics.lent.set(if assigned.is_unlimited() { 0.0 } else { (total.achieved - gauge(assigned)).max(0.0) });
        metrics.capacity.set(total.capacity.map_or(0.0, gauge));
        metrics.jain_index.set(book.jain[direction.index()].unwrap_or(1.0));
        metrics.set_bindings(|binding: Binding| plan.leaves.iter().filter(|leaf| leaf.binding == binding).count());
        if cause != "tick" {
            return;
        }
        let mut achieved: HashMap<_, f64> = HashMap::new();
        for leaf in &snapshot.leaves {
            *achieved.entry(leaf.peer).or_default() += leaf.achieved;
        }
        for peer in &plan.peers {
            if peer.assigned != Rate::ZERO {
                metrics.peer_assigned.record(gauge(peer.assigned));
            }
            metrics.peer_achieved.record(achieved.get(&peer.key).copied().unwrap_or(0.0));
        }
    }
}

/// Jain's index over achieved rate by weight of the peers that would take more.
fn jain_index(leaves: &[Arc<LeafEntry>], conducts: &[Conduct]) -> Option<f64> {
    let mut peers: HashMap<_, (f64, bool)> = HashMap::new();
    for (leaf, conduct) in leaves.iter().zip(conducts) {
        let weight = leaf.peer.settings.load().weight;
        let peer = peers.entry(leaf.peer.key).or_default();
        peer.0 += conduct.achieved / weight;
        peer.1 |= conduct.limited.dominant() == Limiter::Tokens;
    }
    let rates: Vec<f64> = peers.values().filter(|peer| peer.1).map(|peer| peer.0).collect();
    (rates.len() >= 2).then(|| flow::jain(&rates))
}

fn sum(left: Rate, right: Rate) -> Rate {
    if left.is_unlimited() || right.is_unlimited() {
        return Rate::UNLIMITED;
    }
    Rate::from_bytes_per_second(left.bytes_per_second().saturating_add(right.bytes_per_second()).min(u64::MAX - 1))
}

fn moved(before: Rate, after: Rate) -> bool {
    match (before.limit(), after.limit()) {
        (None, None) => false,
        (Some(before), Some(after)) => before.abs_diff(after) as f64 > before as f64 * GRANT_MOVED,
        (None, Some(_)) | (Some(_), None) => true,
    }
}

/// Unlimited is shown as infinity, which Prometheus knows.
fn gauge(rate: Rate) -> f64 {
    rate.limit().map_or(f64::INFINITY, |rate| rate as f64)
}
