//! A listing as a client asks for it: every page, over a session of its own.

use std::mem;

use actors::{
    peer::client::{Command, First, ListCommand, Next, SessionEvent},
    port::{FileEntry, FileKind},
};
use tokio::sync::{mpsc, oneshot};
use wire::{EntryKind, Listing};

use super::{
    Exit, Failure,
    errands::ErrandError,
    session::Client,
    transfer::{exit_of, failure},
};

/// What a listing may take of this machine's memory, whatever the node sends: two million names of ordinary length.
const LISTING_BYTES_MAX: usize = 256 << 20;

/// What a node lists.
#[derive(Clone, Debug, Default)]
pub struct Listed {
    /// In the order of names. The names are the node's: not to be shown, and not to be opened, as they are.
    pub entries: Vec<FileEntry>,
    /// Names in the listed directory that the node can't say: not UTF-8, or too long for a path.
    pub hidden: u32,
    /// Links, pipes and devices in it, which are not listed.
    pub special: u32,
}

/// What is at `path`.
///
/// # Errors
/// No session, or what the node says of the path.
pub async fn list(client: &Client, endpoint: &str, path: &str, recursive: bool) -> Result<Listed, Failure> {
    let page_after = |after| {
        let (reply, answer) = oneshot::channel();
        (ListCommand { path: path.to_owned(), recursive, after, reply }, answer)
    };
    // The first page is asked for with the hello.
    let (command, mut answer) = page_after(String::new());
    let first = async { First { lists: vec![command], ..First::default() } };
    let connected = client.connect_asking(endpoint, first).await;
    let (handle, mut events) = connected.map_err(|error| failure(error.into()))?;
    loop {
        match events.recv().await {
            Some(SessionEvent::Welcomed(_)) => break,
            Some(SessionEvent::Refused(refusal)) => return Err(failure(ErrandError::Refused(refusal))),
            Some(SessionEvent::Ended { why, next }) => return Err(failure(ErrandError::ended(why, next))),
            Some(_) => {}
            None => return Err(gone()),
        }
    }
    let mut pages = Pages::default();
    loop {
        let page: Listing = tokio::select! {
            page = &mut answer => page.map_err(|_| gone())?,
            failure = session_end(&mut events) => return Err(failure),
        };
        if pages.take(page)? {
            handle.command(Command::Leave).await;
            session_end(&mut events).await;
            return Ok(pages.listed);
        }
        let after = pages.listed.entries.last().map(|entry| entry.name.clone()).unwrap_or_default();
        let (command, next) = page_after(after);
        answer = next;
        handle.command(Command::List(command)).await;
    }
}

async fn session_end(events: &mut mpsc::Receiver<SessionEvent>) -> Failure {
    loop {
        match events.recv().await {
            Some(SessionEvent::Ended { why, next }) => return failure(ErrandError::ended(why, next)),
            None => return gone(),
            Some(_) => {}
        }
    }
}

fn gone() -> Failure {
    failure(ErrandError::ended(None, Next::ComeLater))
}

/// What has come so far.
#[derive(Default)]
struct Pages {
    listed: Listed,
    bytes: usize,
}

impl Pages {
    /// Takes a page; whether it was the last.
    fn take(&mut self, page: Listing) -> Result<bool, Failure> {
        let fault = |words: &str| Err(Failure::new(Exit::Failed, words));
        if let Some(error) = page.error {
            return Err(Failure::new(exit_of(error.code()), wire::printable(&error.message)));
        }
        let listed = &mut self.listed;
        listed.hidden = listed.hidden.saturating_add(page.hidden);
        listed.special = listed.special.saturating_add(page.special);
        let is_last = !page.more || page.entries.is_empty();
        for entry in page.entries.into_iter().map(entry) {
            // Names that grow can't come twice, and can't come for ever.
            if listed.entries.last().is_some_and(|last| !last.name.split('/').lt(entry.name.split('/'))) {
                return fault("the node's listing is out of order");
            }
            self.bytes += mem::size_of::<FileEntry>() + entry.name.len();
            if self.bytes > LISTING_BYTES_MAX {
                return fault("the node lists more than fits into memory here; ask for its directories one by one");
            }
            listed.entries.push(entry);
        }
        Ok(is_last)
    }
}

fn entry(entry: wire::Entry) -> FileEntry {
    let kind = match entry.kind() {
        EntryKind::Share => FileKind::Share,
        EntryKind::Directory => FileKind::Directory,
        EntryKind::File | EntryKind::Unspecified => FileKind::File,
    };
    let unlisted = (entry.unlisted != 0).then(|| entry.unlisted());
    let wire::Entry { name, size, mtime_ns, hidden, special, .. } = entry;
    FileEntry { name, size, mtime_ns, kind, hidden, special, unlisted }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(names: &[&str], more: bool) -> Listing {
        let entry = |name: &&str| wire::Entry { name: (*name).to_owned(), ..wire::Entry::default() };
        Listing { entries: names.iter().map(entry).collect(), more, ..Listing::default() }
    }

    #[test]
    fn pages_follow_one_another() {
        let mut pages = Pages::default();
        assert!(!pages.take(page(&["a", "a/b", "a/c/d"], true)).unwrap());
        assert!(pages.take(page(&["a.txt", "b"], false)).unwrap());
        assert_eq!(pages.listed.entries.len(), 5);
        assert!(Pages::default().take(page(&[], true)).unwrap(), "an empty page is the last, whatever it says");
    }

    #[test]
    fn a_node_cannot_list_for_ever() {
        for again in ["b", "a", "a/z", ""] {
            let mut pages = Pages::default();
            pages.take(page(&["a", "b"], true)).unwrap();
            let failure = pages.take(page(&[again], true)).unwrap_err();
            assert!(failure.message.contains("out of order"), "{again}: {failure}");
        }
        let mut pages = Pages { bytes: LISTING_BYTES_MAX - 10, ..Pages::default() };
        assert!(pages.take(page(&["a"], true)).unwrap_err().message.contains("one by one"));
    }
}
