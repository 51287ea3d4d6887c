//! Who acts in Evenkeel: the ports, the metrics, and what the actors share.

pub mod log_gate;
pub mod metric;
pub mod port;
pub mod view;
