//! A connection's place at the node. It is taken when the peer has shown that it is where it says, and not before: anybody can
//! write any address on his datagrams, and would otherwise fill the places of whoever really is there.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use actors::port::LinkFault;
use quinn::{Connection, VarInt, ZeroRttAccepted};
use tokio::{
    sync::oneshot,
    time::{Instant, sleep_until},
};

use super::{
    super::{halves::Guard, turned_away},
    CLOSED,
    handshakes::UnderWay,
    listener::Reception,
};

/// One of the peers that are heard and have not proven that they are there, as long as it lives.
struct Early(Arc<Reception>);

impl Early {
    /// `None`: the front has no room for one.
    fn begin(reception: &Arc<Reception>) -> Option<Self> {
        let before = reception.early.fetch_add(1, Relaxed);
        let early = Self(Arc::clone(reception));
        reception.front.hears_early(before).then_some(early)
    }
}

impl Drop for Early {
    fn drop(&mut self) {
        self.0.early.fetch_sub(1, Relaxed);
    }
}

/// What a connection holds of the node: a handshake under way, then a place among those of its address. Given back on drop.
pub(super) struct Place {
    reception: Arc<Reception>,
    address: SocketAddr,
    /// `None` when it is over, or where the address was proven before it began: then it is one of that address's connections, and
    /// no reason to have others prove theirs.
    handshake: Option<UnderWay>,
    /// Its hello is heard meanwhile.
    early: Option<Early>,
    /// `None` until the address is proven.
    guard: Guard,
}

impl Place {
    /// For a handshake that begins; `guard` is the place of one that has proven its address already.
    pub(super) fn new(reception: &Arc<Reception>, address: SocketAddr, guard: Guard) -> Self {
        let handshake = guard.is_none().then(|| reception.handshakes.begin(address));
        Self { reception: Arc::clone(reception), address, handshake, early: None, guard }
    }

    /// What all arrivals share.
    pub(super) fn reception(&self) -> &Arc<Reception> {
        &self.reception
    }

    /// Where the peer says that it is.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether its peer may say hello before its handshake is done. Where not, the hello waits for that.
    pub(super) fn may_say_hello(&mut self) -> bool {
        self.early = Early::begin(&self.reception);
        self.early.is_some()
    }

    /// The handshake of `connection` is done, which only one can do who reads what is sent to that address. Whether there was
    /// room; where not, that was counted and the peer is told. From now on it counts among the connections of its address, and
    /// with no handshake under way, whether or not it ever says anything.
    pub(super) fn claim(&mut self, connection: &Connection) -> bool {
        (self.handshake, self.early) = (None, None);
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

    /// Takes the place when the handshake of `connection` is over, unless the link is dropped before. One that is not over at
    /// `deadline` comes to nothing.
    pub(super) fn when(mut self, connection: Connection, handshake: ZeroRttAccepted, deadline: Instant) -> Hold {
        let ((held, dropped), (done, settled)) = (oneshot::channel(), oneshot::channel());
        tokio::task::spawn_local(async move {
            let mut dropped: oneshot::Receiver<Infallible> = dropped;
            tokio::select! {
                _ = handshake => {}
                _ = &mut dropped => return,
                () = sleep_until(deadline) => {
                    self.reception.front.fault(self.address, LinkFault::HandshakeTimeout);
                    connection.close(CLOSED, b"the handshake was not done in time");
                }
            }
            (self.handshake, self.early) = (None, None);
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
            Self::Taken(place) => (Box::new(place), None),
            Self::UnderWay { held, settled } => (Box::new(held), Some(settled)),
        }
    }
}
