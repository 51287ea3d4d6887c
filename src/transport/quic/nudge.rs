//! Who only receives says something when the other end falls silent: his address may have changed without his knowing, behind a
//! translator that forgot him, and then what is sent to him goes to where he was until he is heard of (RFC 9000, 9).

use std::{
    future::Future as _,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, Sleep, sleep_until},
};

use super::tuning::DATA_KEEPALIVE;

/// Silence that means something on a link over which bytes came without a pause until then.
const SILENCE: Duration = Duration::from_millis(300);
/// Bytes that come within this time after something was said are taken for its answer.
const ANSWER: Duration = Duration::from_millis(250);
/// A pause is remembered for this time, and at most for twice as long.
const EPOCH: Duration = Duration::from_secs(3);

/// When the end of a data link that receives is to say something.
pub(super) struct Nudge {
    /// Told whenever this link says something: the same session's control link has moved as well, and says nothing either.
    bell: Arc<Notify>,
    /// When bytes came last; `None`: never.
    heard: Option<Instant>,
    /// The longest pauses of this epoch and of the one before: a link at a low rate brings a piece and then nothing for a while.
    pauses: [Duration; 2],
    /// When this epoch began.
    epoch: Instant,
    /// Times that something was said since bytes came last, and when that was.
    said: u32,
    spoke: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Nudge {
    /// Of a link that nothing has come over. `bell` is rung with each nudge.
    pub(super) fn new(bell: Arc<Notify>) -> Self {
        Self { bell, heard: None, pauses: Default::default(), epoch: Instant::now(), said: 0, spoke: None, timer: None }
    }

    /// Bytes have come.
    pub(super) fn heard(&mut self, now: Instant) {
        let pause = self.heard.replace(now).map_or(Duration::ZERO, |before| now.saturating_duration_since(before));
        if now.saturating_duration_since(self.epoch) >= EPOCH {
            (self.pauses, self.epoch) = ([Duration::ZERO, self.pauses[0]], now);
        }
        // What came because something was said ended no pause of the sender's.
        let is_answer = self.said > 0 && self.spoke.is_some_and(|spoke| now.saturating_duration_since(spoke) < ANSWER);
        if !is_answer {
            self.pauses[0] = self.pauses[0].max(pause);
        }
        self.said = 0;
    }

    /// When to say something next; not where the connection's own questions come as soon.
    fn due(&self) -> Option<Instant> {
        let pause = self.pauses[0].max(self.pauses[1]);
        let wait = (2 * pause).max(SILENCE) * 2_u32.saturating_pow(self.said);
        self.heard.filter(|_| wait < DATA_KEEPALIVE).map(|heard| heard + wait)
    }

    /// Ready when nothing has come for so long that something is to be said. Asked while nothing comes.
    pub(super) fn poll_due(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let Some(due) = self.due() else { return Poll::Pending };
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
            // Set again only when it has gone off, not with each datagram.
            ready!(timer.as_mut().poll(cx));
            if Instant::now() >= due {
                self.said += 1;
                self.spoke = Some(Instant::now());
                self.bell.notify_waiters();
                return Poll::Ready(());
            }
            timer.as_mut().reset(due);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn after(pauses: impl IntoIterator<Item = u32>) -> (Nudge, Instant) {
        let (mut nudge, mut now) = (Nudge::new(Arc::default()), Instant::now());
        nudge.heard(now);
        for pause in pauses {
            now += MS * pause;
            nudge.heard(now);
        }
        (nudge, now)
    }

    #[test]
    fn silence_is_longer_than_the_pauses_of_late() {
        assert!(Nudge::new(Arc::default()).due().is_none(), "nothing ever came");
        for (pauses, wait) in [
            (vec![], Some(300)),
            (vec![10; 20], Some(300)),
            // Datagrams of one piece, and then a pause.
            ([vec![400], vec![1; 1000]].concat(), Some(800)),
            // A link at a low rate: the connection asks by itself.
            (vec![1000; 3], None),
            // It was slow once.
            ([vec![1000], vec![200; 40]].concat(), Some(400)),
        ] {
            let (nudge, now) = after(pauses.clone());
            assert_eq!(nudge.due().map(|due| due - now), wait.map(|wait| MS * wait), "{pauses:?}");
        }
    }

    #[test]
    fn it_is_said_less_and_less_often_and_then_left_to_the_connection() {
        let (mut nudge, now) = after([]);
        for wait in [Some(300), Some(600), Some(1200), None, None] {
            assert_eq!(nudge.due().map(|due| due - now), wait.map(|wait| MS * wait));
            nudge.said += 1;
        }
        nudge.heard(now);
        assert_eq!(nudge.due(), Some(now + SILENCE));
    }

    /// Each change of the address made the next silence twice as long, up to the connection's own question.
    #[test]
    fn a_pause_that_was_ended_by_a_word_is_not_one_of_the_senders() {
        let (mut nudge, mut now) = after([10; 20]);
        for _ in 0..5 {
            now += SILENCE;
            (nudge.said, nudge.spoke) = (1, Some(now));
            now += MS * 60;
            nudge.heard(now);
            assert_eq!(nudge.due(), Some(now + SILENCE));
        }
    }

    #[tokio::test]
    async fn control_is_told() {
        let bell = Arc::new(Notify::new());
        let mut nudge = Nudge::new(Arc::clone(&bell));
        let rung = bell.notified();
        nudge.heard(Instant::now());
        std::future::poll_fn(|cx| nudge.poll_due(cx)).await;
        rung.await;
        assert_eq!(nudge.said, 1);
    }
}
