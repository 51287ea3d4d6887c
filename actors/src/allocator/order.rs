//! What an operator orders, checked before it is in force.

use std::{
    collections::{HashMap, HashSet},
    sync::atomic::Ordering::Relaxed,
};

use actix::Message;
use flow::{Class, Direction, Rate};

use crate::{
    port::OperateError,
    registry::NodeSettings,
    view::{LimitsPatch, NodePatch},
};

use super::{
    Allocator,
    floors::{self, Changes},
    round::Cause,
};

/// The range of weights that an operator may give.
const WEIGHTS: std::ops::RangeInclusive<f64> = 0.001..=1000.0;

/// The word for no class of one's own: that of the level above counts, in the end what the peer asks for.
const DEFAULT_CLASS: &str = "default";

/// Which node of the tree an order is for.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Target {
    /// A peer that is here.
    Peer(wire::PeerId),
    /// A live transfer.
    Transfer(flow::LeafKey),
    /// A group, by its place in the list.
    Group(usize),
}

/// An order: in force when it is answered.
#[derive(Message)]
#[rtype(result = "Result<(), OperateError>")]
pub enum Order {
    /// New totals.
    Limits(LimitsPatch),
    /// New cap, floor, weight or class.
    Settings(Target, NodePatch),
    /// All totals, groups and peers anew.
    Standings(Standings),
}

/// What a configuration says of totals, groups and peers: all of it that a running node can take over.
#[derive(Clone, Debug, Default)]
pub struct Standings {
    /// Totals, by direction.
    pub limits: [Rate; 2],
    /// Groups by name. One that the node does not have is left out, and one that is not named here keeps what it has: rules are
    /// read at the start. The group `default`, which has no rule, is as it was made.
    pub groups: Vec<(String, NodeSettings)>,
    /// Peers by id. Nothing is set for any other.
    pub peers: Vec<(wire::PeerId, NodeSettings)>,
}

impl Allocator {
    /// Carries an order out, and plans anew at once.
    pub(super) fn carry_out(&mut self, order: &Order) -> Result<(), OperateError> {
        match order {
            Order::Limits(patch) => self.set_limits(patch)?,
            Order::Settings(target, patch) => self.set_settings(target, patch)?,
            Order::Standings(standings) => self.adopt(standings)?,
        }
        self.round(Cause::Order);
        Ok(())
    }

    fn set_limits(&mut self, patch: &LimitsPatch) -> Result<(), OperateError> {
        let changes = [patch.upload_bytes_per_second.0, patch.download_bytes_per_second.0];
        let wanted: [Option<Rate>; 2] = changes.map(|change| change.map(rate_of));
        for direction in Direction::ALL {
            let Some(limit) = wanted[direction.index()].filter(|limit| *limit < self.limit(direction)) else {
                continue;
            };
            floors::fit(&self.shared, direction, limit, &Changes::new())?;
        }
        for direction in Direction::ALL {
            if let Some(rate) = wanted[direction.index()] {
                self.put_limit(direction, rate);
            }
        }
        Ok(())
    }

    fn put_limit(&mut self, direction: Direction, rate: Rate) {
        self.limits[direction.index()] = rate;
        self.totals[direction.index()].set_limit(rate);
        self.put_total(direction, self.shared.clock.now());
        tracing::info!(%direction, limit = %rate, "total limit changed");
    }

    /// All of it or nothing: what does not fit together, or not with the floors of live transfers, changes nothing.
    fn adopt(&mut self, standings: &Standings) -> Result<(), OperateError> {
        let shared = self.shared.clone();
        let named: HashMap<&str, &NodeSettings> =
            standings.groups.iter().map(|(name, settings)| (name.as_str(), settings)).collect();
        let groups = shared.groups.iter().enumerate().filter_map(|(index, group)| {
            let settings = match index {
                0 => Some(NodeSettings::default()),
                _ => named.get(group.name.as_str()).map(|settings| (*settings).clone()),
            };
            settings.map(|settings| (Target::Group(index), settings))
        });
        let mut changes: Changes = groups.collect();
        let listed: HashSet<_> = standings.peers.iter().map(|(id, _)| *id).collect();
        let known: Vec<_> = shared.registry.peer_settings.iter().map(|known| *known.key()).collect();
        let others = known.into_iter().filter(|id| !listed.contains(id)).map(|id| (id, NodeSettings::default()));
        changes
            .extend(standings.peers.iter().cloned().chain(others).map(|(id, settings)| (Target::Peer(id), settings)));
        for direction in Direction::ALL {
            floors::fit(&shared, direction, standings.limits[direction.index()], &changes)?;
        }
        for direction in Direction::ALL {
            let limit = standings.limits[direction.index()];
            // Setting a limit anew forgets what was learnt of the line.
            if limit != self.limit(direction) {
                self.put_limit(direction, limit);
            }
        }
        for (target, settings) in changes {
            match target {
                Target::Peer(id) => self.put_peer(id, settings),
                Target::Group(index) => self.put_group(index, settings),
                Target::Transfer(_) => {}
            }
        }
        shared.tree_version.fetch_add(1, Relaxed);
        shared.ring_workers();
        Ok(())
    }

