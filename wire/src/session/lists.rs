//! The list requests of one session that wait for their answers.

use crate::Violation;

/// Ids grow, as those of transfers do. At most `Limits::lists_max` wait, so a plain vector is the fastest set.
#[derive(Debug, Default)]
pub(crate) struct Lists {
    waiting: Vec<u32>,
    highest: u32,
}

impl Lists {
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(crate) fn next_id(&self) -> Option<u32> {
        self.highest.checked_add(1)
    }

    /// Marks an id that the client chose as used.
    pub(crate) fn claim(&mut self, request: u32) -> Result<(), Violation> {
        if request <= self.highest {
            return Err(Violation::RequestReused(request));
        }
        self.highest = request;
        Ok(())
    }

    /// Lets a claimed request wait.
    pub(crate) fn insert(&mut self, request: u32) {
        self.highest = self.highest.max(request);
        self.waiting.push(request);
    }

    pub(crate) fn contains(&self, request: u32) -> bool {
        self.waiting.contains(&request)
    }

    /// Takes an answered request out. Whether it waited.
    pub(crate) fn end(&mut self, request: u32) -> bool {
        match self.waiting.iter().position(|waiting| *waiting == request) {
            Some(index) => {
                self.waiting.swap_remove(index);
                true
            }
            None => false,
        }
    }

    pub(crate) fn clear(&mut self) {
        self.waiting.clear();
    }
}
