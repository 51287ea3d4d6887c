//! Both ways to send a body: by way of our memory, and straight from the page cache.

use std::fs;

use crate::{
    stage::{Wire, node},
    support::{Said as _, noise, wait_until},
};

/// Bulk from the first piece on.
pub(crate) const ALWAYS: &str = "[shaping]\nbulk_on = \"2B/s\"\nbulk_off = \"1B/s\"\n[transport]\nsendfile = \"on\"\n";
/// Never bulk; pieces of 32 to 60 KiB are still the kernel's.
const PRECISE: &str = "[shaping]\nbulk_on = \"off\"\n";
/// Never the kernel's.
pub(crate) const NEVER: &str = "[shaping]\nbulk_on = \"off\"\n[transport]\nsendfile = \"off\"\n";

#[test]
fn both_modes_send_the_same_bytes() {
    for (config, expected) in [(ALWAYS, "bulk"), (PRECISE, "precise"), (NEVER, "precise")] {
        let server = node(config, &[]);
        let path = server.share().join("large.bin");
        noise(&path, 9_000_001, 5);
        let bytes = fs::read(path).unwrap();
        let mut wire = Wire::to(&server);
        // One connection: what it learnt of its rate stays with it.
        for _ in 0..2 {
            assert!(wire.get("large.bin", "").body == bytes, "{expected}");
        }
        let part = wire.get("large.bin", "Range: bytes=4095-8000000\r\n");
        assert!(part.status == 206 && part.body == bytes[4095..=8_000_000], "{expected}");
        let parts = wire.get("large.bin", "Range: bytes=1-3000000, 5000000-9000000\r\n").body;
        let holds = |wanted: &[u8]| parts.windows(wanted.len()).any(|found| found == wanted);
        assert!(holds(&bytes[5_000_000..5_000_100]) && holds(&bytes[2_999_900..=3_000_000]), "{expected}");
        let switches = server.metric("evenkeel_mode_switches_total", &["upload", "to=\"bulk\""]);
        assert_eq!(switches, if expected == "bulk" { 1.0 } else { 0.0 });
        assert_eq!(server.metric("evenkeel_links", &[]), 0.0, "nothing is being sent");
    }
}

#[test]
fn a_fast_answer_is_bulk_and_a_slow_one_precise_and_both_are_shown() {
    let limits = "[shaping]\nbulk_on = \"2MB/s\"\nbulk_off = \"1MB/s\"\n[limits]\nupload = \"20MB/s\"\n\
        [[group]]\nname = \"slow\"\naddresses = [\"127.0.0.3/32\"]\nupload_cap = \"200KB/s\"\n";
    let server = node(limits, &[]);
    fs::File::create(server.share().join("endless.bin")).unwrap().set_len(4 << 30).unwrap();
    let readers: Vec<_> = [[127, 0, 0, 2], [127, 0, 0, 3]]
        .map(|from| {
            let wire = Wire::from_address(&server, from.into());
            std::thread::spawn(move || {
                let mut wire = wire;
                wire.say("GET /share/endless.bin HTTP/1.1\r\nHost: h\r\n\r\n");
                wire.drain();
            })
        })
        .into();
    let modes = || {
        let views = server.get("/v1/transfers");
        let mode = |from: &str| {
            let view = views.as_array()?.iter().find(|view| view["peer"] == format!("http:{from}").as_str())?;
            Some(view["mode"].as_str()?.to_owned())
        };
        (mode("127.0.0.2"), mode("127.0.0.3"))
    };
    wait_until("each has its mode", 20, || modes() == (Some("bulk".into()), Some("precise".into())));
    let links = |mode: &str| server.metric("evenkeel_links", &["upload", &format!("mode=\"{mode}\"")]);
    assert_eq!((links("bulk"), links("precise")), (1.0, 1.0));
    // Explained is what a round has planned.
    let words = || server.ctl(&["explain", "http:127.0.0.2"]).out();
    wait_until("it is explained", 20, || words().contains("its link is in bulk mode"));
    // Slower than the lower mark: precise again.
    server.ctl(&["limit", "--upload", "600KB/s"]);
    wait_until("it is precise again", 30, || modes().0.as_deref() == Some("precise"));
    server.ctl(&["disconnect", "http:127.0.0.2"]);
    server.ctl(&["disconnect", "http:127.0.0.3"]);
    readers.into_iter().for_each(|reader| drop(reader.join()));
}
