//! The sections that exist once, typed. What each key means and why its default is what it is stands in
//! `config/evenkeel.toml`, which a test compares with the `Default`s here.

use std::{fmt, net::SocketAddr, path::PathBuf, time::Duration};

use flow::{Marks, Rate};
use tracing::level_filters::LevelFilter;

/// `[node]`
#[derive(Clone, Debug, PartialEq)]
pub struct NodeSettings {
    /// Keys, known and authorized peers, resume data; `None` = the user's default.
    pub state_dir: Option<PathBuf>,
    /// Worker threads; 0 = one per core.
    pub workers: usize,
    /// How long a drain waits for transfers.
    pub drain: Duration,
}

impl NodeSettings {
    /// Worker threads that there will be here.
    pub fn workers_here(&self) -> usize {
        if self.workers == 0 { host::cores() } else { self.workers }
    }
}

impl Default for NodeSettings {
    fn default() -> Self {
        Self { state_dir: None, workers: 0, drain: Duration::from_secs(30) }
    }
}

/// `[listen]`
#[derive(Clone, Debug, PartialEq)]
pub struct ListenSettings {
    /// Control and data links of peers over TCP, control links over QUIC.
    pub peers: SocketAddr,
    /// Data links over QUIC, one port for each worker from this one on; `None` = any ports beside `peers`.
    pub data: Option<SocketAddr>,
    /// The control message API.
    pub admin: SocketAddr,
    /// Prometheus.
    pub metrics: SocketAddr,
}

impl Default for ListenSettings {
    fn default() -> Self {
        let loopback = |port| SocketAddr::from(([127, 0, 0, 1], port));
        Self { peers: loopback(7400), data: None, admin: loopback(7490), metrics: loopback(7491) }
    }
}

/// `[limits]`: the totals.
#[derive(Clone, Debug, PartialEq)]
pub struct LimitSettings {
    /// Node to peers.
    pub upload: Rate,
    /// Peers to node.
    pub download: Rate,
}

impl Default for LimitSettings {
    fn default() -> Self {
        Self { upload: Rate::UNLIMITED, download: Rate::UNLIMITED }
    }
}

/// `[allocation]` (DESIGN 5)
#[derive(Clone, Debug, PartialEq)]
pub struct AllocationSettings {
    /// Between two rounds.
    pub interval: Duration,
    /// The least time between two early rounds.
    pub early: Duration,
    /// Seed 003's 97 %, as a fraction.
    pub threshold: f64,
    /// Seed 003's 15 %, as a fraction.
    pub damping: f64,
    /// What background keeps beside foreground, as a fraction.
    pub background_floor: f64,
    /// Above what a leaf used, as a fraction.
    pub headroom: f64,
}

impl Default for AllocationSettings {
    fn default() -> Self {
        Self {
            interval: Duration::from_millis(2500),
            early: Duration::from_millis(250),
            threshold: 0.97,
            damping: 0.15,
            background_floor: 0.02,
            headroom: 0.15,
        }
    }
}

/// `[shaping]` (DESIGN 6)
#[derive(Clone, Debug, PartialEq)]
pub struct ShapingSettings {
    /// A quantum is what a transfer's rate yields in this time.
    pub quantum: Duration,
    /// The least quantum.
    pub quantum_min_bytes: u32,
    /// The greatest quantum in precise mode.
    pub quantum_max_bytes: u32,
    /// The greatest quantum in bulk mode.
    pub quantum_bulk_bytes: u32,
    /// From this rate on a link is in bulk mode; unlimited = never.
    pub bulk_on: Rate,
    /// Below this one it is in precise mode.
    pub bulk_off: Rate,
}

impl Default for ShapingSettings {
    fn default() -> Self {
        let marks = Marks::default();
        Self {
            quantum: Duration::from_secs(1),
            quantum_min_bytes: 8 << 10,
            quantum_max_bytes: 128 << 10,
            quantum_bulk_bytes: 256 << 10,
            bulk_on: marks.on,
            bulk_off: marks.off,
        }
    }
}

