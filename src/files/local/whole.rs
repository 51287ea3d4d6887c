//! A finished file that is here already: when it is the one that is asked for, nothing needs to come.

use std::{
    fmt,
    os::fd::{AsFd as _, OwnedFd},
    path::Path,
    sync::{Arc, OnceLock},
};

use actors::port::{FileError, PortFuture, PrefixHash, ResumePoint, Sink, SinkMeta};
use bytes::Bytes;
use host::OFlags;
use rustix::fs::{FileType, Timespec, Timestamps, UTIME_OMIT, fstat, fsync, futimens};
use wire::FailureCode;

use super::{Destination, LocalFiles, open_root};
use crate::files::{
    disk::Lane,
    fault::{Deed, Label},
    stamp::{Stamp, kind_of, timespec},
    tools::{OpenedSink, Tools},
};

/// A finished file, and what it was when it was hashed.
#[derive(Clone, Debug)]
pub struct Whole {
    file: Arc<OwnedFd>,
    stamp: Stamp,
    hash: [u8; 32],
}

impl Whole {
    /// Hashes the file at `destination`; only one of `size` bytes, if that is known. `None` where there is none, where it
    /// can't be read, and where it changes meanwhile: then the file is fetched as if nothing were there.
    pub(super) async fn look(tools: Tools, destination: Destination, size: Option<u64>) -> Option<Self> {
        let opened = tools.pool.run(Lane::Prompt, move || open(&destination, size));
        let (file, stamp) = opened.await.ok()??;
        let hash = tools.digests.root(file.clone(), stamp).await.ok()?;
        Some(Self { file, stamp, hash })
    }

    /// What the node is asked to compare: all of it.
    pub fn resume_point(&self) -> ResumePoint {
        ResumePoint { offset: self.stamp.size, hash: PrefixHash(self.hash) }
    }
}

fn open(destination: &Destination, size: Option<u64>) -> Option<(Arc<OwnedFd>, Stamp)> {
    let root = open_root(&destination.root).ok()?;
    let find = |flags| host::open_beneath(root.as_fd(), destination.below.as_path(), flags).ok();
    let look = |file: &OwnedFd| {
        let stat = fstat(file).ok()?;
        let stamp = Stamp::from_stat(&stat);
        // One without bytes has no hash to ask about, and nothing to save.
        let fits = stamp.size > 0 && size.is_none_or(|size| size == stamp.size);
        (kind_of(&stat) == FileType::RegularFile && fits).then_some(stamp)
    };
    // Opening a device for reading may do something.
    look(&find(OFlags::PATH)?)?;
    let file = find(OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?;
    let stamp = look(&file)?;
    Some((Arc::new(file), stamp))
}

/// Takes the file as it is here when the node has the same, and all of it anew when not.
#[derive(Clone)]
pub(super) struct WholeSink {
    inner: Arc<Inner>,
}

struct Inner {
    whole: Whole,
    files: LocalFiles,
    destination: Destination,
    remote: String,
    meta: SinkMeta,
    /// Where it is written, when the node has another.
    anew: OnceLock<Arc<dyn Sink>>,
}

impl WholeSink {
    /// For a file of the size of `whole`.
    pub(super) fn opened(
        files: LocalFiles,
        destination: Destination,
        remote: String,
        meta: SinkMeta,
        whole: Whole,
    ) -> OpenedSink {
        let resume = whole.resume_point();
        let inner = Inner { whole, files, destination, remote, meta, anew: OnceLock::new() };
        (Arc::new(Self { inner: Arc::new(inner) }), Some(resume))
    }
}

impl Sink for WholeSink {
    fn start(&self, offset: u64) -> PortFuture<Result<(), FileError>> {
        let inner = self.inner.clone();
        Box::pin(async move {
            if offset == inner.whole.stamp.size {
                return Ok(());
            }
            let Inner { files, destination, remote, meta, .. } = &*inner;
            let (sink, _) = files.open(destination.clone(), remote.clone(), meta.clone()).await?;
            sink.start(offset).await?;
            inner.anew.set(sink).map_err(|_| inner.misuse("it was started twice"))
        })
    }

    fn write(&self, offset: u64, bytes: Bytes) -> PortFuture<Result<(), FileError>> {
        match self.inner.anew.get() {
            Some(sink) => sink.write(offset, bytes),
            None => {
                let misuse = self.inner.misuse("bytes came for a file that is whole");
                Box::pin(async move { Err(misuse) })
            }
        }
    }

    fn finish(&self, hash: [u8; 32]) -> PortFuture<Result<(), FileError>> {
        if let Some(sink) = self.inner.anew.get() {
            return sink.finish(hash);
        }
        let inner = self.inner.clone();
        let kept = self.inner.files.tools.pool.run(Lane::Patient, move || inner.keep(hash));
        let gone = self.inner.label().gone();
        Box::pin(async move { kept.await.map_err(|_| gone)? })
    }
}

impl Inner {
    fn label(&self) -> Label {
        Label::plain(&self.remote)
    }

    /// A call that our own code should not have made.
    fn misuse(&self, words: &str) -> FileError {
        self.label().fault(FailureCode::Internal, words)
    }

    /// Leaves the file with the node's time and, as one that has just come, on the disk for certain.
    fn keep(&self, hash: [u8; 32]) -> Result<(), FileError> {
        let Whole { file, stamp, hash: ours } = &self.whole;
        if *ours != hash || !Stamp::of(file).is_ok_and(|now| now == *stamp) {
            let words = "it changed while it was compared; it is fetched anew";
            return Err(self.label().fault(FailureCode::Changed, words));
        }
        if stamp.mtime_ns != self.meta.mtime_ns {
            let times = Timestamps {
                last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
                last_modification: timespec(self.meta.mtime_ns),
            };
            // Somebody else's file keeps its time.
            let _ = futimens(file, &times);
        }
        let (directory, _) = self.destination.below.split();
        let directory = if directory.is_empty() { "." } else { directory };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let synced = fsync(file).map_err(Into::into).and_then(|()| {
            let root = open_root(&self.destination.root)?;
            Ok(fsync(host::open_beneath(root.as_fd(), Path::new(directory), flags)?)?)
        });
        synced.map_err(|error: std::io::Error| self.label().io(Deed::Write, &error))
    }
}

impl fmt::Debug for WholeSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WholeSink").field("remote", &self.inner.remote).finish_non_exhaustive()
    }
}
