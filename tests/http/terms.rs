//! Addresses that carry terms of their own, signed by `evenkeel sign`.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use crate::{
    stage::{Wire, curl, has, node, url},
    support::{Said as _, Server, evenkeel, turn::alone, wait_until},
};

/// Short rounds, so that the tests are short.
const QUICK: &str = "[allocation]\ninterval = \"500ms\"\nearly = \"100ms\"\n";
const KB: f64 = 1e3;

/// A node that takes signed terms, and the key file.
pub(crate) struct Signed {
    pub(crate) server: Server,
    key: String,
    _room: tempfile::TempDir,
}

impl Signed {
    pub(crate) fn start(args: &[&str]) -> Self {
        let room = tempfile::tempdir().unwrap();
        let key = room.path().join("signing.key");
        fs::write(&key, "correct horse battery staple, twice\n").unwrap();
        fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
        let key = key.to_str().unwrap().to_owned();
        let server = node(&format!("{QUICK}[http]\nsigning_key_file = \"{key}\"\n"), args);
        File::create(server.share().join("endless.bin")).unwrap().set_len(4 << 30).unwrap();
        Self { server, key, _room: room }
    }

    /// What `evenkeel sign` prints for a path of the share.
    pub(crate) fn sign(&self, path: &str, terms: &[&str]) -> String {
        let address = url(&self.server, path);
        let said = evenkeel(&[&["sign", &address, "--key", &self.key], terms].concat()).expect_code(0).out();
        said.trim_end().to_owned()
    }

    /// The path and query of an address of this node.
    pub(crate) fn target<'a>(&self, address: &'a str) -> &'a str {
        address.strip_prefix(&format!("http://{}", self.server.http)).unwrap()
    }

    /// Status and words of the answer to a signed address.
    fn ask(&self, address: &str) -> (u16, String) {
        let answer = Wire::to(&self.server).ask("GET", self.target(address), "Range: bytes=0-9\r\n");
        (answer.status, String::from_utf8_lossy(&answer.body).into_owned())
    }
}

#[test]
fn a_signed_cap_holds_and_is_explained() {
    if !has("curl") {
        return;
    }
    let node = Signed::start(&[]);
    let address = node.sign("endless.bin", &["--cap", "300KB/s", "--class", "background"]);
    let room = node.server.room.clone();
    let fetch = std::thread::spawn(move || {
        let mut command = std::process::Command::new("curl");
        command.args([
            "-sS",
            "--noproxy",
            "*",
            "--max-time",
            "30",
            "-o",
            "/dev/null",
            "-w",
            "%{speed_download}",
            &address,
        ]);
        command.env("HOME", room.path()).output().unwrap()
    });
    let transfer = || node.server.get("/v1/transfers")[0].clone();
    wait_until("it has its cap", 20, || {
        transfer()["achieved_bytes_per_second"].as_f64().is_some_and(|rate| (rate - 300.0 * KB).abs() < 15.0 * KB)
    });
    let seen = transfer();
    assert_eq!((&seen["cap_bytes_per_second"], &seen["class"]), (&300_000.into(), &"background".into()));
    let said = node.server.ctl(&["explain", "http:127.0.0.1"]).expect_code(0).out();
    assert!(said.contains("held by transfer_cap"), "{said}");
    node.server.ctl(&["disconnect", "http:127.0.0.1"]).expect_code(0);
    let told = String::from_utf8(fetch.join().unwrap().stdout).unwrap();
    // From its first byte on: no burst before the first plan.
    assert!(told.parse::<f64>().unwrap() < 400.0 * KB, "{told}");
}

/// The first piece of each was drawn on credit, and the debt ended with it: 1.5 MB/s at a cap of 10 KB/s.
#[test]
fn a_signed_cap_holds_for_small_things_one_after_the_other() {
    alone();
    let node = Signed::start(&[]);
    let address = node.sign("endless.bin", &["--cap", "10KB/s"]);
    let mut wire = Wire::to(&node.server);
    let began = Instant::now();
    for _ in 0..3 {
        assert_eq!(wire.ask("GET", node.target(&address), "Range: bytes=0-3999\r\n").body.len(), 4_000);
    }
    assert!(began.elapsed() >= Duration::from_millis(1_150), "12 KB in {:?}", began.elapsed());
    let began = Instant::now();
    assert_eq!(wire.ask("GET", node.target(&address), "Range: bytes=0-19\r\n").body.len(), 20);
    assert!(began.elapsed() < Duration::from_millis(500), "20 bytes in {:?}", began.elapsed());
}

