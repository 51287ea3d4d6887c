//! The node as transports see it: admission, routing to workers, and where finished links are handed over.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, atomic::Ordering::Relaxed},
};

use wire::{Refusal, RefusalCode, Token};

use crate::{
    guest::shared_address,
    node::{Connections, Node},
    peer::{DataMessage, PeerActor, Start},
    port::{ControlLink, DataArrival, Front, LinkFault},
    worker::Worker,
};

impl Front for Node {
    fn workers(&self) -> usize {
        self.worker_count()
    }

    fn run_on(&self, index: usize, job: Box<dyn FnOnce() + Send>) {
        self.run(index, job);
    }

    fn route(&self, token: &Token) -> Option<usize> {
        let registry = &self.shared.registry;
        let worker = registry.tokens.get(token).map(|entry| entry.session.worker);
        // Any may tell it that it is too late.
        worker.or_else(|| registry.late_tokens.has(token).then_some(0))
    }

    fn admit(&self, address: SocketAddr) -> Result<Box<dyn Send>, &'static str> {
        self.has_room()?;
        let ip = shared_address(address.ip());
        let mut from_here = self.connections.by_address.entry(ip).or_insert(0);
        if *from_here >= self.shared.config.per_address_max {
            drop(from_here);
            return Err(self.refused("per_address"));
        }
        *from_here += 1;
        drop(from_here);
        let open = self.connections.all.fetch_add(1, Relaxed) + 1;
        self.shared.metrics.connections.set(open as f64);
        let metrics = self.shared.metrics.connections.clone();
        Ok(Box::new(Admission { connections: self.connections.clone(), ip, gauge: metrics }))
    }

    fn may_come(&self, address: SocketAddr) -> Result<(), &'static str> {
        self.has_room()?;
        let from_here = self.connections.by_address.get(&shared_address(address.ip())).map_or(0, |count| *count);
        if from_here >= self.shared.config.per_address_max {
            return Err(self.refused("per_address"));
        }
        Ok(())
    }

    fn hears_early(&self, unproven: usize) -> bool {
        // Half of the sessions can be had only by those who are there. An unproven one that has said hello counts twice, so that
        // they are a quarter at most, also while hellos are on their way to their actors.
        let taken = self.shared.registry.keyed_sessions() + unproven;
        taken < self.shared.config.sessions_max / 2
    }

    fn control(&self, link: ControlLink) {
        match Worker::current() {
            Some(worker) => drop(PeerActor::start_on(worker, link, Start::Server)),
            None => tracing::error!("a control link arrived on a thread that is no worker"),
        }
    }

    fn data(&self, arrival: DataArrival) -> Result<(), Refusal> {
        let refuse = |words: &str| {
            self.shared.metrics.refusal(LinkFault::Token.as_str()).increment(1);
            Err(Refusal::new(RefusalCode::BadToken, words))
        };
        // Taken out: a token is good once. In the hands of somebody else it is not his to spend.
        let tokens = &self.shared.registry.tokens;
        let peer = arrival.link.peer;
        let Some((_, entry)) =
            tokens.remove_if(&arrival.token, |_, entry| peer.is_none_or(|peer| peer == entry.session.peer.id))
        else {
            if tokens.contains_key(&arrival.token) {
                return refuse("this data token was given to another peer");
            }
            if self.shared.registry.late_tokens.has(&arrival.token) {
                return Err(Refusal::new(RefusalCode::BadToken, "the session of this data token has ended"));
            }
            return refuse("this data token is unknown or was used already");
        };
        if arrival.link.ways != entry.ways {
            return refuse("this data token is for a link that carries other ways");
        }
        if Worker::current().map(|worker| worker.index) != Some(entry.session.worker) {
            return refuse("this data link did not name the route of its welcome");
        }
        match entry.data.try_send(DataMessage::LinkArrived(arrival.link)) {
            Ok(()) => Ok(()),
            Err(_) => refuse("the session of this data token has ended"),
        }
    }

    fn fault(&self, address: SocketAddr, fault: LinkFault) {
        self.shared.metrics.refusal(fault.as_str()).increment(1);
        tracing::debug!(%address, fault = fault.as_str(), "connection closed before it was a session");
    }
}

impl Node {
    /// Whether anybody is taken.
    fn has_room(&self) -> Result<(), &'static str> {
        if self.shared.draining.load(Relaxed) {
            return Err(self.refused("draining"));
        }
        let config = &self.shared.config;
        // A session has one control link and its data links; as many again may be shaking hands.
        let all_max = config.sessions_max.saturating_mul(1 + config.data_links_max);
        if self.connections.all.load(Relaxed) >= all_max {
            return Err(self.refused("connections"));
        }
        Ok(())
    }

    /// Counts a refusal for `reason`.
    fn refused(&self, reason: &'static str) -> &'static str {
        self.shared.metrics.refusal(reason).increment(1);
        reason
    }
}

/// One connection's place, given back on drop.
struct Admission {
    connections: Arc<Connections>,
    ip: IpAddr,
    gauge: metrics::Gauge,
}

impl Drop for Admission {
    fn drop(&mut self) {
        let open = self.connections.all.fetch_sub(1, Relaxed) - 1;
        self.gauge.set(open as f64);
        if let Some(mut count) = self.connections.by_address.get_mut(&self.ip) {
            *count -= 1;
        }
        self.connections.by_address.remove_if(&self.ip, |_, count| *count == 0);
    }
}
