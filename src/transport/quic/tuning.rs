//! What QUIC's own machinery is told: how much may wait, how long silence may last, how many streams.

use std::{sync::Arc, time::Duration};

use quinn::{IdleTimeout, TransportConfig, VarInt};

use super::gauge::GaugeFactory;

/// Control frames of one session that wait here unread: 4 of the largest. Beyond, the peer is held back by flow control.
pub(super) const CONTROL_WINDOW_BYTES: u32 = 256 << 10;
/// Written and not acknowledged, on a control link: as much as the actor lets wait for its writer.
const CONTROL_SEND_BYTES: u64 = 1 << 20;
/// What a data link may have unread before its rate is known.
pub(super) const DATA_WINDOW_BYTES_AT_FIRST: u32 = 1 << 20;
/// And at least, however slow it is: a chunk's header and a few datagrams, so that a slow link is not one datagram at a time.
pub(super) const DATA_WINDOW_BYTES_MIN: u32 = 16 << 10;
/// And at most, however fast it is: 130 ms at 1 Gbit/s.
pub(super) const DATA_WINDOW_BYTES_MAX: u32 = 16 << 20;
/// What a data link may have written and not acknowledged before its path is known.
pub(super) const DATA_SEND_BYTES_AT_FIRST: u64 = 256 << 10;
/// Silence after which a control connection is given up: three questions that nobody answered. Nobody says that a process was killed, as
/// the kernel does for TCP.
const CONTROL_IDLE_MAX: Duration = Duration::from_secs(15);
/// The same of a data link: five questions that nobody answered. It is dialled anew by the session that it belongs to, or that one
/// is, and over TCP if need be; until then what is under way stands still.
const DATA_IDLE_MAX: Duration = Duration::from_secs(10);
/// The dialling side sends something on a link that was silent for so long, so that neither end nor a firewall between gives it up;
/// many firewalls forget UDP after 30 s. It is also how a node learns that a client has moved: who waits for what the node has to
/// say has nothing to say himself, and until then it goes to where he was.
const CONTROL_KEEPALIVE: Duration = Duration::from_secs(5);
/// Of a data link it is waited for with a file under way. Where bytes move none is sent; a silent link costs a datagram each way
/// in that time. One over which bytes came a moment ago says something sooner, see [`Nudge`](super::nudge::Nudge).
pub(super) const DATA_KEEPALIVE: Duration = Duration::from_secs(2);

/// Which end of a connection.
#[derive(Copy, Clone, Debug)]
pub(super) enum End {
    Accepting,
    Dialling,
}

/// For control connections.
pub(super) fn control(end: End) -> Arc<TransportConfig> {
    let mut config = common(end, CONTROL_KEEPALIVE, CONTROL_IDLE_MAX);
    config
        // Its one stream is bounded by the connection's window. These two are remembered with a ticket, and a data link that comes
        // with that ticket begins with them: quinn never widens an early stream's window to what the handshake then says, and
        // without a stream of its kind a link that carries one way would show its token a round trip later.
        .stream_receive_window(VarInt::from_u32(DATA_WINDOW_BYTES_MAX))
        .max_concurrent_uni_streams(VarInt::from_u32(one_way_streams(end)))
        .receive_window(VarInt::from_u32(CONTROL_WINDOW_BYTES))
        .send_window(CONTROL_SEND_BYTES);
    #[cfg(feature = "one-connection")]
    config.max_concurrent_bidi_streams(VarInt::from_u32(64)).receive_window(VarInt::from_u32(DATA_WINDOW_BYTES_MAX));
    Arc::new(config)
}

/// For data connections: the same, with windows that follow the rate. Who accepts does not know yet which ways the link is to
/// carry: both over a bidirectional stream, one over the other kind. Who opens another beside that of the link breaks the
/// protocol.
pub(super) fn data(end: End) -> Arc<TransportConfig> {
    Arc::new(data_with(end, one_way_streams(end)))
}

/// That the other end may open.
fn one_way_streams(end: End) -> u32 {
    match end {
        End::Accepting => 1,
        End::Dialling => 0,
    }
}

/// For who dials a data connection over which bytes only come: the node opens the stream.
pub(super) fn data_down() -> Arc<TransportConfig> {
    Arc::new(data_with(End::Dialling, 1))
}

fn data_with(end: End, one_way_streams: u32) -> TransportConfig {
    let mut config = common(end, DATA_KEEPALIVE, DATA_IDLE_MAX);
    config
        .max_concurrent_uni_streams(VarInt::from_u32(one_way_streams))
        .stream_receive_window(VarInt::from_u32(DATA_WINDOW_BYTES_MAX))
        .receive_window(VarInt::from_u32(DATA_WINDOW_BYTES_AT_FIRST))
        .send_window(DATA_SEND_BYTES_AT_FIRST);
    config
}

fn common(end: End, keepalive: Duration, idle_max: Duration) -> TransportConfig {
    let mut config = TransportConfig::default();
    // The one stream of a link that carries both ways is opened by who dials.
    let (streams, keepalive) = match end {
        End::Accepting => (1, None),
        End::Dialling => (0, Some(keepalive)),
    };
    config
        .keep_alive_interval(keepalive)
        .max_concurrent_bidi_streams(VarInt::from_u32(streams))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .max_idle_timeout(IdleTimeout::try_from(idle_max).ok())
        // Cubic, as the host's TCP mostly has; the release comes from our own shaper, so nothing that paces by itself (BBR).
        .congestion_controller_factory(Arc::new(GaugeFactory::default()));
    config
}
