//! A peer that may do anything: TLS or QUIC, and frames by hand, blocking, with nothing of the node's own client in between.

use std::{
    io::{self, Read, Write},
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use evenkeel::{
    identity::{Identity, StateDir},
    transport::{Credentials, client_config},
};
use quinn::Endpoint;
use wire::{
    ALPN_CONTROL, ALPN_DATA, DATA_HEADER_BYTES, DataHeader, DataPreface, FrameDecoder, Get, Goodbye, Hello, Message,
    PROTOCOL_VERSION, Ping, Refusal, Token, Ways, Welcome, encode_message,
};

pub(crate) use crate::line::PATIENCE;
use crate::{
    line::{Line, shake, shake_quic, tcp, udp},
    support::{Server, transport},
};

/// Somebody with a key.
pub(crate) struct Foe {
    credentials: Credentials,
    peers: SocketAddr,
    /// Its UDP socket, where this test goes over QUIC.
    udp: Option<Endpoint>,
}

impl Foe {
    /// A stranger with a new key.
    pub(crate) fn stranger(server: &Server) -> Self {
        Self::with(server, &Identity::ephemeral().unwrap())
    }

    /// The node's owner, who has every right.
    pub(crate) fn owner(server: &Server) -> Self {
        let state = StateDir::open(Some(Path::new(&server.owner()))).unwrap();
        Self::with(server, &Identity::load_or_create(&state).unwrap())
    }

    pub(crate) fn with(server: &Server, identity: &Identity) -> Self {
        let credentials = Credentials::generate_from_pkcs8(identity.key_pkcs8()).unwrap();
        let udp = (transport() == "quic").then(udp);
        Self { credentials, peers: server.peers.parse().unwrap(), udp }
    }

    /// A control link on which nothing was said.
    pub(crate) fn control(&self) -> Control {
        let line = self.line(ALPN_CONTROL, "evenkeel", self.peers, Ways::Both).unwrap();
        Control { line, decoder: FrameDecoder::default(), welcome: Welcome::default() }
    }

    /// A session: hello said, welcome heard.
    pub(crate) fn session(&self) -> Control {
        self.session_with(hello())
    }

    pub(crate) fn session_with(&self, hello: Hello) -> Control {
        let mut control = self.control();
        control.say(&Message::Hello(hello));
        match control.hear() {
            Heard::Message(Message::Welcome(welcome)) => control.welcome = welcome,
            other => panic!("no welcome: {other:?}"),
        }
        control
    }

    /// A session and its first data link.
    pub(crate) fn session_with_data(&self) -> (Control, Data) {
        let control = self.session();
        let data = self.data(&control.welcome, 0);
        (control, data)
    }

    /// A data link with token number `index` of `welcome`.
    pub(crate) fn data(&self, welcome: &Welcome, index: usize) -> Data {
        let token = welcome.parsed_tokens().unwrap()[index];
        self.data_with(token, welcome).unwrap()
    }

    pub(crate) fn data_with(&self, token: Token, welcome: &Welcome) -> io::Result<Data> {
        self.begin_data(token, welcome, Ways::Both)
    }

    /// The same, said to carry `ways`, whatever was granted.
    pub(crate) fn data_carrying(&self, welcome: &Welcome, index: usize, ways: Ways) -> io::Result<Data> {
        self.begin_data(welcome.parsed_tokens().unwrap()[index], welcome, ways)
    }

    fn begin_data(&self, token: Token, welcome: &Welcome, ways: Ways) -> io::Result<Data> {
        let mut data = self.data_over(welcome, ways)?;
        data.line.write_all(&DataPreface { token, ways }.encode())?;
        data.line.flush()?;
        Ok(data)
    }

    /// A data link that shows nothing, where `welcome` sends it.
    pub(crate) fn data_silent(&self, welcome: &Welcome) -> io::Result<Data> {
        self.data_over(welcome, Ways::Both)
    }

    fn data_over(&self, welcome: &Welcome, ways: Ways) -> io::Result<Data> {
        let port = welcome.data_endpoint.strip_prefix(':').map_or(self.peers.port(), |port| port.parse().unwrap());
        let line = self.line(ALPN_DATA, &welcome.data_route, SocketAddr::new(self.peers.ip(), port), ways)?;
        Ok(Data { line })
    }

    fn line(&self, alpn: &[u8], name: &str, address: SocketAddr, ways: Ways) -> io::Result<Line> {
        let config = client_config(&self.credentials, alpn).unwrap();
        match &self.udp {
            Some(udp) => shake_quic(config, udp, address, ways),
            None => Ok(Line::Tcp(Box::new(shake(config, name, tcp(address))?))),
        }
    }
}

/// A hello with nothing special in it.
pub(crate) fn hello() -> Hello {
    Hello { version: PROTOCOL_VERSION, class: 1, data_links: 2, agent: "hostile/1".into(), ..Hello::default() }
}

/// A get of a file in the share.
pub(crate) fn get(transfer: u32, path: &str, window: u64) -> Message {
    Message::Get(Get { transfer, path: path.into(), window, ..Get::default() })
}

pub(crate) fn ping(nonce: u64) -> Message {
    Message::Ping(Ping { nonce, sent_ns: 1 })
}

/// A frame around any bytes.
pub(crate) fn frame(body: &[u8]) -> Vec<u8> {
    [&u32::try_from(body.len()).unwrap().to_be_bytes(), body].concat()
}

/// Messages as frames.
pub(crate) fn frames<'a>(messages: impl IntoIterator<Item = &'a Message>) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    messages.into_iter().for_each(|message| encode_message(message, &mut bytes).unwrap());
    bytes.to_vec()
}

