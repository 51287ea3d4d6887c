//! Every limit of the language, in one place.

/// Bytes of one control frame without its length (DESIGN 3.6).
pub const CONTROL_FRAME_BYTES_MAX: usize = 64 * 1024;
/// Bytes of one data frame's payload: one quantum in bulk mode (DESIGN 6).
pub const DATA_PAYLOAD_BYTES_MAX: u32 = 256 * 1024;
/// Bytes of a path: what Linux takes (`PATH_MAX`).
pub const PATH_BYTES_MAX: usize = 4096;
/// Bytes of the words in a refusal, failure or goodbye: a paragraph.
pub const WORDS_BYTES_MAX: usize = 1024;
/// Bytes of an agent's name.
pub const AGENT_BYTES_MAX: usize = 256;
/// The greatest weight, 1000.0: enough for any preference, too little to be a way around the shares of others.
pub const WEIGHT_THOUSANDTHS_MAX: u32 = 1_000_000;

/// What one session may take. The defaults are meant for a server with thousands of peers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Limits {
    /// From the first byte to the welcome, in milliseconds.
    pub handshake_ms: u64,
    /// A ping is sent when nothing was heard for this long, in milliseconds.
    pub keepalive_ms: u64,
    /// The peer is given up when nothing was heard for this long, in milliseconds. Three pings.
    pub dead_ms: u64,
    /// Live transfers of one session. A further one fails with `TooMany`.
    pub transfers_max: usize,
    /// Lists being answered. A further one is answered with `TooMany`.
    pub lists_max: usize,
    /// Entries in one listing.
    pub listing_entries_max: usize,
    /// Bytes of a path.
    pub path_bytes_max: usize,
    /// Gets in a hello.
    pub gets_in_hello_max: usize,
    /// Pings without an answer; further ones are not sent.
    pub pings_max: usize,
    /// Outputs that the shell has not taken. Full means that the peer asks faster than it takes answers.
    pub outputs_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake_ms: 10_000,
            keepalive_ms: 15_000,
            dead_ms: 45_000,
            transfers_max: 256,
            lists_max: 8,
            listing_entries_max: 500,
            path_bytes_max: PATH_BYTES_MAX,
            gets_in_hello_max: 16,
            pings_max: 8,
            outputs_max: 1024,
        }
    }
}
