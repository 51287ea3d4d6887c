//! Where somebody is dialled who listens at an address.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// `address`, and of an address that means all of a machine's own this machine: the kernel takes it so for TCP, and a datagram has to be
/// told.
pub fn destination(address: SocketAddr) -> SocketAddr {
    let mut destination = address;
    match address {
        SocketAddr::V4(address) if address.ip().is_unspecified() => destination.set_ip(Ipv4Addr::LOCALHOST.into()),
        SocketAddr::V6(address) if address.ip().is_unspecified() => destination.set_ip(Ipv6Addr::LOCALHOST.into()),
        SocketAddr::V4(_) | SocketAddr::V6(_) => {}
    }
    destination
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_listens_everywhere_is_dialled_on_this_machine() {
        let at = |text: &str| destination(text.parse().unwrap()).to_string();
        assert_eq!(at("0.0.0.0:7400"), "127.0.0.1:7400");
        assert_eq!(at("[::]:7400"), "[::1]:7400");
        for other in ["192.0.2.1:7400", "127.0.0.2:7400", "[fe80::1%3]:7400"] {
            assert_eq!(at(other), other);
        }
    }
}
