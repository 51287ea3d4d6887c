//! Water-filling. How much all children of a node take together, as a function of the level that the water stands at.
//!
//! A child of weight `w` takes `w * level`, at least its floor, at most its demand. The sum is piecewise linear and never
//! falls, so it is a sorted list of knees, and the level for a capacity is found by bisection and one division: exact. The
//! same knees answer "and if this one child wanted more?" without being built anew.

use std::cell::Cell;

/// What one child brings: its weight (> 0), its guarantee, its demand (may be infinite). `floor <= demand`.
#[derive(Copy, Clone, Debug, PartialEq)]
pub(super) struct Claim {
    pub(super) weight: f64,
    pub(super) floor: f64,
    pub(super) demand: f64,
}

impl Claim {
    /// Wants nothing.
    pub(super) const NONE: Self = Self { weight: 1.0, floor: 0.0, demand: 0.0 };

    pub(super) fn new(weight: f64, floor: f64, demand: f64) -> Self {
        Self { weight, floor: floor.min(demand), demand }
    }

    /// The same child without a limit to its demand.
    pub(super) fn unbounded(self) -> Self {
        Self { demand: f64::INFINITY, ..self }
    }

    fn at_height(&self, height: f64) -> f64 {
        (self.weight * height).max(self.floor).min(self.demand)
    }

    /// Where it leaves its floor and where it is full.
    fn bends(&self) -> (f64, f64) {
        (self.floor / self.weight, self.demand / self.weight)
    }

    fn rises_after(&self, height: f64) -> bool {
        let (start, stop) = self.bends();
        start <= height && height < stop
    }
}

/// Where the water stands in a node.
#[derive(Copy, Clone, Debug, PartialEq)]
pub(super) struct Level {
    /// Bytes per second per unit of weight; infinite when every child is full.
    pub(super) height: f64,
    /// Below 1 when the floors alone do not fit: then each child has this part of its floor.
    pub(super) floors_scale: f64,
}

impl Level {
    pub(super) const FULL: Self = Self { height: f64::INFINITY, floors_scale: 1.0 };

    /// What a child takes at this level.
    pub(super) fn share(&self, claim: &Claim) -> f64 {
        if self.floors_scale < 1.0 { claim.floor * self.floors_scale } else { claim.at_height(self.height) }
    }
}

/// The sum of the children at `height`, and how fast it grows from there to the next knee.
#[derive(Copy, Clone, Debug)]
struct Knee {
    height: f64,
    value: f64,
    slope: f64,
}

/// The sum of all children as a function of the level.
#[derive(Clone, Debug, Default)]
pub(super) struct Curve {
    /// By height; the first is at 0.
    knees: Vec<Knee>,
    /// Where the last search ended. One child more or less moves the level by few knees, so the next search, one of some ten
    /// thousand in a round, ends near.
    last: Cell<usize>,
    /// Scratch: where a child starts (+ weight) or stops (- weight) to rise.
    bends: Vec<(f64, f64)>,
}

impl Curve {
    /// Starts over in the same memory.
    pub(super) fn rebuild(&mut self, claims: impl Iterator<Item = Claim>) {
        self.bends.clear();
        self.knees.clear();
        let mut floors = 0.0;
        // Slope and number of risers behind the last bend. Slopes are summed from there backwards: without floors that only
        // ever adds, so nothing cancels.
        let mut slope = 0.0;
        let mut risers = 0usize;
        for claim in claims {
            floors += claim.floor;
            let (start, stop) = claim.bends();
            if start >= stop {
                continue;
            }
            if start > 0.0 {
                self.bends.push((start, claim.weight));
            }
            if stop < f64::INFINITY {
                self.bends.push((stop, -claim.weight));
            } else {
                slope += claim.weight;
                risers += 1;
            }
        }
        // Heights are positive, so their bits sort as they do. The weight makes the order of equals, and so of every sum,
        // independent of the input's.
        self.bends.sort_unstable_by_key(|(height, weight)| (height.to_bits(), weight.to_bits()));
        self.knees.push(Knee { height: 0.0, value: floors, slope: 0.0 });
        self.knees.extend(self.bends.iter().map(|(height, _)| Knee { height: *height, value: 0.0, slope: 0.0 }));
        for (knee, (_, turn)) in self.knees[1..].iter_mut().zip(&self.bends).rev() {
            knee.slope = if risers == 0 { 0.0 } else { slope };
            slope -= turn;
            if *turn > 0.0 { risers -= 1 } else { risers += 1 }
        }
        self.knees[0].slope = if risers == 0 { 0.0 } else { slope };
        for index in 1..self.knees.len() {
            let before = self.knees[index - 1];
            self.knees[index].value = before.value + before.slope * (self.knees[index].height - before.height);
        }
    }

    /// The level at which the children take `capacity` together.
    pub(super) fn level(&self, capacity: f64) -> Level {
        let floors = self.knees[0].value;
        if capacity < floors {
            return scaled(capacity, floors);
        }
        // A capacity that was itself summed up from the demands must count as enough.
        let enough = capacity * (1.0 + 1e-12);
        let knee = self.last_knee(|knee| knee.value <= enough);
        if knee.slope == 0.0 {
            return Level::FULL;
        }
        Level { height: knee.height + (capacity - knee.value).max(0.0) / knee.slope, floors_scale: 1.0 }
    }

