//! A directory of a node, fetched with everything beneath it.

use std::{fs, io, path::Path};

use actors::port::{FileEntry, FileKind};
use wire::FailureCode;

use super::{
    Exit, Failure, TransferProgress,
    errands::{self, Errand, Landing, Manner},
    listing::{Listed, list},
    session::Client,
    transfer::{failure, judge, worse},
};

/// Fetches what is beneath `path` into `root`, each file by a transfer of its own. A file that is there already is compared
/// with the node's by its hash, and left as it is when that is the same: so the same command goes on where it was interrupted.
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
    let listed = list(client, endpoint, path, true).await?;
    let (left_out, passed_over) = (left_out(path, &listed), passed_over(path, &listed));
    let (files, directories): (Vec<_>, Vec<_>) =
        listed.entries.into_iter().partition(|entry| entry.kind == FileKind::File);
    let machine = |error: io::Error| Failure::new(Exit::Machine, format!("can't make {}: {error}", root.display()));
    fs::create_dir_all(root).map_err(machine)?;
    let directories = directories.into_iter().map(|entry| entry.name).collect();
    let faults = client.files.make_beneath(root, directories).await.map_err(machine)?;
    for fault in &faults {
        progress.note(&wire::printable(&fault.message));
    }
    // The sizes are the node's word.
    let bytes = files.iter().map(|entry| entry.size).fold(0, u64::saturating_add);
    progress.planned(files.len() as u64, bytes);
    let mut result = Ok(());
    if files.is_empty() {
        progress.note(&format!("`{}`: 0 files", wire::printable(path)));
    } else {
        let errands = files.into_iter().map(|entry| errand(path, root, entry)).collect();
        let outcome = errands::run(client, endpoint, errands, manner, progress).await.map_err(failure)?;
        result = judge(&outcome, progress);
    }
    // No failure: what can't be moved is in many trees, and nobody asked for it by its name.
    if let Some(words) = passed_over {
        progress.note(&words);
    }
    // Last, where they are seen.
    for words in &left_out {
        progress.note(words);
    }
    match left_out.is_empty() && faults.is_empty() {
        true => result,
        false => worse(result, Err(Failure::new(Exit::Failed, ""))),
    }
}

fn errand(path: &str, root: &Path, entry: FileEntry) -> Errand {
    let FileEntry { name, size, .. } = entry;
    Errand::Get {
        path: format!("{path}/{name}"),
        landing: Landing::Beneath { root: root.to_owned(), below: name, size },
    }
}

/// What is beneath `path` and not in its listing; for a person.
fn left_out(path: &str, listed: &Listed) -> Vec<String> {
    let mut left_out = Vec::new();
    let mut tell = |below: &str, hidden: u32, unlisted: Option<FailureCode>| {
        let name = wire::printable(below);
        if let Some(code) = unlisted {
            left_out.push(format!("`{name}`: what is in it was left out: {}", why(code)));
        }
        match hidden {
            0 => {}
            1 => left_out.push(format!("`{name}`: 1 name in it was left out: not UTF-8, or too long for a path")),
            _ => left_out
                .push(format!("`{name}`: {hidden} names in it were left out: not UTF-8, or too long for a path")),
        }
    };
    tell(path, listed.hidden, None);
    for FileEntry { name, hidden, unlisted, .. } in &listed.entries {
        if *hidden > 0 || unlisted.is_some() {
            tell(&format!("{path}/{name}"), *hidden, *unlisted);
        }
    }
    left_out
}

/// What is beneath `path` and is neither a file nor a directory; for a person.
fn passed_over(path: &str, listed: &Listed) -> Option<String> {
    let special = listed.entries.iter().map(|entry| entry.special).fold(listed.special, u32::saturating_add);
    let (names, were) = match special {
        0 => return None,
        1 => ("name", "was"),
        _ => ("names", "were"),
    };
    let path = wire::printable(path);
    Some(format!("`{path}`: {special} {names} beneath it {were} passed over: links, pipes and devices are not moved"))
}

/// Why a node could not list a directory.
fn why(code: FailureCode) -> &'static str {
    match code {
        FailureCode::Unreadable => "the user that the node runs as may not read it",
        FailureCode::Io => "its disk failed",
        FailureCode::Forbidden => "it is no longer a directory of the share",
        FailureCode::TooMany => "too many files are open at the node; try again later",
        code => code.as_str(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_file_is_said_in_one_line() {
        let mut entries =
            vec![FileEntry::new("a", 0, 0, FileKind::Directory), FileEntry::new("b", 0, 0, FileKind::File)];
        entries[0].special = 2;
        let told = |entries: &[FileEntry], special| {
            passed_over("s", &Listed { entries: entries.to_vec(), hidden: 0, special }).unwrap_or_default()
        };
        assert!(told(&entries, 1).starts_with("`s`: 3 names beneath it were passed over: links"));
        assert!(told(&entries[1..], 1).starts_with("`s`: 1 name beneath it was passed over"));
        assert_eq!(told(&entries[1..], 0), "");
    }

    #[test]
    fn what_a_listing_leaves_out_is_said_with_its_reason() {
        let mut closed = FileEntry::new("a/closed", 0, 0, FileKind::Directory);
        closed.unlisted = Some(FailureCode::Unreadable);
        let mut odd = FileEntry::new("b\u{1b}", 0, 0, FileKind::Directory);
        odd.hidden = 2;
        let entries = vec![FileEntry::new("a", 0, 0, FileKind::Directory), closed, odd];
        let told = left_out("s/d", &Listed { entries, hidden: 1, special: 0 });
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(told[0].starts_with("`s/d`: 1 name in it was left out: not UTF-8"), "{told:?}");
        assert!(told[1].starts_with("`s/d/a/closed`: what is in it was left out: the user"), "{told:?}");
        assert!(told[2].contains(": 2 names in it were left out") && !told[2].contains('\u{1b}'), "{told:?}");
    }
}
