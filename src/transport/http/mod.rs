//! HTTP/1.1: clients without Evenkeel get the same shares, under the same tree (docs/http.md).
//!
//! ```text
//! HttpListener --admit--> run_on(worker) --> Connection: hear -> answer -> hear -> ...
//! bytes -> meaning   head, target, authority, terms, range, validator pure
//! meaning -> bytes   answer, page                          pure
//! answer -> socket   respond (what), send (when and how), debt (what heads cost)
//! who waits          rows: one look over all connections of a worker, a few times a second
//! ```
//!
//! Syntax and formats are kept libraries' (`httparse`, `httpdate`, `mime_guess`, `percent-encoding`, `http`); the sending path is
//! ours, because to decide when a byte goes is what this server is for.

mod answer;
mod authority;
mod certificate;
mod connection;
mod debt;
mod head;
mod listener;
mod page;
mod range;
mod respond;
mod rows;
mod send;
mod stream;
mod target;
mod terms;
mod validator;

pub use certificate::{Certificate, CertificateError};
pub use listener::HttpListener;
pub use terms::{SigningKey, SigningKeyError};

use std::{collections::HashSet, sync::Arc, time::Duration};

use actors::port::GuestFront;
use rustls::ServerConfig;

use super::SocketConfig;

/// Which shares guests see.
#[derive(Clone, Debug)]
pub enum Visible {
    /// Every share: the node is open.
    All,
    /// Those of these names.
    Named(HashSet<String>),
}

impl Visible {
    fn shows(&self, share: &str) -> bool {
        match self {
            Self::All => true,
            Self::Named(names) => names.contains(share),
        }
    }
}

/// How to serve.
#[derive(Clone, Debug)]
pub struct HttpConfig {
    /// From a request's first byte to the end of its head, and for the first byte of a connection.
    pub head_timeout: Duration,
    /// Between two requests of a connection.
    pub idle_timeout: Duration,
    /// How long a client may take nothing of what is being sent to it.
    pub stall_timeout: Duration,
    /// Which shares are served.
    pub visible: Visible,
    /// What verifies terms in an address; `None`: none are taken.
    pub signing_key: Option<SigningKey>,
    /// Encryption; `None`: plain.
    pub tls: Option<Arc<ServerConfig>>,
    /// Socket options.
    pub socket: SocketConfig,
}

/// What all connections of a listener share.
struct Frontage {
    front: Arc<dyn GuestFront>,
    config: HttpConfig,
}
