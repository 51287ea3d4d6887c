//! What receivers have on disk, looked at every few milliseconds.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(5);

/// Bytes of every file at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Look {
    /// When.
    pub(crate) at: Instant,
    /// Bytes, in the order of the files.
    pub(crate) bytes: Vec<u64>,
}

/// A thread that looks.
pub(crate) struct Watch {
    stop: Arc<AtomicBool>,
    looks: Arc<Mutex<Vec<Look>>>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Looks at `files` from now on. One that is not there has no bytes; one that was renamed to its final name counts on.
    pub(crate) fn start(files: Vec<PathBuf>) -> Self {
        let (stop, looks) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (stopped, kept) = (stop.clone(), looks.clone());
        let thread = std::thread::spawn(move || {
            let len = |path: &PathBuf| std::fs::metadata(path).ok().map(|meta| meta.len());
            while !stopped.load(Relaxed) {
                let bytes = files.iter().map(|path| len(path).or_else(|| len(&path.with_extension(""))).unwrap_or(0));
                let look = Look { at: Instant::now(), bytes: bytes.collect() };
                if let Ok(mut looks) = kept.lock() {
                    looks.push(look);
                }
                std::thread::sleep(LOOK);
            }
        });
        Self { stop, looks, thread: Some(thread) }
    }

    /// Stops and gives back all looks.
    pub(crate) fn stop(mut self) -> Looks {
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        Looks(self.looks.lock().map(|looks| looks.clone()).unwrap_or_default())
    }
}

/// All looks of a watch.
pub(crate) struct Looks(pub(crate) Vec<Look>);

impl Looks {
    /// Bytes per second of each file between two moments.
    pub(crate) fn rates(&self, from: Instant, to: Instant) -> Vec<f64> {
        let (Some(first), Some(last)) = (self.at(from), self.at(to)) else { return Vec::new() };
        let seconds = (last.at - first.at).as_secs_f64().max(1e-9);
        last.bytes.iter().zip(&first.bytes).map(|(last, first)| last.saturating_sub(*first) as f64 / seconds).collect()
    }

    /// The last look before `moment`.
    pub(crate) fn at(&self, moment: Instant) -> Option<&Look> {
        let after = self.0.partition_point(|look| look.at <= moment);
        self.0.get(after.saturating_sub(1))
    }

    /// The longest time between two looks.
    pub(crate) fn coarsest(&self) -> Duration {
        self.0.windows(2).map(|pair| pair[1].at - pair[0].at).max().unwrap_or_default()
    }
}
