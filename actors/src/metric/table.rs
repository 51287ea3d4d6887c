//! The table. Names are `evenkeel_` + noun + base unit (+ `_total` for counters), as `promtool check metrics` wants them.

/// What a metric is to Prometheus.
#[derive(Copy, Clone, Debug, PartialEq)]
pub enum Kind {
    /// Only ever grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A distribution, with its bucket borders in the metric's unit.
    Histogram(&'static [f64]),
}

/// The base unit of a metric's values.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Unit {
    /// Things.
    Count,
    /// Bytes.
    Bytes,
    /// Bytes per second.
    BytesPerSecond,
    /// Seconds.
    Seconds,
    /// 0 ..= 1.
    Ratio,
}

/// One metric.
#[derive(Copy, Clone, Debug)]
pub struct Metric {
    /// Unique.
    pub name: &'static str,
    /// Counter, gauge or histogram.
    pub kind: Kind,
    /// Of its values; of its borders too.
    pub unit: Unit,
    /// Names of its labels, in order. Their values come from fixed lists: no label ever carries a peer, a path or an address.
    pub labels: &'static [&'static str],
    /// One line for the scraped page.
    pub help: &'static str,
    /// What exactly moves it, and when.
    pub counting_rule: &'static str,
}

/// The metric of that name.
pub fn find(name: &str) -> Option<&'static Metric> {
    METRICS.iter().find(|metric| metric.name == name)
}

/// 1 KiB/s to 2 GiB/s by powers of two: a step is wider than the noise of a peer's rate, and 22 borders cover a modem and a
/// datacentre.
const RATE_BORDERS: &[f64] = &powers_of_two::<22>(1024.0);
/// 1 us to 2.1 s by powers of two: from a turn of an idle worker to a stall a person would notice.
const WAIT_BORDERS: &[f64] = &powers_of_two::<22>(1e-6);
/// 16 us to 262 ms: the wanted figures (a control answer within 500 us, a round within 2 ms) lie in the middle.
const WORK_BORDERS: &[f64] = &powers_of_two::<15>(16e-6);
/// 0, then 1 to 1024 messages: the lanes' bounds lie below the last.
const DEPTH_BORDERS: &[f64] = &[0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];
/// 64 us (page cache) to 8.4 s (a disk in trouble).
const DISK_BORDERS: &[f64] = &powers_of_two::<18>(64e-6);

const fn powers_of_two<const N: usize>(first: f64) -> [f64; N] {
    let mut borders = [first; N];
    let mut index = 1;
    while index < N {
        borders[index] = borders[index - 1] * 2.0;
        index += 1;
    }
    borders
}

const fn counter(
    name: &'static str,
    unit: Unit,
    labels: &'static [&'static str],
    help: &'static str,
    counting_rule: &'static str,
) -> Metric {
    Metric { name, kind: Kind::Counter, unit, labels, help, counting_rule }
}

const fn gauge(
    name: &'static str,
    unit: Unit,
    labels: &'static [&'static str],
    help: &'static str,
    counting_rule: &'static str,
) -> Metric {
    Metric { name, kind: Kind::Gauge, unit, labels, help, counting_rule }
}

const fn histogram(
    name: &'static str,
    unit: Unit,
    borders: &'static [f64],
    labels: &'static [&'static str],
    help: &'static str,
    counting_rule: &'static str,
) -> Metric {
    Metric { name, kind: Kind::Histogram(borders), unit, labels, help, counting_rule }
}

