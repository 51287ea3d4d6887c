//! What of a core is taken, told by somebody who only gets what nobody else wants.
//!
//! A thread of the idle class (`SCHED_IDLE`) reads the clock without a pause; whatever lies between two readings that are far
//! apart was taken from it: the server, its soft interrupts on whichever stack, `ksoftirqd`, the machine's own little. The
//! kernel's own books are no help here: where they are kept by its tick, they are off by up to a third for a server that wakes often
//! and for a short time. (The way of Andrew Morton's `cyclesoak`.)

use std::{
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Instant,
};

use crate::measure::Outcome;

/// Two readings of the clock take 50 ns or so, an interrupt a microsecond and more.
const GAP_NS: u64 = 400;

/// Nanoseconds since the soaker began.
#[derive(Default)]
struct Readings {
    /// Taken from it so far.
    taken_ns: AtomicU64,
    /// When it last had a turn.
    last_ns: AtomicU64,
}

/// Soaks up a core until it is dropped.
pub(crate) struct Soaker {
    began: Instant,
    readings: Arc<Readings>,
    is_done: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Soaker {
    /// On this core, from now on.
    pub(crate) fn start(core: usize) -> Outcome<Self> {
        let (began, readings, is_done) =
            (Instant::now(), Arc::new(Readings::default()), Arc::new(AtomicBool::new(false)));
        let (written, done) = (readings.clone(), is_done.clone());
        let (said, hears) = std::sync::mpsc::sync_channel(1);
        let thread = thread::spawn(move || {
            let ready = settle(core).map_err(|error| error.to_string());
            let is_ready = ready.is_ok();
            let _ = said.send(ready);
            if is_ready {
                soak(began, &written, &done);
            }
        });
        hears.recv()??;
        Ok(Self { began, readings, is_done, thread: Some(thread) })
    }

    /// Seconds that were taken since it began.
    pub(crate) fn taken_seconds(&self) -> f64 {
        let [taken, last] = [&self.readings.taken_ns, &self.readings.last_ns].map(|ns| ns.load(Ordering::Relaxed));
        // Beside a server that has no moment to spare it may not have had a turn for long.
        let since = (self.began.elapsed().as_nanos() as u64).saturating_sub(last);
        (taken + if since > GAP_NS { since } else { 0 }) as f64 * 1e-9
    }
}

impl Drop for Soaker {
    fn drop(&mut self) {
        self.is_done.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Moves this thread to the core and into the idle class.
fn settle(core: usize) -> Outcome<()> {
    let thread = rustix::thread::gettid().as_raw_nonzero().to_string();
    for (program, args) in [("taskset", ["-p", "-c", &core.to_string()]), ("chrt", ["--idle", "-p", "0"])] {
        let output = Command::new(program).args(args).arg(&thread).output()?;
        if !output.status.success() {
            return Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr)).into());
        }
    }
    Ok(())
}

fn soak(began: Instant, readings: &Readings, is_done: &AtomicBool) {
    let mut last = began.elapsed().as_nanos() as u64;
    while !is_done.load(Ordering::Relaxed) {
        let now = began.elapsed().as_nanos() as u64;
        if now - last > GAP_NS {
            readings.taken_ns.fetch_add(now - last, Ordering::Relaxed);
        }
        readings.last_ns.store(now, Ordering::Relaxed);
        last = now;
    }
}
