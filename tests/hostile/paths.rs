//! Paths over the wire: nothing leaves the share, nothing outside is read, written or even told.

use std::{collections::BTreeMap, fs, os::unix::fs::symlink};

use wire::{FailureCode, List, Listing, Message, Put};

use crate::{
    foe::{Control, Foe, get},
    stage::{Counts, Neighbour, node, serves_on},
    support::Server,
};

const SECRET: &str = "nobody may read this";

/// What leads out of `share/`, and into what is not to be had.
fn escapes(server: &Server) -> Vec<String> {
    let room = server.room.path();
    fs::write(room.join("secret"), SECRET).unwrap();
    let share = server.share();
    symlink("../secret", share.join("link")).unwrap();
    symlink(room.join("secret"), share.join("absolute-link")).unwrap();
    symlink("..", share.join("up")).unwrap();
    symlink("/proc/self/root", share.join("slash")).unwrap();
    symlink("loop", share.join("loop")).unwrap();
    fs::write(share.join("unfinished.part"), SECRET).unwrap();
    let mut paths: Vec<String> = [
        "share/../secret",
        "../secret",
        "..",
        ".",
        "",
        "/",
        "share/",
        "share//small",
        "share/./small",
        "/share/small",
        "share/../share/small",
        "share/sub/../../secret",
        "share/link",
        "share/absolute-link",
        "share/up/secret",
        "share/slash/etc/passwd",
        "share/loop",
        "share/loop/x",
        "share/unfinished.part",
        "share/unfinished.PART",
        "share/small\0",
        "share/\0",
        "share/sm\0all",
        "share/..\\secret",
        "share/small/x",
        "share",
        "none/small",
        "share\0/small",
        "file:///etc/passwd",
        "share/%2e%2e/secret",
        "share/\u{ff0e}\u{ff0e}/secret",
        "share/~/x",
    ]
    .map(str::to_owned)
    .into();
    paths.push(room.join("secret").display().to_string());
    paths.push(format!("share/{}", room.join("secret").display()));
    paths.push(format!("share/{}", "x".repeat(256)));
    paths.push(format!("share/{}", "x/".repeat(2000)));
    paths.push(format!("share/{}x", "../".repeat(1360)));
    paths
}

/// No words may tell what is outside, or where the share lies.
#[track_caller]
fn tells_nothing(server: &Server, words: &str) {
    let room = server.room.path().display().to_string();
    assert!(!words.contains(SECRET) && words.len() <= 1024, "{words}");
    assert!(!words.replace(&format!("{room}/secret"), "").contains(&room), "{words}");
    assert!(!words.chars().any(char::is_control), "{words:?}");
}

