//! Guests as a transport sees them: who may come in, and a passage through the tree for each request. The transport knows
//! sockets and HTTP; rates, turns and meters are behind these traits.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use flow::{Class, Limiter, Mode, ModeSwitch, Rate};

use super::Files;

/// A connection's place, given back on drop.
pub struct GuestPlace {
    /// Where the connection must live: all connections of one address live on one worker.
    pub worker: usize,
    /// The others of its address.
    pub company: Arc<Company>,
    /// What is given back.
    pub lease: Box<dyn Send>,
}

/// What the connections of one address have in common.
#[derive(Debug, Default)]
pub struct Company {
    over: AtomicBool,
    owed_bytes: AtomicU64,
}

impl Company {
    /// The operator ends what this address has open.
    pub fn end(&self) {
        self.over.store(true, Relaxed);
    }

    /// Whether the operator has ended it.
    pub fn is_over(&self) -> bool {
        self.over.load(Relaxed)
    }

    /// So much was sent to it that no transfer was charged for.
    pub fn owe(&self, bytes: u64) {
        self.owed_bytes.fetch_add(bytes, Relaxed);
    }

    /// Takes over all that is owed, if it is `least` or more: whoever calls this pays for it. Else 0.
    pub fn collect(&self, least: u64) -> u64 {
        let due = |owed: u64| (owed >= least).then_some(0);
        self.owed_bytes.fetch_update(Relaxed, Relaxed, due).unwrap_or(0)
    }
}

/// Why a guest is turned away; a label of the refusals counter.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum GuestRefusal {
    /// This address has as many connections as one may have.
    PerAddress,
    /// All places are taken.
    Connections,
    /// The node is going down.
    Draining,
}

impl GuestRefusal {
    /// The label's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PerAddress => "per_address",
            Self::Connections => "connections",
            Self::Draining => "draining",
        }
    }
}

/// What the operator has granted to one request.
#[derive(Clone, Debug, PartialEq)]
pub struct GuestTerms {
    /// Its share in proportion, among the requests of its address.
    pub weight: f64,
    /// Never above.
    pub cap: Rate,
    /// Before that of its address and its group; `None` = theirs.
    pub class: Option<Class>,
}

impl Default for GuestTerms {
    fn default() -> Self {
        Self { weight: 1.0, cap: Rate::UNLIMITED, class: None }
    }
}

/// One request that has a body.
#[derive(Clone, Debug)]
pub struct GuestRequest {
    /// Where it comes from.
    pub address: SocketAddr,
    /// What the client says it is.
    pub agent: String,
    /// `SHARE/PATH`.
    pub path: String,
    /// Bytes of the file; 0 where nobody knows them.
    pub size: u64,
    /// The first byte that will be sent.
    pub start: u64,
    /// How it is to be treated.
    pub terms: GuestTerms,
    /// What decides its connection's mode, as the last answer left it; `None` before the first.
    pub switch: Option<ModeSwitch>,
}

/// What a front without identities calls. Implemented by the node.
pub trait GuestFront: Send + Sync + 'static {
    /// Admission, before anything is read or allocated for the connection. A refusal has been counted.
    fn admit(&self, address: SocketAddr) -> Result<GuestPlace, GuestRefusal>;
    /// Runs `job` on worker `index`: sockets are registered where they will be used.
    fn run_on(&self, index: usize, job: Box<dyn FnOnce() + Send>);
    /// Whether the node is going down: what runs may end, nothing new begins.
    fn is_draining(&self) -> bool;
    /// The node's shares, all of them: what guests may see is the front's own to check.
    fn files(&self) -> &dyn Files;
    /// Opens the transfer of one request, on the worker where its connection lives. A refusal has been counted.
    fn begin(&self, request: GuestRequest) -> Result<Box<dyn Passage>, GuestRefusal>;
    /// An answer was made: its status, and the bytes of it that are no file's.
    fn answered(&self, status: &str, overhead_bytes: u64);
    /// Somebody waited so long for an operation on files (`open`, `read`).
    fn waited(&self, operation: &str, time: Duration);
    /// A page of a listing left out that many names; see [`FilePage::hidden`](crate::port::FilePage::hidden).
    fn hidden(&self, names: u64);
    /// A connection or a request was turned away before it meant anything; counted.
    fn refused(&self, reason: &'static str);
}

/// One transfer to a guest: permission before each piece, and word of each piece afterwards. Lives on one worker; given
/// back on drop, which counts as lost unless [`Passage::end`] said otherwise.
pub trait Passage {
    /// Permission to send: at most `wanted` bytes, in the order in which the tree gives it. One request is under way at a time.
    fn poll_permit(&mut self, wanted: u32, cx: &mut Context<'_>) -> Poll<u32>;
    /// Returns permission that was not used.
    fn give_back(&mut self, bytes: u32);
    /// How the connection's bytes are to be sent now.
    fn mode(&self) -> Mode {
        self.switch().mode()
    }
    /// What decides that, for the connection's next answer.
    fn switch(&self) -> ModeSwitch;
    /// What holds the transfer from now on.
    fn hold(&mut self, limiter: Limiter);
    /// The kernel took `bytes`; the file is now at `offset`.
    fn sent(&mut self, bytes: u32, offset: u64);
    /// So much of what was permitted was for what is no file's.
    fn said(&mut self, bytes: u32);
    /// The socket holds so many bytes that nobody acknowledged. Asking costs a call, and not every quantum needs it.
    fn in_socket(&mut self, unacknowledged_bytes: u64);
    /// How it ended; a label of the counter of transfers that ended.
    fn end(&mut self, outcome: &'static str);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_address_owes_is_collected_once_when_it_is_enough() {
        let company = Company::default();
        company.owe(700);
        assert_eq!(company.collect(1000), 0);
        company.owe(500);
        assert_eq!([company.collect(1000), company.collect(1000)], [1200, 0]);
    }
}
