//! Who may do what: lines of `ID RIGHTS COMMENT`, read at start and again when the file changes.

use std::{
    collections::HashMap,
    fmt,
    fs::{File, Metadata},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use actors::port::{Policy, Rights};
use arc_swap::ArcSwap;
use wire::PeerId;

use super::read_text;

/// The table of rights. Asking it never waits: a new table is swapped in whole.
#[derive(Debug)]
pub struct AuthorizedPeers {
    path: PathBuf,
    own: PeerId,
    open: bool,
    table: ArcSwap<Table>,
    /// What the file was when it was last looked at, good or bad; also keeps two reloads apart.
    seen: Mutex<Option<Stamp>>,
}

type Table = HashMap<PeerId, Entry>;

#[derive(Clone, Debug, Eq, PartialEq)]
struct Entry {
    rights: Rights,
    comment: String,
}

/// A line that can't be read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LineFault {
    /// From 1.
    pub line: usize,
    /// What is wrong and what to write instead.
    pub message: String,
}

/// The file is not good; what was known before stays in force.
#[derive(Debug)]
pub enum AuthorizedPeersError {
    /// It could not be read.
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Some lines could not.
    Lines {
        /// Which file.
        path: PathBuf,
        /// Never empty.
        faults: Vec<LineFault>,
    },
}

impl fmt::Display for AuthorizedPeersError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { path, error } => write!(f, "{}: can't be read: {error}", path.display()),
            Self::Lines { path, faults } => {
                for (index, fault) in faults.iter().enumerate() {
                    let newline = if index > 0 { "\n" } else { "" };
                    write!(f, "{newline}{}:{}: {}", path.display(), fault.line, fault.message)?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for AuthorizedPeersError {}

impl AuthorizedPeers {
    /// Reads `path`; a file that is not there has no lines. `own` has every right, since whoever can use its key can edit
    /// the file as well; with `open`, everybody may read.
    pub fn load(path: PathBuf, own: PeerId, open: bool) -> Result<Self, AuthorizedPeersError> {
        let (table, stamp) = read(&path)?;
        Ok(Self { path, own, open, table: ArcSwap::from_pointee(table), seen: Mutex::new(stamp) })
    }

    /// Reads the file again if it changed since it was last looked at; says whether the table changed. Reads a file: not for
    /// worker threads.
    ///
    /// A file that went away leaves nobody but `own`; a bad one changes nothing and is an error once.
    pub fn reload(&self) -> Result<bool, AuthorizedPeersError> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let now = stamp(&self.path);
        if now == *seen {
            return Ok(false);
        }
        *seen = now;
        let (table, stamp) = read(&self.path)?;
        *seen = stamp;
        let changed = **self.table.load() != table;
        self.table.store(Arc::new(table));
        Ok(changed)
    }

    /// Starts the thread that calls [`AuthorizedPeers::reload`] once per second, until the table is dropped. What goes wrong
    /// is logged.
    pub fn watch(self: &Arc<Self>) -> io::Result<()> {
        let weak = Arc::downgrade(self);
        let work = move || {
            while let Some(table) = weak.upgrade() {
                match table.reload() {
                    Ok(false) => {}
                    Ok(true) => tracing::info!(peers = table.table.load().len(), "authorized peers changed"),
                    Err(error) => tracing::warn!("authorized peers stay as they were: {error}"),
                }
                drop(table);
                thread::sleep(RELOAD_INTERVAL);
            }
        };
        thread::Builder::new().name("authorized".into()).spawn(work).map(drop)
    }
}

impl Policy for AuthorizedPeers {
    fn rights(&self, peer: &PeerId) -> Rights {
        if *peer == self.own {
            return Rights::ALL;
        }
        let listed = self.table.load().get(peer).map_or(Rights::NONE, |entry| entry.rights);
        Rights { read: listed.read || self.open, ..listed }
    }

    fn comment(&self, peer: &PeerId) -> String {
        match self.table.load().get(peer) {
            Some(entry) => entry.comment.clone(),
            None if *peer == self.own => "own".to_owned(),
            None => String::new(),
        }
    }
}

/// The line that gives `id` these rights; what `evenkeel id` prints for somebody else's file.
pub fn authorization_line(id: &PeerId, rights: Rights, comment: &str) -> String {
    let words: Vec<&str> = RIGHTS.iter().filter(|(_, has, _)| has(&rights)).map(|(word, _, _)| *word).collect();
    format!("{id} {} {comment}", words.join(",")).trim_end().to_owned()
}

/// Each right: its word, how to see it, how to give it.
type Right = (&'static str, fn(&Rights) -> bool, fn(&mut Rights));
const RIGHTS: [Right; 3] = [
    ("read", |rights| rights.read, |rights| rights.read = true),
    ("write", |rights| rights.write, |rights| rights.write = true),
    ("operate", |rights| rights.operate, |rights| rights.operate = true),
];

/// What tells one version of a file from another: an editor either writes it anew or puts another file in its place.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
struct Stamp {
    inode: u64,
    bytes: u64,
    mtime_ns: i128,
}

impl From<Metadata> for Stamp {
    fn from(meta: Metadata) -> Self {
        let mtime_ns = i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec());
        Self { inode: meta.ino(), bytes: meta.len(), mtime_ns }
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    path.metadata().ok().map(Stamp::from)
}

fn read(path: &Path) -> Result<(Table, Option<Stamp>), AuthorizedPeersError> {
    let failed = |error| AuthorizedPeersError::Io { path: path.to_owned(), error };
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Table::new(), None)),
        Err(error) => return Err(failed(error)),
    };
    // Of the open file, before it is read: a later change has another stamp.
    let stamp = file.metadata().map_err(failed)?.into();
    let text = read_text(&mut file).map_err(failed)?;
    match parse(&text) {
        Ok(table) => Ok((table, Some(stamp))),
        Err(faults) => Err(AuthorizedPeersError::Lines { path: path.to_owned(), faults }),
    }
}

