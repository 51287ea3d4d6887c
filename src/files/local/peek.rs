//! What is there already of a file that is about to be fetched, before its node is asked.

use std::{fs::File, os::fd::AsFd as _, path::Path};

use actors::port::{FileError, PortFuture, PrefixHash, ResumePoint};
use data_encoding::HEXLOWER;

use super::{Destination, LocalFiles, whole::Whole};
use crate::files::{disk::Lane, part::key_of};

/// What is there of a file that is about to be fetched.
#[derive(Clone, Debug)]
pub enum Already {
    /// Nothing of use.
    Nothing,
    /// A part, as its record says. Opening the file for writing verifies the part against the record.
    Part(ResumePoint),
    /// A finished file, perhaps the same.
    Whole(Whole),
}

impl Already {
    /// What the node is asked to compare with what it has.
    pub fn resume_point(&self) -> Option<ResumePoint> {
        match self {
            Self::Nothing => None,
            Self::Part(point) => Some(*point),
            Self::Whole(whole) => Some(whole.resume_point()),
        }
    }
}

impl LocalFiles {
    /// What is there of `remote` at `path`: where an earlier fetch can go on, or a finished file, whose hash is computed.
    /// Whether the node has the same, the node says.
    pub fn already(&self, path: &Path, remote: &str) -> PortFuture<Already> {
        self.look(Destination::at(path, remote), remote, None)
    }

    /// As [`LocalFiles::already`], for a name that came from the other side: nothing outside of `root` is looked at. A
    /// finished file that has not `size` bytes is another, and is not hashed.
    pub fn already_beneath(&self, root: &Path, below: &str, remote: &str, size: u64) -> PortFuture<Already> {
        self.look(Destination::beneath(root, below), remote, Some(size))
    }

    fn look(
        &self,
        destination: Result<Destination, FileError>,
        remote: &str,
        size: Option<u64>,
    ) -> PortFuture<Already> {
        let (this, remote) = (self.clone(), remote.to_owned());
        Box::pin(async move {
            let Ok(destination) = destination else { return Already::Nothing };
            if let Some(point) = this.recorded(destination.clone(), remote).await {
                return Already::Part(point);
            }
            Whole::look(this.tools, destination, size).await.map_or(Already::Nothing, Already::Whole)
        })
    }

    async fn recorded(&self, destination: Destination, remote: String) -> Option<ResumePoint> {
        let (pool, records) = (self.tools.pool.clone(), self.tools.records.clone());
        let found = pool.run(Lane::Prompt, move || {
            let Destination { root, below } = destination;
            let root = root.canonicalize().ok()?;
            let key = key_of(File::open(&root).ok()?.as_fd(), &below).ok()?;
            Some((key, super::record_path(&root, &below, &remote)))
        });
        let (key, path) = found.await.ok().flatten()?;
        // The session whose link was lost may be writing down how far it came.
        self.tools.locks.settled(&key).await;
        let found = pool.run(Lane::Prompt, move || {
            let record = records.load(&path)?;
            let hash: [u8; 32] = HEXLOWER.decode(record.verified_hash.as_bytes()).ok()?.try_into().ok()?;
            (record.verified_bytes > 0).then_some(ResumePoint { offset: record.verified_bytes, hash: PrefixHash(hash) })
        });
        found.await.ok().flatten()
    }
}
