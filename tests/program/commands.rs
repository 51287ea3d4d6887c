//! Commands that need no node, and nodes that don't start.

use std::{fs, path::Path};

use crate::support::{Said, Server, evenkeel};

#[test]
fn every_command_explains_itself_with_an_example() {
    let commands = [
        "",
        "serve",
        "get",
        "put",
        "ls",
        "ctl",
        "ctl status",
        "ctl peers",
        "ctl transfers",
        "ctl limits",
        "ctl groups",
        "ctl limit",
        "ctl set",
        "ctl set peer",
        "ctl set transfer",
        "ctl set group",
        "ctl explain",
        "ctl disconnect",
        "ctl drain",
        "demo",
        "id",
        "config",
        "config check",
        "completions",
    ];
    for command in commands {
        let mut args: Vec<&str> = command.split_whitespace().collect();
        args.push("--help");
        let help = evenkeel(&args).expect_code(0).out();
        assert!(help.contains("Usage:") && help.contains("--state"), "{command}: {help}");
        let example = format!("evenkeel {command}");
        assert!(help.to_lowercase().contains("example") && help.contains(example.trim()), "{command}: {help}");
    }
    let version = evenkeel(&["--version"]).expect_code(0).out();
    assert_eq!(version.trim(), format!("evenkeel {}", env!("CARGO_PKG_VERSION")));
    for args in [
        &[] as &[&str],
        &["no-such-command"],
        &["get"],
        &["ctl", "limit"],
        &["get", "host/share/x"],
        &["ctl", "explain", ""],
    ] {
        let said = evenkeel(args).expect_code(2);
        assert!(!said.err().is_empty(), "{args:?}");
    }
}

#[test]
fn completions_name_the_commands() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = evenkeel(&["completions", shell]).expect_code(0).out();
        for word in ["serve", "explain", "upload-limit"] {
            assert!(script.contains(word), "{shell} does not know {word}");
        }
    }
}

#[test]
fn id_makes_a_key_once() {
    let room = tempfile::tempdir().unwrap();
    let state = room.path().join("new/state");
    let args = ["id", "--state", state.to_str().unwrap()];
    let first = evenkeel(&args).expect_code(0).out();
    assert_eq!(first.lines().next().unwrap().len(), 52, "{first}");
    assert_eq!(evenkeel(&args).expect_code(0).out(), first);
    let other = evenkeel(&["id", "--state", room.path().join("other").to_str().unwrap()]).expect_code(0).out();
    assert_ne!(first, other);
    fs::write(room.path().join("file"), "").unwrap();
    let said = evenkeel(&["id", "--state", room.path().join("file").to_str().unwrap()]).expect_code(71).err();
    assert!(said.contains("file"), "{said}");
}

#[test]
fn wrong_rates_are_answered_with_right_ones() {
    for (rate, hint) in [
        ("10Mb", "10Mbit"),
        ("500kbps", "500"),
        ("10Mbps", "10M"),
        ("-5MB/s", "negative"),
        ("99999999999999G", "more than can be counted"),
        ("fast", "10MiB/s"),
        ("", ""),
    ] {
        let said = evenkeel(&["serve", &format!("--upload-limit={rate}")]).expect_code(2).err();
        assert!(said.contains(hint) && said.contains("--upload-limit"), "{rate}: {said}");
    }
}

#[test]
fn a_good_configuration_is_said_to_be_good() {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/evenkeel.toml");
    let said = evenkeel(&["config", "check", shipped.to_str().unwrap()]).expect_code(0).out();
    assert!(said.contains("good"), "{said}");
    let said = evenkeel(&["config", "check", "/no/such/file.toml"]).expect_code(64).err();
    assert!(said.contains("/no/such/file.toml"), "{said}");
}

#[test]
fn files_that_a_configuration_names_and_that_are_not_there_are_said_as_serve_says_them() {
    let room = tempfile::tempdir().unwrap();
    let file = room.path().join("it.toml");
    let check = || evenkeel(&["config", "check", file.to_str().unwrap()]);
    let serve = || Server::command(room.path(), &["--config", file.to_str().unwrap()]).output().unwrap();
    let http = |keys: &str| format!("[http]\nlisten = \"127.0.0.1:0\"\n{keys}");
    fs::create_dir(room.path().join("music")).unwrap();
    fs::write(room.path().join("cert.pem"), "nothing").unwrap();
    for (text, words) in [
        ("[[share]]\nname = \"films\"\npath = \"films\"\n".to_owned(), "share `films`: "),
        (http("certificate = \"cert.pem\"\nkey = \"key.pem\"\n"), "http.certificate: "),
        (http("signing_key_file = \"sign.key\"\n"), "http.signing_key_file: "),
    ] {
        fs::write(&file, &text).unwrap();
        let told = check().expect_code(64).err();
        assert!(told.contains(words), "{told}");
        let said = serve().expect_code(64).err();
        let told = told.trim().strip_prefix("evenkeel: ").unwrap();
        assert!(said.contains(told), "check: {told}\nserve: {said}");
    }
    // All of it at once.
    let keys = http("certificate = \"cert.pem\"\nkey = \"key.pem\"\nsigning_key_file = \"sign.key\"\n");
    fs::write(&file, format!("{keys}[[share]]\nname = \"films\"\npath = \"films\"\n")).unwrap();
    let told = check().expect_code(64).err();
    for words in ["http.certificate", "http.signing_key_file", "share `films`"] {
        assert!(told.contains(words), "{words}: {told}");
    }
    fs::write(&file, "[[share]]\nname = \"music\"\npath = \"music\"\n").unwrap();
    let files = || fs::read_dir(room.path()).unwrap().count();
    let before = files();
    check().expect_code(0);
    assert_eq!(files(), before, "nothing is made");
}

