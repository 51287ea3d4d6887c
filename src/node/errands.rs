//! Runs a client's transfers over one session, and comes back with what is left when the link was lost.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use actors::{
    LeafEntry, SessionHandle,
    peer::client::{Command, First, GetCommand, Next, SessionEvent},
    port::{FileError, LinkError, PortFuture},
};
use flow::Class;
use tokio::{
    sync::mpsc,
    task::{JoinError, JoinSet},
    time::{Instant, timeout},
};
use wire::{FailureCode, Refusal};

use super::{TransferProgress, session::Client};
use crate::files::{Already, LocalFiles};

/// Transfers under way at once: enough to fill a line with small files, few enough to be fair to one large one.
const AT_ONCE: usize = 16;
/// How long the hello waits to learn what of the first file is here already. Of nothing that is known at once; a part is
/// hashed, and a large one is asked for after the welcome.
const FIRST_WAIT: Duration = Duration::from_millis(50);
/// Between two looks at how far transfers are.
const LOOK: Duration = Duration::from_millis(200);
/// Times that a lost link is dialled again without a byte in between.
const RETRIES: u32 = 5;
/// The first pause before dialling again; it doubles.
const PAUSE: Duration = Duration::from_millis(500);
/// Times that a transfer is asked for again while another writes the file. Over UDP nobody says that a client was killed: its put is in
/// the way of the next until the node has heard nothing of it for 10 to 15 s. So is a transfer of a link that was lost while what was
/// here already was looked at.
const BUSY_RETRIES: u32 = 20;
/// Before each of them.
const BUSY_PAUSE: Duration = Duration::from_secs(1);

/// Where a got file goes.
#[derive(Clone, Debug)]
pub enum Landing {
    /// Paths that the user chose: of the file, or, if it is a directory there, of what is in it.
    Chosen {
        /// The file to write.
        file: PathBuf,
        /// The directory to write into.
        tree: PathBuf,
    },
    /// A name from the node, beneath a directory that the user chose.
    Beneath {
        /// That directory.
        root: PathBuf,
        /// The name.
        below: String,
        /// Bytes of the file, as the node lists it.
        size: u64,
    },
}

/// What is to be moved.
#[derive(Clone, Debug)]
pub enum Errand {
    /// Fetch `SHARE/PATH`.
    Get {
        /// `SHARE/PATH`.
        path: String,
        /// Where it goes.
        landing: Landing,
    },
    /// Send a local file.
    Put {
        /// The local file.
        local: PathBuf,
        /// `SHARE/PATH`.
        path: String,
    },
}

impl Errand {
    fn path(&self) -> &str {
        match self {
            Self::Get { path, .. } | Self::Put { path, .. } => path,
        }
    }
}

/// What became of the errands.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Verified and durable.
    pub done: usize,
    /// Of those: files that were here, of which no byte had to come.
    pub here: usize,
    /// By path: what failed and why.
    pub failed: Vec<(String, FailureCode, String)>,
    /// Paths that are directories, and where what is in them goes: nothing was moved.
    pub directories: Vec<(String, PathBuf)>,
}

/// Why the errands could not be run.
#[derive(Debug, thiserror::Error)]
pub enum ErrandError {
    /// The link, as the dialler or the session gave it.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The node said no.
    #[error("the node refused: {}", wire::printable(&.0.message))]
    Refused(Refusal),
    /// The session ended, and dialling again did not help or would not.
    #[error("{0}")]
    Ended(String),
    /// The node closed the session on purpose.
    #[error("{0}")]
    SentAway(String),
}

impl ErrandError {
    /// As a session's last event says it.
    pub(super) fn ended(why: Option<String>, next: Next) -> Self {
        let why = why.unwrap_or_else(|| "the node ended the session".into());
        match next {
            Next::Ask => Self::SentAway(why),
            Next::DialAgain | Next::ComeLater => Self::Ended(why),
        }
    }
}

/// How a transfer is asked for.
#[derive(Copy, Clone, Debug)]
pub struct Manner {
    /// Its proportion among this client's own transfers.
    pub weight: f64,
    /// How urgent.
    pub class: Class,
}

