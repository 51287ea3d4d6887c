//! `evenkeel ctl` as it is written.

use std::fmt::Display;

use actors::view::{Change, LimitsPatch, NodePatch};
use clap::{Args, Subcommand};
use flow::{Class, Rate};

use crate::cli::{
    help::{RATES, examples},
    value,
};

/// Asks a running node, and gives it orders.
///
/// Orders are in force when the command returns. Where the node wants a token, set EVENKEEL_ADMIN_TOKEN.
#[derive(Debug, Args)]
#[command(after_help = examples!("ctl status", "ctl limit --upload 5MB/s", "ctl set peer k5rtdw --upload-cap 1MB/s"))]
pub(crate) struct CtlArgs {
    /// Where the node's API listens.
    #[arg(long, global = true, value_name = "URL", value_parser = value::name, default_value = "http://127.0.0.1:7490")]
    pub(super) admin: String,
    /// For programs: JSON with rates in bytes per second.
    #[arg(long, global = true)]
    pub(super) json: bool,
    #[command(subcommand)]
    pub(super) command: CtlCommand,
}

#[derive(Debug, Subcommand)]
pub(super) enum CtlCommand {
    /// Shows the node as a whole.
    #[command(after_help = examples!("ctl status"))]
    Status,
    /// Shows every peer: what it was assigned, what it achieved, and what holds it.
    #[command(after_help = examples!("ctl peers", "ctl peers --json"))]
    Peers,
    /// Shows every transfer.
    #[command(after_help = examples!("ctl transfers"))]
    Transfers,
    /// Shows the totals and the groups.
    #[command(after_help = examples!("ctl limits"))]
    Limits,
    /// Shows every group: what it may have, and what its transfers achieve.
    #[command(after_help = examples!("ctl groups"))]
    Groups,
    Limit(LimitArgs),
    Set(SetArgs),
    /// Says why a peer, and each of its transfers, has the rate it has.
    #[command(after_help = examples!("ctl explain k5rtdw"))]
    Explain {
        /// A peer's id, or its first letters (at least 6).
        #[arg(value_name = "ID", value_parser = value::name)]
        id: String,
    },
    /// Closes all sessions of a peer; it is told so.
    #[command(after_help = examples!("ctl disconnect k5rtdw"))]
    Disconnect {
        /// A peer's id, or its first letters (at least 6).
        #[arg(value_name = "ID", value_parser = value::name)]
        id: String,
    },
    /// Takes no more sessions, lets transfers end, then stops the node.
    #[command(after_help = examples!("ctl drain"))]
    Drain,
}

/// Changes the totals.
#[derive(Debug, Args)]
#[command(after_help = examples!(RATES; "ctl limit --upload 20MB/s", "ctl limit --upload 100Mbit/s --download off"))]
#[group(required = true, multiple = true)]
pub(super) struct LimitArgs {
    /// Most that all peers together get, per second.
    #[arg(long, value_name = "RATE", value_parser = value::rate)]
    upload: Option<Rate>,
    /// Most that all peers together send, per second.
    #[arg(long, value_name = "RATE", value_parser = value::rate)]
    download: Option<Rate>,
}

impl LimitArgs {
    pub(super) fn patch(&self) -> LimitsPatch {
        LimitsPatch { upload_bytes_per_second: change(self.upload), download_bytes_per_second: change(self.download) }
    }
}

/// Changes what one peer, transfer or group may have.
#[derive(Debug, Args)]
#[command(after_help = examples!(
    "ctl set peer k5rtdw --upload-cap 1MB/s",
    "ctl set transfer 12 --weight 3",
    "ctl set group laboratory --upload-floor 2MB/s --class default",
))]
pub(super) struct SetArgs {
    #[command(subcommand)]
    pub(super) what: SetWhat,
}

#[derive(Debug, Subcommand)]
pub(super) enum SetWhat {
    /// A peer, over all its transfers; ID is its id or its first letters (at least 6).
    #[command(after_help = examples!(RATES; "ctl set peer k5rtdw --upload-cap 1MB/s --weight 2"))]
    Peer(NodeArgs),
    /// A transfer; ID is as `evenkeel ctl transfers` shows it.
    #[command(after_help = examples!(RATES; "ctl set transfer 12 --download-cap 8Mbit/s --class background"))]
    Transfer(NodeArgs),
    /// A group; ID is its name.
    #[command(after_help = examples!(RATES; "ctl set group laboratory --upload-cap off"))]
    Group(NodeArgs),
}

