//! `evenkeel ctl`: questions and orders for a running node, through nothing but its API.

mod args;
mod client;
mod show;

pub(super) use args::CtlArgs;

use std::slice;

use actors::view::{Explanation, GroupView, LimitsView, PeerView, StatusView, TransferView};
use args::{CtlCommand, NodeArgs, SetWhat};
use client::{Client, segment};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;
use ureq::http::Method;

use super::options::admin_token;
use crate::node::{Exit, Failure};

/// Asks or orders; gives back what to print.
pub(super) fn run(args: &CtlArgs) -> Result<String, Failure> {
    let desk = Desk { client: Client::new(&args.admin, admin_token())?, json: args.json };
    match &args.command {
        CtlCommand::Status => desk.ask("/v1/status", |view: &StatusView| show::status(view)),
        CtlCommand::Peers => desk.ask("/v1/peers", |views: &Vec<PeerView>| show::peers(views)),
        CtlCommand::Transfers => desk.ask("/v1/transfers", |views: &Vec<TransferView>| show::transfers(views)),
        CtlCommand::Limits => desk.limits(),
        CtlCommand::Groups => desk.ask("/v1/groups", |views: &Vec<GroupView>| show::groups(views)),
        CtlCommand::Limit(limit) => {
            let view: LimitsView = desk.client.patch("/v1/limits", &limit.patch())?;
            desk.print(&view, show::limits)
        }
        CtlCommand::Set(set) => desk.set(&set.what),
        CtlCommand::Explain { id } => {
            desk.ask(&format!("/v1/peers/{}/explain", segment(id)), |view: &Explanation| show::explanation(view))
        }
        CtlCommand::Disconnect { id } => {
            desk.client.order(Method::DELETE, &format!("/v1/peers/{}", segment(id)))?;
            desk.print(&json!({ "disconnected": id }), |_| format!("disconnected {id}\n"))
        }
        CtlCommand::Drain => {
            desk.client.order(Method::POST, "/v1/drain")?;
            desk.print(&json!({ "state": "draining" }), |_| {
                "draining: no new sessions; the node stops when its transfers have ended\n".to_owned()
            })
        }
    }
}

struct Desk {
    client: Client,
    json: bool,
}

impl Desk {
    fn ask<T: DeserializeOwned + Serialize>(
        &self,
        path: &str,
        show: impl FnOnce(&T) -> String,
    ) -> Result<String, Failure> {
        self.print(&self.client.get(path)?, show)
    }

    /// Totals, then groups: both are limits to whoever asks for them.
    fn limits(&self) -> Result<String, Failure> {
        let view: LimitsView = self.client.get("/v1/limits")?;
        let groups: Vec<GroupView> = self.client.get("/v1/groups")?;
        let both = json!({ "upload": view.upload, "download": view.download, "groups": groups });
        self.print(&both, |_| format!("{}\n{}", show::limits(&view), show::groups(&groups)))
    }

    fn set(&self, what: &SetWhat) -> Result<String, Failure> {
        match what {
            SetWhat::Peer(node) => self.change("peers", node, |view: &PeerView| show::peers(slice::from_ref(view))),
            SetWhat::Transfer(node) => {
                self.change("transfers", node, |view: &TransferView| show::transfers(slice::from_ref(view)))
            }
            SetWhat::Group(node) => self.change("groups", node, |view: &GroupView| show::groups(slice::from_ref(view))),
        }
    }

    fn change<T: DeserializeOwned + Serialize>(
        &self,
        kind: &str,
        node: &NodeArgs,
        show: impl FnOnce(&T) -> String,
    ) -> Result<String, Failure> {
        let path = format!("/v1/{kind}/{}", segment(&node.id));
        self.print(&self.client.patch(&path, &node.changes.patch())?, show)
    }

    fn print<T: Serialize>(&self, value: &T, show: impl FnOnce(&T) -> String) -> Result<String, Failure> {
        if !self.json {
            return Ok(show(value));
        }
        let mut text =
            serde_json::to_string_pretty(value).map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
        text.push('\n');
        Ok(text)
    }
}
