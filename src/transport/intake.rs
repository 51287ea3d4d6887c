//! What a TLS link takes from its socket. rustls asks for 4 KiB at a time, so that a record of 16 KiB is four or five calls into
//! the kernel. In bulk mode the socket is asked for much at once, and the cipher takes its small pieces from here.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use flow::Mode;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// Taken at once in bulk mode: four records, and no more than the least of the large quanta, since these bytes are read before
/// the link's next chunk is permitted. Larger ones leave this core's cache before the cipher comes to them.
const BULK_BYTES: usize = 64 * 1024;

/// A socket beneath a cipher.
pub(super) struct Intake {
    tcp: TcpStream,
    /// Memory for what was taken and not used yet; none in precise mode.
    held: Box<[u8]>,
    /// Where that begins and ends.
    at: usize,
    end: usize,
    mode: Mode,
}

impl Intake {
    /// A socket in precise mode.
    pub(super) fn new(tcp: TcpStream) -> Self {
        Self { tcp, held: Box::default(), at: 0, end: 0, mode: Mode::Precise }
    }

    /// The socket.
    pub(super) fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    /// From now on the link is in `mode`.
    pub(super) fn set_mode(&mut self, mode: Mode) {
        self.mode = mode;
        if self.at == self.end {
            self.make_room();
        }
    }

    /// Nothing is held: memory as the mode needs it.
    fn make_room(&mut self) {
        let needed = match self.mode {
            Mode::Precise => 0,
            Mode::Bulk => BULK_BYTES,
        };
        if self.held.len() != needed {
            self.held = vec![0; needed].into_boxed_slice();
        }
    }
}

impl AsyncRead for Intake {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.at == this.end {
            this.make_room();
            if into.remaining() >= this.held.len() {
                return Pin::new(&mut this.tcp).poll_read(cx, into);
            }
            let mut taken = ReadBuf::new(&mut this.held);
            ready!(Pin::new(&mut this.tcp).poll_read(cx, &mut taken))?;
            (this.at, this.end) = (0, taken.filled().len());
        }
        let len = into.remaining().min(this.end - this.at);
        into.put_slice(&this.held[this.at..this.at + len]);
        this.at += len;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Intake {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    #[tokio::test]
    async fn what_is_held_comes_first_whatever_the_mode_and_is_at_most_one_piece() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut sender = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut intake = Intake::new(listener.accept().await.unwrap().0);
        let bytes: Vec<u8> = (0..300_000_u32).map(|at| (at / 7) as u8).collect();
        let sent = bytes.clone();
        let sending = tokio::spawn(async move { sender.write_all(&sent).await });
        let mut got = vec![0; 1000];
        intake.read_exact(&mut got).await.unwrap();
        assert!(intake.held.is_empty(), "precise: nothing waits here");
        for mode in [Mode::Bulk, Mode::Precise, Mode::Bulk, Mode::Precise] {
            intake.set_mode(mode);
            for size in [16, 4096, 70_000] {
                let mut piece = vec![0; size];
                intake.read_exact(&mut piece).await.unwrap();
                got.extend(piece);
                assert!(intake.end - intake.at <= BULK_BYTES);
            }
        }
        intake.read_to_end(&mut got).await.unwrap();
        assert!(got == bytes);
        assert!(intake.held.is_empty(), "its memory is gone");
        sending.await.unwrap().unwrap();
    }
}
