//! What a client keeps of a node's sessions, to come back with: for as long as its process lives, since rustls lets nobody write
//! a client's session down.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rustls::{
    NamedGroup,
    client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue},
    pki_types::ServerName,
};

/// Kept of one node: one for each data link that a session can have, and some that came twice.
const TICKETS_MAX: usize = 128;

/// The tickets of one node for links of one kind. Each is used once, the newest first.
#[derive(Debug, Default)]
pub(super) struct Tickets {
    kept: Mutex<VecDeque<Tls13ClientSessionValue>>,
    /// Where one is taken from if there is none.
    others: Option<Arc<Tickets>>,
}

impl Tickets {
    /// Where there is none, one of `others` is taken.
    pub(super) fn or_else(others: Arc<Self>) -> Self {
        Self { kept: Mutex::default(), others: Some(others) }
    }

    /// Whether there is one.
    pub(super) fn any(&self) -> bool {
        !self.lock().is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Tls13ClientSessionValue>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientSessionStore for Tickets {
    /// The key exchange is X25519 with every node of ours, so there is nothing to remember.
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, _: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        let mut tickets = self.lock();
        if tickets.len() == TICKETS_MAX {
            tickets.pop_front();
        }
        tickets.push_back(ticket);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        let own = self.lock().pop_back();
        own.or_else(|| self.others.as_ref()?.lock().pop_back())
    }
}
