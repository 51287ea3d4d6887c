//! Two things that tests put between a client and a node: namespaces with lines between them, and a translator of datagrams in
//! user space, as a home router is one. It writes down what came by.

use std::{
    collections::BTreeSet,
    fs::File,
    net::{IpAddr, SocketAddr, UdpSocket},
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Between two looks whether a translator's place is still wanted.
const LOOK: Duration = Duration::from_millis(50);

/// A network namespace of the test's own; goes with its devices.
pub(crate) struct Namespace(String);

impl Namespace {
    /// Makes one; the words say why that can't be.
    pub(crate) fn add(name: &str) -> Result<Self, String> {
        let this = Self(format!("evk-{}-{name}", std::process::id()));
        ip(&["netns", "add", &this.0])?;
        ip(&["-n", &this.0, "link", "set", "lo", "up"])?;
        Ok(this)
    }

    /// A line to `other`, whose ends have these addresses.
    pub(crate) fn join(&self, other: &Self, device: &str, ends: [&str; 2]) -> Result<(), String> {
        let far = format!("{device}-far");
        ip(&["-n", &self.0, "link", "add", device, "type", "veth", "peer", "name", &far, "netns", &other.0])?;
        for (place, device, address) in [(self, device, ends[0]), (other, &far, ends[1])] {
            place.give(device, address)?;
            ip(&["-n", &place.0, "link", "set", device, "up"])?;
        }
        Ok(())
    }

    /// One more address.
    pub(crate) fn give(&self, device: &str, address: &str) -> Result<(), String> {
        ip(&["-n", &self.0, "address", "add", &format!("{address}/24"), "dev", device])
    }

    /// What starts a program here.
    pub(crate) fn wrapper(&self) -> [&str; 4] {
        ["ip", "netns", "exec", &self.0]
    }

    /// Does `work` on a thread that is here, and so are the threads that it starts.
    pub(crate) fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let place = File::open(format!("/run/netns/{}", self.0)).unwrap();
        thread::scope(|scope| {
            let there = scope.spawn(move || {
                move_into_link_name_space(std::os::fd::AsFd::as_fd(&place), Some(LinkNameSpaceType::Network)).unwrap();
                work()
            });
            there.join().unwrap()
        })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = ip(&["netns", "del", &self.0]);
    }
}

fn ip(args: &[&str]) -> Result<(), String> {
    let output = Command::new("ip").args(args).output().map_err(|error| format!("ip: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("ip {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim())),
    }
}

/// Which way a datagram goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Way {
    /// To the node.
    Up,
    /// From it.
    Down,
}

/// A datagram that came by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) way: Way,
    /// The node's port.
    pub(crate) port: u16,
    /// When it came by.
    pub(crate) at: Instant,
    /// UDP payload.
    pub(crate) bytes: usize,
}

/// Datagrams on their way.
const ON_THEIR_WAY_MAX: usize = 65_536;
/// What waits before a narrow line; what comes then is lost.
const QUEUE: Duration = Duration::from_millis(50);

/// A line between a client and a node.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Line {
    /// How long each way takes.
    pub(crate) delay: Duration,
    /// What it carries each way; 0: anything.
    pub(crate) bytes_per_second: u32,
}

#[derive(Default)]
struct Book {
    line: Line,
    seen: Mutex<Vec<Seen>>,
    /// The one datagram from this port of the node, counted since the beginning or [`Nat::forget`], that gets lost.
    lost: Mutex<Option<(u16, usize)>>,
    /// Ports of the node to which nothing gets through.
    closed: Mutex<BTreeSet<u16>>,
    /// Where the node sees its peer: a change of the address or of the count makes new ports.
    outside: Mutex<(Option<IpAddr>, u64)>,
    /// All that it ever saw.
    addresses: Mutex<BTreeSet<(u16, SocketAddr)>>,
    is_over: AtomicBool,
}

/// A translator of one client's datagrams.
pub(crate) struct Nat(Arc<Book>);

impl Drop for Nat {
    fn drop(&mut self) {
        self.0.is_over.store(true, SeqCst);
    }
}

impl Nat {
    /// Takes what comes to `near` at each of `ports`, to pass it on to the same port of `node` from ports at `outside`.
    pub(crate) fn before(node: IpAddr, near: IpAddr, ports: &[u16], outside: IpAddr) -> Self {
        Self::at_end_of(Line::default(), node, near, ports, outside)
    }

    /// The same with a line like that before it.
    pub(crate) fn at_end_of(line: Line, node: IpAddr, near: IpAddr, ports: &[u16], outside: IpAddr) -> Self {
        let book = Arc::new(Book { line, ..Book::default() });
        book.outside.lock().unwrap().0 = Some(outside);
        for &port in ports {
            let near = Arc::new(UdpSocket::bind((near, port)).unwrap());
            near.set_read_timeout(Some(LOOK)).unwrap();
            let book = Arc::clone(&book);
            thread::spawn(move || outward(&near, SocketAddr::new(node, port), &book));
        }
        Self(book)
    }

