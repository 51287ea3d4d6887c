//! The peer actor's inbox: two bounded lanes behind one stream, control always first (DESIGN 4, seed 000: "reading a peer
//! packet must always read first from the control socket").
//!
//! actix's own mailbox is not the lane: its capacity is no bound (`do_send` ignores it), and its order relative to streams
//! is undocumented. It is left for rare lifecycle messages.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use futures_core::Stream;
use tokio::sync::mpsc;

/// One message of either lane.
#[derive(Debug)]
pub(crate) enum Item<C, D> {
    /// From the control lane.
    Control(C),
    /// From the data lane; handled only while no control message waits.
    Data(D),
}

/// The receiving end of both lanes.
pub(crate) struct Inbox<C, D> {
    control: mpsc::Receiver<C>,
    data: mpsc::Receiver<D>,
    /// A data message was yielded in this turn: give everybody else on the worker a turn before the next.
    #[cfg(not(feature = "lanes-off"))]
    data_turn_taken: bool,
    /// A control message, and how many data messages came before it.
    #[cfg(feature = "lanes-off")]
    held: Option<(C, usize)>,
}

/// The message that is held is moved out and never pinned.
#[cfg(feature = "lanes-off")]
impl<C, D> Unpin for Inbox<C, D> {}

impl<C, D> Inbox<C, D> {
    /// Two lanes with their written limits, and the inbox that reads them.
    pub(crate) fn new(control_max: usize, data_max: usize) -> (mpsc::Sender<C>, mpsc::Sender<D>, Self) {
        let (control_sender, control) = mpsc::channel(control_max);
        let (data_sender, data) = mpsc::channel(data_max);
        let inbox = Self {
            control,
            data,
            #[cfg(not(feature = "lanes-off"))]
            data_turn_taken: false,
            #[cfg(feature = "lanes-off")]
            held: None,
        };
        (control_sender, data_sender, inbox)
    }
}

impl<C, D> Stream for Inbox<C, D> {
    type Item = Item<C, D>;

    #[cfg(not(feature = "lanes-off"))]
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.control.poll_recv(cx) {
            Poll::Ready(Some(message)) => return Poll::Ready(Some(Item::Control(message))),
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Pending => {}
        }
        // actix's `add_stream` would take 16 items before anybody else's turn: end the turn after one data message.
        if std::mem::take(&mut self.data_turn_taken) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        match self.data.poll_recv(cx) {
            Poll::Ready(Some(message)) => {
                self.data_turn_taken = true;
                Poll::Ready(Some(Item::Data(message)))
            }
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }

    /// The benchmark build without lanes: one queue in the order of arrival, and no turns. A control message waits for the
    /// data messages that lay there when it was seen.
    #[cfg(feature = "lanes-off")]
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.held.is_none()
            && let Poll::Ready(message) = self.control.poll_recv(cx)
        {
            let Some(message) = message else { return Poll::Ready(None) };
            self.held = Some((message, self.data.len()));
        }
        match self.held.take() {
            Some((message, 0)) => return Poll::Ready(Some(Item::Control(message))),
            Some((message, before)) => self.held = Some((message, before - 1)),
            None => {}
        }
        self.data.poll_recv(cx).map(|message| message.map(Item::Data))
    }
}

#[cfg(all(test, not(feature = "lanes-off")))]
mod tests {
    use super::*;
    use futures_util::{StreamExt, poll};

    #[tokio::test]
    async fn every_waiting_control_message_comes_before_data() {
        let (control, data, mut inbox) = Inbox::<u32, u32>::new(8, 8);
        data.try_send(1).unwrap();
        control.try_send(10).unwrap();
        control.try_send(11).unwrap();
        assert!(matches!(inbox.next().await, Some(Item::Control(10))));
        assert!(matches!(inbox.next().await, Some(Item::Control(11))));
        assert!(matches!(inbox.next().await, Some(Item::Data(1))));
    }

    #[tokio::test]
    async fn control_that_arrives_between_two_data_messages_goes_first() {
        let (control, data, mut inbox) = Inbox::<u32, u32>::new(8, 8);
        data.try_send(1).unwrap();
        data.try_send(2).unwrap();
        assert!(matches!(inbox.next().await, Some(Item::Data(1))));
        control.try_send(10).unwrap();
        assert!(matches!(inbox.next().await, Some(Item::Control(10))));
        assert!(matches!(inbox.next().await, Some(Item::Data(2))));
    }

    #[tokio::test]
    async fn a_data_message_ends_the_turn() {
        let (_control, data, mut inbox) = Inbox::<u32, u32>::new(8, 8);
        data.try_send(1).unwrap();
        data.try_send(2).unwrap();
        assert!(matches!(poll!(inbox.next()), Poll::Ready(Some(Item::Data(1)))));
        assert!(poll!(inbox.next()).is_pending(), "others get their turn");
        assert!(matches!(poll!(inbox.next()), Poll::Ready(Some(Item::Data(2)))), "it woke itself");
    }

    #[tokio::test]
    async fn a_full_data_lane_refuses_and_the_control_lane_is_not_touched() {
        let (control, data, _inbox) = Inbox::<u32, u32>::new(1, 1);
        data.try_send(1).unwrap();
        assert!(data.try_send(2).is_err());
        control.try_send(3).unwrap();
    }
}
