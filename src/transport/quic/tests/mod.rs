//! QUIC on real loopback sockets, with a relay between that counts, delays, drops and changes addresses.

mod early;
mod firewall;
mod holding;
mod hostile;
mod relay;
mod rounds;
mod shaping;
mod sockets;
mod streams;
mod tuning;
mod unproven;
