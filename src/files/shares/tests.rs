//! Opening for reading, and everything that must not be opened.

use std::{
    fs,
    os::unix::{ffi::OsStrExt, fs::FileExt, fs::symlink, net::UnixListener},
    process::Command,
    time::{Duration, Instant},
};

use actors::port::PrefixHash;
use proptest::prelude::*;

use super::super::testing::{Bench, MIB, block_on, hash, noise, open};
use super::*;

fn code<T>(answer: Result<T, FileError>) -> FailureCode {
    match answer {
        Ok(_) => panic!("it should have been refused"),
        Err(error) => error.code,
    }
}

#[test]
fn reads_what_is_there_and_says_its_hash() {
    let bench = Bench::new();
    let data = noise(3 * MIB + 17);
    fs::create_dir(bench.data("dir")).unwrap();
    fs::write(bench.data("dir/x"), &data).unwrap();
    block_on(async {
        let source = bench.source("data/dir/x").await.unwrap();
        assert_eq!(source.size(), data.len() as u64);
        let metadata = fs::metadata(bench.data("dir/x")).unwrap();
        let mtime = metadata.modified().unwrap().duration_since(std::time::UNIX_EPOCH).unwrap();
        assert_eq!(source.mtime_ns() as u128, mtime.as_nanos());
        let piece = source.read(MIB as u64 - 3, 256 * 1024).await.unwrap();
        assert_eq!(piece, data[MIB - 3..][..256 * 1024]);
        assert_eq!(source.read(data.len() as u64 - 5, 5).await.unwrap(), data[data.len() - 5..]);
        assert_eq!(code(source.read(data.len() as u64 - 5, 6).await), FailureCode::Shrunk);
        assert_eq!(code(source.read(u64::MAX, 6).await), FailureCode::Shrunk);
        assert_eq!(source.hash().await.unwrap(), hash(&data));
        let prefix = PrefixHash(hash(&data[..2 * MIB]));
        assert!(source.prefix_matches(2 * MIB as u64, prefix).await.unwrap());
        assert!(!source.prefix_matches(3 * MIB as u64, prefix).await.unwrap());
        assert!(!source.prefix_matches(2 * MIB as u64 + 1, prefix).await.unwrap());
        assert!(!source.prefix_matches(1 << 50, prefix).await.unwrap());
    });
}

#[test]
fn an_empty_file_is_a_file() {
    let bench = Bench::new();
    fs::write(bench.data("empty"), b"").unwrap();
    block_on(async {
        let source = bench.source("data/empty").await.unwrap();
        assert_eq!((source.size(), source.hash().await.unwrap()), (0, hash(b"")));
        assert!(source.read(0, 0).await.unwrap().is_empty());
        assert!(source.prefix_matches(0, PrefixHash(hash(b""))).await.unwrap());
    });
}

#[test]
fn nothing_leads_out_of_the_share() {
    let bench = Bench::new();
    let secret = bench.root.path().join("secret");
    fs::write(&secret, b"key").unwrap();
    fs::write(bench.data("plain"), b"x").unwrap();
    fs::create_dir(bench.data("dir")).unwrap();
    symlink("../secret", bench.data("out")).unwrap();
    symlink(&secret, bench.data("absolute")).unwrap();
    symlink("..", bench.data("up")).unwrap();
    symlink("plain", bench.data("inside")).unwrap();
    symlink("/proc/self/root", bench.data("magic")).unwrap();
    symlink("loop", bench.data("loop")).unwrap();
    let table = [
        ("data/../secret", FailureCode::BadPath),
        ("data/dir/../../secret", FailureCode::BadPath),
        ("/etc/passwd", FailureCode::BadPath),
        ("data//etc/passwd", FailureCode::BadPath),
        ("..", FailureCode::BadPath),
        ("", FailureCode::BadPath),
        ("data/plain/", FailureCode::BadPath),
        ("data/x\0y", FailureCode::BadPath),
        ("data/plain.part", FailureCode::BadPath),
        ("data", FailureCode::IsDirectory),
        ("data/dir", FailureCode::IsDirectory),
        ("data/out", FailureCode::Forbidden),
        ("data/absolute", FailureCode::Forbidden),
        ("data/up/secret", FailureCode::Forbidden),
        ("data/inside", FailureCode::Forbidden),
        ("data/magic/etc/passwd", FailureCode::Forbidden),
        ("data/loop", FailureCode::Forbidden),
        ("data/plain/x", FailureCode::NotFound),
        ("data/absent", FailureCode::NotFound),
        ("data/..\\secret", FailureCode::NotFound),
        ("other/plain", FailureCode::NotFound),
    ];
    block_on(async {
        for (path, expected) in table {
            let error = bench.source(path).await.map(|_| ()).expect_err(path);
            assert_eq!(error.code, expected, "{path}: {error}");
            let root = bench.root.path().to_str().unwrap();
            assert!(!error.message.contains(root), "{error}");
        }
        let error = bench.source("data/absent").await.map(|_| ()).unwrap_err();
        let words = "`data/absent`: no such file in share `data`; `evenkeel ls` shows what is there";
        assert_eq!(error.message, words);
    });
}

