//! The hostile peer: whatever comes over the wire, on the command line or to the API, the one who sent it is told or closed,
//! it is counted, the node serves on, and the transfers of others keep their rate.

#[path = "support/mod.rs"]
mod support;

#[path = "hostile/admin.rs"]
mod admin;
#[path = "hostile/data.rs"]
mod data;
#[path = "hostile/door.rs"]
mod door;
#[path = "hostile/flood.rs"]
mod flood;
#[path = "hostile/foe.rs"]
mod foe;
#[path = "hostile/forged.rs"]
mod forged;
#[path = "hostile/frames.rs"]
mod frames;
#[path = "hostile/generous.rs"]
mod generous;
#[path = "hostile/paths.rs"]
mod paths;
#[path = "hostile/quic.rs"]
mod quic;
#[path = "hostile/rates.rs"]
mod rates;
#[path = "hostile/stage.rs"]
mod stage;
#[path = "hostile/tokens.rs"]
mod tokens;
#[path = "hostile/words.rs"]
mod words;