/// What can be set.
#[derive(Debug, Args)]
pub(super) struct NodeArgs {
    /// Which one.
    #[arg(value_name = "ID", value_parser = value::name)]
    pub(super) id: String,
    #[command(flatten)]
    pub(super) changes: ChangeArgs,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub(super) struct ChangeArgs {
    /// Never more than this to the peer, per second.
    #[arg(long, value_name = "RATE", value_parser = value::rate)]
    upload_cap: Option<Rate>,
    /// Never more than this from the peer, per second.
    #[arg(long, value_name = "RATE", value_parser = value::rate)]
    download_cap: Option<Rate>,
    /// At least this to the peer while there is something to send.
    #[arg(long, value_name = "RATE", value_parser = value::rate)]
    upload_floor: Option<Rate>,
    /// At least this from the peer while it has something to send.
    #[arg(long, value_name = "RATE", value_parser = value::rate)]
    download_floor: Option<Rate>,
    /// Share in proportion, 0.001 to 1000, or default for 1.
    #[arg(long, value_name = "N", value_parser = Setting::parse(value::weight))]
    weight: Option<Setting<f64>>,
    /// foreground or background, or default for what is asked for.
    #[arg(long, value_name = "CLASS", value_parser = Setting::parse(value::class))]
    class: Option<Setting<Class>>,
}

impl ChangeArgs {
    pub(super) fn patch(&self) -> NodePatch {
        NodePatch {
            upload_cap_bytes_per_second: change(self.upload_cap),
            upload_floor_bytes_per_second: change(self.upload_floor),
            download_cap_bytes_per_second: change(self.download_cap),
            download_floor_bytes_per_second: change(self.download_floor),
            weight: Change(self.weight.map(Setting::into_option)),
            class: Change(self.class.map(|class| class.into_option().map(|class| class.to_string()))),
        }
    }
}

/// What a flag sets: a value, or with the word `default` none.
#[derive(Copy, Clone, Debug)]
enum Setting<T> {
    Default,
    To(T),
}

impl<T> Setting<T> {
    fn parse<E: Display>(parse: fn(&str) -> Result<T, E>) -> impl Fn(&str) -> Result<Self, String> + Clone {
        move |text| match text {
            "default" => Ok(Self::Default),
            _ => parse(text).map(Self::To).map_err(|error| format!("{error}, or default")),
        }
    }

    fn into_option(self) -> Option<T> {
        match self {
            Self::Default => None,
            Self::To(value) => Some(value),
        }
    }
}

/// `off` lifts; an absent flag changes nothing.
fn change(rate: Option<Rate>) -> Change {
    Change(rate.map(Rate::limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn off_is_null_and_absent_is_absent() {
        let limit = LimitArgs { upload: Some(Rate::UNLIMITED), download: None };
        assert_eq!(serde_json::to_string(&limit.patch()).unwrap(), r#"{"upload_bytes_per_second":null}"#);
        let limit = LimitArgs { upload: None, download: Some(Rate::from_bytes_per_second(5)) };
        assert_eq!(serde_json::to_string(&limit.patch()).unwrap(), r#"{"download_bytes_per_second":5}"#);
    }

    #[test]
    fn a_weight_and_a_class_can_be_taken_back() {
        #[derive(Debug, clap::Parser)]
        struct Whole {
            #[command(flatten)]
            changes: ChangeArgs,
        }
        let json = |line: &[&str]| {
            let whole: Whole = clap::Parser::parse_from(std::iter::once(&"set").chain(line));
            serde_json::to_string(&whole.changes.patch()).unwrap()
        };
        assert_eq!(json(&["--weight", "default", "--class", "default"]), r#"{"weight":null,"class":null}"#);
        assert_eq!(json(&["--weight", "2", "--class", "background"]), r#"{"weight":2.0,"class":"background"}"#);
        assert_eq!(
            json(&["--upload-cap", "off", "--download-floor", "0"]),
            r#"{"upload_cap_bytes_per_second":null,"download_floor_bytes_per_second":null}"#
        );
    }
}
