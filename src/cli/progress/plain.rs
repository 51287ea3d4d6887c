//! Lines for logs and pipes: at most one a second for all transfers together, so that a thousand small files don't fill a
//! log. Failures and notes are always written.

use std::{
    collections::BTreeMap,
    fmt,
    io::Write,
    time::{Duration, Instant},
};

use flow::Rate;

use super::{percent, show_bytes, show_seconds};
use crate::node::TransferProgress;

/// Writes lines to `out`; the last state is written when it is dropped.
pub struct Plain<W: Write + Send> {
    out: W,
    clock: Box<dyn Fn() -> Duration + Send>,
    live: BTreeMap<u32, Transfer>,
    counts: Counts,
    written: Option<Written>,
    /// Whether something happened that no line tells yet.
    news: bool,
}

struct Transfer {
    name: String,
    size: u64,
    offset: u64,
}

/// Over the whole run. Files: those that were started, or failed before. Sizes are what a node says, perhaps too much for a
/// sum: then it stays at the greatest number.
#[derive(Default)]
struct Counts {
    files: u64,
    done: u64,
    failed: u64,
    /// Files that are still to be started, and their bytes.
    planned: u64,
    planned_size: u64,
    /// Bytes of all files that were started.
    size: u64,
    /// Bytes that are there: of live, done and failed ones.
    offset: u64,
    /// Bytes that came in this run.
    moved: u64,
}

/// The last line.
struct Written {
    at: Duration,
    moved: u64,
}

impl<W: Write + Send> Plain<W> {
    /// Lines on `out`, by this machine's clock.
    pub fn new(out: W) -> Self {
        let origin = Instant::now();
        Self::with_clock(out, move || origin.elapsed())
    }

    fn with_clock(out: W, clock: impl Fn() -> Duration + Send + 'static) -> Self {
        let clock = Box::new(clock);
        Self { out, clock, live: BTreeMap::new(), counts: Counts::default(), written: None, news: false }
    }

    fn tick(&mut self) {
        let now = (self.clock)();
        match &self.written {
            // The first line waits as well: a file that is there within a second needs one line, not two.
            None => self.written = Some(Written { at: now, moved: self.counts.moved }),
            Some(written) if now.saturating_sub(written.at) >= INTERVAL => self.write_state(now),
            Some(_) => {}
        }
    }

    fn write_state(&mut self, now: Duration) {
        let (since, before) = self.written.as_ref().map_or((now, 0), |written| (written.at, written.moved));
        let seconds = now.saturating_sub(since).as_secs_f64().max(0.001);
        let rate = (self.counts.moved - before) as f64 / seconds;
        let line = self.state(rate);
        self.line(&line);
        self.written = Some(Written { at: now, moved: self.counts.moved });
        self.news = false;
    }

    /// `NAME: 45% of 1.5 GB, 10.0 MB/s (80 Mbit/s), 3 min 20 s left`, or the same of all files.
    fn state(&self, rate: f64) -> String {
        let counts = &self.counts;
        let size = counts.size.saturating_add(counts.planned_size);
        let what = match (counts.files + counts.planned, self.live.values().next()) {
            (1, Some(only)) => only.name.clone(),
            (1, None) => "1 file".to_owned(),
            (files, _) => format!("{} of {files} files", counts.done),
        };
        if size == 0 && counts.failed > 0 {
            return format!("{what}: ended, {} failed", counts.failed);
        }
        let mut line = format!("{what}: {}% of {}", percent(counts.offset, size), show_bytes(size));
        if self.live.is_empty() && counts.planned == 0 {
            line.push_str(if counts.failed == 0 { ", done" } else { ", ended" });
        } else {
            line.push_str(&format!(", {}", Rate::from_f64(rate)));
            let live = self.live.values().map(|transfer| transfer.size - transfer.offset);
            let missing = live.fold(counts.planned_size, u64::saturating_add);
            if rate > 0.0 {
                line.push_str(&format!(", {} left", show_seconds(missing as f64 / rate)));
            }
        }
        if counts.failed > 0 {
            line.push_str(&format!(", {} failed", counts.failed));
        }
        line
    }

