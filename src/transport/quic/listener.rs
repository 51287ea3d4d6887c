//! The open UDP ports: one for control, one for the data links of each worker.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use actors::{
    log_gate::{LOG_INTERVAL, LogGate},
    port::{Front, LinkFault},
};
use quinn::{Endpoint, EndpointConfig, Incoming};

use super::{
    super::{Credentials, listener::explain},
    arrival::Arrival,
    control_thread::ControlThread,
    door::Door,
    handshakes::Handshakes,
    place::Place,
    reset,
    socket::{self, CONTROL_BUFFER_BYTES, DATA_BUFFER_BYTES},
    strays::Strays,
    tls,
    turned_away::{self, Told},
};

/// Handshakes under way from which on a newcomer must first show that it is where it says: that costs it a round trip and us
/// nothing. As many as a thousand peers that come back at once after a restart make, at 50 ms each, with room.
const HANDSHAKES_UNPROVEN_MAX: usize = 256;

/// How to listen for QUIC.
#[derive(Clone, Debug)]
pub struct QuicConfig {
    /// From the first datagram to the end of the handshake (and the token of a data link), milliseconds.
    pub handshake_ms: u64,
    /// What may lie unsent on a data link beyond what its path takes.
    pub not_sent_bytes: u32,
    /// Peers whose sessions are kept so that they can come back in one datagram.
    pub sessions: usize,
    /// Handshakes under way from which on newcomers must prove their address first; those of one address from an eighth of them on.
    pub handshakes_unproven_max: usize,
}

impl Default for QuicConfig {
    fn default() -> Self {
        Self {
            handshake_ms: 10_000,
            not_sent_bytes: 128 << 10,
            sessions: 8192,
            handshakes_unproven_max: HANDSHAKES_UNPROVEN_MAX,
        }
    }
}

/// What all arrivals of a node share.
pub(super) struct Reception {
    pub(super) front: Arc<dyn Front>,
    pub(super) config: QuicConfig,
    /// What the welcome says of each worker's data links.
    pub(super) data_endpoints: Vec<String>,
    control: quinn::ServerConfig,
    data: quinn::ServerConfig,
    /// Control links so far: they take turns over the workers.
    turn: AtomicUsize,
    pub(super) handshakes: Arc<Handshakes>,
    /// Of those under way, those whose hello is heard already.
    pub(super) early: AtomicUsize,
    retries: LogGate,
    told: Told,
}

/// Bound ports. Connections are taken only while [`QuicListener::run`] is polled.
pub struct QuicListener {
    control: UdpSocket,
    /// With the key of its connection ids.
    control_config: (EndpointConfig, u64),
    data: Vec<UdpSocket>,
    reception: Arc<Reception>,
}

impl QuicListener {
    /// Binds `control`, and `data` with the ports after it, one for each worker; port 0: any. Needs no runtime.
    ///
    /// # Errors
    /// The kernel's kind, with words for the operator: which address, and what to do.
    pub fn bind(
        control: SocketAddr,
        data: SocketAddr,
        front: Arc<dyn Front>,
        credentials: &Credentials,
        config: QuicConfig,
    ) -> io::Result<Self> {
        let bind = |address: SocketAddr, buffer| {
            socket::bind(address, buffer).map_err(|error| explain("UDP ", address, &error))
        };
        let control = bind(control, CONTROL_BUFFER_BYTES)?;
        let data = (0..front.workers().max(1))
            .map(|index| bind(nth_port(data, index, control.local_addr()?.port())?, DATA_BUFFER_BYTES))
            .collect::<io::Result<Vec<_>>>()?;
        // The host is the one that the peer dialled: a node behind a translator does not know its own name.
        let endpoint_of = |socket: &UdpSocket| Ok(format!(":{}", socket.local_addr()?.port()));
        let data_endpoints = data.iter().map(endpoint_of).collect::<io::Result<Vec<_>>>()?;
        let sessions = tls::sessions(config.sessions);
        let reception = Arc::new(Reception {
            front,
            data_endpoints,
            control: tls::control_server(credentials, Arc::clone(&sessions)).map_err(io::Error::other)?,
            data: tls::data_server(credentials, sessions).map_err(io::Error::other)?,
            config,
            turn: AtomicUsize::new(0),
            handshakes: Arc::default(),
            early: AtomicUsize::new(0),
            retries: LogGate::new(LOG_INTERVAL),
            told: Told::default(),
        });
        let control_config = reset::endpoint_config(credentials, control.local_addr()?.port());
        Ok(Self { control, control_config, data, reception })
    }

