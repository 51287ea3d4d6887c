//! How a peer can break the protocol. Each way is typed, counted by its [`Violation::code`], and ends the session: a peer
//! that got one rule wrong cannot be trusted with the next (DESIGN 14).

/// A peer broke the protocol.
///
/// The words may be sent to that peer, so they hold nothing that it does not know already.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Violation {
    /// A control frame longer than is allowed.
    #[error("a control frame of {len} bytes; {max} are allowed")]
    FrameTooLong {
        /// What its length field says.
        len: u64,
        /// [`crate::CONTROL_FRAME_BYTES_MAX`], or less.
        max: usize,
    },
    /// A control frame of no bytes.
    #[error("an empty control frame")]
    FrameEmpty,
    /// A control frame that is no protobuf of this protocol.
    #[error("a control frame that does not decode: {0}")]
    Malformed(String),
    /// A list with more entries than is allowed.
    #[error("{count} {what}; {max} are allowed")]
    TooMany {
        /// Entries of what.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// How many there may be.
        max: usize,
    },
    /// A text longer than is allowed.
    #[error("{what} of {len} bytes; {max} are allowed")]
    TooLong {
        /// Which text.
        what: &'static str,
        /// Its bytes.
        len: usize,
        /// How many there may be.
        max: usize,
    },
    /// A field of fixed length (hash, token) has another.
    #[error("{what} of {len} bytes")]
    BadLength {
        /// Which field.
        what: &'static str,
        /// Its bytes.
        len: usize,
    },
    /// A number outside its range.
    #[error("{what} of {value}")]
    BadNumber {
        /// Which field.
        what: &'static str,
        /// What it held.
        value: u64,
    },
    /// A data link that does not begin with the magic.
    #[error("a data link that does not begin with the magic bytes")]
    DataMagic,
    /// Data on a link that carries none from whoever sent it.
    #[error("data of transfer {0} on a data link that carries none this way")]
    WrongWay(u32),
    /// A data frame whose length is 0 or above the limit.
    #[error("a data frame of {len} bytes; 1 to {max} are allowed")]
    DataLength {
        /// What its length field says.
        len: u32,
        /// [`crate::DATA_PAYLOAD_BYTES_MAX`].
        max: u32,
    },
    /// A message that this state, or this role, does not take.
    #[error("`{message}` was not expected by a {role} in state `{state}`")]
    Unexpected {
        /// The message's name.
        message: &'static str,
        /// The state's name.
        state: &'static str,
        /// `client` or `server`: who received it.
        role: &'static str,
    },
    /// A message that its transfer's state does not take.
    #[error("`{message}` was not expected for transfer {transfer} in state `{state}`")]
    UnexpectedForTransfer {
        /// The message's name, or `data`.
        message: &'static str,
        /// The transfer.
        transfer: u32,
        /// The transfer's state by name.
        state: &'static str,
    },
    /// A transfer that was never opened.
    #[error("transfer {0} is unknown")]
    UnknownTransfer(u32),
    /// A new transfer whose id is not above all ids of its session.
    #[error("transfer id {transfer} is not new; ids grow, and {highest} was used")]
    TransferReused {
        /// The id.
        transfer: u32,
        /// The highest so far.
        highest: u32,
    },
    /// A listing that nobody asked for.
    #[error("listing {0} was not asked for")]
    UnknownRequest(u32),
    /// A list request whose id is not above all of its session.
    #[error("request id {0} is not new; ids grow")]
    RequestReused(u32),
    /// A pong that answers no ping.
    #[error("a pong that answers no ping")]
    UnknownPong,
    /// Data beyond the receive window.
    #[error("transfer {transfer} was sent up to {end}; its window ends at {limit}")]
    WindowPassed {
        /// The transfer.
        transfer: u32,
        /// Where the data ends.
        end: u64,
        /// How far it may go.
        limit: u64,
    },
    /// Data beyond the file's size.
    #[error("transfer {transfer} was sent up to {end}; its size is {size}")]
    SizePassed {
        /// The transfer.
        transfer: u32,
        /// Where the data ends.
        end: u64,
        /// The size that was announced.
        size: u64,
    },
    /// Data that does not continue where the last ended.
    #[error("transfer {transfer} continues at {got}; {expected} is next")]
    OutOfOrder {
        /// The transfer.
        transfer: u32,
        /// Where it must continue.
        expected: u64,
        /// Where it does.
        got: u64,
    },
    /// A start that is neither 0 nor the offset that the receiver has.
    #[error("transfer {transfer} starts at {start}; 0 or {offset} was expected")]
    BadStart {
        /// The transfer.
        transfer: u32,
        /// Where the sender starts.
        start: u64,
        /// What the receiver has.
        offset: u64,
    },
    /// A size that is not the announced one.
    #[error("transfer {transfer} ends with size {got}; {expected} was announced")]
    SizeChanged {
        /// The transfer.
        transfer: u32,
        /// The announced size.
        expected: u64,
        /// The size at the end.
        got: u64,
    },
    /// Progress beyond what was sent.
    #[error("transfer {transfer} is said to have {stored} bytes stored; {sent} were sent")]
    ProgressAhead {
        /// The transfer.
        transfer: u32,
        /// What the receiver says.
        stored: u64,
        /// What was sent.
        sent: u64,
    },
    /// More data for ended transfers than can have been on its way when they ended.
    #[error("more data for ended transfers than their windows allowed")]
    DiscardPassed,
    /// More messages than answers could be taken away: the queue of outputs is full.
    #[error("more messages than can be answered")]
    Flood,
    /// The transport below was used against its rules: more streams or bytes on a QUIC connection than it has credit for, say.
    #[error("a rule of the transport was broken: {0}")]
    Transport(String),
}

impl Violation {
    /// The label of the violations counter: one word per way, never with a value in it.
    pub fn code(&self) -> &'static str {
        match self {
            Self::FrameTooLong { .. } => "frame_too_long",
            Self::FrameEmpty => "frame_empty",
            Self::Malformed(_) => "malformed",
            Self::TooMany { .. } => "too_many",
            Self::TooLong { .. } => "too_long",
            Self::BadLength { .. } => "bad_length",
            Self::BadNumber { .. } => "bad_number",
            Self::DataMagic => "data_magic",
            Self::WrongWay(_) => "wrong_way",
            Self::DataLength { .. } => "data_length",
            Self::Unexpected { .. } => "unexpected",
            Self::UnexpectedForTransfer { .. } => "unexpected_for_transfer",
            Self::UnknownTransfer(_) => "unknown_transfer",
            Self::TransferReused { .. } => "transfer_reused",
            Self::UnknownRequest(_) => "unknown_request",
            Self::RequestReused(_) => "request_reused",
            Self::UnknownPong => "unknown_pong",
            Self::WindowPassed { .. } => "window_passed",
            Self::SizePassed { .. } => "size_passed",
            Self::OutOfOrder { .. } => "out_of_order",
            Self::BadStart { .. } => "bad_start",
            Self::SizeChanged { .. } => "size_changed",
            Self::ProgressAhead { .. } => "progress_ahead",
            Self::DiscardPassed => "discard_passed",
            Self::Flood => "flood",
            Self::Transport(_) => "transport",
        }
    }
}
