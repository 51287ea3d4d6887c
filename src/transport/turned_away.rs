//! Connections that are not admitted, and what they are told: one TLS alert, since whoever dials expects TLS and nothing was
//! read of them. TLS has no alert for this, so the code is one that it left unassigned; others take any alert for a no.

use std::{io, sync::Arc, time::Duration};

use rustls::AlertDescription;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::Semaphore,
};

/// Connections that are told why at one time; a flood beyond is closed without words.
const FAREWELLS_MAX: usize = 64;
/// How long telling one may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// Reason of a front's refusal, its alert, and what it means for a person, behind the endpoint.
const REASONS: [(&str, u8, &str); 3] = [
    ("draining", 240, "is going down and takes no new connections; try again later"),
    ("connections", 241, "has as many connections as it takes; try again later"),
    ("per_address", 242, "has as many connections from this address as it takes"),
];

/// Says why to those who are turned away.
pub(super) struct Farewells(Arc<Semaphore>);

impl Default for Farewells {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(FAREWELLS_MAX)))
    }
}

impl Farewells {
    /// Tells `stream` the front's `reason`, in a task of its own.
    pub(super) fn bid(&self, mut stream: TcpStream, reason: &str) {
        let Ok(turn) = self.0.clone().try_acquire_owned() else { return };
        let Some((_, code, _)) = REASONS.iter().find(|(known, ..)| *known == reason) else { return };
        // An alert record of TLS 1.2's number, as all are; fatal.
        let alert = [21, 3, 3, 0, 2, 2, *code];
        tokio::spawn(async move {
            let farewell = async {
                stream.write_all(&alert).await?;
                stream.shutdown().await?;
                // Until it has closed, or it would lose the alert to a reset.
                let mut ignored = [0; 1024];
                while stream.read(&mut ignored).await? > 0 {}
                io::Result::Ok(())
            };
            let _ = tokio::time::timeout(FAREWELL, farewell).await;
            drop(turn);
        });
    }
}

/// What a failed handshake says of the node's reason; `None` when it failed otherwise.
pub(super) fn why(error: &io::Error) -> Option<&'static str> {
    let error = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    let rustls::Error::AlertReceived(AlertDescription::Unknown(code)) = error else { return None };
    REASONS.iter().find(|(_, known, _)| known == code).map(|(.., words)| *words)
}
