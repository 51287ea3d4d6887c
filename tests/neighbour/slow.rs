//! Programs that read slowly, beside one that does not.

use std::{
    fs::File,
    io::Read as _,
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use crate::{
    stage::{Done, Wire, fetch, node},
    support::{steady::steadily, turn::alone, wait_until},
};

/// Far more than a total that was learnt from the slow ones would let through within the patience of a test.
const MUCH: u64 = 200_000_000;

/// Their windows stop the node's sockets, and that says nothing of the line.
#[test]
fn who_reads_slowly_does_not_teach_a_node_without_a_limit_a_slow_line() {
    steadily(|| {
        alone();
        let server = node("[allocation]\ninterval = \"500ms\"\n", &[]);
        File::create(server.share().join("endless.bin")).unwrap().set_len(64 << 30).unwrap();
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            // Also when an assertion fails.
            let _ending = Done(&over);
            let (over, server) = (&over, &server);
            for (last, bytes, pause) in [(3, 16_384, 20), (4, 16_384, 100), (5, 4096, 20)] {
                scope.spawn(move || {
                    let mut wire = Wire::from_address(server, Ipv4Addr::new(127, 0, 0, last).into());
                    wire.say("GET /share/endless.bin HTTP/1.1\r\nHost: h\r\n\r\n");
                    let mut room = vec![0; bytes];
                    while !over.load(Relaxed) && wire.stream().read(&mut room).is_ok_and(|bytes| bytes > 0) {
                        thread::sleep(Duration::from_millis(pause));
                    }
                });
            }
            let rounds = || server.metric("evenkeel_allocation_rounds_total", &["cause=\"tick\""]);
            let before = rounds();
            wait_until("rounds are judged", 30, || rounds() >= before + 10.0);
            assert!(server.get("/v1/limits")["upload"]["capacity_bytes_per_second"].is_null(), "a line was learnt");
            let received = Arc::new(AtomicU64::new(0));
            let quick = Wire::from_address(server, Ipv4Addr::new(127, 0, 0, 2).into());
            let _quick = fetch(quick, received.clone());
            wait_until("the quick one has much", 20, || received.load(Relaxed) > MUCH);
        });
    });
}
