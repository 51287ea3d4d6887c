//! Files and disks that go wrong: the reason is said, the exit code is 1, and nobody else notices.

use std::{
    fs::{self, OpenOptions},
    io::{Seek, SeekFrom, Write},
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
    process::Command,
    sync::Arc,
};

use crate::support::{Client, Said, Server, assert_same, noise, wait_until};

const SIZE: usize = 6 << 20;
const SLOW: &str = "2MB/s";

/// What is done to a file while it is sent.
type Deed = fn(&Path);

fn shrink(path: &Path) {
    OpenOptions::new().write(true).open(path).unwrap().set_len(1 << 20).unwrap();
}

fn change(path: &Path) {
    let mut file = OpenOptions::new().write(true).open(path).unwrap();
    file.seek(SeekFrom::End(-10)).unwrap();
    file.write_all(b"changed").unwrap();
}

const DEEDS: [(&str, Deed, &str); 2] = [
    ("shrunk.bin", shrink, "became shorter while it was sent"),
    ("changed.bin", change, "was changed while it was sent"),
];

/// Plaintext data links that are in bulk mode from the first piece on: the kernel sends the file's pages.
const PAGES: &str =
    "[transport]\ndata_encryption = \"off\"\nsendfile = \"on\"\n[shaping]\nbulk_on = \"2B/s\"\nbulk_off = \"1B/s\"\n";

#[test]
fn a_file_that_changes_while_it_is_fetched_fails_alone() {
    files_change_while_they_are_fetched(&Server::start(&["--upload-limit", SLOW]));
}

#[test]
fn a_file_that_changes_while_the_kernel_sends_it_fails_alone() {
    let server = Server::with_config(PAGES, &["--upload-limit", SLOW]);
    files_change_while_they_are_fetched(&server);
    assert!(server.metric("evenkeel_mode_switches_total", &["upload", "to=\"bulk\""]) > 0.0);
}

fn files_change_while_they_are_fetched(server: &Server) {
    noise(&server.share().join("good.bin"), 1 << 20, 3);
    for (name, deed, reason) in DEEDS {
        noise(&server.share().join(name), SIZE, 1);
        fs::create_dir(server.path(&format!("out-{name}"))).unwrap();
        let (out, bad, good) = (server.path(&format!("out-{name}")), server.at(name), server.at("good.bin"));
        let client = server.spawn(&["get", &bad, &good, "-o", &out]);
        wait_until("it has begun", 20, || {
            fs::metadata(format!("{out}/{name}.part")).is_ok_and(|meta| meta.len() >= 1 << 19)
        });
        deed(&server.share().join(name));
        let (code, words) = client.wait(40);
        assert_eq!(code, 1, "{words}");
        assert!(words.contains(reason) && words.contains(name), "{words}");
        assert!(!Path::new(&out).join(name).exists());
        assert_same(server.share().join("good.bin"), Path::new(&out).join("good.bin"));
        // Asking again gets the file as it is now.
        server.ctl(&["limit", "--upload", "off"]).expect_code(0);
        server.run(&["get", &bad, "-o", &out]).expect_code(0);
        assert_same(server.share().join(name), Path::new(&out).join(name));
        server.ctl(&["limit", "--upload", SLOW]).expect_code(0);
    }
}

#[test]
fn a_file_that_changes_while_it_is_put_fails_alone() {
    let server = Server::start(&["--download-limit", SLOW]);
    noise(Path::new(&server.path("good.bin")), 1 << 20, 3);
    for (name, deed, reason) in DEEDS {
        let (local, good, to) = (server.path(name), server.path("good.bin"), server.at(&format!("in-{name}/")));
        noise(Path::new(&local), SIZE, 1);
        let client = server.spawn(&["put", &local, &good, &to]);
        let into = server.share().join(format!("in-{name}"));
        wait_until("it has begun", 20, || {
            fs::metadata(into.join(format!("{name}.part"))).is_ok_and(|meta| meta.len() >= 1 << 19)
        });
        deed(Path::new(&local));
        let (code, words) = client.wait(40);
        assert_eq!(code, 1, "{words}");
        assert!(words.contains(reason) && words.contains(name), "{words}");
        assert!(!into.join(name).exists());
        assert_same(&good, into.join("good.bin"));
    }
}

