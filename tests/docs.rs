//! The documentation keeps its promises: links lead somewhere, commands exist, examples are accepted, named files are there.

mod support;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use support::{Said as _, evenkeel};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Path relative to the root, and text, of every page.
fn pages() -> Vec<(String, String)> {
    let root = root();
    let folders = [root.clone(), root.join("docs"), root.join("grafana")];
    let entries = folders.iter().flat_map(|folder| folder.read_dir().unwrap()).map(|entry| entry.unwrap().path());
    let pages: Vec<_> = entries
        .filter(|path| path.extension().is_some_and(|ending| ending == "md"))
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            (path.strip_prefix(&root).unwrap().display().to_string(), text)
        })
        .collect();
    for expected in ["README.md", "ARCHITECTURE.md", "docs/runbook.md", "docs/api.md"] {
        assert!(pages.iter().any(|(name, _)| name == expected), "{expected} is not there");
    }
    pages
}

/// What stands between `open` and `close`, everywhere in `text`.
fn between<'a>(text: &'a str, open: &'a str, close: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(open).skip(1).filter_map(move |rest| rest.split_once(close).map(|(inside, _)| inside))
}

/// A heading's anchor, as code hosts make it: lower case, spaces as hyphens, no punctuation.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().chars().filter(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_'));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

#[test]
fn every_relative_link_leads_somewhere() {
    let mut faults = Vec::new();
    for (page, text) in pages() {
        for link in between(&text, "](", ")") {
            if link.contains("://") {
                continue;
            }
            let (file, fragment) = link.split_once('#').unwrap_or((link, ""));
            let here = root().join(&page);
            let target = if file.is_empty() { here.clone() } else { here.parent().unwrap().join(file) };
            if !target.exists() {
                faults.push(format!("{page}: {link}: no such file"));
            } else if !fragment.is_empty() {
                let target = fs::read_to_string(&target).unwrap();
                let mut headings = target.lines().filter(|line| line.starts_with('#'));
                if !headings.any(|line| anchor(line.trim_start_matches('#')) == fragment) {
                    faults.push(format!("{page}: {link}: no such heading"));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// The lines of `text` that begin with `evenkeel`, in code blocks after `$ ` or indented by four, and between backticks.
fn commands(text: &str) -> BTreeSet<String> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("$ ").or_else(|| line.strip_prefix("    ")));
    let spans = text.lines().flat_map(|line| line.split('`').skip(1).step_by(2));
    lines.chain(spans).map(str::trim).filter(|line| line.starts_with("evenkeel ")).map(str::to_owned).collect()
}

/// The words of subcommands that a line begins with: `ctl set peer`. Stops at the first that is none.
fn subcommands(line: &str) -> Vec<&str> {
    let none = |word: &&str| word.starts_with(|letter: char| !letter.is_ascii_lowercase());
    let words: Vec<&str> = line.split_whitespace().skip(1).take_while(|word| !none(word)).collect();
    let depth = match words.as_slice() {
        ["ctl", "set", ..] => 3,
        ["ctl" | "config", ..] => 2,
        _ => 1,
    };
    words.into_iter().take(depth).collect()
}

#[test]
fn every_command_and_flag_that_is_written_down_exists() {
    let lines: BTreeSet<String> = pages().iter().flat_map(|(_, text)| commands(text)).collect();
    assert!(lines.len() > 20, "{lines:?}");
    let mut helps: Vec<(Vec<&str>, String)> = Vec::new();
    for line in &lines {
        let words = subcommands(line);
        let known = helps.iter().position(|(known, _)| *known == words);
        let index = known.unwrap_or_else(|| {
            // `set peer|transfer|group` is a table's way of naming three.
            let asked = words.iter().map(|word| word.split(['|', '\\', ',']).next().unwrap_or_default());
            let asked: Vec<&str> = asked.chain(["--help"]).collect();
            let output = evenkeel(&asked);
            assert!(output.status.success(), "`{line}`: {}", output.err());
            helps.push((words, output.out()));
            helps.len() - 1
        });
        for flag in line.split_whitespace().filter(|word| word.starts_with("--")) {
            let flag: String =
                flag.chars().take_while(|letter| letter.is_ascii_alphanumeric() || *letter == '-').collect();
            assert!(flag == "--version" || helps[index].1.contains(&flag), "`{line}`: there is no {flag}");
        }
    }
}

#[test]
fn every_example_of_a_configuration_is_good() {
    let mut count = 0;
    for entry in root().join("config").read_dir().unwrap() {
        let path = entry.unwrap().path();
        // Its shares are here for the time of the test.
        let room = tempfile::tempdir().unwrap();
        let (copy, here) = (room.path().join("it.toml"), format!("\"{}/srv/", room.path().display()));
        let text = fs::read_to_string(&path).unwrap();
        for share in text.lines().filter_map(|line| line.strip_prefix("path = \"/")) {
            fs::create_dir_all(room.path().join(share.trim_end_matches('"'))).unwrap();
        }
        fs::write(&copy, text.replace("\"/srv/", &here)).unwrap();
        let output = evenkeel(&["config", "check", copy.to_str().unwrap()]);
        assert!(output.status.success(), "{}: {}", path.display(), output.err());
        count += 1;
    }
    assert!(count >= 4, "{count}");
}

#[test]
fn the_architecture_names_what_is_there_and_every_room() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let spans = text.lines().flat_map(|line| line.split('`').skip(1).step_by(2));
    let named: BTreeSet<&str> = spans.filter(|span| span.contains('/') && !span.contains([' ', ':'])).collect();
    assert!(named.len() > 100, "{}", named.len());
    let missing: Vec<_> = named.iter().filter(|path| !root().join(path).exists()).collect();
    assert!(missing.is_empty(), "ARCHITECTURE.md names {missing:?}");
    for room in rooms() {
        let known =
            named.iter().any(|path| path.trim_end_matches('/') == room || path.starts_with(&format!("{room}/")));
        assert!(known, "ARCHITECTURE.md does not name {room}");
    }
}

/// The top folders that hold sources, and the folders of `src/`.
fn rooms() -> Vec<String> {
    let folders = |path: &Path| -> Vec<String> {
        let entries = path.read_dir().unwrap().map(|entry| entry.unwrap());
        let folders = entries.filter(|entry| entry.file_type().unwrap().is_dir());
        folders.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    };
    let top = folders(&root()).into_iter().filter(|name| root().join(name).join("Cargo.toml").exists());
    top.chain(folders(&root().join("src")).into_iter().map(|name| format!("src/{name}"))).collect()
}

#[test]
fn every_metric_in_the_runbook_exists_and_none_is_left_out() {
    let text = fs::read_to_string(root().join("docs/runbook.md")).unwrap();
    let (_, table) = text.split_once("## What each metric tells").unwrap();
    let spans: Vec<&str> = table.lines().flat_map(|line| line.split('`').skip(1).step_by(2)).collect();
    // `desired_`, `allowed_bytes_per_second`: the first is short for the ending of the row's last.
    let told = |name: &str| {
        let bare = name.trim_start_matches("evenkeel_");
        let short = bare.strip_suffix("bytes_per_second").unwrap_or(bare);
        spans.iter().any(|span| span.split('{').next() == Some(bare) || *span == short)
    };
    let silent: Vec<_> = actors::metric::METRICS.iter().map(|metric| metric.name).filter(|name| !told(name)).collect();
    assert!(silent.is_empty(), "the runbook is silent about {silent:?}");
}