/// Every metric of a node.
pub const METRICS: &[Metric] = &[
    // Bytes.
    counter(
        "evenkeel_payload_bytes_total",
        Unit::Bytes,
        &["direction", "class", "transport"],
        "File bytes moved.",
        "Upload: when a chunk's payload has been handed to the kernel. Download: when a chunk's payload has been read whole. \
         Bytes sent again after a resume count again.",
    ),
    counter(
        "evenkeel_overhead_bytes_total",
        Unit::Bytes,
        &["direction"],
        "Bytes of the protocol itself: control frames and data headers.",
        "Control frames with their length prefix and data headers, before encryption; TLS, TCP and IP are not in it. Never \
         debited from any limit.",
    ),
    // Sessions and transfers.
    gauge(
        "evenkeel_sessions",
        Unit::Count,
        &[],
        "Live sessions.",
        "Up after a welcome was sent, down when the peer actor has ended, also by a panic. An address that HTTP is sent to is one \
         session, from its first body until nothing was sent for 5 s.",
    ),
    gauge(
        "evenkeel_peers",
        Unit::Count,
        &[],
        "Distinct peer ids with a live session.",
        "Set in every allocation round from the registry.",
    ),
    gauge(
        "evenkeel_transfers",
        Unit::Count,
        &["direction"],
        "Live transfers.",
        "Up when a transfer is opened, down when it is stored, failed or cancelled, or its session ends.",
    ),
    counter(
        "evenkeel_transfers_ended_total",
        Unit::Count,
        &["direction", "outcome"],
        "Transfers that ended.",
        "Once per opened transfer: stored (the receiver has verified and named the file), sent (the whole body of an HTTP answer \
         was handed to the kernel), failed, cancelled, or lost (the session or connection ended first).",
    ),
    counter(
        "evenkeel_failures_total",
        Unit::Count,
        &["code"],
        "Failures that peers were told.",
        "Once per answer that says why a transfer was not opened or did not end well, or why a listing failed, when it is made. \
         What was opened is in the transfers that ended too; HTTP's answers are in its own statuses.",
    ),
    counter(
        "evenkeel_names_hidden_total",
        Unit::Count,
        &[],
        "Names that listings left out because no peer can say them: not UTF-8, or too long.",
        "Once per such name whenever a listing shows a directory from its beginning, also for HTTP.",
    ),
    counter(
        "evenkeel_certificate_changes_total",
        Unit::Count,
        &["outcome"],
        "Changes of the files of the HTTPS certificate that were taken, or refused because the files are bad.",
        "Once per change, when the files have been still for a second.",
    ),
    counter(
        "evenkeel_config_reloads_total",
        Unit::Count,
        &["outcome"],
        "Times that SIGHUP had the configuration read again: taken, or refused because it is bad.",
        "Once per SIGHUP, when what can be changed is in force, or when it is known that nothing is.",
    ),
    counter(
        "evenkeel_joins_total",
        Unit::Count,
        &[],
        "Sessions that began.",
        "Once per welcome sent, and when an address begins to be a peer by HTTP.",
    ),
    counter(
        "evenkeel_leaves_total",
        Unit::Count,
        &["reason"],
        "Sessions that ended.",
        "Once per session that was welcomed, by what ended it.",
    ),
    counter(
        "evenkeel_refusals_total",
        Unit::Count,
        &["reason"],
        "Connections, links, hellos, HTTP requests and UDP datagrams that were turned away.",
        "Once per connection not admitted, handshake failed, data link without a good token, hello refused, HTTP \
         request that was malformed, beyond a limit or too slow, or UDP datagram that is nobody's.",
    ),
    counter(
        "evenkeel_violations_total",
        Unit::Count,
        &["code"],
        "Breaches of the protocol by peers.",
        "Once per session or link closed for one, by the rule that was broken.",
    ),
    gauge(
        "evenkeel_connections",
        Unit::Count,
        &[],
        "Connections admitted and not yet closed.",
        "Up at accept, before any handshake (QUIC: when the address is proven), down when the socket is closed.",
    ),
    gauge(
        "evenkeel_connections_max",
        Unit::Count,
        &[],
        "Connections admitted at most.",
        "Set at the start and when the configuration changes.",
    ),
    gauge(
        "evenkeel_links",
        Unit::Count,
        &["direction", "mode"],
        "Directions of links that carry data, by their mode: precise or bulk.",
        "Both directions of each data link while it is open, and each HTTP answer with a body while it is sent. What rests keeps \
         its mode.",
    ),
    counter(
        "evenkeel_mode_switches_total",
        Unit::Count,
        &["direction", "to"],
        "Changes of a link's mode.",
        "Once whenever one direction of a link passes a mark, by the mode it goes to; links begin as precise without being counted.",
    ),
    // Rates.
    gauge(
        "evenkeel_desired_bytes_per_second",
        Unit::BytesPerSecond,
        &["direction"],
        "What the operator wants at most, in total; +Inf = as much as possible.",
        "The configured limit in force, set in every round.",
    ),
    gauge(
        "evenkeel_allowed_bytes_per_second",
        Unit::BytesPerSecond,
        &["direction"],
        "What the node believes the line carries, in total; +Inf = not gated.",
        "The total for the next round, set in every round.",
    ),
    gauge(
        "evenkeel_assigned_bytes_per_second",
        Unit::BytesPerSecond,
        &["direction"],
        "What the allocator gave, in total; +Inf = not gated.",
        "The sum of the plan over all leaves, set in every round.",
    ),
    gauge(
        "evenkeel_achieved_bytes_per_second",
        Unit::BytesPerSecond,
        &["direction"],
        "What was measured, in total.",
        "Payload bytes over the last 2.5 s, or longer until 40 chunks are in it; 0 once there is no transfer. Set every 250 ms.",
    ),
    gauge(
        "evenkeel_lent_bytes_per_second",
        Unit::BytesPerSecond,
        &["direction"],
        "What went to peers above their assigned rates because siblings left it.",
        "What leaves achieved above their assigned rates, summed; 0 when not gated. Set in every round.",
    ),
    gauge(
        "evenkeel_capacity_bytes_per_second",
        Unit::BytesPerSecond,
        &["direction"],
        "What the line was found to carry; 0 = not known.",
        "Set in every round.",
    ),
    gauge(
        "evenkeel_jain_index",
        Unit::Ratio,
        &["direction"],
        "Jain's fairness index of the rates over the weights of the peers that the total holds; NaN = fewer than two.",
        "Set in every round, over peers with foreground transfers that the total held in this and the last plan; each group by itself.",
    ),
    histogram(
        "evenkeel_peer_assigned_bytes_per_second",
        Unit::BytesPerSecond,
        RATE_BORDERS,
        &["direction"],
        "Distribution of the peers' assigned rates.",
        "One observation per peer and round, for peers with a leaf that is assigned a rate; not gated = +Inf.",
    ),
    histogram(
        "evenkeel_peer_achieved_bytes_per_second",
        Unit::BytesPerSecond,
        RATE_BORDERS,
        &["direction"],
        "Distribution of the peers' achieved rates.",
        "One observation per peer and round, for peers that moved anything in it.",
    ),
    gauge(
        "evenkeel_bindings",
        Unit::Count,
        &["direction", "binding"],
        "Leaves by the one rule that holds their rate.",
        "Set in every round from the plan: each live leaf is counted under exactly one binding.",
    ),
    // Rounds.
    counter(
        "evenkeel_allocation_rounds_total",
        Unit::Count,
        &["cause"],
        "Allocation rounds.",
        "Once per round over both directions: tick (the interval), early (a join, a leave, a leaf that woke), order (an \
         operator's change).",
    ),
    histogram(
        "evenkeel_allocation_round_duration_seconds",
        Unit::Seconds,
        WORK_BORDERS,
        &[],
        "Time an allocation round took.",
        "One observation per round: from reading the first meter to the last rate handed to its peer's control lane.",
    ),
    counter(
        "evenkeel_rate_updates_total",
        Unit::Count,
        &["outcome"],
        "New rates of peers.",
        "Once per peer and round in which a rate moved: sent, or suppressed because it moved too little.",
    ),
    // Lanes, workers, disks.
    histogram(
        "evenkeel_lane_depth",
        Unit::Count,
        DEPTH_BORDERS,
        &["lane"],
        "Messages waiting in a lane of an inbox.",
        "One observation per message taken: how many places of that lane are taken behind it.",
    ),
    histogram(
        "evenkeel_lane_wait_seconds",
        Unit::Seconds,
        WAIT_BORDERS,
        &["lane"],
        "Time a message waited in a lane of an inbox.",
        "One observation per message: from its entering the lane to the actor's taking it.",
    ),
    histogram(
        "evenkeel_control_latency_seconds",
        Unit::Seconds,
        WORK_BORDERS,
        &[],
        "Time from a control frame to its answer.",
        "One observation per message that answers a frame in the turn that handled it (so not what waits for a disk): from \
         the frame's being read to its answer's being handed to the kernel.",
    ),
    counter(
        "evenkeel_worker_turns_total",
        Unit::Count,
        &["lane"],
        "Turns that peer actors took.",
        "Once per message an actor handled, by the lane it came from.",
    ),
    gauge("evenkeel_workers", Unit::Count, &[], "Worker threads.", "Set at the start."),
    counter(
        "evenkeel_actor_panics_total",
        Unit::Count,
        &[],
        "Actors that panicked: a peer actor takes its own session down, the allocator begins anew from the registry.",
        "Once per panic caught.",
    ),
    histogram(
        "evenkeel_disk_wait_seconds",
        Unit::Seconds,
        DISK_BORDERS,
        &["operation"],
        "Time a transfer waited for a file operation.",
        "One observation per operation: from asking for it to its answer, waiting for a disk thread included.",
    ),
    counter(
        "evenkeel_api_requests_total",
        Unit::Count,
        &["status"],
        "Requests to the control message API.",
        "Once per answer, by its HTTP status.",
    ),
    // HTTP.
    gauge(
        "evenkeel_http_connections",
        Unit::Count,
        &[],
        "HTTP connections that are open.",
        "Up when one is admitted, down when its socket is closed; idle ones count.",
    ),
    counter(
        "evenkeel_http_requests_total",
        Unit::Count,
        &["status"],
        "Requests to the HTTP front.",
        "Once per answer, by its HTTP status, when its head has been made; also for what is refused before it was a request.",
    ),
    // The process.
    counter(
        "evenkeel_log_lines_lost_total",
        Unit::Count,
        &[],
        "Log lines that nobody will read: standard error took nothing for so long that they did not fit.",
        "Once per line above 4096 that wait; brought up to date when the page is asked for.",
    ),
    gauge(
        "evenkeel_open_files_max",
        Unit::Count,
        &[],
        "File descriptors this process may have open.",
        "Set at the start, after the soft limit was raised.",
    ),
    gauge(
        "evenkeel_start_time_seconds",
        Unit::Seconds,
        &[],
        "When the process started, in seconds since 1970.",
        "Set at the start.",
    ),
    gauge(
        "evenkeel_build_info",
        Unit::Count,
        &["version", "profile", "os", "arch"],
        "Always 1; its labels say what runs.",
        "Set at the start.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_conventions() {
        for metric in METRICS {
            let name = metric.name;
            assert!(name.starts_with("evenkeel_"), "{name}");
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
            assert_eq!(name.ends_with("_total"), metric.kind == Kind::Counter, "{name}: only counters end in _total");
            match metric.unit {
                Unit::Bytes => assert!(name.ends_with("_bytes_total"), "{name}"),
                Unit::BytesPerSecond => assert!(name.ends_with("_bytes_per_second"), "{name}"),
                Unit::Seconds => assert!(name.ends_with("_seconds"), "{name}"),
                Unit::Count | Unit::Ratio => assert!(!name.contains("_seconds") && !name.contains("_bytes"), "{name}"),
            }
            assert!(metric.help.len() > 10, "{name} has no help");
            assert!(metric.counting_rule.len() > 10, "{name} says how it is counted");
        }
    }

    #[test]
    fn names_are_unique_and_borders_rise() {
        for (index, metric) in METRICS.iter().enumerate() {
            assert!(METRICS[..index].iter().all(|other| other.name != metric.name), "{} twice", metric.name);
            if let Kind::Histogram(borders) = metric.kind {
                assert!(borders.windows(2).all(|pair| pair[0] < pair[1]), "{}", metric.name);
            }
        }
    }
}