#[test]
fn files_that_cannot_be_had_are_named_and_the_others_come() {
    let server = Server::start::<&str>(&[]);
    noise(&server.share().join("good.bin"), 1000, 3);
    noise(Path::new(&server.path("secret")), 1000, 4);
    symlink(server.path("secret"), server.share().join("link")).unwrap();
    let out = server.path("out");
    fs::create_dir(&out).unwrap();
    let (missing, link, good) = (server.at("missing.bin"), server.at("link"), server.at("good.bin"));
    let said = server.run(&["get", &missing, &link, &good, "-o", &out]);
    // A link is forbidden, and the greatest code wins.
    assert_eq!(said.code(), 77, "{}", said.err());
    let said = said.err();
    assert!(said.contains("missing.bin") && said.contains("no such file"), "{said}");
    assert!(said.contains("links are not followed"), "{said}");
    assert_same(server.share().join("good.bin"), Path::new(&out).join("good.bin"));
    let listed = server.run(&["ls", &link]).expect_code(77).err();
    assert!(listed.contains("links are not followed"), "{listed}");
    let said = server.run(&["get", &missing]).expect_code(1).err();
    assert!(said.contains("`evenkeel ls` shows what is there"), "{said}");
    for path in ["../secret", "a/../../secret", "./good.bin"] {
        let said = server.run(&["get", &server.at(path), "-o", &out]);
        assert_ne!(said.code(), 0, "{path}");
        assert!(!said.err().contains("panicked"), "{}", said.err());
    }
    let said = server.run(&["put", &server.path("no-such-file"), &server.at("")]).expect_code(1).err();
    assert!(said.contains("no-such-file") && said.contains("no such file"), "{said}");
    let said = server.run(&["put", &server.path("share"), &server.at("")]).expect_code(1).err();
    assert!(said.contains("director"), "{said}");
    let said = server.run(&["get", &good, "-o", &server.path("no/such/directory/x")]);
    assert_eq!(said.code(), 1, "{}", said.err());
    let nowhere = server.run(&["get", &format!("{}/music/a.mp3", server.peers)]).expect_code(1).err();
    assert!(nowhere.contains("music"), "{nowhere}");
}

#[test]
fn a_get_that_fails_at_once_and_a_listing_leave_no_refusals() {
    for config in ["", "[transport]\ndata_encryption = \"off\"\n"] {
        let server = Server::with_config::<&str>(config, &[]);
        for _ in 0..12 {
            server.run(&["get", &server.at("missing"), "-o", &server.path("x"), "--data-links", "4"]).expect_code(1);
            server.run(&["ls", &server.at("")]).expect_code(0);
        }
        assert_eq!(server.metric("evenkeel_refusals_total", &[]), 0.0, "{}", server.page());
    }
}

