//! One transfer as one end sees it: its steps, its window, its order.
//!
//! ```text
//! get, server:  Asked     -- opened --> Sending -- finished --> Sent
//! get, client:  Requested -- Opened --> Receiving
//! put, client:  Offered   -- Ready  --> Prepared -- begin --> Sending -- finished --> Sent
//! put, server:  Announced -- ready  --> Awaiting -- Begin --> Receiving
//! ```

use flow::Direction;

use crate::{Begin, DataHeader, Finished, Opened, Ready, Violation};

/// A live transfer.
#[derive(Debug)]
pub(crate) struct Transfer {
    pub(crate) id: u32,
    pub(crate) step: Step,
}

/// Where it is, with only what is true there. Offsets are absolute.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) enum Step {
    /// Sender of a get: the shell opens the file.
    Asked { offset: u64, window: u64 },
    /// Sender of a put: the server has not answered.
    Offered { size: u64 },
    /// Sender of a put: the shell compares prefixes.
    Prepared { size: u64, offset: u64, window: u64 },
    /// Sender: `sent <= min(limit, size)`.
    Sending { size: u64, sent: u64, limit: u64 },
    /// Sender: waits until it is stored.
    Sent { size: u64 },
    /// Receiver of a get: the server has not answered.
    Requested { offset: u64, window: u64 },
    /// Receiver of a put: the shell looks for what is there.
    Announced { size: u64 },
    /// Receiver of a put: the client has not begun.
    Awaiting { size: u64, offset: u64, window: u64 },
    /// Receiver: `received <= min(limit, size)`.
    Receiving { size: u64, received: u64, limit: u64, finished: bool },
}

/// What to do with a data frame's payload.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Accepted {
    /// Write it.
    Store,
    /// Read it and throw it away: its transfer has ended, and the sender did not know.
    Discard,
    /// Data overtook control: leave it unread, stop reading that link, and ask again after the next control message.
    Early,
}

impl Step {
    pub(crate) const fn as_str(&self) -> &'static str {
        match self {
            Self::Asked { .. } => "asked",
            Self::Offered { .. } => "offered",
            Self::Prepared { .. } => "prepared",
            Self::Sending { .. } => "sending",
            Self::Sent { .. } => "sent",
            Self::Requested { .. } => "requested",
            Self::Announced { .. } => "announced",
            Self::Awaiting { .. } => "awaiting",
            Self::Receiving { .. } => "receiving",
        }
    }

    pub(crate) const fn direction(&self) -> Direction {
        match self {
            Self::Asked { .. }
            | Self::Offered { .. }
            | Self::Prepared { .. }
            | Self::Sending { .. }
            | Self::Sent { .. } => Direction::Upload,
            Self::Requested { .. } | Self::Announced { .. } | Self::Awaiting { .. } | Self::Receiving { .. } => {
                Direction::Download
            }
        }
    }

    /// Bytes of data that may be on their way to this end now.
    pub(crate) fn in_flight_max(&self) -> u64 {
        match *self {
            Self::Requested { offset, window } | Self::Awaiting { offset, window, .. } => window.saturating_sub(offset),
            Self::Receiving { size, received, limit, .. } => limit.min(size).saturating_sub(received),
            Self::Asked { .. }
            | Self::Offered { .. }
            | Self::Prepared { .. }
            | Self::Sending { .. }
            | Self::Sent { .. }
            | Self::Announced { .. } => 0,
        }
    }
}

/// The first limit: the receiver has room for `window - offset` bytes, wherever the sender begins.
pub(crate) fn first_limit(start: u64, offset: u64, window: u64) -> u64 {
    start.saturating_add(window.saturating_sub(offset))
}

/// What the peer says about a transfer. Each method leaves it as it was when it fails.
impl Transfer {
    pub(crate) fn handle_opened(&mut self, opened: &Opened) -> Result<(), Violation> {
        let Step::Requested { offset, window } = self.step else {
            return Err(self.unexpected("opened"));
        };
        self.step = self.receiving(opened.size, opened.start, offset, window)?;
        Ok(())
    }

