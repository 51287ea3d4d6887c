//! Whether the other end is alive: pings, their answers, and silence.

use std::{collections::VecDeque, time::Duration};

use flow::Moment;

use crate::{Limits, Ping, Pong, Violation};

/// The pulse of an open session.
#[derive(Debug)]
pub(crate) struct Pulse {
    heard: Moment,
    ping_at: Moment,
    next_nonce: u64,
    /// Unanswered, oldest first; at most `Limits::pings_max`.
    unanswered: VecDeque<Sent>,
}

#[derive(Debug)]
struct Sent {
    nonce: u64,
    at: Moment,
}

impl Pulse {
    pub(crate) fn new(now: Moment, limits: &Limits) -> Self {
        Self { heard: now, ping_at: now.saturating_add(keepalive(limits)), next_nonce: 1, unanswered: VecDeque::new() }
    }

    /// A message came.
    pub(crate) fn heard(&mut self, now: Moment, limits: &Limits) {
        self.heard = self.heard.max(now);
        self.ping_at = self.heard.saturating_add(keepalive(limits));
    }

    /// The next ping, unless too many are unanswered.
    pub(crate) fn ping(&mut self, now: Moment, limits: &Limits) -> Option<Ping> {
        self.ping_at = now.saturating_add(keepalive(limits));
        if self.unanswered.len() >= limits.pings_max {
            return None;
        }
        let nonce = self.next_nonce;
        self.next_nonce += 1;
        self.unanswered.push_back(Sent { nonce, at: now });
        Some(Ping { nonce, sent_ns: now.as_nanos() })
    }

    /// The time since the ping that `pong` answers. Links keep order, so older ones will never be answered.
    pub(crate) fn pong(&mut self, pong: &Pong, now: Moment) -> Result<Duration, Violation> {
        while let Some(sent) = self.unanswered.pop_front() {
            if sent.nonce == pong.nonce {
                return Ok(now.saturating_since(sent.at));
            }
        }
        Err(Violation::UnknownPong)
    }

    /// When to ping.
    pub(crate) fn ping_at(&self) -> Moment {
        self.ping_at
    }

    /// When the peer is dead: after `dead_ms` of silence, but only if a ping has gone unanswered for a keepalive as well.
    /// Otherwise a machine that wakes from sleep would bury all its peers before it has read what they sent.
    pub(crate) fn dead_at(&self, limits: &Limits) -> Option<Moment> {
        let first = self.unanswered.front()?;
        let silent = self.heard.saturating_add(Duration::from_millis(limits.dead_ms));
        Some(silent.max(first.at.saturating_add(keepalive(limits))))
    }

    /// The next moment at which something is due.
    pub(crate) fn next(&self, limits: &Limits) -> Moment {
        self.dead_at(limits).map_or(self.ping_at, |dead_at| dead_at.min(self.ping_at))
    }
}

fn keepalive(limits: &Limits) -> Duration {
    Duration::from_millis(limits.keepalive_ms)
}
