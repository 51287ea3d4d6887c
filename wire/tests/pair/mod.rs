//! Two sessions joined by links with virtual time: a control link and data links each way, each in order and each with its
//! own delay, so that data overtakes control and control overtakes data. Messages go through real frames.

#![allow(dead_code, unreachable_pub)]

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use bytes::BytesMut;
use flow::{Direction, Moment};
use wire::*;

pub const CLIENT: usize = 0;
pub const SERVER: usize = 1;

#[derive(Clone, Debug)]
pub struct Network {
    pub control_ms: u64,
    /// One per data link.
    pub data_ms: Vec<u64>,
    pub window: u64,
    pub chunk: u32,
}

impl Default for Network {
    fn default() -> Self {
        Self { control_ms: 10, data_ms: vec![10, 30], window: 1000, chunk: 300 }
    }
}

/// A session with a shell that does what the peer asks: files are called `f/SIZE`, what was received before is believed.
pub struct End {
    pub session: Session,
    decoder: FrameDecoder,
    /// Headers that came and were not read, per data link.
    inbound: Vec<VecDeque<DataHeader>>,
    pub events: Vec<Event>,
    pub exit: Option<Exit>,
    pub stored_bytes: BTreeMap<u32, u64>,
    pub discarded_bytes: u64,
    pub early: usize,
    finished: BTreeSet<u32>,
    /// Transfers whose window never moves.
    pub stuck: BTreeSet<u32>,
    pub violation: Option<Violation>,
}

enum Packet {
    Control(Vec<u8>),
    Data(usize, DataHeader),
    Closed,
}

pub struct Pair {
    pub now: Moment,
    pub ends: [End; 2],
    pub network: Network,
    /// By time and order of sending: to whom, and what.
    flying: BTreeMap<(Moment, u64), (usize, Packet)>,
    sequence: u64,
    /// Everything goes into the void.
    pub cut: bool,
    /// Whether the server welcomes by itself.
    pub welcoming: bool,
}

impl Pair {
    pub fn new(hello: Hello, network: Network) -> Self {
        Self::with_limits(hello, network, [Limits::default(), Limits::default()])
    }

    pub fn with_limits(hello: Hello, network: Network, limits: [Limits; 2]) -> Self {
        let now = Moment::from_nanos(1_000_000_000);
        let links = network.data_ms.len();
        let [client, server] = limits;
        let ends = [Session::client(hello, client, now), Session::server(server, now)].map(|session| End {
            session,
            decoder: FrameDecoder::default(),
            inbound: vec![VecDeque::new(); links],
            events: Vec::new(),
            exit: None,
            stored_bytes: BTreeMap::new(),
            discarded_bytes: 0,
            early: 0,
            finished: BTreeSet::new(),
            stuck: BTreeSet::new(),
            violation: None,
        });
        let mut pair = Self { now, ends, network, flying: BTreeMap::new(), sequence: 0, cut: false, welcoming: true };
        pair.settle();
        pair
    }

    /// An open pair.
    pub fn open() -> Self {
        let mut pair = Self::new(Hello::default(), Network::default());
        pair.run_ms(100);
        assert!(pair.client().is_open() && pair.server().is_open());
        pair
    }

    pub fn client(&mut self) -> &mut Session {
        &mut self.ends[CLIENT].session
    }

    pub fn server(&mut self) -> &mut Session {
        &mut self.ends[SERVER].session
    }

    pub fn get(&mut self, path: &str) -> u32 {
        let window = self.network.window;
        let id = self.client().get(GetRequest { path: path.to_owned(), window, ..GetRequest::default() }).unwrap();
        self.settle();
        id
    }

    pub fn put(&mut self, size: u64) -> u32 {
        let request = PutRequest { path: format!("f/{size}"), size, ..PutRequest::default() };
        let id = self.client().put(request).unwrap();
        self.settle();
        id
    }

    pub fn run_ms(&mut self, ms: u64) {
        let end = self.now + Duration::from_millis(ms);
        self.settle();
        while let Some(next) = self.next_moment().filter(|next| *next <= end) {
            self.now = self.now.max(next);
            self.step();
        }
        self.now = end;
    }

    fn next_moment(&self) -> Option<Moment> {
        let flying = self.flying.keys().next().map(|(at, _)| *at);
        let timeouts = self.ends.iter().filter_map(|end| end.session.poll_timeout());
        flying.into_iter().chain(timeouts).min()
    }

