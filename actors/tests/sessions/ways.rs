//! Data links that carry one way only.

use actors::peer::client::SessionEvent;
use bytes::Bytes;
use wire::{DataHeader, FailureCode, Get, Hello, Message, Put, Ways};

use crate::{
    files::{SIZE, content},
    house::{House, LINK_ROOM, Visitor, config, run},
};

/// A hello that asks for so many links in all, down only, up only.
fn asking(data_links: u32, down_links: u32, up_links: u32) -> Hello {
    Hello { data_links, down_links, up_links, ..Hello::default() }
}

async fn welcomed(house: &House, hello: Hello) -> Visitor {
    let mut visitor = house.session("writer-a", hello);
    assert!(matches!(visitor.event().await, SessionEvent::Welcomed(_)));
    visitor
}

#[test]
fn a_get_goes_over_links_that_carry_down_and_a_put_over_those_that_carry_up() {
    let stored = Ok(());
    let no_link = Err(FailureCode::NoLink);
    // Links in all, down, up; a get; a put.
    let cases = [
        ((0, 0, 0), stored, stored),
        ((1, 1, 0), stored, no_link),
        ((1, 0, 1), no_link, stored),
        ((2, 1, 1), stored, stored),
        ((2, 1, 0), stored, stored),
        ((2, 0, 1), stored, stored),
        ((2, 2, 0), stored, no_link),
    ];
    run(async move {
        let house = House::start(config());
        for ((all, down, up), get, put) in cases {
            let mut visitor = welcomed(&house, asking(all, down, up)).await;
            visitor.get(1, "share/one").await;
            visitor.put(2, "share/sent").await;
            let outcomes = [visitor.outcome(1).await, visitor.outcome(2).await];
            assert_eq!(outcomes, [get, put], "{all} links, {down} down, {up} up");
            let got = visitor.stored.lock().unwrap().remove("share/one");
            assert_eq!(got.is_some_and(|bytes| bytes == content("share/one")), get.is_ok());
            let sent = house.stored.lock().unwrap().remove("share/sent");
            assert_eq!(sent.is_some_and(|bytes| bytes == content("share/sent")), put.is_ok());
        }
    });
}

/// A node that grants fewer links than were asked for keeps one of each kind, and says what is left.
#[test]
fn what_was_not_granted_is_not_dialled() {
    run(async {
        let house = House::start(config());
        let mut visitor = welcomed(&house, asking(8, 4, 4)).await;
        visitor.get(1, "share/one").await;
        visitor.put(2, "share/sent").await;
        assert_eq!([visitor.outcome(1).await, visitor.outcome(2).await], [Ok(()), Ok(())]);
    });
}

/// The node does not rely on its clients: it refuses by itself what could only wait for ever.
#[test]
fn the_node_refuses_what_no_link_can_carry() {
    run(async {
        let house = House::start(config());
        let gets = vec![Get { transfer: 1, path: "share/one".into(), ..Get::default() }];
        let puppet = house.puppet_saying("writer-up", LINK_ROOM, Hello { gets, ..asking(1, 0, 1) }).await;
        let failed = |message| if let Message::Failed(failed) = message { Some(failed) } else { None };
        let refused = puppet.find(failed).await;
        assert_eq!((refused.transfer, refused.code()), (1, FailureCode::NoLink));
        assert!(refused.message.contains("carries bytes down, from the node to the client"), "{}", refused.message);
        let puppet = house.puppet_saying("writer-down", LINK_ROOM, asking(1, 1, 0)).await;
        let put = Put { transfer: 1, path: "share/sent".into(), size: 10, ..Put::default() };
        assert!(puppet.speaks.send(Message::Put(put)).await);
        let refused = puppet.find(failed).await;
        assert_eq!((refused.transfer, refused.code()), (1, FailureCode::NoLink));
        assert!(refused.message.contains("carries bytes up, from the client to the node"), "{}", refused.message);
    });
}

#[test]
fn a_chunk_against_the_way_of_its_link_ends_its_session_alone() {
    run(async {
        let house = House::start(config());
        let mut visitor = house.visitor("reader-a").await;
        let puppet = house.puppet_saying("writer-down", LINK_ROOM, asking(1, 1, 0)).await;
        assert_eq!(puppet.tokens[0].1, Ways::Down);
        let (_hears, speaks) = puppet.data(&house).await.unwrap();
        let header = DataHeader { len: 3, transfer: 1, offset: 0 };
        assert!(speaks.send((header, Bytes::from_static(b"abc"))).await);
        let goodbye = |message| if let Message::Goodbye(goodbye) = message { Some(goodbye) } else { None };
        let words = puppet.find(goodbye).await.message;
        assert!(words.contains("data of transfer 1 on a data link that carries none this way"), "{words}");
        visitor.get(1, "share/one").await;
        assert_eq!(visitor.outcome(1).await, Ok(()), "others do not notice");
    });
}

/// That a client ends the half on which it has nothing to say is no end of the link.
#[test]
fn the_end_of_the_unused_half_is_not_the_end_of_the_link() {
    run(async {
        let house = House::start(config());
        let gets = vec![Get { transfer: 1, path: "share/one".into(), window: SIZE as u64, ..Get::default() }];
        let puppet = house.puppet_saying("reader-down", LINK_ROOM, Hello { gets, ..asking(1, 1, 0) }).await;
        let (hears, speaks) = puppet.data(&house).await.unwrap();
        drop(speaks);
        let mut got = Vec::new();
        let whole = content("share/one");
        while got.len() < whole.len() {
            got.extend_from_slice(&hears.next().await.expect("the link lives").1);
        }
        assert!(got == whole);
    });
}

#[test]
fn a_token_is_good_for_the_ways_that_it_was_given_for() {
    run(async {
        let house = House::start(config());
        for (hello, wrong) in [
            (asking(1, 1, 0), [Ways::Both, Ways::Up]),
            (asking(1, 0, 1), [Ways::Both, Ways::Down]),
            (asking(1, 0, 0), [Ways::Down, Ways::Up]),
        ] {
            for ways in wrong {
                let mut puppet = house.puppet_saying("writer-a", LINK_ROOM, hello.clone()).await;
                puppet.tokens[0].1 = ways;
                let refusal = puppet.data(&house).await.map(drop).unwrap_err();
                assert!(refusal.message.contains("carries other ways"), "{refusal}");
            }
        }
    });
}
