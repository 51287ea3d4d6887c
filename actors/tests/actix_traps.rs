//! Behaviour of actix that this design stands on or works around (DESIGN 4), none of it promised by its documentation: an
//! upgrade that changes it must be seen here first.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    rc::Rc,
    task::Poll,
    time::Duration,
};

use actix::prelude::*;
use futures_util::stream;

type Log = Rc<RefCell<Vec<u32>>>;

#[derive(Default)]
struct Scribe {
    log: Log,
    starts: Rc<Cell<u32>>,
    stops_at: Option<u32>,
}

#[derive(Message)]
#[rtype(result = "()")]
struct Note(u32);

#[derive(Message)]
#[rtype(result = "()")]
struct Crash;

impl Actor for Scribe {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(1);
        self.starts.set(self.starts.get() + 1);
    }
}

impl Handler<Note> for Scribe {
    type Result = ();

    fn handle(&mut self, note: Note, ctx: &mut Self::Context) {
        self.log.borrow_mut().push(note.0);
        if self.stops_at == Some(note.0) {
            ctx.stop();
        }
    }
}

impl Handler<Crash> for Scribe {
    type Result = ();

    fn handle(&mut self, _: Crash, _: &mut Self::Context) {
        panic!("the test wants this panic");
    }
}

impl Supervised for Scribe {}

impl StreamHandler<u32> for Scribe {
    fn handle(&mut self, item: u32, _: &mut Self::Context) {
        self.log.borrow_mut().push(item);
    }

    fn finished(&mut self, _: &mut Self::Context) {}
}

fn run(test: impl Future<Output = ()>) {
    System::new().block_on(async { tokio::time::timeout(Duration::from_secs(30), test).await.expect("in time") });
}

async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// Why the mailbox is not a lane: its capacity bounds nobody who does not wait.
#[test]
fn do_send_ignores_the_mailboxs_capacity() {
    run(async {
        let scribe = Scribe::default();
        let log = scribe.log.clone();
        let address = scribe.start();
        settle().await;
        (0..1000).for_each(|number| address.do_send(Note(number)));
        settle().await;
        assert_eq!(log.borrow().len(), 1000);
    });
}

/// How far `log` was at each turn of a task that lives beside the actor and always wants its turn, until `items` are there.
async fn turns_beside(log: Log, items: usize) -> Vec<usize> {
    let rival = actix_rt::spawn(async move {
        let mut turns = Vec::new();
        poll_fn(|cx| {
            turns.push(log.borrow().len());
            if log.borrow().len() >= items {
                return Poll::Ready(());
            }
            // Behind whoever is ready now; `yield_now` would wait for a look at the sockets as well.
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
        turns
    });
    rival.await.expect("it does not panic")
}

/// Why the inbox ends its own turn: a stream that is always ready is read 16 times before anybody else has a turn.
#[test]
fn add_stream_handles_sixteen_items_before_anybody_elses_turn() {
    run(async {
        let scribe = Scribe::default();
        let log = scribe.log.clone();
        let _address = Scribe::create(|ctx| {
            ctx.add_stream(stream::iter(0..100));
            scribe
        });
        let mut turns = turns_beside(log, 100).await;
        turns.retain(|seen| *seen > 0);
        assert_eq!(turns[..3], [16, 32, 48]);
    });
}

/// What the inbox does instead: a stream that says "not now" and wakes itself gives everybody a turn after each item.
#[test]
fn a_stream_that_wakes_itself_gives_others_their_turn() {
    run(async {
        let scribe = Scribe::default();
        let log = scribe.log.clone();
        let (mut next, mut rest) = (0, false);
        let polite = stream::poll_fn(move |cx| {
            rest = !rest;
            if rest {
                next += 1;
                return Poll::Ready((next <= 100).then_some(next));
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        });
        let _address = Scribe::create(|ctx| {
            ctx.add_stream(polite);
            scribe
        });
        let turns = turns_beside(log, 100).await;
        assert!(turns.windows(2).all(|pair| pair[1] <= pair[0] + 1), "{turns:?}");
    });
}

/// Why memberships are leases: the actor is gone, its neighbours and its thread are not, and no supervisor brings it back.
#[test]
fn a_panic_kills_only_that_actor_and_supervisors_do_not_bring_it_back() {
    run(async {
        let (victim, neighbour) = (Scribe::default(), Scribe::default());
        let (starts, log) = (victim.starts.clone(), neighbour.log.clone());
        let mut victim = Some(victim);
        let victim = Supervisor::start(move |_| victim.take().expect("made once"));
        let neighbour = neighbour.start();
        assert!(victim.send(Crash).await.is_err());
        settle().await;
        assert!(!victim.connected() && victim.send(Note(1)).await.is_err());
        assert_eq!(starts.get(), 1);
        neighbour.send(Note(2)).await.unwrap();
        assert_eq!(*log.borrow(), [2]);
    });
}

/// Why last words do not travel by mailbox.
#[test]
fn stop_drops_queued_mail() {
    run(async {
        let scribe = Scribe { stops_at: Some(2), ..Scribe::default() };
        let log = scribe.log.clone();
        let address = scribe.start();
        (1..=5).for_each(|number| address.do_send(Note(number)));
        settle().await;
        assert_eq!(*log.borrow(), [1, 2]);
        assert!(!address.connected());
    });
}
