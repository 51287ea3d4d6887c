//! Connections that come by the thousand, and what the operator and a neighbour notice of it.

use std::{
    fs,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use crate::{
    stage::{Done, Wire, node},
    support::{Server, steady::steadily, turn::alone, wait_until},
    watch::{CONFIG, keeps_his_rate, keeps_his_rate_alone, neighbour, refused},
};

/// How long connections come.
const BURST: Duration = Duration::from_secs(6);
/// Threads that begin connections: as many as a small machine has cores, so that the node has some of it as well.
const CALLERS: u8 = 2;
/// Connections of one burst, and the time from one to the next: a second for all.
const ARRIVALS: u32 = 5000;
const BETWEEN_ARRIVALS: Duration = Duration::from_micros(200);
/// Far more than a busy machine makes of a fraction of a millisecond; far less than a queue of thousands of connections.
const STATUS_P95_MAX: Duration = Duration::from_millis(50);

/// Begins a connection, has something small, closes; each from another address than the last ones.
fn come_and_go(server: &Server, caller: u8, over: &AtomicBool, served: &AtomicU64) {
    for turn in 0.. {
        if over.load(Relaxed) {
            return;
        }
        let from = [127, 10 + caller, (turn / 250 % 250) as u8, (turn % 250 + 1) as u8];
        let mut wire = Wire::from_address(server, from.into());
        let answer = wire.get("file.bin", "Range: bytes=0-99\r\nConnection: close\r\n");
        served.fetch_add(u64::from(answer.status == 206), Relaxed);
    }
}

/// Asks for the status again and again while `goes_on`; how long each answer took.
fn status_waits(server: &Server, goes_on: impl Fn() -> bool) -> Vec<Duration> {
    let mut waits = Vec::new();
    while goes_on() {
        let asked = Instant::now();
        assert_eq!(server.get("/v1/status")["state"], "running");
        waits.push(asked.elapsed());
        thread::sleep(Duration::from_millis(5));
    }
    waits
}

/// The wait that one in twenty is longer than.
fn p95(what: &str, mut waits: Vec<Duration>) -> Duration {
    waits.sort_unstable();
    let of = |part: usize| waits[waits.len() * part / 100];
    eprintln!("{what} after {:?} (median), {:?} (p95), {:?} (p99) of {}", of(50), of(95), of(99), waits.len());
    of(95)
}

#[test]
fn control_is_answered_and_a_neighbour_keeps_his_rate_while_thousands_of_connections_come_and_go() {
    steadily(|| {
        alone();
        let server = node(CONFIG, &[]);
        let (neighbour, received) = neighbour(&server);
        keeps_his_rate_alone("before", &received);
        let (over, served) = (AtomicBool::new(false), AtomicU64::new(0));
        let burst = || {
            thread::scope(|scope| {
                let _done = Done(&over);
                for caller in 0..CALLERS {
                    let (server, over, served) = (&server, &over, &served);
                    scope.spawn(move || come_and_go(server, caller, over, served));
                }
                let began = Instant::now();
                let waits = status_waits(&server, || began.elapsed() < BURST);
                let came = served.load(Relaxed) as f64 / began.elapsed().as_secs_f64();
                (waits, came)
            })
        };
        let (waits, came) = keeps_his_rate("meanwhile", &received, burst);
        eprintln!("{came:.0} connections a second");
        assert!(p95("status", waits) < STATUS_P95_MAX);
        // A tenth of what was measured.
        assert!(came > 600.0, "{came}");
        wait_until("all are gone", 20, || server.metric("evenkeel_http_connections", &[]) == 1.0);
        drop(server);
        neighbour.join().unwrap();
    });
}

/// Connections that come at their times, whether those before are served or not, each asking for something small at once; all
/// are open at one time.
fn arrive(server: &Server) -> Vec<Wire> {
    let began = Instant::now();
    let call = |caller: u32| {
        let mut wires = Vec::new();
        for index in (caller..ARRIVALS).step_by(usize::from(CALLERS)) {
            // Late ones are not left out, but follow at once.
            thread::sleep((BETWEEN_ARRIVALS * index).saturating_sub(began.elapsed()));
            let from = [127, 30, (index / 250 % 2) as u8, (index % 250 + 1) as u8];
            let mut wire = Wire::from_address(server, from.into());
            wire.say("GET /share/file.bin HTTP/1.1\r\nHost: h\r\nRange: bytes=0-99\r\n\r\n");
            wires.push(wire);
        }
        wires
    };
    let wires: Vec<Wire> = thread::scope(|scope| {
        let callers: Vec<_> = (0..u32::from(CALLERS)).map(|caller| scope.spawn(move || call(caller))).collect();
        callers.into_iter().flat_map(|caller| caller.join().unwrap()).collect()
    });
    eprintln!("{:.0} connections came in a second", f64::from(ARRIVALS) / began.elapsed().as_secs_f64());
    wires
}

/// Here connections do not wait for the node, and with as many callers as a small machine has cores there is nothing left of
/// it, so a neighbour's rate would say what the machine takes. It is measured above.
#[test]
fn five_thousand_connections_a_second_are_all_answered_and_control_meanwhile() {
    steadily(|| {
        alone();
        let open_files = host::raise_descriptor_limit().unwrap();
        if open_files < u64::from(ARRIVALS) + 500 {
            eprintln!("the limit on open files is {open_files}: this test says nothing");
            return;
        }
        let server = node("", &[]);
        let first = fs::read(server.share().join("file.bin")).unwrap()[..100].to_vec();
        let over = AtomicBool::new(false);
        let (waits, rounds) = thread::scope(|scope| {
            let asking = scope.spawn(|| status_waits(&server, || !over.load(Relaxed)));
            let done = Done(&over);
            let (began, mut rounds) = (Instant::now(), 0);
            while began.elapsed() < BURST {
                let mut wires = arrive(&server);
                for wire in &mut wires {
                    let answer = wire.hear(true);
                    assert!(answer.status == 206 && answer.body == first, "{}", answer.head);
                }
                let open = || server.metric("evenkeel_http_connections", &[]);
                assert_eq!(open(), f64::from(ARRIVALS), "nobody was given up");
                rounds += 1;
                drop(wires);
                wait_until("all are gone", 20, || open() == 0.0);
            }
            drop(done);
            (asking.join().unwrap(), rounds)
        });
        assert!(p95("status", waits) < STATUS_P95_MAX);
        let answered = server.metric("evenkeel_http_requests_total", &["status=\"206\""]);
        assert_eq!(answered, f64::from(rounds * ARRIVALS));
        assert_eq!(server.metric("evenkeel_refusals_total", &[]), 0.0, "{}", server.page());
    });
}

#[test]
fn a_neighbour_keeps_his_rate_while_one_address_opens_five_thousand_connections_again_and_again() {
    steadily(|| {
        alone();
        const CONNECTIONS: usize = 5000;
        host::raise_descriptor_limit().unwrap();
        let server = node(CONFIG, &[]);
        let (neighbour, received) = neighbour(&server);
        keeps_his_rate_alone("before", &received);
        let over = AtomicBool::new(false);
        let refusing = || {
            thread::scope(|scope| {
                let _done = Done(&over);
                let (server, over) = (&server, &over);
                let began = Instant::now();
                scope.spawn(move || {
                    while !over.load(Relaxed) {
                        let crowd: Vec<Wire> =
                            (0..CONNECTIONS).map_while(|_| (!over.load(Relaxed)).then(|| Wire::to(server))).collect();
                        drop(crowd);
                    }
                });
                let many = || refused(server, "per_address") > 2.0 * CONNECTIONS as f64;
                wait_until("most are refused", 30, || many() && began.elapsed() > BURST);
            })
        };
        keeps_his_rate("meanwhile", &received, refusing);
        keeps_his_rate_alone("afterwards", &received);
        drop(server);
        neighbour.join().unwrap();
    });
}
