//! The states of a session and the table of what each takes.
//!
//! ```text
//! client: Greeting ------------ Welcome --> Open --> Draining --> Closed
//! server: Greeting -- Hello --> Deciding -> Open --> Draining --> Closed
//! ```

use flow::Moment;

use super::{Pulse, Role};
use crate::{Get, List, MessageKind};

/// Where a session is. A state holds only what is true there.
#[derive(Debug)]
pub(crate) enum State {
    /// Client: the hello is on its way. Server: it has not come yet.
    Greeting { deadline: Moment },
    /// Server: the shell decides about the hello, which came at `since` with these gets and lists.
    Deciding { deadline: Moment, since: Moment, gets: Vec<Get>, lists: Vec<List> },
    /// Everything may happen.
    Open { pulse: Pulse },
    /// No new transfers. Without a deadline it is the peer who drains.
    Draining { pulse: Pulse, deadline: Option<Moment> },
    /// Over.
    Closed,
}

impl State {
    pub(crate) fn phase(&self) -> Phase {
        match self {
            Self::Greeting { .. } => Phase::Greeting,
            Self::Deciding { .. } => Phase::Deciding,
            Self::Open { .. } => Phase::Open,
            Self::Draining { .. } => Phase::Draining,
            Self::Closed => Phase::Closed,
        }
    }

    pub(crate) fn pulse_mut(&mut self) -> Option<&mut Pulse> {
        match self {
            Self::Open { pulse } | Self::Draining { pulse, .. } => Some(pulse),
            Self::Greeting { .. } | Self::Deciding { .. } | Self::Closed => None,
        }
    }
}

/// A state without what it holds.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) enum Phase {
    Greeting,
    Deciding,
    Open,
    Draining,
    Closed,
}

impl Phase {
    #[cfg(test)]
    pub(crate) const ALL: [Self; 5] = [Self::Greeting, Self::Deciding, Self::Open, Self::Draining, Self::Closed];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Greeting => "greeting",
            Self::Deciding => "deciding",
            Self::Open => "open",
            Self::Draining => "draining",
            Self::Closed => "closed",
        }
    }
}

/// What a state does with a kind of message.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) enum Verdict {
    /// Takes it, and is then in one of these phases.
    Take(&'static [Phase]),
    /// Doesn't read it.
    Ignore,
    /// The peer broke the protocol.
    Violation,
}

/// The table: what `role` in `phase` does with a message of `kind`.
pub(crate) fn verdict(role: Role, phase: Phase, kind: MessageKind) -> Verdict {
    match phase {
        Phase::Greeting => greeting(role, kind),
        Phase::Deciding => match kind {
            MessageKind::Goodbye => Verdict::Take(&[Phase::Closed]),
            // The hello carries everything; the rest waits for the welcome.
            _ => Verdict::Violation,
        },
        Phase::Open => conversation(role, kind, false),
        Phase::Draining => conversation(role, kind, true),
        // What was on its way when the session ended.
        Phase::Closed => Verdict::Ignore,
    }
}

fn greeting(role: Role, kind: MessageKind) -> Verdict {
    match (role, kind) {
        // Closed: the versions have nothing in common.
        (Role::Server, MessageKind::Hello) => Verdict::Take(&[Phase::Deciding, Phase::Closed]),
        (Role::Client, MessageKind::Welcome) => Verdict::Take(&[Phase::Open]),
        (Role::Client, MessageKind::Refusal) | (_, MessageKind::Goodbye) => Verdict::Take(&[Phase::Closed]),
        _ => Verdict::Violation,
    }
}

fn conversation(role: Role, kind: MessageKind, draining: bool) -> Verdict {
    let stay: &[Phase] = if draining { &[Phase::Draining] } else { &[Phase::Open] };
    // The last transfer, or list, that ends while draining ends the session.
    let end: &[Phase] = if draining { &[Phase::Draining, Phase::Closed] } else { &[Phase::Open] };
    match (kind, role) {
        (MessageKind::Ping | MessageKind::Pong, _) => Verdict::Take(stay),
        (MessageKind::Window | MessageKind::Finished | MessageKind::Progress, _) => Verdict::Take(stay),
        (MessageKind::Stored | MessageKind::Failed | MessageKind::Cancel, _) => Verdict::Take(end),
        (MessageKind::Goodbye, _) => Verdict::Take(&[Phase::Draining, Phase::Closed]),
        (MessageKind::List | MessageKind::Get | MessageKind::Put | MessageKind::Begin, Role::Server) => {
            Verdict::Take(stay)
        }
        (MessageKind::DesiredRates | MessageKind::Proportions, Role::Server) => Verdict::Take(stay),
        (MessageKind::Listing, Role::Client) => Verdict::Take(end),
        (MessageKind::Opened | MessageKind::Ready | MessageKind::Granted, Role::Client) => Verdict::Take(stay),
        (MessageKind::Hello | MessageKind::Welcome | MessageKind::Refusal, _)
        | (MessageKind::List | MessageKind::Get | MessageKind::Put | MessageKind::Begin, Role::Client)
        | (MessageKind::DesiredRates | MessageKind::Proportions, Role::Client)
        | (MessageKind::Opened | MessageKind::Ready | MessageKind::Granted | MessageKind::Listing, Role::Server) => {
            Verdict::Violation
        }
    }
}
