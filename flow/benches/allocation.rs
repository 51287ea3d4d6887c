//! One allocation round. DESIGN 13: 10,000 leaves in at most 2 ms; a water-fill in numpy takes 2.3 ms for 20,000.
//!
//! `cargo bench -p evenkeel-flow --bench allocation`

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use flow::{
    Class, GroupKey, LeafKey, Limiter, LimiterShares, PeerKey, Rate,
    allocation::{GroupInput, Knobs, LeafInput, PeerInput, Plan, Snapshot, allocate, changes},
};

const PEERS: u64 = 10_000;
const TRANSFERS: u64 = 2;

/// How the leaves of the round behave.
#[derive(Copy, Clone)]
enum Load {
    /// Everybody waits for tokens.
    Hungry,
    /// A third each: waiting, held by the path, held by the source; every tenth peer capped, weights differ.
    Mixed,
    /// As mixed, with background transfers, floors, and every tenth peer in two groups.
    Everything,
}

fn snapshot(load: Load) -> Snapshot {
    let mixed = !matches!(load, Load::Hungry);
    let everything = matches!(load, Load::Everything);
    let group = |key: u32| GroupInput { key: GroupKey(key), weight: 1.0, cap: Rate::UNLIMITED, floor: 0 };
    let peer = |key: u64| PeerInput {
        key: PeerKey(key),
        weight: if mixed { 1.0 + (key % 10) as f64 } else { 1.0 },
        cap: if mixed && key % 10 == 3 { Rate::from_bytes_per_second(150_000) } else { Rate::UNLIMITED },
        negotiated: Rate::UNLIMITED,
        floor: if everything && key % 100 == 7 { 20_000 } else { 0 },
    };
    let leaf = |key: u64| {
        let peer = key / TRANSFERS;
        let limiter = match key % 3 {
            1 if mixed => Limiter::Network,
            2 if mixed => Limiter::Source,
            _ => Limiter::Tokens,
        };
        let used = 1000.0 * (20 + key * 7919 % 400) as f64;
        let spread = everything && peer % 10 == 3 && key % 2 == 1;
        LeafInput {
            key: LeafKey(key),
            peer: PeerKey(peer),
            group: GroupKey((peer % 4) as u32 + u32::from(spread)),
            weight: 1.0,
            cap: Rate::UNLIMITED,
            floor: 0,
            class: if everything && key.is_multiple_of(5) { Class::Background } else { Class::Foreground },
            achieved: used,
            limited: LimiterShares::all(limiter),
            demand_before: used,
            is_settled: true,
            backlogged: true,
        }
    };
    // As they come out of a hash map: in no order.
    let scatter = |key: &u64| key.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut peers: Vec<u64> = (0..PEERS).collect();
    let mut leaves: Vec<u64> = (0..PEERS * TRANSFERS).collect();
    peers.sort_by_key(scatter);
    leaves.sort_by_key(scatter);
    Snapshot {
        total: Rate::from_bytes_per_second(1_000_000_000),
        groups: (0..5).map(group).collect(),
        peers: peers.into_iter().map(peer).collect(),
        leaves: leaves.into_iter().map(leaf).collect(),
    }
}

fn rounds(criterion: &mut Criterion) {
    // As a node does at its start.
    host::keep_freed_memory();
    let knobs = Knobs::default();
    let mut group = criterion.benchmark_group("round of 10,000 peers x 2 transfers");
    group.throughput(Throughput::Elements(PEERS * TRANSFERS));
    for (name, load) in [("hungry", Load::Hungry), ("mixed", Load::Mixed), ("everything", Load::Everything)] {
        let snapshot = snapshot(load);
        group.bench_function(BenchmarkId::new("allocate", name), |bencher| {
            bencher.iter(|| allocate(black_box(&snapshot), &knobs));
        });
    }
    let snapshot = snapshot(Load::Mixed);
    let new = allocate(&snapshot, &knobs);
    let old = Plan { leaves: new.leaves.iter().rev().copied().collect(), ..new.clone() };
    group.bench_function("changes", |bencher| bencher.iter(|| changes(black_box(&old), black_box(&new))));
    group.finish();
}

criterion_group!(benches, rounds);
criterion_main!(benches);
