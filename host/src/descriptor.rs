//! How many descriptors this process may hold; each link costs one.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The limit on open descriptors; `u64::MAX` when there is none.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct DescriptorLimit {
    /// In force.
    pub soft: u64,
    /// As far as this process may raise it.
    pub hard: u64,
}

/// The limit now (`RLIMIT_NOFILE`).
pub fn descriptor_limit() -> DescriptorLimit {
    let limit = getrlimit(Resource::Nofile);
    DescriptorLimit { soft: limit.current.unwrap_or(u64::MAX), hard: limit.maximum.unwrap_or(u64::MAX) }
}

/// Raises the limit as far as this process may, and returns the one now in force.
///
/// # Errors
/// What `setrlimit(2)` answers; the limit is unchanged then.
pub fn raise_descriptor_limit() -> io::Result<u64> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    Ok(descriptor_limit().soft)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_can_be_raised_to_the_hard_one() {
        let before = descriptor_limit();
        assert!(before.soft <= before.hard);
        let raised = raise_descriptor_limit().unwrap();
        assert_eq!(raised, before.hard);
        assert_eq!(descriptor_limit(), DescriptorLimit { soft: before.hard, hard: before.hard });
    }
}
