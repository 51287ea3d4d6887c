//! The directory where keys, known peers, authorized peers and resume data live.

use std::{
    env,
    ffi::OsString,
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

/// An existing state directory.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StateDir {
    path: PathBuf,
}

/// There is no state directory.
#[derive(Debug, thiserror::Error)]
pub enum StateDirError {
    /// Neither variable is set.
    #[error("no place for keys: neither XDG_STATE_HOME nor HOME is set; name a directory with --state DIR")]
    NoHome,
    /// It could not be made.
    #[error("the state directory {path} can't be used: {error}; name another one with --state DIR", path = .path.display())]
    Unusable {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

impl StateDir {
    /// The directory `explicit`, or else the user's default; made with mode 0700 if it is not there.
    pub fn open(explicit: Option<&Path>) -> Result<Self, StateDirError> {
        let path = match explicit {
            Some(path) => path.to_owned(),
            None => default_path(env::var_os("XDG_STATE_HOME"), env::var_os("HOME")).ok_or(StateDirError::NoHome)?,
        };
        // Only what we make ourselves gets the mode: `--state` may name a directory that others use too. The key's own mode
        // is checked wherever it lies.
        let made = fs::metadata(&path).and_then(|meta| match meta.is_dir() {
            true => Ok(()),
            false => Err(io::Error::from(io::ErrorKind::NotADirectory)),
        });
        let made = made.or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => DirBuilder::new().recursive(true).mode(0o700).create(&path),
            _ => Err(error),
        });
        match made {
            Ok(()) => Ok(Self { path }),
            Err(error) => Err(StateDirError::Unusable { path, error }),
        }
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file in it; an absolute `name` stays what it is.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }
}

/// `$XDG_STATE_HOME/evenkeel`, or `~/.local/state/evenkeel` (XDG base directory specification: a relative value is invalid
/// and ignored).
fn default_path(xdg_state_home: Option<OsString>, home: Option<OsString>) -> Option<PathBuf> {
    let absolute = |value: Option<OsString>| value.map(PathBuf::from).filter(|path| path.is_absolute());
    let state_home = absolute(xdg_state_home).or_else(|| Some(absolute(home)?.join(".local/state")))?;
    Some(state_home.join("evenkeel"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn follows_the_xdg_specification() {
        for (xdg, home, expected) in [
            (Some("/x"), Some("/h"), Some("/x/evenkeel")),
            (Some("relative"), Some("/h"), Some("/h/.local/state/evenkeel")),
            (Some(""), Some("/h"), Some("/h/.local/state/evenkeel")),
            (None, Some("/h"), Some("/h/.local/state/evenkeel")),
            (None, None, None),
        ] {
            let found = default_path(xdg.map(Into::into), home.map(Into::into));
            assert_eq!(found.as_deref(), expected.map(Path::new), "{xdg:?} {home:?}");
        }
    }

    #[test]
    fn is_made_for_its_owner_alone() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a/b");
        let state = StateDir::open(Some(&path)).unwrap();
        assert_eq!(fs::metadata(state.path()).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(StateDir::open(Some(&path)).unwrap(), state);
    }

    #[test]
    fn a_file_in_its_place_is_named() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("file");
        fs::write(&path, "").unwrap();
        let message = StateDir::open(Some(&path)).unwrap_err().to_string();
        assert!(message.contains(path.to_str().unwrap()) && message.contains("--state"), "{message}");
    }
}
