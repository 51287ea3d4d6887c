//! Which ways a session's data links carry, and what that forbids.

use flow::Direction;
use wire::{FailureCode, Role};

use crate::{peer::PeerActor, port::FileError};

impl PeerActor {
    /// Why nothing can move in `direction`: of the data links that the session may have, none carries it.
    pub(super) fn no_link(&self, direction: Direction) -> Option<FileError> {
        let sender = match direction {
            Direction::Upload => self.session.role(),
            Direction::Download => self.session.role().other(),
        };
        if self.ways.iter().any(|ways| ways.carry_from(sender)) {
            return None;
        }
        let way = match sender {
            Role::Server => "down, from the node to the client",
            Role::Client => "up, from the client to the node",
        };
        let words = format!("no data link of this session carries bytes {way}: ask for one that does");
        Some(FileError::new(FailureCode::NoLink, words))
    }

    /// Whether there is a way that the session may have links for, and none is there.
    pub(super) fn lacks_a_way(&self) -> bool {
        let is_there = |sender| self.links.iter().flatten().any(|link| link.ways.carry_from(sender));
        Role::ALL.into_iter().any(|sender| self.ways.iter().any(|ways| ways.carry_from(sender)) && !is_there(sender))
    }
}
