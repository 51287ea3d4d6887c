//! How even rates are, and what would be exactly even: for the demo, the dashboards and as the oracle of tests.

/// Jain's index (Jain, Chiu, Hawe 1984): 1 when all rates are equal, `1/n` when one has everything. 1 when there is nothing
/// to compare.
pub fn jain(rates: &[f64]) -> f64 {
    let sum: f64 = rates.iter().sum();
    let squares: f64 = rates.iter().map(|rate| rate * rate).sum();
    if squares == 0.0 { 1.0 } else { sum * sum / (rates.len() as f64 * squares) }
}

/// Weighted max-min shares of `capacity` among demands `(weight, cap)`, in their order. Weights are above 0.
///
/// Written for being obviously right, not fast, and shares no line with [`crate::allocation`]: whoever wants less than an
/// even share of what is left is given that and leaves; when nobody does, what is left is split evenly.
pub fn weighted_max_min(capacity: f64, demands: &[(f64, f64)]) -> Vec<f64> {
    let mut rates = vec![0.0; demands.len()];
    let mut open: Vec<usize> = (0..demands.len()).collect();
    let mut left = capacity;
    loop {
        let weights: f64 = open.iter().map(|index| demands[*index].0).sum();
        let level = left / weights;
        let (content, hungry): (Vec<usize>, Vec<usize>) =
            open.iter().partition(|index| demands[**index].1 <= demands[**index].0 * level);
        if content.is_empty() {
            for index in hungry {
                rates[index] = demands[index].0 * level;
            }
            return rates;
        }
        for index in content {
            rates[index] = demands[index].1;
            left -= demands[index].1;
        }
        if hungry.is_empty() {
            return rates;
        }
        left = left.max(0.0);
        open = hungry;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jain_knows_the_extremes() {
        assert_eq!(jain(&[5.0, 5.0, 5.0]), 1.0);
        assert_eq!(jain(&[9.0, 0.0, 0.0]), 1.0 / 3.0);
        assert_eq!(jain(&[]), 1.0);
        assert_eq!(jain(&[0.0, 0.0]), 1.0);
    }

    #[test]
    fn the_seeds_example_is_thirds() {
        let unlimited = f64::INFINITY;
        assert_eq!(weighted_max_min(99.0, &[(1.0, unlimited); 3]), [33.0; 3]);
        assert_eq!(weighted_max_min(100.0, &[(1.0, 10.0), (2.0, unlimited), (1.0, 1e9)]), [10.0, 60.0, 30.0]);
        assert_eq!(weighted_max_min(100.0, &[(1.0, 10.0), (2.0, 20.0)]), [10.0, 20.0]);
        assert_eq!(weighted_max_min(0.0, &[(1.0, 10.0)]), [0.0]);
        assert!(weighted_max_min(5.0, &[]).is_empty());
    }
}
