//! A connection's place at the node. It is taken when the peer has shown that it is where it says, and not before: anybody can
//! write any address on his datagrams, and would otherwise fill the places of whoever really is there.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use quinn::{Connection, VarInt, ZeroRttAccepted};
use tokio::sync::oneshot;

use super::{
    super::{halves::Guard, turned_away},
    CLOSED,
    listener::Reception,
};

/// A handshake under way, counted as long as it is.
struct Handshake(Arc<Reception>);

impl Handshake {
    /// One more.
    fn begin(reception: &Arc<Reception>) -> Self {
        reception.handshakes.fetch_add(1, Relaxed);
        Self(Arc::clone(reception))
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        self.0.handshakes.fetch_sub(1, Relaxed);
    }
}

/// What a connection holds of the node: a handshake under way, then a place among those of its address. Given back on drop.
pub(super) struct Place {
    reception: Arc<Reception>,
    address: SocketAddr,
    /// `None` when it is over.
    handshake: Option<Handshake>,
    /// `None` until the address is proven.
    guard: Guard,
}

impl Place {
    /// For a handshake that begins; `guard` is the place of one that has proven its address already.
    pub(super) fn new(reception: &Arc<Reception>, address: SocketAddr, guard: Guard) -> Self {
        let handshake = Some(Handshake::begin(reception));
        Self { reception: Arc::clone(reception), address, handshake, guard }
    }

    /// What all arrivals share.
    pub(super) fn reception(&self) -> &Arc<Reception> {
        &self.reception
    }

    /// Where the peer says that it is.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The handshake of `connection` is done, which only one can do who reads what is sent to that address. Whether there was
    /// room; where not, that was counted and the peer is told.
    pub(super) fn claim(&mut self, connection: &Connection) -> bool {
        if self.guard.is_none() {
            match self.reception.front.admit(self.address) {
                Ok(guard) => self.guard = Some(guard),
                Err(reason) => {
                    // There was room when it came.
                    let told = turned_away::alert(reason).map(|(code, words)| (VarInt::from(code), words));
                    let (code, words) = told.unwrap_or((CLOSED, reason));
                    connection.close(code, words.as_bytes());
                    return false;
                }
            }
        }
        true
    }

    /// Takes the place when the handshake of `connection` is over, unless the link is dropped before.
    pub(super) fn when(mut self, connection: Connection, handshake: ZeroRttAccepted) -> Hold {
        let ((held, dropped), (done, settled)) = (oneshot::channel(), oneshot::channel());
        tokio::task::spawn_local(async move {
            let mut dropped: oneshot::Receiver<Infallible> = dropped;
            tokio::select! {
                _ = handshake => {}
                _ = &mut dropped => return,
            }
            self.handshake = None;
            if connection.close_reason().is_none() {
                self.claim(&connection);
            }
            // The link's own end is to close it.
            drop(connection);
            let _ = done.send(());
            let _ = dropped.await;
        });
        Hold::UnderWay { held, settled }
    }
}

/// How the place of a link is held.
pub(super) enum Hold {
    /// The handshake is done.
    Taken(Place),
    /// It goes on, and its peer is heard already. `held` ends with the link; `settled` completes with the handshake.
    UnderWay { held: oneshot::Sender<Infallible>, settled: oneshot::Receiver<()> },
}

impl Hold {
    /// What the link keeps as long as it lives, and what completes with the handshake if that goes on.
    pub(super) fn split(self) -> (Box<dyn Send>, Option<oneshot::Receiver<()>>) {
        match self {
            Self::Taken(mut place) => {
                place.handshake = None;
                (Box::new(place), None)
            }
            Self::UnderWay { held, settled } => (Box::new(held), Some(settled)),
        }
    }
}