#[test]
fn what_is_no_file_cannot_be_put() {
    let server = Server::start::<&str>(&[]);
    let fifo = server.path("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RUSR).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(server.path("socket")).unwrap();
    for path in [fifo, server.path("socket"), "/dev/null".to_owned()] {
        let said = server.run(&["put", &path, &server.at("")]).expect_code(1).err();
        assert!(said.contains("not a regular file; name a file"), "{said}");
    }
}

/// Makes root an ordinary user where files are concerned; `None` (and words) where that cannot be done.
fn without_override() -> Option<Vec<String>> {
    if !rustix::process::geteuid().is_root() {
        return Some(Vec::new());
    }
    let wrapper = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search", "--inh-caps", "-all", "--"];
    let works = Command::new(wrapper[0]).args(&wrapper[1..]).arg("true").output().is_ok_and(|out| out.status.success());
    if !works {
        eprintln!("skipped: root reads everything, and there is no setpriv here");
        return None;
    }
    Some(wrapper.map(str::to_owned).to_vec())
}

#[test]
fn an_unreadable_file_is_said_to_be_so() {
    let Some(wrapper) = without_override() else { return };
    let room = Arc::new(tempfile::tempdir().unwrap());
    let server = Server::start_under::<_, &str>(&wrapper, room, &[]);
    for path in [server.share().join("a.bin"), server.room.path().join("b.bin")] {
        noise(&path, 1000, 1);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    }
    noise(&server.share().join("good.bin"), 1000, 2);
    let (bad, good, out) = (server.at("a.bin"), server.at("good.bin"), server.path("out"));
    fs::create_dir(&out).unwrap();
    let said = server.run(&["get", &bad, &good, "-o", &out]).expect_code(1).err();
    assert!(said.contains("a.bin") && said.contains("permission denied"), "{said}");
    assert_eq!(server.metric("evenkeel_failures_total", &["code=\"unreadable\""]), 1.0);
    assert!(!said.contains(server.room.path().to_str().unwrap()), "a path of the node's machine: {said}");
    assert_same(server.share().join("good.bin"), Path::new(&out).join("good.bin"));
    let put =
        Client::spawn_under(&wrapper, &["put", &server.path("b.bin"), &server.at(""), "--state", &server.owner()]);
    let (code, words) = put.wait(20);
    assert_eq!(code, 1, "{words}");
    assert!(words.contains("b.bin") && words.contains("permission denied"), "{words}");
}

#[test]
fn a_directory_that_the_node_cannot_read_is_named_and_the_others_come() {
    let Some(wrapper) = without_override() else { return };
    let room = Arc::new(tempfile::tempdir().unwrap());
    let server = Server::start_under::<_, &str>(&wrapper, room, &[]);
    let deep = format!("d/{}", vec!["x"; 80].join("/"));
    for (directory, mode) in [("d/closed", 0o000), ("d/names-only", 0o444), (deep.as_str(), 0o755), ("d/empty", 0o755)]
    {
        let directory = server.share().join(directory);
        fs::create_dir_all(&directory).unwrap();
        if !directory.ends_with("empty") {
            noise(&directory.join("a.bin"), 1000, 1);
        }
        fs::set_permissions(&directory, fs::Permissions::from_mode(mode)).unwrap();
    }
    let (remote, out) = (server.at("d"), server.path("out"));
    let said = server.run(&["get", &remote, "-o", &out]).expect_code(1).err();
    for name in ["closed", "names-only"] {
        assert!(said.contains(&format!("`share/d/{name}`: what is in it was left out: ")), "{said}");
        let said = server.run(&["ls", &server.at(&format!("d/{name}"))]).expect_code(1).err();
        assert!(said.contains("permission denied"), "{said}");
    }
    assert_eq!(said.matches("was left out").count(), 2, "{said}");
    assert!(Path::new(&out).join("empty").is_dir());
    let deep = format!("{deep}/a.bin");
    assert_same(server.share().join(&deep), Path::new(&out).join(&deep[2..]));
    for name in ["closed", "names-only"] {
        fs::set_permissions(server.share().join("d").join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    server.run(&["get", &remote, "-o", &out]).expect_code(0);
}

#[test]
fn what_is_too_deep_for_a_path_is_said_and_the_rest_comes() {
    let server = Server::start::<&str>(&[]);
    // With the share and the directory above them.
    let deepest = format!("d/{}", vec!["x"; 253].join("/"));
    let beyond = server.share().join(&deepest).join("x/x");
    fs::create_dir_all(&beyond).unwrap();
    noise(&beyond.join("b.bin"), 1000, 1);
    noise(&server.share().join(&deepest).join("a.bin"), 1000, 2);
    let out = server.path("out");
    let said = server.run(&["get", &server.at("d"), "-o", &out]).expect_code(1).err();
    assert!(said.contains("1 name in it was left out") && said.contains("too long for a path"), "{said}");
    assert_same(server.share().join(&deepest).join("a.bin"), Path::new(&out).join(&deepest[2..]).join("a.bin"));
    let local = Path::new(&out).join(&deepest[2..]).join("a.bin").display().to_string();
    let said = server.run(&["put", &local, &server.at(&vec!["y"; 2000].join("/"))]).expect_code(1).err();
    assert!(said.contains("more than 256 names"), "{said}");
}

/// A disk of 2 MiB at `directory`, seen by the program alone; `None` (and words) where that cannot be had.
fn on_a_small_disk(directory: &str) -> Option<Vec<String>> {
    let script = "mount -t tmpfs -o size=2m,mode=0777 none \"$0\" && exec \"$@\"";
    let mut wrapper: Vec<String> = ["unshare", "--mount"].map(str::to_owned).to_vec();
    if !rustix::process::geteuid().is_root() {
        wrapper.extend(["--user", "--map-root-user"].map(str::to_owned));
    }
    wrapper.extend(["sh", "-c", script, directory].map(str::to_owned));
    let works =
        Command::new(&wrapper[0]).args(&wrapper[1..]).arg("true").output().is_ok_and(|out| out.status.success());
    if !works {
        eprintln!("skipped: a small disk cannot be mounted here");
        return None;
    }
    Some(wrapper)
}

#[test]
fn a_full_disk_at_the_node_fails_that_put_alone() {
    let room = Arc::new(tempfile::tempdir().unwrap());
    let small = room.path().join("small");
    fs::create_dir(&small).unwrap();
    fs::create_dir(room.path().join("share")).unwrap();
    let Some(wrapper) = on_a_small_disk(small.to_str().unwrap()) else { return };
    let shares = ["share", "small"].map(|name| format!("{name}={}", room.path().join(name).display()));
    let args = ["--share", &shares[0], "--share", &shares[1], "--upload-limit", SLOW, "--download-limit", "1MB/s"];
    let server = Server::start_under(&wrapper, room, &args);
    noise(&server.share().join("other.bin"), SIZE / 2, 1);
    let other = server.spawn(&["get", &server.at("other.bin"), "-o", &server.path("other.bin")]);
    for (name, size) in [("large.bin", SIZE), ("tight.bin", 1_500_000), ("small.bin", 50_000), ("late.bin", 900_000)] {
        noise(Path::new(&server.path(name)), size, 2);
    }
    let small = format!("{}/small/", server.peers);
    // Known to be too large before a byte is sent.
    let (large, little) = (server.path("large.bin"), server.path("small.bin"));
    let said = server.run(&["put", &large, &little, &small]).expect_code(1).err();
    assert!(said.contains("large.bin") && said.contains("disk is full"), "{said}");
    assert_eq!(server.metric("evenkeel_failures_total", &["code=\"disk_full\""]), 1.0);
    // Each fits when it begins, both do not.
    let tight = server.spawn(&["put", &server.path("tight.bin"), &small]);
    wait_until("it has begun", 20, || {
        !server.get("/v1/transfers").as_array().unwrap().iter().all(|t| t["path"] != "small/tight.bin")
    });
    let late = server.spawn(&["put", &server.path("late.bin"), &small]);
    let ends = [tight.wait(40), late.wait(40)];
    assert!(ends.iter().any(|(code, words)| *code == 1 && words.contains("disk is full")), "{ends:?}");
    let listed = server.run(&["ls", &small]).expect_code(0).out();
    assert!(listed.contains("small.bin") && !listed.contains("large.bin"), "{listed}");
    let (code, words) = other.wait(40);
    assert_eq!(code, 0, "{words}");
    assert_same(server.share().join("other.bin"), server.path("other.bin"));
}

#[test]
fn a_full_disk_at_the_client_fails_that_get_alone() {
    let server = Server::start::<&str>(&[]);
    let small = server.path("small");
    fs::create_dir(&small).unwrap();
    let Some(wrapper) = on_a_small_disk(&small) else { return };
    noise(&server.share().join("large.bin"), SIZE, 1);
    noise(&server.share().join("small.bin"), 50_000, 2);
    let (large, little, state) = (server.at("large.bin"), server.at("small.bin"), server.owner());
    let args = ["get", &large, &little, "-o", &small, "--state", &state];
    let (code, words) = Client::spawn_under(&wrapper, &args).wait(30);
    assert_eq!(code, 1, "{words}");
    assert!(words.contains("large.bin") && words.contains("disk is full"), "{words}");
    assert!(words.contains("1 of 2 files") && words.contains("1 failed"), "{words}");
}

#[test]
fn a_share_of_the_configuration_is_read_only_unless_it_says_so() {
    let room = Arc::new(tempfile::tempdir().unwrap());
    fs::create_dir(room.path().join("mirror")).unwrap();
    let config = room.path().join("evenkeel.toml");
    fs::write(&config, "[[share]]\nname = \"mirror\"\npath = \"mirror\"\n").unwrap();
    let server = Server::start_in(room, &["--config", config.to_str().unwrap()]);
    noise(Path::new(&server.path("a.bin")), 1000, 1);
    let said = server.run(&["put", &server.path("a.bin"), &format!("{}/mirror/", server.peers)]).expect_code(77).err();
    assert!(said.contains("`mirror/a.bin`: the share `mirror` takes no files"), "{said}");
}
