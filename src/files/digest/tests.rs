//! The hash cache against BLAKE3 itself, and its promises: once for all, stopped when nobody waits, bounded.

use std::{fs, future::Future, os::unix::fs::FileExt, path::Path, time::Duration};

use super::*;

const MIB: usize = 1 << 20;

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

fn noise(bytes: usize) -> Vec<u8> {
    let mut data = vec![0; bytes];
    blake3::Hasher::new().update(&bytes.to_le_bytes()).finalize_xof().fill(&mut data);
    data
}

fn open(path: &Path) -> (Arc<OwnedFd>, Stamp) {
    let file: OwnedFd = fs::File::open(path).unwrap().into();
    let stamp = Stamp::of(&file).unwrap();
    (Arc::new(file), stamp)
}

fn cache(memory_bytes_max: usize) -> DigestCache {
    DigestCache::with_settling(Arc::new(DiskPool::new(2).unwrap()), memory_bytes_max, 0)
}

#[test]
fn whole_and_prefix_are_blake3s() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x");
    for size in [0, 1, 1024, MIB - 1, MIB, MIB + 1, 3 * MIB, 5 * MIB + 777, 9 * MIB] {
        let data = noise(size);
        fs::write(&path, &data).unwrap();
        let (file, stamp) = open(&path);
        let cache = cache(MIB);
        block_on(async {
            for groups in 0..=size / MIB {
                let prefix = cache.prefix(file.clone(), stamp, groups).await.unwrap();
                assert_eq!(prefix, *blake3::hash(&data[..groups * MIB]).as_bytes());
            }
            let root = cache.root(file.clone(), stamp).await.unwrap();
            assert_eq!(root, *blake3::hash(&data).as_bytes(), "{size}");
        });
        assert!(cache.hashed_bytes() <= size.next_multiple_of(MIB) as u64, "nothing was read twice");
    }
}

#[test]
fn many_ask_and_one_flight_answers() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x");
    let data = noise(24 * MIB + 5);
    fs::write(&path, &data).unwrap();
    let cache = cache(MIB);
    block_on(async {
        let asked: Vec<_> = (0..50)
            .map(|_| {
                let (file, stamp) = open(&path);
                tokio::spawn(cache.root(file, stamp))
            })
            .collect();
        for answer in asked {
            assert_eq!(answer.await.unwrap().unwrap(), *blake3::hash(&data).as_bytes());
        }
    });
    assert_eq!(cache.hashed_bytes(), 25 * MIB as u64);
}

#[test]
fn a_flight_nobody_waits_for_stops_and_is_taken_up_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x");
    let data = noise(200 * MIB);
    fs::write(&path, &data).unwrap();
    let cache = cache(MIB);
    let (file, stamp) = open(&path);
    block_on(async {
        let asked = cache.root(file.clone(), stamp);
        assert!(tokio::time::timeout(Duration::from_millis(5), asked).await.is_err());
        tokio::time::sleep(Duration::from_millis(100)).await;
        let stopped_at = cache.hashed_bytes();
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(cache.hashed_bytes(), stopped_at, "it went on for nobody");
        let root = cache.root(file, stamp).await.unwrap();
        assert_eq!(root, *blake3::hash(&data).as_bytes());
        assert_eq!(cache.hashed_bytes(), 200 * MIB as u64, "what was known was kept");
    });
}

#[test]
fn memory_is_bounded_and_roots_outlive_groups() {
    let directory = tempfile::tempdir().unwrap();
    let cache = cache(8 * SLOT_BYTES);
    let mut first = None;
    block_on(async {
        for n in 0..40 {
            let path = directory.path().join(n.to_string());
            fs::write(&path, noise(2 * MIB + n)).unwrap();
            let (file, stamp) = open(&path);
            cache.root(file.clone(), stamp).await.unwrap();
            assert!(cache.memory_bytes() <= 8 * SLOT_BYTES, "{}", cache.memory_bytes());
            first.get_or_insert((file, stamp));
        }
        let before = cache.hashed_bytes();
        let (file, stamp) = first.unwrap();
        cache.root(file, stamp).await.unwrap();
        assert!(cache.hashed_bytes() > before, "the least recent had been dropped");
    });
}

#[test]
fn changed_and_shrunk_are_told_to_all_and_not_kept() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x");
    fs::write(&path, noise(3 * MIB)).unwrap();
    let cache = cache(MIB);
    let (file, stamp) = open(&path);
    let writer = fs::OpenOptions::new().write(true).open(&path).unwrap();
    writer.set_len(2 * MIB as u64).unwrap();
    block_on(async {
        let fault = cache.root(file.clone(), stamp).await.unwrap_err();
        assert!(matches!(fault, DigestFault::Shrunk), "{fault}");
        writer.set_len(3 * MIB as u64).unwrap();
        writer.write_all_at(b"other", 0).unwrap();
        let fault = cache.root(file, stamp).await.unwrap_err();
        assert!(matches!(fault, DigestFault::Changed), "{fault}");
        let (file, stamp) = open(&path);
        let root = cache.root(file, stamp).await.unwrap();
        assert_eq!(root, *blake3::hash(&fs::read(&path).unwrap()).as_bytes());
    });
}

#[test]
fn a_hash_made_within_the_file_systems_tick_is_not_kept() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x");
    fs::write(&path, noise(MIB)).unwrap();
    let pool = Arc::new(DiskPool::new(1).unwrap());
    let cache = DigestCache::with_settling(pool, MIB, SETTLING_NS);
    let (file, stamp) = open(&path);
    block_on(async {
        cache.root(file.clone(), stamp).await.unwrap();
        cache.root(file, stamp).await.unwrap();
    });
    assert_eq!(cache.hashed_bytes(), 2 * MIB as u64);
}
