//! Resume records: how much of a part is on the disk for certain, and for which file from whom (DESIGN 3.7).
//!
//! One small JSON file per part in `STATE/resume`. A record is written only after the bytes it speaks of were synced; it
//! is itself not synced, since an old or a torn record only costs a repeated transfer. It is believed only as far as the
//! part's own bytes have the hash that it names.

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use actors::port::SinkMeta;
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};

/// What is known of a part.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    /// The shape of this record.
    pub(super) version: u32,
    /// The file it becomes: `SHARE/PATH`, or a client's own path and where it comes from.
    pub(super) path: String,
    /// Who sends it.
    pub(super) owner: String,
    /// Bytes of the whole.
    pub(super) size: u64,
    /// Its mtime, nanoseconds since 1970.
    pub(super) mtime_ns: i64,
    /// The part's inode, so that another file of that name is not taken for it.
    pub(super) part_inode: u64,
    /// Bytes from the start that are on the disk; a multiple of 1 MiB.
    pub(super) verified_bytes: u64,
    /// BLAKE3 of those, in hex.
    pub(super) verified_hash: String,
}

impl Record {
    /// The record of a part of which nothing is certain yet.
    pub(super) fn new(path: &str, meta: &SinkMeta, part_inode: u64) -> Self {
        Self {
            version: VERSION,
            path: path.to_owned(),
            owner: meta.owner.to_string(),
            size: meta.size,
            mtime_ns: meta.mtime_ns,
            part_inode,
            verified_bytes: 0,
            verified_hash: String::new(),
        }
    }

    /// The same part with so many bytes verified.
    pub(super) fn at(&self, verified_bytes: u64, hash: &[u8; 32]) -> Self {
        Self { verified_bytes, verified_hash: HEXLOWER.encode(hash), ..self.clone() }
    }

    /// Whether `self`, read from the disk, speaks of the same file from the same sender in the same part as `fresh`.
    pub(super) fn fits(&self, fresh: &Self) -> bool {
        self.at(0, &[0; 32]) == fresh.at(0, &[0; 32])
    }

    /// Whether that is the hash of the verified bytes.
    pub(super) fn has_hash(&self, hash: &[u8; 32]) -> bool {
        self.verified_hash == HEXLOWER.encode(hash)
    }
}

/// The folder of records.
#[derive(Debug)]
pub(super) struct RecordStore {
    folder: PathBuf,
}

impl RecordStore {
    /// Opens `STATE/resume`, making it when it is not there, and forgets records that nobody came back for.
    ///
    /// # Errors
    /// When the folder can't be made.
    pub(super) fn open(state_dir: &Path) -> io::Result<Self> {
        let folder = state_dir.join("resume");
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        let store = Self { folder };
        store.forget_old(SystemTime::now());
        Ok(store)
    }

    /// The record of `path`, when there is one that can be read.
    pub(super) fn load(&self, path: &str) -> Option<Record> {
        let file = self.file(path);
        if fs::metadata(&file).ok()?.len() > RECORD_BYTES_MAX {
            return None;
        }
        let record: Record = serde_json::from_slice(&fs::read(file).ok()?).ok()?;
        (record.version == VERSION && record.path == path).then_some(record)
    }

    /// Replaces the record of its path.
    ///
    /// # Errors
    /// As the file system; the old record is then still there.
    pub(super) fn save(&self, record: &Record) -> io::Result<()> {
        let file = self.file(&record.path);
        let fresh = file.with_extension("new");
        fs::write(&fresh, serde_json::to_vec(record)?)?;
        fs::rename(fresh, file)
    }

    /// Forgets `path`. A record that stays is harmless: its part is gone or has another inode.
    pub(super) fn remove(&self, path: &str) {
        let _ = fs::remove_file(self.file(path));
    }

    fn file(&self, path: &str) -> PathBuf {
        let name = HEXLOWER.encode(&blake3::hash(path.as_bytes()).as_bytes()[..16]);
        self.folder.join(name).with_extension("json")
    }

    fn forget_old(&self, now: SystemTime) {
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        for entry in entries.flatten() {
            let written = entry.metadata().and_then(|metadata| metadata.modified());
            let age = now.duration_since(written.unwrap_or(UNIX_EPOCH)).unwrap_or_default();
            if age > RECORD_AGE_MAX {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// The shape of records that this program reads and writes.
const VERSION: u32 = 1;

/// A path of 4096 bytes, escaped, and the rest.
const RECORD_BYTES_MAX: u64 = 64 * 1024;

/// Who did not come back for his part within 30 days starts anew.
const RECORD_AGE_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(size: u64) -> SinkMeta {
        SinkMeta { size, mtime_ns: 7, owner: wire::PeerId::from_spki_der(b"key") }
    }

    #[test]
    fn what_is_saved_is_loaded_and_only_that_fits() {
        let state = tempfile::tempdir().unwrap();
        let store = RecordStore::open(state.path()).unwrap();
        let fresh = Record::new("data/x", &meta(9 << 20), 12);
        let record = fresh.at(3 << 20, &[5; 32]);
        store.save(&record).unwrap();
        let loaded = store.load("data/x").unwrap();
        assert_eq!(loaded, record);
        assert!(loaded.fits(&fresh) && loaded.has_hash(&[5; 32]) && !loaded.has_hash(&[6; 32]));
        assert!(!loaded.fits(&Record::new("data/x", &meta(8 << 20), 12)));
        assert!(!loaded.fits(&Record::new("data/x", &meta(9 << 20), 13)));
        assert!(store.load("data/y").is_none());
        store.remove("data/x");
        assert!(store.load("data/x").is_none());
    }

    #[test]
    fn a_torn_record_is_no_record_and_an_old_one_goes() {
        let state = tempfile::tempdir().unwrap();
        let store = RecordStore::open(state.path()).unwrap();
        store.save(&Record::new("data/x", &meta(1), 1)).unwrap();
        store.forget_old(SystemTime::now() + Duration::from_secs(1));
        assert!(store.load("data/x").is_some());
        fs::write(store.file("data/x"), b"{\"version\":1,").unwrap();
        assert!(store.load("data/x").is_none());
        store.save(&Record::new("data/x", &meta(1), 1)).unwrap();
        store.forget_old(SystemTime::now() + RECORD_AGE_MAX + Duration::from_secs(5));
        assert!(store.load("data/x").is_none());
    }
}
