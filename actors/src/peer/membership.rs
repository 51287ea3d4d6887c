//! A session's entries in the registry, the tree and the metrics, given back on drop: also when the actor panics.

use std::{net::SocketAddr, rc::Rc, sync::Arc};

use flow::Direction;
use tokio::sync::mpsc;
use wire::{DataLinks, Token};

use crate::{
    peer::{ControlMessage, DataMessage},
    port::Remote,
    registry::{PeerEntry, SessionEntry, TokenEntry},
    worker::{PeerLease, Worker},
};

/// What a session holds while it is open.
pub(crate) struct Membership {
    pub(crate) session: Arc<SessionEntry>,
    tokens: Vec<Token>,
    worker: Rc<Worker>,
    _place: PeerLease,
    /// Why it leaves; a label.
    pub(crate) reason: &'static str,
}

impl Membership {
    /// Joins: one more session of `remote.peer`. `desired` is by the node's direction.
    pub(crate) fn join(
        worker: &Rc<Worker>,
        remote: &Remote,
        agent: String,
        desired: [u64; 2],
        control: mpsc::Sender<ControlMessage>,
    ) -> Self {
        let shared = &worker.shared;
        let now = worker.now();
        let peer = shared.registry.join(remote.peer, || shared.policy.comment(&remote.peer), now);
        let session = Arc::new(SessionEntry {
            id: shared.registry.fresh_key(),
            peer: peer.clone(),
            worker: worker.index,
            control,
            address: remote.address,
            transport: remote.transport,
            agent,
            joined: now,
            desired: desired.map(Into::into),
            granted: desired.map(Into::into),
        });
        shared.registry.sessions.insert(session.id, session.clone());
        shared.metrics.joins.increment(1);
        shared.metrics.peers.set(shared.registry.peers.len() as f64);
        shared.metrics.sessions.increment(1.0);
        shared.early.ring();
        Self { session, tokens: Vec::new(), worker: worker.clone(), _place: worker.open_peer(&peer), reason: "lost" }
    }

    /// Makes one-time tokens for `links`. An error is the system's randomness failing.
    pub(super) fn issue_tokens(
        &mut self,
        links: DataLinks,
        data: &mpsc::Sender<DataMessage>,
    ) -> Result<Vec<Token>, getrandom::Error> {
        for ways in links.ways() {
            let mut bytes = [0; 32];
            getrandom::fill(&mut bytes)?;
            let token = Token::from_bytes(bytes);
            let entry = TokenEntry { ways, session: self.session.clone(), data: data.clone() };
            self.worker.shared.registry.tokens.insert(token, entry);
            self.tokens.push(token);
        }
        Ok(self.tokens.clone())
    }

    /// Its peer.
    pub(super) fn peer(&self) -> &Arc<PeerEntry> {
        &self.session.peer
    }

    /// Where it comes from.
    pub(super) fn address(&self) -> SocketAddr {
        self.session.address
    }

    /// Takes over what the peer desires now.
    pub(super) fn set_desired(&self, direction: Direction, rate: flow::Rate) {
        self.session.desired[direction.index()].store(rate.to_wire(), std::sync::atomic::Ordering::Relaxed);
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let shared = &self.worker.shared;
        for token in &self.tokens {
            if shared.registry.tokens.remove(token).is_some() && self.reason == "clean" {
                shared.registry.late_tokens.put(*token);
            }
        }
        shared.registry.sessions.remove(&self.session.id);
        shared.registry.leave(&self.session.peer);
        let reason = if std::thread::panicking() {
            shared.metrics.actor_panics.increment(1);
            "panic"
        } else {
            self.reason
        };
        shared.metrics.leave(reason).increment(1);
        shared.metrics.peers.set(shared.registry.peers.len() as f64);
        shared.metrics.sessions.decrement(1.0);
        shared.early.ring();
    }
}
