//! The node as its operator sees it: the console's answers, from the registry and the last plan.

mod explain;

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, atomic::Ordering::Relaxed},
};

use flow::{
    Direction, LeafKey, PeerKey, Rate,
    allocation::{LeafPlan, PeerPlan},
};

use wire::PeerId;

use crate::{
    allocator::{Order, Standings, Target},
    guest::{PeerName, address_of, parse_peer},
    node::Node,
    peer::ControlMessage,
    port::{Console, OperateError, PortFuture},
    registry::{LeafEntry, NodeSettings, PeerEntry, SessionEntry},
    shared::{Conduct, GroupEntry, PlanBook, Shared},
    trail::Trail,
    view::{
        DirectionView, Explanation, GroupView, LimitView, LimitsPatch, LimitsView, NodePatch, PeerView, QuicView,
        RatesView, StatusView, TransferView,
    },
};

/// Letters of an id that name a peer without doubt in practice: 30 bits.
const PREFIX_MIN: usize = 6;

/// The console of a node.
pub struct NodeConsole(pub Arc<Node>);

impl NodeConsole {
    fn shared(&self) -> &Arc<Shared> {
        &self.0.shared
    }

    /// Puts totals, groups and peers in force as a configuration has them, all or nothing; what was ordered before ends.
    ///
    /// # Errors
    /// Why they contradict what is here: floors of live transfers that could not be kept.
    pub async fn adopt(&self, standings: Standings) -> Result<(), OperateError> {
        self.order(Order::Standings(standings)).await
    }

    /// Closes the connections of a guest, who may be no peer any more; whether there were any.
    fn eject(&self, id: &str) -> bool {
        let address = parse_peer(&id.to_ascii_lowercase()).ok().and_then(|id| address_of(&id));
        address.zip(self.0.crowd.get()).is_some_and(|(address, crowd)| crowd.eject(address))
    }

    fn order(&self, order: Order) -> PortFuture<Result<(), OperateError>> {
        let allocator = self.0.allocator.clone();
        Box::pin(async move {
            match allocator.send(order).await {
                Ok(result) => result,
                Err(_) => Err(OperateError::Conflict("the node is going down".into())),
            }
        })
    }
}

fn ready<T: Send + 'static>(value: T) -> PortFuture<T> {
    Box::pin(std::future::ready(value))
}

impl Console for NodeConsole {
    fn status(&self) -> PortFuture<StatusView> {
        let shared = self.shared();
        let book = shared.book.load();
        let registry = &shared.registry;
        let total = |direction: Direction| RatesView {
            desired_bytes_per_second: registry
                .sessions
                .iter()
                .try_fold(0_u64, |sum, session| Some(sum.saturating_add(session.desired(direction).limit()?))),
            allowed_bytes_per_second: shared.totals[direction.index()].rate().limit(),
            assigned_bytes_per_second: book.totals[direction.index()].assigned.unwrap_or(Rate::ZERO).limit(),
            achieved_bytes_per_second: shared.achieved[direction.index()].load(Relaxed),
        };
        ready(StatusView {
            version: env!("CARGO_PKG_VERSION").into(),
            id: shared.config.id.to_string(),
            uptime_seconds: self.0.started.elapsed().as_secs_f64(),
            state: if shared.draining.load(Relaxed) { "draining" } else { "running" }.into(),
            sessions: registry.sessions.len() as u64,
            peers: registry.peers.len() as u64,
            transfers: registry.leaves.len() as u64,
            workers: self.0.worker_count() as u64,
            upload: total(Direction::Upload),
            download: total(Direction::Download),
            jain_index: book.jain[Direction::Upload.index()],
            shares: shared.config.shares.clone(),
            listen: self.0.listen.load().to_string(),
            quic: QuicView::clone(&self.0.quic.load()),
        })
    }

    fn peers(&self) -> PortFuture<Vec<PeerView>> {
        let scene = Scene::new(self.shared());
        let mut peers: Vec<PeerView> = scene.peers().iter().map(|peer| scene.peer(peer)).collect();
        peers.sort_by(|a, b| a.id.cmp(&b.id));
        ready(peers)
    }

