//! Enumerations on the wire. Value 0 is what an older or newer peer's unknown value becomes here.

use flow::Class;

/// Foreground or background, on the wire.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Hash, Ord, PartialOrd, ::prost::Enumeration)]
#[repr(i32)]
pub enum ClassCode {
    /// Not said: foreground.
    Unspecified = 0,
    /// Somebody waits for it.
    Foreground = 1,
    /// Nobody waits for it.
    Background = 2,
}

impl From<ClassCode> for Class {
    fn from(code: ClassCode) -> Self {
        match code {
            ClassCode::Unspecified | ClassCode::Foreground => Self::Foreground,
            ClassCode::Background => Self::Background,
        }
    }
}

impl From<Class> for ClassCode {
    fn from(class: Class) -> Self {
        match class {
            Class::Foreground => Self::Foreground,
            Class::Background => Self::Background,
        }
    }
}

/// Why a session is refused.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Hash, Ord, PartialOrd, ::prost::Enumeration)]
#[repr(i32)]
pub enum RefusalCode {
    /// Not said, or a reason that this version does not know.
    Unspecified = 0,
    /// The versions have nothing in common.
    Version = 1,
    /// This id may do nothing here.
    Unauthorized = 2,
    /// No room for another session.
    Full = 3,
    /// The node is about to stop.
    Draining = 4,
    /// The node is too busy now.
    Busy = 5,
    /// The hello broke the protocol.
    Malformed = 6,
    /// The hello came too late.
    Timeout = 7,
    /// Too many attempts.
    RateLimited = 8,
    /// This id has as many sessions as it may have.
    DuplicateSession = 9,
    /// The data link's token is unknown or used.
    BadToken = 10,
    /// The node failed.
    Internal = 11,
}

impl RefusalCode {
    /// Every code that says something.
    pub const ALL: [Self; 11] = [
        Self::Version,
        Self::Unauthorized,
        Self::Full,
        Self::Draining,
        Self::Busy,
        Self::Malformed,
        Self::Timeout,
        Self::RateLimited,
        Self::DuplicateSession,
        Self::BadToken,
        Self::Internal,
    ];

    /// For logs, the API and the refusals counter.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::Version => "version",
            Self::Unauthorized => "unauthorized",
            Self::Full => "full",
            Self::Draining => "draining",
            Self::Busy => "busy",
            Self::Malformed => "malformed",
            Self::Timeout => "timeout",
            Self::RateLimited => "rate_limited",
            Self::DuplicateSession => "duplicate_session",
            Self::BadToken => "bad_token",
            Self::Internal => "internal",
        }
    }

    /// Whether the same hello may be taken later without anybody changing anything.
    pub const fn may_retry(self) -> bool {
        match self {
            Self::Full
            | Self::Draining
            | Self::Busy
            | Self::Timeout
            | Self::RateLimited
            | Self::DuplicateSession
            | Self::BadToken
            | Self::Internal => true,
            Self::Unspecified | Self::Version | Self::Unauthorized | Self::Malformed => false,
        }
    }
}

/// Why a transfer, or a listing, failed.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Hash, Ord, PartialOrd, ::prost::Enumeration)]
#[repr(i32)]
pub enum FailureCode {
    /// Not said, or a reason that this version does not know.
    Unspecified = 0,
    /// There is no such file.
    NotFound = 1,
    /// This peer may not.
    Forbidden = 2,
    /// The path is none: empty, absolute, with `..`, too long.
    BadPath = 3,
    /// The file is no longer the one that was opened.
    Changed = 4,
    /// The file got shorter while it was sent.
    Shrunk = 5,
    /// No room on the receiver's disk.
    DiskFull = 6,
    /// The file cannot be read.
    Unreadable = 7,
    /// The bytes that came are not the bytes that were sent.
    HashMismatch = 8,
    /// A disk error.
    Io = 9,
    /// Too many transfers, or listings, at once.
    TooMany = 10,
    /// Somebody cancelled it.
    Cancelled = 11,
    /// There is a file of that name already.
    Exists = 12,
    /// The share is read-only.
    ReadOnly = 13,
    /// It is a directory.
    IsDirectory = 14,
    /// Somebody else is writing that file; or the node is too busy now.
    Busy = 15,
    /// The node failed.
    Internal = 16,
    /// The node takes no new transfers because it is about to stop.
    Draining = 17,
    /// None of the session's data links carries it that way.
    NoLink = 18,
}

