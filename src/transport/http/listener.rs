//! The port for guests: accepts, asks for admission, hands each connection to the worker where its address lives.

use std::{
    future::poll_fn,
    io,
    net::{self, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::Poll,
    time::SystemTime,
};

use actors::{
    log_gate::{LOG_INTERVAL, LogGate},
    port::{GuestFront, GuestPlace, GuestRefusal},
};
use http::StatusCode;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::{
    Frontage, HttpConfig,
    answer::{self, Head},
    connection::Connection,
    rows::{End, Row},
    stream::{Stream, reset_when_dropped},
};
use crate::transport::{
    farewell::Farewells,
    listener::{EXHAUSTED_PAUSE, explain, is_of_the_connection, listen},
};

/// Connections that the kernel holds until they are accepted.
const BACKLOG: u32 = 4096;

/// A bound port. Connections are taken only while [`HttpListener::run`] is polled.
pub struct HttpListener {
    socket: net::TcpListener,
    frontage: Arc<Frontage>,
    farewells: Farewells,
}

impl HttpListener {
    /// Binds and listens; needs no runtime. `[::]` takes IPv4 as well.
    ///
    /// # Errors
    /// The kernel's kind, with words for the operator: which address, and what to do.
    pub fn bind(address: SocketAddr, front: Arc<dyn GuestFront>, config: HttpConfig) -> io::Result<Self> {
        let socket = listen(address, BACKLOG, &config.socket).map_err(|error| explain("", address, &error))?;
        Ok(Self { socket, frontage: Arc::new(Frontage { front, config }), farewells: Farewells::default() })
    }

    /// The address in force; its port is a real one when 0 was asked for.
    ///
    /// # Errors
    /// What `getsockname(2)` answers.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Accepts for ever, on the runtime that polls it; dropping the future closes the port. Connections that are open go on.
    ///
    /// # Errors
    /// Only when the socket cannot be registered with the runtime. What `accept(2)` answers ends nothing.
    pub async fn run(self) -> io::Result<()> {
        let Self { socket, frontage, farewells } = self;
        let listener = TcpListener::from_std(socket)?;
        let warnings = LogGate::new(LOG_INTERVAL);
        loop {
            match listener.accept().await {
                Ok((stream, address)) => match frontage.front.admit(address) {
                    Ok(place) => hand_over(&frontage, place, stream, address),
                    Err(refusal) => bid_farewell(&frontage, &farewells, stream, refusal),
                },
                Err(error) if is_of_the_connection(&error) => {}
                Err(error) => {
                    if let Some(held_back) = warnings.open(host::monotonic_nanos()) {
                        let limit = host::descriptor_limit().soft;
                        tracing::warn!(%error, limit, held_back, "no HTTP connection can be accepted: raise the limit on open files");
                    }
                    tokio::time::sleep(EXHAUSTED_PAUSE).await;
                }
            }
        }
    }
}

/// The socket leaves this thread's reactor; it is registered where it will be used.
fn hand_over(frontage: &Arc<Frontage>, place: GuestPlace, stream: TcpStream, address: SocketAddr) {
    frontage.config.socket.apply_data(&stream);
    let Ok(socket) = stream.into_std() else { return };
    let (worker, frontage) = (place.worker, frontage.clone());
    let front = frontage.front.clone();
    let job = move || {
        if let Ok(stream) = TcpStream::from_std(socket) {
            let row = Row::new(place, &frontage.front);
            // Local: what serves it is bound to this thread.
            match frontage.config.tls.clone() {
                None => {
                    tokio::task::spawn_local(Connection::new(frontage, address, row, Stream::Plain(stream)).serve());
                }
                Some(tls) => {
                    tokio::task::spawn_local(Box::pin(shake(frontage, address, row, TlsAcceptor::from(tls), stream)));
                }
            }
        }
    };
    front.run_on(worker, Box::new(job));
    // A worker that shares the core goes now. Else it waits until all that want in are accepted, which takes milliseconds in a
    // burst, and so do those whom it has served for long.
    std::thread::yield_now();
}

/// The handshake, then the connection.
async fn shake(frontage: Arc<Frontage>, address: SocketAddr, row: Row, tls: TlsAcceptor, stream: TcpStream) {
    row.idle(frontage.config.head_timeout);
    let mut shaking = tls.accept(stream);
    let shaken = poll_fn(|cx| match row.poll_end(cx) {
        Some(end) => Poll::Ready(Err(end)),
        None => Pin::new(&mut shaking).poll(cx).map(Ok),
    });
    match shaken.await {
        Ok(Ok(stream)) => {
            let stream = Stream::Tls(Box::new(stream));
            tokio::task::spawn_local(Connection::new(frontage, address, row, stream).serve());
        }
        Ok(Err(error)) => {
            tracing::debug!(%address, %error, "a TLS handshake failed");
            frontage.front.refused("tls");
        }
        Err(end) => {
            shaking.get_ref().into_iter().for_each(reset_when_dropped);
            if end == End::Late {
                frontage.front.refused("handshake_timeout");
            }
        }
    }
}

/// Says why somebody is not let in, if there are not too many of them; who expects TLS could not read it.
fn bid_farewell(frontage: &Frontage, farewells: &Farewells, stream: TcpStream, refusal: GuestRefusal) {
    let (status, words) = match refusal {
        GuestRefusal::PerAddress => {
            (StatusCode::TOO_MANY_REQUESTS, "this address has as many connections as one may have")
        }
        GuestRefusal::Connections => (StatusCode::SERVICE_UNAVAILABLE, "all connections are taken; try again later"),
        GuestRefusal::Draining => (StatusCode::SERVICE_UNAVAILABLE, "this server is going down"),
    };
    let Some(farewell) = farewells.turn() else { return };
    if frontage.config.tls.is_some() {
        return;
    }
    let bytes = answer::plain(Head::new(status, SystemTime::now()), words, true, false, false);
    frontage.front.answered(status.as_str(), bytes.len() as u64);
    farewell.say(stream, bytes);
}
