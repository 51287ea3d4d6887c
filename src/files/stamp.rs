//! What a file was when it was opened: enough to notice that it is another one now.

use std::{io, os::fd::AsFd};

use rustix::fs::{FileType, Stat, fstat};

/// Identity and state of a file at one moment.
#[derive(Copy, Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Stamp {
    /// The device it is on.
    pub(super) device: u64,
    /// Its number there.
    pub(super) inode: u64,
    /// Bytes.
    pub(super) size: u64,
    /// Nanoseconds since 1970: the contents.
    pub(super) mtime_ns: i64,
    /// Nanoseconds since 1970: contents, name or rights. Unlike the mtime nobody can set it, so it tells a file from
    /// another that got its inode number later, and the same size and mtime from a peer.
    pub(super) ctime_ns: i64,
}

impl Stamp {
    /// What the open file is now.
    ///
    /// # Errors
    /// As `fstat(2)`.
    pub(super) fn of(file: impl AsFd) -> io::Result<Self> {
        Ok(Self::from_stat(&fstat(file)?))
    }

    /// From what the system said.
    #[allow(clippy::unnecessary_cast, clippy::useless_conversion, reason = "widths differ by platform")]
    pub(super) fn from_stat(stat: &Stat) -> Self {
        Self {
            device: stat.st_dev as u64,
            inode: stat.st_ino as u64,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            mtime_ns: nanos(stat.st_mtime as i64, stat.st_mtime_nsec as i64),
            ctime_ns: nanos(stat.st_ctime as i64, stat.st_ctime_nsec as i64),
        }
    }

    /// Whether the contents are as they were: same file, size and mtime. Renaming or linking it changes nothing.
    pub(super) fn same_contents(&self, later: &Self) -> bool {
        (self.device, self.inode, self.size, self.mtime_ns) == (later.device, later.inode, later.size, later.mtime_ns)
    }
}

/// What kind of file the system says it is.
pub(super) fn kind_of(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// Saturating: a file system may hold times beyond the year 2262.
fn nanos(seconds: i64, nanos: i64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
}

/// The system's form of nanoseconds since 1970, which may be negative.
pub(super) fn timespec(ns: i64) -> rustix::fs::Timespec {
    rustix::fs::Timespec { tv_sec: ns.div_euclid(1_000_000_000), tv_nsec: ns.rem_euclid(1_000_000_000) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_1970_survive() {
        for ns in [0, 1, -1, 1_700_000_000_123_456_789, -1_500_000_000, i64::MAX, i64::MIN] {
            let time = timespec(ns);
            assert!((0..1_000_000_000).contains(&time.tv_nsec));
            let back = i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec);
            assert_eq!(back, i128::from(ns));
        }
    }
}
