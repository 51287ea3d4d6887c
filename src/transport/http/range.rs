//! Byte ranges (RFC 9110, 14): what a `Range` header asks for, bounded.

use std::ops::Range;

/// Parts of one answer, after those that touch or overlap were put together. A viewer of archives or videos asks for a few; more
/// cost a read and a head each for bytes that nobody needs in one answer. 416 beyond.
pub(super) const PARTS_MAX: usize = 32;
/// Ranges with less than this between them are sent as one: a part's own head is longer (RFC 9110, 15.3.7.2).
const GAP_BYTES: u64 = 80;

/// What of a file is asked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Ranges {
    /// All of it: there is no range, or none that this server has to understand.
    Whole,
    /// One piece.
    One(Range<u64>),
    /// Several, in the order in which they were asked for.
    Many(Vec<Range<u64>>),
    /// None of them lies in the file.
    Unsatisfiable,
    /// More than [`PARTS_MAX`].
    TooMany,
}

impl Ranges {
    /// Reads the header's value for a file of `size` bytes.
    pub(super) fn parse(header: &str, size: u64) -> Self {
        let Some((unit, specs)) = header.split_once('=') else { return Self::Whole };
        if !unit.trim().eq_ignore_ascii_case("bytes") {
            return Self::Whole;
        }
        let mut wanted = Vec::new();
        let mut any = false;
        for spec in specs.split(',').map(str::trim).filter(|spec| !spec.is_empty()) {
            // A header that is wrong somewhere means nothing as a whole.
            let Some(range) = one(spec, size) else { return Self::Whole };
            any = true;
            wanted.extend((!range.is_empty()).then_some(range));
        }
        let mut parts = together(wanted);
        match parts.len() {
            0 if any => Self::Unsatisfiable,
            0 => Self::Whole,
            1 => Self::One(parts.remove(0)),
            count if count > PARTS_MAX => Self::TooMany,
            _ => Self::Many(parts),
        }
    }
}

/// One `first-last`, `first-` or `-suffix`; empty where it lies behind the end, `None` where it is not written so.
fn one(spec: &str, size: u64) -> Option<Range<u64>> {
    let (first, last) = spec.split_once('-')?;
    let (first, last) = (first.trim_end(), last.trim_start());
    match (first, last) {
        ("", suffix) => Some(size - number(suffix)?.min(size)..size),
        (first, "") => Some(number(first)?.min(size)..size),
        (first, last) => {
            let is_inverted = magnitude(first) > magnitude(last);
            let (first, last) = (number(first)?, number(last)?);
            (!is_inverted).then(|| first.min(size)..last.saturating_add(1).min(size))
        }
    }
}

/// Digits only; what is beyond every file is the end of every file.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

/// What orders two numbers that are digits only, however long they are.
fn magnitude(digits: &str) -> (usize, &str) {
    let digits = digits.trim_start_matches('0');
    (digits.len(), digits)
}

/// Puts ranges together that overlap or nearly touch; each stands where the first of its members stood.
fn together(wanted: Vec<Range<u64>>) -> Vec<Range<u64>> {
    let mut sorted: Vec<(Range<u64>, usize)> = wanted.into_iter().zip(0..).collect();
    sorted.sort_unstable_by_key(|(range, _)| range.start);
    let mut parts: Vec<(Range<u64>, usize)> = Vec::new();
    for (range, place) in sorted {
        match parts.last_mut() {
            Some((last, first_place)) if range.start <= last.end.saturating_add(GAP_BYTES) => {
                last.end = last.end.max(range.end);
                *first_place = place.min(*first_place);
            }
            Some(_) | None => parts.push((range, place)),
        }
    }
    parts.sort_unstable_by_key(|(_, place)| *place);
    parts.into_iter().map(|(range, _)| range).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_of_ranges() {
        use Ranges::{Many, One, TooMany, Unsatisfiable, Whole};
        let many: Vec<String> = (0..1000u64).map(|index| format!("{}-{}", index * 1000, index * 1000)).collect();
        let (many, overlapping) = (format!("bytes={}", many.join(",")), format!("bytes={}", ["0-,5-"; 2000].join(",")));
        for (header, size, expected) in [
            ("bytes=0-4", 10, One(0..5)),
            ("bytes=0-", 10, One(0..10)),
            ("bytes=-3", 10, One(7..10)),
            ("bytes=-30", 10, One(0..10)),
            ("bytes=5-99999999999999999999999", 10, One(5..10)),
            ("Bytes = 9-9", 10, One(9..10)),
            ("bytes=10-", 10, Unsatisfiable),
            ("bytes=99999999999999999999-", 10, Unsatisfiable),
            ("bytes=-0", 10, Unsatisfiable),
            // Beyond every number of ours, and still this way round or that.
            ("bytes=99999999999999999998-99999999999999999999", 10, Unsatisfiable),
            ("bytes=99999999999999999999-99999999999999999998", 10, Whole),
            ("bytes=99999999999999999999-00099999999999999999998", 10, Whole),
            ("bytes=0007-8", 10, One(7..9)),
            ("bytes=0-", 0, Unsatisfiable),
            ("bytes=-1", 0, Unsatisfiable),
            ("bytes=10-20, 0-0", 10, One(0..1)),
            // Not understood: the whole file.
            ("bytes=5-4", 10, Whole),
            ("bytes=-", 10, Whole),
            ("bytes=a-b", 10, Whole),
            ("bytes=--5", 10, Whole),
            ("bytes=1-2-3", 10, Whole),
            ("bytes=0-4,x", 10, Whole),
            ("bytes=,", 10, Whole),
            ("bytes", 10, Whole),
            ("lines=0-4", 10, Whole),
            // Put together, in the order of the wish.
            ("bytes=0-4,3-8", 1000, One(0..9)),
            ("bytes=0-4,80-89", 1000, One(0..90)),
            ("bytes=0-0,500-500", 1000, Many(vec![0..1, 500..501])),
            ("bytes=500-500,0-0,501-501", 1000, Many(vec![500..502, 0..1])),
            (many.as_str(), 1_000_000, TooMany),
            (many.as_str(), 1_001, Many(vec![0..1, 1000..1001])),
            (overlapping.as_str(), 10, One(0..10)),
        ] {
            let shown: String = header.chars().take(60).collect();
            assert_eq!(Ranges::parse(header, size), expected, "{shown} of {size}");
        }
    }

    proptest::proptest! {
        #[test]
        fn parts_lie_in_the_file_and_do_not_touch(header in "bytes=([0-9]{0,3}-[0-9]{0,3},){0,6}[0-9]{0,2}-", size in 0u64..500) {
            let parts = match Ranges::parse(&header, size) {
                Ranges::One(range) => vec![range],
                Ranges::Many(parts) => parts,
                Ranges::Whole | Ranges::Unsatisfiable | Ranges::TooMany => Vec::new(),
            };
            let mut sorted = parts.clone();
            sorted.sort_unstable_by_key(|range| range.start);
            proptest::prop_assert!(sorted.iter().all(|range| range.start < range.end && range.end <= size));
            proptest::prop_assert!(sorted.windows(2).all(|pair| pair[0].end + GAP_BYTES < pair[1].start));
        }
    }
}
