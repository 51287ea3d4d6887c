//! A client's own files: what `put` and `send` read, where `get` writes. The same sources and sinks as a node's, found by
//! paths that the client's user chose.
//!
//! As a [`Files`] it serves only errands: the file that was offered, or is expected, under a name of the conversation.
//! Whatever else the other side asks for is refused.

mod peek;
mod tree;
mod whole;

pub use peek::Already;

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions},
    io,
    os::{fd::OwnedFd, unix::fs::OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use actors::port::{FileError, FilePage, Files, PortFuture, SinkMeta, Source, Viewer};
use host::OFlags;
use rustix::fs::{FileType, fstat};
use wire::FailureCode;

use super::{
    disk::Lane,
    fault::{Deed, Label},
    path::BelowPath,
    sink::{FileSink, Target},
    source::FileSource,
    stamp::{Stamp, kind_of},
    tools::{FilesConfig, OpenedSink, Tools},
};
use whole::WholeSink;

/// A client's files.
#[derive(Clone, Debug)]
pub struct LocalFiles {
    tools: Tools,
    errands: Arc<Mutex<Errands>>,
}

#[derive(Debug, Default)]
struct Errands {
    offered: HashMap<String, PathBuf>,
    expected: HashMap<String, Destination>,
}

#[derive(Clone, Debug)]
struct Destination {
    root: PathBuf,
    below: BelowPath,
}

impl LocalFiles {
    /// Opens the resume records and the disk threads.
    ///
    /// # Errors
    /// When the state directory can't be used or the system gives no thread.
    pub fn new(config: &FilesConfig) -> io::Result<Self> {
        Ok(Self { tools: Tools::new(config)?, errands: Arc::default() })
    }

    /// Opens the file at `path` of this machine for reading; links are followed, since the user chose the path.
    pub fn read(&self, path: &Path) -> PortFuture<Result<Arc<dyn Source>, FileError>> {
        let (this, path) = (self.clone(), path.to_owned());
        Box::pin(async move {
            let label = Label::plain(&file_name(&path));
            let (gone, tools) = (label.gone(), this.tools.clone());
            let opened = this.tools.pool.run(Lane::Prompt, move || {
                let (file, stamp) = open_regular(&path, &label)?;
                Ok(FileSource::new(file, stamp, label, tools))
            });
            let source: Arc<dyn Source> = Arc::new(opened.await.map_err(|_| gone)??);
            Ok(source)
        })
    }

    /// Opens `path` of this machine for writing what is called `remote` on the other side. Its directory must be there.
    /// A finished file that is there `already` stays, if the transfer starts behind its last byte.
    pub fn write(
        &self,
        path: &Path,
        remote: &str,
        meta: SinkMeta,
        already: Already,
    ) -> PortFuture<Result<OpenedSink, FileError>> {
        self.write_at(Destination::at(path, remote), remote, meta, already)
    }

    /// Opens `below` in the directory `root` for writing; `below` may come from the other side's listing, and cannot lead
    /// out of `root`. Directories are made as needed.
    pub fn write_beneath(
        &self,
        root: &Path,
        below: &str,
        remote: &str,
        meta: SinkMeta,
        already: Already,
    ) -> PortFuture<Result<OpenedSink, FileError>> {
        self.write_at(Destination::beneath(root, below), remote, meta, already)
    }

    fn write_at(
        &self,
        destination: Result<Destination, FileError>,
        remote: &str,
        meta: SinkMeta,
        already: Already,
    ) -> PortFuture<Result<OpenedSink, FileError>> {
        let (this, remote) = (self.clone(), remote.to_owned());
        Box::pin(async move {
            match already {
                Already::Whole(whole) if whole.resume_point().offset == meta.size => {
                    Ok(WholeSink::opened(this, destination?, remote, meta, whole))
                }
                Already::Nothing | Already::Part(_) | Already::Whole(_) => this.open(destination?, remote, meta).await,
            }
        })
    }

    /// From now on `remote` is read from `path` when the session asks for it through the port.
    pub fn offer(&self, remote: &str, path: &Path) {
        self.lock().offered.insert(remote.to_owned(), path.to_owned());
    }

    /// From now on `remote` is written to `path` when the session asks for it through the port.
    ///
    /// # Errors
    /// `BadPath` when a file can't have that name.
    pub fn expect(&self, remote: &str, path: &Path) -> Result<(), FileError> {
        let destination = Destination::at(path, remote)?;
        self.lock().expected.insert(remote.to_owned(), destination);
        Ok(())
    }

    /// As [`LocalFiles::expect`], for a name that came from the other side: it cannot lead out of `root`.
    ///
    /// # Errors
    /// `BadPath` when `below` tries to.
    pub fn expect_beneath(&self, remote: &str, root: &Path, below: &str) -> Result<(), FileError> {
        let destination = Destination::beneath(root, below)?;
        self.lock().expected.insert(remote.to_owned(), destination);
        Ok(())
    }

    /// Forgets both errands of that name.
    pub fn forget(&self, remote: &str) {
        let mut errands = self.lock();
        errands.offered.remove(remote);
        errands.expected.remove(remote);
    }

    async fn open(&self, destination: Destination, remote: String, meta: SinkMeta) -> Result<OpenedSink, FileError> {
        let Destination { root, below } = destination;
        let label = Label::plain(&remote);
        let gone = label.gone();
        let opened = self.tools.pool.run(Lane::Prompt, move || {
            let whole = root.canonicalize();
            let opened = whole.and_then(|whole| Ok((OwnedFd::from(File::open(&whole)?), whole)));
            let (root, whole) = opened.map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => {
                    let words = "the directory that it should be written to is not there; make it first";
                    label.fault(FailureCode::NotFound, words)
                }
                _ => label.io(Deed::Write, &error),
            })?;
            let record_path = record_path(&whole, &below, &remote);
            Ok(Target { root: Arc::new(root), below, label, record_path })
        });
        let target = opened.await.map_err(|_| gone)??;
        let (sink, resume) = FileSink::open(self.tools.clone(), target, meta).await?;
        Ok((Arc::new(sink), resume))
    }

    fn lock(&self) -> MutexGuard<'_, Errands> {
        self.errands.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Files for LocalFiles {
    fn list(
        &self,
        path: String,
        _recursive: bool,
        _after: String,
        _viewer: Viewer,
    ) -> PortFuture<Result<FilePage, FileError>> {
        Box::pin(async move { Err(refused(&path)) })
    }

    fn open_source(&self, path: String) -> PortFuture<Result<Arc<dyn Source>, FileError>> {
        let offered = self.lock().offered.get(&path).cloned();
        match offered {
            Some(local) => self.read(&local),
            None => Box::pin(async move { Err(refused(&path)) }),
        }
    }

    fn open_sink(&self, path: String, meta: SinkMeta) -> PortFuture<Result<OpenedSink, FileError>> {
        let expected = self.lock().expected.get(&path).cloned();
        let this = self.clone();
        Box::pin(async move {
            match expected {
                Some(destination) => this.open(destination, path, meta).await,
                None => Err(refused(&path)),
            }
        })
    }
}

