//! Reading what the page cache holds, and nothing else.

use std::os::fd::{AsFd, AsRawFd as _};

/// Appends to `buffer` what the page cache holds of the `len` bytes at `offset`, up to the first byte that it does not
/// (`preadv2(2)` with `RWF_NOWAIT`): it never waits for a disk, so that a thread which must not wait may ask. Returns how
/// many bytes those were; 0 also at the end of the file, and on file systems that do not know the question.
pub fn read_cached(file: impl AsFd, offset: u64, len: usize, buffer: &mut Vec<u8>) -> usize {
    let Ok(at) = libc::off_t::try_from(offset) else { return 0 };
    buffer.reserve_exact(len);
    let room = buffer.spare_capacity_mut();
    let slice = libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: len };
    // SAFETY: the descriptor is open for as long as `file` is borrowed; the one slice is spare capacity of at least `len`
    // bytes, as reserved above, that nobody else has while `buffer` is borrowed.
    let read = unsafe { libc::preadv2(file.as_fd().as_raw_fd(), &raw const slice, 1, at, libc::RWF_NOWAIT) };
    let read = usize::try_from(read).unwrap_or(0).min(len);
    // SAFETY: the kernel has written the first `read` bytes of the spare capacity.
    unsafe { buffer.set_len(buffer.len() + read) };
    read
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn what_was_just_written_is_read_behind_what_is_there_or_not_at_all() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"evenkeel").unwrap();
        let mut buffer = b"an ".to_vec();
        // A file system that does not know the question answers with nothing.
        match read_cached(&file, 4, 4, &mut buffer) {
            0 => assert_eq!(buffer, b"an "),
            read => assert_eq!((read, buffer.as_slice()), (4, b"an keel".as_slice())),
        }
        assert_eq!(read_cached(&file, 100, 4, &mut Vec::new()), 0);
        assert_eq!(read_cached(&file, u64::MAX, 4, &mut Vec::new()), 0);
    }
}
