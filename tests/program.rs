//! The whole program as its users meet it: the real binary on real sockets. One test binary for all of it, since each links
//! the whole program.

// The cases of sessions are there once for each transport.
#![allow(clippy::duplicate_mod)]

#[path = "support/mod.rs"]
mod support;

#[path = "program/binding.rs"]
mod binding;
#[path = "program/commands.rs"]
mod commands;
#[path = "program/contact.rs"]
mod contact;
#[path = "program/firewall.rs"]
mod firewall;
#[path = "program/lanes.rs"]
mod lanes;
#[path = "program/nat.rs"]
mod nat;
#[path = "program/nobody.rs"]
mod nobody;
#[path = "program/own_lines.rs"]
mod own_lines;
#[path = "program/path.rs"]
mod path;
#[path = "program/ports.rs"]
mod ports;
#[path = "program/returning.rs"]
mod returning;
#[path = "program/stuck_log.rs"]
mod stuck_log;
#[path = "program/transports.rs"]
mod transports;
#[path = "program/udp.rs"]
mod udp;
#[path = "program/unread.rs"]
mod unread;

/// Sessions, over one transport and the other. `support` tells by a test's name over which its clients go.
macro_rules! over {
    ($($transport:ident),+) => {
        $(#[path = "program"]
        mod $transport {
            mod console;
            mod duplex;
            mod ending;
            mod faults;
            mod gone;
            mod identity;
            mod limits;
            mod modes;
            mod reload;
            mod resume;
            mod transfer;
            mod ways;
        })+
    };
}

over!(over_tcp, over_quic);
