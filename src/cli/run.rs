//! Where the command line meets the program: every call into the node stands here and nowhere else.

use actors::port::Rights;

use crate::{
    identity::{self, Identity, StateDir},
    node::{
        self, DemoOptions, Exit, Failure, GetOptions, Listed, LsOptions, PutOptions, ServeOptions, SignOptions,
        TransferProgress,
    },
};

/// Runs a node until it is told to stop.
pub(super) fn serve(options: ServeOptions) -> Result<(), Failure> {
    node::serve(options)
}

/// Fetches; `Ok` only when every file passed its check.
pub(super) fn get(options: GetOptions, progress: Box<dyn TransferProgress>) -> Result<(), Failure> {
    node::get(options, progress)
}

/// Sends; `Ok` only when every file was stored.
pub(super) fn put(options: PutOptions, progress: Box<dyn TransferProgress>) -> Result<(), Failure> {
    node::put(options, progress)
}

/// Lists, in the order of names.
pub(super) fn ls(options: LsOptions) -> Result<Listed, Failure> {
    node::ls(options)
}

/// Runs a node and many peers.
pub(super) fn demo(options: DemoOptions) -> Result<(), Failure> {
    node::demo(options)
}

/// An address with terms of its own.
pub(super) fn sign(options: &SignOptions) -> Result<String, Failure> {
    node::sign(options)
}

/// One's own id, then the line that gives it the right to read.
pub(super) fn id(state: &StateDir) -> Result<String, Failure> {
    let identity = Identity::load_or_create(state).map_err(|error| Failure::new(Exit::Machine, error.to_string()))?;
    let line = identity::authorization_line(&identity.id(), Rights::READ, &comment());
    Ok(format!(
        "{}\n\n# the line for another node's authorized_peers; rights are read, write, operate, with commas\n{line}\n",
        identity.id()
    ))
}

/// `USER@HOST`, as ssh-keygen does it.
fn comment() -> String {
    let user = std::env::var("USER").unwrap_or_default();
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    wire::printable(&if user.is_empty() { host } else { format!("{user}@{host}") }).into_owned()
}
