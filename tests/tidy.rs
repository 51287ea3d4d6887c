//! The rules of the house, as tests: each names the file and line that breaks it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use actors::metric::{Kind, METRICS, find};

/// A file longer than this holds more than one noun, or says here why not.
const LINES_MAX: usize = 500;
/// Longer files: path, reason.
const LONG: &[(&str, &str)] = &[];

/// Metrics that no dashboard charts: name, reason.
const NOT_CHARTED: &[(&str, &str)] = &[
    ("evenkeel_certificate_changes_total", "moves every few weeks: the log says it, and docs/http.md how to be warned"),
    ("evenkeel_log_lines_lost_total", "moves when whoever reads the log has stopped: docs/runbook.md says what to do"),
    ("evenkeel_config_reloads_total", "moves when an operator asks for it, who looks at the log then"),
];

/// What `flow` and `wire` must not name: they are told the time and the bytes.
const IMPURE: &[&str] = &[
    "Instant::now",
    "time::Instant",
    "SystemTime",
    "std::io",
    "std::fs",
    "std::net",
    "std::env",
    "std::process",
    "std::thread",
    "tokio",
    "actix",
    "futures",
    "async fn",
    "async move",
    ".await",
    "println!",
    "tracing::",
];

/// Which crates of the workspace a crate may use.
const ARROWS: &[(&str, &[&str])] = &[
    ("flow", &[]),
    ("wire", &["flow"]),
    ("host", &["flow"]),
    ("actors", &["flow", "host", "wire"]),
    (".", &["actors", "flow", "host", "wire"]),
];

/// Which rooms of `src/` a room may use. `node` is the composition root; `cli` parses and calls it.
const ROOMS: &[(&str, &[&str])] = &[
    ("admin", &[]),
    ("cli", &["config", "identity", "node"]),
    ("config", &[]),
    ("files", &[]),
    ("identity", &[]),
    ("node", &["admin", "config", "files", "identity", "telemetry", "transport"]),
    ("telemetry", &[]),
    ("transport", &[]),
];

