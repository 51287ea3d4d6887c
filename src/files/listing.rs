//! Pages of names. A page is made anew from the directories, so that nothing is held between two of them but the names of
//! large directories, as far as they fit; a directory of any size needs the memory of one batch.
//!
//! The order is that of the components: `a`, `a/b`, `a.txt`. So a page can begin behind any name by going down to it.

use std::{
    collections::{BTreeMap, BinaryHeap},
    io,
    os::fd::{AsFd, OwnedFd},
    path::Path,
    time::SystemTime,
};

use actors::{
    log_gate::{LOG_INTERVAL, LogGate},
    port::{FileEntry, FileError, FileKind, FilePage},
};
use host::OFlags;
use rustix::{
    fs::{AtFlags, Dir, FileType, fstat, statat},
    io::Errno,
};

use super::{
    fault::{Deed, Label},
    names::{LargeDirectories, Listable},
    path::{NAME_BYTES_MAX, PATH_BYTES_MAX, PATH_NAMES_MAX, SharePath},
    shares::Share,
    stamp::{Stamp, kind_of},
};

/// Listings that leave names out.
static HIDDEN: LogGate = LogGate::new(LOG_INTERVAL);

/// One page of the shares themselves.
pub(super) fn shares(
    shares: &BTreeMap<String, Share>,
    recursive: bool,
    after: &str,
    known: &Known,
) -> Result<FilePage, FileError> {
    let base = Base { path: "", bytes: 0, names: 0 };
    let mut walk = Walk { page: FilePage::default(), names_bytes: 0, recursive, base, known };
    let (first, deeper) = split_first(after);
    for (name, share) in shares.range(first.to_owned()..) {
        let is_first = name == first;
        if !is_first {
            let mtime_ns = Stamp::of(&share.directory).map_or(0, |stamp| stamp.mtime_ns);
            walk.push(FileEntry::new(name, 0, mtime_ns, FileKind::Share));
        }
        if walk.page.more {
            break;
        }
        if recursive {
            let (after, told) = if is_first { (deeper, Told::Before) } else { ("", walk.last()) };
            walk.descend(&share.directory, ".", &format!("{name}/"), after, told)
                .map_err(|error| Label::plain(name).io(Deed::Read, &error))?;
        }
    }
    Ok(walk.page)
}

/// One page of what is at `path`: the names in a directory, or a file's own.
pub(super) fn beneath(
    share: &Share,
    path: &SharePath,
    recursive: bool,
    after: &str,
    known: &Known,
    label: &Label,
) -> Result<FilePage, FileError> {
    let fault = |error: io::Error| label.io(Deed::Read, &error);
    let rest = if path.rest().is_empty() { "." } else { path.rest() };
    let found = host::open_beneath(share.directory.as_fd(), Path::new(rest), OFlags::PATH).map_err(fault)?;
    let stat = fstat(&found).map_err(|errno| fault(errno.into()))?;
    let said = path.as_str();
    let base = Base { path: said, bytes: said.len() + 1, names: said.split('/').count() };
    let mut walk = Walk { page: FilePage::default(), names_bytes: 0, recursive, base, known };
    match kind_of(&stat) {
        FileType::Directory => {
            let directory = open_directory(&found, ".").map_err(fault)?;
            let told = if after.is_empty() { Told::Page } else { Told::Before };
            walk.directory(&directory, "", after, told).map_err(fault)?;
        }
        FileType::RegularFile => {
            let name = path.rest().rsplit('/').next().unwrap_or_default().to_owned();
            let stamp = Stamp::from_stat(&stat);
            if name.as_str() > after {
                walk.push(FileEntry::new(name, stamp.size, stamp.mtime_ns, FileKind::File));
            }
        }
        _ => return Err(label.special()),
    }
    Ok(walk.page)
}

/// What listings share.
#[derive(Debug, Default)]
pub(super) struct Known {
    large: LargeDirectories,
}

struct Walk<'a> {
    page: FilePage,
    names_bytes: usize,
    recursive: bool,
    base: Base<'a>,
    known: &'a Known,
}

/// The path in front of every name.
struct Base<'a> {
    path: &'a str,
    bytes: usize,
    names: usize,
}

