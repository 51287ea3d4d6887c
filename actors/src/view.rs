//! What a node shows of itself: the shapes of the control message API's answers and orders (v1).
//!
//! All rates are bytes per second. A limit of `null` is unlimited; in orders, `null` or 0 lifts a limit, `null` takes back
//! a weight or a class, and an absent field changes nothing.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

use crate::port::{FileEntry, FileKind};

/// The four words of seed 003 for one direction.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct RatesView {
    /// Asked for; `null` = as much as possible.
    pub desired_bytes_per_second: Option<u64>,
    /// What the node believes the line carries, or the ceiling of a peer or transfer; `null` = not limited.
    pub allowed_bytes_per_second: Option<u64>,
    /// What the allocator gave; `null` = not limited.
    pub assigned_bytes_per_second: Option<u64>,
    /// Measured.
    pub achieved_bytes_per_second: u64,
}

/// One name of a listing, as programs read it: `evenkeel ls --json`, and `?format=json` over HTTP.
#[derive(Clone, Debug, Serialize)]
pub struct EntryView<'a> {
    /// As it is, whatever is in it.
    pub name: &'a str,
    /// `share`, `directory` or `file`.
    pub kind: &'static str,
    /// Bytes of a file; 0 of others.
    pub size: u64,
    /// Last change, nanoseconds since 1970.
    pub mtime_ns: i64,
}

impl<'a> From<&'a FileEntry> for EntryView<'a> {
    fn from(entry: &'a FileEntry) -> Self {
        let kind = match entry.kind {
            FileKind::Share => "share",
            FileKind::Directory => "directory",
            FileKind::File => "file",
        };
        Self { name: &entry.name, kind, size: entry.size, mtime_ns: entry.mtime_ns }
    }
}

/// `GET /v1/status`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct StatusView {
    /// The program's version.
    pub version: String,
    /// This node's peer id.
    pub id: String,
    /// Since its start.
    pub uptime_seconds: f64,
    /// `running` or `draining`.
    pub state: String,
    /// Live sessions.
    pub sessions: u64,
    /// Distinct peers.
    pub peers: u64,
    /// Live transfers.
    pub transfers: u64,
    /// Worker threads.
    pub workers: u64,
    /// Node to peers.
    pub upload: RatesView,
    /// Peers to node.
    pub download: RatesView,
    /// Jain's index, uploads: achieved rates divided by weight of the peers whose foreground transfers the total holds, not
    /// those that their own caps, wishes or networks hold; `null` when fewer than two.
    pub jain_index: Option<f64>,
    /// Names of shares.
    pub shares: Vec<String>,
    /// Where peers connect.
    pub listen: String,
    /// The same over QUIC.
    pub quic: QuicView,
}

/// Where peers connect over QUIC, or why nowhere.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct QuicView {
    /// For control; `null`: QUIC is off.
    pub listen: Option<String>,
    /// UDP ports for data, of each worker.
    pub data_ports: Vec<u16>,
    /// Why it is off; `null` where it is not.
    pub off: Option<String>,
}

impl fmt::Display for QuicView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(listen) = &self.listen else {
            return write!(f, "off: {}", self.off.as_deref().unwrap_or("nobody listens"));
        };
        let data: Vec<_> = self.data_ports.iter().map(u16::to_string).collect();
        write!(f, "{listen} (UDP), data on {}", data.join(", "))
    }
}

/// One direction's limits of a node of the tree.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct DirectionView {
    /// The four rates.
    #[serde(flatten)]
    pub rates: RatesView,
    /// Never above; `null` = none.
    pub cap_bytes_per_second: Option<u64>,
    /// Guaranteed while there is something to send.
    pub floor_bytes_per_second: u64,
    /// Above assigned, from what siblings left in the last round.
    pub lent_bytes_per_second: u64,
    /// The one rule that holds the rate now; `null` when there is no transfer.
    pub binding: Option<String>,
    /// Bytes since the start, transfers that have ended included.
    pub bytes: u64,
}

/// `GET /v1/peers/{id}`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct PeerView {
    /// 52 letters.
    pub id: String,
    /// From the authorized-peers file.
    pub comment: String,
    /// Where its control links come from.
    pub addresses: Vec<String>,
    /// `tcp`, ...
    pub transport: String,
    /// What the peer says it runs.
    pub agent: String,
    /// Live sessions.
    pub sessions: u64,
    /// Live transfers.
    pub transfers: u64,
    /// Share in proportion.
    pub weight: f64,
    /// `foreground` or `background`.
    pub class: String,
    /// Seconds since it joined.
    pub connected_seconds: f64,
    /// Node to peer.
    pub upload: DirectionView,
    /// Peer to node.
    pub download: DirectionView,
}

