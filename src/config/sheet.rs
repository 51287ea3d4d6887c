//! A TOML document while it is read: keys are taken one by one, faults are collected instead of returned, and what is
//! left over at the end of a section is unknown.
//!
//! Not serde: its derived readers stop at the first fault, and an operator wants all of them at once.

use std::collections::BTreeMap;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::fault::{Fault, Origin};

/// A key further than this from every known one gets no suggestion.
const SUGGESTION_EDITS_MAX: usize = 3;

/// What reading has found so far.
pub(super) struct Sheet {
    line_starts: Vec<usize>,
    faults: Vec<Fault>,
    origins: BTreeMap<String, Origin>,
}

impl Sheet {
    /// Parses `text`; faults of the syntax are kept like all others.
    pub(super) fn parse(text: &str) -> (Self, Spanned<DeTable<'_>>) {
        let line_starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        let (table, errors) = DeTable::parse_recoverable(text);
        let mut sheet = Self { line_starts, faults: Vec::new(), origins: BTreeMap::new() };
        for error in errors {
            let origin = error.span().map_or(Origin::Default, |span| sheet.line(span.start));
            sheet.fault(origin, String::new(), error.message().to_owned());
        }
        (sheet, table)
    }

    /// Whether the document itself could not be read: then missing keys mean nothing.
    pub(super) fn is_broken(&self) -> bool {
        !self.faults.is_empty()
    }

    /// Adds a fault.
    pub(super) fn fault(&mut self, origin: Origin, key: String, message: String) {
        self.faults.push(Fault { origin, key, message });
    }

    /// Adds a fault of a key that was read or overridden before.
    pub(super) fn fault_at(&mut self, key: &str, message: String) {
        self.fault(self.origin(key), key.to_owned(), message);
    }

    /// Whether `key` has a fault already: its value is the default's then, and says nothing.
    pub(super) fn has_fault(&self, key: &str) -> bool {
        self.faults.iter().any(|fault| fault.key == key)
    }

    /// Where `key` was written.
    pub(super) fn origin(&self, key: &str) -> Origin {
        self.origins.get(key).cloned().unwrap_or(Origin::Default)
    }

    /// Says that the value of `key` comes from the command line or the environment.
    pub(super) fn overridden(&mut self, key: &str, flag: &'static str) {
        self.origins.insert(key.to_owned(), Origin::Flag(flag));
    }

    /// All faults; none is a valid document.
    pub(super) fn into_faults(self) -> Vec<Fault> {
        self.faults
    }

    fn line(&self, offset: usize) -> Origin {
        Origin::Line(self.line_starts.partition_point(|start| *start <= offset))
    }
}

/// One table of the document. Every key is asked for exactly once; [`Section::finish`] reports the others.
pub(super) struct Section<'s, 'i> {
    sheet: &'s mut Sheet,
    table: DeTable<'i>,
    path: String,
    origin: Origin,
    asked: Vec<&'static str>,
}

impl<'s, 'i> Section<'s, 'i> {
    /// The document itself.
    pub(super) fn root(sheet: &'s mut Sheet, table: Spanned<DeTable<'i>>) -> Self {
        Self { sheet, table: table.into_inner(), path: String::new(), origin: Origin::Default, asked: Vec::new() }
    }

    /// Takes `key`; `default` where it is absent or bad.
    pub(super) fn read<T>(
        &mut self,
        key: &'static str,
        default: T,
        parse: impl FnOnce(&DeValue<'i>) -> Result<T, String>,
    ) -> T {
        let Some(value) = self.take(key) else {
            return default;
        };
        match parse(value.get_ref()) {
            Ok(parsed) => parsed,
            Err(message) => {
                self.fault(key, message);
                default
            }
        }
    }

    /// Takes `key`, which must be there; `None` (and a fault) where it is absent or bad.
    pub(super) fn require<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&DeValue<'i>) -> Result<T, String>,
    ) -> Option<T> {
        if !self.table.contains_key(key) {
            self.asked.push(key);
            let path = self.path_of(key);
            self.sheet.fault(self.origin.clone(), path, "is missing".to_owned());
            return None;
        }
        self.read(key, None, |value| parse(value).map(Some))
    }

    /// Takes the table `[key]`; an empty one where it is absent.
    pub(super) fn section(&mut self, key: &'static str) -> Section<'_, 'i> {
        let value = self.take(key);
        let path = self.path_of(key);
        let origin = self.sheet.origin(&path);
        let table = match value.map(Spanned::into_inner) {
            Some(DeValue::Table(table)) => table,
            Some(_) => {
                self.fault(key, format!("is a section: write [{key}]"));
                DeTable::new()
            }
            None => DeTable::new(),
        };
        Section { sheet: self.sheet, table, path, origin, asked: Vec::new() }
    }