/// What came on a control link.
#[derive(Debug)]
pub(crate) enum Heard {
    Message(Message),
    /// The node closed, in order or not.
    Closed,
    /// Nothing within the time.
    Silence,
}

/// A control link.
pub(crate) struct Control {
    pub(crate) line: Line,
    decoder: FrameDecoder,
    pub(crate) welcome: Welcome,
}

impl Control {
    #[track_caller]
    pub(crate) fn say(&mut self, message: &Message) {
        self.say_raw(&frames([message])).unwrap();
    }

    pub(crate) fn say_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.line.write_all(bytes)?;
        self.line.flush()
    }

    /// The next message that is not the node's own talk of rates and pings.
    pub(crate) fn hear(&mut self) -> Heard {
        self.hear_within(PATIENCE)
    }

    pub(crate) fn hear_within(&mut self, time: Duration) -> Heard {
        let deadline = Instant::now() + time;
        loop {
            match self.decoder.next_message().unwrap() {
                Some(Message::Granted(_) | Message::Ping(_)) => continue,
                Some(message) => return Heard::Message(message),
                None => {}
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Heard::Silence;
            }
            self.line.set_read_patience(left);
            let mut piece = [0; 16 * 1024];
            match self.line.read(&mut piece) {
                Ok(0) => return Heard::Closed,
                Ok(bytes) => self.decoder.extend(&piece[..bytes]),
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    return Heard::Silence;
                }
                Err(_) => return Heard::Closed,
            }
        }
    }

    /// The next message for which `pick` has something; others are passed over.
    #[track_caller]
    pub(crate) fn await_message<T>(&mut self, mut pick: impl FnMut(&Message) -> Option<T>) -> T {
        loop {
            match self.hear() {
                Heard::Message(message) => {
                    if let Some(picked) = pick(&message) {
                        return picked;
                    }
                }
                other => panic!("the message did not come: {other:?}"),
            }
        }
    }

    /// The refusal that ends this link.
    #[track_caller]
    pub(crate) fn expect_refusal(&mut self) -> Refusal {
        let refusal = self.await_message(|message| match message {
            Message::Refusal(refusal) => Some(refusal.clone()),
            _ => None,
        });
        self.expect_end();
        refusal
    }

    /// The goodbye that ends this session.
    #[track_caller]
    pub(crate) fn expect_goodbye(&mut self) -> Goodbye {
        let goodbye = self.await_message(|message| match message {
            Message::Goodbye(goodbye) => Some(goodbye.clone()),
            _ => None,
        });
        self.expect_end();
        goodbye
    }

    #[track_caller]
    pub(crate) fn expect_end(&mut self) {
        loop {
            match self.hear() {
                Heard::Message(_) => {}
                Heard::Closed => return,
                Heard::Silence => panic!("the link stays open"),
            }
        }
    }

    /// How the transfer was refused.
    #[track_caller]
    pub(crate) fn expect_failed(&mut self, transfer: u32) -> wire::Failed {
        self.await_message(|message| match message {
            Message::Failed(failed) if failed.transfer == transfer => Some(failed.clone()),
            Message::Opened(opened) if opened.transfer == transfer => panic!("it was opened: {opened:?}"),
            Message::Ready(ready) if ready.transfer == transfer => panic!("it is awaited: {ready:?}"),
            _ => None,
        })
    }

    /// Whether the node answers; the time it took.
    #[track_caller]
    pub(crate) fn ping(&mut self) -> Duration {
        let nonce = u64::from_le_bytes(*b"are you?");
        let asked = Instant::now();
        self.say(&ping(nonce));
        self.await_message(|message| matches!(message, Message::Pong(pong) if pong.nonce == nonce).then_some(()));
        asked.elapsed()
    }
}

/// A data link.
pub(crate) struct Data {
    pub(crate) line: Line,
}

impl Data {
    pub(crate) fn send(&mut self, transfer: u32, offset: u64, payload: &[u8]) -> io::Result<()> {
        self.send_header(u32::try_from(payload.len()).unwrap(), transfer, offset)?;
        self.line.write_all(payload)?;
        self.line.flush()
    }

    /// A header alone.
    pub(crate) fn send_header(&mut self, len: u32, transfer: u32, offset: u64) -> io::Result<()> {
        self.line.write_all(&DataHeader { len, transfer, offset }.encode())?;
        self.line.flush()
    }

    /// The next chunk; `None` when the node closed the link, or nothing came.
    pub(crate) fn receive(&mut self) -> Option<(DataHeader, Vec<u8>)> {
        let mut head = [0; DATA_HEADER_BYTES];
        self.line.read_exact(&mut head).ok()?;
        let header = DataHeader::decode(&head).unwrap();
        let mut payload = vec![0; header.len as usize];
        self.line.read_exact(&mut payload).ok()?;
        Some((header, payload))
    }

    /// Whether the node closes this link.
    pub(crate) fn is_closed_within(&mut self, time: Duration) -> bool {
        self.line.set_read_patience(time);
        let mut piece = [0; 1024];
        loop {
            match self.line.read(&mut piece) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut),
            }
        }
    }
}
