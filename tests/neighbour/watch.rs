//! The neighbour: somebody with a promise, whose rate is watched while others do what they want.

use std::{
    fs::File,
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    stage::{Done, Wire, fetch},
    support::Server,
};

/// Timeouts that a test can wait for, short rounds, and an address whose rate does not depend on how many others there are.
pub(crate) const CONFIG: &str = "[allocation]\ninterval = \"500ms\"\nearly = \"100ms\"\n\
                      [http]\nhead_timeout = \"1s\"\nidle_timeout = \"1s\"\nstall_timeout = \"1s\"\n\
                      [limits]\nupload = \"8MB/s\"\n\
                      [[peer]]\nid = \"http:127.0.0.2\"\nupload_cap = \"2MB/s\"\nupload_floor = \"2MB/s\"\n";
const MB: f64 = 1e6;
/// What the neighbour is guaranteed, and may not exceed.
const HIS: f64 = 2.0 * MB;
/// The neighbour's rate is looked at each so often: 2 MB in pieces of up to 64 KiB, so that one more or less is within 4 %.
const WINDOW: Duration = Duration::from_secs(1);
/// So many windows have a median.
const WINDOWS_MIN: usize = 5;

/// Somebody at an address of his own, who reads for as long as the node lives; and what he has received.
pub(crate) fn neighbour(server: &Server) -> (thread::JoinHandle<()>, Arc<AtomicU64>) {
    File::create(server.share().join("endless.bin")).unwrap().set_len(64 << 30).unwrap();
    let received = Arc::new(AtomicU64::new(0));
    (fetch(Wire::from_address(server, Ipv4Addr::new(127, 0, 0, 2).into()), received.clone()), received)
}

/// Does `work`, and fails unless the neighbour had his rate for all of that time: what he received over the time it took, and
/// what he received in its windows by their median, which a machine that stood still for a moment does not move.
#[track_caller]
pub(crate) fn keeps_his_rate<T>(what: &str, received: &AtomicU64, work: impl FnOnce() -> T) -> T {
    let over = AtomicBool::new(false);
    let (done, seen) = thread::scope(|scope| {
        let watching = scope.spawn(|| {
            let mut seen = vec![(Instant::now(), received.load(Relaxed))];
            while !over.load(Relaxed) {
                thread::sleep(WINDOW);
                seen.push((Instant::now(), received.load(Relaxed)));
            }
            seen
        });
        // Also when an assertion fails: the scope waits for its threads.
        let ending = Done(&over);
        let done = work();
        drop(ending);
        (done, watching.join().unwrap())
    });
    let rate = |from: (Instant, u64), to: (Instant, u64)| (to.1 - from.1) as f64 / (to.0 - from.0).as_secs_f64();
    let whole = rate(seen[0], seen[seen.len() - 1]);
    let mut windows: Vec<f64> = seen.windows(2).map(|pair| rate(pair[0], pair[1])).collect();
    windows.sort_by(f64::total_cmp);
    let median = windows[windows.len() / 2];
    eprintln!("{what}: {:.3} MB/s, median of {} windows {:.3} MB/s", whole / MB, windows.len(), median / MB);
    assert!(windows.len() >= WINDOWS_MIN, "{what}: {} windows say nothing", windows.len());
    assert!((0.95 * HIS..=1.03 * HIS).contains(&whole), "{what}: {whole:.0} B/s; windows {windows:.0?}");
    assert!((0.97 * HIS..=1.03 * HIS).contains(&median), "{what}: median {median:.0} B/s; windows {windows:.0?}");
    done
}

/// While nothing else happens.
#[track_caller]
pub(crate) fn keeps_his_rate_alone(what: &str, received: &AtomicU64) {
    keeps_his_rate(what, received, || thread::sleep(WINDOW * WINDOWS_MIN as u32));
}

pub(crate) fn refused(server: &Server, reason: &str) -> f64 {
    server.metric("evenkeel_refusals_total", &[&format!("reason=\"{reason}\"")])
}
