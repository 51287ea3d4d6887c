//! A file that takes everything and keeps nothing: the node is measured, not a disk.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use actors::{
    peer::client::OpenSink,
    port::{FileError, PortFuture, Sink},
};
use bytes::Bytes;

/// Counts what comes.
pub(crate) struct Void {
    received: Arc<AtomicU64>,
}

impl Void {
    /// For a get.
    pub(crate) fn opener(received: Arc<AtomicU64>) -> OpenSink {
        Box::new(move |_| {
            let sink: Arc<dyn Sink> = Arc::new(Self { received });
            Box::pin(async move { Ok((sink, None)) })
        })
    }
}

impl Sink for Void {
    fn start(&self, _: u64) -> PortFuture<Result<(), FileError>> {
        Box::pin(async { Ok(()) })
    }

    fn write(&self, _: u64, bytes: Bytes) -> PortFuture<Result<(), FileError>> {
        self.received.fetch_add(bytes.len() as u64, Relaxed);
        Box::pin(async { Ok(()) })
    }

    fn finish(&self, _: [u8; 32]) -> PortFuture<Result<(), FileError>> {
        Box::pin(async { Ok(()) })
    }
}
