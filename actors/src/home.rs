//! Where a peer's transfers belong before any of them begins: what a floor is worth depends on the group above it.

/// The group of all transfers that a peer may ever have.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Home {
    /// The default group: no rule takes any of them.
    Default,
    /// The group of that rule, by its place in the list.
    Rule(usize),
    /// It depends on the share, or on where the peer connects from.
    Unknown,
}

impl Home {
    /// Asks `rules` in their order about each share. `takes` says whether a rule takes the peer's transfers of that share;
    /// `None` where that is not known.
    pub fn find<'a, R>(
        rules: &[R],
        shares: impl Iterator<Item = &'a str>,
        takes: impl Fn(&R, &str) -> Option<bool>,
    ) -> Self {
        let mut homes = shares.map(|share| {
            let mut answers = rules.iter().map(|rule| takes(rule, share)).enumerate();
            match answers.find(|(_, answer)| *answer != Some(false)) {
                Some((index, Some(_))) => Self::Rule(index),
                Some((_, None)) => Self::Unknown,
                None => Self::Default,
            }
        });
        let Some(first) = homes.next() else { return Self::Unknown };
        if homes.all(|home| home == first) { first } else { Self::Unknown }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_is_known_only_where_every_share_leads_to_it() {
        // Rules as the shares that they take; `?` = it depends.
        let find = |rules: &[&str], shares: &[&str]| {
            Home::find(rules, shares.iter().copied(), |rule, share| match *rule {
                "?" => None,
                taken => Some(taken.split(' ').any(|name| name == share)),
            })
        };
        assert_eq!(find(&[], &["a", "b"]), Home::Default);
        assert_eq!(find(&["c", "a b"], &["a", "b"]), Home::Rule(1));
        assert_eq!(find(&["a"], &["a", "b"]), Home::Unknown);
        assert_eq!(find(&["a", "b"], &["a", "b"]), Home::Unknown);
        assert_eq!(find(&["?", "a"], &["a"]), Home::Unknown);
        assert_eq!(find(&["a", "?"], &["a"]), Home::Rule(0), "the first rule that matches wins");
        assert_eq!(find(&["a"], &[]), Home::Unknown);
    }
}
