//! What held a leaf back, as time.

use std::fmt;

use crate::Binding;

/// What a leaf waited for, told by our own queues (DESIGN 5): the kernel's `app_limited` means nothing on a socket that we
/// gate ourselves.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub enum Limiter {
    /// No bytes were ready.
    Source,
    /// Bytes were ready, permission was not: it would take more.
    Tokens,
    /// The receiver's window was used up.
    Receiver,
    /// Permission and window, but the socket was full.
    Network,
    /// The disk was being waited for.
    Disk,
    /// Everything was there; our thread was busy.
    Worker,
}

impl Limiter {
    /// Every limiter, in the order of [`Limiter::index`].
    pub const ALL: [Self; 6] = [Self::Source, Self::Tokens, Self::Receiver, Self::Network, Self::Disk, Self::Worker];

    /// Position in [`Limiter::ALL`], for arrays with one entry per limiter.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The word used in API and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Tokens => "tokens",
            Self::Receiver => "receiver",
            Self::Network => "network",
            Self::Disk => "disk",
            Self::Worker => "worker",
        }
    }

    /// The binding of a leaf that this limiter keeps below its share; `None` for tokens, where the share itself binds.
    pub const fn binding(self) -> Option<Binding> {
        match self {
            Self::Source => Some(Binding::Source),
            Self::Tokens => None,
            Self::Receiver => Some(Binding::Receiver),
            Self::Network => Some(Binding::Network),
            Self::Disk => Some(Binding::Disk),
            Self::Worker => Some(Binding::Worker),
        }
    }
}

impl fmt::Display for Limiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How much of a round each limiter held a leaf: fractions of the round's time, each in `0 ..= 1`, together at most 1.
#[derive(Copy, Clone, Debug, Default, PartialEq)]
pub struct LimiterShares {
    /// See [`Limiter::Source`].
    pub source: f64,
    /// See [`Limiter::Tokens`].
    pub tokens: f64,
    /// See [`Limiter::Receiver`].
    pub receiver: f64,
    /// See [`Limiter::Network`].
    pub network: f64,
    /// See [`Limiter::Disk`].
    pub disk: f64,
    /// See [`Limiter::Worker`].
    pub worker: f64,
}

impl LimiterShares {
    /// A round spent wholly on one limiter.
    pub fn all(limiter: Limiter) -> Self {
        let mut fractions = [0.0; 6];
        fractions[limiter.index()] = 1.0;
        Self::from_array(fractions)
    }

    /// From fractions in the order of [`Limiter::ALL`].
    pub const fn from_array(fractions: [f64; 6]) -> Self {
        let [source, tokens, receiver, network, disk, worker] = fractions;
        Self { source, tokens, receiver, network, disk, worker }
    }

    /// Fractions in the order of [`Limiter::ALL`].
    pub const fn to_array(self) -> [f64; 6] {
        [self.source, self.tokens, self.receiver, self.network, self.disk, self.worker]
    }

    /// The limiter that held the leaf longest; among equals the first of [`Limiter::ALL`], so that a leaf of which nothing
    /// is known counts as one without anything to send.
    pub fn dominant(&self) -> Limiter {
        let mut longest = (self.source, Limiter::Source);
        for (fraction, limiter) in self.to_array().into_iter().zip(Limiter::ALL) {
            if fraction > longest.0 {
                longest = (fraction, limiter);
            }
        }
        longest.1
    }

    /// Time during which the path to the other side was the limit: receiver or network.
    pub fn path(&self) -> f64 {
        self.receiver + self.network
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_wait_dominates() {
        let shares = LimiterShares { tokens: 0.4, network: 0.5, receiver: 0.1, ..LimiterShares::default() };
        assert_eq!(shares.dominant(), Limiter::Network);
        assert!((shares.path() - 0.6).abs() < 1e-12);
        assert_eq!(LimiterShares::default().dominant(), Limiter::Source);
        for limiter in Limiter::ALL {
            assert_eq!(LimiterShares::all(limiter).dominant(), limiter);
        }
    }
}