/// `[sessions]`
#[derive(Clone, Debug, PartialEq)]
pub struct SessionSettings {
    /// Live sessions of the node.
    pub max: usize,
    /// Connections from one address.
    pub per_address_max: usize,
    /// Data links of one session.
    pub max_data_links: u32,
    /// Live transfers of one session.
    pub transfers_max: usize,
    /// From a connection to its hello.
    pub handshake: Duration,
    /// Silence before a ping.
    pub keepalive: Duration,
    /// Silence before the session is closed.
    pub dead: Duration,
    /// Control frames of one peer.
    pub control_frames_per_second: u32,
    /// How far the sender of one transfer may run ahead of its receiver.
    pub window_max_bytes: u64,
}

impl Default for SessionSettings {
    fn default() -> Self {
        Self {
            max: 4096,
            per_address_max: 1024,
            max_data_links: 8,
            transfers_max: 64,
            handshake: Duration::from_secs(10),
            keepalive: Duration::from_secs(15),
            dead: Duration::from_secs(45),
            control_frames_per_second: 1000,
            window_max_bytes: 4 << 20,
        }
    }
}

/// `[transport]`
#[derive(Clone, Debug, PartialEq)]
pub struct TransportSettings {
    /// Whether data links are encrypted; control links always are.
    pub data_encryption: bool,
    /// `TCP_CONGESTION`; `None` = the host's default.
    pub congestion: Option<String>,
    /// Whether the kernel sends files' pages by itself on plaintext links in bulk mode.
    pub sendfile: bool,
    /// `TCP_NOTSENT_LOWAT` of data links.
    pub not_sent_low_water_bytes: u32,
}

impl Default for TransportSettings {
    fn default() -> Self {
        Self { data_encryption: true, congestion: None, sendfile: true, not_sent_low_water_bytes: 128 << 10 }
    }
}

/// `[http]`
#[derive(Clone, Debug, PartialEq)]
pub struct HttpSettings {
    /// Where clients without Evenkeel connect; `None` = nowhere.
    pub listen: Option<SocketAddr>,
    /// Connections in all.
    pub connections_max: usize,
    /// Connections from one address.
    pub per_address_max: usize,
    /// From a request's first byte to the end of its head.
    pub head_timeout: Duration,
    /// Between two requests of a connection.
    pub idle_timeout: Duration,
    /// How long a client may take nothing of what is sent to it.
    pub stall_timeout: Duration,
    /// PEM file with the certificate and its chain; `None` = plain HTTP.
    pub certificate: Option<PathBuf>,
    /// PEM file with its key; there exactly when the certificate is.
    pub key: Option<PathBuf>,
    /// File with the secret that signs terms; `None` = none are taken.
    pub signing_key_file: Option<PathBuf>,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            listen: None,
            connections_max: 16_384,
            per_address_max: 1024,
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            stall_timeout: Duration::from_secs(60),
            certificate: None,
            key: None,
            signing_key_file: None,
        }
    }
}

/// `[files]`
#[derive(Clone, Debug, PartialEq)]
pub struct FileSettings {
    /// Threads that may wait for a disk.
    pub disk_threads: usize,
}

impl Default for FileSettings {
    fn default() -> Self {
        Self { disk_threads: 4 }
    }
}

/// `[access]`
#[derive(Clone, Debug, PartialEq)]
pub struct AccessSettings {
    /// Whether anybody may read.
    pub open: bool,
    /// Who may do what; relative to the state directory.
    pub authorized_peers: PathBuf,
}

impl Default for AccessSettings {
    fn default() -> Self {
        Self { open: false, authorized_peers: "authorized_peers".into() }
    }
}

/// `[admin]`
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AdminSettings {
    /// What the API asks for in `Authorization: Bearer`; `None` = nothing, and then it listens on loopback only.
    pub token: Option<Secret>,
}

/// `[log]`
#[derive(Clone, Debug, PartialEq)]
pub struct LogSettings {
    /// The least severe level that is written.
    pub level: LevelFilter,
    /// How.
    pub format: LogFormat,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { level: LevelFilter::INFO, format: LogFormat::Auto }
    }
}

/// How log lines look.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq)]
pub enum LogFormat {
    /// Pretty on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// For people.
    Pretty,
    /// For programs.
    Json,
}

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for comparing or sending.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}
