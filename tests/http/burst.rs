//! Connections that come by the thousand, and what the operator and a neighbour notice of it.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use crate::{
    abuse::{CONFIG, keeps_his_rate, keeps_his_rate_alone, neighbour, refused},
    stage::{Done, Wire, node},
    support::{Server, wait_until},
};

/// How long connections come.
const BURST: Duration = Duration::from_secs(6);
/// Threads that begin connections: as many as a small machine has cores, so that the node has some of it as well.
const CALLERS: u8 = 2;
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

#[test]
fn control_is_answered_and_a_neighbour_keeps_his_rate_while_thousands_of_connections_come_and_go() {
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
            let (began, mut waits) = (Instant::now(), Vec::new());
            while began.elapsed() < BURST {
                let asked = Instant::now();
                assert_eq!(server.get("/v1/status")["state"], "running");
                waits.push(asked.elapsed());
                thread::sleep(Duration::from_millis(5));
            }
            let came = served.load(Relaxed) as f64 / began.elapsed().as_secs_f64();
            (waits, came)
        })
    };
    let (mut waits, came) = keeps_his_rate("meanwhile", &received, burst);
    waits.sort_unstable();
    let of = |part: usize| waits[waits.len() * part / 100];
    eprintln!("{came:.0} connections a second; status after {:?} (median), {:?} (p95)", of(50), of(95));
    assert!(of(95) < STATUS_P95_MAX, "{:?}", of(95));
    // A tenth of what was measured.
    assert!(came > 600.0, "{came}");
    wait_until("all are gone", 20, || server.metric("evenkeel_http_connections", &[]) == 1.0);
    drop(server);
    neighbour.join().unwrap();
}

#[test]
fn a_neighbour_keeps_his_rate_while_one_address_opens_five_thousand_connections_again_and_again() {
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
}