/// Only these folders and the root's own files are ours.
const FOLDERS: &[&str] =
    &["flow", "wire", "host", "actors", "src", "tests", "benches", "config", "grafana", "docs", ".ci"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Path relative to the root, and text, of every text file whose name ends in one of `endings`; this file is left out, since
/// it must name what it forbids.
fn files(endings: &[&str]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in root().read_dir().unwrap().map(|entry| entry.unwrap().path()) {
        let name = entry.file_name().unwrap().to_string_lossy().into_owned();
        if entry.is_file() || FOLDERS.contains(&name.as_str()) {
            walk(&entry, endings, &mut found);
        }
    }
    assert!(!found.is_empty());
    found.sort();
    found
}

fn walk(path: &Path, endings: &[&str], found: &mut Vec<(String, String)>) {
    if path.is_dir() {
        path.read_dir().unwrap().for_each(|entry| walk(&entry.unwrap().path(), endings, found));
        return;
    }
    let name = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
    let wanted = endings.iter().any(|ending| name.ends_with(ending)) && name != "tests/tidy.rs" && name != "Cargo.lock";
    if let Some(text) = wanted.then(|| fs::read_to_string(path).ok()).flatten() {
        found.push((name, text));
    }
}

/// `FILE:LINE: text` of each line of `files` that is guilty; comments are innocent.
fn guilty(files: &[(String, String)], is_guilty: impl Fn(&str) -> bool) -> Vec<String> {
    let lines = files
        .iter()
        .flat_map(|(name, text)| text.lines().enumerate().map(move |(index, line)| (name, index + 1, line)));
    lines
        .filter(|(_, _, line)| !line.trim_start().starts_with("//") && is_guilty(line))
        .map(|(name, number, line)| format!("{name}:{number}: {}", line.trim()))
        .collect()
}

fn assert_none(rule: &str, faults: &[String]) {
    assert!(faults.is_empty(), "{rule}:\n  {}", faults.join("\n  "));
}

/// Without what follows the first test module.
fn without_tests((name, text): (String, String)) -> Option<(String, String)> {
    let is_test = name.contains("/tests") || name.ends_with("_test.rs") || name.ends_with("/test.rs");
    let code = text.split("\n#[cfg(test)]").next().unwrap_or_default().to_owned();
    (!is_test).then_some((name, code))
}

#[test]
fn the_core_is_pure() {
    let core =
        files(&[".rs"]).into_iter().filter(|(name, _)| name.starts_with("flow/src/") || name.starts_with("wire/src/"));
    let core: Vec<_> = core.filter_map(without_tests).collect();
    let faults = guilty(&core, |line| IMPURE.iter().any(|word| line.contains(word)));
    assert_none("flow and wire know no clock, no task and no I/O", &faults);
}

#[test]
fn every_channel_is_bounded() {
    // `channel()` and `channel::<T>()` take no bound: the standard library's, and broadcast channels that forgot theirs.
    let endings = ["unbounded_channel", "mpsc::unbounded", "channel::unbounded", "unbounded_send", "channel()"];
    let is_guilty = |line: &str| {
        let typed = line.split_once("channel::<").is_some_and(|(_, rest)| rest.contains(">()"));
        // A oneshot channel holds one message.
        !line.contains("oneshot") && (typed || endings.iter().any(|word| line.contains(word)))
    };
    let code: Vec<_> = files(&[".rs"]).into_iter().filter_map(without_tests).collect();
    assert_none("every queue has a written limit", &guilty(&code, is_guilty));
}

#[test]
fn unsafe_code_lives_in_host() {
    let files: Vec<_> = files(&[".rs"]).into_iter().filter(|(name, _)| !name.starts_with("host/")).collect();
    let words = ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern", "allow(unsafe_code)"];
    assert_none("unsafe only in host", &guilty(&files, |line| words.iter().any(|word| line.contains(word))));
}

#[test]
fn files_stay_short() {
    let long: BTreeMap<_, _> = LONG.iter().copied().collect();
    let mut faults = Vec::new();
    for (name, text) in files(&[".rs"]) {
        let lines = text.lines().count();
        match (lines > LINES_MAX, long.contains_key(name.as_str())) {
            (true, false) => faults.push(format!("{name}: {lines} lines; split it by noun, or say here why not")),
            (false, true) => faults.push(format!("{name}: short again, so its reason can go")),
            _ => {}
        }
    }
    assert_none("one noun per file", &faults);
}

#[test]
fn every_file_says_what_it_is_for() {
    let faults: Vec<_> =
        files(&[".rs"]).into_iter().filter(|(_, text)| !text.starts_with("//!")).map(|(name, _)| name).collect();
    assert_none("a file begins with its module doc", &faults);
}

#[test]
fn nothing_is_left_to_do() {
    let words = ["TODO", "FIXME", "XXX", "todo!(", "unimplemented!(", "dbg!("];
    let mut faults = Vec::new();
    for (name, text) in files(&[".rs", ".toml", ".md", ".proto", ".yml", ".yaml", ".json", "justfile", "run"]) {
        let lines = text.lines().enumerate().filter(|(_, line)| words.iter().any(|word| line.contains(word)));
        faults.extend(lines.map(|(index, line)| format!("{name}:{}: {}", index + 1, line.trim())));
    }
    assert_none("finish it, or write it down as an issue", &faults);
}

#[test]
fn no_path_of_somebodys_machine() {
    let words = ["/home/", "/root/", "/Users/", "/work/"];
    let mut faults = Vec::new();
    for (name, text) in files(&[".rs", ".toml", ".md", ".proto", ".yml", ".yaml", ".json", "justfile", "run"]) {
        let lines = text.lines().enumerate().filter(|(_, line)| words.iter().any(|word| line.contains(word)));
        faults.extend(lines.map(|(index, line)| format!("{name}:{}: {}", index + 1, line.trim())));
    }
    assert_none("absolute paths belong to one machine", &faults);
}

#[test]
fn arrows_between_crates_run_one_way() {
    let mut faults = Vec::new();
    for (folder, allowed) in ARROWS {
        let manifest = fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap();
        let manifest: toml::Table = manifest.parse().unwrap();
        let dependencies = manifest["dependencies"].as_table().unwrap();
        for name in dependencies.keys() {
            let ours = ARROWS.iter().any(|(crate_name, _)| crate_name == name);
            let is_async = ["tokio", "actix", "futures", "async", "quinn"].iter().any(|word| name.starts_with(word));
            if (ours && !allowed.contains(&name.as_str())) || (is_async && ["flow", "wire", "host"].contains(folder)) {
                faults.push(format!("{folder} must not use {name}"));
            }
        }
    }
    assert_none("src -> actors -> {wire, host} -> flow", &faults);
}

#[test]
fn rooms_meet_in_the_composition_root() {
    let mut faults = Vec::new();
    for (room, allowed) in ROOMS {
        let files: Vec<_> =
            files(&[".rs"]).into_iter().filter(|(name, _)| name.starts_with(&format!("src/{room}/"))).collect();
        assert!(!files.is_empty(), "there is no room {room}");
        for (other, _) in ROOMS.iter().filter(|(other, _)| other != room && !allowed.contains(other)) {
            faults.extend(guilty(&files, |line| {
                let name = format!("{other}::");
                let within_braces =
                    line.trim_start().starts_with(&name) || (line.starts_with("use crate::{") && line.contains(&name));
                within_braces || ["::", ";"].iter().any(|end| line.contains(&format!("crate::{other}{end}")))
            }));
        }
    }
    assert_none("a room of src does not import its sibling", &faults);
}

/// Every word in the dashboards that looks like one of our metrics, without the suffixes of a histogram.
fn charted() -> BTreeSet<String> {
    let dashboards = files(&[".json"]).into_iter().filter(|(name, _)| name.starts_with("grafana/"));
    let text: String = dashboards.map(|(_, text)| text).collect();
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    let ours = words.filter(|word| word.starts_with("evenkeel_"));
    ours.map(|word| match ["_bucket", "_sum", "_count"].iter().find_map(|suffix| word.strip_suffix(suffix)) {
        Some(histogram) if find(histogram).is_some_and(|metric| matches!(metric.kind, Kind::Histogram(_))) => {
            histogram.to_owned()
        }
        _ => word.to_owned(),
    })
    .collect()
}

#[test]
fn every_metric_is_charted_or_waived_with_a_reason() {
    let charted = charted();
    let waived: BTreeMap<_, _> = NOT_CHARTED.iter().copied().collect();
    let mut faults = Vec::new();
    for metric in METRICS {
        match (charted.contains(metric.name), waived.contains_key(metric.name)) {
            (false, false) => faults.push(format!("{} is on no dashboard; chart it, or say here why not", metric.name)),
            (true, true) => faults.push(format!("{} is charted, so its reason can go", metric.name)),
            _ => {}
        }
    }
    faults.extend(
        charted.iter().filter(|name| find(name).is_none()).map(|name| format!("{name} is charted, but no metric")),
    );
    faults.extend(
        waived.keys().filter(|name| find(name).is_none()).map(|name| format!("{name} is waived, but no metric")),
    );
    assert_none("dashboards and the table of metrics agree", &faults);
}

#[test]
fn every_handle_of_a_metric_is_used() {
    let handles = fs::read_to_string(root().join("actors/src/metric/handles.rs")).unwrap();
    let declared = handles.lines().filter_map(|line| line.strip_prefix("    pub "));
    // `name: Counter,` is used as `.name.`, `fn name(&self` as `.name(`.
    let uses = declared.filter_map(|line| match line.strip_prefix("fn ") {
        Some(method) if method.contains("(&self") => method.split_once('(').map(|(name, _)| format!(".{name}(")),
        Some(_) => None,
        None => line.split_once(": ").map(|(name, _)| format!(".{name}")),
    });
    let code: Vec<_> =
        files(&[".rs"]).into_iter().filter(|(name, _)| name.contains("src/") && !name.contains("/metric/")).collect();
    let code: String = code.into_iter().filter_map(without_tests).map(|(_, text)| text).collect();
    let unused: Vec<_> = uses.filter(|used| !code.contains(used.as_str())).collect();
    assert_none("a metric that nothing moves says something false", &unused);
}

#[test]
fn every_setting_is_used() {
    let settings = fs::read_to_string(root().join("src/config/settings.rs")).unwrap();
    let fields = settings
        .lines()
        .filter_map(|line| line.strip_prefix("    pub ")?.split_once(": "))
        .map(|(name, _)| name)
        .filter(|name| !name.contains('('));
    let code: Vec<_> = files(&[".rs"])
        .into_iter()
        .filter(|(name, _)| name.starts_with("src/") && !name.starts_with("src/config/"))
        .collect();
    let code: String = code.into_iter().filter_map(without_tests).map(|(_, text)| text).collect();
    let unused: Vec<_> = fields
        .filter(|name| !code.contains(&format!(".{name}")))
        .map(|name| format!("{name} is read and unused"))
        .collect();
    assert_none("a key that does nothing says something false", &unused);
}
