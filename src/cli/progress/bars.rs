//! One bar for each transfer: name, share of the file, rate, time left.

use std::collections::HashMap;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::node::TransferProgress;

/// Bars on standard error.
#[derive(Debug, Default)]
pub struct Bars {
    screen: MultiProgress,
    live: HashMap<u32, ProgressBar>,
}

impl Bars {
    /// Nothing is drawn before the first transfer.
    pub fn new() -> Self {
        Self::default()
    }

    fn line(&self, text: &str) {
        // A terminal that went away is no reason to stop a transfer.
        let _ = self.screen.println(text);
    }
}

impl TransferProgress for Bars {
    fn started(&mut self, id: u32, name: &str, size: u64, start: u64) {
        let style = ProgressStyle::with_template(TEMPLATE).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = self.screen.add(ProgressBar::new(size).with_style(style.progress_chars("=> ")));
        bar.set_message(wire::printable(name).into_owned());
        bar.set_position(start);
        // What was there before is no sign of the rate.
        bar.reset_eta();
        self.live.insert(id, bar);
    }

    fn moved(&mut self, id: u32, offset: u64) {
        if let Some(bar) = self.live.get(&id) {
            bar.set_position(offset);
        }
    }

    fn done(&mut self, id: u32) {
        if let Some(bar) = self.live.remove(&id) {
            bar.finish();
        }
    }

    fn failed(&mut self, id: u32, why: &str) {
        if let Some(bar) = self.live.remove(&id) {
            bar.abandon();
        }
        self.line(why);
    }

    fn note(&mut self, text: &str) {
        self.line(text);
    }
}

const TEMPLATE: &str =
    "{msg:28!} [{wide_bar}] {percent:>3}% of {decimal_total_bytes:>9} {decimal_bytes_per_sec:>12} {eta:>4} left";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_is_valid() {
        assert!(ProgressStyle::with_template(TEMPLATE).is_ok());
    }

    #[test]
    fn unknown_transfers_are_ignored() {
        let mut bars = Bars::new();
        bars.moved(1, 5);
        bars.done(1);
        bars.failed(1, "gone");
        bars.started(2, "name", 10, 5);
        bars.moved(2, 10);
        bars.done(2);
        assert!(bars.live.is_empty());
    }
}