/// Names in one directory that are not listed.
#[derive(Default)]
struct LeftOut {
    /// They can't travel.
    hidden: usize,
    /// They are no files and no directories.
    special: usize,
}

/// Where it is told that names of a directory are left out.
#[derive(Copy, Clone)]
enum Told {
    /// It is the listed directory itself.
    Page,
    /// In its entry on this page.
    Entry(usize),
    /// On a page before.
    Before,
}

impl Walk<'_> {
    /// Takes one entry, or says that there is more.
    fn push(&mut self, entry: FileEntry) {
        let names_bytes = self.names_bytes + entry.name.len();
        // Behind one that did not fit, a shorter one must not come.
        let full = self.page.entries.len() >= PAGE_ENTRIES_MAX || names_bytes > PAGE_NAME_BYTES_MAX;
        if self.page.more || full {
            self.page.more = true;
            return;
        }
        self.names_bytes = names_bytes;
        self.page.entries.push(entry);
    }

    /// The entry that was taken last.
    fn last(&self) -> Told {
        Told::Entry(self.page.entries.len() - 1)
    }

    /// Lists what is behind `after` in `directory`, every name with `prefix` in front.
    fn directory(&mut self, directory: &OwnedFd, prefix: &str, after: &str, told: Told) -> io::Result<()> {
        let (first, deeper) = split_first(after);
        // `first` itself has been listed, perhaps not all that is in it.
        let mut from = From { name: first.to_owned(), inclusive: self.recursive };
        let room = self.room(prefix);
        let mut told = Some(told);
        loop {
            let (names, left_out) = self.next_names(directory, &from, room)?;
            if let Some(told) = told.take() {
                self.leave_out(&left_out, told, prefix);
            }
            let is_last = names.len() < BATCH_NAMES;
            for name in &names {
                let is_first = name == first;
                self.name(directory, prefix, name, is_first.then_some(deeper))?;
                if self.page.more {
                    return Ok(());
                }
            }
            match names.last() {
                Some(name) if !is_last => from = From { name: name.clone(), inclusive: false },
                _ => return Ok(()),
            }
        }
    }

    /// Lists one name and, when it is a directory, what is in it. `resumed` is where to go on in a directory that was
    /// listed before.
    ///
    /// # Errors
    /// When the directory that it is in can't be listed.
    fn name(&mut self, directory: &OwnedFd, prefix: &str, name: &str, resumed: Option<&str>) -> io::Result<()> {
        let stat = match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            // It is gone by now.
            Err(Errno::NOENT) => return Ok(()),
            // The directory may be read and not be searched: nothing in it can be had. Or the disk fails.
            Err(errno) => return Err(errno.into()),
        };
        let stamp = Stamp::from_stat(&stat);
        let kind = match kind_of(&stat) {
            FileType::RegularFile => FileKind::File,
            FileType::Directory => FileKind::Directory,
            _ => return Ok(()),
        };
        if resumed.is_none() {
            let size = if kind == FileKind::File { stamp.size } else { 0 };
            self.push(FileEntry::new(format!("{prefix}{name}"), size, stamp.mtime_ns, kind));
        }
        if kind == FileKind::Directory && self.recursive && !self.page.more {
            let told = if resumed.is_some() { Told::Before } else { self.last() };
            self.descend(directory, name, &format!("{prefix}{name}/"), resumed.unwrap_or(""), told)?;
        }
        Ok(())
    }

    /// Lists a directory within the listing. That it can't be read is said in its entry.
    ///
    /// # Errors
    /// When its entry was on a page before.
    fn descend(&mut self, from: &OwnedFd, name: &str, prefix: &str, after: &str, told: Told) -> io::Result<()> {
        let listed = open_directory(from, name).and_then(|directory| self.directory(&directory, prefix, after, told));
        match (listed, told) {
            (Ok(()), _) => Ok(()),
            // It is gone by now.
            (Err(error), _) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            (Err(error), Told::Entry(index)) => {
                tracing::debug!(directory = prefix, %error, "left out of a listing");
                self.page.entries[index].unlisted = Some(Label::plain(name).io(Deed::Read, &error).code);
                Ok(())
            }
            (Err(error), Told::Page | Told::Before) => Err(error),
        }
    }

    /// Bytes that a name behind `prefix` may have; none where the path has as many names as it may have.
    fn room(&self, prefix: &str) -> usize {
        if self.base.names + prefix.matches('/').count() >= PATH_NAMES_MAX {
            return 0;
        }
        PATH_BYTES_MAX.saturating_sub(self.base.bytes + prefix.len()).min(NAME_BYTES_MAX)
    }

    fn leave_out(&mut self, left_out: &LeftOut, told: Told, prefix: &str) {
        let count = |names: usize| u32::try_from(names).unwrap_or(u32::MAX);
        let (hidden, special) = match told {
            Told::Page => (&mut self.page.hidden, &mut self.page.special),
            Told::Entry(index) => {
                let entry = &mut self.page.entries[index];
                (&mut entry.hidden, &mut entry.special)
            }
            Told::Before => return,
        };
        (*hidden, *special) = (count(left_out.hidden), count(left_out.special));
        if left_out.hidden == 0 {
            return;
        }
        // Whoever may list may do so as often as he likes.
        if let Some(suppressed) = HIDDEN.open(host::monotonic_nanos()) {
            let directory = Path::new(self.base.path).join(prefix);
            let (directory, names) = (directory.display(), left_out.hidden);
            tracing::warn!(%directory, names, suppressed, "names that are not UTF-8, or too long, can't be shared");
        }
    }

    /// The next few names behind `from`, sorted, and how many in the whole directory are left out.
    fn next_names(&self, directory: &OwnedFd, from: &From, room: usize) -> io::Result<(Vec<String>, LeftOut)> {
        let now = SystemTime::now();
        if let Some(names) = self.known.large.known(directory, now) {
            let too_long = match room {
                NAME_BYTES_MAX => 0,
                _ => names.from(|_| false).filter(|name| name.len() > room).count(),
            };
            let next = names.from(|name| !from.covers(name)).filter(|name| name.len() <= room);
            let left_out = LeftOut { hidden: names.unspeakable + too_long, special: names.special };
            return Ok((next.take(BATCH_NAMES).map(str::to_owned).collect(), left_out));
        }
        let mut least: BinaryHeap<String> = BinaryHeap::new();
        let mut left_out = LeftOut::default();
        for entry in Dir::read_from(directory)? {
            let entry = entry?;
            let name = match Listable::of(&entry) {
                Listable::Name(name) if name.len() <= room => name,
                Listable::Name(_) | Listable::Unspeakable => {
                    left_out.hidden += 1;
                    continue;
                }
                Listable::Special => {
                    left_out.special += 1;
                    continue;
                }
                Listable::No => continue,
            };
            if !from.covers(name) {
                continue;
            }
            if least.len() == BATCH_NAMES {
                if least.peek().is_some_and(|greatest| name >= greatest.as_str()) {
                    continue;
                }
                least.pop();
            }
            least.push(name.to_owned());
        }
        if least.len() == BATCH_NAMES {
            self.known.large.learn(directory, now)?;
        }
        Ok((least.into_sorted_vec(), left_out))
    }
}

/// Where a batch of names begins.
struct From {
    name: String,
    inclusive: bool,
}

impl From {
    fn covers(&self, name: &str) -> bool {
        name > self.name.as_str() || (self.inclusive && name == self.name)
    }
}

fn split_first(path: &str) -> (&str, &str) {
    path.split_once('/').unwrap_or((path, ""))
}

fn open_directory(from: &OwnedFd, name: &str) -> io::Result<OwnedFd> {
    host::open_beneath(from.as_fd(), Path::new(name), OFlags::RDONLY | OFlags::DIRECTORY)
}

/// Entries and bytes of names of a page: with sizes and times they fit one control frame of 64 KiB.
const PAGE_ENTRIES_MAX: usize = 500;
const PAGE_NAME_BYTES_MAX: usize = 48 * 1024;

/// Names sorted at a time: two pages' worth.
const BATCH_NAMES: usize = 1024;

#[cfg(test)]
mod tests;
