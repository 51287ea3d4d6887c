//! Too much of what is allowed: bursts, floods, and answers that nobody reads.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use wire::{FailureCode, GoodbyeCode, List, Message};

use crate::{
    foe::{Foe, Heard, frames, get, ping},
    stage::{Counts, Neighbour, connections_fall_to, node, serves_on},
    support::wait_until,
};

#[test]
fn a_burst_of_a_thousand_control_frames_is_read_slowly_and_answered() {
    let server = node("control_frames_per_second = 250\n");
    let counts = Counts::of(&server);
    let neighbour = Neighbour::getting(&server);
    let foe = Foe::stranger(&server);
    let mut control = foe.session();
    counts.refused("rate_limited", 100, || {
        let began = Instant::now();
        control.say_raw(&frames(&(0..1000).map(ping).collect::<Vec<_>>())).unwrap();
        let mut other = Foe::stranger(&server).session();
        assert!(other.ping() < Duration::from_secs(5), "another peer waits for the flood");
        for nonce in 0..1000 {
            control
                .await_message(|message| matches!(message, Message::Pong(pong) if pong.nonce == nonce).then_some(()));
        }
        assert!(began.elapsed() > Duration::from_secs(2), "a burst of 250, then 250 a second");
    });
    serves_on(&server);
    neighbour.was_undisturbed();
}

#[test]
fn ten_seconds_of_flood_disturb_nobody_and_do_not_fill_the_log() {
    let server = node("");
    let neighbour = Neighbour::getting(&server);
    let before = server.metric("evenkeel_connections", &[]);
    let log_before = server.words().len();
    let over = AtomicBool::new(false);
    let mut slowest = Duration::ZERO;
    thread::scope(|scope| {
        for kind in 0..3 {
            let (foe, over) = (Foe::stranger(&server), &over);
            scope.spawn(move || flood(&foe, kind, over));
        }
        let mut other = Foe::stranger(&server).session();
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(10) {
            slowest = slowest.max(other.ping());
            thread::sleep(Duration::from_millis(100));
        }
        over.store(true, Ordering::Relaxed);
    });
    assert!(slowest < Duration::from_secs(2), "another peer's ping took {slowest:?}");
    let log = server.words().len() - log_before;
    assert!(log < 20_000, "{log} bytes of log in ten seconds");
    connections_fall_to(&server, before, 10);
    serves_on(&server);
    neighbour.was_undisturbed();
}

/// Talks as fast as the node reads, and reads every answer.
fn flood(foe: &Foe, kind: u32, over: &AtomicBool) {
    let mut control = foe.session();
    let mut number = 0;
    while !over.load(Ordering::Relaxed) {
        let messages: Vec<Message> = (0..100)
            .map(|_| {
                number += 1;
                match kind {
                    0 => ping(number.into()),
                    1 => list(number, "share"),
                    _ => get(number, &format!("share/missing-{number}"), 0),
                }
            })
            .collect();
        control.say_raw(&frames(&messages)).unwrap();
        let mut answers = 0;
        while answers < messages.len() {
            match control.hear() {
                Heard::Message(_) => answers += 1,
                other => panic!("a flood that is read slowly is answered all the same: {other:?}"),
            }
        }
    }
}

fn list(request: u32, path: &str) -> Message {
    Message::List(List { request, path: path.into(), ..List::default() })
}

#[test]
fn who_never_reads_the_answers_is_ended_and_leaves_nothing() {
    let server = node("control_frames_per_second = 5000\n");
    let counts = Counts::of(&server);
    let directory = server.share().join("many");
    std::fs::create_dir(&directory).unwrap();
    for number in 0..500 {
        std::fs::write(directory.join(format!("{number:0100}")), "").unwrap();
    }
    let neighbour = Neighbour::getting(&server);
    let before = server.metric("evenkeel_connections", &[]);
    let memory_before = server.memory_bytes();
    counts.violated("flood", || {
        let mut control = Foe::stranger(&server).session();
        // A page of names has some 50 KiB: its asking costs a thousandth.
        control.line.set_write_patience(Duration::from_millis(500));
        let mut number = 0;
        let deadline = Instant::now() + Duration::from_secs(30);
        while counts.violations("flood") == 0.0 && Instant::now() < deadline {
            let messages: Vec<Message> = (0..8)
                .map(|_| {
                    number += 1;
                    list(number, "share/many")
                })
                .collect();
            if control.say_raw(&frames(&messages)).is_err() {
                break;
            }
            thread::sleep(Duration::from_millis(10));
        }
        // It stays connected, reads nothing, and still does not keep its place.
        connections_fall_to(&server, before, 15);
        drop(control);
    });
    let grown = server.memory_bytes().saturating_sub(memory_before);
    assert!(grown < 40 << 20, "{grown} bytes more memory for a peer that does not read");
    serves_on(&server);
    neighbour.was_undisturbed();
}

#[test]
fn ten_thousand_gets_are_answered_one_by_one() {
    let server = node("control_frames_per_second = 20000\ntransfers_max = 16\n");
    let neighbour = Neighbour::getting(&server);
    let mut control = Foe::stranger(&server).session();
    let mut refused = 0;
    let mut opened = 0;
    for batch in 0..100 {
        // Without a data link and without a window: those that are taken stay open.
        let gets: Vec<Message> = (1..=100).map(|number| get(batch * 100 + number, "share/large", 0)).collect();
        control.say_raw(&frames(&gets)).unwrap();
        for _ in 0..100 {
            control.await_message(|message| match message {
                Message::Failed(failed) => {
                    assert_eq!(failed.code(), FailureCode::TooMany, "{failed:?}");
                    refused += 1;
                    Some(())
                }
                Message::Opened(_) => {
                    opened += 1;
                    Some(())
                }
                _ => None,
            });
        }
    }
    assert_eq!((opened, refused), (16, 9984));
    assert_eq!(Counts::of(&server).failures(FailureCode::TooMany), 9984.0);
    let transfers = server.metric("evenkeel_transfers", &["direction=\"upload\""]);
    assert_eq!(transfers, 17.0, "those, and the neighbour's");
    drop(control);
    wait_until("only the neighbour's transfer", 10, || server.metric("evenkeel_transfers", &[]) <= 1.0);
    serves_on(&server);
    neighbour.was_undisturbed();
}

/// Files of a get that was cancelled are still being opened: their number must not be without bound.
#[test]
fn gets_that_are_cancelled_at_once_do_not_pile_up() {
    let server = node("control_frames_per_second = 20000\n");
    let neighbour = Neighbour::getting(&server);
    let mut control = Foe::stranger(&server).session();
    for batch in 0..50_u32 {
        let messages: Vec<Message> = (1..=100)
            .flat_map(|number| {
                let transfer = batch * 100 + number;
                let wrong = wire::Get {
                    transfer,
                    path: "share/large".into(),
                    offset: 40 << 20,
                    prefix_hash: vec![0; 32],
                    ..wire::Get::default()
                };
                [Message::Get(wrong), Message::Cancel(wire::Cancel { transfer })]
            })
            .collect();
        control.say_raw(&frames(&messages)).unwrap();
        control.ping();
    }
    serves_on(&server);
    control.say(&Message::Goodbye(wire::Goodbye::new(GoodbyeCode::Done, "")));
    control.expect_end();
    wait_until("only the neighbour's transfer", 10, || server.metric("evenkeel_transfers", &[]) <= 1.0);
    neighbour.was_undisturbed();
}
