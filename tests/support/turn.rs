//! Tests of one program run side by side, several to a core, since most of them wait. One that measures has the machine to itself.

use std::{
    cell::RefCell,
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    thread,
};

static TURNS: RwLock<()> = RwLock::new(());

thread_local! {
    /// A test has a thread, and gives its turn back when that ends.
    static MINE: RefCell<Option<Turn>> = const { RefCell::new(None) };
}

/// Held, never looked at.
enum Turn {
    Beside(#[expect(dead_code)] RwLockReadGuard<'static, ()>),
    Alone(#[expect(dead_code)] RwLockWriteGuard<'static, ()>),
}

/// Waits until no other test of this program runs, and lets none begin before this one has ended: with two of them on a small
/// machine a rate says what the machine takes. Called first.
pub fn alone() {
    MINE.with_borrow_mut(|mine| {
        // With one thread for all tests this has the turn of the test before.
        *mine = None;
        *mine = Some(Turn::Alone(TURNS.write().unwrap_or_else(PoisonError::into_inner)));
    });
}

/// Waits until no test runs that is to be alone. What a test's own threads start goes with its turn: only a test's has a name (give none to
/// others, which would wait behind whoever waits for their test).
pub(super) fn beside() {
    if thread::current().name().is_some() {
        MINE.with_borrow_mut(|mine| {
            mine.get_or_insert_with(|| Turn::Beside(TURNS.read().unwrap_or_else(PoisonError::into_inner)));
        });
    }
}
