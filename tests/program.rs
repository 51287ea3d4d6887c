//! The whole program as its users meet it: the real binary on real sockets. One binary for all of it, since each links the
//! whole program.

#[path = "support/mod.rs"]
mod support;

#[path = "program/transfer.rs"]
mod transfer;
