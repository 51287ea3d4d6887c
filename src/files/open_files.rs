//! Files that are open for reading: whoever reads the same one shares its descriptor, so that ten thousand connections to
//! one file take one and not ten thousand.

use std::{
    collections::HashMap,
    os::fd::OwnedFd,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use super::{residence::Residence, stamp::Stamp};

/// Entries that are looked through for dead ones at the soonest.
const LOOKED_THROUGH_AT: usize = 64;

/// A file that is open for reading.
#[derive(Debug)]
pub(super) struct OpenFile {
    pub(super) file: Arc<OwnedFd>,
    pub(super) residence: Residence,
}

/// The table of open files. All reading gives its offset, so nobody notices the others. Bounded by the transfers that a node
/// admits: at most half of the entries are of files that nobody reads any more.
#[derive(Clone, Debug, Default)]
pub(super) struct OpenFiles {
    table: Arc<Mutex<Table>>,
}

#[derive(Debug, Default)]
struct Table {
    files: HashMap<Stamp, Weak<OpenFile>>,
    /// Dead entries are taken out when there are so many.
    full_at: usize,
}

impl OpenFiles {
    /// `file`, or the descriptor that somebody has of the same file in the same state; then `file` is closed.
    pub(super) fn share(&self, file: OwnedFd, stamp: Stamp) -> Arc<OpenFile> {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = table.files.get(&stamp).and_then(Weak::upgrade) {
            return open;
        }
        if table.files.len() >= table.full_at.max(LOOKED_THROUGH_AT) {
            table.files.retain(|_, file| file.strong_count() > 0);
            table.full_at = 2 * table.files.len();
        }
        let open = Arc::new(OpenFile { file: Arc::new(file), residence: Residence::default() });
        table.files.insert(stamp, Arc::downgrade(&open));
        open
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, io::Write as _};

    use super::*;

    fn open(path: &std::path::Path) -> (OwnedFd, Stamp) {
        let file: OwnedFd = File::open(path).unwrap().into();
        let stamp = Stamp::of(&file).unwrap();
        (file, stamp)
    }

    #[test]
    fn readers_of_one_file_share_a_descriptor_until_it_changes() {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("file");
        std::fs::write(&path, "contents").unwrap();
        let files = OpenFiles::default();
        let share = || {
            let (file, stamp) = open(&path);
            files.share(file, stamp)
        };
        let (first, second) = (share(), share());
        assert!(Arc::ptr_eq(&first, &second));
        File::options().append(true).open(&path).unwrap().write_all(b", more of it").unwrap();
        let changed = share();
        assert!(!Arc::ptr_eq(&first, &changed), "who opened it before goes on with what it was");
        drop((first, second, changed));
        let (file, stamp) = open(&path);
        assert!(files.table.lock().unwrap().files[&stamp].upgrade().is_none(), "nobody keeps it open");
        files.share(file, stamp);
    }

    #[test]
    fn files_that_nobody_reads_any_more_are_forgotten() {
        let room = tempfile::tempdir().unwrap();
        let files = OpenFiles::default();
        for index in 0..10 * LOOKED_THROUGH_AT {
            let path = room.path().join(index.to_string());
            std::fs::write(&path, "contents").unwrap();
            let (file, stamp) = open(&path);
            files.share(file, stamp);
        }
        assert!(files.table.lock().unwrap().files.len() <= LOOKED_THROUGH_AT);
    }
}
