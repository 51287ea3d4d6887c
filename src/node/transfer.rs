//! `evenkeel get`, `put` and `ls`: options in, files moved, failures by exit code.

use std::collections::BTreeMap;

use actors::{
    peer::client::{Command, SessionEvent},
    port::{FileEntry, FileKind, LinkError},
};
use flow::Rate;
use tokio::sync::oneshot;
use wire::{EntryKind, FailureCode, Listing};

use super::{
    Exit, Failure, GetOptions, LsOptions, PutOptions, SessionOptions, TransferProgress,
    errands::{self, Errand, ErrandError, Landing, Manner, Outcome},
    session::{Client, Wish},
};

/// Fetches; `Ok` only when every file passed its check.
///
/// # Errors
/// The worst of what happened; single files have been reported to `progress`.
pub fn get(options: GetOptions, mut progress: Box<dyn TransferProgress>) -> Result<(), Failure> {
    let wish = Wish { upload: Rate::UNLIMITED, ..wish(&options.session) };
    let manner = manner(&options.session);
    // One session per node; in the order in which they were named.
    let mut by_node: BTreeMap<String, Vec<Errand>> = BTreeMap::new();
    for download in options.downloads {
        let errand = Errand::Get { path: download.path, landing: Landing::File(download.destination) };
        by_node.entry(download.endpoint.to_string()).or_default().push(errand);
    }
    actix_rt::System::new().block_on(async move {
        let client = Client::start(options.state, wish)?;
        let mut worst = Ok(());
        for (endpoint, errands) in by_node {
            let done = get_from(&client, &endpoint, errands, manner, progress.as_mut()).await;
            worst = worse(worst, done);
        }
        worst
    })
}

async fn get_from(
    client: &Client,
    endpoint: &str,
    errands: Vec<Errand>,
    manner: Manner,
    progress: &mut dyn TransferProgress,
) -> Result<(), Failure> {
    let outcome = errands::run(client, endpoint, errands, manner, progress).await.map_err(failure)?;
    let mut result = judge(&outcome);
    // A directory is fetched with everything beneath it.
    for (path, landing) in outcome.directories {
        let done = get_tree(client, endpoint, &path, &landing, manner, progress).await;
        result = worse(result, done);
    }
    result
}

async fn get_tree(
    client: &Client,
    endpoint: &str,
    path: &str,
    landing: &Landing,
    manner: Manner,
    progress: &mut dyn TransferProgress,
) -> Result<(), Failure> {
    let Landing::File(root) = landing else {
        return Err(Failure::new(Exit::Failed, format!("{path} became a directory while it was fetched")));
    };
    let entries = list(client, endpoint, path, true).await?;
    std::fs::create_dir_all(root)
        .map_err(|error| Failure::new(Exit::Machine, format!("can't make {}: {error}", root.display())))?;
    let files = entries.into_iter().filter(|entry| entry.kind == FileKind::File).map(|entry| Errand::Get {
        path: format!("{path}/{}", entry.name),
        landing: Landing::Beneath(root.clone(), entry.name),
    });
    let outcome = errands::run(client, endpoint, files.collect(), manner, progress).await.map_err(failure)?;
    judge(&outcome)
}

/// Sends; `Ok` only when every file was stored.
///
/// # Errors
/// The worst of what happened; single files have been reported to `progress`.
pub fn put(options: PutOptions, mut progress: Box<dyn TransferProgress>) -> Result<(), Failure> {
    let wish = Wish { download: Rate::UNLIMITED, ..wish(&options.session) };
    let manner = manner(&options.session);
    let errands =
        options.uploads.into_iter().map(|upload| Errand::Put { local: upload.source, path: upload.path }).collect();
    actix_rt::System::new().block_on(async move {
        let client = Client::start(options.state, wish)?;
        let endpoint = options.endpoint.to_string();
        let outcome = errands::run(&client, &endpoint, errands, manner, progress.as_mut()).await.map_err(failure)?;
        judge(&outcome)
    })
}

/// Lists, in the order of names.
///
/// # Errors
/// No session, or what the node says of the path.
pub fn ls(options: LsOptions) -> Result<Vec<FileEntry>, Failure> {
    let wish = Wish {
        upload: Rate::UNLIMITED,
        download: Rate::UNLIMITED,
        asks: None,
        class: flow::Class::Foreground,
        data_links: 1,
        peer_id: options.peer_id,
        quiet: false,
    };
    actix_rt::System::new().block_on(async move {
        let client = Client::start(options.state, wish)?;
        list(&client, &options.endpoint.to_string(), &options.path, false).await
    })
}

