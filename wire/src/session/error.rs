//! Why a session does not carry out what its own shell asked for. Never the peer's fault, and often nobody's: the peer may
//! have ended a transfer while its file was being opened.

/// The order was not carried out, and nothing was sent.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SessionError {
    /// This end, or this state, does not do that.
    #[error("a {role} in state `{state}` does not `{order}`")]
    WrongState {
        /// The method.
        order: &'static str,
        /// [`crate::Session::state_name`].
        state: &'static str,
        /// `client` or `server`.
        role: &'static str,
    },
    /// No new transfers: one of the two ends is draining.
    #[error("the session is draining: no new transfers")]
    Draining,
    /// No such live transfer; it may have just ended.
    #[error("transfer {0} is not live")]
    NoSuchTransfer(u32),
    /// That transfer is not at this step.
    #[error("transfer {transfer} in state `{state}` does not `{order}`")]
    WrongStep {
        /// The method.
        order: &'static str,
        /// The transfer.
        transfer: u32,
        /// Its state's name.
        state: &'static str,
    },
    /// No such list request is waiting for its answer.
    #[error("list request {0} is not waiting")]
    NoSuchRequest(u32),
    /// A limit of this session is reached.
    #[error("too many {0}")]
    TooMany(&'static str),
    /// A text, number or page outside its limits.
    #[error("{0} is out of range")]
    OutOfRange(&'static str),
}
