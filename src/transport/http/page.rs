//! Listings, page by page: HTML for people, JSON for programs. Names are those of `ls --json`.

use std::fmt::Write as _;

use actors::{
    port::{FileEntry, FileKind},
    view::EntryView,
};

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

/// System colours, so that it is light or dark as its reader likes it; one column less where there is no room for three, and
/// what names leave is theirs, so that sizes and dates stand at the edge. Directories are bold: names alone give the order.
const STYLE: &str = "\
:root{color-scheme:light dark;font:1rem/1.5 system-ui,sans-serif}\
body{max-width:60rem;margin:0 auto;padding:1rem}\
h1{font-size:1.25rem;font-weight:600;overflow-wrap:anywhere;margin:.75rem .5rem}\
table{width:100%;border-collapse:collapse}\
th,td{padding:.4rem .5rem;text-align:left;vertical-align:top;border-bottom:1px solid #8884}\
th{font-size:.85rem;font-weight:600;opacity:.75}tr:hover td{background:#8882}\
td:first-child{overflow-wrap:anywhere}:is(th,td):first-child{width:100%}\
:is(th,td):nth-child(2){text-align:right}:is(th,td):nth-child(n+2){white-space:nowrap}\
td:nth-child(n+2){font-variant-numeric:tabular-nums;opacity:.85}\
td a[href$=\"/\"]{font-weight:600}a{text-decoration:none}a:hover,a:focus-visible{text-decoration:underline}\
@media(max-width:34rem){:is(th,td):nth-child(3){display:none}}";

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
                let up = if target.path.is_empty() {
                    ""
                } else {
                    "<tr><td><a href=\"../\">../</a></td><td></td><td></td></tr>\n"
                };
                format!(
                    "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
                     <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>{title}</title>\
                     <style>{STYLE}</style></head>\n<body><h1>{}</h1>\n<table>\n\
                     <thead><tr><th>Name</th><th>Size</th><th>Changed (UTC)</th></tr></thead>\n{up}",
                    trail(&target.path)
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
                    write!(text, "{comma}\n{}", serde_json::to_string(&EntryView::from(entry)).unwrap_or_default())
                }
            };
            self.is_first = false;
        }
        text
    }

    /// What stands behind the last one.
    pub(super) fn end(&self) -> &'static str {
        match (self.form, self.is_first) {
            (Form::Html, true) => "<tr><td>nothing is here</td><td></td><td></td></tr>\n</table></body></html>\n",
            (Form::Html, false) => "</table></body></html>\n",
            (Form::Json, _) => "\n]}\n",
        }
    }
}

/// The way from the shares to `path`, each step a link but the last. Relative, so that it leads right behind a proxy as well.
fn trail(path: &str) -> String {
    let names: Vec<&str> = path.split('/').filter(|name| !name.is_empty()).collect();
    let Some((last, above)) = names.split_last() else { return "<b>shares</b>".to_owned() };
    let mut trail = format!("<a href=\"{}\">shares</a>", "../".repeat(names.len()));
    for (index, name) in above.iter().enumerate() {
        let up = "../".repeat(above.len() - index);
        trail.push_str(&format!(" / <a href=\"{up}\"><bdi>{}</bdi></a>", escaped(name)));
    }
    format!("{trail} / <b><bdi>{}</bdi></b>", escaped(last))
}

fn html(text: &mut String, entry: &FileEntry) -> std::fmt::Result {
    let (slash, size) = match entry.kind {
        FileKind::File => {
            let unit = if entry.size == 1 { "byte" } else { "bytes" };
            ("", format!("<td title=\"{} {unit}\">{}</td>", entry.size, size(entry.size)))
        }
        FileKind::Directory | FileKind::Share => ("/", "<td></td>".to_owned()),
    };
    let (href, name) = (written(&entry.name), escaped(&entry.name));
    let changed = changed(entry.mtime_ns);
    // Isolated, so that a name written from right to left keeps its slash at its end and its size in its column.
    let link = format!("<a href=\"{href}{slash}\"><bdi>{name}</bdi>{slash}</a>");
    writeln!(text, "<tr><td>{link}</td>{size}<td>{changed}</td></tr>")
}

/// A size for people; the exact one is its title.
fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "KB", "MB", "GB", "TB"] {
        // What would be rounded to 1000.0 belongs to the next unit.
        if value < 999.95 {
            return if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1000.0;
    }
    format!("{value:.1} PB")
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
    // Names may hold what turns the direction of a line, or worse.
    for letter in wire::printable(text).chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
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
        assert!(
            html.contains("<a href=\"a%3Ab%20%22c%22%20%3F%23.d/\"><bdi>a:b &quot;c&quot; ?#.d</bdi>/</a>"),
            "{html}"
        );
        assert!(html.contains("<td title=\"5 bytes\">5 B</td><td>2024-02-29 12:14</td>"), "{html}");
        let one = FileEntry { size: 1, ..entry("one", FileKind::File) };
        let one = listing(Form::Html, &[one]);
        assert!(one.contains("<td title=\"1 byte\">1 B</td>"), "{one}");
        assert!(html.contains("<title>/share/d&lt;</title>") && html.contains("href=\"../\""), "{html}");
        let json: serde_json::Value = serde_json::from_str(&listing(Form::Json, &entries)).unwrap();
        assert_eq!(json["path"], "share/d<");
        assert_eq!(json["entries"][0]["name"], "<script>alert(1)</script>");
        assert_eq!(json["entries"][1]["kind"], "directory");
        assert_eq!(json["entries"][1]["mtime_ns"], 1_709_208_840_000_000_000_i64);
    }

    #[test]
    fn the_trail_leads_up_step_by_step() {
        assert_eq!(trail(""), "<b>shares</b>");
        assert_eq!(trail("s"), "<a href=\"../\">shares</a> / <b><bdi>s</bdi></b>");
        let deep = "<a href=\"../../../\">shares</a> / <a href=\"../../\"><bdi>s</bdi></a> / \
                    <a href=\"../\"><bdi>&lt;d&gt;</bdi></a> / <b><bdi>e</bdi></b>";
        assert_eq!(trail("s/<d>/e"), deep);
    }

    #[test]
    fn sizes_are_short() {
        for (bytes, shown) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 KB"),
            (999_949, "999.9 KB"),
            (999_950, "1.0 MB"),
            (31_457_280, "31.5 MB"),
            (u64::MAX, "18446.7 PB"),
        ] {
            assert_eq!(size(bytes), shown);
        }
    }

    #[test]
    fn what_turns_the_direction_of_text_is_not_shown() {
        let html =
            listing(Form::Html, &[entry("a\u{202e}gpj.exe", FileKind::File), entry("b\u{1b}[2J", FileKind::File)]);
        assert!(html.contains("<bdi>a\u{fffd}gpj.exe</bdi>") && html.contains("<bdi>b\u{fffd}[2J</bdi>"), "{html}");
    }

    #[test]
    fn any_time_is_shown_or_left_out() {
        assert_eq!(changed(0), "");
        assert_eq!(changed(-1), "");
        assert_eq!(changed(i64::MAX), "2262-04-11 23:47");
    }
}
