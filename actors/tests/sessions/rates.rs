//! What peers and operators want reaches the plan.

use std::{sync::atomic::Ordering, time::Duration};

use actors::{
    NodeConfig,
    peer::client::{Command, SessionEvent},
    port::Console,
    view::{Change, LimitsPatch, NodePatch},
};
use bytes::Bytes;
use flow::{Binding, Rate};
use wire::{Begin, DataHeader, Hello, Message, Put};

use crate::house::{House, config, id, run, until};

fn rate(bytes_per_second: u64) -> Rate {
    Rate::from_wire(bytes_per_second)
}

fn slow() -> NodeConfig {
    NodeConfig { limits: [rate(100_000), Rate::UNLIMITED], ..config() }
}

#[test]
fn a_desired_rate_is_planned_and_granted() {
    run(async {
        let house = House::start(slow());
        let mut visitor = house.visitor("reader-a").await;
        visitor.get(1, "share/one").await;
        let ceiling =
            |wanted| move |plan: &flow::allocation::Plan| plan.peers.iter().any(|peer| peer.ceiling == wanted);
        house.planned("the total is its ceiling", ceiling(rate(100_000))).await;
        let wish = Command::Desire { upload: Rate::UNLIMITED, download: rate(30_000) };
        assert!(visitor.handle.command(wish).await);
        house.planned("its wish is its ceiling", ceiling(rate(30_000))).await;
        house.planned("its wish holds it", |plan| plan.leaves[0].binding == Binding::Negotiated).await;
        // A round that came while the session began may have granted the total before.
        let granted = visitor.find(|event| match event {
            SessionEvent::Granted { download, .. } => (download == rate(30_000)).then_some(()),
            _ => None,
        });
        granted.await;
    });
}

#[test]
fn proportions_divide_a_peers_own_transfers() {
    run(async {
        let house = House::start(slow());
        let visitor = house.visitor("reader-a").await;
        visitor.get(1, "share/one").await;
        visitor.get(2, "share/two").await;
        let shares = |one, two| {
            move |plan: &flow::allocation::Plan| {
                let mut assigned: Vec<Rate> = plan.leaves.iter().map(|leaf| leaf.assigned).collect();
                assigned.sort_unstable();
                assigned == [rate(one), rate(two)]
            }
        };
        house.planned("halves", shares(50_000, 50_000)).await;
        assert!(visitor.handle.command(Command::Proportions(vec![(1, 3.0), (2, 1.0)])).await);
        house.planned("three quarters", shares(25_000, 75_000)).await;
    });
}

#[test]
fn an_order_is_in_the_plan_when_it_is_answered() {
    run(async {
        let house = House::start(slow());
        let visitor = house.visitor("reader-a").await;
        visitor.get(1, "share/one").await;
        // By then it has waited longer for its rate than for its file to be opened, which is what the plan would name.
        let moved = || house.shared().moved[0].load(Ordering::Relaxed);
        until("it waits for its rate", || moved() > 20_000).await;
        let cap = Change(Some(Some(20_000)));
        let patch = NodePatch { upload_cap_bytes_per_second: cap, ..NodePatch::default() };
        let view = house.console().set_peer(id("reader-a").to_string(), patch).await.unwrap();
        assert_eq!(view.upload.cap_bytes_per_second, Some(20_000));
        assert_eq!(view.upload.rates.allowed_bytes_per_second, Some(20_000));
        let plan = house.shared().book.load().plans[0].clone().unwrap();
        assert_eq!((plan.leaves[0].ceiling, plan.leaves[0].binding), (rate(20_000), Binding::PeerCap));
    });
}

/// With an hour between two early rounds, the first join after the quiet still has its round at once, and all the others
/// wait for one that they share.
#[test]
fn a_join_after_a_pause_has_its_round_at_once_and_a_burst_has_one() {
    run(async {
        let house = House::start(NodeConfig { early: Duration::from_secs(3600), ..slow() });
        let early = || house.counts.get("evenkeel_allocation_rounds_total/early");
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(early(), 0);
        let _first = house.visitor("reader-a").await;
        until("the round has been", || early() == 1).await;
        let _more = (house.visitor("reader-b").await, house.visitor("reader-c").await);
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(early(), 1);
    });
}

/// A bug in the allocator must not leave the node without one: it was gone for good, and nobody noticed.
#[test]
fn a_panicking_allocator_begins_anew() {
    run(async {
        let house = House::start(slow());
        let limit = |upload| {
            let patch = LimitsPatch { upload_bytes_per_second: Change(Some(Some(upload))), ..LimitsPatch::default() };
            house.console().set_limits(patch)
        };
        limit(300_000).await.unwrap();
        let mut visitors = vec![house.visitor("reader-a").await];
        for cause in ["early", "order"] {
            house.counts.poison(&format!("evenkeel_allocation_rounds_total/{cause}"));
            if cause == "order" {
                let words = house.console().set_limits(LimitsPatch::default()).await.unwrap_err().to_string();
                assert!(words.contains("the allocator failed"), "{words}");
            }
            let name = format!("reader-{cause}");
            visitors.push(house.visitor(&name).await);
        }
        until("both panics are counted", || house.counts.get("evenkeel_actor_panics_total") == 2).await;
        visitors[0].get(1, "share/one").await;
        house
            .planned("the limit is remembered", |plan| plan.leaves.iter().any(|leaf| leaf.ceiling == rate(300_000)))
            .await;
        limit(20_000_000).await.unwrap();
        assert_eq!(visitors[0].outcome(1).await, Ok(()));
    });
}

/// A peer that sends more than it may can fill each of them, and they bring no more than the rate together.
#[test]
fn what_may_wait_unread_is_divided_among_the_links_that_bring_data() {
    const BYTES: u64 = 10_000;
    run(async {
        let house = House::start(NodeConfig { data_links_max: 3, ..config() });
        // Two that bring data to the node, one that takes it away.
        let hello = Hello { data_links: 3, down_links: 1, ..Hello::default() };
        let puppet = house.puppet_saying("writer-a", 64, hello).await;
        let put = Put { transfer: 1, path: "share/sent".into(), size: BYTES, mtime_ns: 1, ..Put::default() };
        puppet.speaks.send(Message::Put(put)).await;
        puppet.find(|message| matches!(message, Message::Ready(_)).then_some(())).await;
        puppet.speaks.send(Message::Begin(Begin { transfer: 1, start: 0 })).await;
        puppet.find(|message| matches!(message, Message::Window(window) if window.limit == BYTES).then_some(())).await;
        let (_hears, data) = puppet.data(&house).await.unwrap();
        let mut chunks = (0..BYTES).map(|offset| DataHeader { len: 1, transfer: 1, offset });
        let mut waits = async |unread: Duration| {
            while data.read_at().is_none_or(|(_, waits)| waits != unread) {
                let header = chunks.next().expect("it is never so");
                assert!(data.send((header, Bytes::from_static(&[7]))).await, "the link lives");
            }
        };
        waits(Duration::from_millis(250)).await;
        let _down = puppet.data_number(2, &house).await.unwrap();
        let _other = puppet.data_number(1, &house).await.unwrap();
        waits(Duration::from_millis(125)).await;
    });
}
