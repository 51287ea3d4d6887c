//! Foreground and background.

use std::{fmt, str::FromStr};

/// How urgent a transfer is. Foreground is served before background; background keeps a small floor (DESIGN 5).
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub enum Class {
    /// Somebody waits for it.
    #[default]
    Foreground,
    /// May yield.
    Background,
}

/// Not a class.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0:?} is not a class: write `foreground` or `background`")]
pub struct ClassError(String);

impl Class {
    /// Both classes, in the order in which they are served.
    pub const ALL: [Self; 2] = [Self::Foreground, Self::Background];

    /// The word used in configuration, API and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Foreground => "foreground",
            Self::Background => "background",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Class {
    type Err = ClassError;

    fn from_str(word: &str) -> Result<Self, ClassError> {
        Self::ALL
            .into_iter()
            .find(|class| class.as_str() == word)
            .ok_or_else(|| ClassError(word.chars().take(40).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_back() {
        for class in Class::ALL {
            assert_eq!(class.to_string().parse(), Ok(class));
        }
        let error = "urgent".parse::<Class>().unwrap_err();
        assert_eq!(error.to_string(), "\"urgent\" is not a class: write `foreground` or `background`");
    }
}
