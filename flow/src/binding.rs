//! The one rule that holds a rate where it is.

use std::fmt;

/// Why a leaf or a peer has its rate and not a higher one (DESIGN 5). Feeds `explain`, the dashboards and the API.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub enum Binding {
    /// Its share of the total.
    Total,
    /// Its share of its group's cap.
    Group,
    /// The cap that the operator gave its peer, shared among the peer's transfers.
    PeerCap,
    /// Its own cap.
    TransferCap,
    /// The rate that its peer asked for, shared among the peer's transfers.
    Negotiated,
    /// The sending side has nothing more to send.
    Source,
    /// The receiving side takes no more.
    Receiver,
    /// The path carries no more.
    Network,
    /// The disk gives or takes no more.
    Disk,
    /// Our own thread was busy.
    Worker,
    /// Foreground transfers go first.
    BackgroundYield,
    /// Nothing holds it: no limit is in force.
    Unlimited,
}

impl Binding {
    /// Every binding, in the order of the metrics table.
    pub const ALL: [Self; 12] = [
        Self::Total,
        Self::Group,
        Self::PeerCap,
        Self::TransferCap,
        Self::Negotiated,
        Self::Source,
        Self::Receiver,
        Self::Network,
        Self::Disk,
        Self::Worker,
        Self::BackgroundYield,
        Self::Unlimited,
    ];

    /// The word used in API and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Total => "total",
            Self::Group => "group",
            Self::PeerCap => "peer_cap",
            Self::TransferCap => "transfer_cap",
            Self::Negotiated => "negotiated",
            Self::Source => "source",
            Self::Receiver => "receiver",
            Self::Network => "network",
            Self::Disk => "disk",
            Self::Worker => "worker",
            Self::BackgroundYield => "background_yield",
            Self::Unlimited => "unlimited",
        }
    }

    /// Position in [`Binding::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_in_order() {
        for (index, binding) in Binding::ALL.into_iter().enumerate() {
            assert_eq!(binding.index(), index);
        }
    }
}
