//! The composition root: the only place that names concrete types. It puts transports, files, identity, admin API and
//! telemetry together into a node (`serve`), or into a client's one session (`get`, `put`, `ls`).

mod compose;
mod demo;
pub mod errands;
mod serve;
pub mod session;
mod transfer;

pub use demo::demo;
pub use serve::serve;
pub use transfer::{get, ls, put};