    fn peer(&self, id: String) -> PortFuture<Result<PeerView, OperateError>> {
        let scene = Scene::new(self.shared());
        ready(scene.find_known(&id).map(|peer| scene.peer(&peer)))
    }

    fn explain(&self, id: String) -> PortFuture<Result<Explanation, OperateError>> {
        let scene = Scene::new(self.shared());
        ready(scene.find_known(&id).map(|peer| scene.explain(&peer)))
    }

    fn transfers(&self) -> PortFuture<Vec<TransferView>> {
        let scene = Scene::new(self.shared());
        let mut leaves: Vec<&Arc<LeafEntry>> = scene.leaves.iter().collect();
        leaves.sort_by_key(|leaf| leaf.key);
        ready(leaves.into_iter().map(|leaf| scene.transfer(leaf)).collect())
    }

    fn limits(&self) -> PortFuture<LimitsView> {
        ready(limits(self.shared()))
    }

    fn groups(&self) -> PortFuture<Vec<GroupView>> {
        let scene = Scene::new(self.shared());
        ready(self.shared().groups.iter().map(|group| scene.group(group)).collect())
    }

    fn set_limits(&self, patch: LimitsPatch) -> PortFuture<Result<LimitsView, OperateError>> {
        let done = self.order(Order::Limits(patch));
        let shared = self.shared().clone();
        Box::pin(async move { done.await.map(|()| limits(&shared)) })
    }

    fn set_peer(&self, id: String, patch: NodePatch) -> PortFuture<Result<PeerView, OperateError>> {
        let id = match Scene::new(self.shared()).find_known(&id) {
            Ok(peer) => peer.id,
            Err(OperateError::NotFound(words)) => {
                let words = format!("{words}; for one that is to come write [[peer]] in the configuration");
                return ready(Err(OperateError::NotFound(words)));
            }
            Err(error) => return ready(Err(error)),
        };
        let done = self.order(Order::Settings(Target::Peer(id), patch));
        let shared = self.shared().clone();
        Box::pin(async move {
            done.await?;
            let scene = Scene::new(&shared);
            scene.find_known(&PeerName(&id).to_string()).map(|peer| scene.peer(&peer))
        })
    }

    fn set_transfer(&self, id: String, patch: NodePatch) -> PortFuture<Result<TransferView, OperateError>> {
        let leaf =
            id.parse().ok().and_then(|key| self.shared().registry.leaves.get(&LeafKey(key)).map(|leaf| leaf.clone()));
        let Some(leaf) = leaf else {
            return ready(Err(OperateError::NotFound(format!(
                "no transfer {id}; `evenkeel ctl transfers` lists them"
            ))));
        };
        let done = self.order(Order::Settings(Target::Transfer(leaf.key), patch));
        let shared = self.shared().clone();
        Box::pin(async move { done.await.map(|()| Scene::new(&shared).transfer(&leaf)) })
    }

    fn set_group(&self, name: String, patch: NodePatch) -> PortFuture<Result<GroupView, OperateError>> {
        let Some(index) = self.shared().groups.iter().position(|group| group.name == name) else {
            return ready(Err(OperateError::NotFound(format!(
                "no group `{name}`; the configuration names the groups, `evenkeel ctl groups` lists them"
            ))));
        };
        let done = self.order(Order::Settings(Target::Group(index), patch));
        let shared = self.shared().clone();
        Box::pin(async move { done.await.map(|()| Scene::new(&shared).group(&shared.groups[index])) })
    }

    fn disconnect(&self, id: String) -> PortFuture<Result<(), OperateError>> {
        let ejected = self.eject(&id);
        let peer = match Scene::new(self.shared()).find(&id) {
            Ok(peer) => peer,
            Err(_) if ejected => return ready(Ok(())),
            Err(error) => return ready(Err(error)),
        };
        let sessions: Vec<_> = self
            .shared()
            .registry
            .sessions
            .iter()
            .filter(|session| session.peer.key == peer.key)
            .map(|session| session.control.clone())
            .collect();
        Box::pin(async move {
            for control in sessions {
                // An actor whose lane is full takes its messages first; one that has ended is what was wanted.
                let _ = control.send(ControlMessage::Disconnect).await;
            }
            Ok(())
        })
    }

