//! Files in memory: contents made from a name, sinks that keep what they were given, and a file that panics.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use actors::port::{
    FileEntry, FileError, FileKind, FilePage, Files, OpenedSink, PortFuture, PrefixHash, Sink, SinkMeta, Source, Viewer,
};
use bytes::Bytes;
use wire::FailureCode;

/// A file of this name panics in the actor that reads it.
pub(crate) const POISON: &str = "share/poison";
/// Opening a file of this name takes for ever.
pub(crate) const ENDLESS: &str = "share/endless";
/// Writing to a file of this name takes for ever.
pub(crate) const STUCK: &str = "share/stuck";
/// Bytes of every file.
pub(crate) const SIZE: usize = 3_000_000;

fn ready<T: Send + 'static>(value: T) -> PortFuture<T> {
    Box::pin(std::future::ready(value))
}

/// What the file of that name holds.
pub(crate) fn content(path: &str) -> Bytes {
    let seed = path.bytes().fold(17u32, |seed, byte| seed.wrapping_mul(31).wrapping_add(byte.into()));
    (0..SIZE as u32).map(|index| (index.wrapping_mul(2_654_435_761).wrapping_add(seed) >> 24) as u8).collect()
}

/// Stands in for BLAKE3: four sums with different turns.
fn digest(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    for (lane, out) in hash.chunks_exact_mut(8).enumerate() {
        let turn = 7 + lane as u32 * 10;
        let sum = bytes.iter().fold(lane as u64, |sum, byte| sum.rotate_left(turn).wrapping_add(u64::from(*byte)));
        out.copy_from_slice(&sum.to_be_bytes());
    }
    hash
}

/// A file being read.
pub(crate) struct FakeSource {
    path: String,
    bytes: Bytes,
}

impl FakeSource {
    /// The file of that name.
    pub(crate) fn new(path: &str) -> Arc<Self> {
        Arc::new(Self { path: path.to_owned(), bytes: content(path) })
    }
}

impl Source for FakeSource {
    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn mtime_ns(&self) -> i64 {
        1
    }

    fn read(&self, offset: u64, len: u32) -> PortFuture<Result<Bytes, FileError>> {
        // Called by the actor itself, on its worker's thread.
        assert!(self.path != POISON, "this file is poison (the test wants this panic)");
        let offset = offset as usize;
        ready(Ok(self.bytes.slice(offset..offset + len as usize)))
    }

    fn prefix_matches(&self, offset: u64, hash: PrefixHash) -> PortFuture<Result<bool, FileError>> {
        ready(Ok(digest(&self.bytes[..offset as usize]) == hash.0))
    }

    fn hash(&self) -> PortFuture<Result<[u8; 32], FileError>> {
        ready(Ok(digest(&self.bytes)))
    }
}

/// Files that were received whole, by name.
pub(crate) type Stored = Arc<Mutex<HashMap<String, Vec<u8>>>>;

/// A file being written.
pub(crate) struct FakeSink {
    path: String,
    bytes: Mutex<Vec<u8>>,
    stored: Stored,
}

impl FakeSink {
    /// A file that will be in `stored` under that name.
    pub(crate) fn new(path: &str, stored: &Stored) -> Arc<Self> {
        Arc::new(Self { path: path.to_owned(), bytes: Mutex::default(), stored: stored.clone() })
    }
}

impl Sink for FakeSink {
    fn start(&self, offset: u64) -> PortFuture<Result<(), FileError>> {
        self.bytes.lock().unwrap().truncate(offset as usize);
        ready(Ok(()))
    }

    fn write(&self, offset: u64, bytes: Bytes) -> PortFuture<Result<(), FileError>> {
        if self.path == STUCK {
            return Box::pin(std::future::pending());
        }
        let mut written = self.bytes.lock().unwrap();
        assert_eq!(written.len() as u64, offset, "written in order");
        written.extend_from_slice(&bytes);
        ready(Ok(()))
    }

    fn finish(&self, hash: [u8; 32]) -> PortFuture<Result<(), FileError>> {
        let bytes = std::mem::take(&mut *self.bytes.lock().unwrap());
        if digest(&bytes) != hash {
            return ready(Err(FileError::new(FailureCode::HashMismatch, "not what was sent")));
        }
        self.stored.lock().unwrap().insert(self.path.clone(), bytes);
        ready(Ok(()))
    }
}

/// The node's shares.
#[derive(Default)]
pub(crate) struct FakeFiles {
    /// What peers put here.
    pub(crate) stored: Stored,
    /// Each opening of the endless file that is under way holds it.
    pub(crate) endless: Arc<()>,
}

impl Files for FakeFiles {
    fn list(&self, _: String, _: bool, _: String, _: Viewer) -> PortFuture<Result<FilePage, FileError>> {
        let entry = FileEntry::new("share", 0, 0, FileKind::Share);
        ready(Ok(FilePage { entries: vec![entry], ..FilePage::default() }))
    }

    fn open_source(&self, path: String) -> PortFuture<Result<Arc<dyn Source>, FileError>> {
        if path.contains("missing") {
            return ready(Err(FileError::new(FailureCode::NotFound, "there is no such file")));
        }
        if path == ENDLESS {
            let under_way = self.endless.clone();
            return Box::pin(async move {
                let _under_way = under_way;
                std::future::pending().await
            });
        }
        ready(Ok(FakeSource::new(&path) as Arc<dyn Source>))
    }

    fn open_sink(&self, path: String, _: SinkMeta) -> PortFuture<Result<OpenedSink, FileError>> {
        ready(Ok((FakeSink::new(&path, &self.stored) as Arc<dyn Sink>, None)))
    }
}
