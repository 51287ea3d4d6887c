//! Control messages by hand: pings over TLS and `GET /v1/status`, each with what this end saw and with what the server took.
//!
//! *Inside* is from the moment before the request is written here, which is when it becomes readable there (loopback delivers
//! at once), to the moment at which the kernel saw the answer's segment arrive here, which is when it was written there
//! (`SO_TIMESTAMPNS`). So this end's being scheduled late is not in it, and every wait of the server is.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bytes::BytesMut;
use evenkeel::{
    identity::{Identity, StateDir},
    transport::{Credentials, client_config},
};
use hdrhistogram::Histogram;
use rustls::{ClientConfig, ClientConnection, StreamOwned, pki_types::ServerName};
use wire::{ALPN_CONTROL, FrameDecoder, Hello, Message, PROTOCOL_VERSION, Ping, encode_message};

use crate::measure::Outcome;

const PATIENCE: Duration = Duration::from_secs(20);

/// Milliseconds of one kind of message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waits {
    /// p50 and p99 from sending to having read the answer.
    pub(crate) seen: [f64; 2],
    /// p50 and p99 in the server.
    pub(crate) inside: [f64; 2],
}

impl Waits {
    /// From a line that a probe printed.
    pub(crate) fn parse(line: &str) -> Outcome<Self> {
        let values = line.split(' ').map(str::parse).collect::<Result<Vec<f64>, _>>()?;
        let [a, b, c, d] = values.try_into().map_err(|_| format!("not four figures: {line}"))?;
        Ok(Self { seen: [a, b], inside: [c, d] })
    }
}

/// The probe's process: `count` pings every 2 ms or so, and a fifth as many requests to the API; prints what both waited.
pub(crate) fn play(peers: &str, admin: &str, room: &Path, count: u64) -> Outcome<()> {
    let admin = admin.trim_start_matches("http://").trim_end_matches('/').to_owned();
    let asking = thread::spawn(move || {
        Api::connect(&admin)
            .and_then(|mut api| asked(count / 5, 10_000, || api.ask()))
            .map_err(|error| error.to_string())
    });
    let mut session = Session::connect(peers, room)?;
    let pings = asked(count, 2_000, || session.ping())?;
    let asks = asking.join().map_err(|_| "the asking thread ended")??;
    println!("{pings}\n{asks}");
    Ok(())
}

/// Asks `count` times with pauses of half to one and a half `pause_us`, so that no beat is met always or never.
fn asked(count: u64, pause_us: u64, mut ask: impl FnMut() -> Outcome<Option<u64>>) -> Outcome<String> {
    let (mut seen, mut inside) = (Histogram::<u64>::new(3)?, Histogram::<u64>::new(3)?);
    for index in 0..count {
        thread::sleep(Duration::from_micros(pause_us / 2 + index.wrapping_mul(7919) % pause_us));
        let sent = Instant::now();
        let took = ask()?;
        seen.record(u64::try_from(sent.elapsed().as_nanos())?)?;
        // The kernel begins to stamp a moment after it was asked to.
        if let Some(took) = took {
            inside.record(took)?;
        }
    }
    let at = |histogram: &Histogram<u64>, share| histogram.value_at_quantile(share) as f64 / 1e6;
    Ok(format!("{} {} {} {}", at(&seen, 0.5), at(&seen, 0.99), at(&inside, 0.5), at(&inside, 0.99)))
}

/// A socket that knows when it was last written to, and when what was last read from it came.
struct Stamped {
    stream: TcpStream,
    written: Duration,
    arrived: Option<Duration>,
}

impl Stamped {
    fn connect(address: &str) -> Outcome<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        host::set_arrival_stamps(&stream)?;
        Ok(Self { stream, written: Duration::ZERO, arrived: None })
    }

    /// Nanoseconds from the last write to the last arrival.
    fn took(&self) -> Option<u64> {
        u64::try_from(self.arrived?.saturating_sub(self.written).as_nanos()).ok()
    }
}

