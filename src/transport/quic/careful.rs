//! What an accepting node takes before a handshake is done: only what is safe to hear twice.
//!
//! Early data can be replayed by whoever saw it. Our own cache of sessions does not let that happen ([`super::tls`]), and still
//! only a hello, a list and a get are passed on before the peer has proven that it is there now; all else waits for that.

use std::{
    future::Future as _,
    pin::Pin,
    task::{Context, Poll, ready},
};

use actors::port::{ControlReceiver, LinkError};
use quinn::{Connection, ConnectionError};
use tokio::sync::oneshot;
use wire::Message;

/// A handshake that goes on while its peer is heard already.
pub(super) struct UnderWay {
    pub(super) connection: Connection,
    /// Completes with it, whichever way. What [`super::place::Hold`] gave.
    pub(super) settled: oneshot::Receiver<()>,
}

/// A receiver in front of which the handshake may still be going on.
pub(super) struct CarefulReceiver<R> {
    inner: R,
    /// `None` when it is over.
    handshake: Option<UnderWay>,
    /// It came to nothing: what was not safe to hear before is not heard.
    failure: Option<ConnectionError>,
    /// What waits for it, and for the messages behind it.
    waiting: Option<Message>,
}

impl<R> CarefulReceiver<R> {
    /// `handshake` is what [`quinn::Connecting::into_0rtt`] began, where it was not done before.
    pub(super) fn new(inner: R, handshake: Option<UnderWay>) -> Self {
        Self { inner, handshake, failure: None, waiting: None }
    }

    /// Whether the handshake is over.
    fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(UnderWay { connection, settled }) = &mut self.handshake else { return Poll::Ready(()) };
        let _ = ready!(Pin::new(settled).poll(cx));
        self.failure = connection.close_reason();
        self.handshake = None;
        Poll::Ready(())
    }
}

/// Whether it makes no difference if `message` comes twice. A hello is answered with tokens, which only the peer can read.
pub(super) fn is_replay_safe(message: &Message) -> bool {
    matches!(message, Message::Hello(_) | Message::List(_) | Message::Get(_))
}

impl<R: ControlReceiver> ControlReceiver for CarefulReceiver<R> {
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Message>, LinkError>> {
        loop {
            let shaken = self.poll_handshake(cx);
            if self.waiting.is_some() {
                ready!(shaken);
                return Poll::Ready(match self.failure.clone() {
                    Some(error) => Err(LinkError::Lost(error.into())),
                    None => Ok(self.waiting.take()),
                });
            }
            match ready!(self.inner.poll_receive(cx))? {
                Some(message) if (self.handshake.is_some() || self.failure.is_some()) && !is_replay_safe(&message) => {
                    self.waiting = Some(message)
                }
                message => return Poll::Ready(Ok(message)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use wire::{DesiredRates, Get, Hello, List, Ping, Put};

    use super::*;

    #[test]
    fn only_what_may_come_twice_is_taken_early() {
        assert!(is_replay_safe(&Message::Hello(Hello::default())));
        assert!(is_replay_safe(&Message::List(List::default())));
        assert!(is_replay_safe(&Message::Get(Get::default())));
        assert!(!is_replay_safe(&Message::Put(Put::default())));
        assert!(!is_replay_safe(&Message::DesiredRates(DesiredRates::default())));
        assert!(!is_replay_safe(&Message::Ping(Ping::default())));
    }
}