/// Runs `errands` against `endpoint`.
///
/// # Errors
/// When there is no session to be had; what became of single files is in the [`Outcome`].
pub async fn run(
    client: &Client,
    endpoint: &str,
    errands: Vec<Errand>,
    manner: Manner,
    progress: &mut dyn TransferProgress,
) -> Result<Outcome, ErrandError> {
    let mut work = Work { left: errands.into_iter().enumerate().collect(), at_once: AT_ONCE, ..Work::default() };
    let mut attempt = 0;
    loop {
        let moved_before = work.bytes();
        // What is under way beside the session: looking at local files, which may take a while.
        let mut preparing = JoinSet::new();
        let first = work.first(&mut preparing, client, manner, progress);
        let ended = match client.connect_asking(endpoint, first).await {
            Ok((handle, events)) => work.attend(client, handle, events, preparing, manner, progress).await?,
            Err(error @ (LinkError::Lost(_) | LinkError::HandshakeTimeout(_))) if attempt > 0 => {
                Some(work.lost(error.to_string()))
            }
            Err(error) => return Err(error.into()),
        };
        let Some(why) = ended else { return Ok(work.outcome) };
        attempt = if work.bytes() > moved_before { 1 } else { attempt + 1 };
        if attempt > RETRIES {
            return Err(ErrandError::Ended(format!(
                "{why}; gave up after {RETRIES} tries; run the same command to resume"
            )));
        }
        let pause = PAUSE * 2_u32.pow(attempt - 1);
        progress.note(&format!("{why}; trying again in {:.1} s", pause.as_secs_f64()));
        tokio::time::sleep(pause).await;
    }
}

#[derive(Default)]
struct Work {
    /// Not begun, or to be begun again.
    left: VecDeque<(usize, Errand)>,
    active: BTreeMap<usize, (Errand, Option<Arc<LeafEntry>>)>,
    /// To be fetched from the start: what is here does not fit what is there. Until that has begun.
    anew: HashSet<usize>,
    /// Which were, once.
    were_anew: HashSet<usize>,
    /// Which found another transfer writing their file, and how often.
    busy: HashMap<usize, u32>,
    /// Transfers that this node may be asked for at once.
    at_once: usize,
    /// Bytes of transfers that ended.
    bytes_ended: u64,
    /// The user knows that the node grants fewer data links than were asked for.
    told_links: bool,
    outcome: Outcome,
}

impl Work {
    fn bytes(&self) -> u64 {
        let live: u64 = self.active.values().filter_map(|(_, leaf)| Some(leaf.as_ref()?.meter.bytes())).sum();
        self.bytes_ended + live
    }

    /// Begins to look at what is here of the first file to get. If that is known soon, its get goes with the hello: one, which
    /// fits beside a handshake in one datagram, and which no node has too many of.
    async fn first(
        &mut self,
        preparing: &mut JoinSet<Prepared>,
        client: &Client,
        manner: Manner,
        progress: &mut dyn TransferProgress,
    ) -> First {
        let mut first = First::default();
        if !matches!(self.left.front(), Some((_, Errand::Get { .. }))) {
            return first;
        }
        self.prepare_next(preparing, client, manner);
        if let Ok(Some(prepared)) = timeout(FIRST_WAIT, preparing.join_next()).await
            && let Some(Command::Get(get)) = self.prepared(prepared, progress)
        {
            first.gets.push(get);
        }
        first
    }

