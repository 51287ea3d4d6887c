//! Writing: whole or not at all, resumed only where it is certain, refused with a reason.

use std::{
    fs,
    os::unix::fs::{MetadataExt, symlink},
    process::Command,
    time::{Duration, UNIX_EPOCH},
};

use super::super::testing::{Bench, MIB, TinyDisk, block_on, hash, meta, noise, open as open_shares, owner, pour};
use super::*;
use actors::port::Files;

/// A sink, as soon as nobody has the part. A test beside this one starts a program, which has a copy of all that is open here, locks
/// with it, until it begins; and a restart in here does not end the threads that still write the last record.
async fn sink_when_free(
    bench: &Bench,
    path: &str,
    data: &[u8],
) -> Result<(Arc<dyn Sink>, Option<ResumePoint>), FileError> {
    let begun = Instant::now();
    loop {
        match bench.sink(path, meta(data)).await {
            Err(error) if error.code == FailureCode::Busy && begun.elapsed() < Duration::from_secs(10) => {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            answer => return answer,
        }
    }
}

/// Writes the whole file.
async fn put(bench: &Bench, path: &str, data: &[u8]) -> Result<(), FileError> {
    let (sink, _) = sink_when_free(bench, path, data).await?;
    sink.start(0).await?;
    pour(&sink, data, 0, data.len()).await?;
    sink.finish(hash(data)).await
}

/// Writes so much of it and goes away. Gives what could be resumed before.
async fn put_some(bench: &Bench, path: &str, data: &[u8], to: usize) -> u64 {
    let (sink, resume) = sink_when_free(bench, path, data).await.unwrap();
    let from = resume.map_or(0, |point| point.offset);
    if let Some(point) = resume {
        assert_eq!(point.hash.0, hash(&data[..from as usize]));
    }
    sink.start(from).await.unwrap();
    pour(&sink, data, from as usize, to).await.unwrap();
    from
}

fn records(bench: &Bench) -> usize {
    fs::read_dir(bench.root.path().join("state/resume")).unwrap().count()
}

#[test]
fn a_put_is_whole_named_dated_and_leaves_nothing_behind() {
    let bench = Bench::new();
    for size in [0, 1, MIB, 2 * MIB + 5] {
        let data = noise(size);
        block_on(put(&bench, "data/new/dir/x", &data)).unwrap();
        assert_eq!(fs::read(bench.data("new/dir/x")).unwrap(), data);
        let mtime = fs::metadata(bench.data("new/dir/x")).unwrap().modified().unwrap();
        assert_eq!(mtime, UNIX_EPOCH + Duration::new(1_600_000_000, 123_456_789));
        assert_eq!(fs::read_dir(bench.data("new/dir")).unwrap().count(), 1, "it replaced the one before");
        assert_eq!(records(&bench), 0);
    }
}

#[test]
fn until_it_is_finished_the_old_file_is_there_and_the_new_one_is_not() {
    let bench = Bench::new();
    fs::write(bench.data("x"), b"old").unwrap();
    let data = noise(MIB + 1);
    block_on(async {
        let (sink, _) = bench.sink("data/x", meta(&data)).await.unwrap();
        sink.start(0).await.unwrap();
        pour(&sink, &data, 0, data.len()).await.unwrap();
        assert_eq!(fs::read(bench.data("x")).unwrap(), b"old");
        assert_eq!(bench.names("data", true).await, ["x"]);
        sink.finish(hash(&data)).await.unwrap();
        assert_eq!(fs::read(bench.data("x")).unwrap(), data);
    });
}

#[test]
fn what_was_left_is_resumed_at_a_whole_mib_even_after_a_restart() {
    let mut bench = Bench::new();
    let data = noise(6 * MIB + 100);
    block_on(async {
        assert_eq!(put_some(&bench, "data/x", &data, 3 * MIB + 7).await, 0);
        assert_eq!(put_some(&bench, "data/x", &data, 4 * MIB).await, 3 * MIB as u64);
    });
    bench.restart();
    block_on(async {
        let (sink, resume) = sink_when_free(&bench, "data/x", &data).await.unwrap();
        let resume = resume.unwrap();
        assert_eq!((resume.offset, resume.hash.0), (4 * MIB as u64, hash(&data[..4 * MIB])));
        sink.start(resume.offset).await.unwrap();
        assert_eq!(fs::metadata(bench.data("x.part")).unwrap().len(), 4 * MIB as u64);
        pour(&sink, &data, 4 * MIB, data.len()).await.unwrap();
        sink.finish(hash(&data)).await.unwrap();
    });
    assert_eq!(fs::read(bench.data("x")).unwrap(), data);
    assert_eq!(records(&bench), 0);
}

#[test]
fn after_a_crash_only_what_the_record_knows_counts() {
    let bench = Bench::new();
    let data = noise(5 * MIB);
    block_on(async {
        let (sink, _) = bench.sink("data/x", meta(&data)).await.unwrap();
        sink.start(0).await.unwrap();
        pour(&sink, &data, 0, 2 * MIB).await.unwrap();
        tokio::time::sleep(RECORD_INTERVAL).await;
        // The next piece finds the record due.
        pour(&sink, &data, 2 * MIB, 4 * MIB).await.unwrap();
        let begun = Instant::now();
        while records(&bench) == 0 {
            assert!(begun.elapsed() < Duration::from_secs(10));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // The process dies here: nothing of the sink is dropped. Its locks are gone with it.
        let part = fs::read(bench.data("x.part")).unwrap();
        fs::remove_file(bench.data("x.part")).unwrap();
        let other = Bench::new();
        let record = fs::read_dir(bench.root.path().join("state/resume")).unwrap().next().unwrap().unwrap();
        fs::write(other.data("x.part"), part).unwrap();
        let inode = fs::metadata(other.data("x.part")).unwrap().ino();
        let mut words: Record = serde_json::from_slice(&fs::read(record.path()).unwrap()).unwrap();
        words.part_inode = inode;
        let state = other.root.path().join("state/resume");
        fs::write(state.join(record.file_name()), serde_json::to_vec(&words).unwrap()).unwrap();
        let (_sink, resume) = other.sink("data/x", meta(&data)).await.unwrap();
        let resume = resume.unwrap();
        assert_eq!(resume.offset, words.verified_bytes);
        assert!(resume.offset >= 2 * MIB as u64 && resume.offset <= 4 * MIB as u64);
        assert_eq!(resume.hash.0, hash(&data[..resume.offset as usize]));
    });
}

#[test]
fn a_part_that_does_not_fit_its_record_starts_anew() {
    let bench = Bench::new();
    let data = noise(4 * MIB);
    let spoil: [(&str, &dyn Fn()); 4] = [
        ("its bytes were changed", &|| {
            let part = fs::OpenOptions::new().write(true).open(bench.data("x.part")).unwrap();
            std::os::unix::fs::FileExt::write_all_at(&part, b"other", 77).unwrap();
        }),
        ("it was cut off", &|| {
            let part = fs::OpenOptions::new().write(true).open(bench.data("x.part")).unwrap();
            part.set_len(MIB as u64).unwrap();
        }),
        ("it is another file", &|| {
            fs::copy(bench.data("x.part"), bench.data("y")).unwrap();
            fs::rename(bench.data("y"), bench.data("x.part")).unwrap();
        }),
        ("the record is torn", &|| {
            let folder = fs::read_dir(bench.root.path().join("state/resume")).unwrap();
            folder.for_each(|record| fs::write(record.unwrap().path(), b"{").unwrap());
        }),
    ];
    block_on(async {
        for (what, spoil) in spoil {
            put_some(&bench, "data/x", &data, 3 * MIB).await;
            // Waits for the sink before to write its record.
            drop(bench.sink("data/x", meta(&data)).await.unwrap());
            spoil();
            let (sink, resume) = bench.sink("data/x", meta(&data)).await.unwrap();
            assert!(resume.is_none(), "{what}");
            sink.start(0).await.unwrap();
            assert_eq!(fs::metadata(bench.data("x.part")).unwrap().len(), 0);
        }
        for other in [
            SinkMeta { owner: owner("bob"), ..meta(&data) },
            SinkMeta { size: data.len() as u64 + 1, ..meta(&data) },
            SinkMeta { mtime_ns: 1, ..meta(&data) },
        ] {
            put_some(&bench, "data/x", &data, 3 * MIB).await;
            assert!(bench.sink("data/x", other).await.unwrap().1.is_none(), "another file, another part");
            assert!(bench.sink("data/x", meta(&data)).await.unwrap().1.is_some());
        }
    });
}

#[test]
fn one_writer_at_a_time_in_this_process_and_in_others() {
    let bench = Bench::new();
    let data = noise(MIB + 1);
    block_on(async {
        let (first, _) = bench.sink("data/x", meta(&data)).await.unwrap();
        let refused = bench.sink("data/x", meta(&data)).await.map(|_| ()).unwrap_err();
        assert_eq!(refused.code, FailureCode::Busy);
        // Another node on the same directory has a table of its own; the lock on the part holds.
        let other = open_shares(bench.root.path(), &bench.root.path().join("data"));
        let refused = other.open_sink("data/x".into(), meta(&data)).await.map(|_| ()).unwrap_err();
        assert_eq!(refused.code, FailureCode::Busy);
        assert!(bench.sink("data/y", meta(&data)).await.is_ok());
        drop(first);
        for _ in 0..20 {
            // At once: it waits for the one that is leaving.
            drop(bench.sink("data/x", meta(&data)).await.unwrap());
        }
    });
    assert!(!bench.data("x.part").exists() || fs::metadata(bench.data("x.part")).unwrap().len() == 0);
}

#[test]
fn what_arrived_wrong_is_thrown_away() {
    let bench = Bench::new();
    let data = noise(2 * MIB);
    block_on(async {
        let (sink, _) = bench.sink("data/x", meta(&data)).await.unwrap();
        sink.start(0).await.unwrap();
        let early = sink.finish(hash(&data)).await.unwrap_err();
        assert_eq!(early.code, FailureCode::Shrunk);
        pour(&sink, &data, 0, data.len()).await.unwrap();
        let wrong = sink.finish([7; 32]).await.unwrap_err();
        assert_eq!(wrong.code, FailureCode::HashMismatch);
        assert!(!bench.data("x").exists() && !bench.data("x.part").exists());
        assert!(sink.finish(hash(&data)).await.is_err());
        drop(sink);
        assert!(bench.sink("data/x", meta(&data)).await.unwrap().1.is_none());
    });
    assert_eq!(records(&bench), 0);
}

#[test]
fn bytes_come_in_order_and_not_too_many() {
    let bench = Bench::new();
    let data = noise(1000);
    block_on(async {
        let (sink, _) = bench.sink("data/x", meta(&data)).await.unwrap();
        let piece = |len: usize| Bytes::copy_from_slice(&data[..len]);
        for wrong in [sink.write(0, piece(1)).await, sink.start(MIB as u64).await] {
            assert_eq!(wrong.unwrap_err().code, FailureCode::Internal);
        }
    });
    block_on(async {
        let (sink, _) = bench.sink("data/x", meta(&data)).await.unwrap();
        let piece = |len: usize| Bytes::copy_from_slice(&data[..len]);
        sink.start(0).await.unwrap();
        sink.write(0, piece(500)).await.unwrap();
        for wrong in [
            sink.write(0, piece(5)).await,
            sink.write(501, piece(5)).await,
            sink.write(500, piece(501)).await,
            sink.start(0).await,
        ] {
            assert_eq!(wrong.unwrap_err().code, FailureCode::Internal);
        }
        pour(&sink, &data, 500, 1000).await.unwrap();
        sink.finish(hash(&data)).await.unwrap();
    });
}

#[test]
fn places_where_no_file_may_be_put() {
    let bench = Bench::new();
    fs::write(bench.root.path().join("secret"), b"key").unwrap();
    fs::create_dir(bench.data("dir")).unwrap();
    fs::write(bench.data("file"), b"x").unwrap();
    symlink("../secret", bench.data("link")).unwrap();
    symlink("..", bench.data("up")).unwrap();
    symlink("../secret", bench.data("trap.part")).unwrap();
    assert!(Command::new("mkfifo").arg(bench.data("fifo")).status().unwrap().success());
    assert!(Command::new("mkfifo").arg(bench.data("pipe.part")).status().unwrap().success());
    fs::create_dir(bench.data("box.part")).unwrap();
    let table = [
        ("fixed/x", FailureCode::ReadOnly),
        ("data", FailureCode::IsDirectory),
        ("data/dir", FailureCode::IsDirectory),
        ("data/file/x", FailureCode::Exists),
        ("data/link", FailureCode::Exists),
        ("data/fifo", FailureCode::Exists),
        ("data/up/x", FailureCode::Forbidden),
        ("data/trap", FailureCode::Forbidden),
        ("data/pipe", FailureCode::Forbidden),
        ("data/box", FailureCode::IsDirectory),
        ("data/x.part", FailureCode::BadPath),
        ("data/../x", FailureCode::BadPath),
        ("none/x", FailureCode::NotFound),
    ];
    block_on(async {
        for (path, expected) in table {
            let error = bench.sink(path, meta(b"x")).await.map(|_| ()).expect_err(path);
            assert_eq!(error.code, expected, "{path}: {error}");
            assert!(!error.message.contains(bench.root.path().to_str().unwrap()), "{error}");
        }
        assert_eq!(fs::read(bench.root.path().join("secret")).unwrap(), b"key");
    });
}

#[test]
fn a_part_that_is_linked_elsewhere_does_not_cut_that_off() {
    let bench = Bench::new();
    fs::write(bench.data("precious"), b"precious").unwrap();
    fs::hard_link(bench.data("precious"), bench.data("x.part")).unwrap();
    block_on(put(&bench, "data/x", b"new")).unwrap();
    assert_eq!(fs::read(bench.data("precious")).unwrap(), b"precious");
    assert_eq!(fs::read(bench.data("x")).unwrap(), b"new");
}

#[test]
fn a_full_disk_is_told_before_the_first_byte() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("fixed")).unwrap();
    let disk = TinyDisk::mount(root.path().join("disk"), 1024);
    let shares = open_shares(root.path(), &disk.path);
    block_on(async {
        for size in [1024 * 1024 + 1, u64::MAX] {
            let meta = SinkMeta { size, ..meta(b"") };
            let error = shares.open_sink("data/x".into(), meta).await.map(|_| ()).unwrap_err();
            assert_eq!(error.code, FailureCode::DiskFull, "{error}");
        }
        assert_eq!(fs::read_dir(&disk.path).unwrap().count(), 0);
    });
}

