//! From a document to typed sections: which keys there are, their grammar and their ranges.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use actors::guest::PeerName;
use flow::Rate;
use toml::{Spanned, de::DeTable};
use tracing::level_filters::LevelFilter;

use super::{
    AccessSettings, AdminSettings, AllocationSettings, Bounds, Config, FileSettings, Group, HttpSettings,
    LimitSettings, ListenSettings, LogFormat, LogSettings, NodeSettings, Peer, Secret, SessionSettings,
    ShapingSettings, Share, Standing, TransportSettings,
    sheet::{Section, Sheet},
    value,
};

/// One data chunk of the protocol: a quantum or a window smaller or greater than it makes no sense.
const CHUNK_BYTES_MAX: u64 = wire::DATA_PAYLOAD_BYTES_MAX as u64;

/// Reads every section; relative share paths start at `base`.
pub(super) fn config(sheet: &mut Sheet, table: Spanned<DeTable<'_>>, base: &Path) -> Config {
    let mut root = Section::root(sheet, table);
    let config = Config {
        node: node(root.section("node"), base),
        listen: listen(root.section("listen")),
        limits: limits(root.section("limits")),
        allocation: allocation(root.section("allocation")),
        shaping: shaping(root.section("shaping")),
        sessions: sessions(root.section("sessions")),
        transport: transport(root.section("transport")),
        http: http(root.section("http"), base),
        files: files(root.section("files")),
        access: access(root.section("access")),
        admin: admin(root.section("admin")),
        log: log(root.section("log")),
        shares: root.tables("share", "name", |section| share(section, base)),
        groups: root.tables("group", "name", group),
        peers: root.tables("peer", "id", peer),
    };
    root.finish();
    config
}

fn node(mut section: Section<'_, '_>, base: &Path) -> NodeSettings {
    let default = NodeSettings::default();
    let settings = NodeSettings {
        state_dir: section.read("state_dir", None, value::text_or_none).map(|path| base.join(path)),
        // Above a few hundred, threads cost more than they carry.
        workers: section.read("workers", default.workers as u64, value::count(..=512)) as usize,
        drain: section.read("drain", default.drain, value::duration(..=HOUR)),
    };
    section.finish();
    settings
}

fn listen(mut section: Section<'_, '_>) -> ListenSettings {
    let default = ListenSettings::default();
    let settings = ListenSettings {
        peers: section.read("peers", default.peers, value::socket_address),
        data: section.read("data", None, value::socket_address_or_none),
        admin: section.read("admin", default.admin, value::socket_address),
        metrics: section.read("metrics", default.metrics, value::socket_address),
    };
    section.finish();
    settings
}

fn limits(mut section: Section<'_, '_>) -> LimitSettings {
    let default = LimitSettings::default();
    let settings = LimitSettings {
        upload: section.read("upload", default.upload, value::rate),
        download: section.read("download", default.download, value::rate),
    };
    section.finish();
    settings
}

fn allocation(mut section: Section<'_, '_>) -> AllocationSettings {
    let default = AllocationSettings::default();
    let settings = AllocationSettings {
        interval: section.read("interval", default.interval, value::duration(Duration::from_millis(100)..=MINUTE)),
        early: section.read("early", default.early, value::duration(Duration::from_millis(10)..=MINUTE)),
        threshold: section.read("threshold", default.threshold, value::number(0.5..1.0)),
        damping: section.read("damping", default.damping, value::number(0.01..=1.0)),
        background_floor: section.read("background_floor", default.background_floor, value::number(0.0..=0.5)),
        headroom: section.read("headroom", default.headroom, value::number(0.0..=1.0)),
    };
    section.finish();
    settings
}

fn shaping(mut section: Section<'_, '_>) -> ShapingSettings {
    let default = ShapingSettings::default();
    let bytes = || value::size(1024..=CHUNK_BYTES_MAX);
    let bulk_on = section.read("bulk_on", default.bulk_on, value::rate);
    // Whoever lowers the one mark need not know the other.
    let half =
        if bulk_on.is_unlimited() { bulk_on } else { Rate::from_bytes_per_second(bulk_on.bytes_per_second() / 2) };
    let settings = ShapingSettings {
        quantum: section.read(
            "quantum",
            default.quantum,
            value::duration(Duration::from_millis(10)..=Duration::from_secs(2)),
        ),
        quantum_min_bytes: section.read("quantum_min", u64::from(default.quantum_min_bytes), bytes()) as u32,
        quantum_max_bytes: section.read("quantum_max", u64::from(default.quantum_max_bytes), bytes()) as u32,
        quantum_bulk_bytes: section.read("quantum_bulk", u64::from(default.quantum_bulk_bytes), bytes()) as u32,
        bulk_on,
        bulk_off: section.read("bulk_off", default.bulk_off.min(half), value::rate),
    };
    section.finish();
    settings
}

