//! What the benchmarks share: the real program as a child, a network of namespaces, what receivers have on disk, a table.

pub(crate) mod disk;
pub(crate) mod network;
pub(crate) mod program;
pub(crate) mod table;
