//! One round: survey, plan, publish, tell.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Instant,
};

use flow::{
    Binding, Direction, LeafRates, Limiter, Moment, Rate, RoundObservation, Witnesses,
    allocation::{self, GroupInput, LeafInput, PeerInput, Plan, Snapshot},
};

use crate::{
    metric::DirectionMetrics,
    peer::{ControlMessage, LeafRate},
    registry::SessionEntry,
    shared::{Conduct, PlanBook, TotalView},
};

use super::{
    Allocator,
    survey::{Showing, Survey, Track, jain_index},
    trails,
};

/// Grants that moved less are not sent: the same 2 % as for rates (DESIGN 5).
const GRANT_MOVED: f64 = 0.02;

/// Why a round is made.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(super) enum Cause {
    /// The time has come: a round of measurement ends, the next begins.
    Tick,
    /// Somebody came, left or woke.
    Early,
    /// The operator changed something.
    Order,
}

impl Cause {
    fn as_str(self) -> &'static str {
        match self {
            Self::Tick => "tick",
            Self::Early => "early",
            Self::Order => "order",
        }
    }
}

impl Allocator {
    /// Tells the rate windows how the meters stand.
    pub(super) fn sample(&mut self, now: Moment) {
        self.rests.begin();
        self.survey.meet(&self.shared.registry, now);
        if self.survey.has_given_up() {
            self.shared.early.ring();
        }
        self.survey.sample(now, &mut self.rests);
        for direction in Direction::ALL {
            let (bytes, chunks) = (self.bytes(direction), self.survey.chunks(direction));
            self.achieved[direction.index()].sample(now, bytes, chunks);
            let before = std::mem::replace(&mut self.sampled_bytes[direction.index()], bytes);
            // The window is for decisions: it would show the rate of what has ended for seconds.
            let at_rest = bytes == before && self.survey.of(direction).is_empty();
            let rate = if at_rest { 0.0 } else { self.achieved[direction.index()].rate(now, bytes, chunks) };
            self.shared.achieved[direction.index()].store(rate as u64, Relaxed);
            self.shared.metrics.direction(direction).achieved.set(rate);
        }
    }

    /// Payload bytes of a direction since the start, ended transfers included.
    fn bytes(&self, direction: Direction) -> u64 {
        self.shared.moved[direction.index()].load(Relaxed)
    }

    /// Bytes that sockets hold of what a direction moved. What was received is here.
    fn in_sockets(&self, direction: Direction) -> u64 {
        match direction {
            Direction::Upload => self.shared.in_sockets.load(Relaxed),
            Direction::Download => 0,
        }
    }

    /// One round for both directions.
    pub(super) fn round(&mut self, cause: Cause) {
        let began = Instant::now();
        self.rests.begin();
        let now = self.shared.clock.now();
        self.shared.metrics.round(cause.as_str()).increment(1);
        let mut book = PlanBook::default();
        let mut survey = std::mem::take(&mut self.survey);
        survey.meet(&self.shared.registry, now);
        // This plan is without them.
        survey.has_given_up();
        for direction in Direction::ALL {
            let plan = self.plan(direction, survey.of(direction), now, cause, &mut book);
            for (group, planned) in self.shared.groups.iter().zip(&plan.groups) {
                debug_assert_eq!(group.key, planned.key, "a plan's groups are in the order of the node's");
                group.buckets[direction.index()].set_fair_rate(planned.fair_rate);
            }
            self.tell(direction, &plan, &survey);
            book.plans[direction.index()] = Some(plan);
        }
        self.survey = survey;
        self.grant();
        if cause == Cause::Tick {
            self.round_began = now;
            trails::look(&self.shared, &mut self.survey, &mut self.rests, now);
        }
        self.shared.book.store(book.into());
        self.shared.metrics.round_duration.record(began.elapsed().as_secs_f64());
    }

