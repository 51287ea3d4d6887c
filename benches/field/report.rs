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

    /// The lines of figures in the table that an earlier run wrote; none if nothing is kept.
    pub(crate) fn lines(&self, name: &str) -> Vec<String> {
        let old = self.file.as_ref().and_then(|file| fs::read_to_string(file).ok()).unwrap_or_default();
        let block = parted(&old, name).map_or("", |(_, block, _)| block);
        let table = block.lines().filter(|line| line.starts_with('|'));
        // A head, and the line below it.
        table.skip(2).map(str::to_owned).collect()
    }
}

fn replaced(old: &str, name: &str, text: &str) -> String {
    let [open, close] = marks(name);
    let block = format!("{open}\n{text}\n\n{close}");
    match parted(old, name) {
        Some((before, _, after)) => format!("{before}{block}{after}"),
        None => format!("{old}\n{block}"),
    }
}

/// What stands before, within and after the block.
fn parted<'a>(text: &'a str, name: &str) -> Option<(&'a str, &'a str, &'a str)> {
    let [open, close] = marks(name);
    let (before, rest) = text.split_once(&open)?;
    let (block, after) = rest.split_once(&close)?;
    Some((before, block, after))
}

fn marks(name: &str) -> [String; 2] {
    ["", ", end"].map(|end| format!("<!-- field: {name}{end} -->\n"))
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
