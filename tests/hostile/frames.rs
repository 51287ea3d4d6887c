//! Control frames that break the protocol: each is told in words, counted by its rule, and ends that session alone.

use std::{
    thread,
    time::{Duration, Instant},
};

use wire::{
    Begin, Failed, FailureCode, Finished, Get, GoodbyeCode, Hello, List, Message, Pong, Proportion, Proportions, Put,
    RefusalCode, Stored, Welcome, Window,
};

use crate::{
    foe::{Foe, frame, frames, get, hello, ping},
    stage::{Counts, Neighbour, connections_fall_to, node, serves_on},
    support::wait_until,
};

#[test]
fn a_hello_that_cannot_be_is_refused_in_words() {
    let server = node("");
    let counts = Counts::of(&server);
    let neighbour = Neighbour::getting(&server);
    let foe = Foe::stranger(&server);
    let refused = |bytes: &[u8]| {
        let mut control = foe.control();
        control.say_raw(bytes).unwrap();
        control.expect_refusal()
    };
    for version in [0, 2, u32::MAX] {
        counts.refused("version", 1, || {
            let refusal = refused(&frames([&Message::Hello(Hello { version, ..hello() })]));
            assert_eq!(refusal.code(), RefusalCode::Version);
            assert!(refusal.message.contains("version 1 is"), "{}", refusal.message);
        });
    }
    let gets = |count| (1..=count).map(|transfer| Get { transfer, ..Get::default() }).collect();
    let cases = [
        ("too_long", frames([&Message::Hello(Hello { agent: "x".repeat(257), ..hello() })])),
        ("bad_number", frames([&Message::Hello(Hello { data_links: 65, ..hello() })])),
        ("too_many", frames([&Message::Hello(Hello { gets: gets(65), ..hello() })])),
        ("bad_number", frames([&Message::Hello(Hello { gets: vec![Get::default()], ..hello() })])),
        ("unexpected", frames([&ping(1)])),
        ("unexpected", frames([&Message::Welcome(Welcome::default())])),
        ("frame_empty", vec![0; 4]),
        ("frame_too_long", vec![0, 1, 0, 1]),
        ("frame_too_long", b"GET / HTTP/1.1".to_vec()),
        ("malformed", frame(&[0xff; 100])),
        ("malformed", frame(&[0x0a, 0x7f])),
    ];
    for (code, bytes) in cases {
        counts.violated(code, || {
            counts.refused("malformed", 1, || {
                let refusal = refused(&bytes);
                assert_eq!(refusal.code(), RefusalCode::Malformed, "{code}");
                assert!(!refusal.message.is_empty(), "{code}");
            });
        });
    }
    assert_eq!(server.metric("evenkeel_sessions", &[]), 1.0, "the neighbour's");
    serves_on(&server);
    neighbour.was_undisturbed();
}

#[test]
fn a_hello_that_comes_byte_by_byte_gets_no_more_time() {
    let server = node("");
    let counts = Counts::of(&server);
    let neighbour = Neighbour::getting(&server);
    counts.refused("timeout", 1, || {
        let mut control = Foe::stranger(&server).control();
        let began = Instant::now();
        for byte in frames([&Message::Hello(Hello { agent: "x".repeat(200), ..hello() })]) {
            if control.say_raw(&[byte]).is_err() {
                break;
            }
            thread::sleep(Duration::from_millis(20));
        }
        control.expect_end();
        assert!(began.elapsed() > Duration::from_secs(1));
    });
    serves_on(&server);
    neighbour.was_undisturbed();
}

