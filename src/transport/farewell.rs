//! Last words to connections that are not admitted: written once, by a few at a time.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore},
};

/// Connections that are told why at one time; a flood beyond is closed without words.
const FAREWELLS_MAX: usize = 64;
/// How long telling one may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// Who may still be told why.
pub(super) struct Farewells(Arc<Semaphore>);

impl Default for Farewells {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(FAREWELLS_MAX)))
    }
}

impl Farewells {
    /// A turn to tell one; `None`: too many are being told.
    pub(super) fn turn(&self) -> Option<Farewell> {
        self.0.clone().try_acquire_owned().ok().map(Farewell)
    }
}

/// A turn, given back when all is said.
pub(super) struct Farewell(OwnedSemaphorePermit);

impl Farewell {
    /// Writes `bytes` to `stream` and closes it, in a task of its own.
    pub(super) fn say(self, mut stream: TcpStream, bytes: impl AsRef<[u8]> + Send + Sync + 'static) {
        tokio::spawn(async move {
            let farewell = async {
                stream.write_all(bytes.as_ref()).await?;
                stream.shutdown().await?;
                // Until it has closed, or it would lose our words to a reset.
                let mut ignored = [0; 1024];
                while stream.read(&mut ignored).await? > 0 {}
                io::Result::Ok(())
            };
            let _ = tokio::time::timeout(FAREWELL, farewell).await;
            drop(self.0);
        });
    }
}
