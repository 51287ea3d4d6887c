//! A listing from the other side, beneath a directory of this one.

use std::{
    io,
    os::fd::{AsFd as _, BorrowedFd},
    path::Path,
};

use actors::port::{FileError, PortFuture};

use super::{LocalFiles, open_root};
use crate::files::{
    disk::Lane,
    fault::{Deed, Label},
    part::make_directories,
    path::BelowPath,
};

impl LocalFiles {
    /// Makes `directories` beneath `root`, and says which can't be made. The names come from the other side: nothing outside
    /// of `root` is touched or looked at, and links are not followed.
    pub fn make_beneath(&self, root: &Path, directories: Vec<String>) -> PortFuture<io::Result<Vec<FileError>>> {
        let root = root.to_owned();
        let made = self.tools.pool.run(Lane::Patient, move || {
            let root = open_root(&root)?;
            Ok(directories.iter().filter_map(|name| make(root.as_fd(), name).err()).collect())
        });
        Box::pin(async move { made.await.map_err(io::Error::other)? })
    }
}

fn make(root: BorrowedFd<'_>, name: &str) -> Result<(), FileError> {
    let below = BelowPath::parse(name)?;
    match make_directories(root, below.as_str()) {
        Ok(_) => Ok(()),
        Err(error) => Err(Label::plain(name).io(Deed::Write, &error)),
    }
}