    fn drain(&self) -> PortFuture<()> {
        self.shared().draining.store(true, Relaxed);
        let _ = self.0.drained.send(true);
        ready(())
    }
}

fn limits(shared: &Shared) -> LimitsView {
    let book = shared.book.load();
    let view = |direction: Direction| LimitView {
        limit_bytes_per_second: book.totals[direction.index()].limit.and_then(Rate::limit),
        allowed_bytes_per_second: shared.totals[direction.index()].rate().limit(),
        capacity_bytes_per_second: book.totals[direction.index()].capacity.and_then(Rate::limit),
    };
    LimitsView { upload: view(Direction::Upload), download: view(Direction::Download) }
}

/// When the rate of all transfers together is shown, those that have ended included.
#[derive(Copy, Clone, Eq, PartialEq)]
enum Shown {
    /// Always.
    All,
    /// Where one has ended. What a slow one shows by itself is calmer.
    Ended,
}

/// The registry and the last plan at one moment, by whom it is asked for: each is looked through once, however many peers
/// are shown.
struct Scene<'a> {
    shared: &'a Shared,
    /// Those of one peer side by side.
    leaves: Vec<Arc<LeafEntry>>,
    sessions: HashMap<PeerKey, Vec<Arc<SessionEntry>>>,
    plans: HashMap<LeafKey, (LeafPlan, Conduct)>,
    peer_plans: [HashMap<PeerKey, PeerPlan>; 2],
    book: Arc<PlanBook>,
}

impl<'a> Scene<'a> {
    fn new(shared: &'a Shared) -> Self {
        let book = shared.book.load_full();
        let mut leaves: Vec<Arc<LeafEntry>> = shared.registry.leaves.iter().map(|leaf| leaf.value().clone()).collect();
        leaves.sort_unstable_by_key(|leaf| (leaf.peer.key, leaf.key));
        let mut sessions: HashMap<PeerKey, Vec<Arc<SessionEntry>>> = HashMap::new();
        for session in &shared.registry.sessions {
            sessions.entry(session.peer.key).or_default().push(session.value().clone());
        }
        let mut plans = HashMap::new();
        let mut peer_plans = [HashMap::new(), HashMap::new()];
        for direction in Direction::ALL {
            let Some(plan) = &book.plans[direction.index()] else { continue };
            let conducts = &book.conducts[direction.index()];
            plans.extend(plan.leaves.iter().zip(conducts).map(|(leaf, conduct)| (leaf.key, (*leaf, *conduct))));
            peer_plans[direction.index()] = plan.peers.iter().map(|peer| (peer.key, *peer)).collect();
        }
        Self { shared, leaves, sessions, plans, peer_plans, book }
    }

    fn peers(&self) -> Vec<Arc<PeerEntry>> {
        self.shared.registry.peers.iter().map(|peer| peer.value().clone()).collect()
    }

    fn leaves_of(&self, peer: &PeerEntry) -> &[Arc<LeafEntry>] {
        let from = self.leaves.partition_point(|leaf| leaf.peer.key < peer.key);
        let to = self.leaves.partition_point(|leaf| leaf.peer.key <= peer.key);
        &self.leaves[from..to]
    }

    fn sessions_of(&self, peer: &PeerEntry) -> &[Arc<SessionEntry>] {
        self.sessions.get(&peer.key).map_or(&[], Vec::as_slice)
    }

    fn find(&self, id: &str) -> Result<Arc<PeerEntry>, OperateError> {
        let id = id.to_ascii_lowercase();
        if id.len() < PREFIX_MIN {
            return Err(OperateError::Invalid(format!("give at least {PREFIX_MIN} letters of the peer's id")));
        }
        let missing = || OperateError::NotFound(format!("no peer {id} is here; `evenkeel ctl peers` lists them"));
        if let Ok(id) = parse_peer(&id) {
            return self.shared.registry.peers.get(&id).map(|peer| peer.clone()).ok_or_else(missing);
        }
        let found = self.peers().into_iter().filter(|peer| begins_with(&peer.id, &id));
        only(found, &id)?.ok_or_else(missing)
    }

