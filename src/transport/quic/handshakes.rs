//! Handshakes under way: all of them, and those of each address.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use actors::guest::shared_address;

/// The part of all that one address may have before those that come from it must prove it.
const SHARE_OF_ONE: usize = 8;
/// And at least.
const OF_ONE_MIN: usize = 4;

/// Handshakes under way at one node.
#[derive(Debug, Default)]
pub(super) struct Handshakes(Mutex<Book>);

#[derive(Debug, Default)]
struct Book {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

impl Handshakes {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a newcomer at `address` must first prove that it is his: there are `max` under way, or the eighth part of that at his
    /// address, so that whoever floods from one keeps nobody else's first datagram from being heard.
    pub(super) fn are_crowded(&self, address: SocketAddr, max: usize) -> bool {
        let book = self.book();
        let his = book.by_address.get(&shared_address(address.ip())).copied().unwrap_or(0);
        book.all >= max || his >= (max / SHARE_OF_ONE).max(OF_ONE_MIN)
    }

    /// One more, as long as the answer lives.
    pub(super) fn begin(self: &Arc<Self>, address: SocketAddr) -> UnderWay {
        let address = shared_address(address.ip());
        let mut book = self.book();
        book.all += 1;
        *book.by_address.entry(address).or_default() += 1;
        UnderWay { handshakes: Arc::clone(self), address }
    }
}

/// One handshake.
pub(super) struct UnderWay {
    handshakes: Arc<Handshakes>,
    address: IpAddr,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut book = self.handshakes.book();
        book.all -= 1;
        if let Some(his) = book.by_address.get_mut(&self.address) {
            *his -= 1;
            if *his == 0 {
                book.by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_floods_from_one_address_must_prove_it_and_others_need_not_until_all_is_taken() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        let handshakes = Arc::<Handshakes>::default();
        let is_crowded = |address| handshakes.are_crowded(at(address), 64);
        let one: Vec<_> = (1..=8).map(|port| handshakes.begin(at(&format!("192.0.2.1:{port}")))).collect();
        assert!(is_crowded("192.0.2.1:9") && !is_crowded("192.0.2.2:1"));
        // A customer has a whole /64.
        let six: Vec<_> = (1..=8).map(|host| handshakes.begin(at(&format!("[2001:db8::{host}]:1")))).collect();
        assert!(is_crowded("[2001:db8::9]:1") && !is_crowded("[2001:db8:1::9]:1"));
        let crowd: Vec<_> = (1..=48).map(|host| handshakes.begin(at(&format!("198.51.100.{host}:1")))).collect();
        assert!(is_crowded("192.0.2.2:1") && is_crowded("[2001:db8:1::9]:1"));
        drop((one, six));
        assert!(!is_crowded("192.0.2.1:9") && !is_crowded("[2001:db8::9]:1"));
        drop(crowd);
        assert!(handshakes.book().by_address.is_empty() && handshakes.book().all == 0);
        assert!(handshakes.are_crowded(at("192.0.2.1:9"), 0), "everybody must");
    }
}
