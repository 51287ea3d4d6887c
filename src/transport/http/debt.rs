//! Answers without a body take their part of the line too.
//!
//! A head is a few hundred bytes, and a turn for each would be dearer than what it says. So the connections of an address run up a debt,
//! and whoever would answer next when it is large waits for permission to have sent that much, in the group of what he asked for then:
//! whoever asks for nothing but what is not there gets no more of the line than others.

use std::future::poll_fn;

use actors::port::{GuestRequest, GuestTerms, Passage};

use super::connection::{Connection, Stop};

/// What one address may owe: some fifty heads.
const DEBT_BYTES_MAX: u64 = 16 * 1024;
/// What the operator sees in place of a file's name while it is waited for.
const NAME: &str = "(heads)";

impl Connection {
    /// Says what is no file's: a head, why there is no body, to a request for what is at `path`. After what was said before has been paid
    /// for, if that is much.
    pub(super) async fn speak(&mut self, path: &str, bytes: &[u8]) -> Result<(), Stop> {
        let company = self.row.company();
        let owed = company.collect(DEBT_BYTES_MAX);
        if owed > 0 {
            self.pay(path, owed).await?;
        }
        company.owe(bytes.len() as u64);
        self.write(bytes).await
    }

    /// Waits for the turn of a transfer of `owed` bytes, which have been sent.
    async fn pay(&self, path: &str, owed: u64) -> Result<(), Stop> {
        let share = path.split('/').next().unwrap_or_default();
        let request = GuestRequest {
            address: self.address,
            agent: String::new(),
            path: format!("{share}/{NAME}"),
            size: owed,
            start: 0,
            terms: GuestTerms::default(),
            switch: None,
        };
        let mut left = owed;
        let paid = match self.frontage.front.begin(request) {
            Ok(mut passage) => self.repay(&mut *passage, &mut left).await,
            // The node takes no transfers any more, and says so in this answer.
            Err(_) => Ok(()),
        };
        // Whoever goes away meanwhile leaves the rest to the next connection of his address.
        self.row.company().owe(left);
        paid
    }

    async fn repay(&self, passage: &mut dyn Passage, left: &mut u64) -> Result<(), Stop> {
        while *left > 0 {
            let wanted = u32::try_from(*left).unwrap_or(u32::MAX);
            let permit = self.meanwhile(poll_fn(|cx| passage.poll_permit(wanted, cx))).await?;
            passage.said(permit);
            *left -= u64::from(permit.min(wanted));
        }
        passage.end("heads");
        Ok(())
    }
}
