//! The connections of one worker: a row each, looked through a few times a second. So an idle connection needs no timer, and
//! what ends it from outside (its time, the operator, a node that goes down) is one look.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    task::{Context, Waker},
    time::Duration,
};

use actors::port::{Company, GuestFront, GuestPlace};
use tokio::{
    sync::Notify,
    time::{Instant, MissedTickBehavior},
};

/// Between two looks: a deadline is kept to this, and a full socket is asked as often what holds it.
const LOOK: Duration = Duration::from_millis(250);

thread_local! {
    static ROWS: Rc<Rows> = Rc::default();
}

/// Why a connection is to end.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(super) enum End {
    /// Its deadline has passed.
    Late,
    /// The operator closed it.
    Over,
    /// The node is going down, and nothing is being sent.
    Down,
}

/// All rows of the current thread.
#[derive(Default)]
struct Rows {
    rows: RefCell<Vec<Option<Line>>>,
    vacant: RefCell<Vec<usize>>,
    added: Notify,
    sweeping: Cell<bool>,
}

/// What is known of one connection.
struct Line {
    place: GuestPlace,
    deadline: Option<Instant>,
    /// Nothing is being sent: it ends at once when the node goes down.
    is_idle: bool,
    /// Woken at every look, not only at its end.
    is_watching: bool,
    end: Option<End>,
    waker: Option<Waker>,
}

impl Line {
    /// A new stage of the connection: what was late before is not late now.
    fn renew(&mut self, is_idle: bool, is_watching: bool, time: Option<Duration>) {
        (self.is_idle, self.is_watching) = (is_idle, is_watching);
        self.deadline = time.map(|time| Instant::now() + time);
        self.end = self.end.filter(|end| *end != End::Late);
    }

    /// Why it is to end now, if it is.
    fn due(&self, now: Instant, is_draining: bool) -> Option<End> {
        if self.place.company.is_over() {
            Some(End::Over)
        } else if is_draining && self.is_idle {
            Some(End::Down)
        } else {
            self.deadline.is_some_and(|deadline| deadline <= now).then_some(End::Late)
        }
    }
}

/// A connection's row; gone when it is dropped, and the connection's place with it.
pub(super) struct Row {
    index: usize,
    rows: Rc<Rows>,
}

impl Row {
    /// A row on the current worker.
    pub(super) fn new(place: GuestPlace, front: &Arc<dyn GuestFront>) -> Self {
        let rows = ROWS.with(Rc::clone);
        let line = Line { place, deadline: None, is_idle: true, is_watching: false, end: None, waker: None };
        let vacant = rows.vacant.borrow_mut().pop();
        let index = {
            let mut all = rows.rows.borrow_mut();
            let index = vacant.unwrap_or_else(|| {
                all.push(None);
                all.len() - 1
            });
            all[index] = Some(line);
            index
        };
        if !rows.sweeping.replace(true) {
            tokio::task::spawn_local(rows.clone().sweep(front.clone()));
        }
        rows.added.notify_one();
        Self { index, rows }
    }

    fn with<T>(&self, change: impl FnOnce(&mut Line) -> T) -> T {
        let mut rows = self.rows.rows.borrow_mut();
        let line = rows[self.index].as_mut();
        change(line.unwrap_or_else(|| unreachable!("a row is there as long as its handle")))
    }

    /// The connections of its address.
    pub(super) fn company(&self) -> Arc<Company> {
        self.with(|line| line.place.company.clone())
    }

    /// It waits for the client, at most for `time`.
    pub(super) fn idle(&self, time: Duration) {
        self.with(|line| line.renew(true, false, Some(time)));
    }

    /// It is being served; nothing ends it but the operator.
    pub(super) fn busy(&self) {
        self.with(|line| line.renew(false, false, None));
    }

    /// It is being served and waits for its socket, at most for `time`.
    pub(super) fn blocked(&self, time: Duration) {
        self.with(|line| line.renew(false, true, Some(time)));
    }

    /// Whether it is to end; if not, the task of `cx` is woken when that changes.
    pub(super) fn poll_end(&self, cx: &Context<'_>) -> Option<End> {
        self.with(|line| {
            if line.end.is_none() && line.waker.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
                line.waker = Some(cx.waker().clone());
            }
            line.end
        })
    }
}

/// How long a client may take nothing of what the socket holds. One that takes anything is alive, however long it needs for what is
/// under way.
pub(super) struct Patience {
    time: Duration,
    left_bytes: Option<u64>,
}

impl Patience {
    /// `time` from the first look on, and from each that finds less.
    pub(super) fn new(time: Duration) -> Self {
        Self { time, left_bytes: None }
    }

    /// The connection of `row` waits, and its socket holds so much that was not taken.
    pub(super) fn look(&mut self, row: &Row, left_bytes: u64) {
        if self.left_bytes.replace(left_bytes).is_none_or(|before| left_bytes < before) {
            row.blocked(self.time);
        }
    }

    /// Whether there was a wait.
    pub(super) fn was_needed(&self) -> bool {
        self.left_bytes.is_some()
    }
}

impl Drop for Row {
    fn drop(&mut self) {
        let line = self.rows.rows.borrow_mut()[self.index].take();
        self.rows.vacant.borrow_mut().push(self.index);
        drop(line);
    }
}

impl Rows {
    async fn sweep(self: Rc<Self>, front: Arc<dyn GuestFront>) {
        let mut looks = tokio::time::interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            if self.look(Instant::now(), front.is_draining()) == 0 {
                // Nobody to look at: no look either.
                self.added.notified().await;
            }
        }
    }

    /// Ends what must end; returns how many rows there are.
    fn look(&self, now: Instant, is_draining: bool) -> usize {
        let mut due = Vec::new();
        let mut rows = self.rows.borrow_mut();
        for line in rows.iter_mut().flatten() {
            if line.end.is_none() {
                line.end = line.due(now, is_draining);
            }
            if line.end.is_some() || line.is_watching {
                due.extend(line.waker.take());
            }
        }
        let vacant = self.vacant.borrow().len();
        let count = rows.len() - vacant;
        if count == 0 {
            // After a crowd, its memory goes back.
            *rows = Vec::new();
            *self.vacant.borrow_mut() = Vec::new();
        }
        drop(rows);
        due.into_iter().for_each(Waker::wake);
        count
    }
}
