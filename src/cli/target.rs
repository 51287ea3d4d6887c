//! `HOST:PORT/SHARE/PATH`: where a file is.

use std::str::FromStr;

use crate::node::Endpoint;

/// A node and a path on it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Target {
    /// The node.
    pub endpoint: Endpoint,
    /// `SHARE/PATH` without a slash in front; empty = the shares themselves. A slash at the end stays: it means a directory.
    pub path: String,
}

/// What is wrong with a target, and what to write instead.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct TargetError(String);

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        if let Some((scheme, rest)) = text.split_once("://") {
            return wrong(format!("leave out `{scheme}://`: write {}", rest.trim_end_matches('/')));
        }
        let (authority, path) = split_authority(text)?;
        let endpoint = parse_endpoint(authority)?;
        check_path(path)?;
        Ok(Self { endpoint, path: path.to_owned() })
    }
}

impl Target {
    /// The last part of the path, which names a file, a directory or a share; an error where it does not.
    pub fn name(&self) -> Result<&str, TargetError> {
        match self.path.trim_end_matches('/').rsplit('/').next().unwrap_or_default() {
            "" => wrong(format!(
                "`{0}` names no file and no share: write HOST:PORT/SHARE/PATH; `evenkeel ls {0}` shows what there is",
                self.endpoint
            )),
            "." | ".." => {
                let shown = format!("{}/{}", self.endpoint, wire::printable(&self.path));
                wrong(format!("`{shown}` does not say a name: write HOST:PORT/SHARE/PATH without `.` and `..`"))
            }
            name => Ok(name),
        }
    }
}

/// Splits at the first slash behind the brackets that may be there.
fn split_authority(text: &str) -> Result<(&str, &str), TargetError> {
    let bracket_end = match text.strip_prefix('[').map(|_| text.find(']')) {
        None => 0,
        Some(Some(end)) => end,
        Some(None) => return wrong(format!("`{text}`: the bracket is not closed: write [::1]:7400/SHARE/PATH")),
    };
    Ok(match text[bracket_end..].find('/') {
        Some(slash) => (&text[..bracket_end + slash], &text[bracket_end + slash + 1..]),
        None => (text, ""),
    })
}

fn parse_endpoint(authority: &str) -> Result<Endpoint, TargetError> {
    let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) => {
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                return wrong(format!("`{address}` is not an IPv6 address; only those stand in brackets"));
            }
            (address, rest.strip_prefix(':'))
        }
        None if authority.matches(':').count() > 1 => {
            return wrong(format!("`{authority}`: put an IPv6 address in brackets, such as [::1]:7400"));
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    if host.is_empty() {
        return wrong(format!("`{authority}` has no host: write 127.0.0.1:7400 for this machine"));
    }
    let allowed = |letter: char| !letter.is_control() && !letter.is_whitespace() && letter != '@';
    if host.len() > HOST_BYTES_MAX || !host.chars().all(allowed) {
        return wrong(format!("`{}` can't be the name of a host", host.escape_debug()));
    }
    match port {
        None | Some("") => wrong(format!(
            "`{authority}` has no port: write {authority}:7400",
            authority = authority.trim_end_matches(':')
        )),
        Some(port) => match port.parse::<u16>() {
            Ok(number) if number > 0 => Ok(Endpoint { host: host.to_owned(), port: number }),
            _ => wrong(format!("`{port}` is not a port: write a number from 1 to 65535")),
        },
    }
}

/// Only what could never be the name of anything; whether a path is allowed, the node decides. A name may hold control
/// characters.
fn check_path(path: &str) -> Result<(), TargetError> {
    if path.len() > wire::PATH_BYTES_MAX {
        return wrong(format!("the path is longer than {} bytes", wire::PATH_BYTES_MAX));
    }
    if path.starts_with('/') || path.contains("//") {
        return wrong(format!("`{}` has two slashes in a row", wire::printable(path)));
    }
    Ok(())
}

fn wrong<T>(message: String) -> Result<T, TargetError> {
    Err(TargetError(message))
}

/// RFC 1035's limit for a name.
const HOST_BYTES_MAX: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read() {
        for (text, endpoint, path) in [
            ("host:7400", "host:7400", ""),
            ("host:7400/", "host:7400", ""),
            ("host:7400/share", "host:7400", "share"),
            ("127.0.0.1:7400/share/dir/a file.txt", "127.0.0.1:7400", "share/dir/a file.txt"),
            ("[::1]:7400/share/a:b", "[::1]:7400", "share/a:b"),
            ("host:1/share/dir/", "host:1", "share/dir/"),
            ("host:1/share/ü/../x", "host:1", "share/ü/../x"),
            ("host:1/share/a\nb", "host:1", "share/a\nb"),
        ] {
            let target: Target = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!((target.endpoint.to_string().as_str(), target.path.as_str()), (endpoint, path), "{text}");
        }
    }

    #[test]
    fn errors_say_what_to_write() {
        for (text, hint) in [
            ("", "no host"),
            (":7400/x", "write 127.0.0.1:7400"),
            ("host/share/x", "write host:7400"),
            ("host:/share/x", "write host:7400"),
            ("host:port/x", "1 to 65535"),
            ("host:0/x", "1 to 65535"),
            ("host:70000", "1 to 65535"),
            ("http://host:7400/x", "leave out `http://`: write host:7400/x"),
            ("::1:7400/x", "in brackets"),
            ("[::1/x", "not closed"),
            ("[::1]/x", "write [::1]:7400"),
            ("[host]:7400/x", "not an IPv6 address"),
            ("me@host:7400/x", "name of a host"),
            ("host:7400//x", "two slashes"),
        ] {
            let message = text.parse::<Target>().expect_err(text).to_string();
            assert!(message.contains(hint), "{text}: {message}");
        }
        let long = format!("host:7400/{}", "x".repeat(5000));
        assert!(long.parse::<Target>().unwrap_err().to_string().contains("longer than"));
    }

    #[test]
    fn names_are_the_last_part() {
        let name = |text: &str| text.parse::<Target>().unwrap().name().map(str::to_owned);
        for (text, last) in [("h:1/s/a/b.txt", "b.txt"), ("h:1/s", "s"), ("h:1/s/", "s"), ("h:1/s/d/", "d")] {
            assert_eq!(name(text).unwrap(), last, "{text}");
        }
        for text in ["h:1", "h:1/"] {
            assert!(name(text).unwrap_err().to_string().contains("evenkeel ls h:1"), "{text}");
        }
        for text in ["h:1/s/..", "h:1/s/../", "h:1/."] {
            assert!(name(text).is_err(), "{text}");
        }
    }
}
