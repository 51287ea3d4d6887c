//! What the operating system says, in words for the peer: share paths only, never paths of this machine.

use std::{fmt, io};

use actors::{
    log_gate::{LOG_INTERVAL, LogGate},
    port::FileError,
};
use rustix::io::Errno;
use wire::FailureCode;

/// What was being done when it failed.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(super) enum Deed {
    /// Opening or reading a file, or listing a directory.
    Read,
    /// Making, writing or renaming one.
    Write,
}

/// Files that may not be read. Whoever may ask for one may do so as often as he likes.
static UNREADABLE: LogGate = LogGate::new(LOG_INTERVAL);
/// Disks that fail; apart, so that the others do not hide them.
static FAILING: LogGate = LogGate::new(LOG_INTERVAL);

/// A file's name in messages and where to look for the names that exist.
#[derive(Clone, Debug)]
pub(super) struct Label {
    quoted: String,
    /// The share, when the file is in one.
    share: Option<String>,
}

impl Label {
    /// A file in a share.
    pub(super) fn in_share(path: &super::path::SharePath) -> Self {
        Self { quoted: path.to_string(), share: Some(path.share().to_owned()) }
    }

    /// A client's file, by the name it has in the conversation.
    pub(super) fn plain(name: &str) -> Self {
        Self { quoted: super::path::Quoted(name).to_string(), share: None }
    }

    /// A failure of kind `code`: the name, a colon, `words`.
    pub(super) fn fault(&self, code: FailureCode, words: impl fmt::Display) -> FileError {
        FileError::new(code, format!("{self}: {words}"))
    }

    /// No such file, and where to look.
    pub(super) fn not_found(&self) -> FileError {
        match &self.share {
            Some(share) => self.fault(
                FailureCode::NotFound,
                format_args!("no such file in share `{share}`; `evenkeel ls` shows what is there"),
            ),
            None => self.fault(FailureCode::NotFound, "no such file"),
        }
    }

    /// Not a regular file: a FIFO, a device, a socket.
    pub(super) fn special(&self) -> FileError {
        self.fault(FailureCode::Forbidden, "not a regular file; only regular files are moved")
    }

    /// What `error` means for who asked.
    pub(super) fn io(&self, deed: Deed, error: &io::Error) -> FileError {
        use FailureCode as Code;
        let errno = Errno::from_io_error(error);
        let (code, words) = match errno {
            Some(Errno::NOENT | Errno::NOTDIR | Errno::STALE) if deed == Deed::Read => return self.not_found(),
            Some(Errno::NOENT | Errno::NOTDIR | Errno::STALE) => {
                (Code::NotFound, "the directory that it should be written to is not there, or takes no files")
            }
            Some(Errno::NXIO | Errno::NODEV) => return self.special(),
            Some(Errno::ACCESS | Errno::PERM) if deed == Deed::Read => {
                (Code::Unreadable, "permission denied: the user that Evenkeel runs as may not read it")
            }
            Some(Errno::ACCESS | Errno::PERM) => {
                (Code::Forbidden, "permission denied: the user that Evenkeel runs as may not write there")
            }
            Some(Errno::LOOP | Errno::XDEV) => {
                (Code::Forbidden, "there is a symbolic link on the way; links are not followed")
            }
            Some(Errno::NOSPC) => (Code::DiskFull, "the receiving disk is full"),
            Some(Errno::DQUOT) => (Code::DiskFull, "the receiver's disk quota is used up"),
            Some(Errno::FBIG) => (Code::DiskFull, "larger than the receiving file system permits"),
            Some(Errno::ROFS) => (Code::ReadOnly, "the receiving file system is read-only"),
            Some(Errno::NAMETOOLONG) => (Code::BadPath, "a name is too long: 255 bytes at most"),
            Some(Errno::ISDIR) => (Code::IsDirectory, "a directory; ask for the files in it"),
            Some(Errno::MFILE | Errno::NFILE) => {
                (Code::TooMany, "too many files are open on the other side; try again later")
            }
            _ if deed == Deed::Read => (Code::Io, "its disk answered with an error"),
            _ => (Code::Io, "the receiving disk answered with an error"),
        };
        // The peer gets words; the operator gets the number.
        tracing::debug!(file = %self, %error, "a file failed");
        let gate = match code {
            Code::Unreadable => Some(&UNREADABLE),
            Code::Io => Some(&FAILING),
            _ => None,
        };
        if let Some(suppressed) = gate.and_then(|gate| gate.open(host::monotonic_nanos())) {
            tracing::warn!(file = %self, %error, code = code.as_str(), suppressed, "a file failed");
        }
        self.fault(code, words)
    }

    /// The disk pool gave no answer: shutting down, or a bug of ours that has been logged.
    pub(super) fn gone(&self) -> FileError {
        self.fault(FailureCode::Internal, "the disk threads gave no answer; try again")
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.quoted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_not_be_read_is_told_from_a_disk_that_fails() {
        for (errno, deed, expected) in [
            (Errno::ACCESS, Deed::Read, FailureCode::Unreadable),
            (Errno::PERM, Deed::Read, FailureCode::Unreadable),
            (Errno::IO, Deed::Read, FailureCode::Io),
            (Errno::ACCESS, Deed::Write, FailureCode::Forbidden),
            (Errno::IO, Deed::Write, FailureCode::Io),
        ] {
            let fault = Label::plain("a.bin").io(deed, &errno.into());
            assert_eq!(fault.code, expected, "{errno} {deed:?}");
        }
    }
}
