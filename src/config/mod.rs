//! What an operator wrote, parsed once: defaults, then a TOML file, then flags. Behind [`Config`] nothing is checked
//! again (STYLE 10).
//!
//! `config/evenkeel.toml` shows every key with its default and its reason. A bad configuration gives one message for each
//! bad key, with its line, all at once; the program then ends with exit code 64.

mod address_range;
mod check;
mod fault;
mod overrides;
mod read;
mod settings;
mod sheet;
#[cfg(test)]
mod tests;
mod tree;
mod value;

pub use address_range::AddressRange;
pub use fault::{ConfigError, Fault, Origin};
pub use overrides::Overrides;
pub use settings::{
    AccessSettings, AdminSettings, AllocationSettings, FileSettings, HttpSettings, LimitSettings, ListenSettings,
    LogFormat, LogSettings, NodeSettings, Secret, SessionSettings, ShapingSettings, TransportSettings,
};
pub use tree::{Bounds, Group, Peer, Share, Standing};

pub(crate) use read::{WEIGHTS, share_name};
pub(crate) use value::{parse_duration, parse_socket_address};

use std::{fs::File, io::Read, net::IpAddr, path::Path};

use actors::{Home, guest::only_address_of};
use wire::PeerId;

use sheet::Sheet;

/// The configuration of a node. Every value is in range and no two contradict.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// `[node]`
    pub node: NodeSettings,
    /// `[listen]`
    pub listen: ListenSettings,
    /// `[limits]`
    pub limits: LimitSettings,
    /// `[allocation]`
    pub allocation: AllocationSettings,
    /// `[shaping]`
    pub shaping: ShapingSettings,
    /// `[sessions]`
    pub sessions: SessionSettings,
    /// `[transport]`
    pub transport: TransportSettings,
    /// `[http]`
    pub http: HttpSettings,
    /// `[files]`
    pub files: FileSettings,
    /// `[access]`
    pub access: AccessSettings,
    /// `[admin]`
    pub admin: AdminSettings,
    /// `[log]`
    pub log: LogSettings,
    /// `[[share]]`, in the order of the file.
    pub shares: Vec<Share>,
    /// `[[group]]`, in the order in which their rules are tried.
    pub groups: Vec<Group>,
    /// `[[peer]]`
    pub peers: Vec<Peer>,
}

impl Config {
    /// Reads the file at `path` (none: defaults alone) and lets `overrides` win over it.
    pub fn load(path: Option<&Path>, overrides: &Overrides) -> Result<Self, ConfigError> {
        let Some(path) = path else {
            return Self::parse("defaults", "", Path::new(""), overrides);
        };
        let name = path.display().to_string();
        let unreadable = |message: String| {
            let fault = Fault { origin: Origin::Default, key: String::new(), message };
            ConfigError::new(&name, vec![fault])
        };
        let mut text = String::new();
        File::open(path)
            .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text))
            .map_err(|error| unreadable(format!("can't be read: {error}")))?;
        if text.len() as u64 > FILE_BYTES_MAX {
            return Err(unreadable(format!("is longer than {FILE_BYTES_MAX} bytes: is it the right file?")));
        }
        let base = path.parent().unwrap_or(Path::new(""));
        Self::parse(&name, &text, base, overrides)
    }

    /// Reads `text`; `name` is for messages, relative paths start at `base`.
    pub fn parse(name: &str, text: &str, base: &Path, overrides: &Overrides) -> Result<Self, ConfigError> {
        let (mut sheet, table) = Sheet::parse(text);
        if sheet.is_broken() {
            return Err(ConfigError::new(name, sheet.into_faults()));
        }
        let mut config = read::config(&mut sheet, table, base);
        overrides.apply(&mut config, &mut sheet);
        check::contradictions(&config, &mut sheet);
        match sheet.into_faults() {
            faults if faults.is_empty() => Ok(config),
            faults => Err(ConfigError::new(name, faults)),
        }
    }

    /// The index of the first group whose rule matches; `None` = the group `default`.
    pub fn group_of(&self, share: &str, peer: &PeerId, address: IpAddr) -> Option<usize> {
        self.groups.iter().position(|group| group.takes(share, peer, Some(address)) == Some(true))
    }

    /// The group of all transfers of `peer`, as far as the rules alone say it.
    fn home_of(&self, peer: &PeerId) -> Home {
        let address = only_address_of(peer);
        let takes = |group: &Group, share: &str| group.takes(share, peer, address);
        match self.shares.as_slice() {
            // The share that `serve` makes then; no rule names one.
            [] => Home::find(&self.groups, std::iter::once(""), takes),
            shares => Home::find(&self.groups, shares.iter().map(|share| share.name.as_str()), takes),
        }
    }

    /// What is set for `peer`, if anything is.
    pub fn peer(&self, peer: &PeerId) -> Option<&Peer> {
        self.peers.iter().find(|known| known.id == *peer)
    }
}

/// A configuration of ten thousand peers takes two megabytes; more is a wrong file.
const FILE_BYTES_MAX: u64 = 16 << 20;