#[test]
fn a_session_that_breaks_a_rule_is_told_which() {
    let server = node("");
    let counts = Counts::of(&server);
    let neighbour = Neighbour::getting(&server);
    let foe = Foe::stranger(&server);
    let share = |transfer, weight_thousandths| Proportion { transfer, weight_thousandths };
    let shares = |shares: Vec<Proportion>| Message::Proportions(Proportions { shares });
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("frame_empty", vec![0; 4], "empty"),
        ("frame_too_long", 65_537_u32.to_be_bytes().to_vec(), "65537"),
        ("frame_too_long", vec![0xff; 64], "4294967295"),
        ("malformed", frame(&[0xff; 64]), "decode"),
        // A path of a get (fields 8 and 2) that is no UTF-8.
        ("malformed", frame(b"\x42\x07\x08\x01\x12\x03a\xff/"), "UTF-8"),
        ("unexpected", frames([&Message::Hello(hello())]), "hello"),
        ("unexpected", frames([&Message::Welcome(Welcome::default())]), "welcome"),
        ("unknown_pong", frames([&Message::Pong(Pong { nonce: 99, sent_ns: 0 })]), "pong"),
        ("bad_number", frames([&get(0, "share/small", 0)]), "transfer of 0"),
        ("bad_number", frames([&Message::List(List::default())]), "request of 0"),
        ("bad_number", frames([&Message::Get(Get { transfer: 1, weight: 1_000_001, ..Get::default() })]), "1000001"),
        ("bad_number", frames([&shares(vec![share(1, u32::MAX)])]), "4294967295"),
        ("bad_length", frames([&Message::Get(Get { transfer: 1, offset: 5, ..Get::default() })]), "prefix hash"),
        ("too_long", frames([&get(1, &"x".repeat(5000), 0)]), "5000"),
        ("too_long", frames([&Message::Put(Put { transfer: 1, path: "x".repeat(5000), ..Put::default() })]), "5000"),
        ("too_many", frames([&shares(vec![share(1, 1); 513])]), "513"),
        ("transfer_reused", frames([&get(5, "share/none", 0), &get(5, "share/none", 0)]), "5"),
        ("transfer_reused", frames([&get(5, "share/none", 0), &get(4, "share/none", 0)]), "4"),
        ("unknown_transfer", frames([&Message::Window(Window { transfer: 9, limit: 1 })]), "9"),
        ("unknown_transfer", frames([&Message::Begin(Begin { transfer: u32::MAX, start: 0 })]), "4294967295"),
        ("unknown_transfer", frames([&Message::Failed(Failed::new(3, FailureCode::Io, "x"))]), "3"),
        ("unknown_transfer", frames([&shares(vec![share(77, 1)])]), "77"),
        (
            "unexpected_for_transfer",
            frames([&get(1, "share/large", 0), &Message::Stored(Stored { transfer: 1 })]),
            "stored",
        ),
        (
            "unexpected_for_transfer",
            frames([
                &get(1, "share/large", 0),
                &Message::Finished(Finished { transfer: 1, size: 1, hash: vec![0; 32] }),
            ]),
            "finished",
        ),
    ];
    for (code, bytes, words) in cases {
        counts.violated(code, || {
            let mut control = foe.session();
            control.say_raw(&bytes).unwrap();
            let goodbye = control.expect_goodbye();
            assert_eq!(goodbye.code(), GoodbyeCode::Violation, "{code}");
            assert!(goodbye.message.contains(words), "{code}: {:?}", goodbye.message);
        });
    }
    wait_until("their sessions are gone", 10, || server.metric("evenkeel_sessions", &[]) <= 1.0);
    serves_on(&server);
    neighbour.was_undisturbed();
}

#[test]
fn a_frame_cut_short_ends_its_session_alone() {
    let server = node("");
    let neighbour = Neighbour::getting(&server);
    let before = server.metric("evenkeel_connections", &[]);
    let foe = Foe::stranger(&server);
    let lost = || server.metric("evenkeel_leaves_total", &["reason=\"lost\""]);
    let lost_before = lost();
    for cut in [1, 3, 4, 10] {
        let mut control = foe.session();
        control.say_raw(&frames([&get(1, "share/small", 0)])[..cut]).unwrap();
        drop(control);
    }
    wait_until("four sessions lost", 10, || lost() >= lost_before + 4.0);
    // One that stops in the middle of a frame but stays is no worse than one that says nothing.
    let mut control = foe.session();
    control.say_raw(&[0, 0, 0xff]).unwrap();
    serves_on(&server);
    drop(control);
    connections_fall_to(&server, before, 10);
    neighbour.was_undisturbed();
}

/// A newer peer's message is skipped; a flood of them is no way around the limit on frames.
#[test]
fn a_flood_of_unknown_messages_is_ended() {
    let server = node("");
    let counts = Counts::of(&server);
    let neighbour = Neighbour::getting(&server);
    let foe = Foe::stranger(&server);
    // Field 1000 of length 0.
    let unknown = frame(&[0xc2, 0x3e, 0x00]);
    let mut control = foe.session();
    control.say_raw(&unknown.repeat(20)).unwrap();
    assert!(control.ping() < Duration::from_secs(10));
    counts.violated("too_many", || {
        let mut control = foe.session();
        let flood = unknown.repeat(10_000);
        for _ in 0..100 {
            if control.say_raw(&flood).is_err() {
                break;
            }
        }
        control.expect_end();
    });
    serves_on(&server);
    neighbour.was_undisturbed();
}
