//! The mode of one direction of a link that carries data, counted as long as it is there (DESIGN section 8).

use std::sync::Arc;

use flow::{Direction, Mode, ModeSwitch, Moment};

use crate::shared::Shared;

/// One direction of a link: told what it moves, it says how it is to move the next.
pub(crate) struct LinkMode {
    switch: ModeSwitch,
    direction: Direction,
    shared: Arc<Shared>,
}

impl LinkMode {
    /// A link that goes on as `switch` left it.
    pub(crate) fn new(shared: Arc<Shared>, direction: Direction, switch: ModeSwitch) -> Self {
        shared.metrics.direction(direction).links(switch.mode()).increment(1.0);
        Self { switch, direction, shared }
    }

    /// The mode in force.
    pub(crate) fn mode(&self) -> Mode {
        self.switch.mode()
    }

    /// What decides it.
    pub(crate) fn switch(&self) -> ModeSwitch {
        self.switch
    }

    /// The link has moved `bytes`. Returns the new mode if that changes it.
    pub(crate) fn moved(&mut self, bytes: u32, now: Moment) -> Option<Mode> {
        let before = self.switch.mode();
        let mode = self.switch.moved(bytes, now, &self.shared.config.shaper.marks)?;
        let metrics = self.shared.metrics.direction(self.direction);
        metrics.links(before).decrement(1.0);
        metrics.links(mode).increment(1.0);
        metrics.mode_switches(mode).increment(1);
        Some(mode)
    }
}

impl Drop for LinkMode {
    fn drop(&mut self) {
        self.shared.metrics.direction(self.direction).links(self.switch.mode()).decrement(1.0);
    }
}
