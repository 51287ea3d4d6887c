//! What is there already of a file that is about to be fetched, before its node is asked.

use std::path::Path;

use actors::port::{FileError, PortFuture, PrefixHash, ResumePoint};
use data_encoding::HEXLOWER;

use super::{Destination, LocalFiles};
use crate::files::disk::Lane;

impl LocalFiles {
    /// Where an earlier fetch of `remote` into `path` can go on, by its record. Opening the file for writing verifies the
    /// part against the record; whether the node still has the same prefix, the node says.
    pub fn resume_point(&self, path: &Path, remote: &str) -> PortFuture<Option<ResumePoint>> {
        self.recorded(Destination::at(path, remote), remote)
    }

    /// As [`LocalFiles::resume_point`], for a name that came from the other side: nothing outside of `root` is looked at.
    pub fn resume_point_beneath(&self, root: &Path, below: &str, remote: &str) -> PortFuture<Option<ResumePoint>> {
        self.recorded(Destination::beneath(root, below), remote)
    }

    fn recorded(&self, destination: Result<Destination, FileError>, remote: &str) -> PortFuture<Option<ResumePoint>> {
        let remote = remote.to_owned();
        let (pool, records) = (self.tools.pool.clone(), self.tools.records.clone());
        let found = pool.run(Lane::Prompt, move || {
            let Destination { root, below } = destination.ok()?;
            let record = records.load(&super::record_path(&root.canonicalize().ok()?, &below, &remote))?;
            let hash: [u8; 32] = HEXLOWER.decode(record.verified_hash.as_bytes()).ok()?.try_into().ok()?;
            (record.verified_bytes > 0).then_some(ResumePoint { offset: record.verified_bytes, hash: PrefixHash(hash) })
        });
        Box::pin(async move { found.await.ok().flatten() })
    }
}
