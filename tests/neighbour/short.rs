//! Shares beside those who fetch one small thing after the other: nobody has planned what has just begun.

use std::{
    io::Read as _,
    net::Ipv4Addr,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use crate::{
    stage::{Done, Wire, node},
    support::{Server, wait_until},
    watch::{neighbour, turn},
};

const WATCHED: Duration = Duration::from_secs(5);
/// Until everybody is known.
const SETTLED: Duration = Duration::from_secs(1);

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
    let _turn = turn();
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
        let rate = thread::scope(|scope| {
            // Also when an assertion fails: the scope waits for its threads.
            let _done = Done(&over);
            for last in strangers {
                let (server, over) = (&server, &over);
                scope.spawn(move || fetch_and_fetch(server, Ipv4Addr::new(127, 0, 0, last), over));
            }
            thread::sleep(SETTLED);
            let (before, began) = (his.load(Relaxed), Instant::now());
            thread::sleep(WATCHED);
            (his.load(Relaxed) - before) as f64 / began.elapsed().as_secs_f64()
        });
        eprintln!("{what}: {rate:.0} B/s, {expected:.0} are his");
        assert!((0.95 * expected..1.1 * expected).contains(&rate), "{what}: {rate:.0} B/s, {expected:.0} are his");
        drop(server);
        neighbour.join().unwrap();
    }
}
