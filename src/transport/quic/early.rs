//! A control link whose first message leaves before it is known who takes it: in a first datagram that the node may refuse to
//! read, or that nobody answers. Then the same messages go over another link, and the actor above notices nothing.

use std::{
    collections::VecDeque,
    future::poll_fn,
    mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use actors::port::{ControlLink, ControlReceiver, ControlSender, LinkError, PortFuture, Remote};
use tokio::sync::oneshot;
use wire::Message;

use super::careful::is_replay_safe;

/// Messages that may be said early: a hello, and what goes with it. More waits.
const EARLY_MAX: usize = 16;

/// What the first flush opens: a link, and in the end what became of it.
pub(super) struct Opened {
    /// The early link.
    pub(super) receiver: Box<dyn ControlReceiver>,
    /// Its other half.
    pub(super) sender: Box<dyn ControlSender>,
    /// Completes when it is known.
    pub(super) outcome: PortFuture<Outcome>,
}

impl Opened {
    /// Nothing can be said early: all waits for the outcome, which must be another link.
    pub(super) fn nothing(outcome: PortFuture<Outcome>) -> Self {
        Self { receiver: Box::new(Nothing), sender: Box::new(Nothing), outcome }
    }
}

/// A link that leads nowhere.
struct Nothing;

impl ControlReceiver for Nothing {
    fn poll_receive(&mut self, _: &mut Context<'_>) -> Poll<Result<Option<Message>, LinkError>> {
        Poll::Ready(Ok(None))
    }
}

impl ControlSender for Nothing {
    fn start_send(&mut self, _: &Message) -> Result<(), LinkError> {
        Ok(())
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<Result<(), LinkError>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(&mut self, _: &mut Context<'_>) -> Poll<Result<(), LinkError>> {
        Poll::Ready(Ok(()))
    }
}

/// What became of an early link.
pub(super) enum Outcome {
    /// It goes on.
    Kept,
    /// What was said on it was not heard; this one goes on in its place.
    Instead(ControlLink),
    /// There is none.
    Failed(LinkError),
}

/// Opens the early link. Called at the first flush, so that the first message and the handshake are in one datagram.
pub(super) type Opener = Box<dyn FnOnce() -> Result<Opened, LinkError> + Send>;

/// A link to `remote`, which opens with its first message.
pub(super) fn promise(remote: Remote, opener: Opener) -> ControlLink {
    let (opened, opens) = oneshot::channel();
    let sender = EarlySender { step: Step::Unopened(opener, opened), said: Arc::default(), held: VecDeque::new() };
    let receiver = EarlyReceiver { opens: Some(opens), current: None, verdict: None };
    ControlLink { remote, receiver: Box::new(receiver), sender: Box::new(sender), data_endpoint: String::new() }
}

/// What was said early, to be said again if nobody heard it.
#[derive(Default)]
struct Said {
    messages: Vec<Message>,
    /// It is known which link goes on: nothing is added.
    is_over: bool,
}

fn lock(said: &Mutex<Said>) -> MutexGuard<'_, Said> {
    said.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The sender that takes the place of the early one; none: that one goes on.
type NewSender = oneshot::Receiver<Option<Box<dyn ControlSender>>>;
/// The same for the receiver.
type NewReceiver = oneshot::Receiver<Result<Option<Box<dyn ControlReceiver>>, LinkError>>;

enum Step {
    Unopened(Opener, oneshot::Sender<(Box<dyn ControlReceiver>, NewReceiver)>),
    Early(Box<dyn ControlSender>, NewSender),
    Settled(Box<dyn ControlSender>),
    /// The receiver tells why.
    Failed,
}

struct EarlySender {
    step: Step,
    said: Arc<Mutex<Said>>,
    /// What must not be said early.
    held: VecDeque<Message>,
}

impl EarlySender {
    fn open(
        &mut self,
        opener: Opener,
        opens: oneshot::Sender<(Box<dyn ControlReceiver>, NewReceiver)>,
    ) -> Result<(), LinkError> {
        let Opened { receiver, mut sender, outcome } = opener()?;
        for message in &lock(&self.said).messages {
            sender.start_send(message)?;
        }
        let (sender_in, new_sender) = oneshot::channel();
        let (receiver_in, new_receiver) = oneshot::channel();
        // An actor that is gone needs neither.
        let _ = opens.send((receiver, new_receiver));
        self.step = Step::Early(sender, new_sender);
        let said = Arc::clone(&self.said);
        tokio::spawn(async move {
            match settle(outcome.await, &said).await {
                Ok(Some((receiver, sender))) => {
                    let _ = (sender_in.send(Some(sender)), receiver_in.send(Ok(Some(receiver))));
                }
                Ok(None) => {
                    let _ = (sender_in.send(None), receiver_in.send(Ok(None)));
                }
                Err(error) => drop(receiver_in.send(Err(error))),
            }
        });
        Ok(())
    }
}

/// Says again on the new link what was said on the early one.
async fn settle(
    outcome: Outcome,
    said: &Mutex<Said>,
) -> Result<Option<(Box<dyn ControlReceiver>, Box<dyn ControlSender>)>, LinkError> {
    let messages = {
        let mut said = lock(said);
        said.is_over = true;
        mem::take(&mut said.messages)
    };
    match outcome {
        Outcome::Kept => Ok(None),
        Outcome::Failed(error) => Err(error),
        Outcome::Instead(ControlLink { receiver, mut sender, .. }) => {
            for message in &messages {
                sender.start_send(message)?;
            }
            poll_fn(|cx| sender.poll_flush(cx)).await?;
            Ok(Some((receiver, sender)))
        }
    }
}

impl ControlSender for EarlySender {
    fn start_send(&mut self, message: &Message) -> Result<(), LinkError> {
        let sender = match &mut self.step {
            Step::Settled(sender) => return sender.start_send(message),
            Step::Failed => return Ok(()),
            Step::Unopened(..) => None,
            Step::Early(sender, _) => Some(sender),
        };
        let mut said = lock(&self.said);
        let may_go = is_replay_safe(message) && self.held.is_empty() && said.messages.len() < EARLY_MAX;
        if !may_go || said.is_over {
            self.held.push_back(message.clone());
            return Ok(());
        }
        said.messages.push(message.clone());
        // An early link that is broken already says so when it is settled.
        sender.map_or(Ok(()), |sender| sender.start_send(message))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LinkError>> {
        loop {
            match mem::replace(&mut self.step, Step::Failed) {
                Step::Unopened(opener, opens) => self.open(opener, opens)?,
                Step::Early(mut sender, mut new_sender) => match Pin::new(&mut new_sender).poll(cx) {
                    Poll::Ready(Ok(instead)) => {
                        let mut sender = instead.unwrap_or(sender);
                        for message in self.held.drain(..) {
                            sender.start_send(&message)?;
                        }
                        self.step = Step::Settled(sender);
                    }
                    Poll::Ready(Err(_)) => return Poll::Pending,
                    Poll::Pending => {
                        let flushed = sender.poll_flush(cx);
                        self.step = Step::Early(sender, new_sender);
                        return match flushed {
                            Poll::Ready(Ok(())) if self.held.is_empty() => Poll::Ready(Ok(())),
                            _ => Poll::Pending,
                        };
                    }
                },
                Step::Settled(mut sender) => {
                    let flushed = sender.poll_flush(cx);
                    self.step = Step::Settled(sender);
                    return flushed;
                }
                Step::Failed => return Poll::Pending,
            }
        }
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LinkError>> {
        if matches!(self.step, Step::Unopened(..)) {
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_flush(cx))?;
        match &mut self.step {
            Step::Settled(sender) | Step::Early(sender, _) => sender.poll_close(cx),
            Step::Unopened(..) | Step::Failed => Poll::Ready(Ok(())),
        }
    }
}

struct EarlyReceiver {
    opens: Option<oneshot::Receiver<(Box<dyn ControlReceiver>, NewReceiver)>>,
    current: Option<Box<dyn ControlReceiver>>,
    /// Until it is known which link goes on.
    verdict: Option<NewReceiver>,
}

impl ControlReceiver for EarlyReceiver {
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Message>, LinkError>> {
        if let Some(opens) = &mut self.opens {
            // Its sender ended before it said anything: nothing will come.
            let Ok((receiver, verdict)) = ready!(Pin::new(opens).poll(cx)) else { return Poll::Ready(Ok(None)) };
            (self.opens, self.current, self.verdict) = (None, Some(receiver), Some(verdict));
        }
        if let Some(verdict) = &mut self.verdict
            && let Poll::Ready(settled) = Pin::new(verdict).poll(cx)
        {
            self.verdict = None;
            match settled {
                Ok(Ok(None)) | Err(_) => {}
                Ok(Ok(instead)) => self.current = instead,
                Ok(Err(error)) => return Poll::Ready(Err(error)),
            }
        }
        let Some(current) = &mut self.current else { return Poll::Ready(Ok(None)) };
        match current.poll_receive(cx) {
            // An early link that ends may have another in its place; the verdict wakes.
            Poll::Ready(Ok(None) | Err(_)) if self.verdict.is_some() => Poll::Pending,
            received => received,
        }
    }
}
