//! What the demo found, computed from what the receivers wrote to disk.

use std::time::Duration;

use super::cast::{Part, deserved};

/// Shares are judged over windows this long, from the time when everybody has been there that long.
const WINDOW: Duration = Duration::from_secs(10);

/// How much of each file was on disk at one moment.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    /// Since the start.
    pub(super) at: Duration,
    /// Bytes, by peer.
    pub(super) on_disk: Vec<u64>,
}

/// The figures of the last line.
#[derive(Clone, Debug, Default)]
pub(super) struct Verdict {
    /// Of the plain, equal peers.
    pub(super) jain: f64,
    /// The largest relative deviation of any peer in any window from its exact weighted max-min share.
    pub(super) deviation: f64,
    /// Who that was.
    pub(super) deviant: Option<&'static str>,
    /// All bytes over the limit times the time.
    pub(super) used: f64,
    /// The busiest second over the limit.
    pub(super) busiest_second: f64,
    /// Windows judged.
    pub(super) windows: usize,
    /// The same by role, in the order of appearance.
    pub(super) roles: Vec<RoleVerdict>,
}

/// What became of the peers of one role.
#[derive(Clone, Debug)]
pub(super) struct RoleVerdict {
    /// Which.
    pub(super) role: &'static str,
    /// How many.
    pub(super) peers: usize,
    /// The exact share of each, bytes per second.
    pub(super) exact: f64,
    /// What they got on average over all windows.
    pub(super) mean: f64,
    /// The largest relative deviation of one of them in any window.
    pub(super) deviation: f64,
}

/// Judges `samples`; `total` in bytes per second. `None` when the demo was too short to have one window.
pub(super) fn judge(parts: &[Part], samples: &[Sample], total: f64, background_floor: f64) -> Option<Verdict> {
    let settled = parts.iter().map(|part| part.joins).max().unwrap_or_default() + WINDOW;
    let all: Vec<&Part> = parts.iter().collect();
    let exact = deserved(&all, total, background_floor);
    let mut verdict = Verdict::default();
    let judged: Vec<&Sample> = samples.iter().filter(|sample| sample.at >= settled).collect();
    for (index, first) in judged.iter().enumerate() {
        let Some(last) = judged[index..].iter().find(|sample| sample.at >= first.at + WINDOW) else { break };
        verdict.windows += 1;
        let rates = rates(first, last);
        for ((rate, exact), part) in rates.iter().zip(&exact).zip(parts) {
            let deviation = (rate - exact).abs() / exact;
            if deviation > verdict.deviation {
                verdict.deviation = deviation;
                verdict.deviant = Some(part.role);
            }
            let role = match verdict.roles.iter_mut().find(|role| role.role == part.role) {
                Some(role) => role,
                None => {
                    let (role, exact) = (part.role, *exact);
                    verdict.roles.push(RoleVerdict { role, peers: 0, exact, mean: 0.0, deviation: 0.0 });
                    let last = verdict.roles.len() - 1;
                    &mut verdict.roles[last]
                }
            };
            role.deviation = role.deviation.max(deviation);
        }
    }
    let (first, last) = (judged.first()?, judged.last()?);
    if verdict.windows == 0 {
        return None;
    }
    for role in &mut verdict.roles {
        let own: Vec<f64> = of_role(role.role, parts, &rates(first, last));
        role.peers = own.len();
        role.mean = own.iter().sum::<f64>() / own.len().max(1) as f64;
    }
    let plain = of_role("plain", parts, &rates(first, last));
    verdict.jain = flow::jain(&plain);
    verdict.used = rates(first, last).iter().sum::<f64>() / total;
    verdict.busiest_second = busiest_second(&judged) / total;
    Some(verdict)
}

fn rates(first: &Sample, last: &Sample) -> Vec<f64> {
    let seconds = (last.at - first.at).as_secs_f64();
    last.on_disk.iter().zip(&first.on_disk).map(|(last, first)| last.saturating_sub(*first) as f64 / seconds).collect()
}

fn of_role(role: &str, parts: &[Part], rates: &[f64]) -> Vec<f64> {
    rates.iter().zip(parts).filter(|(_, part)| part.role == role).map(|(rate, _)| *rate).collect()
}

fn busiest_second(samples: &[&Sample]) -> f64 {
    let sum = |sample: &Sample| sample.on_disk.iter().sum::<u64>();
    let mut most = 0.0_f64;
    for (index, first) in samples.iter().enumerate() {
        let Some(last) = samples[index..].iter().find(|sample| sample.at >= first.at + Duration::from_secs(1)) else {
            break;
        };
        most = most.max((sum(last) - sum(first)) as f64 / (last.at - first.at).as_secs_f64());
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::demo::cast::cast;
    use flow::Rate;

    fn samples(parts: &[Part], rates: &[f64], seconds: u64) -> Vec<Sample> {
        let at = |tick: u64| Sample {
            at: Duration::from_millis(tick * 100),
            on_disk: rates.iter().map(|rate| (rate * tick as f64 / 10.0) as u64).collect(),
        };
        assert_eq!(parts.len(), rates.len());
        (0..=seconds * 10).map(at).collect()
    }

    #[test]
    fn exact_shares_have_no_deviation_and_a_wrong_one_is_named() {
        let total = 20e6;
        let parts = cast(20, Rate::from_bytes_per_second(20_000_000), Duration::from_secs(40));
        let all: Vec<&Part> = parts.iter().collect();
        let mut rates = deserved(&all, total, 0.02);
        let verdict = judge(&parts, &samples(&parts, &rates, 40), total, 0.02).unwrap();
        assert!(verdict.deviation < 1e-3 && verdict.jain > 0.999_999, "{verdict:?}");
        assert!((verdict.used - 1.0).abs() < 1e-3, "{verdict:?}");
        rates[4] *= 0.9;
        let verdict = judge(&parts, &samples(&parts, &rates, 40), total, 0.02).unwrap();
        assert!((verdict.deviation - 0.1).abs() < 1e-3, "{verdict:?}");
        assert_eq!(verdict.deviant, Some("weight 2"));
    }

    #[test]
    fn a_demo_without_a_window_has_no_verdict() {
        let parts = cast(3, Rate::from_bytes_per_second(1_000_000), Duration::from_secs(5));
        assert!(judge(&parts, &samples(&parts, &[1.0, 1.0, 1.0], 5), 1e6, 0.02).is_none());
    }
}
