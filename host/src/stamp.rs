//! When something came, by the kernel's own clock: before anybody was scheduled to read it.

use std::{
    io, mem,
    os::fd::{AsFd, AsRawFd as _},
    ptr,
    time::Duration,
};

/// Room for one control message with a time; more than one is never asked for.
const CONTROL_BYTES: usize = 64;

/// Control messages begin at the alignment of their header.
#[repr(C)]
union Control {
    bytes: [u8; CONTROL_BYTES],
    header: libc::cmsghdr,
}

/// Asks the kernel to stamp what arrives at the socket (`SO_TIMESTAMPNS`). It begins a moment later.
///
/// # Errors
/// What `setsockopt(2)` answers.
pub fn set_arrival_stamps(socket: impl AsFd) -> io::Result<()> {
    let on: libc::c_int = 1;
    let length = mem::size_of_val(&on) as libc::socklen_t;
    let descriptor = socket.as_fd().as_raw_fd();
    // SAFETY: the descriptor is open for as long as `socket` is borrowed; the option takes an int, and `on` is one, alive for
    // the whole call.
    let answer =
        unsafe { libc::setsockopt(descriptor, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, (&raw const on).cast(), length) };
    if answer == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Receives as `recv(2)`; with the number of bytes comes when the last of them arrived, since 1970, if it was stamped.
///
/// # Errors
/// What `recvmsg(2)` answers.
pub fn receive_stamped(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<(usize, Option<Duration>)> {
    let mut control = Control { bytes: [0; CONTROL_BYTES] };
    let mut piece = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: all fields of `msghdr` are integers and pointers, for which zero is a value.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = &raw mut piece;
    message.msg_iovlen = 1;
    message.msg_control = (&raw mut control).cast();
    message.msg_controllen = CONTROL_BYTES as _;
    // SAFETY: the descriptor is open for as long as `socket` is borrowed; `message` points to one vector over `buffer` and to
    // `control`, with their true lengths, and all of them outlive the call.
    let bytes = unsafe { libc::recvmsg(socket.as_fd().as_raw_fd(), &raw mut message, 0) };
    if bytes == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok((bytes as usize, stamp(&message)))
}

fn stamp(message: &libc::msghdr) -> Option<Duration> {
    // SAFETY: the kernel filled `msg_control` and set its length; the header it points to is within it, or null.
    let header = unsafe { libc::CMSG_FIRSTHDR(message).as_ref()? };
    let is_stamp = (header.cmsg_level, header.cmsg_type) == (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS);
    // SAFETY: a pure calculation.
    let least = unsafe { libc::CMSG_LEN(mem::size_of::<libc::timespec>() as u32) } as usize;
    if !is_stamp || (header.cmsg_len as usize) < least {
        return None;
    }
    // SAFETY: the message is long enough for the `timespec` that a message of this kind carries; it may lie unaligned.
    let time: libc::timespec = unsafe { ptr::read_unaligned(libc::CMSG_DATA(header).cast()) };
    Some(Duration::new(u64::try_from(time.tv_sec).ok()?, u32::try_from(time.tv_nsec).ok()?))
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write as _,
        net::{TcpListener, TcpStream},
        thread,
        time::{SystemTime, UNIX_EPOCH},
    };

    use super::*;

    #[test]
    fn what_was_read_late_is_stamped_with_when_it_came() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut sender = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (receiver, _) = listener.accept().unwrap();
        set_arrival_stamps(&receiver).unwrap();
        let mut buffer = [0; 16];
        let wait = Duration::from_millis(30);
        // The first ones may come before the kernel has begun to stamp.
        for _ in 0..100 {
            let sent = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            sender.write_all(b"news").unwrap();
            thread::sleep(wait);
            let (bytes, came) = receive_stamped(&receiver, &mut buffer).unwrap();
            let read = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            assert_eq!(&buffer[..bytes], b"news");
            if let Some(came) = came {
                assert!(came >= sent, "{came:?} is before {sent:?}");
                assert!(came + wait <= read, "{came:?} is not before the wait that ended at {read:?}");
                return;
            }
        }
        panic!("no stamp");
    }

    #[test]
    fn a_socket_that_was_not_asked_has_no_stamps() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut sender = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (receiver, _) = listener.accept().unwrap();
        sender.write_all(b"news").unwrap();
        let mut buffer = [0; 2];
        assert_eq!(receive_stamped(&receiver, &mut buffer).unwrap(), (2, None));
        drop(sender);
        assert_eq!(receive_stamped(&receiver, &mut buffer).unwrap(), (2, None));
        assert_eq!(receive_stamped(&receiver, &mut buffer).unwrap().0, 0);
    }
}
