//! TCP, TLS and QUIC beneath the ports of `actors`: this room turns sockets into links, and knows nothing of sessions, rights or
//! rates.
//!
//! ```text
//! accepting   Listener --ClientHello--> Arrival --run_on(worker)--> handshake --> Front::control | Front::data
//! dialling    TcpDialer ----------------------------------------> handshake --> ControlLink   | DataLink
//! both        halves (one socket, a reading and a writing half) -> control_frames | data_frames
//! ```
//!
//! One port carries everything (DESIGN 3): control links and data links are told apart by their ALPN, plaintext data links
//! by their magic. A TLS connection cannot move to another thread once its stream is registered with a reactor, so the
//! listener reads the first bytes only, chooses the worker from them, and the handshake is finished over there.
//!
//! The same over UDP is in `quic`; what listens and dials there gives the same links to the same ports.

mod arrival;
mod auto;
mod awake;
mod control_frames;
mod credentials;
mod data_frames;
mod destination;
mod dialer;
mod farewell;
mod halves;
pub mod http;
mod intake;
mod listener;
mod opening;
mod pressure;
mod quic;
mod socket;
mod tls;
mod turned_away;

#[cfg(test)]
mod tests;

pub use auto::AutoDialer;
pub use credentials::{Credentials, CredentialsError};
pub use destination::destination;
pub use dialer::{DialConfig, Pins, TcpDialer};
pub use listener::{ListenConfig, Listener};
pub use quic::{QuicClient, QuicConfig, QuicDialer, QuicListener};
pub use socket::SocketConfig;
/// rustls does not take a key or its certificate.
pub type CredentialsRefused = rustls::Error;

pub use tls::{client_config, install_provider, server_config};

/// The name of a worker in the server name (SNI) of a data link, as [`data_route`] writes it.
const ROUTE_PREFIX: char = 'w';

/// What a welcome gives as `data_route` so that the listener sends that session's data links to worker `index`.
pub fn data_route(index: usize) -> String {
    format!("{ROUTE_PREFIX}{index}")
}

/// The worker that a server name asks for; `None` when it is none of [`data_route`]'s.
fn worker_of_route(server_name: &str) -> Option<usize> {
    server_name.strip_prefix(ROUTE_PREFIX)?.parse().ok()
}
