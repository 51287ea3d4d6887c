//! A directory of a node, fetched with everything beneath it.

use std::{fs, io, path::Path};

use actors::port::FileKind;

use super::{
    Exit, Failure, TransferProgress,
    errands::{self, Errand, Landing, Manner},
    listing::list,
    session::Client,
    transfer::{failure, judge},
};

/// Fetches what is beneath `path` into `root`, each file by a transfer of its own. A file that is there already with the size
/// and the time that the node lists is left as it is, so that the same command goes on where it was interrupted.
///
/// # Errors
/// The worst of what happened; single files have been reported to `progress`.
pub(super) async fn get_tree(
    client: &Client,
    endpoint: &str,
    path: &str,
    root: &Path,
    manner: Manner,
    progress: &mut dyn TransferProgress,
) -> Result<(), Failure> {
    let entries = list(client, endpoint, path, true).await?;
    let files = entries.iter().filter(|entry| entry.kind == FileKind::File).count();
    let machine = |error: io::Error| Failure::new(Exit::Machine, format!("can't make {}: {error}", root.display()));
    fs::create_dir_all(root).map_err(machine)?;
    let prepared = client.files.prepare(root, entries).await.map_err(machine)?;
    for fault in &prepared.faults {
        progress.note(&wire::printable(&fault.message));
    }
    let missing = prepared.missing;
    if missing.len() < files {
        progress.note(&format!("{} of {files} files are here already", files - missing.len()));
    }
    // The sizes are the node's word.
    let bytes = missing.iter().map(|entry| entry.size).fold(0, u64::saturating_add);
    progress.planned(missing.len() as u64, bytes);
    let errands: Vec<Errand> = missing
        .into_iter()
        .map(|entry| Errand::Get {
            path: format!("{path}/{}", entry.name),
            landing: Landing::Beneath(root.to_owned(), entry.name),
        })
        .collect();
    if !errands.is_empty() {
        let outcome = errands::run(client, endpoint, errands, manner, progress).await.map_err(failure)?;
        judge(&outcome)?;
    }
    if prepared.faults.is_empty() { Ok(()) } else { Err(Failure::new(Exit::Failed, "")) }
}
