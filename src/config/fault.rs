//! What is wrong with a configuration: one message per bad key, with the line where it stands.

use std::fmt;

/// Where a value was written.
#[derive(Clone, Debug, Eq, PartialEq, PartialOrd, Ord)]
pub enum Origin {
    /// A line of the file, counted from 1.
    Line(usize),
    /// A flag of the command line, such as `--upload-limit`, or an environment variable.
    Flag(&'static str),
    /// Nowhere: the default, or the document as a whole.
    Default,
}

/// One bad key.
#[derive(Clone, Debug, Eq, PartialEq, PartialOrd, Ord)]
pub struct Fault {
    /// Where.
    pub origin: Origin,
    /// The key with its section, such as `limits.upload`; empty when the document itself can't be read.
    pub key: String,
    /// What is wrong and what to write instead.
    pub message: String,
}

/// Everything that is wrong with one configuration, in the order of its lines. Exit code 64.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConfigError {
    /// The file's name as it was given, or `defaults`.
    pub source_name: String,
    /// Never empty.
    pub faults: Vec<Fault>,
}

impl ConfigError {
    /// Sorts by place, so that a person goes through the file once.
    pub(super) fn new(source_name: &str, mut faults: Vec<Fault>) -> Self {
        faults.sort();
        faults.dedup();
        Self { source_name: source_name.to_owned(), faults }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.faults.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            let place = match &fault.origin {
                Origin::Line(line) => format!("{}:{line}: ", self.source_name),
                Origin::Flag(flag) => format!("{flag}: "),
                Origin::Default => format!("{}: ", self.source_name),
            };
            let key = if fault.key.is_empty() { String::new() } else { format!("{}: ", fault.key) };
            // A key may hold any character, and this goes to a terminal.
            f.write_str(&wire::escaped(&format!("{place}{key}{}", fault.message)))?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}
