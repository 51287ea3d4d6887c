//! `ls`, `get` and `put` when all goes well.

use std::{fs, os::unix::ffi::OsStrExt as _, path::Path};

use serde_json::Value;

use crate::support::{Said, Server, assert_same, noise};

const MIB: usize = 1 << 20;

#[test]
fn files_of_every_size_go_there_and_back() {
    let server = Server::start::<&str>(&[]);
    fs::create_dir(server.room.path().join("out")).unwrap();
    for (index, size) in [0, 1, MIB - 1, MIB, MIB + 1, 5 * MIB].into_iter().enumerate() {
        let name = format!("{size}.bin");
        let local = server.room.path().join(&name);
        noise(&local, size, index as u64);
        server.run(&["put", &server.path(&name), &server.at("in/")]).expect_code(0);
        assert_same(&local, server.share().join("in").join(&name));
        let back = format!("out/{name}");
        server.run(&["get", &server.at(&format!("in/{name}")), "-o", &server.path(&back)]).expect_code(0);
        assert_same(&local, server.path(&back));
    }
    assert!(parts_beneath(server.room.path()).is_empty());
}

/// Every `.part` that is left.
fn parts_beneath(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| match path.is_dir() {
            true => parts_beneath(&path),
            false => vec![path.display().to_string()],
        })
        .filter(|path| path.ends_with(".part"))
        .collect()
}

#[test]
fn several_files_go_in_one_session_over_four_links() {
    let server = Server::start::<&str>(&[]);
    let names: Vec<String> = (0..8).map(|index| format!("{index}.bin")).collect();
    for (index, name) in names.iter().enumerate() {
        noise(&server.room.path().join(name), index * 300_000 + 1, index as u64);
    }
    let locals: Vec<String> = names.iter().map(|name| server.path(name)).collect();
    let mut args: Vec<&str> = vec!["put"];
    args.extend(locals.iter().map(String::as_str));
    let target = server.at("");
    args.extend([target.as_str(), "--data-links", "4"]);
    server.run(&args).expect_code(0);
    let remotes: Vec<String> = names.iter().map(|name| server.at(name)).collect();
    let out = server.path("out");
    let mut args: Vec<&str> = vec!["get"];
    args.extend(remotes.iter().map(String::as_str));
    args.extend(["-o", &out, "--data-links", "4"]);
    let said = server.run(&args).expect_code(1).err();
    assert!(
        said.contains("`share/0.bin`: the directory that it should be written to is not there; make it first"),
        "{said}"
    );
    assert_eq!(said.matches("share/0.bin").count(), 1, "{said}");
    fs::create_dir(&out).unwrap();
    server.run(&args).expect_code(0);
    for name in &names {
        assert_same(server.path(name), server.share().join(name));
        assert_same(server.path(name), Path::new(&out).join(name));
    }
    assert!((server.metric("evenkeel_joins_total", &[]) - 3.0).abs() < 0.5);
}

#[test]
fn a_directory_that_is_named_with_a_slash_is_made() {
    let server = Server::start::<&str>(&[]);
    noise(&server.share().join("a.bin"), 10_000, 1);
    let new = server.path("new/deep/");
    server.run(&["get", &server.at("a.bin"), "-o", &new]).expect_code(0);
    assert_same(server.share().join("a.bin"), Path::new(&new).join("a.bin"));
    let impossible = format!("{}/", server.path("new/deep/a.bin/x"));
    let said = server.run(&["get", &server.at("a.bin"), "-o", &impossible]).expect_code(71).err();
    assert!(said.contains(&format!("can't make {impossible}: ")), "{said}");
}

#[test]
fn a_place_that_takes_no_files_is_not_said_of_the_node_s_file() {
    let server = Server::start::<&str>(&[]);
    noise(&server.share().join("a.bin"), 10_000, 1);
    let said = server.run(&["get", &server.at("a.bin"), "-o", "/proc/nothing"]).expect_code(1).err();
    assert!(said.contains("the directory that it should be written to is not there, or takes no files"), "{said}");
    assert!(!said.contains("no such file"), "{said}");
}

