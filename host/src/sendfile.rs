//! From the page cache into a socket without a copy of our own (`sendfile(2)`), and which bytes it would not have to wait for.

use std::{
    io::{self, IoSliceMut},
    os::fd::{AsFd, AsRawFd as _},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use rustix::io::{ReadWriteFlags, preadv2};
use socket2::SockRef;

/// Between two bytes that are asked for where the kernel can't be asked for all at once. The page cache is filled and emptied in
/// runs of at least this length as a rule; a hole that is smaller and lies between two bytes that are there is not seen, and
/// whoever sends it waits for that one read.
const STEP: u64 = 32 * 1024;

/// How many of the `len` bytes at `offset` the page cache holds, from the first on. Never waits for a disk. 0 also at the end of
/// the file, and on file systems that do not know the question.
///
/// One call where `cachestat(2)` answers: Linux 6.5, and since 6.14 only to whoever may write the file or owns it. Otherwise, and
/// where something is missing, a byte every 32 KiB and the last one tell (`preadv2(2)` with `RWF_NOWAIT`).
pub fn resident(file: impl AsFd, offset: u64, len: usize) -> usize {
    let Some(last) = offset.checked_add(len as u64).and_then(|end| end.checked_sub(1)) else { return 0 };
    // Pages are counted also behind the end of a file that became shorter: its last byte must be there.
    if is_whole(&file, offset, last) && is_resident(&file, last) {
        return len;
    }
    let (mut at, mut seen) = (offset, offset);
    while is_resident(&file, at) {
        if at == last {
            return len;
        }
        seen = at;
        at = ((at / STEP + 1) * STEP).min(last);
    }
    (seen - offset) as usize
}

/// What `cachestat(2)` is asked; `struct cachestat_range` of `linux/mman.h`.
#[repr(C)]
struct Range {
    offset: u64,
    len: u64,
}

/// What it answers, in pages; `struct cachestat`.
#[repr(C)]
#[derive(Default)]
struct Counts {
    cached: u64,
    dirty: u64,
    writeback: u64,
    evicted: u64,
    recently_evicted: u64,
}

/// `__NR_cachestat`: the same number on every architecture. The libc crate does not carry it yet.
const CACHESTAT: libc::c_long = 451;

/// Whether the kernel says that every page from `first` to `last` is there; not where it doesn't say.
fn is_whole(file: &impl AsFd, first: u64, last: u64) -> bool {
    static IS_UNKNOWN: AtomicBool = AtomicBool::new(false);
    if first > last || IS_UNKNOWN.load(Relaxed) {
        return false;
    }
    let (range, mut counts) = (Range { offset: first, len: last - first + 1 }, Counts::default());
    // SAFETY: the descriptor is open for as long as `file` is borrowed; `range` and `counts` are laid out as the kernel's
    // structures and alive for the whole call.
    let answer = unsafe {
        libc::syscall(CACHESTAT, file.as_fd().as_raw_fd(), &raw const range, &raw mut counts, 0 as libc::c_uint)
    };
    if answer == -1 && io::Error::last_os_error().raw_os_error() == Some(libc::ENOSYS) {
        IS_UNKNOWN.store(true, Relaxed);
    }
    let page = rustix::param::page_size() as u64;
    answer == 0 && counts.cached > last / page - first / page
}

fn is_resident(file: &impl AsFd, offset: u64) -> bool {
    let mut byte = [0];
    preadv2(file, &mut [IoSliceMut::new(&mut byte)], offset, ReadWriteFlags::NOWAIT) == Ok(1)
}

/// Hands at most `len` bytes at `offset` of a file to a socket that does not block; returns how many it took. 0: the file ends
/// before `offset`. Bytes that the page cache does not hold are read from the disk meanwhile: ask [`resident`] before.
///
/// What the socket took are the file's own pages: who writes into the file changes what was not sent yet.
///
/// # Errors
/// `WouldBlock` when the socket is full, and what `sendfile(2)` answers.
pub fn send_file(socket: impl AsFd, file: impl AsFd, offset: u64, len: usize) -> io::Result<usize> {
    loop {
        let mut at = offset;
        match rustix::fs::sendfile(&socket, &file, Some(&mut at), len) {
            Err(rustix::io::Errno::INTR) => {}
            answer => return Ok(answer?),
        }
    }
}

/// Hands `bytes` to a socket, more of which will follow at once (`MSG_MORE`): a header need not travel in a packet of its own.
///
/// # Errors
/// `WouldBlock` when the socket is full, and what `send(2)` answers.
pub fn send_more(socket: impl AsFd, bytes: &[u8]) -> io::Result<usize> {
    SockRef::from(&socket).send_with_flags(bytes, libc::MSG_MORE)
}

#[cfg(test)]
mod tests {
    use std::{
        fs::File,
        io::{Read as _, Write as _},
        net::{TcpListener, TcpStream},
    };

    use super::*;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let sender = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        sender.set_nonblocking(true).unwrap();
        (sender, listener.accept().unwrap().0)
    }

    fn file_of(len: usize) -> (File, Vec<u8>) {
        let bytes: Vec<u8> = (0..len).map(|at| (at / 251) as u8).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        (file, bytes)
    }

    #[test]
    fn a_full_socket_takes_a_part_then_nothing_then_the_rest() {
        let (file, bytes) = file_of(24 << 20);
        let (sender, mut receiver) = pair();
        let mut sent = 0;
        let full = loop {
            match send_file(&sender, &file, sent as u64, bytes.len() - sent) {
                Ok(taken) => sent += taken,
                Err(error) => break error,
            }
        };
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
        assert!(sent > 0 && sent < bytes.len(), "{sent}");
        let reader = std::thread::spawn(move || {
            let mut got = Vec::new();
            receiver.read_to_end(&mut got).unwrap();
            got
        });
        while sent < bytes.len() {
            match send_file(&sender, &file, sent as u64, bytes.len() - sent) {
                Ok(taken) => sent += taken,
                Err(_) => std::thread::yield_now(),
            }
        }
        drop(sender);
        assert!(reader.join().unwrap() == bytes);
    }

    #[test]
    fn a_file_that_shrank_gives_what_is_left_and_then_nothing() {
        let (file, _) = file_of(100_000);
        let (sender, _receiver) = pair();
        file.set_len(60_000).unwrap();
        assert_eq!(send_file(&sender, &file, 50_000, 50_000).unwrap(), 10_000);
        assert_eq!(send_file(&sender, &file, 60_000, 40_000).unwrap(), 0);
        assert_eq!(resident(&file, 60_000, 1), 0);
    }

    #[test]
    fn what_was_just_written_is_there_up_to_the_end_or_not_known_at_all() {
        let (file, bytes) = file_of(100_000);
        // A file system that does not know the question answers with nothing.
        if resident(&file, 0, 1) == 1 {
            assert_eq!(resident(&file, 0, bytes.len()), bytes.len());
            assert_eq!(resident(&file, 10_000, 50_000), 50_000);
            let beyond = resident(&file, 90_000, 50_000);
            assert!((1..10_000).contains(&beyond), "{beyond}");
        }
        assert_eq!(resident(&file, 0, 0), 0);
        assert_eq!(resident(&file, u64::MAX, 10), 0);
    }
}