impl Read for Stamped {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (bytes, arrived) = host::receive_stamped(&self.stream, buffer)?;
        self.arrived = arrived;
        Ok(bytes)
    }
}

impl Write for Stamped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.written = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A session that only pings.
struct Session {
    tls: StreamOwned<ClientConnection, Stamped>,
    decoder: FrameDecoder,
    nonce: u64,
}

impl Session {
    fn connect(peers: &str, room: &Path) -> Outcome<Self> {
        // The node's own key: its owner may do everything.
        let identity = Identity::load_or_create(&StateDir::open(Some(&room.join("state")))?)?;
        let config: Arc<ClientConfig> =
            client_config(&Credentials::generate_from_pkcs8(identity.key_pkcs8())?, ALPN_CONTROL)?;
        let connection = ClientConnection::new(config, ServerName::try_from("evenkeel")?)?;
        let tls = StreamOwned::new(connection, Stamped::connect(peers)?);
        let mut session = Self { tls, decoder: FrameDecoder::default(), nonce: 0 };
        let hello =
            Hello { version: PROTOCOL_VERSION, class: 1, data_links: 1, agent: "probe/1".into(), ..Hello::default() };
        session.say(&Message::Hello(hello))?;
        session.hear(|message| matches!(message, Message::Welcome(_)))?;
        Ok(session)
    }

    fn ping(&mut self) -> Outcome<Option<u64>> {
        self.nonce += 1;
        let nonce = self.nonce;
        self.say(&Message::Ping(Ping { nonce, sent_ns: 1 }))?;
        self.hear(|message| matches!(message, Message::Pong(pong) if pong.nonce == nonce))?;
        Ok(self.tls.sock.took())
    }

    fn say(&mut self, message: &Message) -> Outcome<()> {
        let mut bytes = BytesMut::new();
        encode_message(message, &mut bytes)?;
        self.tls.write_all(&bytes)?;
        Ok(self.tls.flush()?)
    }

    fn hear(&mut self, is_wanted: impl Fn(&Message) -> bool) -> Outcome<()> {
        loop {
            match self.decoder.next_message()? {
                Some(message) if is_wanted(&message) => return Ok(()),
                Some(Message::Refusal(refusal)) => return Err(format!("refused: {refusal:?}").into()),
                Some(Message::Goodbye(goodbye)) => return Err(format!("closed: {goodbye:?}").into()),
                Some(Message::Ping(ping)) => {
                    self.say(&Message::Pong(wire::Pong { nonce: ping.nonce, sent_ns: ping.sent_ns }))?;
                }
                Some(_) => {}
                None => {
                    let mut piece = [0; 16 * 1024];
                    match self.tls.read(&mut piece)? {
                        0 => return Err("closed by the node".into()),
                        bytes => self.decoder.extend(&piece[..bytes]),
                    }
                }
            }
        }
    }
}

/// A connection to the API that is kept.
struct Api {
    socket: Stamped,
    request: String,
}

impl Api {
    fn connect(address: &str) -> Outcome<Self> {
        let request = format!("GET /v1/status HTTP/1.1\r\nHost: {address}\r\n\r\n");
        Ok(Self { socket: Stamped::connect(address)?, request })
    }

    fn ask(&mut self) -> Outcome<Option<u64>> {
        self.socket.write_all(self.request.as_bytes())?;
        let mut answer = Vec::new();
        loop {
            let mut piece = [0; 16 * 1024];
            let read = self.socket.read(&mut piece)?;
            answer.extend_from_slice(&piece[..read]);
            let text = String::from_utf8_lossy(&answer);
            if read == 0 || !text.starts_with("HTTP/1.1 200") {
                return Err(format!("the API says: {text}").into());
            }
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let lower = head.to_ascii_lowercase();
            let length = lower.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return Ok(self.socket.took());
            }
        }
    }
}