#[test]
fn a_directory_is_fetched_whole() {
    let server = Server::start::<&str>(&[]);
    fs::create_dir_all(server.share().join("tree/deep/er")).unwrap();
    let names = ["tree/a.bin", "tree/deep/b.bin", "tree/deep/er/c.bin", "tree/deep/empty"];
    for (index, name) in names.iter().enumerate() {
        noise(&server.share().join(name), if name.ends_with("empty") { 0 } else { 100_000 }, index as u64);
    }
    server.run(&["get", &server.at("tree"), "-o", &server.path("copy")]).expect_code(0);
    for name in names {
        assert_same(server.share().join(name), server.path(&name.replace("tree", "copy")));
    }
    // Links and pipes are passed over, which is no failure, and said.
    std::os::unix::fs::symlink("a.bin", server.share().join("tree/link")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, server.share().join("tree/deep/pipe"), rustix::fs::Mode::RUSR).unwrap();
    let said = server.run(&["get", &server.at("tree"), "-o", &server.path("copy")]).expect_code(0).err();
    let words = "`share/tree`: 2 names beneath it were passed over: links, pipes and devices are not moved";
    assert_eq!(said.matches(words).count(), 1, "{said}");
    assert!(!Path::new(&server.path("copy/link")).exists());
}

#[test]
fn a_share_is_fetched_whole_and_again_only_what_is_missing() {
    let server = Server::start::<&str>(&[]);
    fs::create_dir_all(server.share().join("deep/empty")).unwrap();
    let names = ["a.bin", "deep/b.bin", "deep.bin", "größe\n.bin"];
    for (index, name) in names.iter().enumerate() {
        noise(&server.share().join(name), 100_000 + index, index as u64);
    }
    let (share, copy) = (format!("{}/share", server.peers), server.path("copy"));
    let get = ["get", &share, "-o", &copy];
    let said = server.run(&get).expect_code(0).err();
    assert!(said.trim_end().ends_with("4 of 4 files: 100% of 400.0 KB, done"), "{said}");
    let same = || names.iter().for_each(|name| assert_same(server.share().join(name), Path::new(&copy).join(name)));
    same();
    assert!(Path::new(&copy).join("deep/empty").is_dir());
    // What is here is told by its hash: the one that is gone comes again, and those that changed, there or here, although
    // nobody sees it by their sizes and times.
    fs::remove_file(Path::new(&copy).join("a.bin")).unwrap();
    let time = |path: &Path| fs::metadata(path).unwrap().modified().unwrap();
    for path in [server.share().join("deep/b.bin"), Path::new(&copy).join("deep.bin")] {
        let (size, changed) = (fs::metadata(&path).unwrap().len() as usize, time(&path));
        noise(&path, size, 77);
        fs::File::options().write(true).open(&path).unwrap().set_modified(changed).unwrap();
    }
    let said = server.run(&get).expect_code(0).err();
    assert!(said.contains("1 of 4 files are here already"), "{said}");
    same();
    let said = server.run(&get).expect_code(0).err();
    assert!(said.contains("4 of 4 files are here already"), "{said}");
    assert!(said.trim_end().ends_with("4 of 4 files: 100% of 400.0 KB, done"), "{said}");
    // One that can't be written is named, and the others come.
    for name in ["a.bin", "deep.bin"] {
        fs::remove_file(Path::new(&copy).join(name)).unwrap();
    }
    fs::create_dir(Path::new(&copy).join("deep.bin")).unwrap();
    let said = server.run(&get).expect_code(1).err();
    assert!(said.contains("deep.bin") && said.contains("a directory has that name"), "{said}");
    assert_same(server.share().join("a.bin"), Path::new(&copy).join("a.bin"));
}

