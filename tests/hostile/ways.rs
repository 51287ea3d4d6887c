//! Data links that carry one way only, from those who mean no good.

use std::io::Write as _;

use wire::{Begin, DataPreface, FailureCode, GoodbyeCode, Hello, Message, Put, Ways};

use super::data::never_read;
use crate::{
    foe::{Foe, PATIENCE, get, hello},
    stage::{Counts, Neighbour, connections_fall_to, node, serves_on},
    support::wait_until,
};

/// A hello that asks for two links which carry `ways`.
fn asking(ways: Ways) -> Hello {
    let links = |of| if ways == of { 2 } else { 0 };
    Hello { data_links: 2, down_links: links(Ways::Down), up_links: links(Ways::Up), ..hello() }
}

#[test]
fn a_chunk_against_the_way_of_its_link_ends_its_session_alone() {
    let server = node("");
    let counts = Counts::of(&server);
    let neighbour = Neighbour::getting(&server);
    let foe = Foe::owner(&server);
    counts.violated("wrong_way", || {
        let mut control = foe.session_with(asking(Ways::Down));
        let mut data = foe.data_carrying(&control.welcome, 0, Ways::Down).unwrap();
        data.send(1, 0, &[1; 100]).unwrap();
        let goodbye = control.expect_goodbye();
        assert_eq!(goodbye.code(), GoodbyeCode::Violation);
        assert!(goodbye.message.contains("carries none this way"), "{}", goodbye.message);
        assert!(data.is_closed_within(PATIENCE));
    });
    serves_on(&server);
    neighbour.was_undisturbed();
}

#[test]
fn ways_that_nobody_knows_and_ways_that_were_not_granted_are_refused() {
    let server = node("");
    let counts = Counts::of(&server);
    let neighbour = Neighbour::getting(&server);
    let foe = Foe::stranger(&server);
    let mut control = foe.session_with(asking(Ways::Down));
    let welcome = control.welcome.clone();
    assert_eq!((welcome.tokens.len(), welcome.down_links, welcome.up_links), (2, 2, 0));
    for unknown in [b'2', b'X', 0] {
        let mut preface = DataPreface { token: welcome.parsed_tokens().unwrap()[0], ways: Ways::Both }.encode();
        preface[7] = unknown;
        counts.refused("magic", 1, || {
            let mut link = foe.data_silent(&welcome).unwrap();
            link.line.write_all(&preface).unwrap();
            assert!(link.is_closed_within(PATIENCE));
        });
    }
    counts.refused("token", 2, || {
        for (index, ways) in [Ways::Both, Ways::Up].into_iter().enumerate() {
            assert!(foe.data_carrying(&welcome, index, ways).unwrap().is_closed_within(PATIENCE), "{ways:?}");
        }
    });
    // None of this touched the session.
    control.ping();
    serves_on(&server);
    neighbour.was_undisturbed();
}

#[test]
fn a_get_that_no_link_can_carry_is_refused_and_the_session_lives() {
    let server = node("");
    let counts = Counts::of(&server);
    let mut control = Foe::stranger(&server).session_with(asking(Ways::Up));
    counts.failed(FailureCode::NoLink, 1, || {
        control.say(&get(1, "share/small", 1000));
        assert_eq!(control.expect_failed(1).code(), FailureCode::NoLink);
    });
    control.ping();
    serves_on(&server);
}

#[test]
fn a_token_for_one_way_is_good_once_and_for_its_peer() {
    let server = node("");
    let counts = Counts::of(&server);
    let neighbour = Neighbour::getting(&server);
    let (foe, other) = (Foe::stranger(&server), Foe::stranger(&server));
    for ways in [Ways::Down, Ways::Up] {
        let mut control = foe.session_with(asking(ways));
        let welcome = control.welcome.clone();
        let _link = foe.data_carrying(&welcome, 0, ways).unwrap();
        wait_until("the first link is there", 10, || {
            let direction = if ways == Ways::Down { "upload" } else { "download" };
            // Beside that of the neighbour, which carries both ways.
            server.metric("evenkeel_links", &[&format!("direction=\"{direction}\"")]) == 2.0
        });
        counts.refused("token", 2, || {
            assert!(foe.data_carrying(&welcome, 0, ways).unwrap().is_closed_within(PATIENCE), "{ways:?}, again");
            assert!(other.data_carrying(&welcome, 1, ways).unwrap().is_closed_within(PATIENCE), "{ways:?}, stolen");
        });
        control.ping();
        drop((control, _link));
        wait_until("it is gone", 20, || server.metric("evenkeel_sessions", &[]) == 1.0);
    }
    serves_on(&server);
    neighbour.was_undisturbed();
}

#[test]
fn who_never_reads_a_link_that_carries_down_holds_only_itself() {
    never_read(|foe| {
        let control = foe.session_with(asking(Ways::Down));
        let data = foe.data_carrying(&control.welcome, 0, Ways::Down).unwrap();
        (control, data)
    });
}

#[test]
fn a_link_that_carries_up_and_closes_in_a_chunk_ends_its_session_alone() {
    let server = node("");
    let neighbour = Neighbour::getting(&server);
    let before = server.metric("evenkeel_connections", &[]);
    let foe = Foe::owner(&server);
    let mut control = foe.session_with(asking(Ways::Up));
    let mut data = foe.data_carrying(&control.welcome, 0, Ways::Up).unwrap();
    control.say(&Message::Put(Put { transfer: 1, path: "share/cut".into(), size: 100_000, ..Put::default() }));
    control.await_message(|message| matches!(message, Message::Ready(_)).then_some(()));
    control.say(&Message::Begin(Begin { transfer: 1, start: 0 }));
    data.send_header(1000, 1, 0).unwrap();
    drop(data);
    control.expect_end();
    connections_fall_to(&server, before, 10);
    assert!(!server.share().join("cut").exists());
    serves_on(&server);
    neighbour.was_undisturbed();
}
