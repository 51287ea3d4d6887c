//! A file being read: the [`Source`] of the port.

use std::{
    num::NonZeroU64,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    sync::Arc,
    time::Instant,
};

use actors::port::{FileError, PortFuture, PrefixHash, Source};
use bytes::Bytes;
use rustix::fs::{Advice, fadvise};
use wire::FailureCode;

use super::{
    digest::{DigestFault, fill_from},
    disk::Lane,
    fault::{Deed, Label},
    groups::GROUP_BYTES,
    open_files::OpenFile,
    stamp::Stamp,
    tools::Tools,
};

/// A regular file, open for reading, as it was at opening.
#[derive(Clone, Debug)]
pub struct FileSource {
    open: Arc<OpenFile>,
    stamp: Stamp,
    label: Arc<Label>,
    tools: Tools,
}

impl FileSource {
    /// Takes a file that was opened and found to be regular.
    pub(super) fn new(file: OwnedFd, stamp: Stamp, label: Label, tools: Tools) -> Self {
        // Advice only: twice the usual read-ahead. A file system without it reads as well.
        let _ = fadvise(&file, 0, None, Advice::Sequential);
        Self { open: tools.open_files.share(file, stamp), stamp, label: Arc::new(label), tools }
    }
}

impl Source for FileSource {
    fn size(&self) -> u64 {
        self.stamp.size
    }

    fn mtime_ns(&self) -> i64 {
        self.stamp.mtime_ns
    }

    fn read(&self, offset: u64, len: u32) -> PortFuture<Result<Bytes, FileError>> {
        let this = self.clone();
        Box::pin(async move {
            if len > READ_BYTES_MAX {
                let words = "more was asked for in one piece than is read at once";
                return Err(this.label.fault(FailureCode::Internal, words));
            }
            // What was added behind the size at opening is not part of the file that is sent.
            if offset.saturating_add(u64::from(len)) > this.stamp.size {
                return Err(digest_fault(&this.label, DigestFault::Shrunk));
            }
            // What the page cache holds is read here and now: it takes some ten microseconds, less than two hops between
            // threads, and the bytes are still in this core's cache when they are encrypted.
            let mut buffer = Vec::new();
            if host::read_cached(&this.open.file, offset, len as usize, &mut buffer) == len as usize {
                return Ok(Bytes::from(buffer));
            }
            let (file, label) = (this.open.file.clone(), this.label.clone());
            let read = this.tools.pool.run(Lane::Prompt, move || {
                fill_from(&file, offset, len as usize, &mut buffer)?;
                // The disk goes on while this piece is sent, so that the next is there when its turn comes. Advice only, and
                // given here because it may wait for the disk's queue.
                let _ = fadvise(&file, offset + u64::from(len), NonZeroU64::new(AHEAD_BYTES), Advice::WillNeed);
                Ok(Bytes::from(buffer))
            });
            match read.await {
                Ok(answer) => answer.map_err(|fault| digest_fault(&label, fault)),
                Err(_) => Err(label.gone()),
            }
        })
    }

    fn read_cached(&self, offset: u64, len: u32, buffer: &mut Vec<u8>) -> usize {
        let len = u64::from(len).min(self.stamp.size.saturating_sub(offset));
        host::read_cached(&self.open.file, offset, len as usize, buffer)
    }

    fn resident(&self, offset: u64, len: u32) -> u32 {
        if !self.tools.sendfile {
            return 0;
        }
        let len = u64::from(len).min(self.stamp.size.saturating_sub(offset));
        let ask = || host::resident(&self.open.file, offset, len as usize) as u64;
        self.open.residence.of(offset, len, Instant::now(), ask) as u32
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.tools.sendfile.then(|| self.open.file.as_fd())
    }

    fn prefix_matches(&self, offset: u64, hash: PrefixHash) -> PortFuture<Result<bool, FileError>> {
        let this = self.clone();
        Box::pin(async move {
            if offset == this.stamp.size {
                // Somebody has a whole file, and asks whether it is this one.
                let root = this.tools.digests.root(this.open.file.clone(), this.stamp).await;
                return Ok(PrefixHash(root.map_err(|fault| digest_fault(&this.label, fault))?) == hash);
            }
            // A prefix that is no whole number of groups, or longer than the file, was not made by our rule.
            if !offset.is_multiple_of(GROUP_BYTES) || offset > this.stamp.size {
                return Ok(false);
            }
            let groups = usize::try_from(offset / GROUP_BYTES).unwrap_or(usize::MAX);
            let ours = this.tools.digests.prefix(this.open.file.clone(), this.stamp, groups).await;
            let ours = ours.map_err(|fault| digest_fault(&this.label, fault))?;
            Ok(PrefixHash(ours) == hash)
        })
    }

    fn hash(&self) -> PortFuture<Result<[u8; 32], FileError>> {
        let this = self.clone();
        Box::pin(async move {
            let root = this.tools.digests.root(this.open.file.clone(), this.stamp).await;
            let root = root.map_err(|fault| digest_fault(&this.label, fault))?;
            let (file, stamp) = (this.open.file.clone(), this.stamp);
            let now = this.tools.pool.run(Lane::Prompt, move || Stamp::of(&file)).await;
            match now {
                Ok(Ok(now)) if now.same_contents(&stamp) => Ok(root),
                Ok(Ok(now)) if now.size < stamp.size => Err(digest_fault(&this.label, DigestFault::Shrunk)),
                Ok(Ok(_)) => Err(digest_fault(&this.label, DigestFault::Changed)),
                Ok(Err(error)) => Err(this.label.io(Deed::Read, &error)),
                Err(_) => Err(this.label.gone()),
            }
        })
    }
}

fn digest_fault(label: &Label, fault: DigestFault) -> FileError {
    match fault {
        DigestFault::Changed => label.fault(FailureCode::Changed, "it was changed while it was sent; ask again"),
        DigestFault::Shrunk => label.fault(FailureCode::Shrunk, "it became shorter while it was sent; ask again"),
        DigestFault::Io(error) => label.io(Deed::Read, &error),
        DigestFault::Gone => label.gone(),
    }
}

/// Asked of the disk behind a piece that was not in the page cache: 10 ms at 100 MB/s.
const AHEAD_BYTES: u64 = 1 << 20;
/// Bytes of one reading. Protocol pieces are at most 256 KiB; this bounds what a bug may allocate.
const READ_BYTES_MAX: u32 = 4 << 20;
