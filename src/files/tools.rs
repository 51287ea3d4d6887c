//! What every file of a node shares: the disk pool, the hash cache, the tables of parts and of open files, the resume
//! records.

use std::{io, path::PathBuf, sync::Arc};

use actors::port::{ResumePoint, Sink};

use super::{digest::DigestCache, disk::DiskPool, lock::PartLocks, open_files::OpenFiles, record::RecordStore};

/// How the files room is set up.
#[derive(Clone, Debug)]
pub struct FilesConfig {
    /// Where resume records live, in its folder `resume`. Must not be inside a share.
    pub state_dir: PathBuf,
    /// Threads that may wait for a disk.
    pub disk_threads: usize,
    /// Bytes of memory of the hash cache; 32 per MiB of every file it knows.
    pub hash_cache_bytes_max: usize,
    /// Whether the kernel may send files' pages by itself.
    pub sendfile: bool,
}

impl FilesConfig {
    /// The defaults, with records under `state_dir`.
    pub fn new(state_dir: impl Into<PathBuf>) -> Self {
        Self {
            state_dir: state_dir.into(),
            disk_threads: DISK_THREADS,
            hash_cache_bytes_max: HASH_CACHE_BYTES_MAX,
            sendfile: true,
        }
    }
}

/// What opening for writing gives: the sink, and what of the file is there already.
pub type OpenedSink = (Arc<dyn Sink>, Option<ResumePoint>);

/// Handles to all of it; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Tools {
    pub(super) pool: Arc<DiskPool>,
    pub(super) digests: DigestCache,
    pub(super) locks: PartLocks,
    pub(super) open_files: OpenFiles,
    pub(super) records: Arc<RecordStore>,
    pub(super) sendfile: bool,
}

impl Tools {
    pub(super) fn new(config: &FilesConfig) -> io::Result<Self> {
        let pool = Arc::new(DiskPool::new(config.disk_threads)?);
        Ok(Self {
            digests: DigestCache::new(pool.clone(), config.hash_cache_bytes_max),
            locks: PartLocks::default(),
            open_files: OpenFiles::default(),
            records: Arc::new(RecordStore::open(&config.state_dir)?),
            pool,
            sendfile: config.sendfile,
        })
    }
}

/// One spindle is kept busy by one thread; a flash disk wants a few.
const DISK_THREADS: usize = 4;

/// 64 MiB know 2 TiB of files by group.
const HASH_CACHE_BYTES_MAX: usize = 64 << 20;
