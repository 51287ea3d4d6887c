//! Rates that nobody can mean and limits that contradict each other, on the command line, in the file and to the API: the
//! right exit code, and words that say what to write instead.

use std::{fs, path::Path};

use crate::{
    stage::{Neighbour, node, serves_on},
    support::{Said as _, evenkeel},
};

#[test]
fn malformed_rates_are_refused_with_what_to_write() {
    let rates = [
        ("10Mb", "write `10Mbit/s` for bits or `10MB/s` for bytes"),
        ("500kbps", "write `500Kbit/s` for bits or `500KB/s` for bytes"),
        ("kbps", "is not a rate"),
        ("10MBps", "write `10MB/s`"),
        ("-5M", "is negative"),
        ("18446744073709551615", "more than can be counted"),
        ("99999999999999999999G", "more than can be counted"),
        ("", "a rate is missing"),
        ("fast", "is not a rate"),
        ("NaN", "is not a rate"),
        ("0.1", "less than one byte"),
    ];
    let room = tempfile::tempdir().unwrap();
    let state = room.path().to_str().unwrap();
    for (rate, words) in rates {
        for command in [
            vec!["serve", "--upload-limit", rate, "--state", state],
            vec!["get", "127.0.0.1:1/share/x", "--bwlimit", rate, "--state", state],
            vec!["ctl", "limit", "--download", rate],
        ] {
            // A value that begins with a dash must be tied to its flag.
            let said = evenkeel(&tie(&command, rate)).expect_code(2).err();
            assert!(said.contains(words), "{command:?}: {said}");
        }
        let said = check(room.path(), &format!("[limits]\nupload = \"{rate}\"\n"));
        assert!(said.contains(words) && said.contains(":2"), "{rate}: {said}");
    }
}

fn tie(command: &[&str], value: &str) -> Vec<String> {
    let mut args: Vec<String> = command.iter().map(|arg| (*arg).to_owned()).collect();
    if let Some(index) = args.iter().position(|arg| arg == value) {
        let value = args.remove(index);
        args[index - 1] = format!("{}={value}", args[index - 1]);
    }
    args
}

/// What `config check` says of a bad file, which ends it with 64.
#[track_caller]
fn check(room: &Path, text: &str) -> String {
    let file = room.join("bad.toml");
    fs::write(&file, text).unwrap();
    evenkeel(&["config", "check", file.to_str().unwrap()]).expect_code(64).err()
}

#[test]
fn contradictory_limits_do_not_start() {
    let room = tempfile::tempdir().unwrap();
    let share = format!("[[share]]\nname = \"s\"\npath = \"{}\"\n", room.path().display());
    let group = |name: &str, rest: &str| format!("[[group]]\nname = \"{name}\"\nshares = [\"s\"]\n{rest}\n");
    let above_cap = share.clone() + &group("a", "upload_cap = \"1MB/s\"\nupload_floor = \"2MB/s\"");
    let said = check(room.path(), &above_cap);
    assert!(said.contains("above its cap") && said.contains(":8"), "{said}");
    let floors = share.clone() + &group("a", "upload_floor = \"3MB/s\"") + &group("b", "upload_floor = \"3MB/s\"");
    let over = format!("[limits]\nupload = \"5MB/s\"\n{floors}");
    let said = check(room.path(), &over);
    assert!(said.contains("add up to 6.0 MB/s") && said.contains("total of 5.0 MB/s"), "{said}");
    // The same between the file and a flag.
    let file = room.path().join("good.toml");
    fs::write(&file, &floors).unwrap();
    let file = file.to_str().unwrap();
    evenkeel(&["config", "check", file]).expect_code(0);
    let state = room.path().join("state");
    let serve = ["serve", "--config", file, "--upload-limit", "5MB/s", "--state", state.to_str().unwrap()];
    let said = evenkeel(&serve).expect_code(64).err();
    assert!(said.contains("add up to") && said.contains("--upload-limit"), "{said}");
}

#[test]
fn contradictory_orders_change_nothing() {
    let server = node("[[group]]\nname = \"lab\"\nshares = [\"share\"]\nupload_floor = \"100KB/s\"\n");
    let neighbour = Neighbour::getting(&server);
    let groups = server.get("/v1/groups");
    let conflict = |method: &str, path: &str, body: &str, words: &str| {
        let (status, answer) = server.api(method, path, Some(body));
        assert_eq!((status, answer["error"]["code"].as_str()), (409, Some("conflict")), "{answer}");
        assert!(answer["error"]["message"].as_str().unwrap().contains(words), "{answer}");
    };
    let floor_above_cap = r#"{"upload_cap_bytes_per_second": 1000, "upload_floor_bytes_per_second": 2000}"#;
    conflict("PATCH", "/v1/groups/lab", floor_above_cap, "above its cap");
    conflict("PATCH", "/v1/groups/lab", r#"{"upload_cap_bytes_per_second": 50000}"#, "above its cap");
    conflict("PATCH", "/v1/groups/lab", r#"{"upload_floor_bytes_per_second": 2000000}"#, "add up to");
    conflict("PATCH", "/v1/limits", r#"{"upload_bytes_per_second": 50000}"#, "add up to");
    let most = (1_u64 << 53) - 1;
    let huge = format!(r#"{{"upload_floor_bytes_per_second": {most}}}"#);
    conflict("PATCH", "/v1/groups/lab", &huge, "add up to");
    let transfer = server.get("/v1/transfers")[0]["id"]
        .as_str()
        .map(str::to_owned)
        .unwrap_or_else(|| server.get("/v1/transfers")["transfers"][0]["id"].as_str().unwrap().to_owned());
    conflict("PATCH", &format!("/v1/transfers/{transfer}"), floor_above_cap, "above its cap");
    // The command line says the same, and its exit code tells a script.
    let said = server.ctl(&["set", "group", "lab", "--upload-cap", "1K"]).expect_code(1).err();
    assert!(said.contains("above its cap"), "{said}");
    let said = server.ctl(&["limit", "--upload", "50KB/s"]).expect_code(1).err();
    assert!(said.contains("add up to"), "{said}");
    server.ctl(&["set", "group", "none", "--weight", "2"]).expect_code(1);
    server.ctl(&["set", "group", "lab", "--weight", "0"]).expect_code(2);
    server.ctl(&["set", "group", "lab", "--weight", "NaN"]).expect_code(2);
    let after = server.get("/v1/groups");
    assert_eq!(settings(&after), settings(&groups));
    serves_on(&server);
    neighbour.was_undisturbed();
}

/// Caps, floors and weights of all groups.
fn settings(groups: &serde_json::Value) -> Vec<String> {
    let list = groups.as_array().or_else(|| groups["groups"].as_array()).unwrap();
    let of = |group: &serde_json::Value| {
        let upload = &group["upload"];
        format!("{} {} {}", group["weight"], upload["cap_bytes_per_second"], upload["floor_bytes_per_second"])
    };
    list.iter().map(of).collect()
}
