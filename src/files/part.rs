//! Where a file is going to be: its directory, its name, and the `.part` beside it. Everything here blocks and runs on
//! disk threads.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use actors::port::FileError;
use rustix::{
    fs::{
        AtFlags, FileType, FlockOperation, Mode, OFlags, Stat, flock, fstat, fstatvfs, fsync, mkdirat, renameat,
        statat, unlinkat,
    },
    io::Errno,
};
use wire::FailureCode;

use super::{
    fault::{Deed, Label},
    lock::PartKey,
    path::{BelowPath, NAME_BYTES_MAX, PART_SUFFIX},
    stamp::{Stamp, kind_of},
};

/// A file to be, seen from its directory.
#[derive(Debug)]
pub(super) struct Place {
    directory: OwnedFd,
    name: String,
    part: String,
    pub(super) label: Label,
}

impl Place {
    /// Finds `below` beneath `root`, making the directories on the way. Refuses what a file cannot replace.
    pub(super) fn find(root: BorrowedFd<'_>, below: &BelowPath, label: Label) -> Result<Self, FileError> {
        let (directories, name) = below.split();
        let directory = make_directories(root, directories).map_err(|error| match Errno::from_io_error(&error) {
            Some(Errno::NOTDIR) => label.fault(FailureCode::Exists, "a part of its path is a file, not a directory"),
            _ => label.io(Deed::Write, &error),
        })?;
        let place = Self { directory, name: name.to_owned(), part: part_name(name), label };
        place.check_target()?;
        Ok(place)
    }

    /// What the table of locks knows it by.
    pub(super) fn key(&self) -> Result<PartKey, FileError> {
        key_in(&self.directory, &self.part).map_err(|error| self.fault(&error))
    }

    /// Opens the part, or makes it, and locks it against other processes.
    pub(super) fn open_part(&self) -> Result<OwnedFd, FileError> {
        for _ in 0..TRIES_MAX {
            let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NONBLOCK | OFlags::NOCTTY;
            let part = host::open_beneath(self.directory.as_fd(), Path::new(&self.part), flags);
            let part = part.map_err(|error| self.fault(&error))?;
            let stat = fstat(&part).map_err(|errno| self.fault(&errno.into()))?;
            if kind_of(&stat) != FileType::RegularFile {
                return Err(self.label.special());
            }
            match flock(&part, FlockOperation::NonBlockingLockExclusive) {
                Err(Errno::WOULDBLOCK) => return Err(self.busy()),
                Err(errno) => return Err(self.fault(&errno.into())),
                Ok(()) => {}
            }
            if stat.st_nlink > 1 {
                // Cutting it off would cut off the file that it is linked with.
                self.unlink_part();
            } else if self.is_part(&part) {
                return Ok(part);
            }
            // Whoever had the lock before has renamed or removed it: there is another one now.
        }
        Err(self.busy())
    }

    /// Refuses what cannot fit, before the first byte.
    pub(super) fn check_room(&self, part: &OwnedFd, size: u64) -> Result<(), FileError> {
        let too_large = i64::try_from(size).is_err();
        let (Ok(disk), Ok(stat)) = (fstatvfs(&self.directory), fstat(part)) else { return Ok(()) };
        // Some virtual file systems count nothing; then the writing will tell.
        if disk.f_blocks == 0 && !too_large {
            return Ok(());
        }
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        let held = u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512);
        if too_large || size > free.saturating_add(held) {
            if stat.st_size == 0 {
                self.unlink_part();
            }
            let words = format!(
                "the receiving disk is full: {size} bytes are to come and {free} are free; make room and ask again"
            );
            return Err(self.label.fault(FailureCode::DiskFull, words));
        }
        Ok(())
    }

    /// Gives the part its name, replacing a regular file, and makes that durable.
    pub(super) fn rename_part(&self, part: &OwnedFd) -> Result<(), FileError> {
        if !self.is_part(part) {
            let words = "its `.part` was taken away while it was written; ask again";
            return Err(self.label.fault(FailureCode::Io, words));
        }
        self.check_target()?;
        renameat(&self.directory, &self.part, &self.directory, &self.name)
            .and_then(|()| fsync(&self.directory))
            .map_err(|errno| self.fault(&errno.into()))
    }

    /// Removes the part's name, if it is still this part's.
    pub(super) fn discard(&self, part: &OwnedFd) {
        if self.is_part(part) {
            self.unlink_part();
        }
    }

    /// What the system's answer to a writing means.
    pub(super) fn fault(&self, error: &io::Error) -> FileError {
        self.label.io(Deed::Write, error)
    }

    /// Somebody else writes it.
    pub(super) fn busy(&self) -> FileError {
        self.label.fault(FailureCode::Busy, "another transfer is writing it; try again when that has ended")
    }

    fn check_target(&self) -> Result<(), FileError> {
        match self.look(&self.name).map(|stat| kind_of(&stat)) {
            Ok(FileType::RegularFile) | Err(Errno::NOENT) => Ok(()),
            Ok(FileType::Directory) => Err(self.label.fault(FailureCode::IsDirectory, "a directory has that name")),
            Ok(_) => {
                let words = "something that is not a regular file has that name";
                Err(self.label.fault(FailureCode::Exists, words))
            }
            Err(errno) => Err(self.fault(&errno.into())),
        }
    }

    fn is_part(&self, part: &OwnedFd) -> bool {
        let (Ok(named), Ok(ours)) = (self.look(&self.part), fstat(part)) else { return false };
        (named.st_dev, named.st_ino) == (ours.st_dev, ours.st_ino)
    }

    fn unlink_part(&self) {
        // A part that stays is found, and cut off, by the next writer.
        let _ = unlinkat(&self.directory, &self.part, AtFlags::empty());
    }

    fn look(&self, name: &str) -> Result<Stat, Errno> {
        statat(&self.directory, name, AtFlags::SYMLINK_NOFOLLOW)
    }
}

