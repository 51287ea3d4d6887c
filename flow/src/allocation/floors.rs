//! Floors that cannot be kept are refused when they are configured.

use crate::Rate;

/// A node with a floor or a cap, as it is configured: a group, a peer, or what the caller makes of it. Children are nodes
/// whose traffic is part of this one's.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FloorNode {
    /// As the operator calls it, with its kind: `group "mirrors"`.
    pub name: String,
    /// Never above; [`Rate::UNLIMITED`] for none.
    pub cap: Rate,
    /// Bytes per second, 0 for none.
    pub floor: u64,
    /// Below it.
    pub children: Vec<FloorNode>,
}

/// Guarantees that contradict a limit.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum FloorError {
    /// One node's own two numbers.
    #[error("{name}: its floor {floor} is above its cap {cap}; lower the floor to {cap} or less, or raise the cap")]
    AboveCap {
        /// Which.
        name: String,
        /// Guaranteed.
        floor: Rate,
        /// Never above.
        cap: Rate,
    },
    /// Children together.
    #[error(
        "{name}: the floors below it add up to {sum}, above its cap {cap}; raise the cap to {sum}, or lower floors ({largest} has the largest)"
    )]
    SumAboveCap {
        /// Which.
        name: String,
        /// Guaranteed together.
        sum: Rate,
        /// Never above.
        cap: Rate,
        /// The child with the largest floor.
        largest: String,
    },
    /// All together.
    #[error(
        "the floors add up to {sum}, above the total limit {total}; raise the total to {sum}, or lower floors ({largest} has the largest)"
    )]
    AboveTotal {
        /// Guaranteed together.
        sum: Rate,
        /// The configured total.
        total: Rate,
        /// The node with the largest floor.
        largest: String,
    },
}

/// Checks that every floor fits under its own cap, and their sums under every cap above and under `total`.
///
/// At run time, a learnt total may still fall below the floors; then they are scaled and the plan says so.
pub fn floors_fit(total: Rate, tree: &[FloorNode]) -> Result<(), FloorError> {
    let Guaranteed { sum, largest: (_, largest) } = guaranteed(tree)?;
    if sum > total {
        return Err(FloorError::AboveTotal { sum, total, largest });
    }
    Ok(())
}

/// What nodes are guaranteed together, and which floor is the largest of those that make it up, with its node's name.
struct Guaranteed {
    sum: Rate,
    largest: (Rate, String),
}

fn guaranteed(nodes: &[FloorNode]) -> Result<Guaranteed, FloorError> {
    let mut all = Guaranteed { sum: Rate::ZERO, largest: (Rate::ZERO, String::new()) };
    for node in nodes {
        let floor = Rate::from_bytes_per_second(node.floor).min(Rate::GREATEST);
        let (name, cap) = (node.name.clone(), node.cap);
        if floor > cap {
            return Err(FloorError::AboveCap { name, floor, cap });
        }
        let below = guaranteed(&node.children)?;
        if below.sum > cap {
            return Err(FloorError::SumAboveCap { name, sum: below.sum, cap, largest: below.largest.1 });
        }
        // A node whose children are promised more than itself is not the one to lower.
        let (own, largest) = if below.sum > floor { (below.sum, below.largest) } else { (floor, (floor, name)) };
        if largest.0 > all.largest.0 {
            all.largest = largest;
        }
        all.sum = all.sum.saturating_add(own);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, cap: u64, floor: u64, children: Vec<FloorNode>) -> FloorNode {
        FloorNode { name: name.to_owned(), cap: Rate::from_wire(cap), floor, children }
    }

    #[test]
    fn what_fits_is_accepted() {
        let peers = vec![node("peer a", 0, 30, vec![]), node("peer b", 50, 20, vec![])];
        let tree = [node("group g", 60, 10, peers), node("group h", 0, 50, vec![])];
        assert_eq!(floors_fit(Rate::from_bytes_per_second(100), &tree), Ok(()));
        assert_eq!(floors_fit(Rate::UNLIMITED, &tree), Ok(()));
    }

    #[test]
    fn what_does_not_fit_is_refused_with_what_to_do() {
        let refused =
            |total: u64, tree: &[FloorNode]| floors_fit(Rate::from_wire(total), tree).unwrap_err().to_string();
        let message = refused(0, &[node("group g", 10_000, 20_000, vec![])]);
        assert!(message.starts_with("group g: its floor 20.0 KB/s"), "{message}");
        let below = vec![node("peer a", 0, 8_000, vec![]), node("peer b", 0, 4_000, vec![])];
        let message = refused(0, &[node("group g", 10_000, 0, below)]);
        assert!(message.contains("raise the cap to 12.0 KB/s") && message.contains("(peer a has"), "{message}");
        let message = refused(10_000, &[node("group g", 0, 6_000, vec![]), node("group h", 0, 7_000, vec![])]);
        assert!(message.contains("raise the total to 13.0 KB/s") && message.contains("(group h has"), "{message}");
        let below = vec![node("peer a", 0, 8_000, vec![]), node("peer b", 0, 4_000, vec![])];
        let message = refused(10_000, &[node("group g", 0, 5_000, below)]);
        assert!(message.contains("raise the total to 12.0 KB/s") && message.contains("(peer a has"), "{message}");
    }
}
