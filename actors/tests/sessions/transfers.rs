//! Getting and putting, and being refused.

use wire::{FailureCode, Hello, RefusalCode};

use crate::{
    files::content,
    house::{House, config, get_command, run, until},
};
use actors::{
    NodeConfig,
    peer::client::{Command, First, ListCommand, SessionEvent},
};
use tokio::sync::oneshot;

#[test]
fn a_get_is_stored_as_it_is_at_the_node() {
    run(async {
        let house = House::start(config());
        let mut visitor = house.visitor("reader-a").await;
        for (tag, path) in [(1, "share/one"), (2, "share/two"), (3, "share/three")] {
            visitor.get(tag, path).await;
        }
        for tag in 1..=3 {
            assert_eq!(visitor.outcome(tag).await, Ok(()));
        }
        let stored = visitor.stored.lock().unwrap().clone();
        assert_eq!(stored.len(), 3);
        assert!(stored.iter().all(|(path, bytes)| *bytes == content(path)));
        assert!(house.shared().registry.leaves.is_empty(), "an ended transfer has no leaf");
    });
}

#[test]
fn what_goes_with_the_hello_is_answered_without_another_word() {
    run(async {
        let house = House::start(config());
        let (reply, answer) = oneshot::channel();
        let list = ListCommand { path: String::new(), recursive: false, after: String::new(), reply };
        let mut visitor = house.session_asking("reader-a", Hello::default(), |stored| First {
            gets: vec![get_command(5, "share/one", stored), get_command(6, "share/missing", stored)],
            lists: vec![list],
        });
        assert_eq!(visitor.outcome(6).await, Err(FailureCode::NotFound));
        assert_eq!(visitor.outcome(5).await, Ok(()));
        assert!(visitor.stored.lock().unwrap()["share/one"] == content("share/one"));
        assert_eq!(answer.await.unwrap().request, 1);
        visitor.get(7, "share/two").await;
        assert_eq!(visitor.outcome(7).await, Ok(()), "later transfers have later numbers");
    });
}

/// Nothing can be said between the hello and the welcome, so the node opens the file and must be told then.
#[test]
fn a_get_that_is_cancelled_before_the_welcome_ends_at_the_node_too() {
    run(async {
        let house = House::start(config());
        let mut visitor = house.session_asking("reader-a", Hello::default(), |stored| First {
            gets: vec![get_command(1, "share/one", stored)],
            ..First::default()
        });
        assert!(visitor.handle.command(Command::Cancel { tag: 1 }).await);
        assert_eq!(visitor.outcome(1).await, Err(FailureCode::Cancelled));
        visitor.find(|event| matches!(event, SessionEvent::Welcomed(_)).then_some(())).await;
        visitor.get(2, "share/two").await;
        assert_eq!(visitor.outcome(2).await, Ok(()));
        until("it has no leaf", || house.shared().registry.leaves.is_empty()).await;
        assert!(!visitor.stored.lock().unwrap().contains_key("share/one"));
    });
}

#[test]
fn a_put_is_stored_as_it_is_at_the_client() {
    run(async {
        let house = House::start(config());
        let mut visitor = house.visitor("writer-a").await;
        visitor.put(7, "share/sent").await;
        assert_eq!(visitor.outcome(7).await, Ok(()));
        assert!(house.stored.lock().unwrap()["share/sent"] == content("share/sent"));
    });
}

#[test]
fn what_may_not_be_is_refused_and_the_session_lives() {
    run(async {
        let house = House::start(config());
        let mut visitor = house.visitor("reader-a").await;
        visitor.put(1, "share/sent").await;
        assert_eq!(visitor.outcome(1).await, Err(FailureCode::Forbidden));
        visitor.get(2, "share/missing").await;
        assert_eq!(visitor.outcome(2).await, Err(FailureCode::NotFound));
        visitor.get(3, "share/one").await;
        assert_eq!(visitor.outcome(3).await, Ok(()));
    });
}

#[test]
fn a_hello_is_refused_with_its_code_and_leaves_no_trace() {
    run(async {
        let house = House::start(NodeConfig { sessions_max: 1, ..config() });
        let refusal = async |name: &str| {
            let mut visitor = house.session(name, Hello::default());
            let refusal = visitor.find(|event| match event {
                SessionEvent::Refused(refusal) => Some(refusal.code()),
                _ => None,
            });
            refusal.await
        };
        assert_eq!(refusal("stranger").await, RefusalCode::Unauthorized);
        let visitor = house.visitor("reader-a").await;
        assert_eq!(refusal("reader-b").await, RefusalCode::Full);
        house.shared().draining.store(true, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(refusal("reader-c").await, RefusalCode::Draining);
        assert_eq!(house.shared().registry.sessions.len(), 1);
        assert_eq!(house.counts.get("evenkeel_refusals_total/unauthorized"), 1);
        drop(visitor);
    });
}
