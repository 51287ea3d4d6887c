//! Directory listings, page by page.

use super::{EntryKind, FailureCode};

/// The client asks for one page.
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
pub struct List {
    /// The client's number for this page; grows by the request, never 0.
    #[prost(uint32, tag = "1")]
    pub request: u32,
    /// `SHARE/PATH`; empty: the shares.
    #[prost(string, tag = "2")]
    pub path: String,
    /// Also what is below.
    #[prost(bool, tag = "3")]
    pub recursive: bool,
    /// The last name of the page before; empty: from the beginning.
    #[prost(string, tag = "4")]
    pub after: String,
}

/// The server's answer: one page, or an error.
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
pub struct Listing {
    /// The number of the request.
    #[prost(uint32, tag = "1")]
    pub request: u32,
    /// In the order of names.
    #[prost(message, repeated, tag = "2")]
    pub entries: Vec<Entry>,
    /// Another page follows, `after` the last name.
    #[prost(bool, tag = "3")]
    pub more: bool,
    /// Why there is no page.
    #[prost(message, optional, tag = "4")]
    pub error: Option<ListError>,
    /// Names in the listed directory that no path can say (not UTF-8, or too long), on the page that they would begin on.
    #[prost(uint32, tag = "5")]
    pub hidden: u32,
    /// Names of links, pipes and devices in it, which are not listed; on the same page.
    #[prost(uint32, tag = "6")]
    pub special: u32,
}

/// One name.
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
pub struct Entry {
    /// Relative to the listed path, `/`-separated when recursive.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Bytes; 0 for directories.
    #[prost(uint64, tag = "2")]
    pub size: u64,
    /// Nanoseconds since 1970.
    #[prost(int64, tag = "3")]
    pub mtime_ns: i64,
    /// What it is.
    #[prost(enumeration = "EntryKind", tag = "4")]
    pub kind: i32,
    /// As [`Listing::hidden`], of a directory within a recursive listing.
    #[prost(uint32, tag = "5")]
    pub hidden: u32,
    /// Why the names in this directory are not in the recursive listing, or not all of them; 0: they are.
    #[prost(enumeration = "FailureCode", tag = "6")]
    pub unlisted: i32,
    /// As [`Listing::special`], of a directory within a recursive listing.
    #[prost(uint32, tag = "7")]
    pub special: u32,
}

/// Why a listing failed.
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
pub struct ListError {
    /// What kind of failure.
    #[prost(enumeration = "FailureCode", tag = "1")]
    pub code: i32,
    /// For a person.
    #[prost(string, tag = "2")]
    pub message: String,
}

impl ListError {
    /// A failure.
    pub fn new(code: FailureCode, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into() }
    }
}
