//! Listings, page by page: HTML for people, JSON for programs. Names are those of `ls --json`.

use std::fmt::Write as _;

use actors::port::{FileEntry, FileKind};
use serde::Serialize;

use super::target::{Target, written};

/// How a listing is written.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(super) enum Form {
    /// For people; programs that follow links can walk it.
    Html,
    /// For programs.
    Json,
}

/// A listing being written; it keeps nothing of the pages before.
pub(super) struct Listing {
    form: Form,
    is_first: bool,
}

#[derive(Serialize)]
struct Row<'a> {
    name: &'a str,
    kind: &'static str,
    size: u64,
    mtime_ns: i64,
}

const STYLE: &str = "body{font-family:system-ui,sans-serif;margin:2rem;max-width:70rem}table{border-collapse:collapse}\
                     td,th{padding:.2rem 1.5rem .2rem 0;text-align:left}td:nth-child(2){text-align:right;white-space:nowrap}\
                     td:nth-child(3){white-space:nowrap}a{text-decoration:none}a:hover{text-decoration:underline}";

impl Listing {
    /// A listing that nothing was written of.
    pub(super) fn new(form: Form) -> Self {
        Self { form, is_first: true }
    }

    /// Its `Content-Type`.
    pub(super) fn content_type(&self) -> &'static str {
        match self.form {
            Form::Html => "text/html; charset=utf-8",
            Form::Json => "application/json",
        }
    }

    /// What stands before the first entry.
    pub(super) fn begin(&self, target: &Target) -> String {
        match self.form {
            Form::Html => {
                let title = escaped(&format!("/{}", target.path));
                let up = if target.path.is_empty() { "" } else { "<tr><td><a href=\"../\">../</a></td></tr>\n" };
                format!(
                    "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
                     <meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title>\
                     <style>{STYLE}</style></head>\n<body><h1>{title}</h1>\n<table>\n\
                     <tr><th>Name</th><th>Size</th><th>Changed (UTC)</th></tr>\n{up}"
                )
            }
            Form::Json => {
                let path = serde_json::Value::from(target.path.as_str());
                format!("{{\"path\":{path},\"entries\":[")
            }
        }
    }

    /// The entries of one page.
    pub(super) fn entries<'a>(&mut self, entries: impl Iterator<Item = &'a FileEntry>) -> String {
        let mut text = String::new();
        for entry in entries {
            // Writing to memory does not fail.
            let _ = match self.form {
                Form::Html => html(&mut text, entry),
                Form::Json => {
                    let comma = if self.is_first { "" } else { "," };
                    write!(text, "{comma}\n{}", serde_json::to_string(&row(entry)).unwrap_or_default())
                }
            };
            self.is_first = false;
        }
        text
    }

    /// What stands behind the last one.
    pub(super) fn end(&self) -> &'static str {
        match self.form {
            Form::Html => "</table></body></html>\n",
            Form::Json => "\n]}\n",
        }
    }
}

fn row(entry: &FileEntry) -> Row<'_> {
    let kind = match entry.kind {
        FileKind::Share => "share",
        FileKind::Directory => "directory",
        FileKind::File => "file",
    };
    Row { name: &entry.name, kind, size: entry.size, mtime_ns: entry.mtime_ns }
}

fn html(text: &mut String, entry: &FileEntry) -> std::fmt::Result {
    let (slash, size) = match entry.kind {
        FileKind::File => ("", entry.size.to_string()),
        FileKind::Directory | FileKind::Share => ("/", String::new()),
    };
    let (href, name) = (written(&entry.name), escaped(&entry.name));
    let changed = changed(entry.mtime_ns);
    writeln!(text, "<tr><td><a href=\"{href}{slash}\">{name}{slash}</a></td><td>{size}</td><td>{changed}</td></tr>")
}

/// `2024-02-29 12:34`, nothing where the time is not known or beyond what dates are written for.
fn changed(mtime_ns: i64) -> String {
    let at = std::time::UNIX_EPOCH + std::time::Duration::from_nanos(u64::try_from(mtime_ns).unwrap_or(0));
    match mtime_ns {
        ..=0 => String::new(),
        _ => {
            // `Thu, 29 Feb 2024 12:34:56 GMT`
            let date = httpdate::fmt_http_date(at);
            let words: Vec<&str> = date.split([' ', ':']).collect();
            let [_, day, month, year, hour, minute, ..] = words[..] else { return String::new() };
            let month = MONTHS.iter().position(|name| *name == month).map_or(0, |index| index + 1);
            format!("{year}-{month:02}-{day} {hour}:{minute}")
        }
    }
}

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A name as text and attributes of HTML have it.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            // Names may hold what turns the direction of a line, or worse.
            letter if letter.is_control() => safe.push('\u{fffd}'),
            letter => safe.push(letter),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, kind: FileKind) -> FileEntry {
        FileEntry::new(name, 5, 1_709_208_840_000_000_000, kind)
    }

    fn listing(form: Form, entries: &[FileEntry]) -> String {
        let mut listing = Listing::new(form);
        let target = Target::parse("/share/d%3C/").unwrap();
        // Two pages.
        let (first, second) = entries.split_at(1);
        let begin = listing.begin(&target);
        let (first, second) = (listing.entries(first.iter()), listing.entries(second.iter()));
        format!("{begin}{first}{second}{}", listing.end())
    }

    #[test]
    fn names_stay_names() {
        let entries =
            [entry("<script>alert(1)</script>", FileKind::File), entry("a:b \"c\" ?#.d", FileKind::Directory)];
        let html = listing(Form::Html, &entries);
        assert!(!html.contains("<script"), "{html}");
        assert!(html.contains("<a href=\"a%3Ab%20%22c%22%20%3F%23.d/\">a:b &quot;c&quot; ?#.d/</a>"), "{html}");
        assert!(html.contains("<td>5</td><td>2024-02-29 12:14</td>"), "{html}");
        assert!(html.contains("<title>/share/d&lt;</title>") && html.contains("href=\"../\""), "{html}");
        let json: serde_json::Value = serde_json::from_str(&listing(Form::Json, &entries)).unwrap();
        assert_eq!(json["path"], "share/d<");
        assert_eq!(json["entries"][0]["name"], "<script>alert(1)</script>");
        assert_eq!(json["entries"][1]["kind"], "directory");
        assert_eq!(json["entries"][1]["mtime_ns"], 1_709_208_840_000_000_000_i64);
    }

    #[test]
    fn any_time_is_shown_or_left_out() {
        assert_eq!(changed(0), "");
        assert_eq!(changed(-1), "");
        assert_eq!(changed(i64::MAX), "2262-04-11 23:47");
    }
}
