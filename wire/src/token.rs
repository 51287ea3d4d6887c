//! The ticket of a data link: good once, given on the control link, shown on the data link (DESIGN 3).

use std::{
    fmt,
    hash::{Hash, Hasher},
};

use crate::Violation;

/// 32 random bytes. Whoever shows them owns the data link, so they are compared in constant time and never printed.
#[derive(Copy, Clone)]
pub struct Token([u8; 32]);

impl Token {
    /// A token of these bytes; the caller drew them from the operating system's randomness.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes, to be sent.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl PartialEq for Token {
    fn eq(&self, other: &Self) -> bool {
        // blake3's own comparison of hashes takes the same time wherever the first difference is.
        blake3::Hash::from_bytes(self.0) == blake3::Hash::from_bytes(other.0)
    }
}

impl Eq for Token {}

impl Hash for Token {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl TryFrom<&[u8]> for Token {
    type Error = Violation;

    fn try_from(bytes: &[u8]) -> Result<Self, Violation> {
        let len = bytes.len();
        let bytes = bytes.try_into().map_err(|_| Violation::BadLength { what: "token", len })?;
        Ok(Self(bytes))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_compared_and_never_shown() {
        let token = Token::from_bytes([7; 32]);
        assert_eq!(token, Token::from_bytes([7; 32]));
        let mut other = [7; 32];
        other[31] = 8;
        assert_ne!(token, Token::from_bytes(other));
        assert_eq!(format!("{token:?}"), "Token(..)");
    }

    #[test]
    fn a_token_has_thirty_two_bytes() {
        assert!(Token::try_from(&[0; 32][..]).is_ok());
        assert!(Token::try_from(&[0; 31][..]).is_err());
        assert!(Token::try_from(&[][..]).is_err());
    }
}