/// `GET /v1/transfers`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct TransferView {
    /// Unique for the life of the node.
    pub id: String,
    /// Whose.
    pub peer: String,
    /// `SHARE/PATH`.
    pub path: String,
    /// The group it belongs to.
    pub group: String,
    /// `upload` or `download`.
    pub direction: String,
    /// Bytes of the file.
    pub size: u64,
    /// How far it is.
    pub offset: u64,
    /// Share in proportion within its peer.
    pub weight: f64,
    /// `foreground` or `background`.
    pub class: String,
    /// How its link moves its bytes: `precise` or `bulk`.
    pub mode: String,
    /// The rates.
    #[serde(flatten)]
    pub rate: DirectionView,
}

/// `GET /v1/groups`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct GroupView {
    /// From the configuration; `default` always exists.
    pub name: String,
    /// Share in proportion.
    pub weight: f64,
    /// `foreground` or `background`; `null` = what each peer asks for.
    pub class: Option<String>,
    /// Peers with a transfer in it.
    pub peers: u64,
    /// Live transfers in it.
    pub transfers: u64,
    /// Node to peers.
    pub upload: DirectionView,
    /// Peers to node.
    pub download: DirectionView,
}

/// One direction of `GET /v1/limits`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct LimitView {
    /// Configured; `null` = none, the maximum is found.
    pub limit_bytes_per_second: Option<u64>,
    /// What is in force; `null` = nothing is gated.
    pub allowed_bytes_per_second: Option<u64>,
    /// What the line was found to carry; `null` = not known.
    pub capacity_bytes_per_second: Option<u64>,
}

/// `GET /v1/limits`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct LimitsView {
    /// Node to peers.
    pub upload: LimitView,
    /// Peers to node.
    pub download: LimitView,
}

/// Why a rate is what it is.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Reason {
    /// `peer` or a transfer's id.
    pub subject: String,
    /// The path of a transfer.
    pub path: Option<String>,
    /// How a transfer's link moves its bytes: `precise` or `bulk`; `null` for the peer itself.
    pub mode: Option<String>,
    /// `upload` or `download`.
    pub direction: String,
    /// The rates.
    pub rates: RatesView,
    /// The rule.
    pub binding: String,
    /// The rate it would have if that rule were lifted; `null` = not limited by anything else.
    pub if_lifted_bytes_per_second: Option<u64>,
    /// It did not use all it was given in the last round, and no more is known of what it wants: it would take at least that.
    #[serde(default)]
    pub if_lifted_at_least: bool,
    /// One sentence for a person.
    pub because: String,
    /// What held it in the last round, as fractions of the time, by name.
    pub limited_by: std::collections::BTreeMap<String, f64>,
}

/// `GET /v1/peers/{id}/explain`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Explanation {
    /// 52 letters.
    pub peer: String,
    /// The peer itself, each direction in use, then each transfer.
    pub reasons: Vec<Reason>,
}

/// A field of an order: absent changes nothing, `null` takes back what was set.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Change<T = u64>(pub Option<Option<T>>);

impl<T> Default for Change<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: Serialize> Serialize for Change<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.as_ref().and_then(Option::as_ref).serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Change<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Option::deserialize(deserializer).map(|value| Self(Some(value)))
    }
}

impl<T> Change<T> {
    /// Whether the order leaves this field as it is.
    pub fn is_absent(&self) -> bool {
        self.0.is_none()
    }
}

/// `PATCH /v1/limits`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct LimitsPatch {
    /// Node to peers.
    #[serde(default, skip_serializing_if = "Change::is_absent")]
    pub upload_bytes_per_second: Change,
    /// Peers to node.
    #[serde(default, skip_serializing_if = "Change::is_absent")]
    pub download_bytes_per_second: Change,
}

/// `PATCH /v1/peers/{id}`, `/v1/transfers/{id}`, `/v1/groups/{name}`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct NodePatch {
    /// Never above, node to peer.
    #[serde(default, skip_serializing_if = "Change::is_absent")]
    pub upload_cap_bytes_per_second: Change,
    /// Guaranteed, node to peer.
    #[serde(default, skip_serializing_if = "Change::is_absent")]
    pub upload_floor_bytes_per_second: Change,
    /// Never above, peer to node.
    #[serde(default, skip_serializing_if = "Change::is_absent")]
    pub download_cap_bytes_per_second: Change,
    /// Guaranteed, peer to node.
    #[serde(default, skip_serializing_if = "Change::is_absent")]
    pub download_floor_bytes_per_second: Change,
    /// Share in proportion, 0.001 ..= 1000; `null` = 1.
    #[serde(default, skip_serializing_if = "Change::is_absent")]
    pub weight: Change<f64>,
    /// `foreground` or `background`; `null` or `default` = none of its own.
    #[serde(default, skip_serializing_if = "Change::is_absent")]
    pub class: Change<String>,
}