#[test]
fn a_disk_that_fills_up_keeps_what_can_be_resumed() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("fixed")).unwrap();
    let disk = TinyDisk::mount(root.path().join("disk"), 4096);
    let shares = open_shares(root.path(), &disk.path);
    let data = noise(3 * MIB);
    block_on(async {
        let (sink, _) = shares.open_sink("data/x".into(), meta(&data)).await.unwrap();
        sink.start(0).await.unwrap();
        pour(&sink, &data, 0, MIB + 5).await.unwrap();
        // Somebody else takes the room.
        fs::write(disk.path.join("other"), noise(2 * MIB)).unwrap();
        // The room is gone in the middle of some piece.
        let mut at = MIB + 5;
        let error = loop {
            let piece = Bytes::copy_from_slice(&data[at..(at + 70_000).min(3 * MIB)]);
            at += piece.len();
            if let Err(error) = sink.write((at - piece.len()) as u64, piece).await {
                break error;
            }
        };
        assert_eq!(error.code, FailureCode::DiskFull, "{error}");
        assert!(error.message.contains("full"), "{error}");
        let again = sink.write(at as u64, Bytes::from_static(b"x")).await.unwrap_err();
        assert_eq!(again.code, FailureCode::DiskFull);
        let kept = fs::metadata(disk.path.join("x.part")).unwrap().len();
        assert!(kept >= MIB as u64 && kept.is_multiple_of(MIB as u64), "{kept}");
        drop(sink);
        fs::remove_file(disk.path.join("other")).unwrap();
        let (sink, resume) = shares.open_sink("data/x".into(), meta(&data)).await.unwrap();
        let from = resume.unwrap().offset;
        assert_eq!(from, kept);
        sink.start(from).await.unwrap();
        pour(&sink, &data, from as usize, data.len()).await.unwrap();
        sink.finish(hash(&data)).await.unwrap();
        assert_eq!(fs::read(disk.path.join("x")).unwrap(), data);
    });
}

#[test]
fn a_part_of_no_use_is_not_left_lying_about() {
    let bench = Bench::new();
    let data = noise(2 * MIB);
    block_on(async {
        put_some(&bench, "data/x", &data, MIB - 1).await;
        drop(bench.sink("data/x", meta(&data)).await.unwrap());
        let begun = Instant::now();
        while bench.data("x.part").exists() {
            assert!(begun.elapsed() < Duration::from_secs(10));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
}

#[test]
fn a_file_of_the_longest_name_is_put_resumed_and_leaves_no_part() {
    let bench = Bench::new();
    let data = noise(3 * MIB);
    for bytes in [250, 251, 255] {
        let path = format!("data/{}", "n".repeat(bytes));
        assert_eq!(block_on(put_some(&bench, &path, &data, 2 * MIB)), 0);
        let from = block_on(put_some(&bench, &path, &data, 3 * MIB));
        assert_eq!(from, 2 * MIB as u64, "{bytes}");
        block_on(put(&bench, &path, &data)).unwrap();
        assert_eq!(fs::read(bench.data(&path[5..])).unwrap(), data);
    }
    let parts = fs::read_dir(bench.data(""))
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().ends_with(".part"));
    assert_eq!(parts.count(), 0);
}
