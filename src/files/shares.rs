//! The node's shares: named directories, each opened once; every name a peer says is resolved beneath one of them.

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
    sync::Arc,
};

use actors::port::{FileError, FilePage, Files, PortFuture, SinkMeta, Source, Viewer};
use arc_swap::ArcSwap;
use host::OFlags;
use rustix::fs::{FileType, fstat};
use wire::FailureCode;

use super::{
    disk::Lane,
    fault::{Deed, Label},
    listing,
    path::{BelowPath, SharePath, is_plain_name},
    sink::{FileSink, Target},
    source::FileSource,
    stamp::{Stamp, kind_of},
    tools::{FilesConfig, OpenedSink, Tools},
};

/// One share as the configuration has it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ShareConfig {
    /// What peers call it: one plain name, without control characters.
    pub name: String,
    /// The directory.
    pub path: PathBuf,
    /// Whether peers with the right to write may put files into it.
    pub writable: bool,
    /// Whether anybody may read it over HTTP (DESIGN 3.1).
    pub public: bool,
}

/// One share as others may know it: without its path.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ShareInfo {
    /// What peers call it.
    pub name: String,
    /// Whether files may be put into it.
    pub writable: bool,
    /// Whether anybody may read it over HTTP.
    pub public: bool,
}

/// Why the shares can't be served; for the operator, so it names paths.
#[derive(Debug, thiserror::Error)]
pub enum SharesError {
    /// The name breaks a rule.
    #[error(
        "share `{0}`: a share's name is 1 to 255 bytes without `/` and control characters, not `.` or `..`, and does not end in `.part`"
    )]
    Name(String),
    /// Two shares of one name.
    #[error("share `{0}` is there twice; give one of them another name")]
    Twice(String),
    /// The directory can't be opened.
    #[error("share `{name}`: {path} can't be opened as a directory: {error}")]
    Open {
        /// The share.
        name: String,
        /// Its directory.
        path: PathBuf,
        /// What the system said; `ENOSYS` means a kernel before Linux 5.6.
        error: io::Error,
    },
    /// The node's keys would be served.
    #[error(
        "share `{name}`: {path} holds the node's private state; share another directory, or move the state with --state"
    )]
    HoldsState {
        /// The share.
        name: String,
        /// Its directory.
        path: PathBuf,
    },
    /// The state directory or the disk threads.
    #[error("the state directory {path} can't be used: {error}")]
    State {
        /// The state directory.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

/// Figures for the metrics.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq)]
pub struct FilesStats {
    /// Bytes read for hashing since the start.
    pub hashed_bytes: u64,
    /// Bytes that the hash cache holds now.
    pub hash_cache_bytes: usize,
    /// Jobs that wait for a disk thread now.
    pub disk_jobs_waiting: usize,
}

/// The shares of a node.
#[derive(Clone, Debug)]
pub struct Shares {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    shares: ArcSwap<BTreeMap<String, Share>>,
    state_dir: PathBuf,
    tools: Tools,
    listed: Arc<listing::Known>,
}

/// A share whose directory is open: it stays the same directory even when its path is given to another.
#[derive(Clone, Debug)]
pub(super) struct Share {
    pub(super) directory: Arc<OwnedFd>,
    info: ShareInfo,
}

impl Shares {
    /// Opens every share, the resume records and the disk threads.
    ///
    /// # Errors
    /// The first thing that is wrong, in words for the operator.
    pub fn new(shares: Vec<ShareConfig>, config: FilesConfig) -> Result<Self, SharesError> {
        let tools =
            Tools::new(&config).map_err(|error| SharesError::State { path: config.state_dir.clone(), error })?;
        let opened = open_all(shares, &config.state_dir)?;
        Ok(Self {
            inner: Arc::new(Inner {
                shares: ArcSwap::from_pointee(opened),
                state_dir: config.state_dir,
                tools,
                listed: Arc::default(),
            }),
        })
    }

    /// Replaces all shares at once; transfers that run keep their files.
    ///
    /// # Errors
    /// As [`Shares::new`]; then nothing has changed.
    pub fn replace(&self, shares: Vec<ShareConfig>) -> Result<(), SharesError> {
        let opened = open_all(shares, &self.inner.state_dir)?;
        self.inner.shares.store(Arc::new(opened));
        Ok(())
    }

    /// Whether a directory could be shared, by a node whose state is in `state_dir` if that is known.
    ///
    /// # Errors
    /// As [`Shares::new`].
    pub fn look(share: &ShareConfig, state_dir: Option<&Path>) -> Result<(), SharesError> {
        open_share(share, state_dir).map(drop)
    }

    /// The shares, by name.
    pub fn infos(&self) -> Vec<ShareInfo> {
        self.inner.shares.load().values().map(|share| share.info.clone()).collect()
    }

    /// Figures for the metrics.
    pub fn stats(&self) -> FilesStats {
        let tools = &self.inner.tools;
        FilesStats {
            hashed_bytes: tools.digests.hashed_bytes(),
            hash_cache_bytes: tools.digests.memory_bytes(),
            disk_jobs_waiting: tools.pool.waiting(),
        }
    }

    fn share(&self, path: &SharePath) -> Result<Share, FileError> {
        self.inner.shares.load().get(path.share()).cloned().ok_or_else(|| {
            let words = format!("{path}: there is no share `{}`; `evenkeel ls` shows the shares", path.share());
            FileError::new(FailureCode::NotFound, words)
        })
    }

    async fn source(&self, path: String) -> Result<Arc<dyn Source>, FileError> {
        let path = SharePath::parse(&path)?;
        let share = self.share(&path)?;
        let label = Label::in_share(&path);
        if path.rest().is_empty() {
            return Err(label.fault(FailureCode::IsDirectory, "a share; ask for the files in it"));
        }
        let (gone, tools) = (label.gone(), self.inner.tools.clone());
        let opened = self.inner.tools.pool.run(Lane::Prompt, move || {
            let (file, stamp) = open_regular(&share.directory, Path::new(path.rest()), &label)?;
            Ok(FileSource::new(file, stamp, label, tools))
        });
        Ok(Arc::new(opened.await.map_err(|_| gone)??))
    }

    async fn sink(&self, path: String, meta: SinkMeta) -> Result<OpenedSink, FileError> {
        let path = SharePath::parse(&path)?;
        let share = self.share(&path)?;
        let label = Label::in_share(&path);
        if !share.info.writable {
            let words = format!("the share `{}` takes no files", path.share());
            return Err(label.fault(FailureCode::ReadOnly, words));
        }
        if path.rest().is_empty() {
            return Err(label.fault(FailureCode::IsDirectory, "a share; say SHARE/NAME"));
        }
        let target = Target {
            root: share.directory,
            below: BelowPath::parse(path.rest())?,
            label,
            record_path: path.as_str().to_owned(),
        };
        let (sink, resume) = FileSink::open(self.inner.tools.clone(), target, meta).await?;
        Ok((Arc::new(sink), resume))
    }

    async fn page(&self, path: String, recursive: bool, after: String) -> Result<FilePage, FileError> {
        let shares = self.inner.shares.load_full();
        let known = self.inner.listed.clone();
        let pool = &self.inner.tools.pool;
        if path.is_empty() {
            let listed = pool.run(Lane::Listing, move || listing::shares(&shares, recursive, &after, &known));
            return listed.await.map_err(|_| Label::plain("the shares").gone())?;
        }
        let path = SharePath::parse(&path)?;
        let share = self.share(&path)?;
        let label = Label::in_share(&path);
        let gone = label.gone();
        let listed =
            pool.run(Lane::Listing, move || listing::beneath(&share, &path, recursive, &after, &known, &label));
        listed.await.map_err(|_| gone)?
    }
}

impl Files for Shares {
    /// Names are in the order of their components: a directory is followed by what is in it, then by its siblings.
    fn list(
        &self,
        path: String,
        recursive: bool,
        after: String,
        _viewer: Viewer,
    ) -> PortFuture<Result<FilePage, FileError>> {
        let this = self.clone();
        Box::pin(async move { this.page(path, recursive, after).await })
    }

    fn open_source(&self, path: String) -> PortFuture<Result<Arc<dyn Source>, FileError>> {
        let this = self.clone();
        Box::pin(async move { this.source(path).await })
    }

    fn open_sink(&self, path: String, meta: SinkMeta) -> PortFuture<Result<OpenedSink, FileError>> {
        let this = self.clone();
        Box::pin(async move { this.sink(path, meta).await })
    }
}

/// Opens a regular file beneath `directory`, without touching anything else: to open a device may already do something.
fn open_regular(directory: &OwnedFd, path: &Path, label: &Label) -> Result<(OwnedFd, Stamp), FileError> {
    let look = |flags: OFlags| -> Result<(OwnedFd, Stamp), FileError> {
        let file = host::open_beneath(directory.as_fd(), path, flags).map_err(|error| label.io(Deed::Read, &error))?;
        let stat = fstat(&file).map_err(|errno| label.io(Deed::Read, &errno.into()))?;
        match kind_of(&stat) {
            FileType::RegularFile => Ok((file, Stamp::from_stat(&stat))),
            FileType::Directory => Err(label.fault(FailureCode::IsDirectory, "a directory; ask for the files in it")),
            _ => Err(label.special()),
        }
    };
    look(OFlags::PATH)?;
    // Somebody may have put a FIFO there in between: opening that does not wait either.
    look(OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)
}

fn open_all(shares: Vec<ShareConfig>, state_dir: &Path) -> Result<BTreeMap<String, Share>, SharesError> {
    let mut opened = BTreeMap::new();
    for config in shares {
        if !is_share_name(&config.name) {
            return Err(SharesError::Name(config.name));
        }
        let share = open_share(&config, Some(state_dir))?;
        if opened.insert(config.name.clone(), share).is_some() {
            return Err(SharesError::Twice(config.name));
        }
    }
    Ok(opened)
}

fn open_share(config: &ShareConfig, state_dir: Option<&Path>) -> Result<Share, SharesError> {
    let ShareConfig { name, path, writable, public } = config.clone();
    let open = || -> io::Result<(OwnedFd, PathBuf)> {
        let whole = path.canonicalize()?;
        let file = File::open(&whole)?;
        // Also finds out whether this kernel can resolve beneath a directory, before any peer asks.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        Ok((host::open_beneath(file.as_fd(), Path::new("."), flags)?, whole))
    };
    let (directory, whole) =
        open().map_err(|error| SharesError::Open { name: name.clone(), path: path.clone(), error })?;
    // `evenkeel serve ~` must not serve the node's own key.
    let state = state_dir.and_then(|path| path.canonicalize().ok());
    if state.is_some_and(|state| state.starts_with(&whole)) {
        return Err(SharesError::HoldsState { name, path });
    }
    Ok(Share { directory: Arc::new(directory), info: ShareInfo { name, writable, public } })
}

fn is_share_name(name: &str) -> bool {
    is_plain_name(name) && !name.chars().any(char::is_control)
}

#[cfg(test)]
mod tests;
