//! Sends chunks over a connection's stream: the payload goes to the cipher without a copy.

use std::{
    future::Future as _,
    io, mem,
    net::SocketAddr,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use actors::port::{DataSender, LinkError, Payload, Pressure};
use bytes::Bytes;
use wire::DataHeader;

use super::{gauge::Gauge, halves::WriteHalf};

/// The sending half of a data link.
pub(super) struct QuicDataSender {
    half: WriteHalf,
    /// Of the path to `address`.
    gauge: Arc<Gauge>,
    address: SocketAddr,
    /// Header and payload of the chunk in hand, as far as they were not taken; empty when it was.
    chunk: [Bytes; 2],
    /// What may lie here beyond what the path takes.
    not_sent_bytes: u64,
    /// What quinn was told last.
    window: u64,
    /// Bytes that quinn has taken.
    written: u64,
    /// These two as they were when nothing lay here that was not sent: [`Self::written`] and what the path was given.
    settled: [u64; 2],
}

impl QuicDataSender {
    /// Nothing is queued; at most `not_sent_bytes` will lie here that the path does not take.
    pub(super) fn new(half: WriteHalf, not_sent_bytes: u64) -> Self {
        let gauge = Gauge::of(half.connection());
        let address = half.connection().remote_address();
        Self {
            half,
            gauge,
            address,
            chunk: [Bytes::new(), Bytes::new()],
            not_sent_bytes,
            window: 0,
            written: 0,
            settled: [0, 0],
        }
    }

    /// What quinn takes before it says that it is full: what the path takes, and a little more. The kernel does the same for TCP
    /// with `TCP_NOTSENT_LOWAT`.
    fn follow_path(&mut self) {
        // A peer that has moved has a path of its own, and congestion control of that path begins anew.
        let address = self.half.connection().remote_address();
        if address != self.address {
            (self.address, self.gauge) = (address, Gauge::of(self.half.connection()));
            self.settled = [self.written, 0];
        }
        if self.gauge.has_room() {
            self.settled = [self.written, self.gauge.sent()];
        }
        let window = self.gauge.window() + self.not_sent_bytes;
        // Telling it costs a wake of the connection's task.
        if window.abs_diff(self.window) > self.window / 8 {
            self.window = window;
            self.half.connection().set_send_window(window);
        }
    }
}

impl DataSender for QuicDataSender {
    fn start_send(&mut self, header: DataHeader, payload: Payload) -> Result<(), LinkError> {
        if self.chunk.iter().any(|part| !part.is_empty()) {
            return Err(LinkError::Local("a chunk was started before the last one was flushed".to_owned()));
        }
        let Payload::Memory(payload) = payload else {
            return Err(LinkError::Local("a file's pages were given to a link that encrypts".to_owned()));
        };
        if header.len as usize != payload.len() {
            return Err(LinkError::Local(format!("a chunk of {} bytes says {}", payload.len(), header.len)));
        }
        self.chunk = [Bytes::copy_from_slice(&header.encode()), payload];
        self.follow_path();
        Ok(())
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LinkError>> {
        while let Some(at) = self.chunk.iter().position(|part| !part.is_empty()) {
            // The future keeps nothing between polls: what it takes, it takes at once.
            let taking = pin!(self.half.stream().write_chunks(&mut self.chunk[at..]));
            match ready!(taking.poll(cx)) {
                Ok(taken) => self.written += taken.bytes as u64,
                Err(error) => return Poll::Ready(Err(LinkError::Lost(error.into()))),
            }
        }
        mem::take(&mut self.chunk);
        Poll::Ready(Ok(()))
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LinkError>> {
        ready!(self.poll_flush(cx))?;
        self.half.poll_finish(cx).map_err(|error: io::Error| LinkError::Lost(error))
    }

    fn pressure(&mut self) -> Pressure {
        self.follow_path();
        if self.gauge.has_room() { Pressure::Receiver } else { Pressure::Network }
    }

    /// What is on its way, and what quinn has taken and not sent: less than that is told where packets were sent again.
    fn unacknowledged_bytes(&self) -> u64 {
        let [written, sent] = self.settled;
        let waits = (self.written - written).saturating_sub(self.gauge.sent().saturating_sub(sent));
        self.gauge.in_flight() + waits.min(self.not_sent_bytes)
    }
}