fn sessions(mut section: Section<'_, '_>) -> SessionSettings {
    let default = SessionSettings::default();
    let wait = || value::duration(Duration::from_millis(100)..=HOUR);
    let settings = SessionSettings {
        max: section.read("max", default.max as u64, value::count(1..=1_000_000)) as usize,
        per_address_max: section.read("per_address_max", default.per_address_max as u64, value::count(1..=1_000_000))
            as usize,
        max_data_links: section.read("max_data_links", u64::from(default.max_data_links), value::count(1..=64)) as u32,
        transfers_max: section.read("transfers_max", default.transfers_max as u64, value::count(1..=4096)) as usize,
        handshake: section.read("handshake", default.handshake, wait()),
        keepalive: section.read("keepalive", default.keepalive, wait()),
        dead: section.read("dead", default.dead, wait()),
        control_frames_per_second: section.read(
            "control_frames_per_second",
            u64::from(default.control_frames_per_second),
            value::count(10..=1_000_000),
        ) as u32,
        window_max_bytes: section.read("window_max", default.window_max_bytes, value::size(CHUNK_BYTES_MAX..=1 << 30)),
    };
    section.finish();
    settings
}

fn transport(mut section: Section<'_, '_>) -> TransportSettings {
    let default = TransportSettings::default();
    let settings = TransportSettings {
        data_encryption: section.read("data_encryption", default.data_encryption, value::switch),
        sendfile: section.read("sendfile", default.sendfile, value::switch),
        congestion: section.read("congestion", default.congestion, value::text_or_none),
        not_sent_low_water_bytes: section.read(
            "not_sent_low_water",
            u64::from(default.not_sent_low_water_bytes),
            value::size(4 << 10..=64 << 20),
        ) as u32,
    };
    section.finish();
    settings
}

fn http(mut section: Section<'_, '_>, base: &Path) -> HttpSettings {
    let default = HttpSettings::default();
    let wait = || value::duration(Duration::from_millis(100)..=HOUR);
    let settings = HttpSettings {
        listen: section.read("listen", None, value::socket_address_or_none),
        connections_max: section.read("connections_max", default.connections_max as u64, value::count(1..=1_000_000))
            as usize,
        per_address_max: section.read("per_address_max", default.per_address_max as u64, value::count(1..=1_000_000))
            as usize,
        head_timeout: section.read("head_timeout", default.head_timeout, wait()),
        idle_timeout: section.read("idle_timeout", default.idle_timeout, wait()),
        stall_timeout: section.read("stall_timeout", default.stall_timeout, wait()),
        certificate: section.read("certificate", None, value::text_or_none).map(|path| base.join(path)),
        key: section.read("key", None, value::text_or_none).map(|path| base.join(path)),
        signing_key_file: section.read("signing_key_file", None, value::text_or_none).map(|path| base.join(path)),
    };
    section.finish();
    settings
}

fn files(mut section: Section<'_, '_>) -> FileSettings {
    let default = FileSettings::default();
    let settings = FileSettings {
        disk_threads: section.read("disk_threads", default.disk_threads as u64, value::count(1..=256)) as usize,
    };
    section.finish();
    settings
}

fn access(mut section: Section<'_, '_>) -> AccessSettings {
    let default = AccessSettings::default();
    let settings = AccessSettings {
        open: section.read("open", default.open, value::switch),
        authorized_peers: section.read("authorized_peers", default.authorized_peers, value::parsed(path)),
    };
    section.finish();
    settings
}

fn admin(mut section: Section<'_, '_>) -> AdminSettings {
    let settings = AdminSettings { token: section.read("token", None, value::parsed(token)) };
    section.finish();
    settings
}

fn log(mut section: Section<'_, '_>) -> LogSettings {
    let default = LogSettings::default();
    let settings = LogSettings {
        level: section.read("level", default.level, value::parsed(level)),
        format: section.read(
            "format",
            default.format,
            value::parsed(|text| match text {
                "auto" => Ok(LogFormat::Auto),
                "pretty" => Ok(LogFormat::Pretty),
                "json" => Ok(LogFormat::Json),
                _ => Err(format!("{text:?}: write \"auto\", \"pretty\" or \"json\"")),
            }),
        ),
    };
    section.finish();
    settings
}

