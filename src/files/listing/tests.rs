//! Pages: complete, in order, without what must not be seen.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt as _, fs::symlink},
};

use actors::port::{FileEntry, FileKind};
use proptest::prelude::*;
use wire::FailureCode;

use super::{
    super::testing::{Bench, block_on},
    PATH_NAMES_MAX,
};

#[test]
fn the_top_lists_shares_and_a_file_lists_itself() {
    let bench = Bench::new();
    fs::write(bench.data("x"), b"12345").unwrap();
    fs::create_dir(bench.data("dir")).unwrap();
    fs::write(bench.data("dir/y"), b"1").unwrap();
    block_on(async {
        assert_eq!(bench.names("", false).await, ["data", "fixed"]);
        assert_eq!(bench.names("", true).await, ["data", "data/dir", "data/dir/y", "data/x", "fixed"]);
        let page = bench.list("", false, "data").await.unwrap();
        assert_eq!(page.entries.len(), 1);
        assert_eq!(page.entries[0].kind, FileKind::Share);
        let page = bench.list("data", false, "").await.unwrap();
        let kinds: Vec<_> = page.entries.iter().map(|entry| (entry.kind, entry.size)).collect();
        assert_eq!(kinds, [(FileKind::Directory, 0), (FileKind::File, 5)]);
        let page = bench.list("data/x", false, "").await.unwrap();
        assert_eq!((page.entries[0].name.as_str(), page.entries[0].size), ("x", 5));
        assert!(bench.list("data/x", false, "x").await.unwrap().entries.is_empty());
        for (path, code) in [
            ("data/none", FailureCode::NotFound),
            ("none", FailureCode::NotFound),
            ("data/..", FailureCode::BadPath),
            ("/", FailureCode::BadPath),
        ] {
            assert_eq!(bench.list(path, true, "").await.unwrap_err().code, code, "{path}");
        }
    });
}

#[test]
fn a_listing_goes_as_deep_as_a_path_can_say() {
    let bench = Bench::new();
    let deep = vec!["d"; PATH_NAMES_MAX + 3].join("/");
    fs::create_dir_all(bench.data(&deep)).unwrap();
    block_on(async {
        for (path, above) in [("", 0), ("data", 1), ("data/d/d", 3)] {
            let (mut entries, mut more) = (Vec::<FileEntry>::new(), true);
            while more {
                let after = entries.last().map_or("", |entry| &entry.name);
                let page = bench.list(path, true, after).await.unwrap();
                entries.extend(page.entries);
                more = page.more;
            }
            let deepest = entries.iter().max_by_key(|entry| entry.name.len()).unwrap();
            assert_eq!(above + deepest.name.split('/').count(), PATH_NAMES_MAX, "{path}");
            assert_eq!((deepest.hidden, deepest.unlisted), (1, None), "{path}");
            assert_eq!(entries.iter().map(|entry| entry.hidden).sum::<u32>(), 1, "{path}");
        }
        let at_the_end = format!("data/{}", vec!["d"; PATH_NAMES_MAX - 1].join("/"));
        let page = bench.list(&at_the_end, false, "").await.unwrap();
        assert_eq!((page.entries.len(), page.hidden), (0, 1));
    });
}

#[test]
fn names_left_out_of_a_directory_are_counted_once_however_its_pages_fall() {
    let bench = Bench::new();
    // The directory is the last name of the first page.
    (0..499).for_each(|n| fs::write(bench.data(&format!("a{n:03}")), b"").unwrap());
    fs::create_dir(bench.data("b")).unwrap();
    fs::write(bench.data("b/x"), b"").unwrap();
    fs::write(bench.root.path().join("data/b").join(OsStr::from_bytes(b"\xff")), b"").unwrap();
    block_on(async {
        let page = bench.list("data", true, "").await.unwrap();
        assert_eq!((page.entries.len(), page.more, page.entries[499].hidden), (500, true, 1));
        let page = bench.list("data", true, "b").await.unwrap();
        assert_eq!((page.entries.len(), page.hidden_names()), (1, 0));
    });
}

