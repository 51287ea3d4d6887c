//! Evenkeel: a peer server that shares a line evenly and calmly among thousands of peers.
//!
//! This library is the program: the binary's `main` only calls [`cli::run`]. See ARCHITECTURE.md for the rooms.

pub mod admin;
pub mod cli;
pub mod config;
pub mod files;
pub mod identity;
pub mod node;
pub mod telemetry;
pub mod transport;
