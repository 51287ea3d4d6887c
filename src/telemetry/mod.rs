//! What the node tells of itself while it runs: metrics on their own port from their own thread, and logs.
//!
//! [`Metrics::install`] comes before any runtime and before [`actors::metric::NodeMetrics::register`], since handles that
//! are registered without a recorder count nothing.

mod log;
mod page;
mod recorder;

pub use log::{Log, LogError, LogFormat, install_log};
pub use page::{MetricsPage, PageError};
pub use recorder::{Metrics, RecorderError};
