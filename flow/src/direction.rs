//! Which way bytes go.

use std::fmt;

/// The way of a transfer, always seen from the node that says it.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub enum Direction {
    /// Node to peer.
    Upload,
    /// Peer to node.
    Download,
}

impl Direction {
    /// Both directions.
    pub const ALL: [Self; 2] = [Self::Upload, Self::Download];

    /// The word used in API and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Upload => "upload",
            Self::Download => "download",
        }
    }

    /// Position in [`Direction::ALL`], for arrays with one entry per direction.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The same way seen from the other side.
    pub const fn opposite(self) -> Self {
        match self {
            Self::Upload => Self::Download,
            Self::Download => Self::Upload,
        }
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
