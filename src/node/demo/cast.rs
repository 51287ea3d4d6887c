//! Who takes part in the demo: peers with different wishes, and what each deserves by the book.

use std::time::Duration;

use flow::{Class, Rate};

/// One peer's part.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// What is special about it.
    pub(super) role: &'static str,
    /// The rate it asks for in its hello.
    pub(super) desired: Rate,
    /// The rate at which it reads, whatever it asked for.
    pub(super) reads: Rate,
    /// The weight that the operator gave it.
    pub(super) weight: f64,
    /// How urgent it says it is.
    pub(super) class: Class,
    /// When it comes.
    pub(super) joins: Duration,
}

impl Part {
    /// The most that it would take, bytes per second.
    pub(super) fn cap(&self) -> f64 {
        self.desired.min(self.reads).limit().map_or(f64::INFINITY, |rate| rate as f64)
    }
}

/// Parts for `count` peers under `total` for `duration`: of ten, four are plain and equal.
pub(super) fn cast(count: u32, total: Rate, duration: Duration) -> Vec<Part> {
    let mean = total.bytes_per_second() / u64::from(count.max(1));
    let fraction = |percent: u64| Rate::from_bytes_per_second((mean * percent / 100).max(1024));
    let plain = Part {
        role: "plain",
        desired: Rate::UNLIMITED,
        reads: Rate::UNLIMITED,
        weight: 1.0,
        class: Class::Foreground,
        joins: Duration::ZERO,
    };
    let part = |index: u32| match index % 10 {
        3 => Part { role: "asks for little", desired: fraction(25), ..plain.clone() },
        4 => Part { role: "weight 2", weight: 2.0, ..plain.clone() },
        5 => Part { role: "reads slowly", reads: fraction(40), ..plain.clone() },
        6 => Part { role: "background", class: Class::Background, ..plain.clone() },
        7 => Part { role: "joins late", joins: duration / 5, ..plain.clone() },
        8 => Part { role: "weight 0.5", weight: 0.5, ..plain.clone() },
        _ => plain.clone(),
    };
    (0..count).map(part).collect()
}

/// The exact weighted max-min rates of `parts` under `total`, foreground first, background with its floor.
pub(super) fn deserved(parts: &[&Part], total: f64, background_floor: f64) -> Vec<f64> {
    let demands = |class: Class| -> Vec<(f64, f64)> {
        let of_class = |part: &&&Part| part.class == class;
        parts.iter().filter(of_class).map(|part| (part.weight, part.cap().min(total))).collect()
    };
    let sum = |demands: &[(f64, f64)]| demands.iter().map(|(_, cap)| cap).sum::<f64>();
    let (front, back) = (demands(Class::Foreground), demands(Class::Background));
    let floor = (total * background_floor).min(sum(&back));
    let mut front_shares = flow::weighted_max_min(total - floor, &front).into_iter();
    let rest = total - sum(&front).min(total - floor);
    let mut back_shares = flow::weighted_max_min(rest, &back).into_iter();
    let share = |part: &&Part| match part.class {
        Class::Foreground => front_shares.next(),
        Class::Background => back_shares.next(),
    };
    parts.iter().map(share).map(Option::unwrap_or_default).collect()
}
