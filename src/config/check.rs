//! What no single key shows: contradictions between keys.

use std::{
    collections::HashSet,
    net::{IpAddr, SocketAddr},
};

use actors::{Home, guest::PeerName};
use flow::{Direction, Rate};

use super::{
    Config,
    fault::Origin,
    sheet::Sheet,
    tree::{Bounds, Standing},
    value::show_size,
};

/// Adds a fault for every contradiction, at the line of one of the keys that contradict.
pub(super) fn contradictions(config: &Config, sheet: &mut Sheet) {
    times(config, sheet);
    listeners(config, sheet);
    certificate(config, sheet);
    names(config, sheet);
    groups(config, sheet);
    for direction in Direction::ALL {
        floors(config, direction, sheet);
    }
}

fn times(config: &Config, sheet: &mut Sheet) {
    let (allocation, sessions, shaping) = (&config.allocation, &config.sessions, &config.shaping);
    if allocation.early > allocation.interval {
        let message = format!("early is {:?}, longer than interval, {:?}", allocation.early, allocation.interval);
        fault_at_written(["allocation.early", "allocation.interval"], message, sheet);
    }
    if sessions.keepalive >= sessions.dead {
        let message = format!(
            "keepalive is {:?} and must be shorter than dead, {:?}, or every quiet peer is given up",
            sessions.keepalive, sessions.dead
        );
        fault_at_written(["sessions.keepalive", "sessions.dead"], message, sheet);
    }
    if shaping.quantum_min_bytes > shaping.quantum_max_bytes {
        let message = format!(
            "quantum_min is {}, above quantum_max, {}",
            show_size(shaping.quantum_min_bytes.into()),
            show_size(shaping.quantum_max_bytes.into())
        );
        fault_at_written(["shaping.quantum_min", "shaping.quantum_max"], message, sheet);
    }
    modes(config, sheet);
}

fn modes(config: &Config, sheet: &mut Sheet) {
    let shaping = &config.shaping;
    if shaping.quantum_bulk_bytes < shaping.quantum_max_bytes {
        let message = format!(
            "quantum_bulk is {}, below quantum_max, {}",
            show_size(shaping.quantum_bulk_bytes.into()),
            show_size(shaping.quantum_max_bytes.into())
        );
        fault_at_written(["shaping.quantum_bulk", "shaping.quantum_max"], message, sheet);
    }
    if !shaping.bulk_on.is_unlimited() && shaping.bulk_off >= shaping.bulk_on {
        let message = format!(
            "bulk_off is {} and must be below bulk_on, {}, or a link whose rate lies there would change its mode all the \
             time; bulk_on = \"off\" is never bulk",
            shaping.bulk_off, shaping.bulk_on
        );
        fault_at_written(["shaping.bulk_off", "shaping.bulk_on"], message, sheet);
    }
}

/// Adds a fault at the first of `keys` that somebody wrote: a default can't be corrected. None where one of them is bad by
/// itself: what stands in its place is not what was written.
fn fault_at_written<const N: usize>(keys: [&str; N], message: String, sheet: &mut Sheet) {
    if keys.iter().any(|key| sheet.has_fault(key)) {
        return;
    }
    let written = keys.into_iter().find(|key| sheet.origin(key) != Origin::Default);
    sheet.fault_at(written.unwrap_or(keys[0]), message);
}