#[test]
fn what_is_no_regular_file_is_refused_without_waiting() {
    let bench = Bench::new();
    let made = Command::new("mkfifo").arg(bench.data("fifo")).status().unwrap();
    assert!(made.success());
    let made = Command::new("mknod").arg(bench.data("zero")).args(["c", "1", "5"]).status().unwrap();
    assert!(made.success(), "this test makes a device: run it as root");
    let _listener = UnixListener::bind(bench.data("socket")).unwrap();
    let began = Instant::now();
    block_on(async {
        for path in ["data/fifo", "data/zero", "data/socket"] {
            assert_eq!(code(bench.source(path).await), FailureCode::Forbidden, "{path}");
        }
        assert!(bench.names("data", true).await.is_empty());
    });
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_file_that_changes_is_an_error() {
    let bench = Bench::new();
    let data = noise(2 * MIB);
    fs::write(bench.data("x"), &data).unwrap();
    let file = fs::OpenOptions::new().write(true).open(bench.data("x")).unwrap();
    block_on(async {
        let source = bench.source("data/x").await.unwrap();
        assert_eq!(source.hash().await.unwrap(), hash(&data));
        file.write_all_at(b"other", 100).unwrap();
        file.set_modified(std::time::SystemTime::now() + Duration::from_secs(1)).unwrap();
        assert_eq!(code(source.hash().await), FailureCode::Changed);

        let source = bench.source("data/x").await.unwrap();
        file.set_len(MIB as u64).unwrap();
        assert_eq!(code(source.read(MIB as u64 - 5, 10).await), FailureCode::Shrunk);
        assert_eq!(code(source.hash().await), FailureCode::Shrunk);

        let source = bench.source("data/x").await.unwrap();
        file.set_len(2 * MIB as u64).unwrap();
        assert_eq!(code(source.hash().await), FailureCode::Changed, "it grew");
        assert_eq!(code(source.read(MIB as u64, 5).await), FailureCode::Shrunk, "not part of what was opened");

        // Another file under that name is no change of this one.
        let source = bench.source("data/x").await.unwrap();
        let before = hash(&fs::read(bench.data("x")).unwrap());
        fs::write(bench.data("y"), b"other").unwrap();
        fs::rename(bench.data("y"), bench.data("x")).unwrap();
        assert_eq!(source.hash().await.unwrap(), before);
    });
}

#[test]
fn shares_that_cannot_be_served_are_told() {
    let root = tempfile::tempdir().unwrap();
    let state = root.path().join("state");
    fs::write(root.path().join("file"), b"").unwrap();
    fs::create_dir(root.path().join("data")).unwrap();
    let share = |name: &str, path: &str| ShareConfig {
        name: name.to_owned(),
        path: root.path().join(path),
        writable: false,
        public: true,
    };
    let open = |shares| Shares::new(shares, FilesConfig::new(&state));
    for name in ["", ".", "..", "a/b", "a\nb", "x.part", &"n".repeat(256)] {
        assert!(matches!(open(vec![share(name, "data")]), Err(SharesError::Name(_))), "{name:?}");
    }
    let twice = vec![share("a", "data"), share("a", "data")];
    assert!(matches!(open(twice), Err(SharesError::Twice(_))));
    assert!(matches!(open(vec![share("a", "absent")]), Err(SharesError::Open { .. })));
    assert!(matches!(open(vec![share("a", "file")]), Err(SharesError::Open { .. })));
    assert!(matches!(open(vec![share("a", "")]), Err(SharesError::HoldsState { .. })));
    assert!(matches!(open(vec![share("a", "state")]), Err(SharesError::HoldsState { .. })));

    let shares = open(vec![share("a", "data")]).unwrap();
    assert!(shares.replace(vec![share("b", "absent")]).is_err());
    assert_eq!(shares.infos()[0].name, "a");
    shares.replace(vec![share("b", "data")]).unwrap();
    assert_eq!(shares.infos(), [ShareInfo { name: "b".into(), writable: false, public: true }]);
}

#[test]
fn a_share_stays_the_directory_that_was_opened() {
    let bench = Bench::new();
    fs::write(bench.data("x"), b"old").unwrap();
    fs::rename(bench.root.path().join("data"), bench.root.path().join("moved")).unwrap();
    fs::create_dir(bench.root.path().join("data")).unwrap();
    fs::write(bench.data("x"), b"new").unwrap();
    block_on(async {
        let source = bench.source("data/x").await.unwrap();
        assert_eq!(source.read(0, 3).await.unwrap(), "old");
    });
    let shares = open(bench.root.path(), &bench.root.path().join("data"));
    let source = block_on(shares.open_source("data/x".into())).unwrap();
    assert_eq!(block_on(source.read(0, 3)).unwrap(), "new");
}

#[test]
fn names_that_are_not_utf8_cannot_be_asked_for_but_are_counted() {
    let bench = Bench::new();
    fs::write(bench.root.path().join("data").join(std::ffi::OsStr::from_bytes(b"a\xffb")), b"x").unwrap();
    fs::write(bench.data("good"), b"x").unwrap();
    block_on(async {
        assert_eq!(bench.names("data", false).await, ["good"]);
        assert_eq!(bench.list("data", false, "").await.unwrap().hidden, 1);
        assert_eq!(bench.list("data", false, "a").await.unwrap().hidden, 0, "counted with the page before");
        assert_eq!(code(bench.source("data/a\u{fffd}b").await), FailureCode::NotFound);
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Whatever a peer says, it never reads what is beside the share.
    #[test]
    fn no_text_reads_the_secret(parts in proptest::collection::vec("(data|\\.\\.|\\.|secret|up|/|dir|\\\\|\0)", 1..8), slash: bool) {
        let bench = Bench::new();
        fs::write(bench.root.path().join("secret"), b"key").unwrap();
        fs::create_dir(bench.data("dir")).unwrap();
        symlink("..", bench.data("up")).unwrap();
        let path = parts.join(if slash { "/" } else { "" });
        block_on(async {
            assert!(bench.source(&path).await.is_err());
            for entry in bench.list(&path, true, &path).await.map(|page| page.entries).unwrap_or_default() {
                assert!(!entry.name.contains("secret"));
            }
        });
    }
}
