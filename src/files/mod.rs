//! Files: the node's shares and a client's own files, behind the ports [`actors::port::Files`], [`Source`] and [`Sink`].
//!
//! ```text
//! Shares / LocalFiles   names -> open files             (shares, listing, names, path, local, open_files)
//!   FileSource          pread, prefix, whole hash       (source -> digest -> groups)
//!   FileSink            NAME.part, resume, rename       (sink -> part, lock, record)
//! DiskPool              the only threads that wait for a disk
//! ```
//!
//! Invariants: no worker thread waits for a disk; no name leads out of a share, links are not followed; a resume point is
//! only what was on the disk for certain; a file has its name only when it is whole, verified and durable.
//!
//! [`Source`]: actors::port::Source
//! [`Sink`]: actors::port::Sink

mod digest;
mod disk;
mod fault;
mod groups;
mod listing;
mod local;
mod lock;
mod names;
mod open_files;
mod part;
mod path;
mod record;
mod residence;
mod sample;
mod shares;
mod sink;
mod source;
mod stamp;
#[cfg(test)]
mod testing;
mod tools;

pub use local::{Already, LocalFiles};
pub use path::SharePath;
pub use sample::{DATA_NAME, sample_share};
pub use shares::{FilesStats, ShareConfig, ShareInfo, Shares, SharesError};
pub use sink::FileSink;
pub use source::FileSource;
pub use tools::{FilesConfig, OpenedSink};
