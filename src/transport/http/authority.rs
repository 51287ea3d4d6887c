//! Who a request is for: `NAME`, `ADDRESS` or `[ADDRESS]`, and a port. In `Host`, and in a target in absolute form.

use std::net::Ipv6Addr;

/// Whether `text` is what a URI has between its slashes (RFC 3986, 3.2), without a user, and neither empty nor with a port that none
/// can have.
pub(super) fn is_authority(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, port)) if address.parse::<Ipv6Addr>().is_ok() => ("[]", port),
            _ => return false,
        },
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let is_port = match port.strip_prefix(':') {
        // A colon with nothing behind it is allowed, and means nothing.
        Some(digits) => {
            digits.is_empty() || (digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse::<u16>().is_ok())
        }
        None => port.is_empty(),
    };
    is_port && (host == "[]" || is_name(host))
}

/// A registered name, or an IPv4 address, which looks like one.
fn is_name(host: &str) -> bool {
    let mut rest = host.bytes();
    while let Some(byte) = rest.next() {
        let is_allowed = match byte {
            b'%' => (0..2).all(|_| rest.next().is_some_and(|digit| digit.is_ascii_hexdigit())),
            _ => byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&byte),
        };
        if !is_allowed {
            return false;
        }
    }
    !host.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_of_authorities() {
        for good in
            ["h", "my_host:7480", "127.0.0.1:80", "[::1]:7480", "[fe80::1]", "h:", "h:65535", "%41", "a%c3%bc.example"]
        {
            assert!(is_authority(good), "{good}");
        }
        for bad in [
            "",
            ":80",
            "x:abc",
            "x:-1",
            "x:+1",
            "x:99999",
            "x:1:2",
            "[]",
            "[zz]",
            "[::1",
            "[::1]x",
            "[::1]:x",
            "::1",
            "a b",
            "a/b",
            "user@a",
            "a?b",
            "a#b",
            "%4",
            "%zz",
            "[127.0.0.1]",
            "ü",
        ] {
            assert!(!is_authority(bad), "{bad}");
        }
    }
}