/// `NAME.part`. Where that is longer than a name may be, as much of it as fits, and a hash in place of the rest: the same name has
/// the same part each time, and no other name has it.
fn part_name(name: &str) -> String {
    if name.len() + PART_SUFFIX.len() <= NAME_BYTES_MAX {
        return format!("{name}{PART_SUFFIX}");
    }
    let hash = &blake3::hash(name.as_bytes()).to_hex()[..HASH_DIGITS];
    let room = NAME_BYTES_MAX - PART_SUFFIX.len() - 1 - HASH_DIGITS;
    let cut = (0..=room).rev().find(|at| name.is_char_boundary(*at)).unwrap_or(0);
    format!("{}~{hash}{PART_SUFFIX}", &name[..cut])
}

/// Hexadecimal digits that tell long names apart: 64 bits.
const HASH_DIGITS: usize = 16;

/// Opens `path` beneath `root`, making what is not there. Links are not followed.
pub(super) fn make_directories(root: BorrowedFd<'_>, path: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let mut directory = host::open_beneath(root, Path::new("."), flags)?;
    for name in path.split('/').filter(|name| !name.is_empty()) {
        let open = |from: &OwnedFd| host::open_beneath(from.as_fd(), Path::new(name), flags);
        directory = match open(&directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                match mkdirat(&directory, name, Mode::from_raw_mode(0o777)) {
                    // Somebody else was faster.
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(errno) => return Err(errno.into()),
                }
                // A file that survives a power cut needs its directories.
                fsync(&directory)?;
                open(&directory)?
            }
            answer => answer?,
        };
    }
    Ok(directory)
}

/// What the table of locks knows the part of `below` by, which may be there; nothing is made.
pub(super) fn key_of(root: BorrowedFd<'_>, below: &BelowPath) -> io::Result<PartKey> {
    let (directories, name) = below.split();
    let path = if directories.is_empty() { "." } else { directories };
    let directory = host::open_beneath(root, Path::new(path), OFlags::RDONLY | OFlags::DIRECTORY)?;
    key_in(&directory, &part_name(name))
}

fn key_in(directory: &OwnedFd, part: &str) -> io::Result<PartKey> {
    let stamp = Stamp::of(directory)?;
    Ok((stamp.device, stamp.inode, part.to_owned().into_bytes()))
}

/// How often a part is opened anew because somebody has just renamed it.
const TRIES_MAX: u32 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_has_a_name_that_fits_and_is_its_own() {
        assert_eq!(part_name("x"), "x.part");
        assert_eq!(part_name(&"n".repeat(250)), format!("{}.part", "n".repeat(250)));
        // Longer ones, among them such as differ in the last letter only, and letters of several bytes.
        let mut parts: Vec<String> = (251..=255).map(|bytes| part_name(&"n".repeat(bytes))).collect();
        parts.push(part_name(&("n".repeat(254) + "m")));
        parts.extend((0..4).map(|ahead| part_name(&("n".repeat(ahead) + &"\u{1d11e}".repeat(63)))));
        for part in &parts {
            assert!(part.len() <= NAME_BYTES_MAX && part.ends_with(PART_SUFFIX), "{} bytes: {part}", part.len());
        }
        assert_eq!(part_name(&"n".repeat(255)), parts[4], "the same each time");
        let count = parts.len();
        parts.sort();
        parts.dedup();
        assert_eq!(parts.len(), count);
    }
}
