//! Names as peers say them: `SHARE/PATH`, UTF-8, `/`-separated. Parsed once; what is behind a [`SharePath`] cannot leave
//! its share by name (DESIGN 14). Links are the kernel's part: see [`host::open_beneath`].

use std::{fmt, path::Path};

use actors::port::FileError;
use wire::FailureCode;

/// A path within a share that has passed every rule about names.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SharePath {
    /// The share's name and, behind the first `/`, the rest.
    whole: String,
    /// Where the share's name ends.
    share_bytes: usize,
}

impl SharePath {
    /// Parses what a peer sent.
    ///
    /// # Errors
    /// `BadPath`, with words that say which rule was broken.
    pub fn parse(text: &str) -> Result<Self, FileError> {
        if let Some(fault) = fault_in_path(text) {
            return Err(FileError::new(
                FailureCode::BadPath,
                format!("{}: {fault}; a path is SHARE/DIRECTORY/NAME", Quoted(text)),
            ));
        }
        let share_bytes = text.find('/').unwrap_or(text.len());
        Ok(Self { whole: text.to_owned(), share_bytes })
    }

    /// The share's name.
    pub fn share(&self) -> &str {
        &self.whole[..self.share_bytes]
    }

    /// What is behind the share's name; empty for the share itself.
    pub fn rest(&self) -> &str {
        self.whole.get(self.share_bytes + 1..).unwrap_or("")
    }

    /// The whole, as the peer said it.
    pub fn as_str(&self) -> &str {
        &self.whole
    }
}

impl fmt::Display for SharePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Quoted(&self.whole).fmt(f)
    }
}

/// A path below some directory: one or more plain names.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct BelowPath(String);

impl BelowPath {
    /// Parses a relative path, which a client may have from a peer's listing.
    ///
    /// # Errors
    /// `BadPath`, with words.
    pub(super) fn parse(text: &str) -> Result<Self, FileError> {
        match fault_in_path(text) {
            Some(fault) => Err(FileError::new(FailureCode::BadPath, format!("{}: {fault}", Quoted(text)))),
            None => Ok(Self(text.to_owned())),
        }
    }

    /// The directory (empty when there is none) and the last name.
    pub(super) fn split(&self) -> (&str, &str) {
        self.0.rsplit_once('/').unwrap_or(("", &self.0))
    }

    /// As it was said.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// As a path for the operating system.
    pub(super) fn as_path(&self) -> &Path {
        Path::new(&self.0)
    }
}

/// A peer's text inside a message for a person: quoted, without control characters, shortened.
pub(super) struct Quoted<'a>(pub(super) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`")?;
        for character in self.0.chars().take(QUOTED_CHARS_MAX) {
            // A name may hold what would move a terminal's cursor.
            if character.is_control() {
                write!(f, "{}", character.escape_default())?;
            } else {
                write!(f, "{character}")?;
            }
        }
        if self.0.chars().nth(QUOTED_CHARS_MAX).is_some() {
            f.write_str("…")?;
        }
        f.write_str("`")
    }
}

/// Whether a name is kept for parts: never listed, served, or written by its own name. Letter case does not matter,
/// since some file systems ignore it.
pub(super) fn is_reserved(name: &[u8]) -> bool {
    name.len() >= PART_SUFFIX.len()
        && name[name.len() - PART_SUFFIX.len()..].eq_ignore_ascii_case(PART_SUFFIX.as_bytes())
}

/// Whether a listing may show `name`, and a peer ask for it.
pub(super) fn is_plain_name(name: &str) -> bool {
    fault_in_name(name).is_none()
}

fn fault_in_path(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        return Some("the path is empty");
    }
    if text.len() > PATH_BYTES_MAX {
        return Some("the path is longer than 4096 bytes");
    }
    if text.starts_with('/') {
        return Some("the path is absolute");
    }
    if text.ends_with('/') {
        return Some("the path ends in `/`");
    }
    if text.split('/').nth(PATH_NAMES_MAX).is_some() {
        return Some("the path has more than 256 names");
    }
    text.split('/').find_map(fault_in_name)
}

fn fault_in_name(name: &str) -> Option<&'static str> {
    match name {
        "" => Some("the path has an empty name in it"),
        "." | ".." => Some("`.` and `..` are not names here"),
        _ if name.contains('\0') => Some("the path has a NUL in it"),
        _ if name.contains('/') => Some("a name has no `/` in it"),
        _ if name.len() > NAME_BYTES_MAX => Some("a name is longer than 255 bytes"),
        _ if is_reserved(name.as_bytes()) => Some("names that end in `.part` are kept for unfinished files"),
        _ => None,
    }
}

/// What an unfinished file's name ends in (DESIGN 3.7).
pub(super) const PART_SUFFIX: &str = ".part";

/// Bytes of a path, Linux's own `PATH_MAX`.
pub(super) const PATH_BYTES_MAX: usize = 4096;

/// Names in a path, its share among them. Each may be a directory to be made and synced, and one open descriptor of a
/// recursive listing.
pub(super) const PATH_NAMES_MAX: usize = 256;

/// Bytes of a name, Linux's own `NAME_MAX`.
pub(super) const NAME_BYTES_MAX: usize = 255;

/// Characters of a path that a message repeats.
const QUOTED_CHARS_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn table_of_paths() {
        let long_name = "n".repeat(256);
        let long_path = vec!["d".repeat(200); 21].join("/");
        let deep_path = vec!["d"; PATH_NAMES_MAX + 1].join("/");
        assert!(SharePath::parse(&deep_path[2..]).is_ok());
        let bad = [
            "",
            "/",
            "/etc/passwd",
            "data/",
            "data//x",
            "..",
            "../x",
            "data/..",
            "data/../x",
            "data/./x",
            ".",
            "./data",
            "data/x\0y",
            "data/x.part",
            "data/x.PART",
            "data/a.part/x",
            ".part",
            "x.part",
            long_name.as_str(),
            long_path.as_str(),
            deep_path.as_str(),
            "data/x/",
            "data/x//",
        ];
        for text in bad {
            let error = SharePath::parse(text).expect_err(text);
            assert_eq!(error.code, FailureCode::BadPath, "{text:?}");
        }
        let good = [
            ("data", "data", ""),
            ("data/x", "data", "x"),
            ("data/a/b c/ü", "data", "a/b c/ü"),
            ("data/back\\slash", "data", "back\\slash"),
            ("data/...", "data", "..."),
            ("data/..x", "data", "..x"),
            ("data/x.part1", "data", "x.part1"),
            ("data/part", "data", "part"),
        ];
        for (text, share, rest) in good {
            let path = SharePath::parse(text).expect(text);
            assert_eq!((path.share(), path.rest()), (share, rest));
        }
    }

    #[test]
    fn messages_repeat_no_control_characters_and_not_much() {
        let error = SharePath::parse("data/\u{1b}[2J/..").unwrap_err();
        assert!(!error.message.contains('\u{1b}'), "{error}");
        let error = SharePath::parse(&"x/".repeat(5000)).unwrap_err();
        assert!(error.message.len() < 400, "{error}");
    }

    proptest! {
        #[test]
        fn what_parses_is_made_of_plain_names(text in "[a./\\\\\0 part-]{0,12}") {
            if let Ok(path) = SharePath::parse(&text) {
                prop_assert!(path.as_str().split('/').all(is_plain_name));
                let os = Path::new(path.rest());
                let plain = os.components().all(|part| matches!(part, std::path::Component::Normal(_)));
                prop_assert!(plain);
                prop_assert_eq!(os.components().count(), path.rest().split('/').filter(|n| !n.is_empty()).count());
            }
        }
    }
}
