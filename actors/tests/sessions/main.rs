//! Whole sessions without sockets: a node's peer actors on a worker of their own, clients and hand-played peers on the
//! test's thread, and fake links and files between them.

mod backlog;
mod files;
mod guests;
mod house;
mod lanes;
mod life;
mod link;
mod rates;
mod transfers;
mod ways;
