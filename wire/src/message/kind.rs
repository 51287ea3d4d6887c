//! The kinds of messages without their contents: for tables, counters and errors.

use super::Message;

/// Which message it is.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub enum MessageKind {
    /// [`Message::Hello`]
    Hello,
    /// [`Message::Welcome`]
    Welcome,
    /// [`Message::Refusal`]
    Refusal,
    /// [`Message::Ping`]
    Ping,
    /// [`Message::Pong`]
    Pong,
    /// [`Message::List`]
    List,
    /// [`Message::Listing`]
    Listing,
    /// [`Message::Get`]
    Get,
    /// [`Message::Opened`]
    Opened,
    /// [`Message::Put`]
    Put,
    /// [`Message::Ready`]
    Ready,
    /// [`Message::Begin`]
    Begin,
    /// [`Message::Window`]
    Window,
    /// [`Message::Finished`]
    Finished,
    /// [`Message::Stored`]
    Stored,
    /// [`Message::Failed`]
    Failed,
    /// [`Message::Cancel`]
    Cancel,
    /// [`Message::DesiredRates`]
    DesiredRates,
    /// [`Message::Proportions`]
    Proportions,
    /// [`Message::Granted`]
    Granted,
    /// [`Message::Progress`]
    Progress,
    /// [`Message::Goodbye`]
    Goodbye,
}

impl MessageKind {
    /// Every kind, in the order of the field numbers.
    pub const ALL: [Self; 22] = [
        Self::Hello,
        Self::Welcome,
        Self::Refusal,
        Self::Ping,
        Self::Pong,
        Self::List,
        Self::Listing,
        Self::Get,
        Self::Opened,
        Self::Put,
        Self::Ready,
        Self::Begin,
        Self::Window,
        Self::Finished,
        Self::Stored,
        Self::Failed,
        Self::Cancel,
        Self::DesiredRates,
        Self::Proportions,
        Self::Granted,
        Self::Progress,
        Self::Goodbye,
    ];

    /// The name in the `.proto` file; also a metric's label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hello => "hello",
            Self::Welcome => "welcome",
            Self::Refusal => "refusal",
            Self::Ping => "ping",
            Self::Pong => "pong",
            Self::List => "list",
            Self::Listing => "listing",
            Self::Get => "get",
            Self::Opened => "opened",
            Self::Put => "put",
            Self::Ready => "ready",
            Self::Begin => "begin",
            Self::Window => "window",
            Self::Finished => "finished",
            Self::Stored => "stored",
            Self::Failed => "failed",
            Self::Cancel => "cancel",
            Self::DesiredRates => "desired_rates",
            Self::Proportions => "proportions",
            Self::Granted => "granted",
            Self::Progress => "progress",
            Self::Goodbye => "goodbye",
        }
    }
}

impl Message {
    /// Which message it is.
    pub const fn kind(&self) -> MessageKind {
        match self {
            Self::Hello(_) => MessageKind::Hello,
            Self::Welcome(_) => MessageKind::Welcome,
            Self::Refusal(_) => MessageKind::Refusal,
            Self::Ping(_) => MessageKind::Ping,
            Self::Pong(_) => MessageKind::Pong,
            Self::List(_) => MessageKind::List,
            Self::Listing(_) => MessageKind::Listing,
            Self::Get(_) => MessageKind::Get,
            Self::Opened(_) => MessageKind::Opened,
            Self::Put(_) => MessageKind::Put,
            Self::Ready(_) => MessageKind::Ready,
            Self::Begin(_) => MessageKind::Begin,
            Self::Window(_) => MessageKind::Window,
            Self::Finished(_) => MessageKind::Finished,
            Self::Stored(_) => MessageKind::Stored,
            Self::Failed(_) => MessageKind::Failed,
            Self::Cancel(_) => MessageKind::Cancel,
            Self::DesiredRates(_) => MessageKind::DesiredRates,
            Self::Proportions(_) => MessageKind::Proportions,
            Self::Granted(_) => MessageKind::Granted,
            Self::Progress(_) => MessageKind::Progress,
            Self::Goodbye(_) => MessageKind::Goodbye,
        }
    }

    /// Its name: [`MessageKind::as_str`].
    pub const fn name(&self) -> &'static str {
        self.kind().as_str()
    }

    /// The transfer it is about, if it is about one.
    pub const fn transfer(&self) -> Option<u32> {
        match self {
            Self::Get(m) => Some(m.transfer),
            Self::Opened(m) => Some(m.transfer),
            Self::Put(m) => Some(m.transfer),
            Self::Ready(m) => Some(m.transfer),
            Self::Begin(m) => Some(m.transfer),
            Self::Window(m) => Some(m.transfer),
            Self::Finished(m) => Some(m.transfer),
            Self::Stored(m) => Some(m.transfer),
            Self::Failed(m) => Some(m.transfer),
            Self::Cancel(m) => Some(m.transfer),
            Self::Progress(m) => Some(m.transfer),
            Self::Hello(_)
            | Self::Welcome(_)
            | Self::Refusal(_)
            | Self::Ping(_)
            | Self::Pong(_)
            | Self::List(_)
            | Self::Listing(_)
            | Self::DesiredRates(_)
            | Self::Proportions(_)
            | Self::Granted(_)
            | Self::Goodbye(_) => None,
        }
    }
}
