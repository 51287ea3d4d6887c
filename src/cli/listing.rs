//! What `ls` prints.

use actors::{
    port::{FileEntry, FileKind},
    view::EntryView,
};

use super::{progress::show_bytes, table::Table};

/// A table with size, time (UTC) and name; directories and shares end with a slash.
pub(super) fn table(entries: &[FileEntry]) -> String {
    let mut table = Table::new(&[">SIZE", "CHANGED (UTC)", "NAME"]);
    for entry in entries {
        let (size, name) = match entry.kind {
            FileKind::File => (show_bytes(entry.size), entry.name.clone()),
            FileKind::Directory | FileKind::Share => ("-".to_owned(), format!("{}/", entry.name)),
        };
        let changed = match entry.mtime_ns {
            0 => "-".to_owned(),
            mtime_ns => show_time(mtime_ns.div_euclid(1_000_000_000)),
        };
        table.row([size, changed, name]);
    }
    table.to_string()
}

/// A JSON array, one object for each entry.
pub(super) fn json(entries: &[FileEntry]) -> serde_json::Result<String> {
    let mut text = serde_json::to_string_pretty(&entries.iter().map(EntryView::from).collect::<Vec<_>>())?;
    text.push('\n');
    Ok(text)
}

/// What is said of names that the node could not list.
pub(super) fn hidden(names: u32) -> Option<String> {
    let words = "not UTF-8, or too long for a path";
    match names {
        0 => None,
        1 => Some(format!("1 name is not shown: {words}")),
        _ => Some(format!("{names} names are not shown: {words}")),
    }
}

/// `2024-02-29 12:34`, from seconds since 1970.
fn show_time(unix_seconds: i64) -> String {
    let (days, seconds) = (unix_seconds.div_euclid(86_400), unix_seconds.rem_euclid(86_400));
    // Days to a date as in Howard Hinnant's "chrono-compatible low-level date algorithms": years begin in March, eras
    // have 400 years.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}", seconds / 3600, seconds % 3600 / 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_dates() {
        for (seconds, text) in [
            (0, "1970-01-01 00:00"),
            (951_782_399, "2000-02-28 23:59"),
            (1_709_208_840, "2024-02-29 12:14"),
            (4_107_542_399, "2100-02-28 23:59"),
            (-1, "1969-12-31 23:59"),
        ] {
            assert_eq!(show_time(seconds), text, "{seconds}");
        }
        // Whatever a peer sends.
        for seconds in [i64::MIN / 1_000_000_000, i64::MAX / 1_000_000_000] {
            assert!(!show_time(seconds).is_empty());
        }
    }

    #[test]
    fn entries_are_shown() {
        let entry = |name: &str, size, kind| FileEntry::new(name, size, 1_709_208_840_000_000_000, kind);
        let entries = [entry("old", 0, FileKind::Directory), entry("a\u{1b}[2J.iso", 1_500_000, FileKind::File)];
        let shown = table(&entries);
        assert!(shown.contains("-  2024-02-29 12:14  old/"), "{shown}");
        assert!(!shown.contains('\u{1b}'), "nothing that moves the cursor: {shown}");
        let parsed: serde_json::Value = serde_json::from_str(&json(&entries).unwrap()).unwrap();
        assert_eq!(parsed[1]["size"], 1_500_000);
        assert_eq!(parsed[1]["name"], "a\u{1b}[2J.iso", "programs get the name itself");
        assert_eq!(parsed[0]["kind"], "directory");
    }
}
