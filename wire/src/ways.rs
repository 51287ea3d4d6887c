//! Which ways a data link carries chunks.

use crate::Role;

/// Up is from the client to the server, whoever says it.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq, Hash)]
pub enum Ways {
    /// Up and down.
    #[default]
    Both,
    /// From the server to the client only.
    Down,
    /// From the client to the server only.
    Up,
}

impl Ways {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Both, Self::Down, Self::Up];

    /// The word of the command line, logs and errors.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Both => "both",
            Self::Down => "down",
            Self::Up => "up",
        }
    }

    /// Whether chunks go from `role` to the other end.
    pub const fn carry_from(self, role: Role) -> bool {
        matches!((self, role), (Self::Both, _) | (Self::Down, Role::Server) | (Self::Up, Role::Client))
    }
}

/// How many data links of each kind.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct DataLinks {
    /// That carry both ways.
    pub both: u32,
    /// Down only.
    pub down: u32,
    /// Up only.
    pub up: u32,
}

impl DataLinks {
    /// As a hello and a welcome say it: `all` links, and how many of them are one-way. Those that carry both ways are the rest.
    pub(crate) fn of(all: u32, down: u32, up: u32) -> Self {
        Self { both: all.saturating_sub(down).saturating_sub(up), down, up }
    }

    /// So many that carry both ways.
    pub const fn both(links: u32) -> Self {
        Self { both: links, down: 0, up: 0 }
    }

    /// How many they are.
    pub const fn all(self) -> u32 {
        self.both.saturating_add(self.down).saturating_add(self.up)
    }

    /// No more than `max` of them. The kind with the most gives first, so that none of a few kinds goes without a link. Where one
    /// link is left for down and for up, it carries both.
    pub fn at_most(self, max: u32) -> Self {
        let mut left = self;
        while left.all() > max {
            let most = left.both.max(left.down).max(left.up);
            let kind = [&mut left.up, &mut left.down, &mut left.both].into_iter().find(|kind| **kind == most);
            kind.into_iter().for_each(|kind| *kind -= 1);
        }
        let is_carried = |role| left.carry_from(role) || !self.carry_from(role);
        if Role::ALL.into_iter().all(is_carried) { left } else { Self::both(max) }
    }

    /// Of each link, in the order of its tokens.
    pub fn ways(self) -> impl Iterator<Item = Ways> {
        let kinds = [(Ways::Both, self.both), (Ways::Down, self.down), (Ways::Up, self.up)];
        kinds.into_iter().flat_map(|(ways, links)| std::iter::repeat_n(ways, links as usize))
    }

    /// Whether any of them carries chunks from `role` to the other end.
    pub fn carry_from(self, role: Role) -> bool {
        self.ways().any(|ways| ways.carry_from(role))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_gets_fewer_links_keeps_one_of_each_kind_as_long_as_there_are_so_many() {
        let cut = |both, down, up, max| {
            let DataLinks { both, down, up } = DataLinks { both, down, up }.at_most(max);
            (both, down, up)
        };
        assert_eq!(cut(64, 0, 0, 8), (8, 0, 0));
        assert_eq!(cut(1, 0, 0, 8), (1, 0, 0));
        assert_eq!(cut(0, 60, 1, 8), (0, 7, 1));
        assert_eq!(cut(3, 3, 3, 3), (1, 1, 1));
        assert_eq!(cut(0, 1, 1, 1), (1, 0, 0));
        assert_eq!(cut(0, 9, 1, 1), (1, 0, 0));
        assert_eq!(cut(0, 9, 0, 1), (0, 1, 0));
        assert_eq!(cut(1, 1, 1, 1), (1, 0, 0));
    }

    #[test]
    fn ways_are_seen_from_either_end() {
        for ways in Ways::ALL {
            let carry = [ways.carry_from(Role::Client), ways.carry_from(Role::Server)];
            assert_eq!(carry, [ways != Ways::Down, ways != Ways::Up], "{ways:?}");
        }
        let links = DataLinks { both: 1, down: 2, up: 1 };
        assert_eq!(links.ways().collect::<Vec<_>>(), [Ways::Both, Ways::Down, Ways::Down, Ways::Up]);
        assert!(!DataLinks { both: 0, down: 2, up: 0 }.carry_from(Role::Client));
    }
}