#[test]
fn no_path_leaves_the_share() {
    let server = node("");
    let neighbour = Neighbour::getting(&server);
    let paths = escapes(&server);
    let (mut control, mut data) = Foe::owner(&server).session_with_data();
    let mut number = 0;
    let counts = Counts::of(&server);
    let before = FailureCode::ALL.map(|code| counts.failures(code));
    let mut told: BTreeMap<&str, usize> = BTreeMap::new();
    for path in &paths {
        number += 1;
        control.say(&get(number, path, 1 << 20));
        let failed = control.expect_failed(number);
        tells_nothing(&server, &failed.message);
        let expected = [
            FailureCode::BadPath,
            FailureCode::NotFound,
            FailureCode::Forbidden,
            FailureCode::IsDirectory,
            FailureCode::Unreadable,
        ];
        assert!(expected.contains(&failed.code()), "{path:?}: {failed:?}");
        *told.entry(failed.code().as_str()).or_default() += 1;
    }
    for path in paths.iter().filter(|path| *path != "share/unfinished.part" && !path.is_empty()) {
        let listing = list(&mut control, number + 1, path, "");
        number += 1;
        let names: Vec<&str> = listing.entries.iter().map(|entry| entry.name.as_str()).collect();
        assert!(
            !names.contains(&"secret") && !names.contains(&"etc") && !names.contains(&"state"),
            "{path:?}: {names:?}"
        );
        if let Some(error) = listing.error {
            tells_nothing(&server, &error.message);
            *told.entry(error.code().as_str()).or_default() += 1;
        }
    }
    for after in ["../", "\0", "..", &"x".repeat(4096)] {
        let listing = list(&mut control, number + 1, "share", after);
        number += 1;
        if let Some(error) = &listing.error {
            *told.entry(error.code().as_str()).or_default() += 1;
        }
        assert!(listing.entries.iter().all(|entry| !entry.name.contains('/')), "{after:?}: {listing:?}");
    }
    let outside = tree(server.room.path());
    for path in
        paths.iter().filter(|path| !["share/link", "share/absolute-link", "share/loop"].contains(&path.as_str()))
    {
        if ["share/..\\secret", "share/%2e%2e/secret", "share/\u{ff0e}\u{ff0e}/secret", "share/~/x"]
            .contains(&path.as_str())
        {
            continue; // These are plain names, however they look.
        }
        number += 1;
        control.say(&Message::Put(Put { transfer: number, path: path.clone(), size: 3, ..Put::default() }));
        let failed = control.expect_failed(number);
        tells_nothing(&server, &failed.message);
        *told.entry(failed.code().as_str()).or_default() += 1;
    }
    for (code, before) in FailureCode::ALL.into_iter().zip(before) {
        let times = told.get(code.as_str()).copied().unwrap_or_default();
        assert_eq!(counts.failures(code) - before, times as f64, "{}", code.as_str());
    }
    assert_eq!(tree(server.room.path()), outside, "a put left something outside the share");
    // All that was bad input, not a breach: the session lives and gets what it may.
    number += 1;
    control.say(&get(number, "share/small", 1 << 20));
    assert_eq!(data.receive().map(|(header, _)| header.transfer), Some(number));
    assert_eq!(fs::read_to_string(server.room.path().join("secret")).unwrap(), SECRET);
    serves_on(&server);
    neighbour.was_undisturbed();
}

/// None of them opens a transfer, so none is among the transfers that ended.
#[test]
fn what_fails_before_it_is_opened_is_counted_by_its_code() {
    let server = node("transfers_max = 2\n");
    let counts = Counts::of(&server);
    escapes(&server);
    let gets = [
        ("share/../secret", FailureCode::BadPath),
        ("/etc/passwd", FailureCode::BadPath),
        ("share/link", FailureCode::Forbidden),
        ("share/none", FailureCode::NotFound),
        ("none/small", FailureCode::NotFound),
        ("share", FailureCode::IsDirectory),
    ];
    let mut owner = Foe::owner(&server).session();
    let mut number = 0;
    for (path, code) in gets {
        number += 1;
        counts.failed(code, 1, || {
            owner.say(&get(number, path, 0));
            assert_eq!(owner.expect_failed(number).code(), code, "{path}");
        });
    }
    for (path, code) in [("share/../", FailureCode::BadPath), ("share/none", FailureCode::NotFound)] {
        number += 1;
        counts.failed(code, 1, || {
            assert_eq!(list(&mut owner, number, path, "").error.map(|error| error.code()), Some(code), "{path}");
        });
    }
    let puts = [("share/vast", u64::MAX, FailureCode::DiskFull), ("share/../new", 3, FailureCode::BadPath)];
    for (path, size, code) in puts {
        number += 1;
        counts.failed(code, 1, || {
            owner.say(&Message::Put(Put { transfer: number, path: path.into(), size, ..Put::default() }));
            assert_eq!(owner.expect_failed(number).code(), code, "{path}");
        });
    }
    counts.failed(FailureCode::Forbidden, 1, || {
        let mut stranger = Foe::stranger(&server).session();
        stranger.say(&Message::Put(Put { transfer: 1, path: "share/new".into(), size: 3, ..Put::default() }));
        assert_eq!(stranger.expect_failed(1).code(), FailureCode::Forbidden);
    });
    assert_eq!(server.metric("evenkeel_transfers_ended_total", &[]), 0.0, "nothing was opened");
    counts.failed(FailureCode::TooMany, 1, || {
        // Without a window the first two stay open.
        for transfer in number + 1..=number + 3 {
            owner.say(&get(transfer, "share/small", 0));
        }
        assert_eq!(owner.expect_failed(number + 3).code(), FailureCode::TooMany);
    });
    serves_on(&server);
}

