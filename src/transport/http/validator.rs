//! What tells one state of a file from another, and what a client's conditions make of it (RFC 9110, 8.8 and 13).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::head::Wishes;

/// A file's state.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Validator {
    /// Strong: it changes with the file's size and its time, which file systems keep to a few milliseconds or better.
    pub(super) etag: String,
    /// Seconds since 1970; none where HTTP can't write the time.
    modified_s: Option<u64>,
    /// Nothing may have changed since within the same second, so that the time is as good as a strong tag.
    is_settled: bool,
}

/// What a client's conditions say.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(super) enum Verdict {
    /// Send it.
    Send,
    /// 304: the client has it.
    NotModified,
    /// 412: it is not what the client thinks it is.
    Failed,
}

impl Validator {
    /// The state of a file of `size` bytes that was changed at `mtime_ns`.
    pub(super) fn new(size: u64, mtime_ns: i64, now: SystemTime) -> Self {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        // A time that is yet to come would never be over (RFC 9110, 8.8.2.1).
        let modified_s = u64::try_from(mtime_ns).ok().map(|ns| (ns / 1_000_000_000).min(now.as_secs()));
        let is_settled = modified_s.is_some_and(|modified_s| modified_s < now.as_secs());
        Self { etag: format!("\"{mtime_ns:x}-{size:x}\""), modified_s, is_settled }
    }

    /// `Last-Modified`, where there is one.
    pub(super) fn last_modified(&self) -> Option<String> {
        let at = UNIX_EPOCH + Duration::from_secs(self.modified_s?);
        Some(httpdate::fmt_http_date(at))
    }

    /// Weighs the conditions, in the order of RFC 9110, 13.2.2.
    pub(super) fn judge(&self, wishes: &Wishes) -> Verdict {
        let holds = match (&wishes.if_match, &wishes.if_unmodified_since) {
            (Some(tags), _) => is_any(tags) || entries(tags).any(|tag| tag == self.etag),
            (None, Some(date)) => match (seconds(date), self.modified_s) {
                (Some(since), Some(modified)) => modified <= since,
                (None, _) | (_, None) => true,
            },
            (None, None) => true,
        };
        if !holds {
            return Verdict::Failed;
        }
        let is_known = match (&wishes.if_none_match, &wishes.if_modified_since) {
            (Some(tags), _) => {
                is_any(tags) || entries(tags).any(|tag| tag.strip_prefix("W/").unwrap_or(tag) == self.etag)
            }
            (None, Some(date)) => seconds(date).zip(self.modified_s).is_some_and(|(since, modified)| modified <= since),
            (None, None) => false,
        };
        if is_known { Verdict::NotModified } else { Verdict::Send }
    }

    /// Whether a range is still one of the file that the client has begun (`If-Range`); without it, the whole is sent.
    pub(super) fn allows_range(&self, wishes: &Wishes) -> bool {
        match &wishes.if_range {
            None => true,
            // `W/` is a weak tag, `Wed` a date.
            Some(tag) if tag.starts_with('"') || tag.starts_with("W/") => *tag == self.etag,
            Some(date) => self.is_settled && seconds(date).is_some_and(|since| Some(since) == self.modified_s),
        }
    }
}

fn is_any(tags: &str) -> bool {
    tags.trim() == "*"
}

/// The tags of a list. Ours have no comma in them; a foreign one that has falls into pieces which match nothing.
fn entries(tags: &str) -> impl Iterator<Item = &str> {
    tags.split(',').map(str::trim)
}

