//! The file and the defaults agree; every bad key has its message.

use std::{net::IpAddr, path::Path, time::Duration};

use flow::{Class, Rate};

use super::*;

const DOCUMENTED: &str = include_str!("../../config/evenkeel.toml");
const ID: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse("my.toml", text, Path::new("/etc"), &Overrides::default())
}

fn refused(text: &str) -> String {
    parse(text).expect_err(text).to_string()
}

/// The examples of the documented file, without their `#`.
fn documented_with_examples() -> String {
    let mut text = String::new();
    for line in DOCUMENTED.lines() {
        let example = line
            .strip_prefix('#')
            .filter(|rest| rest.starts_with(|first: char| first == '[' || first.is_ascii_lowercase()));
        text.push_str(example.unwrap_or(line));
        text.push('\n');
    }
    text
}

#[test]
fn documented_file_and_defaults_agree() {
    assert_eq!(parse(DOCUMENTED).unwrap(), Config::default());
    assert_eq!(parse("").unwrap(), Config::default());
}

#[test]
fn documented_file_has_every_key() {
    let text = documented_with_examples();
    let mut keys: Vec<(String, &str)> = Vec::new();
    for (section, known) in known_keys() {
        for key in known.split(", ") {
            keys.push((section.clone(), Box::leak(key.to_owned().into_boxed_str())));
        }
    }
    assert!(keys.len() > 50, "{}", keys.len());
    for (section, key) in keys {
        let start = text.find(&section).unwrap_or_else(|| panic!("{section} is not in the file"));
        let end = text[start + 1..].find("\n[").map_or(text.len(), |at| start + 1 + at);
        assert!(text[start..end].contains(&format!("\n{key} = ")), "{section} {key} is not in config/evenkeel.toml");
    }
}

/// Every section with its keys, as the reader itself says when it meets an unknown one.
fn known_keys() -> Vec<(String, String)> {
    let root = refused("zzzzzz = 1");
    let (_, sections) = root.split_once("it has ").unwrap();
    sections
        .split(", ")
        .map(|section| {
            let header = match section {
                "share" | "group" | "peer" => format!("[[{section}]]"),
                _ => format!("[{section}]"),
            };
            let message = refused(&format!("{header}\nzzzzzz = 1"));
            let line = message.lines().find(|line| line.contains("zzzzzz")).unwrap();
            let keys = line.split_once("it has ").unwrap().1.to_owned();
            (header, keys)
        })
        .collect()
}

#[test]
fn documented_examples_are_valid() {
    let config = parse(&documented_with_examples()).unwrap();
    assert_eq!(config.shares[0].path, Path::new("/srv/mirror"));
    let group = &config.groups[0];
    assert_eq!(group.standing.upload.floor_bytes_per_second, 2_000_000);
    assert_eq!(group.standing.download.cap, "100Mbit/s".parse().unwrap());
    assert_eq!(group.standing.upload.cap, Rate::UNLIMITED);
    assert_eq!(config.peers[0].standing.class, Some(Class::Background));
    let peer = config.peers[0].id;
    let inside: IpAddr = "10.1.2.3".parse().unwrap();
    let outside: IpAddr = "192.0.2.1".parse().unwrap();
    assert_eq!(config.group_of("mirror", &peer, inside), Some(0));
    assert_eq!(config.group_of("mirror", &peer, outside), None);
    assert_eq!(config.group_of("other", &peer, inside), None);
    assert!(config.peer(&peer).is_some());
}

