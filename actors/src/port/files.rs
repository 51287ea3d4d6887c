//! Files as an actor sees them: sources to read, sinks to write, pages of names. Every method returns at once; the work
//! happens on threads that may wait for a disk.

use std::{os::fd::BorrowedFd, sync::Arc};

use bytes::Bytes;
use wire::{FailureCode, PeerId};

use super::PortFuture;

/// Why a file could not be read or written; travels to the peer as a failure code and words.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct FileError {
    /// What kind of failure.
    pub code: FailureCode,
    /// For a person: what and what to do. Names share paths only, never paths of this machine.
    pub message: String,
}

impl FileError {
    /// A failure of kind `code`.
    pub fn new(code: FailureCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// Who asks for a listing.
#[derive(Copy, Clone, Debug)]
pub struct Viewer {
    /// Whether the viewer may write as well (temporary `.part` files are never shown to anybody).
    pub write: bool,
}

/// What an entry is.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum FileKind {
    /// A share, at the top.
    Share,
    /// A directory.
    Directory,
    /// A regular file.
    File,
}

/// One name in a listing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FileEntry {
    /// Relative to the listed path, `/`-separated when recursive.
    pub name: String,
    /// Bytes; 0 for directories.
    pub size: u64,
    /// Nanoseconds since 1970.
    pub mtime_ns: i64,
    /// What it is.
    pub kind: FileKind,
    /// As [`FilePage::hidden`], of a directory within a recursive listing.
    pub hidden: u32,
    /// As [`FilePage::special`], of a directory within a recursive listing.
    pub special: u32,
    /// Why the names in this directory are not in the recursive listing, or not all of them.
    pub unlisted: Option<FailureCode>,
}

impl FileEntry {
    /// A name of which everything is said.
    pub fn new(name: impl Into<String>, size: u64, mtime_ns: i64, kind: FileKind) -> Self {
        Self { name: name.into(), size, mtime_ns, kind, hidden: 0, special: 0, unlisted: None }
    }
}

/// A page of a listing, in the order of names.
#[derive(Clone, Debug, Default)]
pub struct FilePage {
    /// At most 500 entries and 48 KiB of names, so that it fits one control frame.
    pub entries: Vec<FileEntry>,
    /// Whether another page follows; ask again `after` the last name.
    pub more: bool,
    /// Names in the listed directory that were left out because no peer can say them: not UTF-8, or too long. Counted once,
    /// on the page that the directory begins on.
    pub hidden: u32,
    /// Names of links, pipes, devices: there, but nothing that is moved. Counted as `hidden` is.
    pub special: u32,
}

impl FilePage {
    /// All names that were left out, in the listed directory and in those beneath.
    pub fn hidden_names(&self) -> u64 {
        u64::from(self.hidden) + self.entries.iter().map(|entry| u64::from(entry.hidden)).sum::<u64>()
    }
}

/// BLAKE3 of a file's first bytes.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct PrefixHash(pub [u8; 32]);

/// What a sink already holds, verified against its own record.
#[derive(Copy, Clone, Debug)]
pub struct ResumePoint {
    /// Bytes, a multiple of 1 MiB.
    pub offset: u64,
    /// Their hash.
    pub hash: PrefixHash,
}

/// A file open for writing, and what it already holds.
pub type OpenedSink = (Arc<dyn Sink>, Option<ResumePoint>);

/// What is known of a file before its first byte comes.
#[derive(Clone, Debug)]
pub struct SinkMeta {
    /// Bytes.
    pub size: u64,
    /// Nanoseconds since 1970, given to the finished file.
    pub mtime_ns: i64,
    /// Who sends; another peer's `.part` is never continued.
    pub owner: PeerId,
}

/// The node's shares, or a client's files.
pub trait Files: Send + Sync + 'static {
    /// One page of `path` (empty: the shares), names after `after`.
    fn list(
        &self,
        path: String,
        recursive: bool,
        after: String,
        viewer: Viewer,
    ) -> PortFuture<Result<FilePage, FileError>>;
    /// Opens `SHARE/PATH` for reading.
    fn open_source(&self, path: String) -> PortFuture<Result<Arc<dyn Source>, FileError>>;
    /// Opens `SHARE/PATH` for writing into its `.part`; at most one writer at a time. Refuses at once what can't end well
    /// (no room, a read-only share, a directory of that name). Also tells what is there already.
    fn open_sink(&self, path: String, meta: SinkMeta) -> PortFuture<Result<OpenedSink, FileError>>;
}

/// A file being read. Its size and time are those at opening; a change is an error, never different bytes.
pub trait Source: Send + Sync + 'static {
    /// Bytes at opening.
    fn size(&self) -> u64;
    /// Nanoseconds since 1970 at opening.
    fn mtime_ns(&self) -> i64;
    /// `len` bytes at `offset`; fewer is an error (`Shrunk`).
    fn read(&self, offset: u64, len: u32) -> PortFuture<Result<Bytes, FileError>>;
    /// Appends what is in memory already of the `len` bytes at `offset`, from the first on; returns how many bytes those were.
    /// Never waits for a disk, so that a worker may ask; a source that can't tell has none.
    fn read_cached(&self, _offset: u64, _len: u32, _buffer: &mut Vec<u8>) -> usize {
        0
    }
    /// How many of the `len` bytes at `offset` are in memory, from the first on, so that the kernel can send them without waiting
    /// for a disk. As [`Source::read_cached`], without reading them.
    fn resident(&self, _offset: u64, _len: u32) -> u32 {
        0
    }
    /// The file itself, for links whose bytes the kernel takes from it; `None` when it is no file.
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }
    /// Whether the first `offset` bytes have that hash.
    fn prefix_matches(&self, offset: u64, hash: PrefixHash) -> PortFuture<Result<bool, FileError>>;
    /// BLAKE3 of the whole, from the cache or computed once for all who ask. Fails with `Changed` when the file is no longer
    /// the one that was opened; so it is asked after the last byte was read.
    fn hash(&self) -> PortFuture<Result<[u8; 32], FileError>>;
}

/// A file being written, in order, into `NAME.part`. Dropping it keeps the part for a later resume.
pub trait Sink: Send + Sync + 'static {
    /// Starts at `offset` (0, or the resume point): what lies behind it is cut off.
    fn start(&self, offset: u64) -> PortFuture<Result<(), FileError>>;
    /// Writes at `offset`, which is the end of what was written before.
    fn write(&self, offset: u64, bytes: Bytes) -> PortFuture<Result<(), FileError>>;
    /// Checks size and hash, fsyncs, renames, fsyncs the directory. After `Ok` the file survives a power cut.
    fn finish(&self, hash: [u8; 32]) -> PortFuture<Result<(), FileError>>;
}
