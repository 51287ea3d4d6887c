//! `evenkeel get`, `put` and `ls`: options in, files moved, failures by exit code.

use std::{collections::BTreeMap, fs, time::Duration};

use actors::port::LinkError;
use flow::Rate;
use tokio::signal::unix::{SignalKind, signal};
use wire::{DataLinks, FailureCode};

use super::{
    Exit, Failure, GetOptions, LsOptions, PutOptions, SessionOptions, TransferProgress,
    errands::{self, Errand, ErrandError, Landing, Manner, Outcome},
    listing::{Listed, list},
    session::{Client, Wish},
    tree::get_tree,
};
use crate::identity::StateDir;

/// How long a node may take to hear that a session is over: a round trip and a lost packet.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Fetches; `Ok` only when every file passed its check.
///
/// # Errors
/// The worst of what happened; single files have been reported to `progress`.
pub fn get(options: GetOptions, mut progress: Box<dyn TransferProgress>) -> Result<(), Failure> {
    let wish = Wish { upload: Rate::UNLIMITED, ..wish(&options.session) };
    let manner = manner(&options.session);
    if let Some(directory) = &options.directory {
        fs::create_dir_all(directory)
            .map_err(|error| Failure::new(Exit::Machine, format!("can't make {}: {error}", directory.display())))?;
    }
    // One session per node; in the order in which they were named.
    let mut by_node: BTreeMap<String, Vec<Errand>> = BTreeMap::new();
    for download in options.downloads {
        let landing = Landing::Chosen { file: download.destination, tree: download.tree };
        let errand = Errand::Get { path: download.path, landing };
        by_node.entry(download.endpoint.to_string()).or_default().push(errand);
    }
    with_client(options.state, wish, async move |client: &Client| {
        let mut worst = Ok(());
        for (endpoint, errands) in by_node {
            let done = get_from(client, &endpoint, errands, manner, progress.as_mut()).await;
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
    let mut result = judge(&outcome, progress);
    // A directory is fetched with everything beneath it.
    for (path, root) in outcome.directories {
        let done = get_tree(client, endpoint, &path, &root, manner, progress).await;
        let told = done.map_err(|failure| {
            if !failure.message.is_empty() {
                progress.note(&format!("`{}`: {failure}", wire::printable(&path)));
            }
            Failure::new(failure.exit, "")
        });
        result = worse(result, told);
    }
    result
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
    with_client(options.state, wish, async move |client: &Client| {
        let endpoint = options.endpoint.to_string();
        let outcome = errands::run(client, &endpoint, errands, manner, progress.as_mut()).await.map_err(failure)?;
        judge(&outcome, progress.as_mut())
    })
}

/// Does `work` with a client of its own, until it ends or Ctrl-C is pressed.
fn with_client<T>(
    state: StateDir,
    wish: Wish,
    work: impl AsyncFnOnce(&Client) -> Result<T, Failure>,
) -> Result<T, Failure> {
    actix_rt::System::new().block_on(async move {
        let client = Client::start(state, wish)?;
        let result = interruptible(work(&client)).await;
        let is_interrupted = result.as_ref().is_err_and(|failure| failure.exit == Exit::Interrupted);
        client.settle(if is_interrupted { Duration::ZERO } else { LAST_WORDS }).await;
        result
    })
}

/// Does `work` until it ends, Ctrl-C is pressed, or the program is told to end: nodes are told over QUIC only by who still runs.
async fn interruptible<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::select! {
        result = work => result,
        () = told_to_end() => Err(Failure::new(Exit::Interrupted, "interrupted; run the same command to resume")),
    }
}

/// Without a handler a signal ends the program all the same, only without words.
async fn told_to_end() {
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => tokio::select! {
            Ok(()) = tokio::signal::ctrl_c() => {}
            Some(()) = terminate.recv() => {}
            else => std::future::pending().await,
        },
        Err(_) => std::future::pending().await,
    }
}

/// Lists, in the order of names.
///
/// # Errors
/// No session, or what the node says of the path.
pub fn ls(options: LsOptions) -> Result<Listed, Failure> {
    let wish = Wish {
        upload: Rate::UNLIMITED,
        download: Rate::UNLIMITED,
        asks: None,
        class: flow::Class::Foreground,
        data_links: DataLinks::both(1),
        peer_id: options.peer_id,
        quiet: false,
        transport: options.transport,
    };
    with_client(options.state, wish, async move |client: &Client| {
        list(client, &options.endpoint.to_string(), &options.path, false).await
    })
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
        transport: session.transport,
    }
}

fn manner(session: &SessionOptions) -> Manner {
    Manner { weight: session.weight, class: session.class }
}

/// Single files have been reported while they failed; the exit code says the worst of it.
pub(super) fn judge(outcome: &Outcome, progress: &mut dyn TransferProgress) -> Result<(), Failure> {
    if outcome.here > 0 {
        let files = outcome.done + outcome.failed.len();
        progress.note(&format!("{} of {files} files are here already", outcome.here));
    }
    let worst = outcome.failed.iter().map(|(_, code, _)| exit_of(*code));
    match worst.max() {
        None => Ok(()),
        Some(exit) => Err(Failure::new(exit, "")),
    }
}

/// How the program ends when a node says `code`.
pub(super) fn exit_of(code: FailureCode) -> Exit {
    match code {
        FailureCode::HashMismatch => Exit::HashMismatch,
        FailureCode::Forbidden | FailureCode::ReadOnly => Exit::Refused,
        _ => Exit::Failed,
    }
}

pub(super) fn worse(left: Result<(), Failure>, right: Result<(), Failure>) -> Result<(), Failure> {
    match (left, right) {
        (Err(left), Err(right)) if left.exit >= right.exit => Err(left),
        (Err(left), Ok(())) => Err(left),
        (_, right) => right,
    }
}

pub(super) fn failure(error: ErrandError) -> Failure {
    let exit = match &error {
        // They are full, busy or going down: later they may say yes.
        ErrandError::Refused(refusal) if refusal.retry_after_ms > 0 => Exit::Unreachable,
        ErrandError::Refused(_) | ErrandError::SentAway(_) | ErrandError::Link(LinkError::Identity(_)) => Exit::Refused,
        ErrandError::Link(LinkError::Local(_)) => Exit::Machine,
        ErrandError::Link(LinkError::PeerFault(_)) => Exit::Failed,
        ErrandError::Link(LinkError::Lost(_) | LinkError::HandshakeTimeout(_)) | ErrandError::Ended(_) => {
            Exit::Unreachable
        }
    };
    Failure::new(exit, error.to_string())
}