#[test]
fn a_put_to_a_share_that_takes_no_files_is_counted() {
    let kept = "[[share]]\nname = \"kept\"\npath = \"share\"\nwritable = false\n";
    let server = Server::with_config(kept, &["--open"]);
    fs::write(server.share().join("small"), "small").unwrap();
    let mut owner = Foe::owner(&server).session();
    Counts::of(&server).failed(FailureCode::ReadOnly, 1, || {
        owner.say(&Message::Put(Put { transfer: 1, path: "kept/new".into(), size: 3, ..Put::default() }));
        assert_eq!(owner.expect_failed(1).code(), FailureCode::ReadOnly);
    });
    serves_on(&server);
}

/// Where a link stands, a put replaces the link or refuses; it never writes through it.
#[test]
fn a_put_onto_a_link_does_not_write_through_it() {
    let server = node("");
    escapes(&server);
    for name in ["link", "absolute-link"] {
        let _ = server.run(&["put", server.share().join("small").to_str().unwrap(), &server.at(name)]);
        assert_eq!(fs::read_to_string(server.room.path().join("secret")).unwrap(), SECRET);
    }
    serves_on(&server);
}

fn list(control: &mut Control, request: u32, path: &str, after: &str) -> Listing {
    control.say(&Message::List(List { request, path: path.into(), after: after.into(), ..List::default() }));
    control.await_message(|message| match message {
        Message::Listing(listing) if listing.request == request => Some(listing.clone()),
        _ => None,
    })
}

/// Names in the test's directory, without what belongs to the neighbour and to the share.
fn tree(room: &std::path::Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(room).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.retain(|name| !name.starts_with("neighbour"));
    names.sort();
    names
}

#[test]
fn huge_and_odd_names_are_listed_in_pages_or_left_out() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};
    let server = node("");
    let neighbour = Neighbour::getting(&server);
    let many = server.share().join("many");
    fs::create_dir(&many).unwrap();
    for number in 0..700 {
        fs::write(many.join(format!("{number:0250}")), "").unwrap();
    }
    fs::write(many.join("line\nbreak\x1b[2J"), "").unwrap();
    fs::write(many.join(OsStr::from_bytes(b"not-\xff\xfe-utf8")), "").unwrap();
    let mut control = Foe::stranger(&server).session();
    let (mut names, mut after) = (Vec::new(), String::new());
    for request in 1..100 {
        let page = list(&mut control, request, "share/many", &after);
        assert!(page.error.is_none(), "{:?}", page.error);
        names.extend(page.entries.into_iter().map(|entry| entry.name));
        after = names.last().unwrap().clone();
        if !page.more {
            break;
        }
    }
    assert_eq!(names.len(), 701, "all that are UTF-8");
    let hidden = || server.metric("evenkeel_names_hidden_total", &[]);
    assert_eq!(hidden(), 1.0, "once, however many pages there are");
    list(&mut control, 100, "share/many", "");
    assert_eq!(hidden(), 2.0, "and again for who begins again");
    assert!(names.windows(2).all(|pair| pair[0] < pair[1]));
    // What a terminal is shown cannot move its cursor.
    let shown = server.run_as("newcomer", &["ls", &server.at("many")]);
    assert!(!shown.stdout.contains(&0x1b), "an escape sequence reached the terminal");
    serves_on(&server);
    neighbour.was_undisturbed();
}