#[test]
fn every_fault_at_once_with_its_line() {
    let text = "\
[node]
workers = \"two\"
drian = \"5s\"

[limits]
upload = \"10Mb\"
download = -5

[allocation]
interval = 2.5
threshold = 1.5

[listen]
peers = \"7400\"
";
    let error = parse(text).unwrap_err();
    insta::assert_snapshot!(error, @r#"
    my.toml:2: node.workers: must be a whole number, not a text
    my.toml:3: node.drian: is not a key of [node]: did you mean `drain`?
    my.toml:6: limits.upload: `10Mb` is ambiguous: write `10Mbit/s` for bits or `10MB/s` for bytes
    my.toml:7: limits.download: `-5` is negative: write `0` or `off` for unlimited
    my.toml:10: allocation.interval: must be a time such as "2.5s" or "250ms", not a number
    my.toml:11: allocation.threshold: 1.5 must be at least 0.5 and less than 1
    my.toml:14: listen.peers: "7400" is not an address with a port: write "127.0.0.1:7400" or "0.0.0.0:7400"
    "#);
    assert_eq!(error.faults.len(), 7);
}

#[test]
fn contradictions_are_refused() {
    for (text, line, words) in [
        (
            "[limits]\nupload='1MB/s'\n[[group]]\nname='a'\nshares=['s']\nupload_floor='2MB/s'\n[[share]]\nname='s'\npath='s'",
            2,
            "add up to 2.0 MB/s",
        ),
        (
            "[[group]]\nname='a'\naddresses=['::/0']\nupload_floor='2MB/s'\nupload_cap='1MB/s'",
            4,
            "above its cap, 1.0 MB/s",
        ),
        ("[[share]]\nname='s'\npath='a'\n[[share]]\nname='s'\npath='b'", 4, "two [[share]]"),
        ("[[group]]\nname='a'\naddresses=['::/0']\n[[group]]\nname='a'\naddresses=['::/0']", 4, "two [[group]]"),
        ("[[group]]\nname='a'", 1, "matches nothing"),
        ("[[group]]\nname='a'\nshares=['nope']", 3, "no [[share]] named \"nope\""),
        ("[[group]]\nname='default'\naddresses=['::/0']", 2, "no rule matches"),
        ("[[peer]]\nid='abc'", 2, "not a peer id"),
        ("[[peer]]\nweight=2", 1, "id: is missing"),
        ("[listen]\npeers='0.0.0.0:7490'", 2, "can't share a port"),
        ("[listen]\nadmin='0.0.0.0:7490'", 2, "set admin.token"),
        ("[listen]\nmetrics='127.0.0.1:7400'", 2, "can't share a port"),
        ("[listen]\ndata='[::1]:7600'", 2, "[::1]:7600 does not take them there: write 127.0.0.1:7600"),
        ("[listen]\npeers='0.0.0.0:7400'\ndata='127.0.0.1:7600'", 3, "write 0.0.0.0:7600"),
        ("[listen]\npeers='[::]:7400'\ndata='0.0.0.0:7600'", 3, "write [::]:7600"),
        ("[node]\nworkers=2\n[listen]\ndata='127.0.0.1:65535'", 4, "not that many left"),
        ("[node]\nworkers=3\n[listen]\ndata='127.0.0.1:7398'", 4, "that of peers, 127.0.0.1:7400, is among them"),
        ("[sessions]\nkeepalive='60s'", 2, "shorter than dead"),
        ("[shaping]\nquantum_min='256KiB'", 2, "above quantum_max"),
        ("[shaping]\nquantum_bulk='16KiB'", 2, "below quantum_max"),
        ("[shaping]\nbulk_off='2MB/s'\nbulk_on='2MB/s'", 2, "must be below bulk_on"),
        ("[shaping]\nbulk_off='off'", 2, "must be below bulk_on"),
        ("[allocation]\nearly='5s'", 2, "longer than interval"),
        ("[admin]\ntoken='short'", 2, "at least 16"),
        ("[log]\nlevel='loud'", 2, "write \"off\""),
        ("share = 5", 1, "write [[share]]"),
        ("node = 5", 1, "write [node]"),
    ] {
        let error = parse(text).expect_err(text);
        assert!(error.to_string().contains(words), "{text}:\n{error}");
        assert!(
            error.faults.iter().any(|fault| fault.origin == Origin::Line(line)),
            "{text}: line {line} expected\n{error}"
        );
    }
}

#[test]
fn whoever_lowers_one_mark_of_the_modes_need_not_know_the_other() {
    for (text, off) in [("", 25_000_000), ("bulk_on='2MB/s'", 1_000_000), ("bulk_on='1GB/s'", 25_000_000)] {
        let config = parse(&format!("[shaping]\n{text}")).expect(text);
        assert_eq!(config.shaping.bulk_off.bytes_per_second(), off, "{text}");
    }
    let never = parse("[shaping]\nbulk_on='off'").expect("never bulk");
    assert!(never.shaping.bulk_on.is_unlimited());
}

#[test]
fn a_bad_list_is_told_whole_and_is_not_taken_for_none() {
    let error = parse("[[group]]\nname='a'\naddresses=['10.0.0.0/33', '10.0.0.0/8', 'x']").expect_err("two are bad");
    let said = error.to_string();
    assert!(said.contains("\"10.0.0.0/33\": an address") && said.contains("\"x\" is not a range"), "{said}");
    assert!(!said.contains("matches nothing"), "{said}");
}

#[test]
fn an_address_that_is_a_peer_twice_is_told_as_it_is_written_with_its_line() {
    for (one, two, name) in [
        ("http:192.0.2.7", "http:192.0.2.7", "http:192.0.2.7"),
        // One /64.
        ("http:2001:db8::1", "http:2001:db8::2", "http:2001:db8::/64"),
    ] {
        let error = parse(&format!("[[peer]]\nid='{one}'\n[[peer]]\nid='{two}'")).expect_err(one);
        assert_eq!(error.faults.len(), 1, "{error}");
        assert_eq!(
            (error.faults[0].origin.clone(), error.faults[0].key.as_str()),
            (Origin::Line(3), &*format!("peer.{name}"))
        );
    }
    let text = "[[peer]]\nid='http:2001:db8::1'\nupload_floor='2MB/s'\nupload_cap='1MB/s'";
    let error = parse(text).expect_err("a floor above the cap");
    assert!(error.faults.iter().all(|fault| matches!(fault.origin, Origin::Line(3 | 4))), "{error}");
}

const OTHER_ID: &str = "caaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// A total of 3 MB/s, a group of one peer and one address, and floors of so many MB/s for it, that peer and two others.
fn floors(group: &str, peer: &str, outside: &str, guest: &str) -> Result<Config, ConfigError> {
    parse(&format!(
        "[limits]\nupload='3MB/s'\n[[share]]\nname='s'\npath='s'\n\
         [[group]]\nname='g'\npeers=['{ID}']\nupload_floor='{group}'\nupload_cap='2MB/s'\n\
         [[group]]\nname='h'\naddresses=['192.0.2.0/24']\nupload_cap='1MB/s'\n\
         [[peer]]\nid='{ID}'\nupload_floor='{peer}'\n\
         [[peer]]\nid='{OTHER_ID}'\nupload_floor='{outside}'\n\
         [[peer]]\nid='http:{guest}'\nupload_floor='1.5MB/s'\n"
    ))
}

#[test]
fn floors_of_groups_and_of_peers_outside_them_that_exceed_the_total_are_refused() {
    let guest = "198.51.100.1";
    // A peer's floor lies within its group's; only one outside comes on top.
    assert_eq!(floors("1.5MB/s", "1.5MB/s", "off", guest).err(), None);
    let error = floors("2MB/s", "off", "off", guest).unwrap_err().to_string();
    assert_eq!(
        error,
        "my.toml:2: limits.upload: the floors of the groups and of peers outside them add up to 3.5 MB/s (28 Mbit/s), \
         more than the total of 3.0 MB/s (24 Mbit/s)"
    );
    // Where a key connects from is not known: it may be in the group of that address, or in none.
    assert_eq!(floors("1.5MB/s", "off", "1.5MB/s", guest).err(), None);
    let error = floors("off", "1MB/s", "1MB/s", guest).unwrap_err().to_string();
    assert!(error.contains("the floors of the peers add up to 3.5 MB/s"), "{error}");
}

#[test]
fn a_peers_floor_above_the_cap_of_its_only_group_is_refused() {
    let error = floors("off", "2.5MB/s", "off", "192.0.2.7").unwrap_err();
    let messages: Vec<String> = error.to_string().lines().map(str::to_owned).collect();
    let above = |group: &str, line: usize, sum: &str, cap: &str| {
        let words = format!("group.{group}.upload_cap: the floors of its peers add up to {sum}, above its cap, {cap}");
        messages.iter().any(|message| message.starts_with(&format!("my.toml:{line}: {words}")))
    };
    assert!(above("g", 10, "2.5 MB/s (20 Mbit/s)", "2.0 MB/s"), "{messages:?}");
    assert!(above("h", 14, "1.5 MB/s (12 Mbit/s)", "1.0 MB/s"), "{messages:?}");
}

#[test]
fn unknown_keys_are_refused_with_a_suggestion() {
    for (text, words) in [
        ("[limits]\nuplaod = 5", "my.toml:2: limits.uplaod: is not a key of [limits]: did you mean `upload`?"),
        ("[limit]\nupload = 5", "did you mean `limits`?"),
        (
            "[[share]]\nname='s'\npath='s'\nwriteable=true",
            "share.s.writeable: is not a key of [share]: did you mean `writable`?",
        ),
        ("[files]\nthreads = 5", "did you mean `disk_threads`?"),
    ] {
        let message = refused(text);
        assert!(message.contains(words), "{text}:\n{message}");
    }
}

#[test]
fn one_bad_key_has_one_message() {
    for text in [
        "[shaping]\nquantum_min='huge'\nquantum_max='4KiB'",
        "[allocation]\ninterval='1'\nearly='5s'",
        "[sessions]\nkeepalive='60s'\ndead='soon'",
        "[http]\nlisten='127.0.0.1:7480'\ncertificate=5\nkey='k'",
        "[listen]\npeers='7490'\nadmin='127.0.0.1:7400'",
        "[listen]\nadmin='0.0.0.0:7490'\n[admin]\ntoken='short'",
        "[[share]]\nname='s'\n[[group]]\nname='g'\nshares=['s']",
    ] {
        let error = parse(text).expect_err(text);
        assert_eq!(error.faults.len(), 1, "{error}");
    }
}

#[test]
fn control_characters_of_a_key_are_escaped() {
    let message =
        refused("[limits]\n\"a\\u001b[31mred\\u202e\" = 5\n[[group]]\nname = \"b\\u001bc\"\naddresses=['::/0']");
    assert!(message.contains("my.toml:2: limits.a\\u{1b}[31mred\\u{202e}: is not a key"), "{message}");
    assert!(message.contains("group.b\\u{1b}c.name"), "{message}");
    assert!(!message.contains('\x1b') && message.lines().count() == 2, "{message:?}");
}

#[test]
fn a_short_token_in_the_environment_is_a_fault_of_the_configuration() {
    let overrides = Overrides { admin_token: Some(Secret::new("short")), ..Overrides::default() };
    let error = Config::parse("my.toml", "", Path::new(""), &overrides).unwrap_err();
    assert_eq!(error.to_string(), "EVENKEEL_ADMIN_TOKEN: admin.token: is too short: use at least 16 characters");
}

#[test]
fn broken_documents_name_the_line() {
    let message = refused("[limits]\nupload = \n[node\nworkers = 1");
    assert!(message.contains("my.toml:2:"), "{message}");
    assert!(!message.contains("  |"), "one line for each fault: {message}");
}

#[test]
fn flags_win_and_are_named() {
    let overrides = Overrides {
        upload: Some("1MB/s".parse().unwrap()),
        admin: Some("0.0.0.0:7490".parse().unwrap()),
        shares: vec![Share { name: "s".into(), path: "other".into(), writable: true, public: false }],
        ..Overrides::default()
    };
    let text = "[limits]\nupload='9MB/s'\n[[share]]\nname='s'\npath='a'\n[[peer]]\nid='ID'\nupload_floor='2MB/s'"
        .replace("ID", ID);
    let error = Config::parse("my.toml", &text, Path::new(""), &overrides).unwrap_err();
    let message = error.to_string();
    assert!(message.contains("--upload-limit: limits.upload: the floors of the peers add up to 2.0 MB/s"), "{message}");
    assert!(message.contains("--admin: listen.admin:"), "{message}");
    let overrides = Overrides { admin: None, upload: None, ..overrides };
    let config = Config::parse("my.toml", &text, Path::new(""), &overrides).unwrap();
    assert_eq!(config.shares, overrides.shares);
    let overrides = Overrides {
        admin: Some("0.0.0.0:7490".parse().unwrap()),
        admin_token: Some(Secret::new("0123456789abcdef")),
        ..overrides
    };
    let config = Config::parse("my.toml", &text, Path::new(""), &overrides).unwrap();
    assert!(!format!("{config:?}").contains("0123456789abcdef"));
}

#[test]
fn values_are_read() {
    let config = parse(
        "[node]\nstate_dir='state'\ndrain='1m'\n[limits]\nupload=1000\ndownload='off'\n[transport]\ndata_encryption=false\n\
         congestion='bbr'\n[[share]]\nname='s'\npath='files'",
    )
    .unwrap();
    assert_eq!(config.node.state_dir.as_deref(), Some(Path::new("/etc/state")));
    assert_eq!(config.node.drain, Duration::from_secs(60));
    assert_eq!(config.limits.upload, Rate::from_bytes_per_second(1000));
    assert!(!config.transport.data_encryption);
    assert_eq!(config.transport.congestion.as_deref(), Some("bbr"));
    assert_eq!(config.shares[0].path, Path::new("/etc/files"));
}

#[test]
fn a_missing_file_is_one_fault() {
    let error = Config::load(Some(Path::new("/nowhere/x.toml")), &Overrides::default()).unwrap_err();
    assert!(error.to_string().starts_with("/nowhere/x.toml: can't be read: "), "{error}");
}
