//! Shares beside those who fetch one small thing after the other: nobody has planned what has just begun.

use std::{
    io::Read as _,
    net::Ipv4Addr,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use crate::{
    stage::{Done, Wire, node},
    support::{Server, steady::steadily, turn::alone, wait_until},
    watch::neighbour,
};

const WATCHED: Duration = Duration::from_secs(5);
/// Until everybody is known.
const SETTLED: Duration = Duration::from_secs(1);

/// The rate at which he receives.
fn watch(his: &AtomicU64) -> f64 {
    let (before, began) = (his.load(Relaxed), Instant::now());
    thread::sleep(WATCHED);
    (his.load(Relaxed) - before) as f64 / began.elapsed().as_secs_f64()
}

/// Fetches 64 KiB over a new connection, again and again.
fn fetch_and_fetch(server: &Server, from: Ipv4Addr, over: &AtomicBool) {
    while !over.load(Relaxed) {
        let mut wire = Wire::from_address(server, from.into());
        wire.say("GET /share/file.bin HTTP/1.1\r\nHost: h\r\nRange: bytes=0-65535\r\nConnection: close\r\n\r\n");
        while let Ok(1..) = wire.stream().read(&mut [0; 65536]) {}
    }
}

/// What a transfer had until the allocator had seen it was the most that anybody had for his weight, whatever his own weight, and workers
/// took turns with it: under 5 MB/s a floor of 3 MB/s held 2.0, and one of nine equals got 1.2 instead of 0.56. Then it was no more than
/// his share and knew nothing of his floor, of which 0.9 of 2 MB/s were held; and all of it, so that a transfer beside others of its
/// own peer had a twentieth of its part.
#[test]
fn shares_floors_and_weights_hold_beside_short_transfers() {
    steadily(|| {
        alone();
        let peer = |last: u8, key: &str| format!("[[peer]]\nid = \"http:127.0.0.{last}\"\n{key}\n");
        let eight = |last: &[u8]| -> Vec<u8> { last.iter().flat_map(|&last| [last; 8]).collect() };
        for (what, config, strangers, expected) in [
            ("equals", String::new(), eight(&[3, 4, 5]), 1e6),
            ("three times their weight", peer(2, "weight = 3"), eight(&[3]), 3e6),
            ("a third of their weight", peer(3, "weight = 3"), eight(&[3]), 1e6),
            ("a floor", peer(2, "upload_floor = \"3MB/s\""), eight(&[3, 4]), 3e6),
            ("what a floor of theirs leaves", peer(3, "upload_floor = \"3MB/s\""), eight(&[3]), 1e6),
            ("what a floor of one transfer leaves", peer(3, "upload_floor = \"3MB/s\""), vec![3], 1e6),
            ("a part of his own address", String::new(), vec![2; 3], 1e6),
        ] {
            let server = node(&format!("[limits]\nupload = \"4MB/s\"\n{config}"), &[]);
            let (neighbour, his) = neighbour(&server);
            wait_until("he has begun", 10, || his.load(Relaxed) > 500_000);
            let over = AtomicBool::new(false);
            let is_his = |rate: f64| (0.95 * expected..1.1 * expected).contains(&rate);
            let rate = thread::scope(|scope| {
                // Also when an assertion fails: the scope waits for its threads.
                let _done = Done(&over);
                for last in strangers {
                    let (server, over) = (&server, &over);
                    scope.spawn(move || fetch_and_fetch(server, Ipv4Addr::new(127, 0, 0, last), over));
                }
                thread::sleep(SETTLED);
                let (mut rate, mut looks) = (watch(&his), 1);
                // A machine that stood still for a moment moves one look, and not the median of three.
                if !is_his(rate) {
                    let mut rates = [rate, watch(&his), watch(&his)];
                    rates.sort_by(f64::total_cmp);
                    (rate, looks) = (rates[1], rates.len());
                }
                eprintln!("{what}: {rate:.0} B/s in {looks} looks, {expected:.0} are his");
                rate
            });
            assert!(is_his(rate), "{what}: {rate:.0} B/s, {expected:.0} are his");
            drop(server);
            neighbour.join().unwrap();
        }
    });
}

/// What heads cost was charged to the address's share of the group that takes what no other takes, whatever group was served.
#[test]
fn small_files_of_another_group_cost_their_address_nothing_here() {
    steadily(|| {
        alone();
        let other =
            "[[group]]\nname = \"other\"\nshares = [\"other\"]\n[[share]]\nname = \"other\"\npath = \"share\"\n";
        let server = node(&format!("[limits]\nupload = \"4MB/s\"\n{other}"), &[]);
        let (neighbour, his) = neighbour(&server);
        let over = AtomicBool::new(false);
        let rate = thread::scope(|scope| {
            let _done = Done(&over);
            // A stranger downloads beside him, and he himself has the other group's half, in small parts.
            scope.spawn(|| {
                let mut wire = Wire::from_address(&server, Ipv4Addr::new(127, 0, 0, 3).into());
                wire.say("GET /share/endless.bin HTTP/1.1\r\nHost: h\r\n\r\n");
                while let (false, Ok(1..)) = (over.load(Relaxed), wire.stream().read(&mut [0; 65536])) {}
            });
            scope.spawn(|| {
                let mut wire = Wire::from_address(&server, Ipv4Addr::new(127, 0, 0, 2).into());
                while !over.load(Relaxed) {
                    wire.say("GET /other/file.bin HTTP/1.1\r\nHost: h\r\nRange: bytes=0-16383\r\n\r\n");
                    let mut answer = Vec::new();
                    while !is_whole(&answer, 16384) {
                        let mut buffer = [0; 8192];
                        let read = wire.stream().read(&mut buffer).unwrap();
                        answer.extend_from_slice(&buffer[..read]);
                    }
                }
            });
            wait_until("he has begun", 10, || his.load(Relaxed) > 500_000);
            thread::sleep(SETTLED);
            watch(&his)
        });
        eprintln!("{rate:.0} B/s, 1000000 are his");
        assert!((0.95e6..1.1e6).contains(&rate), "{rate:.0} B/s, 1000000 are his");
        drop(server);
        neighbour.join().unwrap();
    });
}

/// Whether an answer with a body of `size` bytes has come.
fn is_whole(answer: &[u8], size: usize) -> bool {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n");
    end.is_some_and(|end| answer.len() >= end + 4 + size)
}
