//! What an operator orders, checked before it is in force.

use std::sync::atomic::Ordering::Relaxed;

use actix::Message;
use flow::{Class, Direction, Rate};

use crate::{
    port::OperateError,
    registry::NodeSettings,
    shared::Shared,
    view::{LimitsPatch, NodePatch},
};

use super::Allocator;

/// The range of weights that an operator may give.
const WEIGHTS: std::ops::RangeInclusive<f64> = 0.001..=1000.0;

/// Which node of the tree an order is for.
#[derive(Clone, Debug)]
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
}

impl Allocator {
    /// Carries an order out, and plans anew at once.
    pub(super) fn carry_out(&mut self, order: &Order) -> Result<(), OperateError> {
        match order {
            Order::Limits(patch) => self.set_limits(patch)?,
            Order::Settings(target, patch) => self.set_settings(target, patch)?,
        }
        self.round("order");
        Ok(())
    }

    fn set_limits(&mut self, patch: &LimitsPatch) -> Result<(), OperateError> {
        let changes = [patch.upload_bytes_per_second.0, patch.download_bytes_per_second.0];
        let wanted: [Option<Rate>; 2] = changes.map(|change| change.map(rate_of));
        for direction in Direction::ALL {
            let Some(rate) = wanted[direction.index()] else { continue };
            self.check_floors(direction, rate, None)?;
        }
        let now = self.shared.clock.now();
        for direction in Direction::ALL {
            let Some(rate) = wanted[direction.index()] else { continue };
            self.limits[direction.index()] = rate;
            self.totals[direction.index()].set_limit(rate);
            self.put_total(direction, now);
            tracing::info!(%direction, limit = %rate, "total limit changed");
        }
        Ok(())
    }

    fn set_settings(&mut self, target: &Target, patch: &NodePatch) -> Result<(), OperateError> {
        let shared = self.shared.clone();
        let now = shared.clock.now();
        match target {
            Target::Peer(id) => {
                let entry = shared.registry.peers.get(id).map(|entry| entry.clone());
                let before = match (&entry, shared.registry.peer_settings.get(id)) {
                    (Some(entry), _) => (**entry.settings.load()).clone(),
                    (None, Some(settings)) => settings.clone(),
                    (None, None) => return Err(OperateError::NotFound(format!("no peer {id} is here"))),
                };
                let after = patched(before.clone(), patch)?;
                self.check_total_floors(&before, &after)?;
                shared.registry.peer_settings.insert(*id, after.clone());
                if let Some(entry) = entry {
                    for direction in Direction::ALL {
                        entry.buckets[direction.index()].set_rate(after.cap[direction.index()], now);
                    }
                    entry.arrivals.set_rate(after.cap[Direction::Download.index()], now);
                    entry.settings.store(after.into());
                }
            }
            Target::Transfer(key) => {
                let leaf = shared.registry.leaves.get(key).map(|leaf| leaf.clone());
                let leaf = leaf.ok_or_else(|| OperateError::NotFound("that transfer has ended".into()))?;
                let before = (**leaf.settings.load()).clone();
                let after = patched(before.clone(), patch)?;
                self.check_total_floors(&before, &after)?;
                leaf.settings.store(after.into());
            }
            Target::Group(index) => {
                let group = shared.groups.get(*index);
                let group = group.ok_or_else(|| OperateError::NotFound("there is no such group".into()))?;
                let before = (**group.settings.load()).clone();
                let after = patched(before.clone(), patch)?;
                self.check_total_floors(&before, &after)?;
                for direction in Direction::ALL {
                    group.buckets[direction.index()].set_rate(after.cap[direction.index()], now);
                }
                group.settings.store(after.into());
            }
        }
        shared.tree_version.fetch_add(1, Relaxed);
        Ok(())
    }

    fn check_total_floors(&self, before: &NodeSettings, after: &NodeSettings) -> Result<(), OperateError> {
        for direction in Direction::ALL {
            let limit = self.limit(direction);
            self.check_floors(direction, limit, Some((before, after)))?;
        }
        Ok(())
    }

    /// Floors are promises: more than the total can't be promised (DESIGN 5). Groups and the peers outside any floor-holding
    /// group are added up; a transfer's floor is kept within its peer.
    fn check_floors(
        &self,
        direction: Direction,
        limit: Rate,
        change: Option<(&NodeSettings, &NodeSettings)>,
    ) -> Result<(), OperateError> {
        let Some(limit) = limit.limit() else { return Ok(()) };
        let promised = promised(&self.shared, direction);
        let (taken, added) =
            change.map_or((0, 0), |(before, after)| (before.floor[direction.index()], after.floor[direction.index()]));
        let sum = promised.saturating_sub(taken).saturating_add(added);
        if change.is_some() && added <= taken {
            return Ok(());
        }
        if sum > limit {
            return Err(OperateError::Conflict(format!(
                "the {direction} floors would add up to {}, more than the total of {}: lower a floor or raise the limit",
                Rate::from_bytes_per_second(sum),
                Rate::from_bytes_per_second(limit)
            )));
        }
        Ok(())
    }
}

/// Bytes per second promised by floors: groups', peers', and transfers' beyond their peer's.
fn promised(shared: &Shared, direction: Direction) -> u64 {
    let index = direction.index();
    let groups: u64 = shared.groups.iter().map(|group| group.settings.load().floor[index]).sum();
    let peers: u64 = shared.registry.peer_settings.iter().map(|settings| settings.floor[index]).sum();
    let leaves: u64 = shared
        .registry
        .leaves
        .iter()
        .filter(|leaf| leaf.direction == direction)
        .map(|leaf| leaf.settings.load().floor[index])
        .sum();
    groups.saturating_add(peers).saturating_add(leaves)
}

/// `null` and 0 lift a limit.
fn rate_of(wanted: Option<u64>) -> Rate {
    Rate::from_wire(wanted.unwrap_or(0))
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
        if settings.cap[index].limit().is_some_and(|cap| settings.floor[index] > cap) {
            return Err(OperateError::Conflict(format!(
                "the {} floor of {} is above the cap of {}: lower the floor or raise the cap",
                Direction::ALL[index],
                Rate::from_bytes_per_second(settings.floor[index]),
                settings.cap[index]
            )));
        }
    }
    if let Some(weight) = patch.weight {
        if !WEIGHTS.contains(&weight) {
            let words = format!("a weight of {weight} makes no sense: give {} to {}", WEIGHTS.start(), WEIGHTS.end());
            return Err(OperateError::Invalid(words));
        }
        settings.weight = weight;
    }
    if let Some(class) = &patch.class {
        let parsed: Result<Class, _> = class.parse();
        let words = || OperateError::Invalid(format!("`{class}` is no class: write foreground or background"));
        settings.class = Some(parsed.map_err(|_| words())?);
    }
    Ok(settings)
}
