//! The hostile peer: whatever comes over the wire, on the command line or to the API, the one who sent it is told or closed,
//! it is counted, the node serves on, and the transfers of others keep their rate.

// What does not depend on the transport is there once for each.
#![allow(clippy::duplicate_mod)]

#[path = "support/mod.rs"]
mod support;

#[path = "hostile/admin.rs"]
mod admin;
#[path = "hostile/door.rs"]
mod door;
#[path = "hostile/foe.rs"]
mod foe;
#[path = "hostile/forged.rs"]
mod forged;
#[path = "hostile/generous.rs"]
mod generous;
#[path = "hostile/line.rs"]
mod line;
#[path = "hostile/quic.rs"]
mod quic;
#[path = "hostile/stage.rs"]
mod stage;
#[path = "hostile/words.rs"]
mod words;

/// Over one transport and the other. `support` tells by a test's name over which foe, neighbour and newcomer go.
macro_rules! over {
    ($($transport:ident),+) => {
        $(#[path = "hostile"]
        mod $transport {
            mod data;
            mod flood;
            mod frames;
            mod paths;
            mod rates;
            mod tokens;
            mod ways;
        })+
    };
}

over!(over_tcp, over_quic);
