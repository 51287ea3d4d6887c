//! Words that travel: cut before they are sent, made harmless before they are shown.

use std::borrow::Cow;

use crate::limits::WORDS_BYTES_MAX;

/// At most [`WORDS_BYTES_MAX`] bytes of `words`.
pub(crate) fn cut(words: String) -> String {
    cut_to(words, WORDS_BYTES_MAX)
}

/// At most `bytes_max` bytes of `words`, cut between characters, with dots where they were cut.
pub(crate) fn cut_to(words: String, bytes_max: usize) -> String {
    if words.len() <= bytes_max {
        return words;
    }
    let mut end = bytes_max.saturating_sub(ELLIPSIS.len());
    while !words.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{ELLIPSIS}", &words[..end])
}

/// A peer's words as they may be written to a terminal or a log: control characters (escape sequences, line ends) become
/// `\u{fffd}`, so that a peer cannot move the cursor or forge a log line.
pub fn printable(words: &str) -> Cow<'_, str> {
    if words.chars().any(is_harmful) {
        let shown = words.chars().map(|c| if is_harmful(c) { char::REPLACEMENT_CHARACTER } else { c });
        return Cow::Owned(shown.collect());
    }
    Cow::Borrowed(words)
}

/// The same for whoever must see what is there: `\u{1b}` for an escape.
pub fn escaped(words: &str) -> Cow<'_, str> {
    if !words.chars().any(is_harmful) {
        return Cow::Borrowed(words);
    }
    let mut shown = String::with_capacity(words.len() + 8);
    for c in words.chars() {
        if is_harmful(c) { shown.extend(c.escape_unicode()) } else { shown.push(c) }
    }
    Cow::Owned(shown)
}

/// Control characters, and the marks that change the direction of the text around them.
fn is_harmful(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

const ELLIPSIS: &str = "...";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_words_are_cut_between_characters() {
        assert_eq!(cut("short".to_owned()), "short");
        let long = cut("é".repeat(WORDS_BYTES_MAX));
        assert!(long.len() <= WORDS_BYTES_MAX && long.ends_with(ELLIPSIS), "{}", long.len());
    }

    #[test]
    fn escape_sequences_do_not_reach_a_terminal() {
        assert_eq!(printable("no such file"), "no such file");
        assert_eq!(printable("a\x1b[2Jb\nc\u{202e}d"), "a\u{fffd}[2Jb\u{fffd}c\u{fffd}d");
        assert_eq!(escaped("a\x1b[2Jb\nc\u{202e}d"), "a\\u{1b}[2Jb\\u{a}c\\u{202e}d");
        assert_eq!(escaped("naïve"), "naïve");
    }
}
