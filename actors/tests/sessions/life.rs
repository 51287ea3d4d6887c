//! How sessions end, and that nothing of them stays.

use std::sync::Arc;

use actors::{NodeConfig, peer::client::Command, port::Console};
use flow::Rate;
use wire::RefusalCode;

use crate::{
    files::{ENDLESS, POISON, content},
    house::{House, config, id, run, until},
};

#[test]
fn a_clean_leave_leaves_nothing() {
    run(async {
        let house = House::start(config());
        let mut visitor = house.visitor("reader-a").await;
        visitor.get(1, "share/one").await;
        assert_eq!(visitor.outcome(1).await, Ok(()));
        assert!(visitor.handle.command(Command::Leave).await);
        assert_eq!(visitor.ended().await, None);
        house.empty().await;
        assert_eq!(house.counts.get("evenkeel_leaves_total/clean"), 1);
    });
}

/// A bug in our own code that one peer can reach must cost that peer its session, and nobody else anything.
#[test]
fn a_panicking_actor_takes_only_its_own_session_down() {
    run(async {
        // Slow enough that the other session is in the middle of its transfer.
        let house = House::start(NodeConfig { limits: [Rate::from_wire(4_000_000), Rate::UNLIMITED], ..config() });
        let mut other = house.visitor("reader-b").await;
        other.get(1, "share/one").await;
        until("the other is under way", || !house.shared().registry.leaves.is_empty()).await;
        let mut victim = house.visitor("reader-a").await;
        victim.get(1, POISON).await;
        assert!(victim.ended().await.is_some());
        until("the panic is counted", || house.counts.get("evenkeel_actor_panics_total") == 1).await;
        assert_eq!(house.counts.get("evenkeel_leaves_total/panic"), 1);

        let registry = &house.shared().registry;
        until("the victim's leaf is gone", || registry.leaves.iter().all(|leaf| leaf.peer.id == id("reader-b"))).await;
        assert!(!registry.peers.contains_key(&id("reader-a")));
        assert!(registry.sessions.iter().all(|session| session.peer.id == id("reader-b")));
        assert!(registry.tokens.iter().all(|token| token.session.peer.id == id("reader-b")));

        assert_eq!(other.outcome(1).await, Ok(()));
        assert!(other.stored.lock().unwrap()["share/one"] == content("share/one"));
        // The worker still takes sessions.
        let mut next = house.visitor("reader-a").await;
        next.get(1, "share/two").await;
        assert_eq!(next.outcome(1).await, Ok(()));
    });
}

/// It went on, however long it took: a peer could ask and give up, again and again.
#[test]
fn the_opening_of_a_cancelled_get_ends() {
    run(async {
        let house = House::start(config());
        let mut visitor = house.visitor("reader-a").await;
        // The house and its files.
        const AT_REST: usize = 2;
        let under_way = || Arc::strong_count(&house.endless) - AT_REST;
        visitor.get(1, ENDLESS).await;
        until("it is being opened", || under_way() == 1).await;
        assert!(visitor.handle.command(Command::Cancel { tag: 1 }).await);
        until("it is not any more", || under_way() == 0).await;
        assert!(visitor.outcome(1).await.is_err());
        // So does that of a session that ends.
        visitor.get(2, ENDLESS).await;
        until("it is being opened", || under_way() == 1).await;
        assert!(visitor.handle.command(Command::Leave).await);
        until("it is not any more", || under_way() == 0).await;
    });
}

#[test]
fn the_operator_disconnects_a_peer() {
    run(async {
        let house = House::start(config());
        let mut visitor = house.visitor("reader-a").await;
        house.console().disconnect(id("reader-a").to_string()).await.unwrap();
        let why = visitor.ended().await.unwrap();
        assert!(why.contains("the operator closed this session"), "{why}");
        house.empty().await;
        assert_eq!(house.counts.get("evenkeel_leaves_total/disconnected"), 1);
        assert!(house.console().disconnect(id("reader-a").to_string()).await.is_err(), "nobody is there");
    });
}

/// The data links of a session that is closed in order may be closed before the goodbye is read: that was taken for a lost
/// line, and the client dialled again.
#[test]
fn the_last_words_are_heard_although_the_data_links_close_first() {
    run(async {
        let house = House::start(NodeConfig { limits: [Rate::from_wire(1_000_000), Rate::UNLIMITED], ..config() });
        for _ in 0..20 {
            let mut visitor = house.visitor("reader-a").await;
            visitor.get(1, "share/one").await;
            let leaves = &house.shared().registry.leaves;
            until("data flows", || leaves.iter().any(|leaf| leaf.meter.bytes() > 0)).await;
            house.console().disconnect(id("reader-a").to_string()).await.unwrap();
            let why = visitor.ended().await.unwrap();
            assert!(why.contains("the operator closed this session"), "{why}");
        }
    });
}

#[test]
fn a_drain_lets_transfers_end_and_takes_nobody_new() {
    run(async {
        let house = House::start(NodeConfig { limits: [Rate::from_wire(6_000_000), Rate::UNLIMITED], ..config() });
        let mut busy = house.visitor("reader-a").await;
        let mut idle = house.visitor("reader-b").await;
        busy.get(1, "share/one").await;
        until("the transfer is under way", || !house.shared().registry.leaves.is_empty()).await;
        let node = house.node.clone();
        let draining = actix_rt::spawn(async move { node.drain().await });
        idle.ended().await;
        let mut late = house.session("reader-c", wire::Hello::default());
        let refused = late.find(|event| match event {
            actors::peer::client::SessionEvent::Refused(refusal) => Some(refusal.code()),
            _ => None,
        });
        assert_eq!(refused.await, RefusalCode::Draining);
        assert_eq!(busy.outcome(1).await, Ok(()));
        assert!(busy.stored.lock().unwrap()["share/one"] == content("share/one"));
        busy.ended().await;
        draining.await.unwrap();
        house.empty().await;
        assert_eq!(house.counts.get("evenkeel_leaves_total/drained"), 2);
    });
}

#[test]
fn a_peer_that_vanishes_leaves_nothing() {
    run(async {
        let house = House::start(config());
        let puppet = house.puppet("reader-a", 64, Vec::new()).await;
        assert_eq!(house.shared().registry.tokens.len(), 1);
        drop(puppet);
        house.empty().await;
        assert_eq!(house.counts.get("evenkeel_leaves_total/lost"), 1);
    });
}

#[test]
fn a_data_token_is_good_once_and_only_for_its_peer() {
    run(async {
        let house = House::start(config());
        let mut puppet = house.puppet("reader-a", 64, Vec::new()).await;
        let first = puppet.data(&house).await.unwrap();
        assert_eq!(puppet.data(&house).await.err().unwrap().code(), RefusalCode::BadToken);
        drop(first);

        let honest = house.puppet("reader-b", 64, Vec::new()).await;
        puppet.tokens = honest.tokens.clone();
        assert_eq!(puppet.data(&house).await.err().unwrap().code(), RefusalCode::BadToken);
        assert_eq!(house.counts.get("evenkeel_refusals_total/token"), 2);
    });
}
