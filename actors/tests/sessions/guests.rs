//! Guests: who is let in, and an address that is a peer while something is sent to it.

use std::{
    future::poll_fn,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use actors::{
    NodeConfig,
    guest::{Door, GuestLimits, PeerName, guest_id},
    port::{Front as _, GuestFront as _, GuestRefusal, GuestRequest, GuestTerms},
};
use flow::{Limiter, Rate};
use tokio::sync::oneshot;

use crate::house::{House, config, run, until};

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn request(from: SocketAddr) -> GuestRequest {
    GuestRequest {
        address: from,
        agent: "test".into(),
        path: "share/a".into(),
        size: 1000,
        start: 0,
        terms: GuestTerms::default(),
        switch: None,
    }
}

fn door(house: &House) -> Arc<Door> {
    Door::new(house.node.clone(), GuestLimits { connections_max: 4, per_address_max: 2 })
}

/// One host with a /64 had so many places for each of its addresses.
#[test]
fn connections_of_one_network_share_the_places_of_an_address() {
    run(async {
        let house = House::start(NodeConfig { per_address_max: 2, ..config() });
        let admit = |from: &str| house.node.admit(address(from));
        let kept = ["[2001:db8::1]:1", "[2001:db8::2:0:0:1]:1"].map(|from| admit(from).expect("there is room"));
        assert_eq!(admit("[2001:db8::3]:1").err(), Some("per_address"));
        assert_eq!(house.node.may_come(address("[2001:db8::3]:1")), Err("per_address"));
        assert!(admit("[2001:db8:0:1::1]:1").is_ok() && admit("192.0.2.1:1").is_ok());
        drop(kept);
        assert!(admit("[2001:db8::3]:1").is_ok());
    });
}

#[test]
fn an_address_has_as_many_places_as_it_may_and_gives_them_back() {
    run(async {
        let house = House::start(config());
        let door = door(&house);
        let places = [address("[2001:db8::1]:1"), address("[2001:db8::2:0:0:1]:1")].map(|from| door.admit(from).ok());
        let [first, second] = places.map(|place| place.expect("there is room"));
        assert_eq!(first.worker, second.worker, "one customer lives on one worker");
        assert_eq!(door.admit(address("[2001:db8::3]:1")).err(), Some(GuestRefusal::PerAddress));
        assert_eq!(house.counts.get("evenkeel_refusals_total/per_address"), 1);
        let others =
            [address("192.0.2.1:1"), address("192.0.2.2:1")].map(|from| door.admit(from).is_ok().then_some(from));
        assert!(others.iter().all(Option::is_some), "a place that nobody keeps is free again");
        let kept: Vec<_> = ["192.0.2.1:1", "192.0.2.2:1"].map(|from| door.admit(address(from)).ok()).into();
        assert_eq!(door.admit(address("192.0.2.3:1")).err(), Some(GuestRefusal::Connections));
        drop(kept);
        assert!(door.admit(address("192.0.2.3:1")).is_ok());
        drop((first, second));
        assert!(door.admit(address("[2001:db8::3]:1")).is_ok());
    });
}

#[test]
fn an_address_is_a_peer_while_something_is_sent_to_it() {
    run(async {
        let house = House::start(config());
        let (door, from) = (door(&house), address("192.0.2.7:1"));
        let (begun, seen) = oneshot::channel();
        let (go_on, told) = oneshot::channel::<()>();
        let request = request(from);
        let job = move || {
            let mut passage = door.begin(request).expect("the node runs");
            actix::spawn(async move {
                let permit = poll_fn(|cx| passage.poll_permit(1000, cx)).await;
                passage.sent(permit, u64::from(permit));
                passage.hold(Limiter::Source);
                begun.send(permit).unwrap();
                told.await.unwrap();
                passage.end("sent");
            });
        };
        house.node.run_on(0, Box::new(job));
        assert!((1..=1000).contains(&seen.await.unwrap()));
        let registry = &house.shared().registry;
        let id = guest_id(from.ip());
        assert!(registry.peers.contains_key(&id) && registry.leaves.len() == 1);
        assert_eq!((registry.sessions.len(), registry.keyed_sessions()), (1, 0), "it takes no peer's place");
        assert_eq!(PeerName(&id).to_string(), "http:192.0.2.7");
        go_on.send(()).unwrap();
        until("its transfer has ended", || registry.leaves.is_empty()).await;
        assert_eq!(house.counts.get("evenkeel_transfers_ended_total/upload/sent"), 1);
        // Nothing is in flight, so that a drain does not wait for it.
        assert_eq!(house.node.drain().await, 0);
        house.empty().await;
        assert_eq!(house.counts.get("evenkeel_leaves_total/drained"), 1);
    });
}

#[test]
fn permission_on_its_way_to_a_guest_that_left_is_nobodys() {
    run(async {
        let house = House::start(config());
        let door = door(&house);
        let (ended, seen) = oneshot::channel();
        let request = request(address("192.0.2.7:1"));
        let job = move || {
            let mut passage = door.begin(request).expect("the node runs");
            actix::spawn(async move {
                // Asks, and goes before the answer.
                let asked = poll_fn(|cx| std::task::Poll::Ready(passage.poll_permit(1000, cx).is_pending())).await;
                tokio::task::yield_now().await;
                drop(passage);
                ended.send(asked).unwrap();
            });
        };
        house.node.run_on(0, Box::new(job));
        assert!(seen.await.unwrap());
        until("its transfer has ended", || house.shared().registry.leaves.is_empty()).await;
        assert_eq!(house.counts.get("evenkeel_transfers_ended_total/upload/lost"), 1);
        assert_eq!(house.node.drain().await, 0);
        house.empty().await;
    });
}

#[test]
fn permission_that_guests_had_when_they_left_goes_to_others() {
    run(async {
        // A second for each piece.
        let house = House::start(NodeConfig { limits: [Rate::from_bytes_per_second(1024); 2], ..config() });
        let (door, began) = (door(&house), Instant::now());
        for last in 1..=30 {
            let (ended, seen) = oneshot::channel();
            let door = door.clone();
            let job = move || {
                let mut passage = door.begin(request(([192, 0, 2, last], 1).into())).expect("the node runs");
                actix::spawn(async move {
                    let permit = poll_fn(|cx| passage.poll_permit(1000, cx)).await;
                    // Its socket turns out to be dead.
                    drop(passage);
                    ended.send(permit).unwrap();
                });
            };
            house.node.run_on(0, Box::new(job));
            assert!(seen.await.unwrap() > 0);
        }
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    });
}

#[test]
fn no_more_addresses_are_remembered_than_there_may_be() {
    run(async {
        let house = House::start(config());
        // Four connections: one address.
        let (door, began) = (door(&house), Instant::now());
        for last in 1..=3 {
            let (ended, seen) = oneshot::channel();
            let door = door.clone();
            let job = move || {
                let mut passage = door.begin(request(([192, 0, 2, last], 1).into())).expect("the node runs");
                actix::spawn(async move {
                    passage.end("sent");
                    drop(passage);
                    ended.send(()).unwrap();
                });
            };
            house.node.run_on(0, Box::new(job));
            seen.await.unwrap();
        }
        let sessions = &house.shared().registry.sessions;
        until("the others are forgotten", || sessions.len() == 1).await;
        assert!(began.elapsed() < Duration::from_secs(4), "at once, not when nobody is remembered any more");
    });
}
