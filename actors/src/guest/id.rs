//! What a guest is called: an id that is its address, shown as `http:192.0.2.7`, or `http:2001:db8:1:2::/64`.
//!
//! The tree, the registry and the settings know peers by [`PeerId`], the hash of a key. A guest's id has a fixed beginning
//! instead, with the address behind it: no key can be found whose hash begins so, and nothing that knows ids has to
//! know of guests, except where a person reads or writes one.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
};

use wire::PeerId;

/// What a guest's id begins with; 128 bits, so that no key's hash does.
const TAG: [u8; 16] = *b"evenkeel guest: ";
/// What a guest's name begins with.
const PREFIX: &str = "http:";
/// What a guest's name ends with where it is many addresses.
const NETWORK: &str = "/64";

/// The address that guests at `address` share: an IPv4 address by itself, of IPv6 the /64, which one customer has.
pub fn shared_address(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

/// The id of the guest at `address`.
pub fn guest_id(address: IpAddr) -> PeerId {
    let octets = match shared_address(address) {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    };
    let mut bytes = [0; 32];
    bytes[..16].copy_from_slice(&TAG);
    bytes[16..].copy_from_slice(&octets);
    PeerId::from_bytes(bytes)
}

/// The one address of a guest; `None` for a peer with a key, and for IPv6, of which a guest is many addresses.
pub fn only_address_of(id: &PeerId) -> Option<IpAddr> {
    address_of(id).filter(IpAddr::is_ipv4)
}

/// The address of a guest, of IPv6 the first of its /64; `None` for a peer with a key.
pub(crate) fn address_of(id: &PeerId) -> Option<IpAddr> {
    let octets: [u8; 16] = id.as_bytes().strip_prefix(&TAG)?.try_into().ok()?;
    Some(IpAddr::from(octets).to_canonical())
}

/// Shows an id as people write it: `http:ADDRESS` for a guest (of IPv6 `http:ADDRESS/64`), 52 letters for others.
#[derive(Copy, Clone, Debug)]
pub struct PeerName<'a>(pub &'a PeerId);

impl PeerName<'_> {
    /// For messages: the first letters of a key's id, a guest's address whole.
    pub fn short(&self) -> String {
        if address_of(self.0).is_some() { self.to_string() } else { self.0.short() }
    }
}

impl fmt::Display for PeerName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match address_of(self.0) {
            Some(address @ IpAddr::V4(_)) => write!(f, "{PREFIX}{address}"),
            Some(address @ IpAddr::V6(_)) => write!(f, "{PREFIX}{address}{NETWORK}"),
            None => self.0.fmt(f),
        }
    }
}

/// Reads what [`PeerName`] writes; any address of an IPv6 /64 names it, also without the length.
///
/// # Errors
/// In words for whoever wrote it.
pub fn parse_peer(text: &str) -> Result<PeerId, String> {
    match text.strip_prefix(PREFIX) {
        Some(address) => address_from(address).map(guest_id).ok_or_else(|| {
            format!(
                "`{text}` is no peer: behind `{PREFIX}` comes an address, such as http:192.0.2.7 or http:2001:db8::/64"
            )
        }),
        None => text.parse().map_err(|error: wire::PeerIdError| error.to_string()),
    }
}

fn address_from(text: &str) -> Option<IpAddr> {
    match text.strip_suffix(NETWORK) {
        Some(network) => network.parse::<Ipv6Addr>().ok().map(IpAddr::from),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for (address, name) in [
            ("192.0.2.7", "http:192.0.2.7"),
            ("::ffff:192.0.2.7", "http:192.0.2.7"),
            ("2001:db8:1:2:3:4:5:6", "http:2001:db8:1:2::/64"),
            ("::1", "http:::/64"),
        ] {
            let id = guest_id(address.parse().unwrap());
            assert_eq!(PeerName(&id).to_string(), name);
            assert_eq!(parse_peer(name), Ok(id));
            assert_eq!(parse_peer(&format!("http:{address}")), Ok(id));
            assert_eq!(parse_peer(&id.to_string()), Ok(id), "the letters name it as well");
        }
        let key = PeerId::from_spki_der(b"a key");
        assert_eq!(parse_peer(&PeerName(&key).to_string()), Ok(key));
        for bad in ["http:nowhere", "http:192.0.2.7/64", "http:::1/63", "http:/64"] {
            assert!(parse_peer(bad).unwrap_err().contains("192.0.2.7"), "{bad}");
        }
        assert!(parse_peer("short").unwrap_err().contains("not a peer id"));
    }

    #[test]
    fn addresses_of_one_customer_are_one_guest_and_others_are_not() {
        let id = |text: &str| guest_id(text.parse().unwrap());
        assert_eq!(id("2001:db8:1:2::1"), id("2001:db8:1:2:ffff::9"));
        assert_ne!(id("2001:db8:1:2::1"), id("2001:db8:1:3::1"));
        assert_ne!(id("192.0.2.7"), id("192.0.2.8"));
    }
}