impl Destination {
    fn at(path: &Path, remote: &str) -> Result<Self, FileError> {
        let label = Label::plain(remote);
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            let words = "it can't be written under that name here: a name in UTF-8 is needed";
            return Err(label.fault(FailureCode::BadPath, words));
        };
        let root = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        Self::beneath(&root, name)
    }

    fn beneath(root: &Path, below: &str) -> Result<Self, FileError> {
        Ok(Self { root: root.to_owned(), below: BelowPath::parse(below)? })
    }
}

fn open_root(root: &Path) -> io::Result<OwnedFd> {
    Ok(File::open(root)?.into())
}

/// What the record of a local file is known by: the same local name for another remote file is another part.
fn record_path(root: &Path, below: &BelowPath, remote: &str) -> String {
    format!("{} <- {remote}", root.join(below.as_path()).display())
}

fn refused(path: &str) -> FileError {
    Label::plain(path).fault(FailureCode::Forbidden, "this side is a client and shares nothing")
}

/// The last name only: messages may travel, and no path of this machine does.
fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn open_regular(path: &Path, label: &Label) -> Result<(OwnedFd, Stamp), FileError> {
    let fault = |error: io::Error| label.io(Deed::Read, &error);
    let kind = fs::metadata(path).map_err(fault)?.file_type();
    if kind.is_dir() {
        return Err(label.fault(FailureCode::IsDirectory, "a directory; name the files in it"));
    }
    let special = || label.fault(FailureCode::BadPath, "not a regular file; name a file");
    if !kind.is_file() {
        return Err(special());
    }
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits() as i32;
    let file: OwnedFd = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(fault)?.into();
    let stat = fstat(&file).map_err(|errno| fault(errno.into()))?;
    if kind_of(&stat) != FileType::RegularFile {
        return Err(special());
    }
    Ok((file, Stamp::from_stat(&stat)))
}

#[cfg(test)]
mod tests;
