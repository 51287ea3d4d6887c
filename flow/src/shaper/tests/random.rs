//! Any order of any calls: the books always agree, nobody is lost, nothing is exceeded.

use std::collections::HashMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::sim::{SECOND, rate};
use crate::shaper::{LeafRates, Mode, Shaper, ShaperConfig, SharedBucket};
use crate::{Class, GroupKey, LeafKey, Moment, PeerKey, Rate};

const LEAVES: u64 = 12;
const PEERS: u64 = 5;
const GROUPS: u32 = 3;

#[derive(Clone, Debug)]
enum Call {
    Group(u32, Rate, f64),
    Peer(u64, Rate, f64),
    Leaf(u64, u64, u32, LeafRates),
    Set(u64, LeafRates),
    Remove(u64),
    RemovePeer(u64),
    Request(u64, u32),
    Cancel(u64),
    GiveBack(u64, u32),
    Total(Rate),
    PeerRate(u64, Rate),
    Wait(u64),
    Mode(u64, bool),
}

fn any_rate() -> impl Strategy<Value = Rate> {
    prop_oneof![3 => (1_024_u64..5_000_000).prop_map(rate), 1 => Just(Rate::UNLIMITED)]
}

fn any_rates() -> impl Strategy<Value = LeafRates> {
    (prop_oneof![Just(Rate::ZERO), any_rate()], any_rate(), 0.1_f64..10.0, any::<bool>()).prop_map(
        |(assigned, ceiling, weight, background)| {
            let class = if background { Class::Background } else { Class::Foreground };
            LeafRates { assigned: assigned.min(ceiling), ceiling, weight, class }
        },
    )
}

fn any_call() -> impl Strategy<Value = Call> {
    let (leaf, peer, group) = (0..LEAVES, 0..PEERS, 0..GROUPS);
    prop_oneof![
        1 => (group.clone(), any_rate(), 0.1_f64..10.0).prop_map(|(g, r, w)| Call::Group(g, r, w)),
        2 => (peer.clone(), any_rate(), 0.1_f64..10.0).prop_map(|(p, r, w)| Call::Peer(p, r, w)),
        4 => (leaf.clone(), peer.clone(), group, any_rates()).prop_map(|(l, p, g, r)| Call::Leaf(l, p, g, r)),
        3 => (leaf.clone(), any_rates()).prop_map(|(l, r)| Call::Set(l, r)),
        1 => leaf.clone().prop_map(Call::Remove),
        1 => peer.clone().prop_map(Call::RemovePeer),
        12 => (leaf.clone(), 1_u32..200_000).prop_map(|(l, b)| Call::Request(l, b)),
        1 => leaf.clone().prop_map(Call::Cancel),
        1 => (leaf.clone(), any::<bool>()).prop_map(|(l, bulk)| Call::Mode(l, bulk)),
        1 => (leaf, 1_u32..70_000).prop_map(|(l, b)| Call::GiveBack(l, b)),
        1 => any_rate().prop_map(Call::Total),
        1 => (peer, any_rate()).prop_map(|(p, r)| Call::PeerRate(p, r)),
        8 => (0_u64..200_000_000).prop_map(Call::Wait),
    ]
}

/// A shaper with a plain list beside it of who asked for how much.
struct Model {
    shaper: Shaper,
    total: Arc<SharedBucket>,
    peers: HashMap<u64, Arc<SharedBucket>>,
    owners: HashMap<u64, u64>,
    asked: HashMap<u64, u32>,
    now: u64,
}

impl Model {
    fn new() -> Self {
        let total = Arc::new(SharedBucket::new(rate(2_000_000)));
        let shaper = Shaper::new(total.clone(), ShaperConfig::default(), Moment::ZERO);
        let (peers, owners, asked) = (HashMap::new(), HashMap::new(), HashMap::new());
        Model { shaper, total, peers, owners, asked, now: 0 }
    }

    fn apply(&mut self, call: Call) {
        let now = Moment::from_nanos(self.now);
        match call {
            Call::Group(group, cap, weight) => {
                self.shaper.put_group(GroupKey(group), Arc::new(SharedBucket::new(cap)), weight);
            }
            Call::Peer(peer, cap, weight) => {
                let bucket = Arc::new(SharedBucket::new(cap));
                self.peers.insert(peer, bucket.clone());
                self.shaper.put_peer(PeerKey(peer), bucket, weight);
            }
            Call::Leaf(leaf, peer, group, rates) => {
                self.owners.insert(leaf, peer);
                self.shaper.put_leaf(LeafKey(leaf), PeerKey(peer), GroupKey(group), rates, now);
            }
            Call::Set(leaf, rates) => self.shaper.set_leaf(LeafKey(leaf), rates, now),
            Call::Remove(leaf) => {
                self.owners.remove(&leaf);
                self.asked.remove(&leaf);
                self.shaper.remove_leaf(LeafKey(leaf));
            }
            Call::RemovePeer(peer) => {
                let gone: Vec<_> = self.owners.iter().filter(|&(_, owner)| *owner == peer).map(|(&l, _)| l).collect();
                for leaf in gone {
                    self.owners.remove(&leaf);
                    self.asked.remove(&leaf);
                }
                self.shaper.remove_peer(PeerKey(peer));
            }
            Call::Request(leaf, bytes) => {
                if self.owners.contains_key(&leaf) {
                    self.asked.insert(leaf, bytes);
                }
                self.shaper.request(LeafKey(leaf), bytes, now);
            }
            Call::Cancel(leaf) => {
                self.asked.remove(&leaf);
                self.shaper.cancel(LeafKey(leaf));
            }
            Call::GiveBack(leaf, bytes) => self.shaper.give_back(LeafKey(leaf), bytes, now),
            Call::Total(limit) => self.total.set_rate(limit, now),
            Call::PeerRate(peer, limit) => {
                if let Some(bucket) = self.peers.get(&peer) {
                    bucket.set_rate(limit, now);
                }
            }
            Call::Wait(nanos) => self.now += nanos,
            Call::Mode(leaf, bulk) => self.shaper.set_mode(LeafKey(leaf), Mode::ALL[usize::from(bulk)]),
        }
    }