    fn put_peer(&self, id: wire::PeerId, settings: NodeSettings) {
        let registry = &self.shared.registry;
        // In this order: `Registry::join` relies on it.
        registry.peer_settings.insert(id, settings.clone());
        let entry = registry.peers.get(&id).map(|entry| entry.clone());
        if let Some(entry) = entry {
            entry.apply(settings, self.shared.clock.now());
        }
    }

    fn put_group(&self, index: usize, settings: NodeSettings) {
        let Some(group) = self.shared.groups.get(index) else { return };
        for (bucket, cap) in group.buckets.iter().zip(settings.cap) {
            bucket.set_rate(cap, self.shared.clock.now());
        }
        group.settings.store(settings.into());
    }

    fn set_settings(&self, target: &Target, patch: &NodePatch) -> Result<(), OperateError> {
        let shared = &self.shared;
        match target {
            Target::Peer(id) => {
                let is_here = shared.registry.peers.contains_key(id);
                let known = shared.registry.peer_settings.get(id).map(|settings| settings.clone());
                if !is_here && known.is_none() {
                    return Err(OperateError::NotFound(format!("no peer {id} is here")));
                }
                let after = self.checked(target, known.unwrap_or_default(), patch)?;
                self.put_peer(*id, after);
            }
            Target::Transfer(key) => {
                let leaf = shared.registry.leaves.get(key).map(|leaf| leaf.clone());
                let leaf = leaf.ok_or_else(|| OperateError::NotFound("that transfer has ended".into()))?;
                let after = self.checked(target, (**leaf.settings.load()).clone(), patch)?;
                leaf.settings.store(after.into());
            }
            Target::Group(index) => {
                let group = shared.groups.get(*index);
                let group = group.ok_or_else(|| OperateError::NotFound("there is no such group".into()))?;
                let after = self.checked(target, (**group.settings.load()).clone(), patch)?;
                self.put_group(*index, after);
            }
        }
        shared.tree_version.fetch_add(1, Relaxed);
        shared.ring_workers();
        Ok(())
    }

    /// `before` with `patch`, if the floors can be kept. What only lowers floors and lifts caps is always taken, so that one
    /// can get out of what does not fit.
    fn checked(&self, target: &Target, before: NodeSettings, patch: &NodePatch) -> Result<NodeSettings, OperateError> {
        let after = patched(before.clone(), patch)?;
        for direction in Direction::ALL {
            let index = direction.index();
            if after.floor[index] > before.floor[index] || after.cap[index] < before.cap[index] {
                let changes = Changes::from([(target.clone(), after.clone())]);
                floors::fit(&self.shared, direction, self.limit(direction), &changes)?;
            }
        }
        Ok(after)
    }
}

/// `null` and 0 lift a limit.
fn rate_of(wanted: Option<u64>) -> Rate {
    Rate::from_wire(wanted.unwrap_or(0))
}

fn class_of(word: &str) -> Result<Class, OperateError> {
    let words =
        || format!("`{word}` is no class: write foreground, background, or {DEFAULT_CLASS} for none of its own");
    word.parse().map_err(|_| OperateError::Invalid(words()))
}

fn patched(mut settings: NodeSettings, patch: &NodePatch) -> Result<NodeSettings, OperateError> {
    let caps = [patch.upload_cap_bytes_per_second.0, patch.download_cap_bytes_per_second.0];
    let floors = [patch.upload_floor_bytes_per_second.0, patch.download_floor_bytes_per_second.0];
    for index in 0..2 {
        if let Some(cap) = caps[index] {
            settings.cap[index] = rate_of(cap);
        }
        if let Some(floor) = floors[index] {
            settings.floor[index] = floor.unwrap_or(0);
        }
    }
    if let Some(weight) = patch.weight.0 {
        let weight = weight.unwrap_or(NodeSettings::default().weight);
        if !WEIGHTS.contains(&weight) {
            let words = format!("a weight of {weight} makes no sense: give {} to {}", WEIGHTS.start(), WEIGHTS.end());
            return Err(OperateError::Invalid(words));
        }
        settings.weight = weight;
    }
    if let Some(class) = &patch.class.0 {
        settings.class = class.as_deref().filter(|class| *class != DEFAULT_CLASS).map(class_of).transpose()?;
    }
    Ok(settings)
}