    /// What is to be said of an errand that was looked at.
    fn prepared(
        &mut self,
        prepared: Result<Prepared, JoinError>,
        progress: &mut dyn TransferProgress,
    ) -> Option<Command> {
        match prepared {
            Ok((_, Ok(command))) => return Some(command),
            Ok((tag, Err(error))) => self.failed(tag, error.code, &error.message, progress),
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
        None
    }

    /// Runs one session until everything is done (`None`) or it was lost (why).
    async fn attend(
        &mut self,
        client: &Client,
        handle: SessionHandle,
        mut events: mpsc::Receiver<SessionEvent>,
        mut preparing: JoinSet<Prepared>,
        manner: Manner,
        progress: &mut dyn TransferProgress,
    ) -> Result<Option<String>, ErrandError> {
        let mut look = Instant::now() + LOOK;
        let mut welcomed = false;
        loop {
            if welcomed {
                self.prepare(&mut preparing, client, manner);
                if self.left.is_empty() && self.active.is_empty() {
                    handle.command(Command::Leave).await;
                    // The goodbye is on its way when the session says that it has ended.
                    while !matches!(events.recv().await, None | Some(SessionEvent::Ended { .. })) {}
                    return Ok(None);
                }
            }
            let event = tokio::select! {
                Some(prepared) = preparing.join_next(), if welcomed => {
                    if let Some(command) = self.prepared(prepared, progress) {
                        // A session that has ended says so by its events; the errand is still in `active`.
                        handle.command(command).await;
                    }
                    continue;
                }
                () = tokio::time::sleep_until(look) => {
                    look += LOOK;
                    for (tag, (_, leaf)) in &self.active {
                        if let Some(leaf) = leaf {
                            progress.moved(*tag as u32, leaf.meter.offset());
                        }
                    }
                    continue;
                }
                event = events.recv() => event,
            };
            match event {
                Some(SessionEvent::Welcomed(welcome)) => {
                    welcomed = true;
                    let (asked, granted) = (client.data_links(), welcome.tokens.len());
                    if granted < asked as usize && !std::mem::replace(&mut self.told_links, true) {
                        let links = if granted == 1 { "link" } else { "links" };
                        progress.note(&format!("the node grants {granted} data {links}, not {asked}"));
                    }
                    // A node that does not say it lets more than these.
                    if welcome.transfers_max > 0 {
                        self.at_once = AT_ONCE.min(welcome.transfers_max as usize);
                    }
                }
                Some(SessionEvent::Refused(refusal)) => return Err(ErrandError::Refused(refusal)),
                Some(SessionEvent::Started { tag, leaf, size, start }) => {
                    self.anew.remove(&(tag as usize));
                    if let Some((errand, slot)) = self.active.get_mut(&(tag as usize)) {
                        *slot = Some(leaf);
                        progress.started(tag as u32, errand.path(), size, start);
                    }
                }
                Some(SessionEvent::Done { tag }) => {
                    if let Some(leaf) = self.end(tag as usize).and_then(|(_, leaf)| leaf) {
                        progress.moved(tag as u32, leaf.meter.offset());
                        let is_here = leaf.meter.bytes() == 0 && leaf.meter.offset() > 0;
                        self.outcome.here += usize::from(is_here);
                    }
                    self.outcome.done += 1;
                    progress.done(tag as u32);
                }
                Some(SessionEvent::Failed { tag, failed }) => {
                    self.failed(tag as usize, failed.code(), &failed.message, progress);
                }
                Some(SessionEvent::Granted { .. } | SessionEvent::Pong(_)) => {}
                Some(SessionEvent::Ended { why, next: Next::DialAgain }) => {
                    return Ok(Some(self.lost(why.unwrap_or_else(|| "the session ended".into()))));
                }
                Some(SessionEvent::Ended { why, next }) => return Err(ErrandError::ended(why, next)),
                None => return Ok(Some(self.lost("the session ended".into()))),
            }
        }
    }

    /// Puts what was under way back, first of all that is left.
    fn lost(&mut self, why: String) -> String {
        for (tag, (errand, leaf)) in std::mem::take(&mut self.active).into_iter().rev() {
            self.bytes_ended += leaf.map_or(0, |leaf| leaf.meter.bytes());
            self.left.push_front((tag, errand));
        }
        why
    }

    fn end(&mut self, tag: usize) -> Option<(Errand, Option<Arc<LeafEntry>>)> {
        let ended = self.active.remove(&tag)?;
        self.bytes_ended += ended.1.as_ref().map_or(0, |leaf| leaf.meter.bytes());
        Some(ended)
    }

    fn failed(&mut self, tag: usize, code: FailureCode, message: &str, progress: &mut dyn TransferProgress) {
        let Some((errand, leaf)) = self.end(tag) else { return };
        let resumed = leaf.is_some_and(|leaf| leaf.meter.offset() > leaf.meter.bytes());
        match errand {
            Errand::Get { path, landing: Landing::Chosen { tree, .. } } if code == FailureCode::IsDirectory => {
                self.outcome.directories.push((path, tree));
            }
            // Fewer may be let than were said, or than an older node says.
            errand if code == FailureCode::TooMany && !self.active.is_empty() => {
                self.at_once = self.active.len();
                self.left.push_front((tag, errand));
            }
            errand @ Errand::Get { .. } if code == FailureCode::Changed && resumed && self.were_anew.insert(tag) => {
                self.anew.insert(tag);
                self.left.push_front((tag, errand));
            }
            errand if code == FailureCode::Busy && self.may_wait(tag) => {
                if self.busy[&tag] == 1 {
                    let wait = (BUSY_PAUSE * BUSY_RETRIES).as_secs();
                    let path = wire::printable(errand.path()).into_owned();
                    progress.note(&format!(
                        "`{path}`: another transfer is writing it, or was cut off a moment ago; waiting for up to {wait} s"
                    ));
                }
                // Behind what need not wait.
                self.left.push_back((tag, errand));
            }
            errand => {
                let words = wire::printable(message).into_owned();
                // What a file's own room says begins with its name, in backquotes.
                let named = words.starts_with('`');
                let line = if named { words.clone() } else { format!("`{}`: {words}", wire::printable(errand.path())) };
                progress.failed(tag as u32, &line);
                self.outcome.failed.push((errand.path().to_owned(), code, words));
            }
        }
    }

    /// Whether one whose file is being written is to be asked for again; counts it.
    fn may_wait(&mut self, tag: usize) -> bool {
        let found = self.busy.entry(tag).or_default();
        *found += 1;
        *found <= BUSY_RETRIES
    }

    fn prepare(&mut self, preparing: &mut JoinSet<Prepared>, client: &Client, manner: Manner) {
        while self.active.len() < self.at_once && !self.left.is_empty() {
            self.prepare_next(preparing, client, manner);
        }
    }

    fn prepare_next(&mut self, preparing: &mut JoinSet<Prepared>, client: &Client, manner: Manner) {
        let Some((tag, errand)) = self.left.pop_front() else { return };
        self.active.insert(tag, (errand.clone(), None));
        let (files, anew) = (client.files.clone(), self.anew.contains(&tag));
        let pause = self.busy.contains_key(&tag).then_some(BUSY_PAUSE);
        preparing.spawn_local(async move {
            if let Some(pause) = pause {
                tokio::time::sleep(pause).await;
            }
            (tag, command(files, tag, errand, manner, anew).await)
        });
    }
}

/// An errand by its tag, as the session is to be told of it.
type Prepared = (usize, Result<Command, FileError>);

async fn command(
    files: LocalFiles,
    tag: usize,
    errand: Errand,
    manner: Manner,
    anew: bool,
) -> Result<Command, FileError> {
    let Manner { weight, class } = manner;
    let tag = tag as u64;
    match errand {
        Errand::Get { path, landing } => {
            let already = match &landing {
                _ if anew => Already::Nothing,
                Landing::Chosen { file, .. } => files.already(file, &path).await,
                Landing::Beneath { root, below, size } => files.already_beneath(root, below, &path, *size).await,
            };
            let (remote, resume) = (path.clone(), already.resume_point());
            let open = Box::new(move |meta| {
                let opened = match &landing {
                    Landing::Chosen { file, .. } => files.write(file, &remote, meta, already),
                    Landing::Beneath { root, below, .. } => files.write_beneath(root, below, &remote, meta, already),
                };
                let opened: PortFuture<_> = Box::pin(async move { opened.await.map_err(in_the_way) });
                opened
            });
            Ok(Command::Get(GetCommand { tag, path, resume, weight, class, open }))
        }
        Errand::Put { local, path } => {
            let source = files.read(&local).await?;
            Ok(Command::Put { tag, path, source, weight, class })
        }
    }
}

/// A directory of this side under the file's name: not to be taken for one of the node's, which would be fetched whole.
fn in_the_way(error: FileError) -> FileError {
    match error.code {
        FailureCode::IsDirectory => FileError::new(FailureCode::Exists, error.message),
        _ => error,
    }
}
