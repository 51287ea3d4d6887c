//! The names in large directories, kept sorted for the pages to come. Made anew for each page, a listing of 100,000 names cost
//! 7 s of processor time, and one of a million a hundred times as much.
//!
//! They are known by what the directory was: its times change with every name that comes or goes.

use std::{
    collections::VecDeque,
    io,
    os::fd::{AsFd, OwnedFd},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustix::fs::{Dir, DirEntry, FileType};

use super::{
    path::{is_plain_name, is_reserved},
    stamp::Stamp,
};

/// What a listing makes of a directory's entry.
pub(super) enum Listable<'a> {
    /// It is shown.
    Name(&'a str),
    /// It would be, but its name cannot travel.
    Unspeakable,
    /// A link, a pipe, a device: there, and not to be had.
    Special,
    /// It is not.
    No,
}

impl<'a> Listable<'a> {
    pub(super) fn of(entry: &'a DirEntry) -> Self {
        let bytes = entry.file_name().to_bytes();
        if matches!(bytes, b"." | b"..") || is_reserved(bytes) {
            return Self::No;
        }
        if !matches!(entry.file_type(), FileType::RegularFile | FileType::Directory | FileType::Unknown) {
            return Self::Special;
        }
        match std::str::from_utf8(bytes) {
            Ok(name) if is_plain_name(name) => Self::Name(name),
            _ => Self::Unspeakable,
        }
    }
}

/// The names of one directory.
#[derive(Debug)]
pub(super) struct Names {
    text: String,
    /// Where each name begins in the text, and its bytes; in the order of the names.
    spans: Vec<(u32, u16)>,
    /// Beside them: names that cannot travel.
    pub(super) unspeakable: usize,
    /// And names of what is neither a file nor a directory.
    pub(super) special: usize,
}

impl Names {
    /// Reads all of them; `None` when they are too many to keep.
    fn read(directory: &OwnedFd) -> io::Result<Option<Self>> {
        let (mut text, mut spans, mut unspeakable, mut special) = (String::new(), Vec::new(), 0, 0);
        for entry in Dir::read_from(directory)? {
            let entry = entry?;
            let name = match Listable::of(&entry) {
                Listable::Name(name) => name,
                Listable::Unspeakable => {
                    unspeakable += 1;
                    continue;
                }
                Listable::Special => {
                    special += 1;
                    continue;
                }
                Listable::No => continue,
            };
            // A name has at most 255 bytes, and all of them fit the limit.
            spans.push((text.len() as u32, name.len() as u16));
            text.push_str(name);
            if text.len() + spans.len() * SPAN_BYTES > BYTES_MAX {
                return Ok(None);
            }
        }
        spans.sort_unstable_by_key(|span| name_at(&text, *span));
        Ok(Some(Self { text, spans, unspeakable, special }))
    }

    /// The names for which `is_before` is false, which are the last ones.
    pub(super) fn from(&self, is_before: impl Fn(&str) -> bool) -> impl Iterator<Item = &str> {
        let first = self.spans.partition_point(|span| is_before(name_at(&self.text, *span)));
        self.spans[first..].iter().map(|span| name_at(&self.text, *span))
    }

    fn bytes(&self) -> usize {
        self.text.len() + self.spans.len() * SPAN_BYTES
    }
}

fn name_at(text: &str, (start, bytes): (u32, u16)) -> &str {
    &text[start as usize..start as usize + usize::from(bytes)]
}

/// Large directories that were listed lately.
#[derive(Debug, Default)]
pub(super) struct LargeDirectories {
    /// The latest last.
    kept: Mutex<VecDeque<Kept>>,
}

#[derive(Debug)]
struct Kept {
    stamp: Stamp,
    read_at: SystemTime,
    names: Arc<Names>,
}

impl LargeDirectories {
    /// The names in `directory`, if they were read lately and it has not changed since.
    pub(super) fn known(&self, directory: impl AsFd, now: SystemTime) -> Option<Arc<Names>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        // Looked for only where there is something to find: most nodes have no large directory.
        if kept.is_empty() {
            return None;
        }
        kept.retain(|kept| now.duration_since(kept.read_at).is_ok_and(|age| age < AGE_MAX));
        let stamp = Stamp::of(directory).ok()?;
        kept.iter().find(|kept| kept.stamp == stamp).map(|kept| kept.names.clone())
    }

    /// Keeps the names in `directory` for later, if that can be done.
    pub(super) fn learn(&self, directory: &OwnedFd, now: SystemTime) -> io::Result<()> {
        let before = Stamp::of(directory)?;
        let changed = UNIX_EPOCH + Duration::from_nanos(before.mtime_ns.max(before.ctime_ns).max(0) as u64);
        if now.duration_since(changed).is_ok_and(|age| age < SETTLED) || now < changed {
            return Ok(());
        }
        let Some(names) = Names::read(directory)? else { return Ok(()) };
        if Stamp::of(directory)? != before {
            return Ok(());
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|kept| (kept.stamp.device, kept.stamp.inode) != (before.device, before.inode));
        kept.push_back(Kept { stamp: before, read_at: now, names: Arc::new(names) });
        while kept.iter().map(|kept| kept.names.bytes()).sum::<usize>() > BYTES_MAX {
            kept.pop_front();
        }
        Ok(())
    }
}

