//! The HTTP server: one worker thread of its own, small bounds everywhere.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
    time::Duration,
};

use actix_http::{HttpService, error::DispatchError};
use actix_service::{ServiceFactoryExt as _, map_config};
use actix_web::{
    App,
    dev::{AppConfig, ServerHandle, fn_service},
    middleware::from_fn,
    rt::{System, net::TcpStream},
    web::Data,
};
use actors::{Precedence, metric::NodeMetrics, port::Console};
use tokio::sync::Notify;

use super::{
    guard::{Guard, guarded},
    malformed::Connection,
    route,
};

/// Operators, dashboards and scripts; beyond that, connections wait in the backlog.
const CONNECTIONS_MAX: usize = 64;
const BACKLOG: i32 = 64;
/// From a connection's first byte to the end of its headers.
const HEAD_MS_MAX: u64 = 5_000;
/// An idle connection is closed after this long.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
const CLOSE_MS_MAX: u64 = 1_000;
/// Requests in flight may take this long when the server stops.
const STOP_SECONDS_MAX: u64 = 3;
/// A token that could be guessed is none.
const TOKEN_CHARACTERS_MIN: usize = 16;

/// How the API is served.
pub struct AdminConfig {
    /// Wanted from every request; needed on addresses other than loopback.
    pub token: Option<String>,
    /// Where requests are counted.
    pub metrics: Arc<NodeMetrics>,
    /// Told of each answer while it is made.
    pub precedence: Arc<Precedence>,
}

/// Why the API could not be served.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Everybody who reaches the port could change everything.
    #[error("admin: {0} can be reached from other machines; set a token, or listen on 127.0.0.1")]
    TokenMissing(SocketAddr),
    /// Shorter than anybody should trust.
    #[error("admin: a token has at least {TOKEN_CHARACTERS_MIN} characters, and no spaces around it")]
    TokenWeak,
    /// Another program, or another node, has the port.
    #[error("admin: {0} is already in use; choose another address with --admin")]
    InUse(SocketAddr),
    /// Anything else.
    #[error("admin: cannot listen on {0}: {1}")]
    Listen(SocketAddr, #[source] io::Error),
}

/// The API being served. Dropping it stops it without waiting for requests in flight.
pub struct Server {
    address: SocketAddr,
    handle: ServerHandle,
    /// Tells connections at rest that the server stops.
    stopping: Arc<Notify>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Server {
    /// Listens on `address` (port 0: any) and answers from `console`, on threads of its own.
    pub fn bind(address: SocketAddr, console: Arc<dyn Console>, config: AdminConfig) -> Result<Self, BindError> {
        match &config.token {
            None if !address.ip().is_loopback() => return Err(BindError::TokenMissing(address)),
            Some(token) if token.trim() != token || token.chars().count() < TOKEN_CHARACTERS_MIN => {
                return Err(BindError::TokenWeak);
            }
            _ => {}
        }
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::AddrInUse => BindError::InUse(address),
            _ => BindError::Listen(address, error),
        };
        let listener = listen(address).map_err(failed)?;
        let bound = listener.local_addr().map_err(failed)?;
        let guard = Arc::new(Guard::new(bound, config.token.as_deref(), config.metrics.clone()));
        let stopping = Arc::new(Notify::new());
        let AdminConfig { metrics, precedence, .. } = config;
        let desk = Desk { console, guard, metrics, precedence, stopping: Arc::clone(&stopping) };
        let (started, handle) = mpsc::sync_channel(1);
        let thread = thread::Builder::new()
            .name("admin".to_owned())
            .spawn(move || serve(listener, desk, &started))
            .map_err(failed)?;
        let handle = match handle.recv() {
            Ok(started) => started.map_err(failed)?,
            Err(_) => return Err(failed(io::Error::other("its thread ended"))),
        };
        Ok(Self { address: bound, handle, stopping, thread: Some(thread) })
    }

    /// Where the API really is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more requests, lets those in flight end (at most 3 s). Blocks: call it from a thread that may wait.
    pub fn stop(mut self) {
        self.end(true);
    }

    fn end(&mut self, graceful: bool) {
        self.stopping.notify_waiters();
        // The order is sent at once; joining the thread is the wait.
        drop(self.handle.stop(graceful));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.end(false);
        }
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, Some(socket2::Protocol::TCP))?;
    // A restart must not wait for the last run's connections.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

type Started = mpsc::SyncSender<io::Result<ServerHandle>>;

/// What a connection is answered from.
#[derive(Clone)]
struct Desk {
    console: Arc<dyn Console>,
    guard: Arc<Guard>,
    metrics: Arc<NodeMetrics>,
    precedence: Arc<Precedence>,
    stopping: Arc<Notify>,
}

fn serve(listener: TcpListener, desk: Desk, started: &Started) -> io::Result<()> {
    let address = listener.local_addr()?;
    // As `actix_web::HttpServer` does it; that one takes sockets only, and not what stands between them and the parser.
    let service = move || {
        // Here on the thread that answers; the one that accepts was started by this function's.
        go_soon();
        let Desk { console, guard, metrics, precedence, stopping } = desk.clone();
        let application = App::new()
            .app_data(Data::new(console))
            .wrap(from_fn(move |request, next| guarded(Arc::clone(&guard), request, next)))
            .configure(route::configure);
        let http = HttpService::build()
            .graceful_shutdown_signal(move || {
                let stopping = Arc::clone(&stopping);
                async move { stopping.notified().await }
            })
            .client_request_timeout(Duration::from_millis(HEAD_MS_MAX))
            .client_disconnect_timeout(Duration::from_millis(CLOSE_MS_MAX))
            .keep_alive(KEEP_ALIVE)
            .local_addr(address)
            .h1(map_config(application, |()| AppConfig::default()));
        fn_service(move |tcp: TcpStream| {
            let peer = tcp.peer_addr().ok();
            std::future::ready(Ok::<_, DispatchError>((
                Connection::new(tcp, Arc::clone(&metrics), Arc::clone(&precedence)),
                peer,
            )))
        })
        .and_then(http)
    };
    go_soon();
    System::new().block_on(async move {
        let server = actix_server::Server::build()
            .workers(1)
            .disable_signals()
            .max_concurrent_connections(CONNECTIONS_MAX)
            .shutdown_timeout(STOP_SECONDS_MAX)
            .listen("admin", listener, service);
        match server {
            Ok(server) => {
                let server = server.run();
                let _ = started.send(Ok(server.handle()));
                server.await
            }
            Err(error) => {
                let _ = started.send(Err(error));
                Ok(())
            }
        }
    })
}

/// An answer takes a tenth of a millisecond: it need not wait until a worker that shares the core has sent what was due.
fn go_soon() {
    if let Err(error) = host::prefer_promptness() {
        tracing::debug!(%error, "a thread of the API gets no short turns");
    }
}

#[cfg(test)]
mod tests;