#[test]
fn a_file_that_is_here_is_compared_and_not_fetched_again() {
    let server = Server::start::<&str>(&[]);
    noise(&server.share().join("a.bin"), MIB + 7, 1);
    let (remote, local) = (server.at("a.bin"), server.path("a.bin"));
    let get = ["get", &remote, "-o", &local];
    let moved = || server.metric("evenkeel_payload_bytes_total", &["direction=\"upload\""]) as usize;
    server.run(&get).expect_code(0);
    assert_eq!(moved(), MIB + 7);
    let said = server.run(&get).expect_code(0).err();
    assert!(said.contains("1 of 1 files are here already"), "{said}");
    assert_eq!(moved(), MIB + 7);
    // Of the same size and another content; shorter, and the beginning of what is there; longer.
    let there = fs::read(server.share().join("a.bin")).unwrap();
    let longer = [&there[..], &[0]].concat();
    for here in [vec![0; there.len()], there[..MIB].to_vec(), longer] {
        fs::write(&local, here).unwrap();
        let before = moved();
        let said = server.run(&get).expect_code(0).err();
        assert!(!said.contains("here already"), "{said}");
        assert_same(server.share().join("a.bin"), &local);
        // Of a file whose beginning is here, a little has come from behind that when it is asked for anew.
        assert!((MIB + 7..=MIB + 14).contains(&(moved() - before)), "{}", moved() - before);
    }
    assert!(parts_beneath(server.room.path()).is_empty());
}

#[test]
fn a_node_with_few_transfers_at_once_is_asked_for_no_more() {
    let server = Server::with_config::<&str>("[sessions]\ntransfers_max = 3\n", &[]);
    fs::create_dir(server.share().join("d")).unwrap();
    (0..40).for_each(|index| noise(&server.share().join(format!("d/{index}.bin")), 10_000, index));
    let said = server.run(&["get", &server.at("d"), "-o", &server.path("out")]).expect_code(0).err();
    assert!(said.trim_end().ends_with("40 of 40 files: 100% of 400.0 KB, done"), "{said}");
    assert!(server.metric("evenkeel_failures_total", &["code=\"too_many\""]) == 0.0, "it was told the limit");
    let locals: Vec<String> = (0..40).map(|index| server.path(&format!("out/{index}.bin"))).collect();
    let target = server.at("back/");
    let args: Vec<&str> = ["put"].into_iter().chain(locals.iter().map(String::as_str)).chain([&*target]).collect();
    server.run(&args).expect_code(0);
}

#[test]
fn files_without_bytes_are_not_finished_before_they_are_started() {
    let server = Server::start::<&str>(&[]);
    let locals: Vec<String> = (0..100).map(|index| server.path(&format!("{index}.empty"))).collect();
    locals.iter().for_each(|local| noise(Path::new(local), 0, 1));
    let target = server.at("in/");
    let args: Vec<&str> = ["put"].into_iter().chain(locals.iter().map(String::as_str)).chain([&*target]).collect();
    for _ in 0..3 {
        server.run(&args).expect_code(0);
        server.run(&["get", &server.at("in"), "-o", &server.path("out")]).expect_code(0);
    }
    assert_eq!(fs::read_dir(server.path("out")).unwrap().count(), 100);
}

#[test]
fn a_directory_without_files_is_said_to_have_none() {
    let server = Server::start::<&str>(&[]);
    fs::create_dir_all(server.share().join("d/e")).unwrap();
    let said = server.run(&["get", &server.at("d"), "-o", &server.path("out")]).expect_code(0).err();
    assert!(said.contains("`share/d`: 0 files"), "{said}");
    assert!(Path::new(&server.path("out/e")).is_dir());
}

#[test]
fn a_directory_in_the_way_of_a_file_is_not_taken_for_one_there() {
    let server = Server::start::<&str>(&[]);
    noise(&server.share().join("a.bin"), 1000, 1);
    fs::create_dir_all(server.path("out/a.bin")).unwrap();
    let said = server.run(&["get", &server.at("a.bin"), "-o", &server.path("out/")]).expect_code(1).err();
    assert!(said.contains("a directory has that name"), "{said}");
}

