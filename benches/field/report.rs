//! Where figures go: the terminal, and if wanted a file, each block in the place of the one with its name.

use std::{fs, path::PathBuf};

use crate::measure::Outcome;

/// Prints Markdown, and keeps it.
pub(crate) struct Report {
    /// `--write FILE`.
    pub(crate) file: Option<PathBuf>,
}

impl Report {
    /// A block of lines. In the file it stands between two comments, which the next run of the same block finds again.
    pub(crate) fn block(&self, name: &str, text: &str) -> Outcome<()> {
        let text = text.trim_end();
        println!("\n{text}");
        let Some(file) = &self.file else { return Ok(()) };
        let old = fs::read_to_string(file).unwrap_or_default();
        Ok(fs::write(file, replaced(&old, name, text))?)
    }
}

fn replaced(old: &str, name: &str, text: &str) -> String {
    let (open, close) = (format!("<!-- field: {name} -->\n"), format!("<!-- field: {name}, end -->\n"));
    let block = format!("{open}\n{text}\n\n{close}");
    let found = old.split_once(&open).and_then(|(before, rest)| Some((before, rest.split_once(&close)?.1)));
    match found {
        Some((before, after)) => format!("{before}{block}{after}"),
        None => format!("{old}\n{block}"),
    }
}

/// A number as people write it: 10000 is 10,000.
pub(crate) fn thousands(number: usize) -> String {
    if number < 1000 { number.to_string() } else { format!("{},{:03}", number / 1000, number % 1000) }
}

/// `what: 0.71 (wanted <= 0.80), met`.
pub(crate) fn verdict(what: &str, measured: f64, wanted: f64, is_at_most: bool, digits: usize) -> String {
    let met = if is_at_most { measured <= wanted } else { measured >= wanted };
    let sign = if is_at_most { "<=" } else { ">=" };
    let word = if met { "met" } else { "**missed**" };
    format!("- {what}: {measured:.digits$} (wanted {sign} {wanted}), {word}\n")
}
