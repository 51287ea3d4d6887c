//! Servers met before, as ssh does it: the first id seen at an endpoint is pinned and said, a different one is refused.

use std::{
    fmt,
    fs::{File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::PathBuf,
};

use rustix::fs::{FlockOperation, flock};
use wire::PeerId;

use super::{StateDir, read_text};

/// The ids that belong to endpoints.
pub struct KnownPeers {
    path: PathBuf,
    expected: Option<PeerId>,
    notice: Box<dyn Fn(&str) + Send + Sync>,
}

/// A server is not trusted.
#[derive(Debug, thiserror::Error)]
pub enum KnownPeersError {
    /// The id is not the pinned one: a person must decide.
    #[error(
        "{endpoint} does not have the id it had before.\n  known:   {known}\n  answers: {found}\nEither it was set up anew, or \
         somebody else answers in its place. Ask its operator what `evenkeel id` prints there. If that is the new id, delete \
         line {line} of {path} and try again.",
        path = .path.display()
    )]
    Changed {
        /// Who.
        endpoint: String,
        /// Pinned.
        known: PeerId,
        /// Seen.
        found: PeerId,
        /// Where the pin is.
        path: PathBuf,
        /// On which line.
        line: usize,
    },
    /// The id is not the one that the user gave.
    #[error("{endpoint} is not the wanted peer.\n  wanted:  {wanted}\n  answers: {found}")]
    Unexpected {
        /// Who.
        endpoint: String,
        /// Given by the user.
        wanted: PeerId,
        /// Seen.
        found: PeerId,
    },
    /// A line that can't be read: it may be the very pin that matters.
    #[error("{path}:{line}: {reason}; correct or delete that line", path = .path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// On which line.
        line: usize,
        /// Why.
        reason: String,
    },
    /// The file could not be read or written.
    #[error("{path} can't be used, so nobody can be recognised: {error}", path = .path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

impl KnownPeers {
    /// The pins in `state`. `notice` is told, once for each endpoint, that a new one was set.
    pub fn new(state: &StateDir, notice: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self { path: state.join(KNOWN_PEERS_FILE), expected: None, notice: Box::new(notice) }
    }

    /// Accepts `id` alone, whatever is pinned: the user has learnt it elsewhere.
    #[must_use]
    pub fn expecting(mut self, id: PeerId) -> Self {
        self.expected = Some(id);
        self
    }

    /// Whether `found` may answer at `endpoint` (`HOST:PORT`); pins it when the endpoint is new. Reads and writes a file: a
    /// millisecond, once per control link.
    pub fn check(&self, endpoint: &str, found: &PeerId) -> Result<(), KnownPeersError> {
        let endpoint = endpoint.to_ascii_lowercase();
        if let Some(wanted) = self.expected {
            return match wanted == *found {
                true => Ok(()),
                false => Err(KnownPeersError::Unexpected { endpoint, wanted, found: *found }),
            };
        }
        let failed = |error| KnownPeersError::Io { path: self.path.clone(), error };
        // Locked from before the look-up until after the append, so that two first contacts can't pin two ids.
        let mut file = self.open_locked().map_err(failed)?;
        let text = read_text(&mut file).map_err(failed)?;
        if let Some((line, known)) = self.find(&text, &endpoint)? {
            return match known == *found {
                true => Ok(()),
                false => {
                    Err(KnownPeersError::Changed { endpoint, known, found: *found, path: self.path.clone(), line })
                }
            };
        }
        // An editor may have left the last line open.
        let separator = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        file.write_all(format!("{separator}{endpoint} {found}\n").as_bytes())
            .and_then(|()| file.sync_all())
            .map_err(failed)?;
        (self.notice)(&format!("{endpoint} is new: from now on it must have the id {found}"));
        Ok(())
    }

    fn open_locked(&self) -> io::Result<File> {
        let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(&self.path)?;
        flock(&file, FlockOperation::LockExclusive)?;
        Ok(file)
    }

