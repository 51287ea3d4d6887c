//! What a node keeps of QUIC sessions, so that their peers may come back in one datagram: the newest, so many of them.
//!
//! A cache of our own, since that of rustls looks through all its entries whenever one is taken out, and each return takes one.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use rustls::server::StoresServerSessions;

/// Of one session. Ours take some 600: the peer's certificate, which is most of it, is as long as the peer likes, and it comes
/// before anybody has asked for its rights.
const SESSION_BYTES_MAX: usize = 2048;

/// Sessions of control and of data links, by their tickets.
pub(super) struct Sessions {
    max: usize,
    book: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    /// By ticket: when it was given, counted, and what is kept of the session, with its secret and the peer's certificate.
    kept: HashMap<Vec<u8>, (u64, Vec<u8>)>,
    /// Tickets in the order in which they were given. Those that were taken meanwhile are passed over.
    order: VecDeque<(u64, Vec<u8>)>,
    given: u64,
}

impl Sessions {
    /// Keeps at most `max`.
    pub(super) fn new(max: usize) -> Self {
        Self { max, book: Mutex::default() }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn drop_oldest(&mut self) {
        while let Some((given, ticket)) = self.order.pop_front() {
            if self.kept.get(&ticket).is_some_and(|(kept, _)| *kept == given) {
                self.kept.remove(&ticket);
                return;
            }
        }
    }
}

// By hand: secrets are no matter for a debug log.
impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").field("max", &self.max).finish_non_exhaustive()
    }
}

impl StoresServerSessions for Sessions {
    /// `false`: it is not kept, and its peer gets no ticket.
    fn put(&self, ticket: Vec<u8>, session: Vec<u8>) -> bool {
        if session.len() > SESSION_BYTES_MAX {
            return false;
        }
        let mut book = self.book();
        book.given += 1;
        let given = book.given;
        book.kept.insert(ticket.clone(), (given, session));
        book.order.push_back((given, ticket));
        if book.kept.len() > self.max {
            book.drop_oldest();
        }
        // At most every so many times, so that it costs nothing on the average.
        if book.order.len() > 2 * self.max {
            let Book { kept, order, .. } = &mut *book;
            order.retain(|(given, ticket)| kept.get(ticket).is_some_and(|(kept, _)| kept == given));
        }
        true
    }

    fn get(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        self.book().kept.get(ticket).map(|(_, session)| session.clone())
    }

    fn take(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        self.book().kept.remove(ticket).map(|(_, session)| session)
    }

    fn can_cache(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_kept_and_each_is_taken_once() {
        let sessions = Sessions::new(3);
        let put = |name: u8| assert!(sessions.put(vec![name], vec![name, name]));
        (1..=4).for_each(put);
        assert_eq!(sessions.get(&[1]), None, "the oldest went");
        assert_eq!(sessions.get(&[2]), Some(vec![2, 2]));
        assert_eq!(sessions.take(&[2]), Some(vec![2, 2]));
        assert_eq!(sessions.take(&[2]), None, "once");
        put(5);
        assert_eq!([3, 4, 5].map(|name| sessions.get(&[name]).is_some()), [true; 3], "there was room");
        put(6);
        assert_eq!([3, 4, 5, 6].map(|name| sessions.get(&[name]).is_some()), [false, true, true, true]);
    }

    #[test]
    fn its_memory_is_bounded_whatever_comes_and_goes() {
        let sessions = Sessions::new(10);
        for count in 0..10_000_u32 {
            let ticket = count.to_be_bytes().to_vec();
            assert!(sessions.put(ticket.clone(), vec![0; 10]));
            if count % 3 > 0 {
                assert!(sessions.take(&ticket).is_some());
            }
            let book = sessions.book();
            assert!(book.kept.len() <= 10 && book.order.len() <= 20, "{} {}", book.kept.len(), book.order.len());
        }
    }
}
