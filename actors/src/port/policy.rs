//! Who may do what (DESIGN 3): rights by peer id, asked on every hello, also on resumption.

use wire::PeerId;

/// What a peer may do on this node.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq)]
pub struct Rights {
    /// List and get.
    pub read: bool,
    /// Put.
    pub write: bool,
    /// Change limits.
    pub operate: bool,
}

impl Rights {
    /// Every right.
    pub const ALL: Self = Self { read: true, write: true, operate: true };
    /// No right at all: the peer is refused.
    pub const NONE: Self = Self { read: false, write: false, operate: false };
    /// What `--open` gives to anybody.
    pub const READ: Self = Self { read: true, write: false, operate: false };

    /// Whether the peer may do anything here.
    pub fn any(self) -> bool {
        self.read || self.write || self.operate
    }
}

/// The table of rights. Reading it never blocks: adapters swap a whole table at once.
pub trait Policy: Send + Sync + 'static {
    /// What `peer` may do now.
    fn rights(&self, peer: &PeerId) -> Rights;
    /// What the table says of `peer` in words; empty when it does not know it.
    fn comment(&self, _peer: &PeerId) -> String {
        String::new()
    }
}
