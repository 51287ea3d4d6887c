//! The first bytes of a connection: TLS or the magic of a plaintext data link, and what they ask for.

use std::{io, net::SocketAddr};

use actors::port::LinkFault;
use rustls::server::{Accepted, AcceptedAlert, Acceptor};
use tokio::{io::AsyncReadExt as _, net::TcpStream};
use wire::{ALPN_CONTROL, ALPN_DATA, DATA_PREFACE_BYTES, DataPreface};

use super::worker_of_route;

/// The first byte of a TLS record that carries a handshake (RFC 8446, 5.1).
const TLS_HANDSHAKE: u8 = 0x16;
/// Read at once while a ClientHello comes in; most are below 512 bytes. rustls refuses one past 64 KiB.
const HELLO_STEP_BYTES: usize = 2048;

/// What a connection asks for.
pub(super) enum Opening {
    /// A plaintext data link, and what it begins with.
    Plain(DataPreface),
    /// A control link: TLS, its ClientHello read.
    Control(Box<Accepted>),
    /// A data link: TLS, its ClientHello read.
    Data {
        /// For rustls to go on with.
        accepted: Box<Accepted>,
        /// The worker that its server name asks for.
        worker: Option<usize>,
    },
    /// TLS, but none of our protocols: rustls has an alert for that.
    Foreign(Box<Accepted>),
}

/// Reads as much as is needed to know, and from a plaintext link not a byte more. The caller bounds the time.
///
/// # Errors
/// `Magic`, `Tls`, `Lost`: what [`LinkFault`] says of them.
pub(super) async fn read(stream: &mut TcpStream) -> Result<Opening, LinkFault> {
    let mut start = [0; DATA_PREFACE_BYTES];
    let mut filled = 0;
    while filled < start.len() {
        filled += read_some(stream, &mut start[filled..]).await?;
        if start[0] == TLS_HANDSHAKE {
            return read_hello(stream, &start[..filled]).await;
        }
        if !DataPreface::is_magic_prefix(&start[..filled]) {
            return Err(LinkFault::Magic);
        }
    }
    DataPreface::decode(&start).map(Opening::Plain).map_err(|_| LinkFault::Magic)
}

async fn read_hello(stream: &mut TcpStream, start: &[u8]) -> Result<Opening, LinkFault> {
    let mut acceptor = Acceptor::default();
    feed(&mut acceptor, start)?;
    let mut step = [0; HELLO_STEP_BYTES];
    loop {
        match acceptor.accept() {
            Ok(Some(accepted)) => return Ok(classify(accepted)),
            Ok(None) => {}
            Err((_, alert)) => {
                send_alert(stream, alert);
                return Err(LinkFault::Tls);
            }
        }
        let bytes = read_some(stream, &mut step).await?;
        feed(&mut acceptor, &step[..bytes])?;
    }
}

fn feed(acceptor: &mut Acceptor, mut bytes: &[u8]) -> Result<(), LinkFault> {
    while !bytes.is_empty() {
        acceptor.read_tls(&mut bytes).map_err(|_| LinkFault::Tls)?;
    }
    Ok(())
}

async fn read_some(stream: &mut TcpStream, into: &mut [u8]) -> Result<usize, LinkFault> {
    match stream.read(into).await {
        Ok(0) | Err(_) => Err(LinkFault::Lost),
        Ok(bytes) => Ok(bytes),
    }
}

fn classify(accepted: Accepted) -> Opening {
    let hello = accepted.client_hello();
    let offers = |wanted: &[u8]| hello.alpn().is_some_and(|mut offered| offered.any(|name| name == wanted));
    let (control, data) = (offers(ALPN_CONTROL), offers(ALPN_DATA));
    let worker = hello.server_name().and_then(worker_of_route);
    let accepted = Box::new(accepted);
    match (control, data) {
        (true, _) => Opening::Control(accepted),
        (false, true) => Opening::Data { accepted, worker },
        (false, false) => Opening::Foreign(accepted),
    }
}

/// Tells the other side why, if its socket takes it at once: it is being closed anyway.
pub(super) fn send_alert(stream: &TcpStream, mut alert: AcceptedAlert) {
    let mut bytes = Vec::new();
    let sent: io::Result<usize> = alert.write_all(&mut bytes).and_then(|()| stream.try_write(&bytes));
    if let Err(error) = sent {
        let address: Option<SocketAddr> = stream.peer_addr().ok();
        tracing::trace!(?address, %error, "a TLS alert was not sent");
    }
}
