//! One socket's side of accepting: what its connections are set up with, and whose addresses are not proven yet.

use std::sync::Arc;

use quinn::{AsyncUdpSocket, Connecting, ConnectionError, EndpointConfig, Incoming, ServerConfig};

use super::{
    bounded::{BoundedSocket, accepting},
    proof::Proving,
    strays::Strays,
    unproven::Unproven,
};

/// Where connections arrive.
#[derive(Clone, Debug)]
pub(super) struct Door {
    pub(super) config: ServerConfig,
    unproven: Arc<Unproven>,
    strays: Arc<Strays>,
}

impl Door {
    /// Of one socket.
    pub(super) fn new(config: ServerConfig, strays: Strays) -> Self {
        Self { config, unproven: Arc::default(), strays: Arc::new(strays) }
    }

    /// That socket, which sends no unproven address too much and counts what is nobody's; and what its endpoint is set up with.
    pub(super) fn bound(
        &self,
        socket: Arc<dyn AsyncUdpSocket>,
        config: &mut EndpointConfig,
    ) -> Arc<dyn AsyncUdpSocket> {
        self.strays.give_ids(config);
        let (unproven, strays) = (Arc::clone(&self.unproven), Arc::clone(&self.strays));
        Arc::new(BoundedSocket { inner: socket, unproven, strays })
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