#[test]
fn a_signed_weight_divides_an_addresss_rate() {
    let node = Signed::start(&["--upload-limit", "4MB/s"]);
    let mut wires = Vec::new();
    for weight in ["1", "3"] {
        let address = node.sign("endless.bin", &["--weight", weight]);
        let mut wire = Wire::to(&node.server);
        wire.say(format!("GET {} HTTP/1.1\r\nHost: h\r\n\r\n", node.target(&address)));
        wires.push(std::thread::spawn(move || {
            let mut bytes = vec![0; 1 << 16];
            while let Ok(1..) = std::io::Read::read(&mut wire.stream(), &mut bytes) {}
        }));
    }
    wait_until("one to three", 30, || {
        let transfers = node.server.get("/v1/transfers");
        let of = |weight: f64| {
            let transfer = transfers.as_array().unwrap().iter().find(|transfer| transfer["weight"] == weight);
            transfer.and_then(|transfer| transfer["achieved_bytes_per_second"].as_f64()).unwrap_or(0.0)
        };
        (2.85..3.15).contains(&(of(3.0) / of(1.0).max(1.0))) && of(1.0) > 800.0 * KB
    });
    node.server.ctl(&["disconnect", "http:127.0.0.1"]).expect_code(0);
    wires.into_iter().for_each(|wire| wire.join().unwrap());
}

#[test]
fn terms_that_are_not_the_operators_are_refused_with_words() {
    let node = Signed::start(&[]);
    let good = node.sign("file.bin", &["--weight", "3", "--cap", "5MB/s"]);
    for _ in 0..3 {
        assert_eq!(node.ask(&good).0, 206, "again and again while it holds");
    }
    let file = url(&node.server, "file.bin");
    for bad in [
        good.replace("cap-5000000", "cap-9000000"),
        good.replace("weight-3", "weight-4"),
        good.replace("file.bin", "endless.bin"),
        good[..good.len() - 2].to_owned(),
        format!("{good}&ek=weight-9"),
        format!("{file}?ek=weight-3"),
        format!("{file}?ek=until-9999999999_weight-3"),
        format!("{file}?ek"),
        format!("{file}?format=json&ek="),
    ] {
        let (status, words) = node.ask(&bad);
        assert_eq!(status, 403, "{bad}");
        assert!(words.contains("not signed by this server's operator for this path"), "{words}");
    }
    let brief = node.sign("file.bin", &["--for", "1s"]);
    wait_until("it has expired", 10, || node.ask(&brief).0 == 403);
    assert!(node.ask(&brief).1.contains("have expired"));
    assert!(node.server.metric("evenkeel_refusals_total", &["reason=\"terms\""]) >= 11.0);
    // What is no terms is nothing, as ever; and a connection goes on behind a refusal.
    let mut wire = Wire::to(&node.server);
    assert_eq!(wire.ask("GET", "/share/file.bin?eek=1&x=ek", "").status, 200);
    assert_eq!(wire.ask("HEAD", "/share/file.bin?ek=1", "").status, 403);
    assert_eq!(wire.ask("GET", "/share/file.bin", "").status, 200);
    // A directory can be signed as well, and its slash does not cost the terms.
    fs::create_dir(node.server.share().join("dir")).unwrap();
    let signed = node.sign("dir", &["--class", "background"]);
    let moved = wire.ask("GET", node.target(&signed), "");
    assert_eq!(moved.status, 301);
    let there = moved.header("location").unwrap().to_owned();
    assert!(there.starts_with("/share/dir/?ek="), "{there}");
    wire.say(format!("GET {there} HTTP/1.0\r\nHost: h\r\n\r\n"));
    assert!(wire.hear_to_the_end().starts_with("HTTP/1.1 200 "));
}

#[test]
fn a_node_without_a_key_refuses_all_terms_and_a_bad_key_stops_it() {
    if !has("curl") {
        return;
    }
    let signed = Signed::start(&[]);
    let address = signed.sign("file.bin", &[]);
    let plain = node("", &[]);
    let there = format!("http://{}{}", plain.http, signed.target(&address));
    let said = curl(&plain, &["-w", "%{http_code}", &there]).expect_code(0).out();
    assert!(said.contains("takes no signed terms") && said.ends_with("403"), "{said}");

    let sign = |key: &str, address: &str| evenkeel(&["sign", address, "--key", key]);
    let room = tempfile::tempdir().unwrap();
    let at = |name: &str, text: &str, mode: u32| {
        let path = room.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let long = "0123456789abcdef0123456789abcdef";
    let short = at("short", "secret", 0o600);
    for (key, words) in [
        (at("exposed", long, 0o644), "can read it (mode 644)"),
        (short.clone(), "has at least 32 bytes"),
        (at("huge", &long.repeat(200), 0o600), "at most 4096"),
        (room.path().join("gone").to_str().unwrap().to_owned(), "can't be read"),
    ] {
        let said = sign(&key, "/share/a").expect_code(64).err();
        assert!(said.contains(words), "{said}");
    }
    for address in ["share/a", "/", "ftp://h/share/a", "/a/../b", &address] {
        let said = sign(&signed.key, address).expect_code(2).err();
        assert!(said.contains("can't be signed"), "{said}");
    }
    let config = at("bad.toml", &format!("[http]\nlisten = \"127.0.0.1:0\"\nsigning_key_file = \"{short}\"\n"), 0o600);
    let state = room.path().join("state");
    let share = format!("s={}", plain.share().display());
    let args = ["serve", "--config", &config, "--state", state.to_str().unwrap(), "--share", &share];
    let ports = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--metrics", "127.0.0.1:0"];
    let said = evenkeel(&[&args[..], &ports].concat()).expect_code(64).err();
    assert!(said.contains("http.signing_key_file: ") && said.contains("has at least 32 bytes"), "{said}");
}
