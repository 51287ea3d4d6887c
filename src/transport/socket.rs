//! The socket options that links need, the same on the accepting and on the dialling side.

use std::{io, time::Duration};

use tokio::net::TcpStream;

/// Silence after which the kernel probes a connection, how often, and how many probes may stay unanswered: a peer that
/// vanished is noticed after a minute even on a data link that has nothing to send.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_PROBES: u32 = 3;

/// How sockets are set up.
#[derive(Clone, Debug)]
pub struct SocketConfig {
    /// At most about this much is committed to the kernel beyond what the path takes, on data links
    /// (`TCP_NOTSENT_LOWAT`, DESIGN 4).
    pub not_sent_low_water_bytes: u32,
    /// Congestion control by name; `None`: the host's. Where it is not permitted the host's is used, and that is logged.
    pub congestion: Option<String>,
    /// Largest segment in bytes, for benchmarks on loopback (DESIGN 8); `None`: the path's.
    pub max_segment_bytes: Option<u16>,
    /// A control link is given up when what was written was not acknowledged for so long.
    pub user_timeout_ms: u64,
}

impl Default for SocketConfig {
    fn default() -> Self {
        Self {
            // Half of the largest quantum: enough to keep a path of 1 Gbit/s and 1 ms busy between two visits.
            not_sent_low_water_bytes: 128 * 1024,
            congestion: None,
            max_segment_bytes: None,
            user_timeout_ms: 60_000,
        }
    }
}

impl SocketConfig {
    /// What must be set before there is a connection: on a listener (accepted sockets inherit it) or before connecting.
    pub(super) fn prepare(&self, socket: impl std::os::fd::AsFd) -> io::Result<()> {
        if let Some(bytes) = self.max_segment_bytes {
            host::set_max_segment(&socket, bytes)?;
        }
        if let Some(name) = &self.congestion
            && let Err(error) = host::set_congestion(&socket, name)
        {
            let in_use = host::congestion(&socket).unwrap_or_default();
            tracing::warn!(wanted = name, in_use, %error, "the congestion control may not be chosen here; the host's is used");
        }
        Ok(())
    }

    /// For a socket that carries control frames.
    pub(super) fn apply_control(&self, stream: &TcpStream) {
        let timeout = Duration::from_millis(self.user_timeout_ms);
        note(stream, apply_common(stream).and_then(|()| host::set_user_timeout(stream, timeout)));
    }

    /// For a socket that carries data. No user timeout here: it would also end a link whose receiver keeps its window shut,
    /// and receivers are slow on purpose (receiving is shaped by reading). Data links end with their control link.
    pub(super) fn apply_data(&self, stream: &TcpStream) {
        let mark = self.not_sent_low_water_bytes;
        note(stream, apply_common(stream).and_then(|()| host::set_not_sent_low_water(stream, mark)));
    }
}

fn apply_common(stream: &TcpStream) -> io::Result<()> {
    host::set_nodelay(stream)?;
    host::set_keepalive(stream, KEEPALIVE_IDLE, KEEPALIVE_INTERVAL, KEEPALIVE_PROBES)
}

/// A knob that fails leaves a link that works, only less well; mostly the connection is gone already.
fn note(stream: &TcpStream, answer: io::Result<()>) {
    if let Err(error) = answer {
        tracing::debug!(address = ?stream.peer_addr().ok(), %error, "a socket option was not taken");
    }
}
