//! Who this node is, whom it knows, and who may do what: the files of the state directory (DESIGN 3).
//!
//! ```text
//! ~/.local/state/evenkeel/     0700
//!     key.pem                  one's own Ed25519 key, made at the first start
//!     known_peers              ENDPOINT ID: servers met before, pinned on first use
//!     authorized_peers         ID RIGHTS COMMENT: who may do what here; written by the operator
//! ```
//!
//! All of it is small and read rarely; nothing here belongs on a worker thread except [`AuthorizedPeers`]'s
//! `rights` and `comment`, which never touch a file.

mod authorized_peers;
mod key;
mod known_peers;
mod state_dir;

pub use authorized_peers::{AuthorizedPeers, AuthorizedPeersError, LineFault, authorization_line};
pub use key::{Identity, KeyError};
pub use known_peers::{KnownPeers, KnownPeersError};
pub use state_dir::{StateDir, StateDirError};

use std::{
    fs::File,
    io::{self, Read},
};

/// The whole of a small text file; a greater one than `FILE_BYTES_MAX` is the wrong file.
fn read_text(file: &mut File) -> io::Result<String> {
    let mut text = String::new();
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        let message = format!("it is longer than {FILE_BYTES_MAX} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    Ok(text)
}

/// A hundred thousand lines of an id and a comment.
const FILE_BYTES_MAX: u64 = 16 << 20;
