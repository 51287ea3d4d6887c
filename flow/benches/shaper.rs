//! What one released quantum costs: request, timers, turns, draws and books, at 10, 1,000 and 10,000 leaves.
//!
//! Virtual time; every released leaf asks again at once. Three worlds: guarantees that fill the total (each release waits
//! on the wheel first), loans only (turns by weight), and loans to 100 active leaves among 10,000 idle ones. The design's
//! aim is under 500 ns, and no more with idle leaves than without.

use std::{hint::black_box, sync::Arc, time::Duration};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use flow::{Class, GroupKey, LeafKey, LeafRates, Moment, PeerKey, Rate, Shaper, ShaperConfig, SharedBucket};

const TOTAL_BYTES_PER_SECOND: u64 = 1_000_000_000;

struct World {
    shaper: Shaper,
    now: Moment,
}

impl World {
    /// `active` of `leaves` are backlogged, each leaf on a peer of its own.
    fn new(leaves: u64, active: u64, assigned: Rate) -> Self {
        let total = Arc::new(SharedBucket::new(Rate::from_bytes_per_second(TOTAL_BYTES_PER_SECOND)));
        let mut shaper = Shaper::new(total, ShaperConfig::default(), Moment::ZERO);
        let rates = LeafRates { assigned, ceiling: Rate::UNLIMITED, weight: 1.0, class: Class::Foreground };
        for leaf in 0..leaves {
            shaper.put_peer(PeerKey(leaf), Arc::new(SharedBucket::new(Rate::UNLIMITED)), 1.0);
            shaper.put_leaf(LeafKey(leaf), PeerKey(leaf), GroupKey(0), rates, Moment::ZERO);
        }
        for leaf in 0..active {
            shaper.request(LeafKey(leaf * (leaves / active)), u32::MAX, Moment::ZERO);
        }
        let mut world = World { shaper, now: Moment::ZERO };
        // Past the first second everybody has found its quantum.
        while world.now < Moment::ZERO + Duration::from_secs(3) {
            world.release();
        }
        world
    }

    /// Releases one quantum, waiting as often as needed.
    fn release(&mut self) -> u32 {
        loop {
            if let Some(release) = self.shaper.poll(self.now) {
                self.shaper.request(release.leaf, u32::MAX, self.now);
                return release.bytes;
            }
            let wake = self.shaper.wake_at().unwrap_or(self.now);
            self.now = wake.max(self.now + Duration::from_nanos(1));
        }
    }
}

fn released_quantum(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("released_quantum");
    group.throughput(Throughput::Elements(1));
    let fair = |leaves: u64| Rate::from_bytes_per_second(TOTAL_BYTES_PER_SECOND / leaves);
    for leaves in [10, 1_000, 10_000] {
        group.bench_function(BenchmarkId::new("guaranteed", leaves), |bencher| {
            let mut world = World::new(leaves, leaves, fair(leaves));
            bencher.iter(|| black_box(world.release()));
        });
        group.bench_function(BenchmarkId::new("lent", leaves), |bencher| {
            let mut world = World::new(leaves, leaves, Rate::ZERO);
            bencher.iter(|| black_box(world.release()));
        });
    }
    group.bench_function("lent/100 of 10000", |bencher| {
        let mut world = World::new(10_000, 100, Rate::ZERO);
        bencher.iter(|| black_box(world.release()));
    });
    group.bench_function("lent/100 of 100", |bencher| {
        let mut world = World::new(100, 100, Rate::ZERO);
        bencher.iter(|| black_box(world.release()));
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    targets = released_quantum
}
criterion_main!(benches);
