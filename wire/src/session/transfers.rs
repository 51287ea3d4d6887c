//! All transfers of one session: ids, limits, and what may still arrive for those that have ended.

use std::collections::BTreeMap;

use super::{Accepted, Step, Transfer};
use crate::{DataHeader, Violation};

/// Ids grow, so "ended" needs no memory: it is every id up to the highest that is not live.
#[derive(Debug, Default)]
pub(crate) struct Transfers {
    live: BTreeMap<u32, Transfer>,
    highest: u32,
    /// Bytes that may still come for ended transfers: what their windows allowed when they ended. A peer that sends more
    /// does not merely lag.
    discardable: u64,
}

impl Transfers {
    pub(crate) fn len(&self) -> usize {
        self.live.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.live.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Transfer> {
        self.live.values()
    }

    pub(crate) fn highest(&self) -> u32 {
        self.highest
    }

    /// A free id, or `None` when all four billion are used up.
    pub(crate) fn next_id(&self) -> Option<u32> {
        self.highest.checked_add(1)
    }

    /// Marks an id that the peer chose as used.
    pub(crate) fn claim(&mut self, transfer: u32) -> Result<(), Violation> {
        if transfer <= self.highest {
            return Err(Violation::TransferReused { transfer, highest: self.highest });
        }
        self.highest = transfer;
        Ok(())
    }

    pub(crate) fn insert(&mut self, id: u32, step: Step) {
        self.highest = self.highest.max(id);
        self.live.insert(id, Transfer { id, step });
    }

    /// A live transfer by id.
    pub(crate) fn get(&self, transfer: u32) -> Option<&Transfer> {
        self.live.get(&transfer)
    }

    pub(crate) fn get_mut(&mut self, transfer: u32) -> Option<&mut Transfer> {
        self.live.get_mut(&transfer)
    }

    /// The transfer that the peer means: `None` if it has ended here, which the peer could not know.
    pub(crate) fn meant(&mut self, transfer: u32) -> Result<Option<&mut Transfer>, Violation> {
        if transfer == 0 || transfer > self.highest {
            return Err(Violation::UnknownTransfer(transfer));
        }
        Ok(self.live.get_mut(&transfer))
    }

    /// Ends a transfer. Whether it was live.
    pub(crate) fn end(&mut self, transfer: u32) -> bool {
        let Some(ended) = self.live.remove(&transfer) else {
            return false;
        };
        self.discardable = self.discardable.saturating_add(ended.step.in_flight_max());
        true
    }

    pub(crate) fn clear(&mut self) {
        self.live.clear();
    }

    pub(crate) fn handle_data(&mut self, header: &DataHeader) -> Result<Accepted, Violation> {
        if let Some(transfer) = self.meant(header.transfer)? {
            return transfer.handle_data(header);
        }
        match self.discardable.checked_sub(header.len.into()) {
            Some(left) => self.discardable = left,
            None => return Err(Violation::DiscardPassed),
        }
        Ok(Accepted::Discard)
    }
}
