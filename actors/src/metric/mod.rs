//! What the node counts: the one table of metrics, and the handles through which everybody counts.
//!
//! [`METRICS`] is the only place where a metric is declared: its name, kind, unit, labels, help and *counting rule* (what
//! exactly moves it, so that two readers of a dashboard mean the same thing). The exporter describes the metrics from it,
//! the dashboards are checked against it, and [`NodeMetrics`] refuses to register what is not in it.
//!
//! Hot paths hold handles: nothing looks a name up after the start. Without an installed recorder (tests, the client
//! commands) every handle does nothing.

mod handles;
mod labels;
mod table;

pub use handles::{DirectionMetrics, Lane, NodeMetrics};
pub use table::{Kind, METRICS, Metric, Unit, find};