/// All names together: about two million of ordinary length.
const BYTES_MAX: usize = 64 << 20;
const SPAN_BYTES: usize = size_of::<(u32, u16)>();

/// A directory that changed more recently could change once more without its times showing it: file systems count them in
/// steps, at most 2 s long.
const SETTLED: Duration = Duration::from_secs(2);

/// Some file systems do not change a directory's times at all.
const AGE_MAX: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, File},
        path::Path,
    };

    use super::*;

    fn open(path: &Path) -> OwnedFd {
        File::open(path).unwrap().into()
    }

    fn fill(path: &Path, names: usize) {
        (0..names).for_each(|n| fs::write(path.join(format!("{:04}", n * 7919 % 10_000)), b"").unwrap());
    }

    #[test]
    fn a_directory_is_known_until_it_changes() {
        let room = tempfile::tempdir().unwrap();
        fill(room.path(), 300);
        let (directory, kept) = (open(room.path()), LargeDirectories::default());
        let now = SystemTime::now();
        kept.learn(&directory, now).unwrap();
        assert!(kept.known(&directory, now).is_none(), "it has only just changed");
        let later = now + Duration::from_secs(5);
        kept.learn(&directory, later).unwrap();
        let names = kept.known(&directory, later).unwrap();
        let all: Vec<&str> = names.from(|_| false).collect();
        assert!(all.len() == 300 && all.is_sorted(), "{all:?}");
        let rest: Vec<&str> = names.from(|name| name <= all[100]).collect();
        assert_eq!(rest, all[101..]);
        assert!(kept.known(&directory, later + AGE_MAX).is_none(), "it has been long");
        kept.learn(&directory, later).unwrap();
        fs::remove_file(room.path().join(all[0])).unwrap();
        assert!(kept.known(&directory, later).is_none(), "it has changed");
        kept.learn(&directory, later).unwrap();
        assert_eq!(kept.known(&directory, later).unwrap().from(|_| false).count(), 299);
        assert_eq!(kept.kept.lock().unwrap().len(), 1);
    }

    #[test]
    fn the_oldest_goes_when_there_are_too_many() {
        let room = tempfile::tempdir().unwrap();
        let kept = LargeDirectories::default();
        let later = SystemTime::now() + Duration::from_secs(5);
        let directories = ["a", "b", "c"].map(|name| room.path().join(name));
        for path in directories {
            fs::create_dir(&path).unwrap();
            fill(&path, 10);
            kept.learn(&open(&path), later).unwrap();
            // As if it had many more.
            let names = Names { text: "x".repeat(BYTES_MAX / 2 - 1000), spans: Vec::new(), unspeakable: 0, special: 0 };
            kept.kept.lock().unwrap().back_mut().unwrap().names = Arc::new(names);
        }
        let fourth = room.path().join("d");
        fs::create_dir(&fourth).unwrap();
        kept.learn(&open(&fourth), later).unwrap();
        let known = ["a", "b", "c", "d"].map(|name| kept.known(open(&room.path().join(name)), later).is_some());
        assert_eq!(known, [false, true, true, true]);
    }
}
