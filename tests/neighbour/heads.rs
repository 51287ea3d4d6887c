//! What answers without a body take of the line.

use std::{
    io::Read as _,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use crate::{
    stage::{Done, Wire, node},
    support::{Server, steady::steadily, turn::alone, wait_until},
    watch::neighbour,
};

/// Each asks for so much before it listens.
const REQUESTS: usize = 50;
const WATCHED: Duration = Duration::from_secs(6);

/// Asks for `target` without a pause until it is over, and counts the bytes of the answers.
fn pipeline(server: &Server, method: &str, target: &str, over: &AtomicBool, received: &AtomicU64) {
    let request = format!("{method} {target} HTTP/1.1\r\nHost: h\r\n\r\n");
    let mut wire = Wire::to(server);
    wire.say(&request);
    let mut buffer = [0; 65536];
    let len = wire.stream().read(&mut buffer).unwrap();
    assert!(buffer.starts_with(b"HTTP/1.1 "), "{}", String::from_utf8_lossy(&buffer[..len]));
    while !over.load(Relaxed) {
        wire.say(request.repeat(REQUESTS));
        let mut left = len * REQUESTS;
        while left > 0 {
            let read = wire.stream().read(&mut buffer).unwrap();
            assert!(read > 0, "the node has closed");
            received.fetch_add(read as u64, Relaxed);
            left = left.saturating_sub(read);
        }
    }
}

/// Nobody asked the tree for heads: four connections that asked for what is not there had 26 MB/s under a limit of 1 MB/s.
#[test]
fn who_asks_for_nothing_but_heads_takes_no_more_than_a_share() {
    steadily(|| {
        alone();
        for (method, target) in [("GET", "/share/none"), ("HEAD", "/share/file.bin"), ("GET", "/share/%zz")] {
            let server = node("[limits]\nupload = \"2MB/s\"\n", &[]);
            let (neighbour, his) = neighbour(&server);
            wait_until("he has begun", 10, || his.load(Relaxed) > 500_000);
            let (over, theirs) = (AtomicBool::new(false), AtomicU64::new(0));
            let (before, began) = (his.load(Relaxed), Instant::now());
            let rate = thread::scope(|scope| {
                // Also when an assertion fails: the scope waits for its threads.
                let _done = Done(&over);
                for _ in 0..4 {
                    scope.spawn(|| pipeline(&server, method, target, &over, &theirs));
                }
                thread::sleep(WATCHED);
                let rate = |bytes: u64| bytes as f64 / began.elapsed().as_secs_f64();
                [rate(his.load(Relaxed) - before), rate(theirs.load(Relaxed))]
            });
            eprintln!("{method} {target}: the neighbour {:.0} B/s, the heads {:.0} B/s", rate[0], rate[1]);
            assert!(rate[0] >= 0.95e6, "{method} {target}: {:.0} B/s, half of 2 MB/s is the neighbour's", rate[0]);
            // And what may be owed.
            assert!(rate[1] <= 1.1e6, "{method} {target}: {:.0} B/s of heads under 2 MB/s for all", rate[1]);
            assert!(rate[1] >= 0.5e6, "{method} {target}: {:.0} B/s of heads, and half of 2 MB/s is theirs", rate[1]);
            assert_eq!(server.metric("evenkeel_refusals_total", &["reason=\"stalled\""]), 0.0);
            drop(server);
            neighbour.join().unwrap();
        }
    });
}