#[test]
fn names_with_spaces_and_other_alphabets_work() {
    let server = Server::start::<&str>(&[]);
    for name in ["a file.txt", "größe.txt", "文件.bin", "a#b?c%20d", "-dash"] {
        noise(&server.room.path().join(name), 1000, 3);
        server.run(&["put", &server.path(name), &server.at("")]).expect_code(0);
        server.run(&["get", &server.at(name), "-o", &server.path("got")]).expect_code(0);
        assert_same(server.path(name), server.path("got"));
        fs::remove_file(server.path("got")).unwrap();
    }
    let listed = server.run(&["ls", &server.at("")]).expect_code(0).out();
    assert!(listed.contains("größe.txt") && listed.contains("a file.txt"), "{listed}");
}

#[test]
fn names_with_control_characters_go_there_and_back_and_never_reach_the_terminal() {
    let server = Server::start::<&str>(&[]);
    let name = "a\n\u{1b}[2J\tb.bin";
    noise(&server.room.path().join(name), 1000, 3);
    let put = server.run(&["put", &server.path(name), &server.at("")]).expect_code(0);
    let get = server.run(&["get", &server.at(name), "-o", &server.path("got")]).expect_code(0);
    assert_same(server.path(name), server.path("got"));
    let missing = server.run(&["get", &server.at(&format!("not-{name}"))]).expect_code(1);
    let shown = server.run(&["ls", &server.at("")]).expect_code(0);
    for said in [put.err(), get.err(), missing.err(), shown.err(), shown.out()] {
        assert!(!said.contains('\u{1b}'), "{said:?}");
    }
    let json = server.run(&["ls", &server.at(""), "--json"]).expect_code(0).out();
    let json: Value = serde_json::from_str(&json).unwrap();
    assert!(json.as_array().unwrap().iter().any(|entry| entry["name"] == name), "{json}");
}

#[test]
fn names_that_are_not_utf_8_are_counted_and_a_directory_with_some_is_not_had_whole() {
    let server = Server::start::<&str>(&[]);
    fs::create_dir_all(server.share().join("d/e")).unwrap();
    noise(&server.share().join("d/e/a.bin"), 1000, 1);
    for name in [&b"d/e/\xff"[..], b"d/e/b\xfe", b"d/c\xff"] {
        fs::write(server.share().join(std::ffi::OsStr::from_bytes(name)), b"x").unwrap();
    }
    let listed = server.run(&["ls", &server.at("d/e"), "--json"]).expect_code(0);
    assert!(listed.err().contains("2 names are not shown: not UTF-8"), "{}", listed.err());
    assert_eq!(serde_json::from_str::<Value>(&listed.out()).unwrap().as_array().unwrap().len(), 1);
    let out = server.path("out");
    let said = server.run(&["get", &server.at("d"), "-o", &out]).expect_code(1).err();
    assert!(said.contains("`share/d`: 1 name in it was left out: not UTF-8"), "{said}");
    assert!(said.contains("`share/d/e`: 2 names in it were left out: not UTF-8"), "{said}");
    assert_same(server.share().join("d/e/a.bin"), Path::new(&out).join("e/a.bin"));
}

#[test]
fn ls_lists_shares_directories_and_files() {
    let server = Server::start::<&str>(&[]);
    fs::create_dir(server.share().join("dir")).unwrap();
    noise(&server.share().join("dir/one.bin"), 1234, 1);
    let shares = server.run(&["ls", &server.peers]).expect_code(0).out();
    assert!(shares.contains("share"), "{shares}");
    let names = server.run(&["ls", &server.at("dir/")]).expect_code(0).out();
    assert!(names.contains("one.bin") && names.contains("1.2 KB"), "{names}");
    let json = server.run(&["ls", &server.at("dir"), "--json"]).expect_code(0).out();
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json[0]["name"], &json[0]["size"]), (&"one.bin".into(), &1234.into()), "{json}");
    let file = server.run(&["ls", &server.at("dir/one.bin")]).expect_code(0).out();
    assert!(file.contains("one.bin"), "{file}");
    let missing = server.run(&["ls", &server.at("nowhere")]).expect_code(1).err();
    assert!(missing.contains("nowhere"), "{missing}");
    let missing = server.run(&["ls", &format!("{}/music", server.peers)]).expect_code(1).err();
    assert!(missing.contains("music"), "{missing}");
}

