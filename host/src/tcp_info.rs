//! What the kernel knows of a TCP connection (`TCP_INFO`, `linux/tcp.h`).

use std::{
    io, mem,
    os::fd::{AsFd, AsRawFd as _},
};

/// A connection's own figures. Times are microseconds, sizes bytes; counters run since the connection was made.
///
/// `busy_us`, `rwnd_limited_us` and `sndbuf_limited_us` are counted in the kernel's ticks (1 to 10 ms): differences over
/// less than that are 0.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq)]
pub struct TcpInfo {
    /// Smoothed round-trip time.
    pub rtt_us: u32,
    /// Its mean deviation.
    pub rtt_var_us: u32,
    /// Least round-trip time of late.
    pub rtt_min_us: u32,
    /// Congestion window, in segments.
    pub cwnd_segments: u32,
    /// Largest segment that is sent, payload bytes.
    pub mss_bytes: u32,
    /// Segments sent and not acknowledged.
    pub unacked_segments: u32,
    /// Segments sent again since the beginning.
    pub retransmitted_segments: u32,
    /// Written by us, not sent yet.
    pub not_sent_bytes: u32,
    /// Acknowledged by the other side.
    pub bytes_acked: u64,
    /// Received, in order.
    pub bytes_received: u64,
    /// Sent, retransmissions counted.
    pub bytes_sent: u64,
    /// Newest estimate of what the path delivers, bytes per second.
    pub delivery_bytes_per_second: u64,
    /// Time with anything to send.
    pub busy_us: u64,
    /// Of it, time stopped by the receiver's window.
    pub rwnd_limited_us: u64,
    /// Of it, time stopped by our send buffer.
    pub sndbuf_limited_us: u64,
    /// What the other side last said it would take; 0 before Linux 5.4.
    pub send_window_bytes: u32,
}

/// `struct tcp_info`, as far as it is used: since Linux 5.4 the kernel has all of it, an older one fills a prefix and the
/// rest stays 0.
#[repr(C)]
#[derive(Default)]
struct Raw {
    state: u8,
    ca_state: u8,
    retransmits: u8,
    probes: u8,
    backoff: u8,
    options: u8,
    window_scales: u8,
    flags: u8,
    rto: u32,
    ato: u32,
    snd_mss: u32,
    rcv_mss: u32,
    unacked: u32,
    sacked: u32,
    lost: u32,
    retrans: u32,
    fackets: u32,
    last_data_sent: u32,
    last_ack_sent: u32,
    last_data_recv: u32,
    last_ack_recv: u32,
    pmtu: u32,
    rcv_ssthresh: u32,
    rtt: u32,
    rttvar: u32,
    snd_ssthresh: u32,
    snd_cwnd: u32,
    advmss: u32,
    reordering: u32,
    rcv_rtt: u32,
    rcv_space: u32,
    total_retrans: u32,
    pacing_rate: u64,
    max_pacing_rate: u64,
    bytes_acked: u64,
    bytes_received: u64,
    segs_out: u32,
    segs_in: u32,
    notsent_bytes: u32,
    min_rtt: u32,
    data_segs_in: u32,
    data_segs_out: u32,
    delivery_rate: u64,
    busy_time: u64,
    rwnd_limited: u64,
    sndbuf_limited: u64,
    delivered: u32,
    delivered_ce: u32,
    bytes_sent: u64,
    bytes_retrans: u64,
    dsack_dups: u32,
    reord_seen: u32,
    rcv_ooopack: u32,
    snd_wnd: u32,
}

// The layout is the kernel's interface: these offsets are from linux/tcp.h and never change.
const _: () = {
    assert!(mem::offset_of!(Raw, rtt) == 68);
    assert!(mem::offset_of!(Raw, pacing_rate) == 104);
    assert!(mem::offset_of!(Raw, delivery_rate) == 160);
    assert!(mem::offset_of!(Raw, bytes_sent) == 200);
    assert!(mem::offset_of!(Raw, snd_wnd) == 228);
    assert!(mem::size_of::<Raw>() == 232);
};

/// Asks the kernel about a TCP socket.
///
/// # Errors
/// What `getsockopt(2)` answers, for instance when the descriptor is no TCP socket.
pub fn tcp_info(socket: impl AsFd) -> io::Result<TcpInfo> {
    let mut raw = Raw::default();
    let mut length = mem::size_of::<Raw>() as libc::socklen_t;
    // SAFETY: the descriptor is open for as long as `socket` is borrowed. `raw` is writable for `length` bytes, the kernel
    // writes at most that many, and every bit pattern is a valid `Raw`: it has only integers.
    let answer = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut raw).cast(),
            &raw mut length,
        )
    };
    if answer == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(TcpInfo::from(raw))
}

impl From<Raw> for TcpInfo {
    fn from(raw: Raw) -> Self {
        Self {
            rtt_us: raw.rtt,
            rtt_var_us: raw.rttvar,
            rtt_min_us: raw.min_rtt,
            cwnd_segments: raw.snd_cwnd,
            mss_bytes: raw.snd_mss,
            unacked_segments: raw.unacked,
            retransmitted_segments: raw.total_retrans,
            not_sent_bytes: raw.notsent_bytes,
            bytes_acked: raw.bytes_acked,
            bytes_received: raw.bytes_received,
            bytes_sent: raw.bytes_sent,
            delivery_bytes_per_second: raw.delivery_rate,
            busy_us: raw.busy_time,
            rwnd_limited_us: raw.rwnd_limited,
            sndbuf_limited_us: raw.sndbuf_limited,
            send_window_bytes: raw.snd_wnd,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::{TcpListener, TcpStream},
        thread,
        time::Duration,
    };

    use super::*;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let sender = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (sender, listener.accept().unwrap().0)
    }

    #[test]
    fn counts_what_went_over() {
        let (mut sender, mut receiver) = pair();
        sender.write_all(&[7; 10_000]).unwrap();
        receiver.read_exact(&mut [0; 10_000]).unwrap();
        thread::sleep(Duration::from_millis(20));
        let (sent, received) = (tcp_info(&sender).unwrap(), tcp_info(&receiver).unwrap());
        assert_eq!(sent.bytes_sent, 10_000);
        // The SYN counts as one.
        assert_eq!(sent.bytes_acked, 10_001);
        assert_eq!(received.bytes_received, 10_000);
        assert_eq!((sent.not_sent_bytes, sent.unacked_segments), (0, 0));
        assert!(sent.rtt_us > 0 && sent.cwnd_segments > 0 && sent.mss_bytes > 0);
    }

    #[test]
    fn names_the_receiver_that_does_not_read() {
        let (mut sender, _receiver) = pair();
        sender.set_nonblocking(true).unwrap();
        while sender.write(&[0; 65_536]).is_ok() {}
        let before = tcp_info(&sender).unwrap();
        thread::sleep(Duration::from_millis(200));
        let after = tcp_info(&sender).unwrap();
        let busy_us = after.busy_us - before.busy_us;
        let rwnd_us = after.rwnd_limited_us - before.rwnd_limited_us;
        assert!(busy_us >= 100_000, "{before:?} {after:?}");
        assert!(rwnd_us * 2 > busy_us, "{before:?} {after:?}");
    }

    #[test]
    fn a_file_is_no_socket() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(tcp_info(&file).unwrap_err().raw_os_error(), Some(libc::ENOTSOCK));
    }
}