/// Every page of a listing, over a session of its own.
async fn list(client: &Client, endpoint: &str, path: &str, recursive: bool) -> Result<Vec<FileEntry>, Failure> {
    let (handle, mut events) = client.connect(endpoint).await.map_err(|error| failure(error.into()))?;
    loop {
        match events.recv().await {
            Some(SessionEvent::Welcomed(_)) => break,
            Some(SessionEvent::Refused(refusal)) => return Err(failure(ErrandError::Refused(refusal))),
            Some(SessionEvent::Ended { why, .. }) => return Err(ended(why)),
            Some(_) => {}
            None => return Err(ended(None)),
        }
    }
    let mut entries: Vec<FileEntry> = Vec::new();
    loop {
        let (reply, answer) = oneshot::channel();
        let after = entries.last().map(|entry| entry.name.clone()).unwrap_or_default();
        handle.command(Command::List { path: path.to_owned(), recursive, after, reply }).await;
        let page: Listing = tokio::select! {
            page = answer => page.map_err(|_| ended(None))?,
            why = session_end(&mut events) => return Err(ended(why)),
        };
        if let Some(error) = page.error {
            return Err(Failure::new(Exit::Failed, wire::printable(&error.message).into_owned()));
        }
        let before = entries.len();
        entries.extend(page.entries.into_iter().map(entry));
        if !page.more || entries.len() == before {
            handle.command(Command::Leave).await;
            session_end(&mut events).await;
            return Ok(entries);
        }
    }
}

async fn session_end(events: &mut tokio::sync::mpsc::Receiver<SessionEvent>) -> Option<String> {
    loop {
        match events.recv().await {
            Some(SessionEvent::Ended { why, .. }) => return why,
            None => return None,
            Some(_) => {}
        }
    }
}

fn ended(why: Option<String>) -> Failure {
    Failure::new(Exit::Unreachable, why.unwrap_or_else(|| "the node ended the session".into()))
}

fn entry(entry: wire::Entry) -> FileEntry {
    let kind = match entry.kind() {
        EntryKind::Share => FileKind::Share,
        EntryKind::Directory => FileKind::Directory,
        EntryKind::File | EntryKind::Unspecified => FileKind::File,
    };
    FileEntry { name: wire::printable(&entry.name).into_owned(), size: entry.size, mtime_ns: entry.mtime_ns, kind }
}

fn wish(session: &SessionOptions) -> Wish {
    Wish {
        upload: session.limit,
        download: session.limit,
        asks: None,
        class: session.class,
        data_links: session.data_links,
        peer_id: session.peer_id,
        quiet: false,
    }
}

fn manner(session: &SessionOptions) -> Manner {
    Manner { weight: session.weight, class: session.class }
}

/// Single files have been reported while they failed; the exit code says the worst of it.
fn judge(outcome: &Outcome) -> Result<(), Failure> {
    let worst = outcome.failed.iter().map(|(_, code, _)| match code {
        FailureCode::HashMismatch => Exit::HashMismatch,
        FailureCode::Forbidden | FailureCode::ReadOnly => Exit::Refused,
        _ => Exit::Failed,
    });
    match worst.max() {
        None => Ok(()),
        Some(exit) => Err(Failure::new(exit, "")),
    }
}

fn worse(left: Result<(), Failure>, right: Result<(), Failure>) -> Result<(), Failure> {
    match (left, right) {
        (Err(left), Err(right)) if left.exit >= right.exit => Err(left),
        (Err(left), Ok(())) => Err(left),
        (_, right) => right,
    }
}

fn failure(error: ErrandError) -> Failure {
    let exit = match &error {
        // They are full, busy or going down: later they may say yes.
        ErrandError::Refused(refusal) if refusal.retry_after_ms > 0 => Exit::Unreachable,
        ErrandError::Refused(_) | ErrandError::Link(LinkError::Identity(_)) => Exit::Refused,
        ErrandError::Link(LinkError::Local(_)) => Exit::Machine,
        ErrandError::Link(LinkError::PeerFault(_)) => Exit::Failed,
        ErrandError::Link(LinkError::Lost(_) | LinkError::HandshakeTimeout(_)) | ErrandError::Ended(_) => {
            Exit::Unreachable
        }
    };
    Failure::new(exit, error.to_string())
}
