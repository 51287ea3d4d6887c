//! Terms that the operator has signed for one path: `?ek=until-1763716119_weight-3_cap-5000000_class-background_SIGNATURE`.
//!
//! The signature is BLAKE3, keyed, over the text of the terms and the path that they are for, so whoever has the address can
//! use it until its time is over, and can change nothing of it. All its letters are unreserved ones of URLs: no program on the
//! way writes them differently.

use std::{
    fmt,
    fs::File,
    io::{self, Read as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use actors::port::GuestTerms;
use flow::{Class, Rate};

use super::target::Target;

/// The query's name.
pub(super) const QUERY: &str = "ek";
/// What separates this use of a key from any other (BLAKE3's derivation of keys).
const CONTEXT: &str = "Evenkeel 2026-11 signed terms of an HTTP request v1";
/// A secret that could be guessed signs for everybody.
const SECRET_BYTES_MIN: usize = 32;
/// A secret of more is a wrong file.
const SECRET_BYTES_MAX: u64 = 4096;
/// As everywhere: beyond, the lesser side would starve.
const WEIGHTS: std::ops::RangeInclusive<f64> = 0.001..=1000.0;

/// What signs and verifies.
#[derive(Clone)]
pub struct SigningKey([u8; 32]);

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(..)")
    }
}

/// Why a file is no signing key; for the operator.
#[derive(Debug, thiserror::Error)]
pub enum SigningKeyError {
    /// It is not there, or not readable.
    #[error("{}: can't be read: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Everybody on this machine could sign.
    #[error("{}: everybody on this machine can read it (mode {mode:o}): chmod o-rwx", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// Too short or too long.
    #[error(
        "{}: a signing key has at least {SECRET_BYTES_MIN} bytes, and at most {SECRET_BYTES_MAX}: make one with \
         `(umask 077; head -c 32 /dev/urandom | base64 > FILE)`",
        path.display()
    )]
    Size {
        /// The file.
        path: PathBuf,
    },
}

/// Why terms are not taken; in words for whoever has the address.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(super) enum TermsFault {
    /// There is no key.
    NotTaken,
    /// Not signed, signed by somebody else, for another path, or changed.
    NotSigned,
    /// Their time is over.
    Expired,
}

impl TermsFault {
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::NotTaken => "this server takes no signed terms (ek)",
            Self::NotSigned => "the terms in this address (ek) were not signed by this server's operator for this path",
            Self::Expired => "the terms in this address (ek) have expired; ask for a new one",
        }
    }
}

impl SigningKey {
    /// Reads a secret; white space around it does not count.
    ///
    /// # Errors
    /// In words for the operator: which file, and what to do.
    pub fn from_file(path: &Path) -> Result<Self, SigningKeyError> {
        let unreadable = |error| SigningKeyError::Unreadable { path: path.to_owned(), error };
        let file = File::open(path).map_err(unreadable)?;
        let mode = file.metadata().map_err(unreadable)?.permissions().mode() & 0o777;
        if mode & 0o007 != 0 {
            return Err(SigningKeyError::Exposed { path: path.to_owned(), mode });
        }
        let mut secret = Vec::new();
        file.take(SECRET_BYTES_MAX + 1).read_to_end(&mut secret).map_err(unreadable)?;
        let size = SigningKeyError::Size { path: path.to_owned() };
        if secret.len() as u64 > SECRET_BYTES_MAX { Err(size) } else { Self::from_secret(&secret).ok_or(size) }
    }

    fn from_secret(secret: &[u8]) -> Option<Self> {
        let secret = secret.trim_ascii();
        (secret.len() >= SECRET_BYTES_MIN).then(|| Self(blake3::derive_key(CONTEXT, secret)))
    }

    /// `address` with `terms` that hold until `until`, signed. `None` where the address is none of a share's content, or has a
    /// query of that name already.
    pub fn sign(&self, address: &str, terms: &GuestTerms, until: SystemTime) -> Option<String> {
        let target = Target::parse(address).ok().filter(|target| target.terms.is_none() && !target.path.is_empty())?;
        let text = written(terms, until);
        let signed =
            Target { terms: Some(format!("{text}_{}", self.signature(&text, &target.path).to_hex())), ..target };
        let origin = match address.split_once("://") {
            Some((scheme, rest)) => format!("{scheme}://{}", rest.split('/').next().unwrap_or_default()),
            None => String::new(),
        };
        Some(format!("{origin}{}", signed.written()))
    }

    /// The terms in `text`, if they were signed for `path` and it is not `now` too late.
    pub(super) fn verify(&self, text: &str, path: &str, now: SystemTime) -> Result<GuestTerms, TermsFault> {
        let (text, signature) = text.rsplit_once('_').ok_or(TermsFault::NotSigned)?;
        let signature = blake3::Hash::from_hex(signature).map_err(|_| TermsFault::NotSigned)?;
        // Equality of these hashes takes the same time wherever they differ.
        if signature != self.signature(text, path) {
            return Err(TermsFault::NotSigned);
        }
        let (terms, until) = read(text).ok_or(TermsFault::NotSigned)?;
        if now > until { Err(TermsFault::Expired) } else { Ok(terms) }
    }

    /// The text has no line end, so the two can't be cut differently.
    fn signature(&self, text: &str, path: &str) -> blake3::Hash {
        blake3::Hasher::new_keyed(&self.0).update(text.as_bytes()).update(b"\n").update(path.as_bytes()).finalize()
    }
}

