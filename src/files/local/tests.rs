//! A client's files: chosen by its user, named by the conversation.

use std::{fs, os::unix::fs::symlink};

use actors::port::{FileEntry, FileKind};

use super::super::testing::{MIB, block_on, hash, meta, noise, pour};
use super::*;

fn files(root: &Path) -> LocalFiles {
    LocalFiles::new(&FilesConfig::new(root.join("state"))).unwrap()
}

#[test]
fn a_get_lands_where_the_user_said_and_a_put_reads_from_there() {
    let root = tempfile::tempdir().unwrap();
    let files = files(root.path());
    let (data, path) = (noise(2 * MIB + 1), root.path().join("here"));
    block_on(async {
        let (sink, resume) = files.write(&path, "data/x", meta(&data)).await.unwrap();
        assert!(resume.is_none());
        sink.start(0).await.unwrap();
        pour(&sink, &data, 0, data.len()).await.unwrap();
        sink.finish(hash(&data)).await.unwrap();
        assert_eq!(fs::read(&path).unwrap(), data);

        symlink("here", root.path().join("link")).unwrap();
        let source = files.read(&root.path().join("link")).await.unwrap();
        assert_eq!(source.hash().await.unwrap(), hash(&data));
        assert_eq!(source.read(5, 10).await.unwrap(), data[5..15]);
    });
}

#[test]
fn a_part_is_continued_for_the_same_remote_file_only() {
    let root = tempfile::tempdir().unwrap();
    let files = files(root.path());
    let (data, path) = (noise(3 * MIB), root.path().join("here"));
    block_on(async {
        for (remote, offset) in [("data/x", 0), ("data/x", 2), ("data/x", 2), ("data/y", 0)] {
            let (sink, resume) = files.write(&path, remote, meta(&data)).await.unwrap();
            let begin = resume.map_or(0, |point| point.offset);
            assert_eq!(begin, offset * MIB as u64, "{remote}");
            sink.start(begin).await.unwrap();
            pour(&sink, &data, begin as usize, 2 * MIB + 100).await.unwrap();
        }
    });
}

#[test]
fn a_name_from_the_other_side_stays_beneath() {
    let root = tempfile::tempdir().unwrap();
    let files = files(root.path());
    let into = root.path().join("into");
    fs::create_dir(&into).unwrap();
    symlink("..", into.join("up")).unwrap();
    block_on(async {
        for below in ["../x", "/etc/x", "a/../../x", "up/x", "x.part", ""] {
            let answer = files.write_beneath(&into, below, "data/x", meta(b"x")).await;
            assert!(answer.is_err(), "{below}");
        }
        let (sink, _) = files.write_beneath(&into, "a/b/x", "data/a/b/x", meta(b"x")).await.unwrap();
        sink.start(0).await.unwrap();
        pour(&sink, b"x", 0, 1).await.unwrap();
        sink.finish(hash(b"x")).await.unwrap();
        assert_eq!(fs::read(into.join("a/b/x")).unwrap(), b"x");
    });
}

#[test]
fn through_the_port_only_errands_are_served() {
    let root = tempfile::tempdir().unwrap();
    let files = files(root.path());
    let path = root.path().join("mine");
    fs::write(&path, b"mine").unwrap();
    let asked = path.to_str().unwrap().to_owned();
    block_on(async {
        assert_eq!(files.open_source(asked.clone()).await.map(|_| ()).unwrap_err().code, FailureCode::Forbidden);
        let refused = files.open_sink(asked.clone(), meta(b"x")).await.map(|_| ()).unwrap_err();
        assert_eq!(refused.code, FailureCode::Forbidden);
        let viewer = Viewer { write: true };
        assert!(files.list(String::new(), true, String::new(), viewer).await.is_err());

        files.offer("data/mine", &path);
        assert_eq!(files.open_source("data/mine".into()).await.unwrap().size(), 4);
        files.expect("data/new", &root.path().join("new")).unwrap();
        assert!(files.open_sink("data/new".into(), meta(b"x")).await.is_ok());
        files.expect_beneath("data/deep", root.path(), "a/deep").unwrap();
        assert!(files.open_sink("data/deep".into(), meta(b"x")).await.is_ok());
        assert!(files.expect_beneath("data/bad", root.path(), "../bad").is_err());
        files.forget("data/mine");
        assert!(files.open_source("data/mine".into()).await.is_err());
    });
}

#[test]
fn what_cannot_be_read_or_written_is_told_without_paths() {
    let root = tempfile::tempdir().unwrap();
    let files = files(root.path());
    block_on(async {
        let error = files.read(&root.path().join("absent")).await.map(|_| ()).unwrap_err();
        assert_eq!((error.code, error.message.as_str()), (FailureCode::NotFound, "`absent`: no such file"));
        let error = files.read(root.path()).await.map(|_| ()).unwrap_err();
        assert_eq!(error.code, FailureCode::IsDirectory);
        let error = files.read(Path::new("/dev/zero")).await.map(|_| ()).unwrap_err();
        assert_eq!(error.code, FailureCode::Forbidden);
        let nowhere = root.path().join("no/such/x");
        let error = files.write(&nowhere, "data/x", meta(b"x")).await.map(|_| ()).unwrap_err();
        assert_eq!(error.code, FailureCode::NotFound);
        assert!(!error.message.contains(root.path().to_str().unwrap()));
        let error = files.write(root.path(), "data/x", meta(b"x")).await.map(|_| ()).unwrap_err();
        assert_eq!(error.code, FailureCode::IsDirectory);
    });
}

#[test]
fn a_listing_from_the_other_side_touches_nothing_outside() {
    let room = tempfile::tempdir().unwrap();
    let files = files(room.path());
    let into = room.path().join("into");
    fs::create_dir(&into).unwrap();
    fs::write(room.path().join("x"), b"x").unwrap();
    fs::write(into.join("here"), b"here").unwrap();
    symlink("..", into.join("up")).unwrap();
    symlink("here", into.join("link")).unwrap();
    let mtime_ns = |name: &str| Stamp::of(File::open(room.path().join(name)).unwrap()).unwrap().mtime_ns;
    let entry = |name: &str, mtime_ns, kind| FileEntry::new(name, 4, mtime_ns, kind);
    let absolute = room.path().join("made").display().to_string();
    let mut entries: Vec<_> = ["", "..", "../made", "a/../../made", "up/made", &absolute, "a//b", "a\0b", "made.part"]
        .map(|name| entry(name, 0, FileKind::Directory))
        .into();
    let bad = entries.len();
    entries.push(entry("made/deep", 0, FileKind::Directory));
    let here = mtime_ns("into/here");
    for (name, mtime_ns) in [("here", here), ("link", here), ("here", here + 1), ("../x", mtime_ns("x")), ("new", 0)] {
        entries.push(entry(name, mtime_ns, FileKind::File));
    }
    let prepared = block_on(files.prepare(&into, entries)).unwrap();
    assert_eq!(prepared.faults.len(), bad, "{:?}", prepared.faults);
    assert!(into.join("made/deep").is_dir() && !room.path().join("made").exists());
    let missing: Vec<_> = prepared.missing.iter().map(|entry| entry.name.as_str()).collect();
    assert_eq!(missing, ["link", "here", "../x", "new"]);
    block_on(async {
        for below in ["../x", "/etc/x", "a/../../x", "a\0b", ""] {
            assert!(files.resume_point_beneath(&into, below, "data/x").await.is_none(), "{below}");
        }
    });
}
