//! What a neighbour notices of what others do to a node over HTTP: his rate is measured, so there is one test at a time.

#[path = "support/mod.rs"]
mod support;

#[path = "neighbour/abuse.rs"]
mod abuse;
#[path = "neighbour/burst.rs"]
mod burst;
#[path = "neighbour/heads.rs"]
mod heads;
#[path = "neighbour/short.rs"]
mod short;
#[path = "neighbour/slow.rs"]
mod slow;
#[path = "http/stage.rs"]
mod stage;
#[path = "neighbour/watch.rs"]
mod watch;