    /// Forgets its ports: what the client sends next comes from others, at `outside`, and what the node sends to the old ones
    /// is lost.
    pub(crate) fn rebind(&self, outside: IpAddr) {
        let mut place = self.0.outside.lock().unwrap();
        *place = (Some(outside), place.1 + 1);
    }

    /// What came by so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.0.seen.lock().unwrap().clone()
    }

    /// Forgets what came by.
    pub(crate) fn forget(&self) {
        self.0.seen.lock().unwrap().clear();
    }

    /// Loses the datagram from this port of the node before which there are `index`, after each [`Nat::forget`]; `None`: loses none.
    pub(crate) fn lose(&self, port: u16, index: Option<usize>) {
        *self.0.lost.lock().unwrap() = index.map(|index| (port, index));
    }

    /// From now on nothing gets through to this port of the node, as behind a firewall.
    pub(crate) fn close(&self, port: u16) {
        self.0.closed.lock().unwrap().insert(port);
    }

    /// What [`Nat::close`] did is undone.
    pub(crate) fn open(&self, port: u16) {
        self.0.closed.lock().unwrap().remove(&port);
    }

    /// Where the node has seen its peer at this port of its own.
    pub(crate) fn addresses(&self, port: u16) -> Vec<SocketAddr> {
        let all = self.0.addresses.lock().unwrap();
        all.iter().filter(|(at, _)| *at == port).map(|(_, address)| *address).collect()
    }
}

fn outward(near: &Arc<UdpSocket>, node: SocketAddr, book: &Arc<Book>) {
    let client = Arc::new(Mutex::new(None));
    let mut room = vec![0; 65_536];
    let mut mapped: Option<(u64, Carrier)> = None;
    while !book.is_over.load(SeqCst) {
        let Ok((len, from)) = near.recv_from(&mut room) else { continue };
        *client.lock().unwrap() = Some(from);
        let (Some(address), age) = *book.outside.lock().unwrap() else { continue };
        book.seen.lock().unwrap().push(Seen { way: Way::Up, port: node.port(), at: Instant::now(), bytes: len });
        if book.closed.lock().unwrap().contains(&node.port()) {
            continue;
        }
        if mapped.as_ref().is_none_or(|(then, _)| *then != age) {
            let socket = UdpSocket::bind((address, 0)).unwrap();
            socket.connect(node).unwrap();
            socket.set_read_timeout(Some(LOOK)).unwrap();
            book.addresses.lock().unwrap().insert((node.port(), socket.local_addr().unwrap()));
            let (far, near, client, book) =
                (socket.try_clone().unwrap(), Arc::clone(near), Arc::clone(&client), Arc::clone(book));
            let line = book.line;
            thread::spawn(move || inward(&far, age, node.port(), &near, &client, &book));
            mapped = Some((age, carrier(line, move |bytes| drop(socket.send(bytes)))));
        }
        if let Some((_, carrier)) = &mapped {
            carrier.send((Instant::now(), room[..len].to_vec())).unwrap();
        }
    }
}

/// From the node, as long as the port is this client's.
fn inward(
    far: &UdpSocket,
    age: u64,
    port: u16,
    near: &Arc<UdpSocket>,
    client: &Arc<Mutex<Option<SocketAddr>>>,
    book: &Book,
) {
    let mut room = vec![0; 65_536];
    let (near, client) = (Arc::clone(near), Arc::clone(client));
    let carrier = carrier(book.line, move |bytes| {
        let to = *client.lock().unwrap();
        if let Some(to) = to {
            let _ = near.send_to(bytes, to);
        }
    });
    while !book.is_over.load(SeqCst) && book.outside.lock().unwrap().1 == age {
        let Ok(len) = far.recv(&mut room) else { continue };
        if book.outside.lock().unwrap().1 != age {
            return;
        }
        let index = {
            let mut seen = book.seen.lock().unwrap();
            let index = seen.iter().filter(|seen| seen.way == Way::Down && seen.port == port).count();
            seen.push(Seen { way: Way::Down, port, at: Instant::now(), bytes: len });
            index
        };
        if *book.lost.lock().unwrap() == Some((port, index)) {
            continue;
        }
        carrier.send((Instant::now(), room[..len].to_vec())).unwrap();
    }
}

/// What takes a datagram and when it came.
type Carrier = mpsc::SyncSender<(Instant, Vec<u8>)>;

/// A thread that sends each datagram when `line` would have carried it, in order.
fn carrier(line: Line, send: impl Fn(&[u8]) + Send + 'static) -> Carrier {
    let (carrier, waiting) = mpsc::sync_channel::<(Instant, Vec<u8>)>(ON_THEIR_WAY_MAX);
    thread::spawn(move || {
        let mut free = Instant::now();
        for (came, bytes) in waiting {
            if line.bytes_per_second > 0 {
                if free.saturating_duration_since(came) > QUEUE {
                    continue;
                }
                free = free.max(came) + Duration::from_secs(1) * bytes.len() as u32 / line.bytes_per_second;
            } else {
                free = came;
            }
            thread::sleep((free + line.delay).saturating_duration_since(Instant::now()));
            send(&bytes);
        }
    });
    carrier
}
