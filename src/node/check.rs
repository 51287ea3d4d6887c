//! `evenkeel config check`: the files that a configuration names, as `serve` would find them.

use crate::{config::Config, files::Shares, transport};

use super::{Exit, Failure, compose, serve::share_config};

/// Looks at the certificate, the keys and the shares that `config` names. Nothing is made, and nothing stays open.
///
/// # Errors
/// All of it that would keep a node from starting, in `serve`'s words and with its exit code.
pub fn check(config: &Config) -> Result<(), Failure> {
    transport::install_provider();
    let certificate = compose::certificate(config).map(drop);
    let signing_key = compose::http_config(config, None).map(drop);
    let mut faults: Vec<String> =
        [certificate, signing_key].into_iter().filter_map(|found| found.err().map(|fault| fault.message)).collect();
    let shares = config.shares.iter().map(share_config);
    faults.extend(
        shares
            .filter_map(|share| Shares::look(&share, config.node.state_dir.as_deref()).err())
            .map(|fault| fault.to_string()),
    );
    if faults.is_empty() { Ok(()) } else { Err(Failure::new(Exit::Config, faults.join("\n"))) }
}