#[test]
fn each_bad_key_of_a_configuration_is_named_with_its_line() {
    let room = tempfile::tempdir().unwrap();
    let file = room.path().join("bad.toml");
    let lines = [
        "[limits]",                     // 1
        "upload = \"10Mb\"",            // 2
        "download = \"5MB/s\"",         // 3
        "speed = 3",                    // 4
        "[sessions]",                   // 5
        "keepalive = \"90s\"",          // 6
        "max = -1",                     // 7
        "[[share]]",                    // 8
        "name = \"../x\"",              // 9
        "path = \"x\"",                 // 10
        "[[group]]",                    // 11
        "name = \"g\"",                 // 12
        "addresses = [\"10.0.0.0/8\"]", // 13
        "download_floor = \"6MB/s\"",   // 14
        "upload_floor = \"2MB/s\"",     // 15
        "upload_cap = \"1MB/s\"",       // 16
    ];
    fs::write(&file, lines.join("\n")).unwrap();
    let check = evenkeel(&["config", "check", file.to_str().unwrap()]).expect_code(64).err();
    let output = Server::command(room.path(), &["--config", file.to_str().unwrap()]).output().unwrap();
    let serve = output.expect_code(64).err();
    for said in [check, serve] {
        for line in [2, 4, 7, 9] {
            let told = said.lines().filter(|words| words.contains(&format!("bad.toml:{line}:"))).count();
            assert_eq!(told, 1, "line {line}:\n{said}");
        }
        assert!(said.contains("speed") && said.contains("10Mbit"), "{said}");
    }
    // Contradictions are looked for in what could be read.
    let good: Vec<&str> =
        lines.iter().enumerate().filter(|(at, _)| ![1, 3, 6, 8].contains(at)).map(|(_, l)| *l).collect();
    fs::write(&file, good.join("\n").replace("[[share]]", "[[share]]\nname = \"x\"")).unwrap();
    let said = evenkeel(&["config", "check", file.to_str().unwrap()]).expect_code(64).err();
    for words in ["keepalive is 90s", "above its cap", "more than the total"] {
        assert!(said.contains(words), "{words}:\n{said}");
    }
}

#[test]
fn a_port_that_is_taken_is_said_to_be_so() {
    let server = Server::start::<&str>(&[]);
    let room = tempfile::tempdir().unwrap();
    for (flag, address) in [("--listen", &server.peers), ("--admin", &server.admin), ("--metrics", &server.metrics)] {
        let output = Server::command(room.path(), &[flag, address]).output().unwrap().expect_code(71);
        let said = output.err();
        assert!(!said.contains("panicked"), "{said}");
        assert!(said.contains(address.as_str()) && said.contains("in use"), "{flag}: {said}");
        assert!(!output.out().contains("try next"), "it must not say that it runs: {}", output.out());
    }
    server.get("/v1/status");
}

#[test]
fn nobody_there_is_said() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let room = tempfile::tempdir().unwrap();
    let state = room.path().to_str().unwrap();
    let said = evenkeel(&["ls", &free.to_string(), "--state", state]).expect_code(69).err();
    assert!(said.contains(&free.to_string()), "{said}");
    let said = evenkeel(&["ls", "no-such-host.invalid:7400", "--state", state]).expect_code(69).err();
    assert!(said.contains("no-such-host.invalid"), "{said}");
    let said = evenkeel(&["ctl", "--admin", &format!("http://{free}"), "status"]).expect_code(69).err();
    assert!(said.contains("evenkeel serve"), "{said}");
}

#[test]
fn the_first_start_needs_nothing() {
    let room = tempfile::tempdir().unwrap();
    let share = format!("share={}", room.path().join("nowhere").display());
    let output = Server::command(room.path(), &["--share", &share]).output().unwrap();
    assert_ne!(output.code(), 0);
    assert!(output.err().contains("nowhere"), "{}", output.err());
}