fn written(terms: &GuestTerms, until: SystemTime) -> String {
    let until = until.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut text = format!("until-{until}");
    if terms.weight != GuestTerms::default().weight {
        text.push_str(&format!("_weight-{}", terms.weight));
    }
    if let Some(cap) = terms.cap.limit() {
        text.push_str(&format!("_cap-{cap}"));
    }
    if let Some(class) = terms.class {
        text.push_str(&format!("_class-{class}"));
    }
    text
}

/// Terms and until when they hold; each field once at most, and nothing else.
fn read(text: &str) -> Option<(GuestTerms, SystemTime)> {
    let (mut until, mut weight, mut cap, mut class) = (None, None, None, None);
    for field in text.split('_') {
        let (name, value) = field.split_once('-')?;
        let is_second = match name {
            "until" => until.replace(value.parse::<u64>().ok()?).is_some(),
            "weight" => weight.replace(value.parse::<f64>().ok().filter(|weight| WEIGHTS.contains(weight))?).is_some(),
            "cap" => cap.replace(Rate::from_bytes_per_second(value.parse().ok().filter(|cap| *cap > 0)?)).is_some(),
            "class" => class.replace(value.parse::<Class>().ok()?).is_some(),
            _ => return None,
        };
        if is_second {
            return None;
        }
    }
    let default = GuestTerms::default();
    let terms = GuestTerms { weight: weight.unwrap_or(default.weight), cap: cap.unwrap_or(default.cap), class };
    Some((terms, UNIX_EPOCH.checked_add(Duration::from_secs(until?))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: SystemTime = UNIX_EPOCH;

    fn key() -> SigningKey {
        SigningKey::from_secret(b"0123456789abcdef0123456789abcdef\n").unwrap()
    }

    fn terms() -> GuestTerms {
        GuestTerms { weight: 2.5, cap: Rate::from_bytes_per_second(5_000_000), class: Some(Class::Background) }
    }

    fn verified(key: &SigningKey, address: &str, at: u64) -> Result<GuestTerms, TermsFault> {
        let target = Target::parse(address).unwrap();
        key.verify(&target.terms.unwrap(), &target.path, NOW + Duration::from_secs(at))
    }

    #[test]
    fn what_was_signed_holds_for_its_path_and_its_time() {
        let until = NOW + Duration::from_secs(100);
        for address in [
            "/share/a b/ü.iso",
            "http://host:7480/share/a%20b/%C3%BC.iso",
            "https://h/share/dir/?format=json",
            "/share/x?other=1",
        ] {
            let signed = key().sign(address, &terms(), until).unwrap();
            for at in [0, 50, 100] {
                assert_eq!(verified(&key(), &signed, at), Ok(terms()), "{signed}");
            }
            assert_eq!(verified(&key(), &signed, 101), Err(TermsFault::Expired));
            assert_eq!(verified(&key(), &signed.replace("weight-2.5", "weight-9"), 0), Err(TermsFault::NotSigned));
            assert_eq!(verified(&key(), &signed.replace("share/", "share/x"), 0), Err(TermsFault::NotSigned));
        }
        let signed = key().sign("http://h:1/share/a b", &terms(), until).unwrap();
        let query = "?ek=until-100_weight-2.5_cap-5000000_class-background_";
        assert!(signed.starts_with(&format!("http://h:1/share/a%20b{query}")), "{signed}");
        let plain = key().sign("/share/a", &GuestTerms::default(), until).unwrap();
        assert!(
            plain.starts_with("/share/a?ek=until-100_") && verified(&key(), &plain, 0) == Ok(GuestTerms::default())
        );
        for address in ["", "share/a", "/", "http://h/", "/a/../b", &signed] {
            assert_eq!(key().sign(address, &terms(), until), None, "{address}");
        }
    }

    #[test]
    fn every_changed_letter_and_every_other_key_is_noticed() {
        let signed = key().sign("/share/a", &terms(), NOW + Duration::from_secs(100)).unwrap();
        let (_, text) = signed.split_once("ek=").unwrap();
        for (at, letter) in text.char_indices() {
            let other = if letter == '1' { "2" } else { "1" };
            let changed = format!("{}{other}{}", &text[..at], &text[at + 1..]);
            assert_eq!(key().verify(&changed, "share/a", NOW), Err(TermsFault::NotSigned), "{changed}");
        }
        for text in ["", "_", "weight-3", "until-100_weight-3", &text[..text.len() - 1], &format!("{text}0")] {
            assert_eq!(key().verify(text, "share/a", NOW), Err(TermsFault::NotSigned), "{text}");
        }
        let other = SigningKey::from_secret(b"0123456789abcdef0123456789abcdeX").unwrap();
        assert_eq!(other.verify(text, "share/a", NOW), Err(TermsFault::NotSigned));
        assert!(SigningKey::from_secret(b" 0123456789abcdef \n").is_none());
    }

    #[test]
    fn terms_that_make_no_sense_are_none_even_if_signed() {
        for text in
            ["", "weight-2", "until-x", "until-1_until-2", "until-1_weight-0", "until-1_weight-NaN", "until-1_cap-0"]
        {
            assert_eq!(read(text), None, "{text}");
        }
        for text in ["until-1_class-urgent", "until-1_colour-red", "until-1_", "until-18446744073709551615"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
