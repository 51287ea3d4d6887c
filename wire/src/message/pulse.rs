//! Signs of life.

/// Asks for a [`Pong`] with the same contents.
#[derive(Copy, Clone, PartialEq, Eq, ::prost::Message)]
pub struct Ping {
    /// Tells pings apart.
    #[prost(uint64, tag = "1")]
    pub nonce: u64,
    /// The asker's own clock, in nanoseconds since an origin that only it knows.
    #[prost(uint64, tag = "2")]
    pub sent_ns: u64,
}

/// Answers a [`Ping`].
#[derive(Copy, Clone, PartialEq, Eq, ::prost::Message)]
pub struct Pong {
    /// The ping's.
    #[prost(uint64, tag = "1")]
    pub nonce: u64,
    /// The ping's.
    #[prost(uint64, tag = "2")]
    pub sent_ns: u64,
}
