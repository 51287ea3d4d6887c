//! Who acts in Evenkeel: the peer actor and its two lanes, the allocator actor, supervision, and the ports through which
//! they reach links, files and rights.

pub mod log_gate;
pub mod metric;
pub mod port;
pub mod view;
