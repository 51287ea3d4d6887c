//! What many bad clients do at once, and what others notice of it: nothing.

use std::{
    io::Read as _,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use crate::{
    stage::{Done, Wire, node},
    support::{Server, steady::steadily, turn::alone, wait_until},
    watch::{CONFIG, keeps_his_rate, keeps_his_rate_alone, neighbour, refused},
};

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

/// Asks for little, which the socket holds as soon as it may go, and does not wait for it.
fn leave_after_a_piece(server: &Server) {
    let mut wire = Wire::to(server);
    wire.say(get("endless.bin", "Range: bytes=0-131071\r\nConnection: close\r\n"));
    // More than a head, which nobody waits for.
    let _ = wire.stream().read_exact(&mut [0; 4096]);
}

const ABUSES: &[Abuse] =
    &[trickle, header_of_a_mebibyte, ranges, two_lengths, chunks, http2, tls, deaf, deaf, leave_in_the_middle];

/// What each leaves behind in the counter of refusals.
const REASONS: &[&str] = &["header_timeout", "headers", "ranges", "smuggling", "http2", "tls_on_plain", "stalled"];

#[test]
fn a_neighbour_keeps_his_rate_while_all_abuse_runs_at_once() {
    steadily(|| {
        alone();
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
    });
}

/// Each new transfer goes before those that are under way, with a share of its own until the allocator has seen it. Whoever left after the
/// first piece and began anew had one with each of them: one after the other left 1.8 of 2 MB/s to a neighbour.
#[test]
fn a_neighbour_has_his_share_beside_those_who_begin_anew_after_each_piece() {
    steadily(|| {
        alone();
        for begun in [1, 20] {
            let server = node("[limits]\nupload = \"4MB/s\"\n", &[]);
            let (neighbour, received) = neighbour(&server);
            wait_until("he has begun", 10, || received.load(Relaxed) > 1_000_000);
            let (before, began) = (received.load(Relaxed), Instant::now());
            let left = thread::scope(|scope| {
                let leave =
                    || (0..).take_while(|_| began.elapsed() < ABUSED).map(|_| leave_after_a_piece(&server)).count();
                let leaving: Vec<_> = (0..begun).map(|_| scope.spawn(leave)).collect();
                leaving.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>()
            });
            let rate = (received.load(Relaxed) - before) as f64 / began.elapsed().as_secs_f64();
            eprintln!("beside {begun}: {rate:.0} B/s of 4 MB/s, and {left} have left");
            assert!(rate >= 1.9e6, "beside {begun}: {rate:.0} B/s, half of 4 MB/s is his");
            assert!(left > 100, "{left} have left");
            drop(server);
            neighbour.join().unwrap();
        }
    });
}
