//! TCP socket options, each one system call.

use std::{fs, io, os::fd::AsFd, time::Duration};

use socket2::{SockRef, TcpKeepalive};

/// Where Linux lists the congestion controls that are loaded; it is one list per network namespace.
const CONGESTION_AVAILABLE: &str = "/proc/sys/net/ipv4/tcp_available_congestion_control";

/// The socket is writable only while fewer than `bytes` of what was written were not sent yet (`TCP_NOTSENT_LOWAT`), so
/// that little is committed to the kernel beyond what the path takes (DESIGN 4).
///
/// # Errors
/// What `setsockopt(2)` answers.
pub fn set_not_sent_low_water(socket: impl AsFd, bytes: u32) -> io::Result<()> {
    SockRef::from(&socket).set_tcp_notsent_lowat(bytes)
}

/// The mark that [`set_not_sent_low_water`] set; `u32::MAX` when there is none.
///
/// # Errors
/// What `getsockopt(2)` answers.
pub fn not_sent_low_water(socket: impl AsFd) -> io::Result<u32> {
    SockRef::from(&socket).tcp_notsent_lowat()
}

/// Chooses the congestion control, for instance `bbr` (`TCP_CONGESTION`). Sockets accepted from a listener inherit its.
///
/// # Errors
/// `ENOENT` when the kernel has none of that name, `EPERM` when it is not in the list of those that anybody may choose.
pub fn set_congestion(socket: impl AsFd, name: &str) -> io::Result<()> {
    SockRef::from(&socket).set_tcp_congestion(name.as_bytes())
}

/// The congestion control of the socket.
///
/// # Errors
/// What `getsockopt(2)` answers.
pub fn congestion(socket: impl AsFd) -> io::Result<String> {
    let name = SockRef::from(&socket).tcp_congestion()?;
    // The kernel answers with a fixed length, filled up with zeros.
    let end = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
    Ok(String::from_utf8_lossy(&name[..end]).into_owned())
}

/// Names of the congestion controls that the kernel has loaded; some may need privilege to choose.
///
/// # Errors
/// When `/proc` is not mounted.
pub fn congestion_available() -> io::Result<Vec<String>> {
    let list = fs::read_to_string(CONGESTION_AVAILABLE)?;
    Ok(list.split_whitespace().map(str::to_owned).collect())
}

/// Sends small segments at once (`TCP_NODELAY`).
///
/// # Errors
/// What `setsockopt(2)` answers.
pub fn set_nodelay(socket: impl AsFd) -> io::Result<()> {
    SockRef::from(&socket).set_tcp_nodelay(true)
}

/// The largest segment (`TCP_MAXSEG`), in bytes of payload; for benchmarks on loopback, whose 64 KiB segments flatter
/// everything (DESIGN 8). Must be set before the connection is made; accepted sockets inherit the listener's.
///
/// # Errors
/// `EINVAL` outside of what the kernel takes (88 to 32767).
pub fn set_max_segment(socket: impl AsFd, bytes: u16) -> io::Result<()> {
    SockRef::from(&socket).set_tcp_mss(u32::from(bytes))
}

/// Gives the connection up when written data was not acknowledged for `timeout` (`TCP_USER_TIMEOUT`).
///
/// It also ends a connection whose receiver keeps its window shut for that long, answering probes or not: not for links
/// whose receiver may be slow on purpose.
///
/// # Errors
/// What `setsockopt(2)` answers.
pub fn set_user_timeout(socket: impl AsFd, timeout: Duration) -> io::Result<()> {
    SockRef::from(&socket).set_tcp_user_timeout(Some(timeout))
}

/// Probes a silent connection after `idle`, then every `interval`, and gives it up after `probes` without an answer.
///
/// # Errors
/// What `setsockopt(2)` answers.
pub fn set_keepalive(socket: impl AsFd, idle: Duration, interval: Duration, probes: u32) -> io::Result<()> {
    let keepalive = TcpKeepalive::new().with_time(idle).with_interval(interval).with_retries(probes);
    SockRef::from(&socket).set_tcp_keepalive(&keepalive)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use socket2::{Domain, Protocol, Socket, Type};

    use super::*;

    fn listener() -> TcpListener {
        TcpListener::bind("127.0.0.1:0").unwrap()
    }

    #[test]
    fn knobs_take_and_show() {
        let listener = listener();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        set_not_sent_low_water(&stream, 131_072).unwrap();
        assert_eq!(not_sent_low_water(&stream).unwrap(), 131_072);
        set_nodelay(&stream).unwrap();
        assert!(stream.nodelay().unwrap());
        set_user_timeout(&stream, Duration::from_secs(60)).unwrap();
        assert_eq!(SockRef::from(&stream).tcp_user_timeout().unwrap(), Some(Duration::from_secs(60)));
        set_keepalive(&stream, Duration::from_secs(30), Duration::from_secs(10), 3).unwrap();
        assert!(SockRef::from(&stream).keepalive().unwrap());
    }

    #[test]
    fn a_listener_hands_its_congestion_control_down() {
        let listener = listener();
        let available = congestion_available().unwrap();
        assert!(available.contains(&congestion(&listener).unwrap()));
        // reno is compiled in and open to everybody.
        set_congestion(&listener, "reno").unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        assert_eq!(congestion(&accepted).unwrap(), "reno");
        let unknown = set_congestion(&listener, "nonesuch").unwrap_err();
        assert!(matches!(unknown.raw_os_error(), Some(libc::ENOENT | libc::EPERM)), "{unknown}");
    }

    #[test]
    fn the_segment_size_holds_when_set_before_connecting() {
        let listener = listener();
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).unwrap();
        set_max_segment(&socket, 1448).unwrap();
        socket.connect(&listener.local_addr().unwrap().into()).unwrap();
        let mss_bytes = crate::tcp_info(&socket).unwrap().mss_bytes;
        assert!((1400..=1448).contains(&mss_bytes), "{mss_bytes}");
    }
}