    fn plan(
        &mut self,
        direction: Direction,
        tracks: &mut [Track],
        now: Moment,
        cause: Cause,
        book: &mut PlanBook,
    ) -> Plan {
        let index = direction.index();
        // Only a tick ends a round of measurement.
        let tick = cause == Cause::Tick;
        let conduct = |track: &mut Track| {
            self.rests.after_leaf();
            track.conduct(now, tick)
        };
        let conducts: Vec<Conduct> = tracks.iter_mut().map(conduct).collect();
        if tick {
            self.judge_total(direction, tracks, &conducts, now);
            self.put_total(direction, now);
        }
        let snapshot = self.snapshot(direction, tracks, &conducts);
        let plan = allocation::allocate(&snapshot, &self.shared.config.knobs);
        let mut showings = Vec::with_capacity(tracks.len());
        let mut assigned = Rate::ZERO;
        for ((track, conduct), leaf) in tracks.iter_mut().zip(&conducts).zip(&plan.leaves) {
            showings.extend(Showing::of(track, conduct, leaf.binding, leaf.class));
            track.planned(leaf.demand, now);
            track.binding = Some(leaf.binding);
            assigned = assigned.saturating_add(leaf.assigned);
            self.rests.after_leaf();
        }
        book.jain[index] = jain_index(showings);
        book.totals[index] = TotalView {
            limit: self.limit(direction).limit().map(Rate::from_bytes_per_second),
            allowed: plan.total.limit().map(Rate::from_bytes_per_second),
            capacity: self.totals[index].capacity(),
            assigned: Some(assigned),
        };
        self.measure(direction, &plan, &snapshot, book, cause);
        book.conducts[index] = conducts;
        plan
    }

    /// What the round says of the line (DESIGN 5: "What limited a leaf in the last round").
    fn judge_total(&mut self, direction: Direction, tracks: &[Track], conducts: &[Conduct], now: Moment) {
        let index = direction.index();
        let span = now.saturating_since(self.round_began).as_secs_f64().max(1e-3);
        let mut bytes_by_limiter = [0.0; Limiter::ALL.len()];
        let mut short_of_tokens = false;
        let witnesses = match direction {
            Direction::Upload => self.sums.witnesses(&self.shared.registry, tracks, conducts),
            // Downloads teach nothing.
            Direction::Download => Witnesses::default(),
        };
        for (track, conduct) in tracks.iter().zip(conducts) {
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
            short_of_tokens |= dominant == Limiter::Tokens && !held_by_its_own(track.binding);
        }
        let (bytes, in_sockets) = (self.bytes(direction), self.in_sockets(direction));
        let released = bytes.saturating_sub(self.round_bytes[index]) as f64;
        let kept = in_sockets as f64 - self.round_in_sockets[index] as f64;
        (self.round_bytes[index], self.round_in_sockets[index]) = (bytes, in_sockets);
        let in_force = self.shared.totals[index].rate();
        let (used, released) = ((released - kept).max(0.0) / span, released / span);
        // What only went into sockets was carried by nobody: a crowd that fell silent, each of whom takes what a socket holds, is
        // no evidence of a slow line.
        let network = &mut bytes_by_limiter[Limiter::Network.index()];
        *network = (*network - kept.max(0.0)).max(0.0);
        let observation = RoundObservation { used, released, in_force, bytes_by_limiter, short_of_tokens, witnesses };
        let allowed = self.totals[index].round(&observation);
        tracing::debug!(%direction, used, %in_force, ?bytes_by_limiter, short_of_tokens, %allowed, "a round judged");
    }

    fn snapshot(&mut self, direction: Direction, tracks: &[Track], conducts: &[Conduct]) -> Snapshot {
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
        let mut peers: Vec<PeerInput> = Vec::new();
        let mut leaves = Vec::with_capacity(tracks.len());
        let mut session = None;
        for (track, conduct) in tracks.iter().zip(conducts) {
            let leaf = &track.leaf;
            if peers.last().is_none_or(|peer| peer.key != leaf.peer.key) {
                let settings = leaf.peer.settings.load();
                peers.push(PeerInput {
                    key: leaf.peer.key,
                    weight: settings.weight,
                    cap: settings.cap[index],
                    negotiated: Rate::ZERO,
                    floor: settings.floor[index],
                });
            }
            if let Some(peer) = peers.last_mut().filter(|_| session.replace(leaf.session.id) != Some(leaf.session.id)) {
                // A peer's sessions desire together what each of them desires.
                peer.negotiated = sum(peer.negotiated, leaf.session.desired(direction));
            }
            let own = leaf.settings.load();
            leaves.push(LeafInput {
                key: leaf.key,
                peer: leaf.peer.key,
                group: leaf.group,
                weight: leaf.weight(),
                cap: own.cap[index],
                floor: own.floor[index],
                class: leaf.class(),
                achieved: conduct.achieved,
                limited: conduct.limited,
                demand_before: track.demand,
                is_settled: conduct.is_settled,
                backlogged: conduct.backlogged,
            });
            self.rests.after_leaf();
        }
        Snapshot { total: self.totals[index].allowed(), groups: groups.collect(), peers, leaves }
    }