fn share(mut section: Section<'_, '_>, base: &Path) -> Option<Share> {
    let name = section.require("name", value::parsed(share_name));
    let path = section.require("path", value::parsed(path));
    let writable = section.read("writable", false, value::switch);
    let public = section.read("public", false, value::switch);
    section.finish();
    Some(Share { name: name?, path: base.join(path?), writable, public })
}

fn group(mut section: Section<'_, '_>) -> Option<Group> {
    let name = section.require("name", value::parsed(group_name));
    let group = Group {
        name: String::new(),
        shares: section.read("shares", Vec::new(), value::list(value::text)),
        peers: section.read("peers", Vec::new(), value::list(value::parsed(peer_id))),
        addresses: section.read("addresses", Vec::new(), value::list(value::parsed(str::parse))),
        standing: standing(&mut section),
    };
    section.finish();
    Some(Group { name: name?, ..group })
}

fn peer(mut section: Section<'_, '_>) -> Option<Peer> {
    let id = section.require("id", value::parsed(peer_id));
    if let Some(id) = &id {
        section.called(&PeerName(id).to_string());
    }
    let standing = standing(&mut section);
    section.finish();
    Some(Peer { id: id?, standing })
}

fn standing(section: &mut Section<'_, '_>) -> Standing {
    let default = Standing::default();
    Standing {
        upload: Bounds {
            cap: section.read("upload_cap", default.upload.cap, value::rate),
            floor_bytes_per_second: section.read("upload_floor", 0, value::floor),
        },
        download: Bounds {
            cap: section.read("download_cap", default.download.cap, value::rate),
            floor_bytes_per_second: section.read("download_floor", 0, value::floor),
        },
        weight: section.read("weight", default.weight, value::number(WEIGHTS)),
        class: section.read("class", None, |value| value::class(value).map(Some)),
    }
}

/// Reads the name of a share: one part of a path that every file system and shell takes.
pub(crate) fn share_name(text: &str) -> Result<String, String> {
    let wrong = |why: &str| Err(format!("{text:?} can't be the name of a share: {why}"));
    match text {
        "" => wrong("it is empty"),
        "." | ".." => wrong("it means a directory"),
        _ if text.len() > 255 => wrong("it is longer than 255 bytes"),
        _ if text.contains(['/', '\\', '=']) => wrong("it has one of the signs / \\ ="),
        _ if text.chars().any(char::is_control) => wrong("it has a control character"),
        _ => Ok(text.to_owned()),
    }
}

/// Reads what the API asks for; an empty text means nothing.
pub(super) fn token(text: &str) -> Result<Option<Secret>, String> {
    match text {
        "" => Ok(None),
        // Guessing must not pay; 16 letters are more than anybody tries over a network.
        short if short.len() < 16 => Err("is too short: use at least 16 characters".to_owned()),
        token if token.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(Some(Secret::new(token))),
        _ => Err("must be letters, digits and signs without spaces".to_owned()),
    }
}

fn group_name(text: &str) -> Result<String, String> {
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.');
    match text {
        "" => Err("is empty".to_owned()),
        "default" => Err("\"default\" is the group of all transfers that no rule matches".to_owned()),
        // It is a label of metrics and a part of API paths.
        _ if text.len() > 64 || !text.chars().all(allowed) => {
            Err(format!("{text:?} must be at most 64 letters, digits, `-`, `_` or `.`"))
        }
        _ => Ok(text.to_owned()),
    }
}

fn peer_id(text: &str) -> Result<wire::PeerId, String> {
    actors::guest::parse_peer(text).map_err(|error| format!("{error}; `evenkeel id` prints it"))
}

fn path(text: &str) -> Result<PathBuf, String> {
    match text {
        "" => Err("is empty".to_owned()),
        _ => Ok(PathBuf::from(text)),
    }
}

fn level(text: &str) -> Result<LevelFilter, String> {
    match text {
        "off" | "error" | "warn" | "info" | "debug" | "trace" => Ok(text.parse().unwrap_or(LevelFilter::INFO)),
        _ => Err(format!("{text:?}: write \"off\", \"error\", \"warn\", \"info\", \"debug\" or \"trace\"")),
    }
}

/// Beyond a thousandth and a thousand the lesser side would starve.
pub(crate) const WEIGHTS: std::ops::RangeInclusive<f64> = 0.001..=1000.0;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
