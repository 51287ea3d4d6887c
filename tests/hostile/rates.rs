//! Weights, rates and windows at the edges of their ranges.

use std::{fs, thread, time::Duration};

use wire::{DesiredRates, Get, Hello, Message, Proportion, Proportions};

use crate::{
    foe::{Foe, get, hello},
    stage::{Neighbour, node, serves_on},
    support::wait_until,
};

#[test]
fn a_heavy_transfer_takes_nothing_from_other_peers() {
    let server = node("");
    let neighbour = Neighbour::getting(&server).with_share(0.5);
    let (mut control, mut data) = Foe::stranger(&server).session_with_data();
    for (transfer, weight) in [(1, 1_000_000), (2, 1_000_000), (3, 0), (4, 1)] {
        control.say(&Message::Get(Get {
            transfer,
            path: "share/large".into(),
            weight,
            class: 1,
            window: u64::MAX,
            ..Get::default()
        }));
    }
    let shares = [(1, 1_000_000), (2, 0), (3, 1), (4, 1_000_000)]
        .map(|(transfer, weight_thousandths)| Proportion { transfer, weight_thousandths });
    control.say(&Message::Proportions(Proportions { shares: [&shares[..], &shares[..]].concat() }));
    // It reads as fast as it can.
    let reader = thread::spawn(move || {
        let mut bytes = 0;
        while let Some((header, _)) = data.receive() {
            bytes += u64::from(header.len);
        }
        bytes
    });
    thread::sleep(Duration::from_secs(6));
    control.ping();
    drop(control);
    assert!(reader.join().unwrap() > 100_000, "it has its own share");
    serves_on(&server);
    neighbour.was_undisturbed();
}

#[test]
fn wishes_at_the_edges_are_met_or_capped() {
    let server = node("");
    let neighbour = Neighbour::getting(&server).with_share(0.3);
    for wish in [0, 1, 2, u64::MAX - 1, u64::MAX] {
        let mut control =
            Foe::stranger(&server).session_with(Hello { upload: wish, download: wish, class: 99, ..hello() });
        let granted = control.welcome.granted_download;
        match wish {
            1 | 2 => assert_eq!(granted, wish),
            _ => assert_eq!(granted, crate::stage::LIMIT, "the total caps a wish of {wish}"),
        }
        control.say(&get(1, "share/small", u64::MAX));
        for upload in [0, 1, u64::MAX] {
            control.say(&Message::DesiredRates(DesiredRates { upload, download: wish }));
        }
        control.ping();
    }
    serves_on(&server);
    neighbour.was_undisturbed();
}

/// A byte per second is a rate; so is one that takes longer than the universe is old.
#[test]
fn a_wish_for_one_byte_per_second_is_kept_without_work() {
    let server = node("");
    let neighbour = Neighbour::getting(&server);
    let foe = Foe::stranger(&server);
    let mut control = foe.session_with(Hello { download: 1, ..hello() });
    let mut data = foe.data(&control.welcome, 0);
    for transfer in 1..=20 {
        control.say(&get(transfer, "share/large", u64::MAX));
    }
    thread::sleep(Duration::from_secs(1));
    let cpu_before = server.cpu();
    thread::sleep(Duration::from_secs(3));
    let cpu = server.cpu() - cpu_before;
    assert!(cpu < Duration::from_millis(1500), "{cpu:?} of CPU in 3 s for 21 slow transfers");
    control.ping();
    data.line.set_read_patience(Duration::from_millis(200));
    let mut bytes = 0;
    while let Some((header, _)) = data.receive() {
        bytes += header.len;
    }
    assert!(bytes < 200_000, "{bytes} bytes at one byte per second");
    serves_on(&server);
    neighbour.was_undisturbed();
}

#[test]
fn windows_and_offsets_at_the_edges_are_harmless() {
    let server = node("");
    let neighbour = Neighbour::getting(&server).with_share(0.3);
    fs::write(server.share().join("empty"), "").unwrap();
    let (mut control, mut data) = Foe::stranger(&server).session_with_data();
    let edges = [0, 1, 1 << 20, u64::MAX - 1, u64::MAX];
    let mut transfer = 0;
    for path in ["share/small", "share/empty"] {
        for offset in edges {
            for window in edges {
                transfer += 1;
                let prefix_hash = vec![3; 32];
                let path = path.into();
                let wish = Get { transfer, path, offset, prefix_hash, window, class: -7, ..Get::default() };
                control.say(&Message::Get(wish));
                let start = control.await_message(|message| match message {
                    Message::Opened(opened) => Some(opened.start),
                    _ => None,
                });
                assert_eq!(start, 0, "no prefix matches");
                control.say(&Message::Cancel(wire::Cancel { transfer }));
            }
        }
    }
    control.ping();
    wait_until("only the neighbour's transfer", 10, || server.metric("evenkeel_transfers", &[]) <= 1.0);
    // What was on its way may still come; the link goes on.
    transfer += 1;
    control.say(&get(transfer, "share/small", 10));
    loop {
        let (header, _) = data.receive().expect("the link goes on");
        if header.transfer == transfer {
            break;
        }
    }
    serves_on(&server);
    neighbour.was_undisturbed();
}
