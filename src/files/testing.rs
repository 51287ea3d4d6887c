//! What the tests of this room share.

use std::{
    fs,
    future::Future,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use actors::port::{FileError, FilePage, Files, ResumePoint, Sink, SinkMeta, Source, Viewer};
use bytes::Bytes;
use wire::PeerId;

use super::{FilesConfig, ShareConfig, Shares};

pub(super) const MIB: usize = 1 << 20;

/// A node's files on a directory of its own: share `data` (writable) and share `fixed` (read-only).
pub(super) struct Bench {
    pub(super) root: tempfile::TempDir,
    pub(super) shares: Shares,
}

impl Bench {
    pub(super) fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        for folder in ["data", "fixed", "state"] {
            fs::create_dir(root.path().join(folder)).unwrap();
        }
        let shares = open(root.path(), &root.path().join("data"));
        Self { root, shares }
    }

    /// The same files after a restart of the node.
    pub(super) fn restart(&mut self) {
        self.shares = open(self.root.path(), &self.root.path().join("data"));
    }

    pub(super) fn data(&self, name: &str) -> PathBuf {
        self.root.path().join("data").join(name)
    }

    pub(super) async fn source(&self, path: &str) -> Result<Arc<dyn Source>, FileError> {
        self.shares.open_source(path.to_owned()).await
    }

    pub(super) async fn sink(
        &self,
        path: &str,
        meta: SinkMeta,
    ) -> Result<(Arc<dyn Sink>, Option<ResumePoint>), FileError> {
        self.shares.open_sink(path.to_owned(), meta).await
    }

    pub(super) async fn list(&self, path: &str, recursive: bool, after: &str) -> Result<FilePage, FileError> {
        let viewer = Viewer { write: false };
        self.shares.list(path.to_owned(), recursive, after.to_owned(), viewer).await
    }

    /// All pages of a listing, as names.
    pub(super) async fn names(&self, path: &str, recursive: bool) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        loop {
            let after = names.last().cloned().unwrap_or_default();
            let page = self.list(path, recursive, &after).await.unwrap();
            assert!(page.entries.len() <= 500);
            assert!(page.entries.iter().map(|entry| entry.name.len()).sum::<usize>() <= 48 * 1024);
            assert!(!page.more || !page.entries.is_empty(), "a page that leads nowhere");
            names.extend(page.entries.into_iter().map(|entry| entry.name));
            if !page.more {
                return names;
            }
        }
    }
}

pub(super) fn open(root: &Path, data: &Path) -> Shares {
    let share = |name: &str, path: &Path, writable| ShareConfig {
        name: name.to_owned(),
        path: path.to_owned(),
        writable,
        public: false,
    };
    let shares = vec![share("data", data, true), share("fixed", &root.join("fixed"), false)];
    Shares::new(shares, FilesConfig::new(root.join("state"))).unwrap()
}

pub(super) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

pub(super) fn noise(bytes: usize) -> Vec<u8> {
    let mut data = vec![0; bytes];
    blake3::Hasher::new().update(&bytes.to_le_bytes()).finalize_xof().fill(&mut data);
    data
}

pub(super) fn hash(data: &[u8]) -> [u8; 32] {
    *blake3::hash(data).as_bytes()
}

pub(super) fn owner(name: &str) -> PeerId {
    PeerId::from_spki_der(name.as_bytes())
}

pub(super) fn meta(data: &[u8]) -> SinkMeta {
    SinkMeta { size: data.len() as u64, mtime_ns: 1_600_000_000_123_456_789, owner: owner("ann") }
}

/// Writes `data[from..to]` in pieces as they come from the wire.
pub(super) async fn pour(sink: &Arc<dyn Sink>, data: &[u8], from: usize, to: usize) -> Result<(), FileError> {
    let mut at = from;
    for piece in data[from..to].chunks(100_000) {
        sink.write(at as u64, Bytes::copy_from_slice(piece)).await?;
        at += piece.len();
    }
    Ok(())
}

/// A file system of so many KiB, for the time of a test. Needs root, as the pipeline has.
pub(super) struct TinyDisk {
    pub(super) path: PathBuf,
}

impl TinyDisk {
    pub(super) fn mount(path: PathBuf, kib: usize) -> Self {
        fs::create_dir_all(&path).unwrap();
        let size = format!("size={kib}k");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&path).status();
        assert!(mounted.is_ok_and(|status| status.success()), "this test mounts a tmpfs: run it as root");
        Self { path }
    }
}

impl Drop for TinyDisk {
    fn drop(&mut self) {
        // Lazily: descriptors of the test may still be open.
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}
