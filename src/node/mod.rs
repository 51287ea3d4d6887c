//! The composition root: the only place that names concrete types. It puts transports, files, identity, admin API and
//! telemetry together into a node (`serve`), or into a client's one session (`get`, `put`, `ls`).

mod check;
mod compose;
mod demo;
mod doors;
pub mod errands;
pub mod exit;
mod listing;
mod options;
mod places;
mod progress;
mod reload;
mod serve;
pub mod session;
mod sign;
mod transfer;
mod tree;

pub use check::check;
pub use demo::demo;
pub use exit::{Exit, Failure};
pub use listing::{Listed, list};
pub use options::{
    ConfigSource, DemoOptions, DemoTransport, Download, Endpoint, GetOptions, LsOptions, PutOptions, ServeOptions,
    SessionOptions, SignOptions, TransportChoice, Upload,
};
pub use progress::TransferProgress;
pub use serve::serve;
pub use sign::sign;
pub use transfer::{get, ls, put};