#[test]
fn without_data_encryption_files_arrive_as_well() {
    let server = Server::with_config::<&str>("[transport]\ndata_encryption = \"off\"\n", &[]);
    noise(&server.room.path().join("a.bin"), 3 * MIB + 7, 5);
    server.run(&["put", &server.path("a.bin"), &server.at(""), "--data-links", "2"]).expect_code(0);
    server.run(&["get", &server.at("a.bin"), "-o", &server.path("back")]).expect_code(0);
    assert_same(server.path("a.bin"), server.path("back"));
}

#[test]
fn a_file_that_is_there_is_replaced_only_by_a_whole_one() {
    let server = Server::start::<&str>(&[]);
    noise(&server.share().join("a.bin"), 100_000, 1);
    noise(&server.room.path().join("out"), 200_000, 2);
    server.run(&["get", &server.at("a.bin"), "-o", &server.path("out")]).expect_code(0);
    assert_same(server.share().join("a.bin"), server.path("out"));
}

#[test]
fn lines_come_at_most_once_a_second_when_nobody_watches() {
    let server = Server::start(&["--upload-limit", "1MB/s"]);
    noise(&server.share().join("a.bin"), 3_500_000, 1);
    let began = std::time::Instant::now();
    let said = server.run(&["get", &server.at("a.bin"), "-o", &server.path("out")]).expect_code(0).err();
    let seconds = began.elapsed().as_secs();
    let lines = said.lines().filter(|line| line.contains("% of ")).count() as u64;
    // The last state is a line of its own.
    assert!(lines >= 2 && lines <= seconds + 1, "{lines} lines in {seconds} s:\n{said}");
    assert!(said.contains("MB/s") || said.contains("KB/s"), "{said}");
    assert!(said.trim_end().ends_with("100% of 3.5 MB, done"), "{said}");
    assert!(!said.contains('\u{1b}') && !said.contains('\r'), "{said:?}");
}

#[test]
fn files_with_the_longest_names_go_both_ways() {
    let server = Server::start(&["--open"]);
    // 251 bytes and more leave no room for `.part`; letters of two bytes are counted as two.
    for name in ["n".repeat(251), "n".repeat(255), "\u{fc}".repeat(127)] {
        noise(&server.share().join(&name), 300_000, 7);
        let got = server.room.path().join("got");
        server.run(&["get", &server.at(&name), "-o", &format!("{}/", got.display())]).expect_code(0);
        assert_same(server.share().join(&name), got.join(&name));
        server.run(&["put", got.join(&name).to_str().unwrap(), &server.at("back/")]).expect_code(0);
        assert_same(server.share().join(&name), server.share().join("back").join(&name));
        let left: Vec<_> = std::fs::read_dir(&got).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(left.iter().all(|name| !name.to_string_lossy().ends_with(".part")), "{left:?}");
    }
}

#[test]
fn who_asks_for_more_data_links_than_there_are_is_told_so() {
    let server = Server::with_config("[sessions]\nmax_data_links = 3\n", &["--open"]);
    noise(&server.share().join("a.bin"), 300_000, 7);
    let get = |links: &str| {
        server.run(&["get", &server.at("a.bin"), "-o", &server.path(links), "--data-links", links]).expect_code(0).err()
    };
    assert!(get("64").contains("the node grants 3 data links, not 64"));
    assert!(!get("3").contains("data links"));
    let said = server.run(&["get", &server.at("a.bin"), "--data-links", "65"]).expect_code(2).err();
    assert!(said.contains("65 is not in 1..=64"), "{said}");
}
