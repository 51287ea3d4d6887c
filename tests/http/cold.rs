//! A file that is on the disk and not in the page cache: who asks for it waits, and nobody else.

use std::{
    fs::{self, File},
    io,
    path::Path,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    fs::{Advice, fadvise, fsync},
    io::{ReadWriteFlags, preadv2},
};

use crate::{
    stage::{Done, Wire, node},
    support::{Server, noise},
};

const COLD_BYTES: usize = 48 << 20;
/// Far more than a turn of a busy worker on a busy machine, far less than a neighbour held back by a disk that hangs would see.
const WAIT_MAX: Duration = Duration::from_millis(500);

/// Takes a file out of the page cache.
fn chill(path: &Path) -> io::Result<()> {
    let file = File::open(path)?;
    fsync(&file)?;
    Ok(fadvise(&file, 0, None, Advice::DontNeed)?)
}

/// Whether files of this directory can be taken out of the page cache. Tried on one of its own: the question makes the kernel read
/// ahead what it is about, and then nothing is cold any more.
fn chills(directory: &Path) -> bool {
    let path = directory.join("tried");
    noise(&path, 4096, 12);
    chill(&path).unwrap();
    let (file, mut page) = (File::open(path).unwrap(), [0; 4096]);
    preadv2(&file, &mut [io::IoSliceMut::new(&mut page)], 0, ReadWriteFlags::NOWAIT).is_err()
}

/// How often a disk thread was waited for.
fn reads(server: &Server) -> f64 {
    server.metric("evenkeel_disk_wait_seconds_count", &["operation=\"read\""])
}

#[test]
fn a_cold_file_comes_whole_and_its_neighbour_on_the_same_worker_does_not_wait() {
    let server = node("[node]\nworkers = 1\n", &[]);
    let path = server.share().join("cold.bin");
    noise(&path, COLD_BYTES, 11);
    let bytes = fs::read(&path).unwrap();
    // Known to the node and warm: what the neighbour asks for.
    let mut neighbour = Wire::from_address(&server, [127, 0, 0, 2].into());
    assert_eq!(neighbour.get("file.bin", "").body.len(), 1_000_000);
    if !chills(server.room.path()) {
        eprintln!("this file system keeps its pages: this test says nothing");
        return;
    }
    chill(&path).unwrap();
    let (before, done) = (reads(&server), AtomicBool::new(false));
    let (waits, asked) = thread::scope(|scope| {
        let cold = scope.spawn(|| {
            let _done = Done(&done);
            assert!(Wire::to(&server).get("cold.bin", "").body == bytes, "other bytes");
        });
        let (mut longest, mut asked) = (Duration::ZERO, 0);
        while !done.load(Relaxed) {
            let began = Instant::now();
            assert_eq!(neighbour.get("file.bin", "Range: bytes=0-999\r\n").body.len(), 1000);
            longest = longest.max(began.elapsed());
            asked += 1;
        }
        cold.join().unwrap();
        (longest, asked)
    });
    let read = reads(&server) - before;
    eprintln!("{asked} answers meanwhile, the slowest after {waits:?}; {read} reads on disk threads");
    // Once the disk was asked, the kernel reads ahead of what is sent; so there are few. None: the worker waited by itself.
    assert!(read >= 1.0, "nothing was read on a disk thread: what was cold?");
    assert!(asked > 0 && waits < WAIT_MAX, "{asked} answers, one only after {waits:?}");
}