#[test]
fn parts_and_links_are_not_seen() {
    let bench = Bench::new();
    fs::write(bench.root.path().join("secret"), b"x").unwrap();
    for name in ["a.part", "B.PART", "a"] {
        fs::write(bench.data(name), b"x").unwrap();
    }
    fs::create_dir(bench.data("d.part")).unwrap();
    fs::write(bench.data("d.part/in"), b"x").unwrap();
    symlink("..", bench.data("up")).unwrap();
    symlink("a", bench.data("link")).unwrap();
    block_on(async {
        assert_eq!(bench.names("data", true).await, ["a"]);
        assert_eq!(bench.list("data/up", true, "").await.unwrap_err().code, FailureCode::Forbidden);
        assert_eq!(bench.list("data/d.part", true, "").await.unwrap_err().code, FailureCode::BadPath);
    });
}

#[test]
fn many_names_come_in_pages_and_in_order() {
    let bench = Bench::new();
    let mut expected = BTreeSet::new();
    for n in 0..2600 {
        let name = format!("{:04}", n * 7919 % 10_000);
        fs::write(bench.data(&name), b"").unwrap();
        expected.insert(name);
    }
    fs::create_dir(bench.data("5000.d")).unwrap();
    let long: Vec<_> = (0..600).map(|n| format!("5000.d/{}{n:03}", "n".repeat(240))).collect();
    long.iter().for_each(|name| fs::write(bench.data(name), b"").unwrap());
    block_on(async {
        let mut flat: Vec<_> = expected.iter().cloned().collect();
        flat.push("5000.d".into());
        flat.sort();
        assert_eq!(bench.names("data", false).await, flat);
        let mut deep = flat;
        deep.extend(long);
        deep.sort_by(|a, b| a.split('/').cmp(b.split('/')));
        assert_eq!(bench.names("data", true).await, deep);
        let page = bench.list("data", false, "").await.unwrap();
        assert!(page.more && page.entries.len() == 500);
    });
}

#[test]
fn a_large_directory_at_rest_is_listed_as_one_that_moves() {
    let bench = Bench::new();
    (0..2600).for_each(|n| fs::write(bench.data(&format!("{:04}", n * 7919 % 10_000)), b"").unwrap());
    block_on(async {
        let moving = bench.names("data", true).await;
        assert_eq!(moving.len(), 2600);
        // Until its times say for certain that it is at rest.
        std::thread::sleep(std::time::Duration::from_millis(2100));
        for _ in 0..2 {
            assert_eq!(bench.names("data", true).await, moving);
        }
        fs::write(bench.data("new"), b"").unwrap();
        fs::remove_file(bench.data(&moving[0])).unwrap();
        let now = bench.names("data", true).await;
        assert_eq!((now.len(), &now[0], now[2599].as_str()), (2600, &moving[1], "new"));
    });
}

#[test]
fn names_may_come_and_go_between_two_pages() {
    let bench = Bench::new();
    for n in 0..700 {
        fs::write(bench.data(&format!("{n:03}")), b"").unwrap();
    }
    block_on(async {
        let page = bench.list("data", true, "").await.unwrap();
        let last = page.entries.last().unwrap().name.clone();
        fs::remove_file(bench.data(&last)).unwrap();
        let page = bench.list("data", true, &last).await.unwrap();
        assert_eq!((page.entries[0].name.as_str(), page.entries.len(), page.more), ("500", 200, false));
        let page = bench.list("data", true, "600/../../x").await.unwrap();
        assert_eq!(page.entries[0].name, "601");
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// Every tree is listed whole, in the order of components, from any name on.
    #[test]
    fn every_page_start_is_right(files in proptest::collection::btree_set("[ab.]{1,2}(/[ab.]{1,2}){0,2}", 1..30)) {
        let bench = Bench::new();
        for file in &files {
            let dotted = file.split('/').any(|name| matches!(name, "." | ".."));
            if dotted { continue }
            let path = bench.data(file);
            // Some want to be a file where another wants a directory.
            if fs::create_dir_all(path.parent().unwrap()).is_ok() {
                let _ = fs::write(path, b"x");
            }
        }
        block_on(async {
            let names = bench.names("data", true).await;
            let mut sorted = names.clone();
            sorted.sort_by(|a, b| a.split('/').cmp(b.split('/')));
            sorted.dedup();
            assert_eq!(names, sorted);
            for (index, name) in names.iter().enumerate() {
                assert!(bench.data(name).exists());
                let page = bench.list("data", true, name).await.unwrap();
                let rest: Vec<_> = page.entries.into_iter().map(|entry| entry.name).collect();
                assert_eq!(rest, names[index + 1..]);
            }
        });
    }
}