fn parse(text: &str) -> Result<Table, Vec<LineFault>> {
    let mut table = Table::new();
    let mut faults = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let parsed = parse_line(line).and_then(|(id, entry)| match table.insert(id, entry) {
            None => Ok(()),
            Some(_) => Err(format!("{id} has a line above already: put its rights into one")),
        });
        faults.extend(parsed.err().map(|message| LineFault { line: index + 1, message }));
    }
    if faults.is_empty() { Ok(table) } else { Err(faults) }
}

fn parse_line(line: &str) -> Result<(PeerId, Entry), String> {
    let (id, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let id = id.parse::<PeerId>().map_err(|error| error.to_string())?;
    let rest = rest.trim_start();
    let (words, comment) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    if words.is_empty() {
        return Err(
            "the rights are missing: write `read`, `read,write` or `read,write,operate` behind the id".to_owned()
        );
    }
    let mut rights = Rights::NONE;
    for word in words.split(',') {
        match RIGHTS.iter().find(|(known, _, _)| *known == word) {
            Some((_, _, give)) => give(&mut rights),
            None => {
                return Err(format!("`{word}` is not a right: write read, write, operate, with commas and no spaces"));
            }
        }
    }
    // It is shown by the API and in logs.
    let comment = comment.trim().chars().filter(|letter| !letter.is_control()).take(COMMENT_CHARS_MAX).collect();
    Ok((id, Entry { rights, comment }))
}

/// A line of a table.
const COMMENT_CHARS_MAX: usize = 200;
/// A person who edits the file looks for the effect after about that time.
const RELOAD_INTERVAL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn id(byte: u8) -> PeerId {
        PeerId::from_bytes([byte; 32])
    }

    #[test]
    fn lines_give_rights() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("authorized_peers");
        let text = format!("# ours\n\n{} read,write  the  lab\n  {} operate\n", id(1), id(2));
        fs::write(&path, text).unwrap();
        let closed = AuthorizedPeers::load(path.clone(), id(9), false).unwrap();
        assert_eq!(closed.rights(&id(1)), Rights { read: true, write: true, operate: false });
        assert_eq!(closed.comment(&id(1)), "the  lab");
        assert_eq!(closed.rights(&id(2)), Rights { read: false, write: false, operate: true });
        assert_eq!(closed.rights(&id(3)), Rights::NONE);
        assert_eq!(closed.rights(&id(9)), Rights::ALL);
        let open = AuthorizedPeers::load(path, id(9), true).unwrap();
        assert_eq!(open.rights(&id(2)), Rights { read: true, write: false, operate: true });
        assert_eq!(open.rights(&id(3)), Rights::READ);
    }

    #[test]
    fn every_bad_line_is_named() {
        let text =
            format!("nonsense read\n{a}\n{a} wriet x\n{a} read\n{a} write\n{b} read, write\n", a = id(1), b = id(2));
        let faults = parse(&text).unwrap_err();
        let lines: Vec<usize> = faults.iter().map(|fault| fault.line).collect();
        assert_eq!(lines, [1, 2, 3, 5, 6], "{faults:#?}");
        assert!(faults[2].message.contains("`wriet` is not a right"), "{faults:#?}");
    }

    #[test]
    fn changes_are_seen_and_bad_ones_are_not_taken() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("authorized_peers");
        let table = AuthorizedPeers::load(path.clone(), id(9), false).unwrap();
        assert!(!table.reload().unwrap(), "no file yet");
        fs::write(&path, format!("{} read\n", id(1))).unwrap();
        assert!(table.reload().unwrap());
        assert!(table.rights(&id(1)).read);
        assert!(!table.reload().unwrap());
        fs::write(&path, "nonsense, and longer\n").unwrap();
        assert!(table.reload().is_err());
        assert!(!table.reload().unwrap(), "said once");
        assert!(table.rights(&id(1)).read, "the old table stays");
        fs::remove_file(&path).unwrap();
        assert!(table.reload().unwrap());
        assert!(!table.rights(&id(1)).any());
    }

    #[test]
    fn the_printed_line_is_read_back() {
        let line = authorization_line(&id(1), Rights::ALL, "me@here");
        assert_eq!(line, format!("{} read,write,operate me@here", id(1)));
        let (parsed, entry) = parse_line(&line).unwrap();
        assert_eq!((parsed, entry.rights, entry.comment.as_str()), (id(1), Rights::ALL, "me@here"));
    }
}
