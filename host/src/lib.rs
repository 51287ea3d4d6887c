//! What the operating system gives: socket knobs, `TCP_INFO`, what a socket still holds, sending a file's pages, descriptor
//! limits, clocks, timers, arrival times, short turns of a thread, and opening files beneath a directory.
//!
//! The only crate of the workspace with `unsafe` code; each block says why it is sound. Everything else goes through
//! `rustix` and `socket2`. Nothing here waits, logs or keeps state: a call asks the kernel once and answers.
//!
//! Linux only: `TCP_INFO`'s limits and `openat2` have no portable counterpart.

#![allow(unsafe_code)]

mod beneath;
mod cached;
mod clock;
mod descriptor;
mod memory;
mod promptness;
mod queue;
mod sendfile;
mod socket;
mod stamp;
mod tcp_info;
mod timer;

pub use beneath::open_beneath;
pub use cached::read_cached;
pub use clock::{cores, monotonic_nanos, process_cpu_nanos, thread_cpu_nanos};
pub use descriptor::{DescriptorLimit, descriptor_limit, raise_descriptor_limit};
pub use memory::keep_freed_memory;
pub use promptness::{current_core, prefer_promptness, stand_back};
pub use queue::{unacked_bytes, unsent_bytes};
pub use rustix::fs::OFlags;
pub use sendfile::{resident, send_file, send_more};
pub use socket::{
    congestion, congestion_available, not_sent_low_water, set_congestion, set_keepalive, set_max_segment, set_nodelay,
    set_not_sent_low_water, set_user_timeout,
};
pub use stamp::{receive_stamped, set_arrival_stamps};
pub use tcp_info::{TcpInfo, tcp_info};
pub use timer::Timer;