    fn drain(&mut self) -> Result<u64, TestCaseError> {
        let mut sum = 0;
        while let Some(release) = self.shaper.poll(Moment::from_nanos(self.now)) {
            let asked = self.asked.remove(&release.leaf.0);
            prop_assert!(asked.is_some_and(|asked| release.bytes > 0 && release.bytes <= asked), "{release:?}");
            sum += u64::from(release.bytes);
        }
        let wake = self.shaper.wake_at();
        prop_assert!(wake.is_some() || self.asked.is_empty(), "somebody waits and nobody is woken");
        prop_assert!(wake.is_none_or(|wake| wake.as_nanos() > self.now), "polled dry, yet to be polled again now");
        Ok(sum)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn the_books_agree_and_nobody_is_lost(calls in prop::collection::vec(any_call(), 1..200)) {
        let mut model = Model::new();
        for call in calls {
            model.apply(call);
            model.shaper.check();
            model.drain()?;
            model.shaper.check();
        }
        // With time alone, everybody who asked is served.
        for _ in 0..20_000 {
            let Some(wake) = model.shaper.wake_at() else { break };
            model.now = model.now.max(wake.as_nanos());
            model.drain()?;
        }
        prop_assert!(model.asked.is_empty(), "never served: {:?}", model.asked);
    }

    /// Leaves of any rates, always backlogged: the total and every ceiling hold in every second, every guarantee is met.
    #[test]
    fn limits_hold_and_guarantees_are_met(
        total in 200_000_u64..50_000_000,
        rates in prop::collection::vec((0.0_f64..1.0, 1.0_f64..4.0, 0.5_f64..5.0), 2..15),
        late in 0_u64..1_500_000,
    ) {
        let mut sim = super::sim::Sim::new(rate(total), 1);
        sim.late_ns_max = late.max(1);
        let parts: f64 = rates.iter().map(|(part, ..)| part).sum::<f64>().max(1e-9);
        let mut leaves = Vec::new();
        for (leaf, &(part, headroom, weight)) in rates.iter().enumerate() {
            let assigned = rate(((part / parts * total as f64) as u64).max(2_000).min(total));
            let ceiling = assigned.mul_f64(headroom);
            leaves.push((assigned.bytes_per_second(), ceiling.bytes_per_second()));
            sim.join(leaf as u64, Rate::UNLIMITED, LeafRates { assigned, ceiling, weight, class: Class::Foreground });
            sim.start(leaf as u64);
        }
        sim.run(11 * SECOND);
        sim.check();
        let quantum = sim.sent.iter().map(|sent| u64::from(sent.bytes)).max().unwrap_or(0);
        let allowed = (total / 100).max(quantum + total / 200);
        prop_assert!(sim.busiest_second(|_| true) <= total + allowed);
        let fits = leaves.iter().map(|(assigned, _)| assigned).sum::<u64>() <= total;
        for (leaf, &(assigned, ceiling)) in leaves.iter().enumerate() {
            let quantum = sim.sent.iter().filter(|sent| sent.leaf == leaf as u64).map(|sent| u64::from(sent.bytes)).max();
            let quantum = quantum.unwrap_or(0);
            let busiest = sim.busiest_second(|sent| sent == leaf as u64);
            prop_assert!(busiest <= ceiling + 2 * quantum + ceiling / 100 + 1, "leaf {leaf}: {busiest} of {ceiling}");
            let got = sim.bytes(SECOND, 11 * SECOND, |sent| sent == leaf as u64);
            let least = (10.0 * 0.99 * assigned as f64) as u64;
            // Two quanta at the window's edges, as large as they are when there are many leaves, or after it was lent more.
            let edges = 2 * quantum.max((assigned * 7 / 10).clamp(1 << 10, 128 << 10));
            prop_assert!(!fits || got + edges >= least, "leaf {leaf}: {got} of {least}");
        }
    }

    /// Who joined first doesn't matter.
    #[test]
    fn shares_don_t_depend_on_the_order_of_joining(weights in prop::collection::vec(0.5_f64..5.0, 2..8)) {
        let shares = |order: Vec<usize>| {
            let mut sim = super::sim::Sim::new(rate(5_000_000), 1);
            for &leaf in &order {
                sim.join_at(leaf as u64, PeerKey(0), GroupKey(0), Rate::UNLIMITED, super::sim::borrowing(weights[leaf]));
            }
            order.iter().for_each(|&leaf| sim.start(leaf as u64));
            sim.run(20 * SECOND);
            (0..weights.len() as u64).map(|leaf| sim.bytes(0, 20 * SECOND, |sent| sent == leaf)).collect::<Vec<_>>()
        };
        let forward = shares((0..weights.len()).collect());
        let backward = shares((0..weights.len()).rev().collect());
        for (one, other) in forward.iter().zip(&backward) {
            prop_assert!(one.abs_diff(*other) <= 1_000_000 + one / 50, "{forward:?} {backward:?}");
        }
    }
}
