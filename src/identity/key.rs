//! One's own key: made at the first start, never shown, never sent.

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use rcgen::{KeyPair, PKCS_ED25519, PublicKeyData as _};
use wire::PeerId;

use super::{StateDir, read_text};

/// The Ed25519 key of this state directory and the id that follows from it.
#[derive(Clone)]
pub struct Identity {
    id: PeerId,
    key_pkcs8: Vec<u8>,
}

/// There is no usable key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Neither read nor made.
    #[error("the key {path} can't be used: {error}", path = .path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Others on this machine could take the identity.
    #[error("the key {path} can be read by others (mode {mode:03o}): `chmod 600 {path}`, or delete it to get a new id",
        path = .path.display())]
    Exposed {
        /// Which file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// No Ed25519 key in PKCS#8.
    #[error("the key {path} is damaged ({reason}): restore it, or delete it to get a new id", path = .path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

impl Identity {
    /// The key in `state`; made if there is none. When two processes do that at once, both end with the same key.
    pub fn load_or_create(state: &StateDir) -> Result<Self, KeyError> {
        let path = state.join(KEY_FILE);
        let failed = |error| KeyError::Io { path: path.clone(), error };
        match load(&path)? {
            Some(identity) => Ok(identity),
            None => {
                create(state.path(), &path).map_err(failed)?;
                // Whoever made it: what lies there now is the key.
                load(&path)?.ok_or_else(|| failed(io::ErrorKind::NotFound.into()))
            }
        }
    }

    /// A key that is kept nowhere, for a demo or a test.
    pub fn ephemeral() -> Result<Self, rcgen::Error> {
        Ok(Self::from_pair(&KeyPair::generate_for(&PKCS_ED25519)?))
    }

    /// The hash of the public key.
    pub fn id(&self) -> PeerId {
        self.id
    }

    /// The private key, PKCS#8 in DER.
    pub fn key_pkcs8(&self) -> &[u8] {
        &self.key_pkcs8
    }

    fn from_pair(pair: &KeyPair) -> Self {
        Self { id: PeerId::from_spki_der(&pair.subject_public_key_info()), key_pkcs8: pair.serialize_der() }
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("id", &self.id).finish_non_exhaustive()
    }
}

/// `None` when there is no file.
fn load(path: &Path) -> Result<Option<Identity>, KeyError> {
    let failed = |error| KeyError::Io { path: path.to_owned(), error };
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyError::Exposed { path: path.to_owned(), mode });
    }
    let pem = read_text(&mut file).map_err(failed)?;
    let pair = KeyPair::from_pkcs8_pem_and_sign_algo(&pem, &PKCS_ED25519)
        .map_err(|error| KeyError::Damaged { path: path.to_owned(), reason: error.to_string() })?;
    Ok(Some(Identity::from_pair(&pair)))
}

/// Puts a new key at `path` unless one is there. It appears whole or not at all: it is written under another name, then
/// linked, which fails when somebody was faster.
fn create(dir: &Path, path: &Path) -> io::Result<()> {
    let pair = KeyPair::generate_for(&PKCS_ED25519).map_err(io::Error::other)?;
    let mut random = [0u8; 8];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let draft = dir.join(format!(".{KEY_FILE}.{:016x}", u64::from_ne_bytes(random)));
    let linked = write_draft(&draft, pair.serialize_pem().as_bytes()).and_then(|()| fs::hard_link(&draft, path));
    let removed = fs::remove_file(&draft);
    match linked {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return removed,
        other => other.and(removed)?,
    }
    File::open(dir)?.sync_all()
}

fn write_draft(draft: &Path, pem: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(draft)?;
    file.write_all(pem)?;
    file.sync_all()
}

const KEY_FILE: &str = "key.pem";

#[cfg(test)]
mod tests {
    use std::{
        sync::{Arc, Barrier},
        thread,
    };

    use super::*;

    #[test]
    fn the_key_stays() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(Some(dir.path())).unwrap();
        let first = Identity::load_or_create(&state).unwrap();
        let again = Identity::load_or_create(&state).unwrap();
        assert_eq!(first.id(), again.id());
        assert_eq!(first.key_pkcs8(), again.key_pkcs8());
        let mode = fs::metadata(state.join(KEY_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no draft is left");
        assert!(!format!("{first:?}").contains("key"));
    }

    #[test]
    fn starts_at_the_same_moment_agree() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(Some(dir.path())).unwrap();
        let barrier = Arc::new(Barrier::new(8));
        let starts: Vec<_> = (0..8)
            .map(|_| {
                let (state, barrier) = (state.clone(), Arc::clone(&barrier));
                thread::spawn(move || {
                    barrier.wait();
                    Identity::load_or_create(&state).unwrap().id()
                })
            })
            .collect();
        let ids: Vec<PeerId> = starts.into_iter().map(|start| start.join().unwrap()).collect();
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no draft is left");
    }

    #[test]
    fn a_bad_key_is_never_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(Some(dir.path())).unwrap();
        let path = state.join(KEY_FILE);
        write_draft(&path, b"nonsense").unwrap();
        assert!(matches!(Identity::load_or_create(&state), Err(KeyError::Damaged { .. })));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let error = Identity::load_or_create(&state).unwrap_err();
        assert!(error.to_string().contains("chmod 600"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"nonsense");
    }
}
