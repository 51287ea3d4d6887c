//! Whether floors can be kept, asked before an order is in force: a floor is a promise (DESIGN 5).
//!
//! A peer's floor lies within its group's, and which group that will be may be known only when a transfer begins. A peer
//! whose transfers can be in one group only is counted there, so that neither the group's cap nor the total breaks its promise;
//! all peers together must fit under the total in any case. A transfer's floor lies within its peer's.

use std::{collections::HashMap, net::IpAddr};

use flow::{
    Direction, Rate,
    allocation::{FloorNode, floors_fit},
};
use wire::PeerId;

use crate::{
    guest::{PeerName, only_address_of},
    port::OperateError,
    registry::NodeSettings,
    shared::Shared,
};

use super::Target;

/// What is to be set, by node of the tree.
pub(super) type Changes = HashMap<Target, NodeSettings>;

/// Whether all floors of `direction` fit under `limit` and their caps, if `changes` were in force.
pub(super) fn fit(shared: &Shared, direction: Direction, limit: Rate, changes: &Changes) -> Result<(), OperateError> {
    let node = |name: String, target: Target, settings: &NodeSettings| {
        let settings = changes.get(&target).unwrap_or(settings);
        let (cap, floor) = (settings.cap[direction.index()], settings.floor[direction.index()]);
        FloorNode { name, cap, floor, children: Vec::new() }
    };
    let groups = shared
        .groups
        .iter()
        .enumerate()
        .map(|(index, group)| node(format!("group {}", group.name), Target::Group(index), &group.settings.load()));
    let mut groups: Vec<FloorNode> = groups.collect();

    let peer = |id: &PeerId, settings: &NodeSettings| {
        node(format!("peer {}", PeerName(id).short()), Target::Peer(*id), settings)
    };
    let settings = shared.registry.peer_settings.iter();
    let mut peers: HashMap<PeerId, FloorNode> =
        settings.map(|settings| (*settings.key(), peer(settings.key(), &settings))).collect();
    for (target, settings) in changes {
        if let Target::Peer(id) = target {
            peers.insert(*id, peer(id, settings));
        }
    }
    for leaf in shared.registry.leaves.iter().filter(|leaf| leaf.direction == direction) {
        let own = node(format!("transfer {}", leaf.key.0), Target::Transfer(leaf.key), &leaf.settings.load());
        if own.floor > 0 {
            let above = peers.entry(leaf.peer.id).or_insert_with(|| peer(&leaf.peer.id, &leaf.peer.settings.load()));
            above.children.push(own);
        }
    }
    let addresses = addresses(shared);
    for (id, peer) in peers.iter().filter(|(_, peer)| peer.floor > 0 || !peer.children.is_empty()) {
        if let Some(home) = home(shared, id, &addresses) {
            groups[home].children.push(peer.clone());
        }
    }
    let peers: Vec<FloorNode> = peers.into_values().collect();
    for level in [groups, peers] {
        floors_fit(limit, &level).map_err(|error| OperateError::Conflict(format!("{direction}: {error}")))?;
    }
    Ok(())
}

/// Where the peers that are here connect from.
fn addresses(shared: &Shared) -> HashMap<PeerId, Vec<IpAddr>> {
    let mut addresses: HashMap<PeerId, Vec<IpAddr>> = HashMap::new();
    for session in &shared.registry.sessions {
        addresses.entry(session.peer.id).or_default().push(session.address.ip());
    }
    addresses
}

/// The place of the group in which all transfers of `peer` are, if there is one.
fn home(shared: &Shared, peer: &PeerId, addresses: &HashMap<PeerId, Vec<IpAddr>>) -> Option<usize> {
    let from = addresses.get(peer).map_or(&[][..], Vec::as_slice);
    let Some((first, others)) = from.split_first() else {
        return shared.only_group(peer, only_address_of(peer));
    };
    let home = shared.only_group(peer, Some(*first))?;
    others.iter().all(|address| shared.only_group(peer, Some(*address)) == Some(home)).then_some(home)
}
