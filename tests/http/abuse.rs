//! What many bad clients do at once, and what others notice of it: nothing.

use std::{
    fs::File,
    io::Read as _,
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    stage::{Done, Wire, node},
    support::{Server, wait_until},
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
/// What an address may have open by default.
const PER_ADDRESS_MAX: usize = 1024;

/// How long everybody attacks, at least.
const ABUSED: Duration = Duration::from_secs(8);
/// Between two attacks of a kind: the node is to be attacked, not the machine worn out that the neighbour shares.
const PAUSE: Duration = Duration::from_millis(10);

/// One kind of abuse, from a connection to its end; called again and again until it is over.
type Abuse = fn(&Server);

fn get(path: &str, headers: &str) -> String {
    format!("GET /share/{path} HTTP/1.1\r\nHost: h\r\n{headers}\r\n")
}

/// A byte now and then, until the node has had enough.
fn trickle(server: &Server) {
    let mut wire = Wire::to(server);
    wire.say("GET /share/file.bin HTTP/1.1\r\n");
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(900) {
        wire.say("X");
        thread::sleep(Duration::from_millis(30));
    }
    wire.hear_to_the_end();
}

fn header_of_a_mebibyte(server: &Server) {
    let mut wire = Wire::to(server);
    wire.say(get("file.bin", &format!("Cookie: {}\r\n", "a".repeat(1 << 20))));
    wire.hear_to_the_end();
}

fn ranges(server: &Server) {
    let apart: Vec<String> = (0..1000).map(|index| format!("{0}-{0}", index * 900)).collect();
    let overlapping = ["0-9,5-20,-1"; 300].join(",");
    for ranges in [apart.join(","), overlapping, "-5--1,9-5,--5".to_owned()] {
        let mut wire = Wire::to(server);
        wire.say(get("file.bin", &format!("Connection: close\r\nRange: bytes={ranges}\r\n")));
        swallow(&wire);
    }
}

/// Reads to the end, whatever it is.
fn swallow(wire: &Wire) {
    while let Ok(1..) = wire.stream().read(&mut [0; 4096]) {}
}

fn two_lengths(server: &Server) {
    Wire::to(server).say(get("file.bin", "Content-Length: 3\r\nContent-Length: 4\r\n") + "abcd").hear_to_the_end();
}

fn chunks(server: &Server) {
    Wire::to(server)
        .say(get("file.bin", "Transfer-Encoding: chunked\r\n") + "5\r\nhello\r\n0\r\n\r\n")
        .hear_to_the_end();
}

fn http2(server: &Server) {
    Wire::to(server).say("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").hear_to_the_end();
}

fn tls(server: &Server) {
    let mut wire = Wire::to(server);
    wire.say([0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03]);
    swallow(&wire);
}

/// Asks for everything and takes nothing, until the node has had enough of somebody.
fn deaf(server: &Server) {
    let mut wire = Wire::to(server);
    wire.say(get("endless.bin", ""));
    let before = refused(server, "stalled");
    let began = Instant::now();
    while refused(server, "stalled") == before && began.elapsed() < Duration::from_secs(15) {
        thread::sleep(Duration::from_millis(200));
    }
}

fn leave_in_the_middle(server: &Server) {
    let mut wire = Wire::to(server);
    wire.say(get("endless.bin", ""));
    let _ = wire.stream().read(&mut [0; 4096]);
}

const ABUSES: &[Abuse] =
    &[trickle, header_of_a_mebibyte, ranges, two_lengths, chunks, http2, tls, deaf, deaf, leave_in_the_middle];

/// What each leaves behind in the counter of refusals.
const REASONS: &[&str] = &["header_timeout", "headers", "ranges", "smuggling", "http2", "tls_on_plain", "stalled"];

/// Reads what comes of a file without end, and counts it.
pub(crate) fn fetch(mut wire: Wire, received: Arc<AtomicU64>) -> thread::JoinHandle<()> {
    wire.say(get("endless.bin", ""));
    thread::spawn(move || {
        let mut bytes = vec![0; 1 << 16];
        while let Ok(count @ 1..) = wire.stream().read(&mut bytes) {
            received.fetch_add(count as u64, Relaxed);
        }
    })
}

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

#[test]
fn a_neighbour_keeps_his_rate_while_all_abuse_runs_at_once() {
    let server = node(CONFIG, &[]);
    let (neighbour, received) = neighbour(&server);
    keeps_his_rate_alone("before", &received);
    let over = AtomicBool::new(false);
    let abused = || {
        thread::scope(|scope| {
            for abuse in ABUSES {
                let (over, server) = (&over, &server);
                scope.spawn(move || {
                    while !over.load(Relaxed) {
                        abuse(server);
                        thread::sleep(PAUSE);
                    }
                });
            }
            // Also when an assertion fails: the scope waits for its threads.
            let _done = Done(&over);
            let began = Instant::now();
            let counted = || REASONS.iter().all(|reason| refused(&server, reason) >= 1.0);
            wait_until("each kind is counted", 60, || counted() && began.elapsed() > ABUSED);
        })
    };
    keeps_his_rate("meanwhile", &received, abused);
    keeps_his_rate_alone("afterwards", &received);
    let lost = server.metric("evenkeel_transfers_ended_total", &["direction=\"upload\"", "outcome=\"lost\""]);
    assert!(lost >= 2.0, "{lost}");
    drop(server);
    neighbour.join().unwrap();
}

#[test]
fn ranges_that_overlap_or_are_negative_mean_what_http_says() {
    let server = node("", &[]);
    let content = std::fs::read(server.share().join("file.bin")).unwrap();
    let mut wire = Wire::to(&server);
    for (ranges, status, length) in [
        ("0-99,50-149", 206, 150),
        ("50-149,0-99,99-100", 206, 150),
        ("0-,0-,0-", 206, 1_000_000),
        ("-100", 206, 100),
        ("-100,-50", 206, 100),
        ("-2000000", 206, 1_000_000),
        // These are no ranges, so there is none.
        ("--5", 200, 1_000_000),
        ("-5--1", 200, 1_000_000),
        ("9-5", 200, 1_000_000),
    ] {
        let answer = wire.get("file.bin", &format!("Range: bytes={ranges}\r\n"));
        assert_eq!((answer.status, answer.body.len()), (status, length), "{ranges}");
        let from =
            answer.header("content-range").map_or(0, |range| range[6..].split('-').next().unwrap().parse().unwrap());
        assert_eq!(answer.body, content[from..from + length], "{ranges}");
    }
    for ranges in ["-0", "1000000-", "5000000-6000000", "99999999999999999999999-"] {
        assert_eq!(wire.get("file.bin", &format!("Range: bytes={ranges}\r\n")).status, 416, "{ranges}");
    }
}

#[test]
fn of_five_thousand_connections_from_an_address_all_above_its_limit_are_refused() {
    const CONNECTIONS: usize = 5000;
    host::raise_descriptor_limit().unwrap();
    let server = node("", &[]);
    let open = || server.metric("evenkeel_http_connections", &[]);
    let held: Vec<Wire> = (0..PER_ADDRESS_MAX).map(|_| Wire::to(&server)).collect();
    wait_until("all places of the address are taken", 30, || open() == PER_ADDRESS_MAX as f64);
    let mut next = Wire::to(&server);
    let answer = next.hear(true);
    assert_eq!((answer.status, answer.header("connection")), (429, Some("close")));
    assert!(next.is_closed());
    // The others at once: some are told why, all are closed, none is kept.
    let mut flood: Vec<Wire> = (PER_ADDRESS_MAX + 1..CONNECTIONS).map(|_| Wire::to(&server)).collect();
    wait_until("each is refused", 60, || refused(&server, "per_address") == (CONNECTIONS - PER_ADDRESS_MAX) as f64);
    for wire in &mut flood {
        let said = wire.hear_to_the_end();
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 429 "), "{said}");
    }
    assert_eq!(open(), PER_ADDRESS_MAX as f64);
    let mut other = Wire::from_address(&server, Ipv4Addr::new(127, 0, 0, 2).into());
    assert_eq!(other.get("file.bin", "").body.len(), 1_000_000, "another address is served as ever");
    drop((held, flood));
    wait_until("the places are given back", 30, || open() == 1.0);
    assert_eq!(Wire::to(&server).get("file.bin", "Range: bytes=0-9\r\n").status, 206);
}
