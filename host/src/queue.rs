//! What a TCP socket still holds of what was written into it.

use std::{
    io,
    os::fd::{AsFd, AsRawFd as _},
};

/// `SIOCOUTQNSD` of `linux/sockios.h`; the libc crate does not carry it for every target.
const SIOCOUTQNSD: libc::c_ulong = 0x894B;

/// Bytes written into the socket that were not sent yet (`SIOCOUTQNSD`).
///
/// # Errors
/// What `ioctl(2)` answers, for instance when the descriptor is no TCP socket.
pub fn unsent_bytes(socket: impl AsFd) -> io::Result<u64> {
    ask(&socket, SIOCOUTQNSD)
}

/// Bytes written into the socket that the other side has not acknowledged (`TIOCOUTQ`), sent or not.
///
/// # Errors
/// What `ioctl(2)` answers, for instance when the descriptor is no TCP socket.
pub fn unacked_bytes(socket: impl AsFd) -> io::Result<u64> {
    ask(&socket, libc::TIOCOUTQ as libc::c_ulong)
}

fn ask(socket: &impl AsFd, request: libc::c_ulong) -> io::Result<u64> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the descriptor is open for as long as `socket` is borrowed; both requests write exactly one int, and `bytes`
    // is one, alive for the whole call.
    let answer = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), request as _, &raw mut bytes) };
    if answer == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(u64::try_from(bytes).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::{io::Write as _, net::TcpListener, net::TcpStream, thread, time::Duration};

    use super::*;

    #[test]
    fn what_the_receiver_does_not_take_stays_in_the_queue() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut sender = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let _receiver = listener.accept().unwrap();
        assert_eq!((unsent_bytes(&sender).unwrap(), unacked_bytes(&sender).unwrap()), (0, 0));
        sender.set_nonblocking(true).unwrap();
        let block = vec![0u8; 64 * 1024];
        while sender.write(&block).is_ok() {}
        thread::sleep(Duration::from_millis(20));
        let unsent = unsent_bytes(&sender).unwrap();
        assert!(unsent > 0);
        assert!(unacked_bytes(&sender).unwrap() >= unsent);
    }

    #[test]
    fn a_file_has_no_queue() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(unsent_bytes(&file).unwrap_err().raw_os_error(), Some(libc::ENOTTY));
    }
}