    /// Where control links arrive.
    ///
    /// # Errors
    /// What `getsockname(2)` answers.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.control.local_addr()
    }

    /// The ports of the data links, by worker.
    ///
    /// # Errors
    /// What `getsockname(2)` answers.
    pub fn data_ports(&self) -> io::Result<Vec<u16>> {
        self.data.iter().map(|socket| Ok(socket.local_addr()?.port())).collect()
    }

    /// Accepts for ever: control links on the runtime that polls it, data links on the workers. Dropping the future ends the
    /// former; connections that are already there go on.
    ///
    /// # Errors
    /// Only when a socket cannot be registered with the runtime.
    pub async fn run(self) -> io::Result<()> {
        let Self { control, control_config: (control_config, key), data, reception } = self;
        for (index, socket) in data.into_iter().enumerate() {
            let (control, reception) = (control.try_clone()?, Arc::clone(&reception));
            let front = Arc::clone(&reception.front);
            let job = move || {
                // Local: what the front starts for a link may be bound to this thread.
                tokio::task::spawn_local(reception.take_data(index, socket, control));
            };
            front.run_on(index, Box::new(job));
        }
        let door = Arc::new(Door::new(reception.control.clone(), Strays::new(Some(key), Arc::clone(&reception.front))));
        let thread = ControlThread::start(control, control_config, Door::clone(&door)).await?;
        while let Some(incoming) = thread.endpoint().accept().await {
            let Some(arrival) = reception.greet(incoming, &door) else { continue };
            let worker = reception.turn.fetch_add(1, Relaxed) % reception.front.workers().max(1);
            let job = move || drop(tokio::task::spawn_local(arrival.finish_control(worker)));
            reception.front.run_on(worker, Box::new(job));
        }
        Ok(())
    }
}

impl Reception {
    /// On worker `index`: takes the data links of its sessions.
    async fn take_data(self: Arc<Self>, index: usize, socket: UdpSocket, control: UdpSocket) {
        let door = Arc::new(Door::new(self.data.clone(), Strays::new(None, Arc::clone(&self.front))));
        let endpoint: Endpoint = match socket::data_endpoint(socket, control, Some(&door)) {
            Ok(endpoint) => endpoint,
            Err(error) => return tracing::error!(%error, index, "QUIC data links are not taken"),
        };
        while let Some(incoming) = endpoint.accept().await {
            if let Some(arrival) = self.greet(incoming, &door) {
                tokio::task::spawn_local(arrival.finish_data());
            }
        }
    }

    /// Admission, before anything is done for the connection.
    fn greet(self: &Arc<Self>, incoming: Incoming, door: &Arc<Door>) -> Option<Arrival> {
        let address = incoming.remote_address();
        let is_crowded = self.handshakes.are_crowded(address, self.config.handshakes_unproven_max);
        if is_crowded && !incoming.remote_address_validated() {
            if let Some(held_back) = self.retries.open(host::monotonic_nanos()) {
                tracing::warn!(%address, held_back, "many QUIC handshakes at once: newcomers must prove their address first");
            }
            self.front.fault(address, LinkFault::Unproven);
            // It can be refused only to one that has proven itself.
            let _ = incoming.retry();
            return None;
        }
        let room = match incoming.remote_address_validated() {
            true => self.front.admit(address).map(Some),
            false => self.front.may_come(address).map(|()| None),
        };
        match room {
            Ok(guard) => Some(Arrival::new(Place::new(self, address, guard), incoming, Arc::clone(door))),
            Err(reason) => {
                tracing::debug!(%address, reason, "a connection was not admitted");
                turned_away::tell(&self.told, incoming, door, reason);
                None
            }
        }
    }
}

/// The address whose port is `index` after that of `first`; any port after any. Not that of `control`.
fn nth_port(first: SocketAddr, index: usize, control: u16) -> io::Result<SocketAddr> {
    let mut address = first;
    if first.port() != 0 {
        let none = |kind, why: &str| {
            let words = format!(
                "data links have a UDP port for each worker, from {first} on, and for worker {index} {why}: choose another first \
                 one for data (`--listen-data`)"
            );
            io::Error::new(kind, words)
        };
        let port = u16::try_from(index).ok().and_then(|index| first.port().checked_add(index));
        let port = port.ok_or_else(|| none(io::ErrorKind::InvalidInput, "there is none left"))?;
        if port == control {
            return Err(none(io::ErrorKind::AddrInUse, "it would be that of control"));
        }
        address.set_port(port);
    }
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_for_data_that_run_into_that_of_control_or_out_of_numbers_are_told_so() {
        let first = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let port = |first, index| nth_port(first, index, 7400).map(|address| address.port());
        assert_eq!(
            [port(first(7600), 0).unwrap(), port(first(7600), 2).unwrap(), port(first(0), 2).unwrap()],
            [7600, 7602, 0]
        );
        for (first, index, why) in
            [(first(7399), 1, "it would be that of control"), (first(65_535), 1, "there is none left")]
        {
            let words = port(first, index).unwrap_err().to_string();
            assert!(words.contains(why) && words.contains("--listen-data"), "{words}");
        }
    }
}
