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

use actors::port::{FileEntry, FileError, FileKind, FilePage};
use host::OFlags;
use rustix::fs::{AtFlags, Dir, FileType, fstat, statat};

use super::{
    fault::{Deed, Label},
    names::{LargeDirectories, Listable},
    path::{PATH_BYTES_MAX, SharePath},
    shares::Share,
    stamp::{Stamp, kind_of},
};

/// One page of the shares themselves.
pub(super) fn shares(shares: &BTreeMap<String, Share>, recursive: bool, after: &str, known: &Known) -> FilePage {
    let mut walk = Walk { page: FilePage::default(), names_bytes: 0, recursive, base_bytes: 0, known };
    let (first, deeper) = split_first(after);
    for (name, share) in shares.range(first.to_owned()..) {
        let is_first = name == first;
        if !is_first {
            let stamp = Stamp::of(&share.directory).ok();
            walk.push(FileEntry {
                name: name.clone(),
                size: 0,
                mtime_ns: stamp.map_or(0, |stamp| stamp.mtime_ns),
                kind: FileKind::Share,
            });
        }
        if walk.page.more {
            break;
        }
        if recursive {
            walk.descend(&share.directory, ".", &format!("{name}/"), if is_first { deeper } else { "" }, 1);
        }
    }
    walk.page
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
    let base_bytes = path.as_str().len() + 1;
    let mut walk = Walk { page: FilePage::default(), names_bytes: 0, recursive, base_bytes, known };
    match kind_of(&stat) {
        FileType::Directory => {
            let directory = open_directory(&found, ".").map_err(fault)?;
            walk.directory(&directory, "", after, 0).map_err(fault)?;
        }
        FileType::RegularFile => {
            let name = path.rest().rsplit('/').next().unwrap_or_default().to_owned();
            let stamp = Stamp::from_stat(&stat);
            if name.as_str() > after {
                let (size, mtime_ns) = (stamp.size, stamp.mtime_ns);
                walk.push(FileEntry { name, size, mtime_ns, kind: FileKind::File });
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
    /// Bytes of the path in front of every name.
    base_bytes: usize,
    known: &'a Known,
}

impl Walk<'_> {
    /// Takes one entry, or says that there is more.
    fn push(&mut self, entry: FileEntry) {
        let names_bytes = self.names_bytes + entry.name.len();
        if self.page.entries.len() >= PAGE_ENTRIES_MAX || names_bytes > PAGE_NAME_BYTES_MAX {
            self.page.more = true;
            return;
        }
        self.names_bytes = names_bytes;
        self.page.entries.push(entry);
    }

    /// Lists what is behind `after` in `directory`, every name with `prefix` in front.
    fn directory(&mut self, directory: &OwnedFd, prefix: &str, after: &str, depth: usize) -> io::Result<()> {
        let (first, deeper) = split_first(after);
        // `first` itself has been listed, perhaps not all that is in it.
        let mut from = From { name: first.to_owned(), inclusive: self.recursive };
        loop {
            let count_hidden = from.name.is_empty();
            let names = self.next_names(directory, &from, prefix, count_hidden)?;
            let is_last = names.len() < BATCH_NAMES;
            for name in &names {
                let is_first = name == first;
                self.name(directory, prefix, name, is_first.then_some(deeper), depth);
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
    fn name(&mut self, directory: &OwnedFd, prefix: &str, name: &str, resumed: Option<&str>, depth: usize) {
        // It may be gone by now; then it is not listed.
        let Ok(stat) = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) else { return };
        let stamp = Stamp::from_stat(&stat);
        let kind = match kind_of(&stat) {
            FileType::RegularFile => FileKind::File,
            FileType::Directory => FileKind::Directory,
            _ => return,
        };
        if resumed.is_none() {
            let size = if kind == FileKind::File { stamp.size } else { 0 };
            self.push(FileEntry { name: format!("{prefix}{name}"), size, mtime_ns: stamp.mtime_ns, kind });
        }
        if kind == FileKind::Directory && self.recursive && !self.page.more && depth < DEPTH_MAX {
            self.descend(directory, name, &format!("{prefix}{name}/"), resumed.unwrap_or(""), depth + 1);
        }
    }

    /// Lists a directory within the listing; one that can't be read is an empty one.
    fn descend(&mut self, from: &OwnedFd, name: &str, prefix: &str, after: &str, depth: usize) {
        let listed = open_directory(from, name).and_then(|directory| self.directory(&directory, prefix, after, depth));
        if let Err(error) = listed {
            tracing::debug!(directory = prefix, %error, "left out of a listing");
        }
    }

    /// The next few names behind `from`, sorted.
    fn next_names(
        &mut self,
        directory: &OwnedFd,
        from: &From,
        prefix: &str,
        count_hidden: bool,
    ) -> io::Result<Vec<String>> {
        let (now, room) = (SystemTime::now(), PATH_BYTES_MAX.saturating_sub(self.base_bytes + prefix.len()));
        if let Some(names) = self.known.large.known(directory, now) {
            let names = names.from(|name| !from.covers(name)).filter(|name| name.len() <= room);
            return Ok(names.take(BATCH_NAMES).map(str::to_owned).collect());
        }
        let mut least: BinaryHeap<String> = BinaryHeap::new();
        let mut hidden = 0;
        for entry in Dir::read_from(directory)? {
            let entry = entry?;
            let name = match Listable::of(&entry) {
                Listable::Name(name) if name.len() <= room => name,
                Listable::Name(_) | Listable::Unspeakable => {
                    hidden += 1;
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
        if count_hidden && hidden > 0 {
            self.page.hidden += hidden;
            tracing::warn!(directory = prefix, names = hidden, "names that are not UTF-8 can't be shared");
        }
        if least.len() == BATCH_NAMES {
            self.known.large.learn(directory, now)?;
        }
        Ok(least.into_sorted_vec())
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

/// Directories within directories that a recursive listing goes down; each is one open descriptor.
const DEPTH_MAX: usize = 64;

#[cfg(test)]
mod tests;
