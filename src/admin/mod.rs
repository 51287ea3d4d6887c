//! The control message API, v1: HTTP and JSON over the node's [`Console`](actors::port::Console).
//!
//! It runs on threads of its own, so that neither a slow client nor a large answer takes a turn from the workers. Whoever
//! may reach it may change everything; so it listens on loopback by default, wants a bearer token anywhere else, and refuses
//! what a browser sends on behalf of a web page (see `guard`).

mod answer;
mod guard;
mod malformed;
mod order;
mod route;
mod server;

pub use server::{AdminConfig, BindError, Server};