    fn line(&mut self, text: &str) {
        // A log that went away is no reason to stop a transfer.
        let _ = writeln!(self.out, "{text}");
    }
}

impl Counts {
    /// A file of `size` bytes is no longer to be started. It may have another size by now than it was planned with.
    fn begin(&mut self, size: u64) {
        self.files += 1;
        self.planned = self.planned.saturating_sub(1);
        self.planned_size = if self.planned == 0 { 0 } else { self.planned_size.saturating_sub(size) };
    }

    /// What was counted of a transfer that starts once more. The bytes that moved did so all the same.
    fn take_back(&mut self, transfer: &Transfer) {
        self.size = self.size.saturating_sub(transfer.size);
        self.offset = self.offset.saturating_sub(transfer.offset);
    }
}

impl<W: Write + Send> TransferProgress for Plain<W> {
    fn planned(&mut self, transfers: u64, bytes: u64) {
        self.counts.planned += transfers;
        self.counts.planned_size = self.counts.planned_size.saturating_add(bytes);
    }

    fn started(&mut self, id: u32, name: &str, size: u64, start: u64) {
        let start = start.min(size);
        match self.live.remove(&id) {
            // Once more, after the link was lost: it is the same file.
            Some(before) => self.counts.take_back(&before),
            None => self.counts.begin(size),
        }
        self.counts.size = self.counts.size.saturating_add(size);
        self.counts.offset = self.counts.offset.saturating_add(start);
        self.news = true;
        self.live.insert(id, Transfer { name: wire::printable(name).into_owned(), size, offset: start });
        self.tick();
    }

    fn moved(&mut self, id: u32, offset: u64) {
        let Some(transfer) = self.live.get_mut(&id) else { return };
        let offset = offset.min(transfer.size);
        let step = offset.saturating_sub(transfer.offset);
        transfer.offset += step;
        self.counts.offset = self.counts.offset.saturating_add(step);
        self.counts.moved = self.counts.moved.saturating_add(step);
        self.news = true;
        self.tick();
    }

    fn done(&mut self, id: u32) {
        if self.live.remove(&id).is_some() {
            self.counts.done += 1;
            self.news = true;
            self.tick();
        }
    }

    fn failed(&mut self, id: u32, why: &str) {
        if self.live.remove(&id).is_none() {
            // Refused before its size was known.
            self.counts.begin(0);
        }
        self.counts.failed += 1;
        self.news = true;
        self.line(why);
    }

    fn note(&mut self, text: &str) {
        self.line(text);
    }
}

impl<W: Write + Send> Drop for Plain<W> {
    fn drop(&mut self) {
        // One file that never started has had its line.
        let told = self.counts.files == 1 && self.counts.failed == 1 && self.counts.size == 0;
        if self.news && !told {
            self.write_state((self.clock)());
        }
    }
}

impl<W: Write + Send> fmt::Debug for Plain<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plain").field("live", &self.live.len()).finish_non_exhaustive()
    }
}