    fn step(&mut self) {
        for end in &mut self.ends {
            if end.session.poll_timeout().is_some_and(|at| at <= self.now) {
                end.session.handle_timeout(self.now);
                let again = end.session.poll_timeout();
                assert!(again.is_none_or(|at| at > self.now), "a timeout that does not pass");
            }
        }
        while let Some(entry) = self.flying.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let (to, packet) = entry.remove();
            self.deliver(to, packet);
            self.settle();
        }
        self.settle();
    }

    fn deliver(&mut self, to: usize, packet: Packet) {
        let end = &mut self.ends[to];
        match packet {
            Packet::Control(bytes) => {
                end.decoder.extend(&bytes);
                while let Some(message) = end.decoder.next_message().unwrap() {
                    if let Err(violation) = end.session.handle_message(message, self.now) {
                        end.violation = Some(violation);
                    }
                }
            }
            Packet::Data(link, header) => end.inbound[link].push_back(header),
            Packet::Closed => end.session.handle_disconnect(),
        }
    }

    fn fly(&mut self, from: usize, delay_ms: u64, packet: Packet) {
        if self.cut {
            return;
        }
        self.sequence += 1;
        let at = self.now + Duration::from_millis(delay_ms);
        self.flying.insert((at, self.sequence), (1 - from, packet));
    }

    /// Lets both shells do what is to be done until nothing is.
    pub fn settle(&mut self) {
        loop {
            let mut busy = false;
            for who in [CLIENT, SERVER] {
                busy |= self.take_data(who);
                busy |= self.take_outputs(who);
                busy |= self.send_data(who);
            }
            if !busy {
                return;
            }
        }
    }

    fn take_outputs(&mut self, who: usize) -> bool {
        let mut busy = false;
        while let Some(output) = self.ends[who].session.poll_output() {
            busy = true;
            assert!(self.ends[who].exit.is_none(), "an output after the last: {output:?}");
            match output {
                Output::Send(message) => {
                    let mut bytes = BytesMut::new();
                    encode_message(&message, &mut bytes).unwrap();
                    self.fly(who, self.network.control_ms, Packet::Control(bytes.to_vec()));
                }
                Output::Event(event) => {
                    self.react(who, &event);
                    self.ends[who].events.push(event);
                }
                Output::Close(exit) => {
                    self.ends[who].exit = Some(exit);
                    self.fly(who, self.network.control_ms, Packet::Closed);
                }
            }
        }
        busy
    }

    fn react(&mut self, who: usize, event: &Event) {
        let welcoming = self.welcoming;
        let window = self.network.window;
        let end = &mut self.ends[who];
        match event {
            Event::Hello(_) if welcoming => end.session.welcome(Welcome::default()).unwrap(),
            Event::List(list) if list.path == "none" => {
                end.session.list_failed(list.request, FailureCode::NotFound, "nothing there").unwrap();
            }
            Event::List(list) => {
                let listing = Listing { request: list.request, entries: vec![Entry::default()], ..Listing::default() };
                end.session.listing(listing).unwrap()
            }
            Event::Get(get) => match get.path.strip_prefix("f/").and_then(|size| size.parse().ok()) {
                Some(size) => {
                    let matches = get.prefix_hash == [1; 32] && get.offset <= size;
                    let start = if matches { get.offset } else { 0 };
                    end.session.opened(get.transfer, size, 7, start).unwrap();
                }
                None => end.session.fail(get.transfer, FailureCode::NotFound, "no such file").unwrap(),
            },
            Event::Put(put) => end.session.ready(put.transfer, 0, None, window).unwrap(),
            Event::Ready(ready) => end.session.begin(ready.transfer, 0).unwrap(),
            Event::Finished { transfer, .. } => {
                end.finished.insert(*transfer);
                end.store_if_complete(*transfer);
            }
            _ => {}
        }
    }

    fn take_data(&mut self, who: usize) -> bool {
        let window = self.network.window;
        let end = &mut self.ends[who];
        let mut busy = false;
        for link in 0..end.inbound.len() {
            while let Some(header) = end.inbound[link].front().copied() {
                match end.session.data_received(&header) {
                    Ok(Accepted::Store) => end.store(&header, window),
                    Ok(Accepted::Discard) => end.discarded_bytes += u64::from(header.len),
                    Ok(Accepted::Early) => {
                        end.early += 1;
                        break;
                    }
                    Err(violation) => end.violation = Some(violation),
                }
                end.inbound[link].pop_front();
                busy = true;
            }
        }
        busy
    }

    fn send_data(&mut self, who: usize) -> bool {
        let sending: Vec<TransferStatus> =
            self.ends[who].session.transfers().filter(|t| t.direction == Direction::Upload).collect();
        let mut busy = false;
        for status in sending {
            let session = &mut self.ends[who].session;
            let transfer = status.transfer;
            let len = session.sendable(transfer).min(self.network.chunk.into()) as u32;
            if len > 0 {
                session.data_sent(transfer, len);
                let link = transfer as usize % self.network.data_ms.len();
                let header = DataHeader { len, transfer, offset: status.offset };
                self.fly(who, self.network.data_ms[link], Packet::Data(link, header));
                busy = true;
            } else if status.step == "sending" && status.size == Some(status.offset) {
                session.finished(transfer, status.offset, [9; 32]).unwrap();
                busy = true;
            }
        }
        busy
    }
}

impl End {
    fn store(&mut self, header: &DataHeader, window: u64) {
        *self.stored_bytes.entry(header.transfer).or_default() += u64::from(header.len);
        if !self.stuck.contains(&header.transfer) {
            self.session.grant_window(header.transfer, header.end() + window).unwrap();
        }
        self.session.progress(header.transfer, header.end()).unwrap();
        self.store_if_complete(header.transfer);
    }

    fn store_if_complete(&mut self, transfer: u32) {
        let complete = self.session.transfer(transfer).is_some_and(|t| t.size == Some(t.offset));
        if complete && self.finished.remove(&transfer) {
            self.session.stored(transfer).unwrap();
        }
    }
}
