//! How the program ends.
//!
//! | code | when |
//! |---|---|
//! | 0 | everything asked for was done, and every file passed its BLAKE3 check |
//! | 1 | at least one transfer or order failed; what and why is on standard error |
//! | 2 | the command line makes no sense |
//! | 64 | the configuration is bad: one message for each bad key, with its line |
//! | 65 | a file arrived whole but is not the file that was sent (BLAKE3) |
//! | 69 | nobody answers, the peer or the admin API; or the node is full or going down: later may do |
//! | 71 | this machine is in the way: a port in use, no state directory, too few descriptors |
//! | 75 | a node ended before its transfers: by a second signal, or because its time to drain was over; they can be resumed |
//! | 77 | refused: no rights, sent away by the operator, a server whose id changed, a wrong token |
//! | 130 | interrupted by Ctrl-C |
//!
//! From 64 on they are those of `sysexits.h`. Where several transfers end differently, the greatest code wins.

use std::{fmt, process::ExitCode};

/// A way to end; the table stands at the top of this module.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub enum Exit {
    /// 0
    Done,
    /// 1
    Failed,
    /// 2
    Usage,
    /// 64
    Config,
    /// 65
    HashMismatch,
    /// 69
    Unreachable,
    /// 71
    Machine,
    /// 75
    CutOff,
    /// 77
    Refused,
    /// 130
    Interrupted,
}

impl Exit {
    /// The number that the caller sees.
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Config => 64,
            Self::HashMismatch => 65,
            Self::Unreachable => 69,
            Self::Machine => 71,
            Self::CutOff => 75,
            Self::Refused => 77,
            Self::Interrupted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why a command did not do what it was asked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Failure {
    /// How the program ends.
    pub exit: Exit,
    /// For a person: what happened and what to do. Empty when it has been said already.
    pub message: String,
}

impl Failure {
    /// Ends with `exit`.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }

    /// Ends with 2.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}