    /// The last knee for which `fits` holds, or the first. It must hold for all knees below one for which it does.
    fn last_knee(&self, fits: impl Fn(&Knee) -> bool) -> Knee {
        let count = self.knees.len();
        let from = self.last.get().min(count - 1);
        // Ever longer steps away from the last place, then bisection of the last step.
        let mut step = 1;
        let within = if fits(&self.knees[from]) {
            let mut known = from;
            while known + step < count && fits(&self.knees[known + step]) {
                known += step;
                step *= 2;
            }
            known + 1..count.min(known + step)
        } else {
            let mut unknown = from;
            while unknown >= step && !fits(&self.knees[unknown - step]) {
                unknown -= step;
                step *= 2;
            }
            unknown.saturating_sub(step)..unknown
        };
        let found = (within.start + self.knees[within].partition_point(fits)).max(1) - 1;
        self.last.set(found);
        self.knees[found]
    }

    /// The level for `capacity` if the child `old` were `new` instead.
    pub(super) fn level_replacing(&self, capacity: f64, old: &Claim, new: &Claim) -> Level {
        let others = |knee: &Knee| knee.value - old.at_height(knee.height);
        let floors = self.knees[0].value - old.floor + new.floor;
        if capacity < floors {
            return scaled(capacity, floors);
        }
        let fits = |knee: &Knee| others(knee) + new.at_height(knee.height) <= capacity;
        let knee = self.last_knee(fits);
        // Up to the next knee the others grow along one line; only `new` may bend.
        let slope = if old.rises_after(knee.height) { knee.slope - old.weight } else { knee.slope }.max(0.0);
        let left = capacity - others(&knee);
        let with_fixed = |amount: f64| {
            if slope <= old.weight * 1e-12 { f64::INFINITY } else { knee.height + (left - amount).max(0.0) / slope }
        };
        let rising = (left + slope * knee.height) / (slope + new.weight);
        let height = if new.weight * rising < new.floor {
            with_fixed(new.floor)
        } else if new.weight * rising > new.demand {
            with_fixed(new.demand)
        } else {
            rising
        };
        Level { height, floors_scale: 1.0 }
    }
}

fn scaled(capacity: f64, floors: f64) -> Level {
    Level { height: 0.0, floors_scale: capacity.max(0.0) / floors }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    impl Curve {
        fn of(claims: impl Iterator<Item = Claim>) -> Self {
            let mut curve = Self::default();
            curve.rebuild(claims);
            curve
        }
    }

    fn shares(capacity: f64, claims: &[Claim]) -> Vec<f64> {
        let level = Curve::of(claims.iter().copied()).level(capacity);
        claims.iter().map(|claim| level.share(claim)).collect()
    }

    #[test]
    fn pours_by_weight_until_full() {
        let claims =
            [Claim::new(1.0, 0.0, 10.0), Claim::new(2.0, 0.0, f64::INFINITY), Claim::new(1.0, 0.0, f64::INFINITY)];
        assert_eq!(shares(100.0, &claims), [10.0, 60.0, 30.0]);
        assert_eq!(shares(8.0, &claims), [2.0, 4.0, 2.0]);
        assert_eq!(shares(f64::INFINITY, &claims), [10.0, f64::INFINITY, f64::INFINITY]);
    }

    #[test]
    fn floors_hold_and_are_scaled_when_they_do_not_fit() {
        let claims = [Claim::new(1.0, 40.0, f64::INFINITY), Claim::new(1.0, 0.0, f64::INFINITY)];
        assert_eq!(shares(60.0, &claims), [40.0, 20.0]);
        assert_eq!(shares(100.0, &claims), [50.0, 50.0]);
        assert_eq!(shares(20.0, &claims), [20.0, 0.0]);
        let both = [Claim::new(1.0, 40.0, 99.0), Claim::new(1.0, 10.0, 99.0)];
        assert_eq!(shares(25.0, &both), [20.0, 5.0]);
    }

    #[test]
    fn nobody_there_is_full() {
        assert_eq!(Curve::of(std::iter::empty()).level(5.0), Level::FULL);
        assert_eq!(Curve::of([Claim::NONE].into_iter()).level(0.0), Level::FULL);
    }

    fn claim() -> impl Strategy<Value = Claim> {
        let demand = prop_oneof![Just(0.0), Just(f64::INFINITY), 0.0..1e6f64, Just(1000.0)];
        let floor = prop_oneof![3 => Just(0.0), 1 => 0.0..1e4f64];
        (prop_oneof![Just(1.0), 0.01..100.0f64], floor, demand).prop_map(|(w, f, d)| Claim::new(w, f, d))
    }

    proptest! {
        #[test]
        fn all_of_the_capacity_or_all_of_the_demand(claims in prop::collection::vec(claim(), 1..40), capacity in 0.0..1e7f64) {
            let poured: f64 = shares(capacity, &claims).iter().sum();
            let wanted: f64 = claims.iter().map(|claim| claim.demand).sum();
            let expected = capacity.min(wanted);
            prop_assert!((poured - expected).abs() <= 1e-9 * expected.max(1.0), "{poured} for {expected}");
        }

        #[test]
        fn replacing_is_rebuilding(
            mut claims in prop::collection::vec(claim(), 1..40),
            demand in prop_oneof![Just(f64::INFINITY), 0.0..1e6f64],
            capacity in 0.0..1e7f64,
            index: prop::sample::Index,
        ) {
            let curve = Curve::of(claims.iter().copied());
            let index = index.index(claims.len());
            let old = claims[index];
            let new = Claim::new(old.weight, old.floor, old.demand.max(demand));
            let quick = curve.level_replacing(capacity, &old, &new).share(&new);
            claims[index] = new;
            let rebuilt = shares(capacity, &claims)[index];
            prop_assert!((quick - rebuilt).abs() <= 1e-6 * rebuilt.max(1.0), "{quick} for {rebuilt}");
        }
    }
}