impl FailureCode {
    /// Every code that says something.
    pub const ALL: [Self; 18] = [
        Self::NotFound,
        Self::Forbidden,
        Self::BadPath,
        Self::Changed,
        Self::Shrunk,
        Self::DiskFull,
        Self::Unreadable,
        Self::HashMismatch,
        Self::Io,
        Self::TooMany,
        Self::Cancelled,
        Self::Exists,
        Self::ReadOnly,
        Self::IsDirectory,
        Self::Busy,
        Self::Internal,
        Self::Draining,
        Self::NoLink,
    ];

    /// For logs, the API and the failures counter.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::NotFound => "not_found",
            Self::Forbidden => "forbidden",
            Self::BadPath => "bad_path",
            Self::Changed => "changed",
            Self::Shrunk => "shrunk",
            Self::DiskFull => "disk_full",
            Self::Unreadable => "unreadable",
            Self::HashMismatch => "hash_mismatch",
            Self::Io => "io",
            Self::TooMany => "too_many",
            Self::Cancelled => "cancelled",
            Self::Exists => "exists",
            Self::ReadOnly => "read_only",
            Self::IsDirectory => "is_directory",
            Self::Busy => "busy",
            Self::Internal => "internal",
            Self::Draining => "draining",
            Self::NoLink => "no_link",
        }
    }

    /// Whether trying again may help without anybody changing anything.
    pub const fn may_retry(self) -> bool {
        match self {
            Self::Changed | Self::Shrunk | Self::HashMismatch | Self::TooMany | Self::Busy | Self::Draining => true,
            Self::Unspecified
            | Self::NotFound
            | Self::Forbidden
            | Self::BadPath
            | Self::DiskFull
            | Self::Unreadable
            | Self::Io
            | Self::Cancelled
            | Self::Exists
            | Self::ReadOnly
            | Self::IsDirectory
            | Self::Internal
            | Self::NoLink => false,
        }
    }
}

/// Why a session ends.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Hash, Ord, PartialOrd, ::prost::Enumeration)]
#[repr(i32)]
pub enum GoodbyeCode {
    /// Not said, or a reason that this version does not know.
    Unspecified = 0,
    /// Nothing left to do.
    Done = 1,
    /// No new transfers from now on; those that live may end. A later goodbye, of another code, ends the session.
    Draining = 2,
    /// An operator disconnected the peer.
    Disconnected = 3,
    /// The receiver of this goodbye broke the protocol.
    Violation = 4,
    /// The receiver of this goodbye was silent for too long.
    TimedOut = 5,
    /// The sender of this goodbye failed.
    Internal = 6,
}

impl GoodbyeCode {
    /// For logs and the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::Done => "done",
            Self::Draining => "draining",
            Self::Disconnected => "disconnected",
            Self::Violation => "violation",
            Self::TimedOut => "timed_out",
            Self::Internal => "internal",
        }
    }
}

/// What a listed entry is.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Hash, Ord, PartialOrd, ::prost::Enumeration)]
#[repr(i32)]
pub enum EntryKind {
    /// Not said, or a kind that this version does not know.
    Unspecified = 0,
    /// A regular file.
    File = 1,
    /// A directory.
    Directory = 2,
    /// A share, at the top.
    Share = 3,
}

macro_rules! display_as_str {
    ($($code:ty),*) => {$(
        impl std::fmt::Display for $code {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }
    )*};
}
display_as_str!(RefusalCode, FailureCode, GoodbyeCode);
