//! Data links that are not read, not fed, or fed with what was not allowed.

use std::{fs, thread, time::Duration};

use wire::{Begin, Finished, GoodbyeCode, Message, Put, Window};

use crate::{
    foe::{Control, Data, Foe, Heard, get},
    stage::{Counts, Neighbour, connections_fall_to, node, serves_on},
    support::{Server, wait_until},
};

/// Opens a session, asks for everything and reads none of it: what the node may have on its way fills, and nobody else notices.
pub(super) fn never_read(open: impl FnOnce(&Foe) -> (Control, Data)) {
    let server = node("");
    // Until its sockets, or its window, are full it has a right to half.
    let neighbour = Neighbour::getting(&server).with_share(0.5);
    let (memory, before) = (server.memory_bytes(), server.metric("evenkeel_connections", &[]));
    let (mut control, data) = open(&Foe::stranger(&server));
    control.say(&get(1, "share/large", u64::MAX));
    control.await_message(|message| matches!(message, Message::Opened(_)).then_some(()));
    // Its control link stays quick.
    for _ in 0..30 {
        assert!(control.ping() < Duration::from_secs(2));
        thread::sleep(Duration::from_millis(100));
    }
    assert!(server.memory_bytes() < memory + (16 << 20), "{memory} -> {}", server.memory_bytes());
    serves_on(&server);
    drop((control, data));
    connections_fall_to(&server, before, 10);
    wait_until("only the neighbour's transfer", 10, || server.metric("evenkeel_transfers", &[]) <= 1.0);
    neighbour.was_undisturbed();
}

#[test]
fn who_never_reads_its_data_holds_only_itself() {
    never_read(Foe::session_with_data);
}

#[test]
fn who_grants_no_window_gets_nothing_and_takes_nothing() {
    let server = node("");
    let neighbour = Neighbour::getting(&server);
    let (mut control, mut data) = Foe::stranger(&server).session_with_data();
    for transfer in 1..=20 {
        control.say(&get(transfer, "share/large", 0));
        control.await_message(|message| matches!(message, Message::Opened(_)).then_some(()));
    }
    // A window that goes back is no window.
    control.say(&Message::Window(Window { transfer: 3, limit: 10 }));
    control.say(&Message::Window(Window { transfer: 3, limit: 5 }));
    let (header, payload) = data.receive().unwrap();
    assert_eq!((header.transfer, header.offset, payload.len()), (3, 0, 10));
    control.ping();
    assert!(!data.is_closed_within(Duration::from_secs(2)));
    serves_on(&server);
    neighbour.was_undisturbed();
}

/// A put that was taken: its transfer is 1, and it may begin.
fn put(server: &Server, name: &str, size: u64) -> (Control, Data) {
    let (mut control, data) = Foe::owner(server).session_with_data();
    control.say(&Message::Put(Put { transfer: 1, path: format!("share/{name}"), size, ..Put::default() }));
    control.await_message(|message| matches!(message, Message::Ready(ready) if ready.transfer == 1).then_some(()));
    (control, data)
}

/// Begins, and waits for the first window: its limit.
fn begin(control: &mut Control) -> u64 {
    control.say(&Message::Begin(Begin { transfer: 1, start: 0 }));
    control.await_message(|message| match message {
        Message::Window(window) => Some(window.limit),
        _ => None,
    })
}