    /// The same also of one that isn't here and has settings, which outlive its sessions: its floor is promised still.
    fn find_known(&self, id: &str) -> Result<Arc<PeerEntry>, OperateError> {
        let missing = match self.find(id) {
            Err(error @ OperateError::NotFound(_)) => error,
            found => return found,
        };
        let id = id.to_ascii_lowercase();
        let known: Vec<PeerId> = self.shared.registry.peer_settings.iter().map(|known| *known.key()).collect();
        let one = match parse_peer(&id) {
            Ok(id) => Some(id),
            Err(_) => only(known.into_iter().filter(|known| begins_with(known, &id)), &id)?,
        };
        one.and_then(|one| self.shared.registry.absent(one, self.shared.clock.now())).ok_or(missing)
    }

    fn direction<'b>(
        &self,
        direction: Direction,
        leaves: impl Iterator<Item = &'b Arc<LeafEntry>>,
        settings: &NodeSettings,
        desired: Option<u64>,
        trail: Option<(&Trail, Shown)>,
    ) -> DirectionView {
        let mut view = DirectionView {
            cap_bytes_per_second: settings.cap[direction.index()].limit(),
            floor_bytes_per_second: settings.floor[direction.index()],
            ..DirectionView::default()
        };
        let (mut assigned, mut ceiling, mut achieved) = (Some(0_u64), Some(0_u64), 0.0);
        let mut strongest: Option<(f64, LeafPlan)> = None;
        for leaf in leaves.filter(|leaf| leaf.direction == direction) {
            // With a trail, what has ended meanwhile is counted there.
            view.bytes += if trail.is_some() { leaf.meter.live_bytes() } else { leaf.meter.bytes() };
            let Some((plan, conduct)) = self.plans.get(&leaf.key) else { continue };
            let rate = conduct.achieved;
            achieved += rate;
            assigned = add(assigned, plan.assigned);
            ceiling = add(ceiling, plan.ceiling);
            if strongest.as_ref().is_none_or(|(most, _)| rate > *most) {
                strongest = Some((rate, *plan));
            }
        }
        view.binding = strongest.map(|(_, plan)| plan.binding.as_str().to_owned());
        view.lent_bytes_per_second = assigned.map_or(0, |assigned| (achieved as u64).saturating_sub(assigned));
        if let Some((trail, shown)) = trail {
            let now = self.shared.clock.now();
            // Whoever makes many short transfers moves more than what is under way shows.
            if shown == Shown::All || trail.has_ended_one(direction, now) {
                achieved = trail.rate(direction, now, view.bytes);
            }
            view.bytes += trail.ended(direction);
        }
        view.rates = RatesView {
            desired_bytes_per_second: desired,
            allowed_bytes_per_second: ceiling,
            assigned_bytes_per_second: assigned,
            achieved_bytes_per_second: achieved as u64,
        };
        view
    }

    fn peer(&self, peer: &Arc<PeerEntry>) -> PeerView {
        let sessions = self.sessions_of(peer);
        let settings = peer.settings.load();
        let own = self.leaves_of(peer);
        let class = own.first().map_or_else(|| settings.class.unwrap_or_default(), |leaf| leaf.class());
        let side = |direction: Direction| {
            let desired = sessions
                .iter()
                .try_fold(0_u64, |sum, session| Some(sum.saturating_add(session.desired(direction).limit()?)));
            let mut view = self.direction(direction, own.iter(), &settings, desired, Some((&peer.trail, Shown::Ended)));
            if let Some(plan) = self.peer_plans[direction.index()].get(&peer.key) {
                view.rates.allowed_bytes_per_second = plan.ceiling.limit();
                // Of many short transfers the one that was planned for has often ended.
                if view.binding.is_none() && view.rates.achieved_bytes_per_second > 0 {
                    view.binding = Some(plan.binding.as_str().to_owned());
                    view.rates.assigned_bytes_per_second = plan.assigned.limit();
                }
            }
            view
        };
        PeerView {
            id: PeerName(&peer.id).to_string(),
            comment: peer.comment.clone(),
            addresses: sessions.iter().map(|session| session.address.to_string()).collect(),
            transport: sessions.first().map(|session| session.transport.to_string()).unwrap_or_default(),
            agent: sessions.first().map(|session| wire::printable(&session.agent).into_owned()).unwrap_or_default(),
            sessions: sessions.len() as u64,
            transfers: own.len() as u64,
            weight: settings.weight,
            class: class.to_string(),
            connected_seconds: self.shared.clock.now().saturating_since(peer.joined).as_secs_f64(),
            upload: side(Direction::Upload),
            download: side(Direction::Download),
        }
    }

    fn transfer(&self, leaf: &Arc<LeafEntry>) -> TransferView {
        let settings = leaf.settings.load();
        TransferView {
            id: leaf.key.0.to_string(),
            peer: PeerName(&leaf.peer.id).to_string(),
            path: leaf.path.clone(),
            group: self.group_name(leaf),
            direction: leaf.direction.to_string(),
            size: leaf.size.load(Relaxed),
            offset: leaf.meter.offset(),
            weight: leaf.weight(),
            class: leaf.class().to_string(),
            mode: leaf.meter.mode().to_string(),
            rate: self.direction(
                leaf.direction,
                std::iter::once(leaf),
                &settings,
                leaf.session.desired(leaf.direction).limit(),
                None,
            ),
        }
    }

    fn group_name(&self, leaf: &LeafEntry) -> String {
        let group = self.shared.groups.iter().find(|group| group.key == leaf.group);
        group.map(|group| group.name.clone()).unwrap_or_default()
    }

    fn group(&self, group: &GroupEntry) -> GroupView {
        let settings = group.settings.load();
        let own = || self.leaves.iter().filter(|leaf| leaf.group == group.key);
        let peers: HashSet<_> = own().map(|leaf| leaf.peer.key).collect();
        let side = |direction: Direction| {
            let mut view = self.direction(direction, own(), &settings, None, Some((&group.trail, Shown::All)));
            let total = self.shared.totals[direction.index()].rate();
            view.rates.allowed_bytes_per_second = settings.cap[direction.index()].min(total).limit();
            // Of many short transfers those that were planned for have often ended.
            if view.rates.achieved_bytes_per_second > 0
                && let Some(plan) = &self.book.plans[direction.index()]
                && let Some(planned) = plan.groups.iter().find(|planned| planned.key == group.key)
            {
                view.rates.assigned_bytes_per_second = planned.assigned.limit();
                view.binding = view.binding.or_else(|| {
                    let planned = plan.leaves.iter().filter(|leaf| leaf.group == group.key);
                    planned.max_by_key(|leaf| leaf.assigned).map(|leaf| leaf.binding.as_str().to_owned())
                });
            }
            view
        };
        GroupView {
            name: group.name.clone(),
            weight: settings.weight,
            class: settings.class.map(|class| class.to_string()),
            peers: peers.len() as u64,
            transfers: own().count() as u64,
            upload: side(Direction::Upload),
            download: side(Direction::Download),
        }
    }
}

fn begins_with(peer: &PeerId, letters: &str) -> bool {
    PeerName(peer).to_string().starts_with(letters)
}

/// The one that `letters` name, if there is any.
fn only<T>(mut found: impl Iterator<Item = T>, letters: &str) -> Result<Option<T>, OperateError> {
    match (found.next(), found.next()) {
        (_, Some(_)) => Err(OperateError::Invalid(format!("more than one peer begins with `{letters}`"))),
        (one, None) => Ok(one),
    }
}

fn add(sum: Option<u64>, rate: Rate) -> Option<u64> {
    Some(sum?.saturating_add(rate.limit()?))
}
