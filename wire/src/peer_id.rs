//! Who a peer is: the hash of its public key (DESIGN 3).

use std::{fmt, str::FromStr};

use data_encoding::BASE32_NOPAD;

/// The BLAKE3-256 hash of a public key's `SubjectPublicKeyInfo` (DER), so an id says nothing about where a peer is and
/// cannot be claimed without the key.
///
/// Written as 52 lowercase letters of base32 (RFC 4648, no padding): it survives file names, DNS labels and a phone call.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct PeerId([u8; 32]);

/// The text is no peer id.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{0}` is not a peer id: expected {TEXT_LETTERS} letters of a-z and 2-7")]
pub struct PeerIdError(String);

impl PeerId {
    /// The id of the key whose DER-encoded `SubjectPublicKeyInfo` this is.
    pub fn from_spki_der(spki: &[u8]) -> Self {
        Self(*blake3::hash(spki).as_bytes())
    }

    /// The id with these bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first 8 letters, for logs and tables. Not unique enough to decide anything by.
    pub fn short(&self) -> String {
        let mut text = self.to_string();
        text.truncate(8);
        text
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = BASE32_NOPAD.encode(&self.0);
        text.make_ascii_lowercase();
        f.pad(&text)
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerId({})", self.short())
    }
}

impl FromStr for PeerId {
    type Err = PeerIdError;

    /// Takes either case, since people retype ids; anything else, also a last letter with stray bits, is an error, so that
    /// an id has one meaning.
    fn from_str(text: &str) -> Result<Self, PeerIdError> {
        let refuse = || PeerIdError(text.chars().take(64).collect());
        let bytes = BASE32_NOPAD.decode(text.to_ascii_uppercase().as_bytes()).map_err(|_| refuse())?;
        Ok(Self(bytes.try_into().map_err(|_| refuse())?))
    }
}

/// 256 bits at 5 bits a letter.
const TEXT_LETTERS: usize = 52;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_id_is_fifty_two_lowercase_letters() {
        let id = PeerId::from_spki_der(b"a key");
        let text = id.to_string();
        assert_eq!(text.len(), TEXT_LETTERS);
        assert!(text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'2'..=b'7')));
        assert_eq!(id.short(), text[..8]);
        assert_eq!(text.to_uppercase().parse(), Ok(id));
    }

    #[test]
    fn other_texts_are_refused() {
        let good = PeerId::from_bytes([0; 32]).to_string();
        for bad in [
            String::new(),
            good[1..].to_owned(),
            format!("{good}a"),
            good.replacen('a', "1", 1),
            // The last letter carries one bit; `b` would set a bit that no byte holds.
            format!("{}b", &good[..51]),
            "é".repeat(26),
        ] {
            assert!(bad.parse::<PeerId>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn text_round_trips(bytes: [u8; 32]) {
            let id = PeerId::from_bytes(bytes);
            prop_assert_eq!(id.to_string().parse(), Ok(id));
        }

        #[test]
        fn any_text_is_taken_or_refused(text in ".{0,80}") {
            let _ = text.parse::<PeerId>();
        }
    }
}