#[test]
fn data_that_was_not_allowed_ends_its_session_alone() {
    let server = node("");
    let counts = Counts::of(&server);
    let neighbour = Neighbour::getting(&server);
    type Scene = fn(&mut Control, &mut Data);
    let scenes: Vec<(&str, Scene)> = vec![
        // Before it began: the window is 0.
        ("window_passed", |_, data| drop(data.send(1, 0, &[1; 100]))),
        ("window_passed", |control, data| {
            let limit = begin(control);
            let mut offset = 0;
            while offset <= limit {
                if data.send(1, offset, &vec![1; 32 * 1024]).is_err() {
                    break;
                }
                offset += 32 * 1024;
            }
        }),
        ("out_of_order", |control, data| {
            begin(control);
            drop(data.send(1, 1, &[1; 100]));
        }),
        ("out_of_order", |control, data| {
            begin(control);
            drop(data.send(1, 0, &[1; 100]));
            drop(data.send(1, 0, &[1; 100]));
        }),
        ("unknown_transfer", |control, data| {
            begin(control);
            drop(data.send(2, 0, &[1; 100]));
        }),
        ("unknown_transfer", |_, data| drop(data.send(u32::MAX, u64::MAX - 100, &[1; 100]))),
        ("bad_number", |_, data| drop(data.send(0, 0, &[1; 100]))),
        ("bad_number", |_, data| drop(data.send(1, u64::MAX, &[1; 100]))),
        ("data_length", |_, data| drop(data.send_header(0, 1, 0))),
        ("data_length", |_, data| drop(data.send_header(256 * 1024 + 1, 1, 0))),
        ("data_length", |_, data| drop(data.send_header(u32::MAX, 1, 0))),
        ("bad_start", |control, _| control.say(&Message::Begin(Begin { transfer: 1, start: 7 }))),
        ("size_changed", |control, data| {
            begin(control);
            drop(data.send(1, 0, &[1; 100]));
            control.say(&Message::Finished(Finished { transfer: 1, size: 100, hash: vec![0; 32] }));
        }),
        // Data for a file that is sent to us.
        ("unexpected_for_transfer", |control, data| {
            control.say(&get(2, "share/large", 0));
            control.await_message(|message| matches!(message, Message::Opened(_)).then_some(()));
            drop(data.send(2, 0, &[1; 100]));
        }),
    ];
    for (index, (code, scene)) in scenes.into_iter().enumerate() {
        counts.violated(code, || {
            let (mut control, mut data) = put(&server, &format!("put-{index}"), 10_000_000);
            scene(&mut control, &mut data);
            let goodbye = control.expect_goodbye();
            assert_eq!(goodbye.code(), GoodbyeCode::Violation, "{code}");
            assert!(!goodbye.message.is_empty(), "{code}");
            assert!(data.is_closed_within(Duration::from_secs(20)), "{code}");
        });
    }
    let named: Vec<_> = fs::read_dir(server.share()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(named.iter().all(|name| name.to_str().unwrap().ends_with(".part") || name == "large" || name == "small"));
    serves_on(&server);
    neighbour.was_undisturbed();
}

#[test]
fn a_put_longer_than_announced_is_never_named() {
    let server = node("");
    let counts = Counts::of(&server);
    let neighbour = Neighbour::putting(&server);
    counts.violated("size_passed", || {
        let (mut control, mut data) = put(&server, "grows", 1000);
        assert_eq!(begin(&mut control), 1000);
        drop(data.send(1, 0, &[1; 1001]));
        assert_eq!(control.expect_goodbye().code(), GoodbyeCode::Violation);
    });
    // The right size and the wrong hash is a failure of that transfer; its session lives.
    let (mut control, mut data) = put(&server, "lies", 1000);
    begin(&mut control);
    data.send(1, 0, &[1; 1000]).unwrap();
    control.say(&Message::Finished(Finished { transfer: 1, size: 1000, hash: vec![0; 32] }));
    assert_eq!(control.expect_failed(1).code(), wire::FailureCode::HashMismatch);
    control.ping();
    assert!(!server.share().join("grows").exists() && !server.share().join("lies").exists());
    serves_on(&server);
    neighbour.was_undisturbed();
}

#[test]
fn a_gibibyte_announced_and_ten_bytes_sent_hold_only_themselves() {
    let server = node("");
    let neighbour = Neighbour::putting(&server);
    let before = server.metric("evenkeel_connections", &[]);
    let (mut control, mut data) = put(&server, "stalls", 1 << 30);
    begin(&mut control);
    data.send(1, 0, &[1; 10]).unwrap();
    thread::sleep(Duration::from_secs(2));
    control.ping();
    // Sizes and times that no file has are refused or taken, never a reason to fall over.
    for (transfer, size, mtime_ns) in [(2, u64::MAX, 0), (3, 1 << 62, i64::MAX), (4, 0, i64::MIN), (5, 0, i64::MAX)] {
        control.say(&Message::Put(Put {
            transfer,
            path: format!("share/odd-{transfer}"),
            size,
            mtime_ns,
            ..Put::default()
        }));
        let taken = control.await_message(|message| match message {
            Message::Ready(_) => Some(true),
            Message::Failed(_) => Some(false),
            _ => None,
        });
        assert!(!taken || size == 0, "{size} bytes fit on no disk");
        if taken {
            control.say(&Message::Begin(Begin { transfer, start: 0 }));
            let hash = blake3::hash(b"").as_bytes().to_vec();
            control.say(&Message::Finished(Finished { transfer, size: 0, hash }));
            control.await_message(|message| matches!(message, Message::Stored(_) | Message::Failed(_)).then_some(()));
        }
    }
    serves_on(&server);
    drop((control, data));
    connections_fall_to(&server, before, 10);
    wait_until("only the neighbour's transfer", 10, || server.metric("evenkeel_transfers", &[]) <= 1.0);
    assert!(!server.share().join("stalls").exists());
    neighbour.was_undisturbed();
}

/// Bytes that were announced and never came used to be debited from what everybody may send to the node.
#[test]
fn a_header_without_its_payload_takes_nothing_from_others() {
    let server = node("");
    let neighbour = Neighbour::putting(&server);
    let mut held = Vec::new();
    for _ in 0..30 {
        // Whoever may read can open data links, and say on them what he likes.
        let foe = Foe::stranger(&server);
        let control = foe.session();
        for index in 0..2 {
            let mut data = foe.data(&control.welcome, index);
            data.send_header(256 * 1024, 1, 0).unwrap();
            held.push(data);
        }
        held.push(Data { line: control.line });
    }
    thread::sleep(Duration::from_secs(3));
    serves_on(&server);
    neighbour.was_undisturbed();
}

#[test]
fn a_data_link_that_closes_in_a_chunk_ends_its_session_alone() {
    let server = node("");
    let neighbour = Neighbour::getting(&server);
    let before = server.metric("evenkeel_connections", &[]);
    let (mut control, mut data) = put(&server, "cut", 100_000);
    begin(&mut control);
    data.send_header(1000, 1, 0).unwrap();
    drop(data);
    loop {
        match control.hear() {
            Heard::Closed => break,
            Heard::Message(_) => {}
            Heard::Silence => panic!("a session without its data link goes on"),
        }
    }
    connections_fall_to(&server, before, 10);
    serves_on(&server);
    neighbour.was_undisturbed();
}