/// Between two lines.
const INTERVAL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    };

    use super::*;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl Log {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    fn plain() -> (Plain<Log>, Log, Arc<AtomicU64>) {
        let (log, millis) = (Log::default(), Arc::new(AtomicU64::new(0)));
        let now = Arc::clone(&millis);
        let plain = Plain::with_clock(log.clone(), move || Duration::from_millis(now.load(Ordering::Relaxed)));
        (plain, log, millis)
    }

    #[test]
    fn one_file_one_line_a_second() {
        let (mut plain, log, millis) = plain();
        plain.started(1, "a.iso", 10_000_000, 4_000_000);
        for step in 1..=25 {
            millis.store(step * 100, Ordering::Relaxed);
            plain.moved(1, 4_000_000 + step * 200_000);
        }
        plain.moved(1, 10_000_000);
        plain.done(1);
        drop(plain);
        insta::assert_snapshot!(log.text(), @r"
        a.iso: 60% of 10.0 MB, 2.0 MB/s (16 Mbit/s), 2 s left
        a.iso: 80% of 10.0 MB, 2.0 MB/s (16 Mbit/s), 1 s left
        1 file: 100% of 10.0 MB, done
        ");
    }

    #[test]
    fn a_thousand_small_files_are_a_few_lines() {
        let (mut plain, log, millis) = plain();
        for id in 0..1000 {
            plain.started(id, "x", 10, 0);
            plain.moved(id, 10);
            millis.store(u64::from(id) * 2, Ordering::Relaxed);
            match id {
                500 => plain.failed(id, "x: the disk is full"),
                _ => plain.done(id),
            }
        }
        drop(plain);
        let text = log.text();
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(text.starts_with("x: the disk is full\n"), "{text}");
        assert!(text.ends_with("999 of 1000 files: 100% of 10.0 KB, ended, 1 failed\n"), "{text}");
    }

    #[test]
    fn what_is_planned_is_part_of_the_sum() {
        let (mut plain, log, millis) = plain();
        plain.planned(4, 4_000_000);
        plain.started(0, "a", 1_000_000, 0);
        plain.moved(0, 500_000);
        millis.store(1000, Ordering::Relaxed);
        plain.moved(0, 1_000_000);
        plain.done(0);
        plain.failed(1, "b: no such file");
        // Larger than it was listed.
        plain.started(2, "c", 2_500_000, 0);
        millis.store(2000, Ordering::Relaxed);
        plain.moved(2, 2_500_000);
        plain.done(2);
        plain.started(3, "d", 1_000_000, 1_000_000);
        plain.done(3);
        drop(plain);
        insta::assert_snapshot!(log.text(), @r"
        0 of 4 files: 25% of 4.0 MB, 1.0 MB/s (8 Mbit/s), 3 s left
        b: no such file
        1 of 4 files: 87% of 4.0 MB, 2.5 MB/s (20 Mbit/s), 1 s left, 1 failed
        3 of 4 files: 100% of 4.5 MB, ended, 1 failed
        ");
    }

    #[test]
    fn a_transfer_that_failed_before_it_started_was_not_told() {
        let (mut plain, log, _) = plain();
        plain.started(1, "a", 10, 0);
        plain.moved(1, 10);
        plain.done(1);
        plain.failed(2, "`b`: no such file");
        drop(plain);
        assert_eq!(log.text(), "`b`: no such file\n1 of 2 files: 100% of 10 B, ended, 1 failed\n");
    }

    #[test]
    fn a_transfer_that_starts_again_is_counted_once() {
        let (mut plain, log, _) = plain();
        plain.planned(2, 2_000_000);
        plain.started(0, "a", 1_000_000, 0);
        plain.moved(0, 600_000);
        plain.started(0, "a", 1_000_000, 500_000);
        plain.started(0, "a", 1_000_000, 500_000);
        plain.moved(0, 1_000_000);
        plain.done(0);
        plain.started(1, "b", 1_000_000, 0);
        plain.moved(1, 500_000);
        drop(plain);
        assert!(log.text().starts_with("1 of 2 files: 75% of 2.0 MB, "), "{}", log.text());
    }

    #[test]
    fn sizes_too_great_for_a_sum_are_no_panic() {
        let (mut plain, log, millis) = plain();
        plain.planned(3, u64::MAX);
        plain.planned(1, u64::MAX);
        for (id, start) in [(0, 0), (1, u64::MAX), (2, u64::MAX)] {
            plain.started(id, "a", u64::MAX, start);
            millis.fetch_add(1000, Ordering::Relaxed);
            plain.moved(id, 1);
        }
        plain.failed(2, "`a`: gone");
        drop(plain);
        assert!(log.text().contains("`a`: gone\n"), "{}", log.text());
    }

    #[test]
    fn nothing_to_tell_is_no_line() {
        let (plain, log, _) = plain();
        drop(plain);
        assert_eq!(log.text(), "");
    }
}
