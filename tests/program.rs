//! The whole program as its users meet it: the real binary on real sockets. One test binary for all of it, since each links
//! the whole program.

#[path = "support/mod.rs"]
mod support;

#[path = "program/commands.rs"]
mod commands;
#[path = "program/console.rs"]
mod console;
#[path = "program/ending.rs"]
mod ending;
#[path = "program/faults.rs"]
mod faults;
#[path = "program/identity.rs"]
mod identity;
#[path = "program/limits.rs"]
mod limits;
#[path = "program/modes.rs"]
mod modes;
#[path = "program/resume.rs"]
mod resume;
#[path = "program/transfer.rs"]
mod transfer;
