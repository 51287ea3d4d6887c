//! A client's files: chosen by its user, named by the conversation.

use std::{fs, os::unix::fs::symlink};

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
        let (sink, resume) = files.write(&path, "data/x", meta(&data), Already::Nothing).await.unwrap();
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
            let (sink, resume) = files.write(&path, remote, meta(&data), Already::Nothing).await.unwrap();
            let begin = resume.map_or(0, |point| point.offset);
            assert_eq!(begin, offset * MIB as u64, "{remote}");
            sink.start(begin).await.unwrap();
            pour(&sink, &data, begin as usize, 2 * MIB + 100).await.unwrap();
        }
    });
}

/// The record was read while the session before wrote it down; the part was at another place then, and the file fetched anew.
#[test]
fn a_part_whose_session_just_ended_is_as_long_as_its_last_record_says() {
    let root = tempfile::tempdir().unwrap();
    let files = files(root.path());
    let (data, path) = (noise(3 * MIB), root.path().join("here"));
    block_on(async {
        let (sink, _) = files.write(&path, "data/x", meta(&data), Already::Nothing).await.unwrap();
        sink.start(0).await.unwrap();
        pour(&sink, &data, 0, 2 * MIB + 100).await.unwrap();
        let (busy, rest) = std::sync::mpsc::channel::<()>();
        let rest = Arc::new(std::sync::Mutex::new(rest));
        // The disk is so slow that the record waits.
        for _ in 0..64 {
            let rest = rest.clone();
            let job = move || assert!(rest.lock().unwrap().recv().is_err());
            let _ = files.tools.pool.detach(Lane::Patient, job);
        }
        drop(sink);
        let looking = tokio::spawn(files.already(&path, "data/x"));
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        assert!(!looking.is_finished());
        drop(busy);
        let asked = looking.await.unwrap().resume_point().unwrap();
        let (_, resume) = files.write(&path, "data/x", meta(&data), Already::Part(asked)).await.unwrap();
        assert_eq!((asked.offset, resume.unwrap().offset), (2 * MIB as u64, 2 * MIB as u64));
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
            let answer = files.write_beneath(&into, below, "data/x", meta(b"x"), Already::Nothing).await;
            assert!(answer.is_err(), "{below}");
        }
        let opened = files.write_beneath(&into, "a/b/x", "data/a/b/x", meta(b"x"), Already::Nothing).await;
        let (sink, _) = opened.unwrap();
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
        assert_eq!(error.code, FailureCode::BadPath, "nobody has refused it");
        let nowhere = root.path().join("no/such/x");
        let error = files.write(&nowhere, "data/x", meta(b"x"), Already::Nothing).await.map(|_| ()).unwrap_err();
        assert_eq!(error.code, FailureCode::NotFound);
        assert!(!error.message.contains(root.path().to_str().unwrap()));
        let error = files.write(root.path(), "data/x", meta(b"x"), Already::Nothing).await.map(|_| ()).unwrap_err();
        assert_eq!(error.code, FailureCode::IsDirectory);
    });
}

#[test]
fn a_listing_from_the_other_side_touches_nothing_outside() {
    let room = tempfile::tempdir().unwrap();
    let files = files(room.path());
    let into = room.path().join("into");
    fs::create_dir(&into).unwrap();
    fs::write(room.path().join("x"), b"here").unwrap();
    fs::write(into.join("here"), b"here").unwrap();
    symlink("..", into.join("up")).unwrap();
    symlink("here", into.join("link")).unwrap();
    let absolute = room.path().join("made").display().to_string();
    let mut names: Vec<_> = ["", "..", "../made", "a/../../made", "up/made", &absolute, "a//b", "a\0b", "made.part"]
        .map(str::to_owned)
        .into();
    let bad = names.len();
    names.push("made/deep".to_owned());
    let faults = block_on(files.make_beneath(&into, names)).unwrap();
    assert_eq!(faults.len(), bad, "{faults:?}");
    assert!(into.join("made/deep").is_dir() && !room.path().join("made").exists());
    block_on(async {
        for below in ["../x", "/etc/x", "a/../../x", "up/x", "a\0b", "", "link", "made", "new"] {
            assert!(matches!(files.already_beneath(&into, below, "data/x", 4).await, Already::Nothing), "{below}");
        }
        assert!(matches!(files.already_beneath(&into, "here", "data/x", 4).await, Already::Whole(_)));
    });
}

