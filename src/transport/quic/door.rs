//! One socket's side of accepting: what its connections are set up with, and whose addresses are not proven yet.

use std::sync::Arc;

use quinn::{AsyncUdpSocket, Connecting, ConnectionError, Incoming, ServerConfig};

use super::{
    bounded::{BoundedSocket, accepting},
    proof::Proving,
    unproven::Unproven,
};

/// Where connections arrive.
#[derive(Clone, Debug)]
pub(super) struct Door {
    pub(super) config: ServerConfig,
    unproven: Arc<Unproven>,
}

impl Door {
    /// Of one socket.
    pub(super) fn new(config: ServerConfig) -> Self {
        Self { config, unproven: Arc::default() }
    }

    /// That socket, which sends no unproven address too much.
    pub(super) fn bound(&self, socket: Arc<dyn AsyncUdpSocket>) -> Arc<dyn AsyncUdpSocket> {
        Arc::new(BoundedSocket { inner: socket, unproven: Arc::clone(&self.unproven) })
    }

    /// Begins the handshake.
    pub(super) fn accept(&self, incoming: Incoming) -> Result<Connecting, ConnectionError> {
        self.accept_with(incoming, self.config.clone())
    }

    /// The same with another configuration.
    pub(super) fn accept_with(
        &self,
        incoming: Incoming,
        mut config: ServerConfig,
    ) -> Result<Connecting, ConnectionError> {
        if incoming.remote_address_validated() {
            return incoming.accept_with(Arc::new(config));
        }
        let handshake = Arc::new(self.unproven.begin(incoming.remote_address()));
        config.crypto = Arc::new(Proving { crypto: config.crypto, handshake: Arc::clone(&handshake) });
        accepting(handshake, || incoming.accept_with(Arc::new(config)))
    }
}
