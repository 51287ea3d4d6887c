//! Opening a name that must not leave its directory (DESIGN 14: paths never leave the share).

use std::{io, os::fd::BorrowedFd, os::fd::OwnedFd, path::Path};

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};

/// How often a lookup is tried again when a rename raced with it (`openat2(2)`: `EAGAIN` says that the kernel could not
/// prove that `..` stayed beneath). Each try is one system call, so a handful is cheap, and a bound keeps a peer that
/// renames in a loop from holding the thread.
const TRIES_MAX: u32 = 8;

/// Permissions of a file made with `OFlags::CREATE`, before the umask.
const CREATE_MODE: Mode = Mode::from_raw_mode(0o666);

/// Opens `path` beneath `directory`; `O_CLOEXEC` is always added, and a new file is made with 0666 less the umask.
///
/// The kernel resolves the whole path with `RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS`, so there is no
/// window between a check and the opening.
///
/// # Errors
/// `EXDEV` when the path would leave the directory (absolute, or too many `..`), `ELOOP` when any part of it is a symbolic
/// link, `ENOSYS` before Linux 5.6, and whatever `open(2)` answers.
pub fn open_beneath(directory: BorrowedFd<'_>, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    // The kernel refuses a mode on an opening that cannot create. `TMPFILE` is two bits, one of them `DIRECTORY`'s.
    let creates = flags.contains(OFlags::CREATE) || flags.contains(OFlags::TMPFILE);
    let mode = if creates { CREATE_MODE } else { Mode::empty() };
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    for _ in 1..TRIES_MAX {
        match openat2(directory, path, flags | OFlags::CLOEXEC, mode, resolve) {
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            answer => return Ok(answer?),
        }
    }
    Ok(openat2(directory, path, flags | OFlags::CLOEXEC, mode, resolve)?)
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, File},
        io::{Read as _, Write as _},
        os::fd::AsFd as _,
    };

    use super::*;

    fn errno(answer: io::Result<OwnedFd>) -> Option<i32> {
        answer.err().and_then(|error| error.raw_os_error())
    }

    #[test]
    fn opens_and_creates_beneath() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("a")).unwrap();
        let directory = File::open(root.path()).unwrap();
        let flags = OFlags::CREATE | OFlags::WRONLY;
        let mut file = File::from(open_beneath(directory.as_fd(), Path::new("a/new"), flags).unwrap());
        file.write_all(b"words").unwrap();
        let mut read = String::new();
        let file = open_beneath(directory.as_fd(), Path::new("a/../a/new"), OFlags::RDONLY).unwrap();
        File::from(file).read_to_string(&mut read).unwrap();
        assert_eq!(read, "words");
    }

    #[test]
    fn opens_a_directory() {
        let root = tempfile::tempdir().unwrap();
        let directory = File::open(root.path()).unwrap();
        open_beneath(directory.as_fd(), Path::new("."), OFlags::RDONLY | OFlags::DIRECTORY).unwrap();
    }

    #[test]
    fn refuses_every_way_out() {
        let root = tempfile::tempdir().unwrap();
        let share = root.path().join("share");
        fs::create_dir(&share).unwrap();
        fs::write(root.path().join("secret"), b"x").unwrap();
        std::os::unix::fs::symlink("../secret", share.join("link")).unwrap();
        std::os::unix::fs::symlink("..", share.join("up")).unwrap();
        let directory = File::open(&share).unwrap();
        let open = |path: &str| open_beneath(directory.as_fd(), Path::new(path), OFlags::RDONLY);
        assert_eq!(errno(open("../secret")), Some(libc::EXDEV));
        assert_eq!(errno(open("/etc/passwd")), Some(libc::EXDEV));
        assert_eq!(errno(open("link")), Some(libc::ELOOP));
        assert_eq!(errno(open("up/secret")), Some(libc::ELOOP));
        assert_eq!(errno(open("absent")), Some(libc::ENOENT));
    }
}