    fn find(&self, text: &str, endpoint: &str) -> Result<Option<(usize, PeerId)>, KnownPeersError> {
        for (index, line) in text.lines().enumerate() {
            let line = line.split_once('#').map_or(line, |(content, _)| content);
            let mut words = line.split_whitespace();
            let Some(known_endpoint) = words.next() else { continue };
            let id = words.next().unwrap_or_default().parse::<PeerId>();
            let damaged =
                |reason: String| KnownPeersError::Damaged { path: self.path.clone(), line: index + 1, reason };
            match id {
                Err(error) => return Err(damaged(error.to_string())),
                Ok(_) if words.next().is_some() => {
                    return Err(damaged("it has more than an endpoint and an id".into()));
                }
                Ok(id) if known_endpoint.eq_ignore_ascii_case(endpoint) => return Ok(Some((index + 1, id))),
                Ok(_) => {}
            }
        }
        Ok(None)
    }
}

impl fmt::Debug for KnownPeers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KnownPeers").field("path", &self.path).field("expected", &self.expected).finish_non_exhaustive()
    }
}

const KNOWN_PEERS_FILE: &str = "known_peers";

#[cfg(test)]
mod tests {
    use std::{
        fs,
        sync::{Arc, Mutex},
        thread,
    };

    use tempfile::TempDir;

    use super::*;

    fn id(byte: u8) -> PeerId {
        PeerId::from_bytes([byte; 32])
    }

    fn known() -> (TempDir, KnownPeers, Arc<Mutex<Vec<String>>>) {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(Some(dir.path())).unwrap();
        let said = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&said);
        (dir, KnownPeers::new(&state, move |text| sink.lock().unwrap().push(text.to_owned())), said)
    }

    #[test]
    fn pins_once_and_refuses_another() {
        let (dir, known, said) = known();
        known.check("Host:7400", &id(1)).unwrap();
        known.check("host:7400", &id(1)).unwrap();
        known.check("[::1]:7400", &id(2)).unwrap();
        assert_eq!(said.lock().unwrap().len(), 2, "said once for each endpoint");
        let message = known.check("host:7400", &id(2)).unwrap_err().to_string();
        for word in [id(1).to_string(), id(2).to_string(), "delete line 1 of".into()] {
            assert!(message.contains(&word), "{message}");
        }
        let text = fs::read_to_string(dir.path().join(KNOWN_PEERS_FILE)).unwrap();
        assert_eq!(text, format!("host:7400 {}\n[::1]:7400 {}\n", id(1), id(2)));
    }

    #[test]
    fn a_given_id_decides_alone() {
        let (dir, known, _) = known();
        let known = known.expecting(id(3));
        known.check("host:7400", &id(3)).unwrap();
        assert!(matches!(known.check("host:7400", &id(1)), Err(KnownPeersError::Unexpected { .. })));
        assert!(!dir.path().join(KNOWN_PEERS_FILE).exists());
    }

    #[test]
    fn edited_files_are_read() {
        let (dir, known, _) = known();
        let path = dir.path().join(KNOWN_PEERS_FILE);
        fs::write(&path, format!("# mine\n\n  host:1   {}  # the lab", id(1))).unwrap();
        known.check("host:1", &id(1)).unwrap();
        known.check("host:2", &id(2)).unwrap();
        known.check("host:2", &id(2)).unwrap();
        for line in ["host:3", "host:3 nonsense", &format!("host:3 {} more", id(1))] {
            fs::write(&path, format!("# mine\n{line}\n")).unwrap();
            let message = known.check("host:4", &id(1)).unwrap_err().to_string();
            assert!(message.contains("known_peers:2:"), "{message}");
        }
    }

    #[test]
    fn first_contacts_at_once_pin_one_id() {
        let (dir, known, said) = known();
        let known = Arc::new(known);
        let contacts: Vec<_> = (0..8)
            .map(|byte| {
                let known = Arc::clone(&known);
                thread::spawn(move || known.check("host:7400", &id(byte)).is_ok())
            })
            .collect();
        let trusted = contacts.into_iter().map(|contact| contact.join().unwrap());
        assert_eq!(trusted.filter(|ok| *ok).count(), 1);
        assert_eq!(said.lock().unwrap().len(), 1);
        let text = fs::read_to_string(dir.path().join(KNOWN_PEERS_FILE)).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
    }
}