fn seconds(date: &str) -> Option<u64> {
    let at = httpdate::parse_http_date(date).ok()?;
    at.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MTIME_NS: i64 = 1_700_000_000_500_000_000;
    const DATE: &str = "Tue, 14 Nov 2023 22:13:20 GMT";
    const EARLIER: &str = "Tue, 14 Nov 2023 22:13:19 GMT";
    const LATER: &str = "Tue, 14 Nov 2023 22:13:21 GMT";

    fn validator() -> Validator {
        Validator::new(10, MTIME_NS, UNIX_EPOCH + Duration::from_secs(1_800_000_000))
    }

    fn wishes(pairs: &[(&str, &str)]) -> Wishes {
        let mut wishes = Wishes::default();
        for (name, value) in pairs {
            let place = match *name {
                "if-range" => &mut wishes.if_range,
                "if-match" => &mut wishes.if_match,
                "if-none-match" => &mut wishes.if_none_match,
                "if-modified-since" => &mut wishes.if_modified_since,
                "if-unmodified-since" => &mut wishes.if_unmodified_since,
                other => panic!("{other}"),
            };
            *place = Some((*value).to_owned());
        }
        wishes
    }

    #[test]
    fn table_of_conditions() {
        let tag = validator().etag;
        let (weak, list) = (format!("W/{tag}"), format!("\"x\", {tag}"));
        let twice_weak = format!("W/{weak}");
        for (pairs, verdict) in [
            (vec![], Verdict::Send),
            (vec![("if-none-match", tag.as_str())], Verdict::NotModified),
            (vec![("if-none-match", weak.as_str())], Verdict::NotModified),
            (vec![("if-none-match", list.as_str())], Verdict::NotModified),
            (vec![("if-none-match", twice_weak.as_str())], Verdict::Send),
            (vec![("if-none-match", "*")], Verdict::NotModified),
            (vec![("if-none-match", "\"x\"")], Verdict::Send),
            (vec![("if-none-match", "\"x\""), ("if-modified-since", LATER)], Verdict::Send),
            (vec![("if-modified-since", DATE)], Verdict::NotModified),
            (vec![("if-modified-since", LATER)], Verdict::NotModified),
            (vec![("if-modified-since", EARLIER)], Verdict::Send),
            (vec![("if-modified-since", "yesterday")], Verdict::Send),
            (vec![("if-match", tag.as_str())], Verdict::Send),
            (vec![("if-match", "*")], Verdict::Send),
            (vec![("if-match", weak.as_str())], Verdict::Failed),
            (vec![("if-match", "\"x\"")], Verdict::Failed),
            (vec![("if-unmodified-since", DATE)], Verdict::Send),
            (vec![("if-unmodified-since", EARLIER)], Verdict::Failed),
            (vec![("if-unmodified-since", "yesterday")], Verdict::Send),
        ] {
            assert_eq!(validator().judge(&wishes(&pairs)), verdict, "{pairs:?}");
        }
    }

    #[test]
    fn a_range_is_sent_only_of_the_same_file() {
        let tag = validator().etag;
        let weak = format!("W/{tag}");
        for (value, allowed) in
            [(tag.as_str(), true), (weak.as_str(), false), ("\"x\"", false), (DATE, true), (LATER, false), ("x", false)]
        {
            assert_eq!(validator().allows_range(&wishes(&[("if-range", value)])), allowed, "{value}");
        }
        assert!(validator().allows_range(&Wishes::default()));
        let wednesday =
            Validator::new(10, MTIME_NS + 86_400_000_000_000, UNIX_EPOCH + Duration::from_secs(1_800_000_000));
        assert!(wednesday.allows_range(&wishes(&[("if-range", "Wed, 15 Nov 2023 22:13:20 GMT")])));
        // Changed in this very second: it may be changed once more and keep its time.
        let fresh = Validator::new(10, MTIME_NS, UNIX_EPOCH + Duration::from_nanos(MTIME_NS as u64));
        assert!(!fresh.allows_range(&wishes(&[("if-range", DATE)])));
        assert!(fresh.allows_range(&wishes(&[("if-range", &fresh.etag)])));
    }

    #[test]
    fn odd_times_are_left_out_or_now() {
        assert_eq!(validator().last_modified().as_deref(), Some(DATE));
        let now = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        assert_eq!(Validator::new(1, i64::MAX, now).last_modified().as_deref(), Some(DATE));
        assert_eq!(Validator::new(1, -5, now).last_modified(), None);
        assert_ne!(Validator::new(1, -5, now).etag, Validator::new(1, 5, now).etag);
    }
}