fn listeners(config: &Config, sheet: &mut Sheet) {
    let mut listeners = vec![
        ("listen.peers", "peers", config.listen.peers),
        ("listen.admin", "admin", config.listen.admin),
        ("listen.metrics", "metrics", config.listen.metrics),
    ];
    listeners.extend(config.http.listen.map(|address| ("http.listen", "http", address)));
    for (index, (key, name, address)) in listeners.iter().enumerate() {
        for (other_key, other_name, other) in &listeners[..index] {
            if overlap(*address, *other) {
                let message = format!("{name}, {address}, and {other_name}, {other}, can't share a port");
                fault_at_written([key, other_key], message, sheet);
            }
        }
    }
    // Both are UDP; the others are TCP.
    if let Some(data) = config.listen.data.filter(|data| overlap(*data, config.listen.peers)) {
        let message = format!("data, {data}, and peers, {}, can't share a port", config.listen.peers);
        fault_at_written(["listen.data", "listen.peers"], message, sheet);
    }
    data_ports(config, sheet);
    if let Some(data) = config.listen.data.filter(|data| !takes_all(data.ip(), config.listen.peers.ip())) {
        let (peers, port) = (config.listen.peers, data.port());
        let message = format!(
            "data links go where the peer found the node, {peers}, and {data} does not take them there: write {}",
            SocketAddr::new(peers.ip(), port)
        );
        fault_at_written(["listen.data", "listen.peers"], message, sheet);
    }
    if config.admin.token.is_none() && !config.listen.admin.ip().to_canonical().is_loopback() {
        let message = format!(
            "{} can be reached from other machines: set admin.token (or EVENKEEL_ADMIN_TOKEN), or listen on 127.0.0.1",
            config.listen.admin
        );
        fault_at_written(["listen.admin", "admin.token"], message, sheet);
    }
}

/// There is one for each worker, from `listen.data` on.
fn data_ports(config: &Config, sheet: &mut Sheet) {
    let Some(first) = config.listen.data.filter(|data| data.port() != 0) else { return };
    let (workers, peers) = (config.node.workers_here(), config.listen.peers);
    let mut ports =
        (0..workers).map(|index| u16::try_from(index).ok().and_then(|index| first.port().checked_add(index)));
    let is_that_of_peers = |port: u16| port != first.port() && overlap(SocketAddr::new(first.ip(), port), peers);
    let why = if ports.clone().any(|port| port.is_none()) {
        "there are not that many left".to_owned()
    } else if ports.any(|port| port.is_some_and(is_that_of_peers)) {
        format!("that of peers, {peers}, is among them")
    } else {
        return;
    };
    let message = format!(
        "data links have a UDP port for each of {workers} workers, from {first} on, and {why}: write another port"
    );
    fault_at_written(["listen.data", "node.workers"], message, sheet);
}

/// Whether a socket at `one` takes whatever comes to an address for which one at `other` listens. `[::]` takes IPv4 as well.
fn takes_all(one: IpAddr, other: IpAddr) -> bool {
    let (one, other) = (one.to_canonical(), other.to_canonical());
    one == other || one.is_unspecified() && (one.is_ipv6() || other.is_ipv4())
}

/// Port 0 is a new port each time and never overlaps.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let meets = one.ip().to_canonical() == other.ip().to_canonical()
        || one.ip().is_unspecified()
        || other.ip().is_unspecified();
    one.port() != 0 && one.port() == other.port() && meets
}

fn certificate(config: &Config, sheet: &mut Sheet) {
    if config.http.certificate.is_some() != config.http.key.is_some() {
        let message = "certificate and key belong together: name both files, or neither".to_owned();
        fault_at_written(["http.certificate", "http.key"], message, sheet);
    }
}

fn names(config: &Config, sheet: &mut Sheet) {
    let shares = config.shares.iter().map(|share| share.name.as_str());
    duplicates("share", shares, sheet);
    let groups = config.groups.iter().map(|group| group.name.as_str());
    duplicates("group", groups, sheet);
    let ids: Vec<String> = config.peers.iter().map(|peer| PeerName(&peer.id).to_string()).collect();
    duplicates("peer", ids.iter().map(String::as_str), sheet);
}

fn duplicates<'a>(section: &str, names: impl Iterator<Item = &'a str>, sheet: &mut Sheet) {
    let mut seen = HashSet::new();
    for name in names {
        if !seen.insert(name) {
            let key = format!("{section}.{name}");
            sheet.fault_at(&key, format!("there are two [[{section}]] of that name"));
        }
    }
}