    /// Takes the tables `[[key]]` and reads each. A table's path is `key.NAME`, where NAME is what it has under
    /// `name_key`, so that a message is understood without counting.
    pub(super) fn tables<T>(
        &mut self,
        key: &'static str,
        name_key: &str,
        mut read: impl FnMut(Section<'_, 'i>) -> Option<T>,
    ) -> Vec<T> {
        let Some(value) = self.take(key) else {
            return Vec::new();
        };
        let DeValue::Array(rows) = value.into_inner() else {
            self.fault(key, format!("is a list of sections: write [[{key}]], one for each"));
            return Vec::new();
        };
        let mut found = Vec::new();
        for (index, row) in rows.into_iter().enumerate() {
            let origin = self.sheet.line(row.span().start);
            let DeValue::Table(table) = row.into_inner() else {
                self.fault(key, format!("is a list of sections: write [[{key}]], one for each"));
                continue;
            };
            let name = match table.get(name_key).map(Spanned::get_ref) {
                Some(DeValue::String(name)) => name.to_string(),
                _ => format!("#{}", index + 1),
            };
            let path = format!("{key}.{name}");
            self.sheet.origins.insert(path.clone(), origin.clone());
            found.extend(read(Section { sheet: self.sheet, table, path, origin, asked: Vec::new() }));
        }
        found
    }

    /// Goes on under `name`, where a name may be written in several ways: what is checked later finds one of them.
    pub(super) fn called(&mut self, name: &str) {
        let kind = self.path.split('.').next().unwrap_or_default();
        self.path = format!("{kind}.{name}");
        self.sheet.origins.insert(self.path.clone(), self.origin.clone());
    }

    /// Adds a fault of one of this section's keys.
    pub(super) fn fault(&mut self, key: &str, message: String) {
        let path = self.path_of(key);
        self.sheet.fault_at(&path, message);
    }

    /// Every key that was not asked for is unknown.
    pub(super) fn finish(self) {
        for key in self.table.keys() {
            let origin = self.sheet.line(key.span().start);
            let name = key.get_ref();
            let message = match closest(name, &self.asked) {
                Some(known) => format!("is not a key of {}: did you mean `{known}`?", self.title()),
                None => format!("is not a key of {}: it has {}", self.title(), self.asked.join(", ")),
            };
            let path = self.path_of(name);
            self.sheet.fault(origin, path, message);
        }
    }

    fn take(&mut self, key: &'static str) -> Option<Spanned<DeValue<'i>>> {
        self.asked.push(key);
        let (name, value) = self.table.remove_entry(key)?;
        let origin = self.sheet.line(name.span().start);
        self.sheet.origins.insert(self.path_of(key), origin);
        Some(value)
    }

    fn path_of(&self, key: &str) -> String {
        match self.path.as_str() {
            "" => key.to_owned(),
            path => format!("{path}.{key}"),
        }
    }

    fn title(&self) -> String {
        match self.path.split('.').next() {
            None | Some("") => "the configuration".to_owned(),
            Some(section) => format!("[{section}]"),
        }
    }
}

/// The known key that `written` most likely means.
fn closest(written: &str, known: &[&'static str]) -> Option<&'static str> {
    known
        .iter()
        .map(|name| (edits(written, name), *name))
        .min()
        // A short key is one typo away from any other; ask for more than half of the letters to be right.
        .filter(|(edits, name)| *edits <= SUGGESTION_EDITS_MAX && edits * 2 < name.len())
        .map(|(_, name)| name)
        .or_else(|| {
            let is_part = |name: &&str| name.contains(written) || written.contains(name);
            known.iter().copied().find(|name| written.len() > 2 && is_part(name))
        })
}

/// Levenshtein's distance: letters to add, drop or replace. Long input is not worth the time.
fn edits(from: &str, to: &str) -> usize {
    if from.len() > 64 {
        return usize::MAX;
    }
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (index, letter) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for column in 0..to.len() {
            let replaced = diagonal + usize::from(letter != to[column]);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(row[column] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_letters() {
        for (from, to, expected) in [("", "", 0), ("a", "", 1), ("uplod", "upload", 1), ("kitten", "sitting", 3)] {
            assert_eq!(edits(from, to), expected, "{from} {to}");
        }
    }

    #[test]
    fn suggests_only_what_is_near() {
        let known = ["upload", "download", "max", "dead"];
        for (written, expected) in [
            ("uplaod", Some("upload")),
            ("downlaod", Some("download")),
            ("upload_limit", Some("upload")),
            ("colour", None),
            ("x", None),
        ] {
            assert_eq!(closest(written, &known), expected, "{written}");
        }
    }
}
