//! One bar for each transfer: name, share of the file, rate, time left.

use std::{collections::HashMap, fmt::Write};

use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};

use super::show_bytes;
use crate::node::TransferProgress;

/// Bars on standard error.
#[derive(Debug, Default)]
pub struct Bars {
    screen: MultiProgress,
    live: HashMap<u32, ProgressBar>,
    /// Of everything that was planned; then the bars of single transfers go when they are done.
    sum: Option<ProgressBar>,
}

impl Bars {
    /// Nothing is drawn before the first transfer.
    pub fn new() -> Self {
        Self::default()
    }

    fn bar(&self, size: u64) -> ProgressBar {
        ProgressBar::new(size).with_style(style())
    }

    fn line(&self, text: &str) {
        // A terminal that went away is no reason to stop a transfer.
        let _ = self.screen.println(text);
    }
}

impl TransferProgress for Bars {
    fn planned(&mut self, transfers: u64, bytes: u64) {
        let sum = self.screen.insert(0, self.bar(bytes));
        sum.set_message(format!("{transfers} files"));
        if let Some(before) = self.sum.replace(sum) {
            before.finish();
        }
    }

    fn started(&mut self, id: u32, name: &str, size: u64, start: u64) {
        // Once more, after the link was lost: it is the same file.
        if let Some(before) = self.live.remove(&id) {
            if let Some(sum) = &self.sum {
                sum.set_position(sum.position().saturating_sub(before.position()));
            }
            before.finish_and_clear();
        }
        let bar = self.screen.add(self.bar(size));
        bar.set_message(wire::printable(name).into_owned());
        bar.set_position(start);
        if let Some(sum) = &self.sum {
            sum.inc(start);
        }
        // What was there before is no sign of the rate.
        bar.reset_eta();
        self.live.insert(id, bar);
    }

    fn moved(&mut self, id: u32, offset: u64) {
        if let Some(bar) = self.live.get(&id) {
            if let Some(sum) = &self.sum {
                sum.inc(offset.saturating_sub(bar.position()));
            }
            bar.set_position(offset);
        }
    }

    fn done(&mut self, id: u32) {
        if let Some(bar) = self.live.remove(&id) {
            match &self.sum {
                Some(_) => bar.finish_and_clear(),
                None => bar.finish(),
            }
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

/// With bytes and rates in the units that everything else is told in.
fn style() -> ProgressStyle {
    // The bar's own memory takes everything.
    let put = |out: &mut dyn Write, text: String| out.write_str(&text).unwrap_or_default();
    let style = ProgressStyle::with_template(TEMPLATE).unwrap_or_else(|_| ProgressStyle::default_bar());
    style
        .with_key("size", move |state: &ProgressState, out: &mut dyn Write| {
            put(out, show_bytes(state.len().unwrap_or(0)));
        })
        .with_key("rate", move |state: &ProgressState, out: &mut dyn Write| put(out, rate(state.per_sec())))
        .progress_chars("=> ")
}

fn rate(bytes_per_second: f64) -> String {
    format!("{}/s", show_bytes(bytes_per_second as u64))
}

const TEMPLATE: &str = "{msg:28!} [{wide_bar}] {percent:>3}% of {size:>9} {rate:>12} {eta:>4} left";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_is_valid() {
        assert!(ProgressStyle::with_template(TEMPLATE).is_ok());
    }

    #[test]
    fn bytes_and_rates_have_the_units_of_all_others() {
        assert!(!TEMPLATE.contains("bytes"), "those of the library are kB");
        assert_eq!(rate(20_480.0), "20.5 KB/s");
        assert_eq!(rate(f64::INFINITY), "18.4 EB/s");
        let bar = ProgressBar::hidden().with_style(style());
        bar.set_length(1_500_000);
        bar.tick();
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

    #[test]
    fn the_sum_moves_with_its_transfers() {
        let mut bars = Bars::new();
        bars.planned(2, 30);
        for (id, start) in [(0, 5), (1, 0)] {
            bars.started(id, "name", 15, start);
            bars.moved(id, 10);
            bars.moved(id, 15);
            bars.done(id);
        }
        assert_eq!(bars.sum.unwrap().position(), 30);
    }

    #[test]
    fn a_transfer_that_starts_again_is_counted_once() {
        let mut bars = Bars::new();
        bars.planned(1, 15);
        for start in [0, 5] {
            bars.started(0, "name", 15, start);
            bars.moved(0, 10);
        }
        assert_eq!((bars.sum.unwrap().position(), bars.live.len()), (10, 1));
    }
}
