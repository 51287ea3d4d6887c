//! The command line as a whole: examples in help are true, and bad values are refused with words.

use clap::{CommandFactory as _, Parser as _};

use super::{args::Cli, command, help::EXAMPLE_PREFIX};

/// Words as a shell splits them; examples use no more than single quotes.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (index, part) in line.split('\'').enumerate() {
        match index % 2 {
            0 => words.extend(part.split_whitespace().map(str::to_owned)),
            _ => words.push(part.to_owned()),
        }
    }
    words
}

/// Every command, its subcommands, and theirs.
fn commands(command: clap::Command, found: &mut Vec<clap::Command>) {
    for sub in command.get_subcommands() {
        commands(sub.clone(), found);
    }
    found.push(command);
}

#[test]
fn every_help_has_examples_that_parse() {
    let mut root = Cli::command();
    root.build();
    let mut all = Vec::new();
    commands(root, &mut all);
    let mut examples = 0;
    for mut command in all.into_iter().filter(|command| command.get_name() != "help") {
        if command.get_display_name().is_some_and(|name| name.contains("-help-")) {
            continue;
        }
        let name = command.get_display_name().unwrap_or(command.get_name()).to_owned();
        let help = command.render_long_help().to_string();
        let lines: Vec<&str> = help.lines().filter(|line| line.starts_with(EXAMPLE_PREFIX)).collect();
        assert!(!lines.is_empty(), "{name} has no example:\n{help}");
        for line in lines {
            if let Err(error) = Cli::try_parse_from(words(line)) {
                panic!("{name}: {line}\n{error}");
            }
            examples += 1;
        }
        if help.contains("<RATE>") {
            assert!(help.contains("Rates: 500K"), "{name} takes rates and does not teach them");
        }
        assert!(help.contains("--state <DIR>"), "{name} takes no --state");
    }
    assert!(examples > 30, "{examples}");
}

#[test]
fn bad_values_are_refused_with_words() {
    for (line, hint) in [
        ("evenkeel serve --upload-limit 10Mb", "10Mbit/s"),
        ("evenkeel serve --upload-limit=-5", "negative"),
        ("evenkeel serve --upload-limit -5", "negative"),
        ("evenkeel ctl set group a --weight -1", "0.001 to 1000"),
        ("evenkeel sign /share/a --key k --for -1h", "not a time"),
        ("evenkeel serve --download-limit 99999999999999999999G", "more than can be counted"),
        ("evenkeel serve --share music", "NAME=DIR"),
        ("evenkeel serve --listen 7400", "127.0.0.1:7400"),
        ("evenkeel get host/share/x", "host:7400"),
        ("evenkeel get h:1/s/x --bwlimit 10kbps", "10KB/s"),
        ("evenkeel get h:1/s/x --weight 0", "0.001 to 1000"),
        ("evenkeel get h:1/s/x --data-links 0", "1..=64"),
        ("evenkeel get h:1/s/x --data-links 99", "sessions.max_data_links"),
        ("evenkeel get h:1/s/x --peer-id abc", "peer id"),
        ("evenkeel put x", "HOST:PORT/SHARE/"),
        ("evenkeel ctl limit", "--upload"),
        ("evenkeel ctl set peer k5rtdw", "--upload-cap"),
        ("evenkeel ctl set peer k5rtdw --class urgent", "`background`, or default"),
        ("evenkeel ctl status --admin=", "it is empty"),
        ("evenkeel demo --peers 0", "1..=1000"),
        ("evenkeel demo --for soon", "not a time"),
    ] {
        let error = command().try_get_matches_from(words(line)).expect_err(line);
        assert_eq!(error.exit_code(), 2, "{line}");
        assert!(error.to_string().contains(hint), "{line}:\n{error}");
    }
}

#[test]
fn clap_finds_no_contradiction() {
    command().debug_assert();
}
