//! Control beside data: neither a full lane nor a stubborn peer holds up what it must not.

use std::time::Duration;

use wire::{Get, List, Message, Ping, Window};

use crate::{
    files::{SIZE, content},
    house::{House, config, run, until},
};

/// Far more than any transfer of these tests.
const WIDE: u64 = 1 << 40;

fn get(transfer: u32, path: &str, window: u64) -> Get {
    Get { transfer, path: path.into(), window, ..Get::default() }
}

#[test]
fn control_is_answered_while_the_data_link_is_full() {
    run(async {
        let house = House::start(config());
        let gets = (1..=4).map(|transfer| get(transfer, "share/one", WIDE)).collect();
        let puppet = house.puppet("reader-a", 64, gets).await;
        // It never reads this link.
        let _stuck = puppet.data(&house).await.unwrap();
        let leaves = &house.shared().registry.leaves;
        until("data is stuck", || leaves.len() == 4 && leaves.iter().any(|leaf| leaf.meter.bytes() > 0)).await;
        for nonce in 1..=20 {
            puppet.speaks.send(Message::Ping(Ping { nonce, sent_ns: 0 })).await;
            let answered = puppet.find(|message| match message {
                Message::Pong(pong) if pong.nonce == nonce => Some(()),
                _ => None,
            });
            answered.await;
        }
        puppet.speaks.send(Message::List(List { request: 1, ..List::default() })).await;
        let entries = puppet.find(|message| match message {
            Message::Listing(listing) => Some(listing.entries.len()),
            _ => None,
        });
        assert_eq!(entries.await, 1);
        assert!(leaves.iter().all(|leaf| leaf.meter.bytes() < SIZE as u64), "data is stuck still");
    });
}

/// What waits for it would grow without end.
#[test]
fn a_peer_that_asks_and_never_reads_the_answers_is_closed() {
    run(async {
        let house = House::start(config());
        let puppet = house.puppet("reader-a", 2, Vec::new()).await;
        let mut asked = 0;
        while puppet.speaks.send(Message::Ping(Ping { nonce: asked, sent_ns: 0 })).await && asked < 100_000 {
            asked += 1;
            if house.shared().registry.sessions.is_empty() {
                break;
            }
        }
        house.empty().await;
        assert!(asked < 5_000, "closed after {asked} unread answers");
        assert_eq!(house.counts.get("evenkeel_leaves_total/violation"), 1);
    });
}

#[test]
fn a_window_that_never_opens_holds_only_its_own_transfer() {
    run(async {
        let house = House::start(config());
        let gets = vec![get(1, "share/one", 10_000), get(2, "share/two", WIDE)];
        let puppet = house.puppet("reader-a", 64, gets).await;
        let (data, _speaks) = puppet.data(&house).await.unwrap();
        let reading = async {
            let (mut held, mut open) = (Vec::new(), Vec::new());
            while open.len() < SIZE || held.len() < 10_000 {
                let (header, payload) = data.next().await.expect("the link lives");
                let file = if header.transfer == 1 { &mut held } else { &mut open };
                assert_eq!(header.offset, file.len() as u64);
                file.extend_from_slice(&payload);
            }
            (held, open)
        };
        let (held, open) = tokio::time::timeout(Duration::from_secs(30), reading).await.unwrap();
        assert!(open == content("share/two"));
        assert!(held == content("share/one")[..10_000], "as far as its window, and no further");

        puppet.speaks.send(Message::Window(Window { transfer: 1, limit: WIDE })).await;
        let mut rest = held;
        while rest.len() < SIZE {
            rest.extend_from_slice(&data.next().await.unwrap().1);
        }
        assert!(rest == content("share/one"));
    });
}
