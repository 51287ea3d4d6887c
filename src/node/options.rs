//! What the node's functions are asked to do: resolved values, whoever read them.

use std::{fmt, path::PathBuf, time::Duration};

use flow::{Class, Rate};
use wire::{DataLinks, PeerId};

use crate::{
    config::{Config, ConfigError, Overrides, Share},
    identity::StateDir,
};

/// What `serve` alone uses where nobody named a share.
const SAMPLE_SHARE: &str = "share";

/// Where a node's configuration comes from, at the start and whenever it is read again.
#[derive(Clone, Debug, Default)]
pub struct ConfigSource {
    /// `--config`
    pub file: Option<PathBuf>,
    /// Flags and the environment.
    pub overrides: Overrides,
}

impl ConfigSource {
    /// The configuration, never without a share; and whether nobody named one, so that it is ./share.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn read(&self) -> Result<(Config, bool), ConfigError> {
        let mut config = Config::load(self.file.as_deref(), &self.overrides)?;
        let sample_share = config.shares.is_empty();
        if sample_share {
            let path = PathBuf::from(SAMPLE_SHARE);
            config.shares.push(Share { name: SAMPLE_SHARE.to_owned(), path, writable: true, public: false });
        }
        Ok((config, sample_share))
    }
}

/// `evenkeel serve`
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// File and flags. Never without a share.
    pub config: Config,
    /// Where that comes from.
    pub source: ConfigSource,
    /// From `--state`, the file, or the default.
    pub state: StateDir,
    /// No share was named: the only one is ./share, to be made with a sample file if it is not there.
    pub sample_share: bool,
}

/// `evenkeel get`
#[derive(Clone, Debug)]
pub struct GetOptions {
    /// Keys and pins.
    pub state: StateDir,
    /// What to fetch; no two have one destination.
    pub downloads: Vec<Download>,
    /// A directory that is made, if it is not there.
    pub directory: Option<PathBuf>,
    /// How.
    pub session: SessionOptions,
}

/// One file, directory or share to fetch.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Download {
    /// From which node.
    pub endpoint: Endpoint,
    /// `SHARE/PATH` or `SHARE`, without a slash at the end.
    pub path: String,
    /// The file to write.
    pub destination: PathBuf,
    /// Where its content goes if it is a directory.
    pub tree: PathBuf,
}

/// `evenkeel put`
#[derive(Clone, Debug)]
pub struct PutOptions {
    /// Keys and pins.
    pub state: StateDir,
    /// To which node.
    pub endpoint: Endpoint,
    /// What to send; no two have one path.
    pub uploads: Vec<Upload>,
    /// How.
    pub session: SessionOptions,
}

/// One file to send.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Upload {
    /// The file to read.
    pub source: PathBuf,
    /// `SHARE/PATH`.
    pub path: String,
}

/// What a client's session asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionOptions {
    /// One's own total, and what the node is asked for.
    pub limit: Rate,
    /// For all transfers.
    pub class: Class,
    /// Among one's own transfers, 0.001 ..= 1000.
    pub weight: f64,
    /// 1 ..= 64 of them, by the ways that they carry.
    pub data_links: DataLinks,
    /// The node's id if the user gave it; otherwise pins decide.
    pub peer_id: Option<PeerId>,
    /// How to get there.
    pub transport: TransportChoice,
}

/// How a client gets to its node.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq)]
pub enum TransportChoice {
    /// TCP.
    #[default]
    Tcp,
    /// QUIC.
    Quic,
    /// QUIC, and TCP where nobody answers.
    Auto,
}

/// How the peers of a demo get to their node.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum DemoTransport {
    /// All over TCP.
    Tcp,
    /// All over QUIC.
    Quic,
    /// Every second one over QUIC.
    Mixed,
}

impl DemoTransport {
    /// Of peer `index`.
    pub(super) fn of(self, index: usize) -> TransportChoice {
        match self {
            Self::Tcp => TransportChoice::Tcp,
            Self::Quic => TransportChoice::Quic,
            // Not by whether it is odd: the parts of a demo repeat after ten, and each is to be there over both.
            Self::Mixed if (index + index / 10) % 2 == 1 => TransportChoice::Quic,
            Self::Mixed => TransportChoice::Tcp,
        }
    }
}

/// `evenkeel ls`
#[derive(Clone, Debug)]
pub struct LsOptions {
    /// Keys and pins.
    pub state: StateDir,
    /// Which node.
    pub endpoint: Endpoint,
    /// Empty = the shares; no slash at the end.
    pub path: String,
    /// The node's id if the user gave it; otherwise pins decide.
    pub peer_id: Option<PeerId>,
    /// How to get there.
    pub transport: TransportChoice,
}

/// `evenkeel demo`
#[derive(Clone, Debug)]
pub struct DemoOptions {
    /// How many peers.
    pub peers: u32,
    /// How they get to the node.
    pub transport: DemoTransport,
    /// What they share; never unlimited.
    pub upload_limit: Rate,
    /// How long.
    pub duration: Duration,
    /// Where to keep keys and files; `None` = a temporary directory.
    pub state: Option<PathBuf>,
}

/// `evenkeel sign`
#[derive(Clone, Debug)]
pub struct SignOptions {
    /// `http://HOST:PORT/SHARE/PATH`, or `/SHARE/PATH`.
    pub address: String,
    /// The file that the node has as `http.signing_key_file`.
    pub key: PathBuf,
    /// Among the requests of its address, 0.001 ..= 1000.
    pub weight: f64,
    /// Never above.
    pub cap: Rate,
    /// `None` = what the address and its group have.
    pub class: Option<Class>,
    /// How long it holds.
    pub duration: Duration,
}

/// Where a node listens.
#[derive(Clone, Debug, Eq, PartialEq, Hash, Ord, PartialOrd)]
pub struct Endpoint {
    /// A name or an address; an IPv6 address without brackets.
    pub host: String,
    /// Never 0.
    pub port: u16,
}

/// `HOST:PORT`, with brackets around an IPv6 address, as in known_peers and in socket addresses.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}