#[test]
fn a_finished_file_stays_when_the_node_has_the_same() {
    let root = tempfile::tempdir().unwrap();
    let files = files(root.path());
    let (data, path) = (noise(MIB + 5), root.path().join("here"));
    fs::write(&path, &data).unwrap();
    block_on(async {
        let already = files.already(&path, "data/x").await;
        let asked = already.resume_point().unwrap();
        assert_eq!((asked.offset, asked.hash.0), (data.len() as u64, hash(&data)));
        let (sink, resume) = files.write(&path, "data/x", meta(&data), already).await.unwrap();
        assert_eq!(resume.unwrap().offset, asked.offset);
        let inode = Stamp::of(File::open(&path).unwrap()).unwrap().inode;
        sink.start(asked.offset).await.unwrap();
        assert_eq!(sink.write(asked.offset, "x".into()).await.unwrap_err().code, FailureCode::Internal);
        sink.finish(hash(&data)).await.unwrap();
        let now = Stamp::of(File::open(&path).unwrap()).unwrap();
        assert_eq!((now.inode, now.mtime_ns), (inode, meta(&data).mtime_ns), "not touched but for its time");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 2, "no part");
    });
}

#[test]
fn a_finished_file_is_replaced_when_the_node_has_another() {
    let root = tempfile::tempdir().unwrap();
    let files = files(root.path());
    let (data, path) = (noise(MIB + 5), root.path().join("here"));
    block_on(async {
        // Of the same size, longer, and shorter.
        for old in [vec![0; data.len()], vec![0; data.len() + 1], vec![0; MIB]] {
            fs::write(&path, &old).unwrap();
            let already = files.already(&path, "data/x").await;
            assert!(matches!(already, Already::Whole(_)));
            let (sink, resume) = files.write(&path, "data/x", meta(&data), already).await.unwrap();
            assert_eq!(resume.is_some(), old.len() == data.len());
            sink.start(0).await.unwrap();
            assert_eq!(fs::read(&path).unwrap(), old, "until all of the new one is there");
            pour(&sink, &data, 0, data.len()).await.unwrap();
            sink.finish(hash(&data)).await.unwrap();
            assert_eq!(fs::read(&path).unwrap(), data);
        }
        fs::write(&path, b"").unwrap();
        assert!(matches!(files.already(&path, "data/x").await, Already::Nothing), "there is nothing to compare");
        fs::write(&path, b"other").unwrap();
        let other = files.already_beneath(root.path(), "here", "data/x", 6).await;
        assert!(matches!(other, Already::Nothing), "its size says so");
    });
}

#[test]
fn a_finished_file_that_changes_while_it_is_compared_does_not_pass() {
    let root = tempfile::tempdir().unwrap();
    let files = files(root.path());
    let (data, path) = (noise(MIB + 5), root.path().join("here"));
    let changes: [fn(&Path); 2] = [
        |path| {
            let mut changed = fs::read(path).unwrap();
            changed[7] ^= 1;
            fs::write(path, changed).unwrap();
        },
        |path| fs::remove_file(path).unwrap(),
    ];
    block_on(async {
        for change in changes {
            fs::write(&path, &data).unwrap();
            let already = files.already(&path, "data/x").await;
            let (sink, resume) = files.write(&path, "data/x", meta(&data), already).await.unwrap();
            sink.start(resume.unwrap().offset).await.unwrap();
            // The clock of a file system has steps.
            std::thread::sleep(std::time::Duration::from_millis(20));
            change(&path);
            assert_eq!(sink.finish(hash(&data)).await.unwrap_err().code, FailureCode::Changed);
        }
    });
}
