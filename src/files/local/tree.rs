//! A listing from the other side, beneath a directory of this one.

use std::{
    fs::File,
    io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    path::Path,
};

use actors::port::{FileEntry, FileError, FileKind, PortFuture};
use host::OFlags;
use rustix::fs::{FileType, fstat};

use super::LocalFiles;
use crate::files::{
    disk::Lane,
    fault::{Deed, Label},
    part::make_directories,
    path::BelowPath,
    stamp::{Stamp, kind_of},
};

/// A directory made ready for a listing.
#[derive(Debug, Default)]
pub struct Prepared {
    /// The files that are not there with the size and the time that the listing has; also those with names that can't be.
    pub missing: Vec<FileEntry>,
    /// Directories that can't be made.
    pub faults: Vec<FileError>,
}

impl LocalFiles {
    /// Makes the directories of `entries` beneath `root`, and looks which of the files are there. The names come from the
    /// other side: nothing outside of `root` is touched or looked at, and links are not followed.
    pub fn prepare(&self, root: &Path, entries: Vec<FileEntry>) -> PortFuture<io::Result<Prepared>> {
        let root = root.to_owned();
        let prepared = self.tools.pool.run(Lane::Patient, move || {
            let root = OwnedFd::from(File::open(&root)?);
            let mut prepared = Prepared::default();
            for entry in entries {
                match entry.kind {
                    FileKind::File if !is_there(root.as_fd(), &entry) => prepared.missing.push(entry),
                    FileKind::File => {}
                    FileKind::Directory | FileKind::Share => {
                        prepared.faults.extend(make(root.as_fd(), &entry.name).err());
                    }
                }
            }
            Ok(prepared)
        });
        Box::pin(async move { prepared.await.map_err(io::Error::other)? })
    }
}

fn is_there(root: BorrowedFd<'_>, entry: &FileEntry) -> bool {
    let look = || -> io::Result<bool> {
        let Ok(below) = BelowPath::parse(&entry.name) else { return Ok(false) };
        let stat = fstat(host::open_beneath(root, below.as_path(), OFlags::PATH)?)?;
        let stamp = Stamp::from_stat(&stat);
        let same = (stamp.size, stamp.mtime_ns) == (entry.size, entry.mtime_ns);
        Ok(same && kind_of(&stat) == FileType::RegularFile)
    };
    look().unwrap_or(false)
}

fn make(root: BorrowedFd<'_>, name: &str) -> Result<(), FileError> {
    let below = BelowPath::parse(name)?;
    match make_directories(root, below.as_str()) {
        Ok(_) => Ok(()),
        Err(error) => Err(Label::plain(name).io(Deed::Write, &error)),
    }
}