fn groups(config: &Config, sheet: &mut Sheet) {
    for group in &config.groups {
        let key = format!("group.{}", group.name);
        // A list that could not be read is empty here.
        let is_bad = ["shares", "peers", "addresses"].iter().any(|list| sheet.has_fault(&format!("{key}.{list}")));
        if !is_bad && group.shares.is_empty() && group.peers.is_empty() && group.addresses.is_empty() {
            sheet.fault_at(&key, "matches nothing: give it shares, peers or addresses".to_owned());
        }
        for share in &group.shares {
            // One that is bad in another way is there nevertheless.
            let is_written = sheet.origin(&format!("share.{share}")) != Origin::Default;
            if !is_written && !config.shares.iter().any(|known| known.name == *share) {
                sheet.fault_at(&format!("{key}.shares"), format!("there is no [[share]] named {share:?}"));
            }
        }
    }
}

/// A floor above its cap, or floors that together are more than the total, can't be kept (DESIGN 5). A peer's floor lies within
/// its group's; where the rules alone don't say which group that is, it is counted with the peers only.
fn floors(config: &Config, direction: Direction, sheet: &mut Sheet) {
    let total = match direction {
        Direction::Upload => config.limits.upload,
        Direction::Download => config.limits.download,
    };
    let limit_key = format!("limits.{direction}");
    let mut guaranteed = Sum::default();
    let mut homeless = Sum::default();
    let mut all_peers = Sum::default();
    let mut in_groups = vec![Sum::default(); config.groups.len()];
    for peer in &config.peers {
        let (key, floor) = own_floor(&format!("peer.{}", PeerName(&peer.id)), &peer.standing, direction, sheet);
        all_peers.add(floor, &key);
        match config.home_of(&peer.id) {
            Home::Rule(index) => in_groups[index].add(floor, &key),
            Home::Default => homeless.add(floor, &key),
            Home::Unknown => {}
        }
    }
    for (group, peers) in config.groups.iter().zip(&in_groups) {
        let cap = bounds(&group.standing, direction).cap;
        let (key, floor) = own_floor(&format!("group.{}", group.name), &group.standing, direction, sheet);
        if let Some(last) = peers.above(cap) {
            let message = format!("the floors of its peers add up to {}, above its cap, {cap}", shown(peers.floors));
            fault_at_written([&format!("group.{}.{direction}_cap", group.name), last], message, sheet);
        }
        match peers.floors > floor {
            true => guaranteed.add(peers.floors, &peers.last_key),
            false => guaranteed.add(floor, &key),
        }
    }
    let groups_fit = guaranteed.above(total).is_none();
    guaranteed.add(homeless.floors, &homeless.last_key);
    let whose = if groups_fit { "groups and of peers outside them" } else { "groups" };
    for (sum, whose) in [(all_peers, "peers"), (guaranteed, whose)] {
        if let Some(last) = sum.above(total) {
            let sum = shown(sum.floors);
            let message = format!("the floors of the {whose} add up to {sum}, more than the total of {total}");
            return fault_at_written([&limit_key, last], message, sheet);
        }
    }
}

/// Floors together, and the key of the last of them: where a fault of their sum is shown.
#[derive(Clone, Default)]
struct Sum {
    floors: u64,
    last_key: String,
}

impl Sum {
    fn add(&mut self, floor: u64, key: &str) {
        if floor > 0 {
            self.floors = self.floors.saturating_add(floor);
            key.clone_into(&mut self.last_key);
        }
    }

    /// The key to name if this is more than `limit`.
    fn above(&self, limit: Rate) -> Option<&str> {
        limit.limit().filter(|limit| self.floors > *limit).map(|_| self.last_key.as_str())
    }
}

/// The key and the floor of one node, which is checked against its own cap.
fn own_floor(path: &str, standing: &Standing, direction: Direction, sheet: &mut Sheet) -> (String, u64) {
    let bounds = bounds(standing, direction);
    let key = format!("{path}.{direction}_floor");
    let floor = bounds.floor_bytes_per_second;
    if bounds.cap.limit().is_some_and(|cap| floor > cap) {
        sheet.fault_at(&key, format!("{} is above its cap, {}", shown(floor), bounds.cap));
    }
    (key, floor)
}

fn bounds(standing: &Standing, direction: Direction) -> Bounds {
    match direction {
        Direction::Upload => standing.upload,
        Direction::Download => standing.download,
    }
}

fn shown(bytes_per_second: u64) -> Rate {
    Rate::from_bytes_per_second(bytes_per_second)
}
