//! How flags' values are written; what clap does not know by itself.

use std::{path::PathBuf, time::Duration};

use flow::{Class, Rate};
use wire::{DataLinks, Ways};

use crate::{
    config::{self, Share},
    node::{DemoTransport, TransportChoice},
};

/// A rate in DESIGN 1's grammar.
pub(super) fn rate(text: &str) -> Result<Rate, flow::RateError> {
    text.parse()
}

/// Of a peer, a transfer or a group; or what is meant for it was lost, as an empty variable of a script is.
pub(super) fn name(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("it is empty".to_owned()) } else { Ok(text.to_owned()) }
}

/// `foreground` or `background`.
pub(super) fn class(text: &str) -> Result<Class, flow::ClassError> {
    text.parse()
}

/// How to get to a node.
pub(super) fn transport(text: &str) -> Result<TransportChoice, String> {
    match text.to_ascii_lowercase().as_str() {
        "tcp" => Ok(TransportChoice::Tcp),
        "quic" => Ok(TransportChoice::Quic),
        "auto" => Ok(TransportChoice::Auto),
        _ => Err("write tcp, quic or auto".to_owned()),
    }
}

/// How a demo's peers get to their node.
pub(super) fn demo_transport(text: &str) -> Result<DemoTransport, String> {
    match text.to_ascii_lowercase().as_str() {
        "tcp" => Ok(DemoTransport::Tcp),
        "quic" => Ok(DemoTransport::Quic),
        "mixed" => Ok(DemoTransport::Mixed),
        _ => Err("write tcp, quic or mixed".to_owned()),
    }
}

/// A number of data links, or one for each kind; a kind without a number is one.
pub(super) fn data_links(text: &str) -> Result<DataLinks, String> {
    let mut links = DataLinks { both: 0, down: 0, up: 0 };
    for part in text.split(',') {
        let (kind, number) = match part.split_once(':') {
            Some((kind, number)) => (kind, number),
            None if part.starts_with(|first: char| first.is_ascii_digit()) => (Ways::Both.as_str(), part),
            None => (part, "1"),
        };
        let ways = Ways::ALL.into_iter().find(|ways| ways.as_str() == kind);
        let (Some(ways), Ok(number)) = (ways, number.parse::<u32>()) else {
            return Err("write a number, such as 2, or one for each kind, such as down:2 or up:1,down:3".to_owned());
        };
        let of_kind = match ways {
            Ways::Both => &mut links.both,
            Ways::Down => &mut links.down,
            Ways::Up => &mut links.up,
        };
        *of_kind = of_kind.saturating_add(number);
    }
    match links.all() {
        1..=64 => Ok(links),
        all => Err(format!(
            "{all} is not in 1..=64; a node opens no more than its sessions.max_data_links, which is 8 by default"
        )),
    }
}

/// A share in proportion, 0.001 to 1000.
pub(super) fn weight(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(weight) if config::WEIGHTS.contains(&weight) => Ok(weight),
        _ => Err("write a number from 0.001 to 1000; 1 is usual, 2 gets twice as much".to_owned()),
    }
}

/// A time; a bare number is seconds.
pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    let with_unit = match text.parse::<f64>() {
        Ok(_) => format!("{text}s"),
        Err(_) => text.to_owned(),
    };
    config::parse_duration(&with_unit)
}

/// How long a signed address holds: not for ever, since only a new key would take it back.
pub(super) fn validity(text: &str) -> Result<Duration, String> {
    let duration = seconds(text)?;
    match duration.as_secs() {
        1..=315_360_000 => Ok(duration),
        _ => Err("an address holds for a second at least and ten years at most (87600h)".to_owned()),
    }
}

/// How long a demo runs: long enough for windows of 10 s after the last joined, and no longer than a day.
pub(super) fn demo_seconds(text: &str) -> Result<Duration, String> {
    let duration = seconds(text)?;
    match duration.as_secs() {
        30..=86_400 => Ok(duration),
        _ => Err("a verdict needs 30 seconds at least, and a demo ends within a day (86400)".to_owned()),
    }
}

/// `NAME=DIR`. Writable: who may write at all is a matter of rights.
pub(super) fn share(text: &str) -> Result<Share, String> {
    let Some((name, path)) = text.split_once('=').filter(|(_, path)| !path.is_empty()) else {
        return Err("write NAME=DIR, such as music=/srv/music".to_owned());
    };
    Ok(Share { name: config::share_name(name)?, path: PathBuf::from(path), writable: true, public: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_demo_too_short_for_a_verdict_does_not_begin() {
        for wrong in ["0", "20", "29.9", "99999999999999", "1d1s"] {
            assert!(demo_seconds(wrong).is_err(), "{wrong}");
        }
        assert_eq!(demo_seconds("30"), Ok(Duration::from_secs(30)));
        assert_eq!(demo_seconds("2m"), Ok(Duration::from_secs(120)));
    }

    #[test]
    fn weights() {
        for (text, expected) in [("1", Some(1.0)), ("0.5", Some(0.5)), ("1000", Some(1000.0)), ("0", None)] {
            assert_eq!(weight(text).ok(), expected, "{text}");
        }
        for text in ["-1", "NaN", "inf", "1001", "x", ""] {
            assert!(weight(text).is_err(), "{text}");
        }
    }

    #[test]
    fn data_links_are_a_number_or_one_for_each_kind() {
        for (text, both, down, up) in [
            ("1", 1, 0, 0),
            ("64", 64, 0, 0),
            ("down:2", 0, 2, 0),
            ("up", 0, 0, 1),
            ("up:1,down:3", 0, 3, 1),
            ("2,down", 2, 1, 0),
            ("both:1,down:2,up:3", 1, 2, 3),
        ] {
            assert_eq!(data_links(text), Ok(DataLinks { both, down, up }), "{text}");
        }
        for text in ["0", "65", "down:0", "down:60,up:5", "4294967295,up:4294967295"] {
            assert!(data_links(text).unwrap_err().contains("is not in 1..=64"), "{text}");
        }
        for text in ["", "x", "-1", "down:", "down:-1", "sideways:2", "up:1,", "2:down", "1.5", "down=2", "Down"] {
            assert!(data_links(text).unwrap_err().contains("such as down:2"), "{text}");
        }
    }

    #[test]
    fn times() {
        for (text, expected) in [("60", 60.0), ("2.5", 2.5), ("2m", 120.0), ("500ms", 0.5)] {
            assert_eq!(seconds(text), Ok(Duration::from_secs_f64(expected)), "{text}");
        }
        assert!(seconds("-1").is_err());
        assert!(seconds("inf").is_err());
    }

    #[test]
    fn shares() {
        assert_eq!(share("a=/b=c").unwrap().path, PathBuf::from("/b=c"));
        for text in ["a", "a=", "=/b", "../x=/b", ".=/b"] {
            assert!(share(text).is_err(), "{text}");
        }
    }
}