    pub(crate) fn handle_ready(&mut self, ready: &Ready) -> Result<(), Violation> {
        let Step::Offered { size } = self.step else {
            return Err(self.unexpected("ready"));
        };
        if ready.offset > size {
            return Err(Violation::SizePassed { transfer: self.id, end: ready.offset, size });
        }
        self.step = Step::Prepared { size, offset: ready.offset, window: ready.window };
        Ok(())
    }

    pub(crate) fn handle_begin(&mut self, begin: &Begin) -> Result<(), Violation> {
        let Step::Awaiting { size, offset, window } = self.step else {
            return Err(self.unexpected("begin"));
        };
        self.step = self.receiving(size, begin.start, offset, window)?;
        Ok(())
    }

    fn receiving(&self, size: u64, start: u64, offset: u64, window: u64) -> Result<Step, Violation> {
        let transfer = self.id;
        if start != 0 && start != offset {
            return Err(Violation::BadStart { transfer, start, offset });
        }
        if start > size {
            return Err(Violation::SizePassed { transfer, end: start, size });
        }
        Ok(Step::Receiving { size, received: start, limit: first_limit(start, offset, window), finished: false })
    }

    /// Whether the window moved.
    pub(crate) fn handle_window(&mut self, new_limit: u64) -> Result<bool, Violation> {
        match &mut self.step {
            Step::Sending { limit, .. } => {
                let moved = new_limit > *limit;
                *limit = new_limit.max(*limit);
                Ok(moved)
            }
            // It crossed our `Finished`.
            Step::Sent { .. } => Ok(false),
            _ => Err(self.unexpected("window")),
        }
    }

    pub(crate) fn handle_finished(&mut self, message: &Finished) -> Result<(), Violation> {
        let Step::Receiving { size, finished, .. } = &mut self.step else {
            return Err(self.unexpected("finished"));
        };
        if *finished {
            return Err(self.unexpected("finished"));
        }
        if message.size != *size {
            return Err(Violation::SizeChanged { transfer: self.id, expected: *size, got: message.size });
        }
        *finished = true;
        Ok(())
    }

    pub(crate) fn handle_stored(&self) -> Result<(), Violation> {
        match self.step {
            Step::Sent { .. } => Ok(()),
            _ => Err(self.unexpected("stored")),
        }
    }

    pub(crate) fn handle_progress(&self, stored: u64) -> Result<(), Violation> {
        let sent = match self.step {
            Step::Sending { sent, .. } => sent,
            Step::Sent { size } => size,
            _ => return Err(self.unexpected("progress")),
        };
        if stored > sent {
            return Err(Violation::ProgressAhead { transfer: self.id, stored, sent });
        }
        Ok(())
    }

    pub(crate) fn handle_data(&mut self, header: &DataHeader) -> Result<Accepted, Violation> {
        let transfer = self.id;
        let end = header.end();
        match &mut self.step {
            Step::Requested { window, .. } | Step::Awaiting { window, .. } => {
                if end > *window {
                    return Err(Violation::WindowPassed { transfer, end, limit: *window });
                }
                Ok(Accepted::Early)
            }
            Step::Receiving { size, received, limit, .. } => {
                if header.offset != *received {
                    return Err(Violation::OutOfOrder { transfer, expected: *received, got: header.offset });
                }
                if end > *size {
                    return Err(Violation::SizePassed { transfer, end, size: *size });
                }
                if end > *limit {
                    return Err(Violation::WindowPassed { transfer, end, limit: *limit });
                }
                *received = end;
                Ok(Accepted::Store)
            }
            Step::Asked { .. }
            | Step::Offered { .. }
            | Step::Prepared { .. }
            | Step::Sending { .. }
            | Step::Sent { .. }
            | Step::Announced { .. } => Err(self.unexpected("data")),
        }
    }

    fn unexpected(&self, message: &'static str) -> Violation {
        Violation::UnexpectedForTransfer { message, transfer: self.id, state: self.step.as_str() }
    }
}