    /// Sends new rates to the control lanes of those whose rates moved, decreases first.
    fn tell(&mut self, direction: Direction, plan: &Plan, survey: &Survey) {
        let told = &mut self.told[direction.index()];
        let moved = allocation::changes(told, plan);
        let suppressed = plan.leaves.len() - moved.len();
        // In the order of the changes, those of one session together as far as they follow one another.
        let mut batches: Vec<(&Arc<SessionEntry>, Vec<LeafRate>)> = Vec::new();
        for leaf in &moved {
            let Some(entry) = survey.leaf(direction, leaf.peer, leaf.key) else { continue };
            let rates =
                LeafRates { assigned: leaf.assigned, ceiling: leaf.ceiling, weight: leaf.weight, class: leaf.class };
            let rate = LeafRate { key: leaf.key, rates };
            match batches.last_mut() {
                Some((last, batch)) if last.id == entry.session.id => batch.push(rate),
                Some(_) | None => batches.push((&entry.session, vec![rate])),
            }
        }
        let mut next = plan.clone().with_unsent(told);
        let mut missed = Vec::new();
        for (session, batch) in batches {
            let (count, keys) = (batch.len() as u64, batch.iter().map(|rate| rate.key).collect::<Vec<_>>());
            match session.control.try_send(ControlMessage::Rates(batch)) {
                Ok(()) => self.shared.metrics.rate_updates_sent.increment(count),
                // A full lane is tried again in the next round: what was not told is not remembered as told.
                Err(_) => missed.extend(keys),
            }
        }
        if !missed.is_empty() {
            missed.sort_unstable();
            next.leaves.retain(|leaf| missed.binary_search(&leaf.key).is_err());
        }
        *told = next;
        self.shared.metrics.rate_updates_suppressed.increment(suppressed as u64);
    }

    /// Tells peers what they are granted: the ceiling, not the share of the moment (DESIGN 5).
    fn grant(&self) {
        let mut due = Vec::new();
        for session in &self.shared.registry.sessions {
            let settings = session.peer.settings.load();
            let grants = Direction::ALL.map(|direction| {
                let total = self.totals[direction.index()].allowed();
                session.desired(direction).min(settings.cap[direction.index()]).min(total)
            });
            if Direction::ALL.iter().any(|direction| moved(session.granted(*direction), grants[direction.index()])) {
                due.push((session.value().clone(), grants));
            }
        }
        for (session, grants) in due {
            let message = ControlMessage::Granted { upload: grants[0], download: grants[1] };
            // A full lane is tried again in the next round.
            if session.control.try_send(message).is_ok() {
                session.set_granted(grants);
            }
        }
    }

    fn measure(&mut self, direction: Direction, plan: &Plan, snapshot: &Snapshot, book: &PlanBook, cause: Cause) {
        let metrics: &DirectionMetrics = self.shared.metrics.direction(direction);
        let total = book.totals[direction.index()];
        let desired = snapshot.peers.iter().fold(Rate::ZERO, |sum_so_far, peer| sum(sum_so_far, peer.negotiated));
        metrics.desired.set(gauge(desired));
        metrics.allowed.set(gauge(plan.total));
        let assigned = plan.leaves.iter().fold(Rate::ZERO, |sum_so_far, leaf| sum(sum_so_far, leaf.assigned));
        metrics.assigned.set(gauge(assigned));
        let achieved = self.shared.achieved[direction.index()].load(Relaxed) as f64;
        metrics.lent.set(if assigned.is_unlimited() { 0.0 } else { (achieved - gauge(assigned)).max(0.0) });
        metrics.capacity.set(total.capacity.map_or(0.0, gauge));
        metrics.jain_index.set(book.jain[direction.index()].unwrap_or(f64::NAN));
        metrics.set_bindings(|binding: Binding| plan.leaves.iter().filter(|leaf| leaf.binding == binding).count());
        if cause != Cause::Tick {
            return;
        }
        // Both in the order of the peers.
        let mut leaves = snapshot.leaves.as_slice();
        for peer in &plan.peers {
            let (own, rest) = leaves.split_at(leaves.partition_point(|leaf| leaf.peer <= peer.key));
            leaves = rest;
            if peer.assigned != Rate::ZERO {
                metrics.peer_assigned.record(gauge(peer.assigned));
            }
            self.rests.after_leaf();
            metrics.peer_achieved.record(own.iter().map(|leaf| leaf.achieved).sum::<f64>());
        }
    }
}

/// Whether a plan found something other than the total to hold a leaf.
fn held_by_its_own(binding: Option<Binding>) -> bool {
    matches!(binding, Some(Binding::Group | Binding::PeerCap | Binding::TransferCap | Binding::Negotiated))
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
