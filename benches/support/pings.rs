//! Pings to a node with backlogged peers: what a control message waits for while data flows. Each benchmark that includes this
//! plays the peers itself, in a process of its own.

use std::{
    fs,
    io::BufRead as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use actors::{
    SessionHandle,
    peer::client::{Command as Order, GetCommand, SessionEvent},
};
use evenkeel::{
    identity::{Identity, StateDir},
    node::{
        TransportChoice,
        session::{Client, Wish},
    },
};
use flow::Class;
use hdrhistogram::Histogram;

use crate::{
    fountain::Fountain,
    measure::{self, Outcome, Server, cpu_seconds, pinned},
    narrow::{self, Home},
    stamped::Stamped,
    void::Void,
};

const NODE_CORE: usize = 0;
const PEERS_CORE: usize = 1;
/// More than 50 peers get at 200 MB/s while they are measured. It takes no room: it has a size and no contents.
const FILE_BYTES: u64 = 4 << 30;

/// Plays the peers, if that is what the arguments ask for.
pub(crate) fn play(args: &[String]) -> Option<Outcome<()>> {
    match args {
        [role, address, room, peers, pings, over, crowd, moves, line @ ..] if role == "peers" => {
            let numbers = peers.parse().and_then(|peers| Ok((peers, pings.parse()?)));
            Some(numbers.map_err(Into::into).and_then(|(peers, pings)| {
                let moves = Moves::named(moves);
                let crowd = Crowd { peers, is_behind: crowd == "behind", moves, line: begin_of(line, address)? };
                play_peers(address, Path::new(room), &crowd, pings, over == "quic")
            }))
        }
        _ => None,
    }
}

/// What the backlogged peers do, as much of it as the total lets through.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) enum Moves {
    Gets,
    Puts,
    /// Every other one gets, and the others, the one that pings among them, put.
    #[allow(dead_code, reason = "of QUIC alone")]
    Both,
}

impl Moves {
    const fn name(self) -> &'static str {
        match self {
            Self::Gets => "gets",
            Self::Puts => "puts",
            Self::Both => "both",
        }
    }

    fn named(name: &str) -> Self {
        [Self::Puts, Self::Both].into_iter().find(|moves| moves.name() == name).unwrap_or(Self::Gets)
    }

    const fn puts(self, peer: usize) -> bool {
        match self {
            Self::Gets => false,
            Self::Puts => true,
            Self::Both => peer % 2 == 1,
        }
    }
}

/// One scene: which node, and how many peers want everything.
#[derive(Clone)]
pub(crate) struct Scene {
    pub(crate) name: &'static str,
    /// The node.
    pub(crate) program: PathBuf,
    /// What plays the peers: this benchmark, or another build of it.
    pub(crate) player: PathBuf,
    /// `tcp` or `quic`.
    pub(crate) over: &'static str,
    pub(crate) peers: u64,
    /// The peers that do not ping run only while the two that do have nothing to do (`SCHED_IDLE`).
    pub(crate) crowd_behind: bool,
    pub(crate) moves: Moves,
    /// What lies between the node and the backlogged session that pings; `None`: that is beside it, as all others are.
    pub(crate) line: Option<Home>,
    pub(crate) takes: Vec<Take>,
}

/// What one run saw, in milliseconds.
#[derive(Clone)]
pub(crate) struct Take {
    pub(crate) separate: [f64; 3],
    pub(crate) backlogged: [f64; 3],
    pub(crate) inside: [f64; 2],
    /// From a ping's datagram becoming readable at the node to its answer's being written; over TCP nobody looks.
    #[allow(dead_code, reason = "of QUIC alone")]
    pub(crate) wire: [f64; 3],
    /// What was got.
    pub(crate) megabytes_per_second: f64,
    /// What was put.
    #[allow(dead_code, reason = "of QUIC alone")]
    pub(crate) put_megabytes_per_second: f64,
    pub(crate) node_cores: f64,
}

/// One run of a scene.
pub(crate) fn take(scene: &Scene, total: &str, pings: u64) -> Outcome<Take> {
    let room = measure::room()?;
    let room = room.path();
    fs::create_dir_all(room.join("files"))?;
    fs::File::create(room.join("files/big"))?.set_len(FILE_BYTES)?;
    // The limit on control frames is for peers that flood; here it would only slow the measuring.
    let config = format!(
        "[sessions]\ncontrol_frames_per_second = 100000\n[[share]]\nname = \"bench\"\npath = \"{}\"\nwritable = true\n",
        room.join("files").display()
    );
    let path = room.join("node.toml");
    fs::write(&path, config)?;
    let path = path.to_str().ok_or("a path that is not UTF-8")?;
    let mut args = vec!["--config", path, "--open", "--upload-limit", total];
    let data = measure::free_ports(host::cores())?;
    let listen_data = format!("127.0.0.1:{}", data[0]);
    if scene.line.is_some() {
        args.extend(["--listen-data", &listen_data]);
    }
    if scene.moves != Moves::Gets {
        args.extend(["--download-limit", total]);
        let ids = (0..=scene.peers).map(|peer| {
            let identity = Identity::load_or_create(&StateDir::open(Some(&room.join(format!("peer-{peer}"))))?)?;
            Ok(format!("{} read,write\n", identity.id()))
        });
        fs::create_dir_all(room.join("state"))?;
        fs::write(room.join("state/authorized_peers"), ids.collect::<Outcome<String>>()?)?;
    }
    let node = Server::node(&scene.program, room, Some(NODE_CORE), &args)?;
    let mut peers = pinned(&scene.player, Some(PEERS_CORE));
    peers.arg("peers").arg(&node.address).arg(room).arg(scene.peers.to_string()).arg(pings.to_string()).arg(scene.over);
    peers.arg(if scene.crowd_behind { "behind" } else { "beside" }).arg(scene.moves.name());
    if let Some(line) = scene.line {
        let control = node.address.rsplit(':').next().ok_or("no port")?;
        peers.arg(line.name()).arg(control).args(data.iter().map(u16::to_string));
    }
    let mut peers = peers.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let mut lines = std::io::BufReader::new(peers.stdout.take().ok_or("no stdout")?).lines();
    let mut line = || lines.next().ok_or("the peers ended early")?.map_err(Box::<dyn std::error::Error>::from);
    if line()? != "ready" {
        return Err("the peers are not ready".into());
    }
    let (before, put_before) = (latencies(&node)?, put_bytes(&node)?);
    let (cpu, start) = (cpu_seconds(node.pid())?, Instant::now());
    let (separate, backlogged, wire, megabytes_per_second) = (line()?, line()?, line()?, line()?);
    let seconds = start.elapsed().as_secs_f64();
    let node_cores = (cpu_seconds(node.pid())? - cpu) / seconds;
    let (after, put_bytes) = (latencies(&node)?, put_bytes(&node)? - put_before);
    peers.wait()?;
    let counts: Vec<(f64, f64)> =
        after.iter().zip(&before).map(|(after, before)| (after.0, after.1 - before.1)).collect();
    let inside = [0.50, 0.99].map(|share| quantile(&counts, share) * 1e3);
    let megabytes_per_second = megabytes_per_second.parse()?;
    let [separate, backlogged, wire] = [three(&separate)?, three(&backlogged)?, three(&wire)?];
    let put_megabytes_per_second = put_bytes / seconds / 1e6;
    Ok(Take { separate, backlogged, inside, wire, megabytes_per_second, put_megabytes_per_second, node_cores })
}

fn three(line: &str) -> Outcome<[f64; 3]> {
    let values = line.split(' ').map(str::parse).collect::<Result<Vec<f64>, _>>()?;
    values.try_into().map_err(|_| format!("not three figures: {line}").into())
}

/// The node's histogram: upper borders in seconds and observations up to them.
fn latencies(node: &Server) -> Outcome<Vec<(f64, f64)>> {
    let page = ureq::get(&node.metrics).call()?.body_mut().read_to_string()?;
    let buckets = page.lines().filter_map(|line| {
        let rest = line.strip_prefix("evenkeel_control_latency_seconds_bucket{le=\"")?;
        let (border, count) = rest.split_once("\"} ")?;
        Some((border.parse().unwrap_or(f64::INFINITY), count.parse().ok()?))
    });
    Ok(buckets.collect())
}

/// What peers have put so far.
fn put_bytes(node: &Server) -> Outcome<f64> {
    let page = ureq::get(&node.metrics).call()?.body_mut().read_to_string()?;
    let counts = page.lines().filter_map(|line| {
        let (_, count) = line.strip_prefix("evenkeel_payload_bytes_total{direction=\"download\"")?.split_once("} ")?;
        count.parse::<f64>().ok()
    });
    Ok(counts.sum())
}

/// As Prometheus' `histogram_quantile`: linear within a bucket.
fn quantile(counts: &[(f64, f64)], share: f64) -> f64 {
    let wanted = share * counts.last().map_or(0.0, |last| last.1);
    let (mut border, mut below) = (0.0, 0.0);
    for (upper, count) in counts {
        if *count >= wanted && *count > below {
            return if upper.is_finite() {
                border + (upper - border) * (wanted - below) / (count - below)
            } else {
                border
            };
        }
        (border, below) = (*upper, *count);
    }
    f64::NAN
}

/// Who is backlogged.
struct Crowd {
    peers: u64,
    is_behind: bool,
    moves: Moves,
    /// Where the one that pings finds the node.
    line: String,
}

/// Where a line begins that `words` describe: its kind, and the node's ports; without words, `node` itself.
fn begin_of(words: &[String], node: &str) -> Outcome<String> {
    let [kind, ports @ ..] = words else { return Ok(node.to_owned()) };
    let ports = ports.iter().map(|port| port.parse()).collect::<Result<Vec<u16>, _>>()?;
    narrow::relay(Home::named(kind).ok_or("no such line")?, &ports)?;
    Ok(format!("{}:{}", narrow::NEAR, ports.first().ok_or("no port")?))
}

/// The other end: `peers` that move all they can, one of them pinging (or an idle one where there are none), and one that only
/// pings; over QUIC one more does so through a relay that knows what the node took. Prints `ready`, then p50, p99 and p99.9 in ms of the
/// two and of what the node took, then the MB/s that came meanwhile.
fn play_peers(address: &str, room: &Path, crowd: &Crowd, pings: u64, is_quic: bool) -> Outcome<()> {
    let peers = crowd.peers;
    let received = Arc::new(AtomicU64::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let mut go = Vec::new();
    let relayed = if is_quic { Some(Stamped::start(address)?) } else { None };
    let pinging = [Some(Ear::Alone), Some(Ear::Backlogged)].into_iter().chain((2..=peers).map(|_| None));
    for (index, ear) in pinging.chain(relayed.map(|relay| Some(Ear::Relayed(relay)))).enumerate() {
        let is_backlogged = peers > 0 && matches!(ear, None | Some(Ear::Backlogged));
        let puts = crowd.moves.puts(index);
        let role = Role {
            address: match &ear {
                Some(Ear::Relayed(relay)) => relay.address().to_string(),
                Some(Ear::Backlogged) => crowd.line.clone(),
                _ => address.to_owned(),
            },
            transport: if is_quic { TransportChoice::Quic } else { TransportChoice::Tcp },
            state: room.join(format!("peer-{index}")),
            received: (is_backlogged && !puts).then(|| received.clone()),
            puts: (is_backlogged && puts).then(|| format!("bench/from-{index}")),
            stop: stop.clone(),
        };
        let stands_back = crowd.is_behind && ear.is_none();
        let pinger = ear.map(|ear| {
            let (go_now, told) = mpsc::sync_channel::<u64>(1);
            let (report, heard) = mpsc::sync_channel(1);
            go.push((go_now, heard));
            Pinger { ear, told, report }
        });
        thread::Builder::new().name(format!("peer-{index}")).spawn(move || {
            if stands_back && let Err(error) = stand_back() {
                eprintln!("a peer does not stand back: {error}");
                std::process::exit(1);
            }
            let done = actix_rt::System::new().block_on(act(role, pinger));
            if let Err(error) = done {
                eprintln!("a peer failed: {error}");
                std::process::exit(1);
            }
        })?;
        // Not all keys and handshakes at once.
        thread::sleep(Duration::from_millis(20));
    }
    // The file is hashed, the shares are found.
    thread::sleep(Duration::from_secs(if peers > 0 { 8 } else { 1 }));
    println!("ready");
    let (start, before) = (Instant::now(), received.load(Relaxed));
    for (go_now, _) in &go {
        go_now.send(pings)?;
    }
    let heard = go.iter().map(|(_, heard)| heard.recv()).collect::<Result<Vec<_>, _>>()?;
    let rate = (received.load(Relaxed) - before) as f64 / start.elapsed().as_secs_f64() / 1e6;
    stop.store(true, Relaxed);
    for index in 0..3 {
        let at = |share| heard.get(index).map_or(f64::NAN, |times| times.value_at_quantile(share) as f64 / 1e6);
        println!("{} {} {}", at(0.5), at(0.99), at(0.999));
    }
    println!("{rate}");
    Ok(())
}

/// Moves this thread into the idle class: it has the core only while nobody else wants it.
fn stand_back() -> Outcome<()> {
    let thread = rustix::thread::gettid().as_raw_nonzero().to_string();
    let output = Command::new("chrt").args(["--idle", "-p", "0", &thread]).output()?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("chrt: {}", String::from_utf8_lossy(&output.stderr)).into()),
    }
}

/// What one peer does.
struct Role {
    address: String,
    transport: TransportChoice,
    state: PathBuf,
    /// Where it counts what came; `None`: it fetches nothing.
    received: Option<Arc<AtomicU64>>,
    /// What it puts, over and over; `None`: nothing.
    puts: Option<String>,
    stop: Arc<AtomicBool>,
}

/// Who pings, and how it measures.
enum Ear {
    /// A session that does nothing else.
    Alone,
    /// One that fetches as well.
    Backlogged,
    /// Another that does nothing else; its relay says what the node took.
    Relayed(Stamped),
}

/// What a session that pings is told, and where the times go, in ns.
struct Pinger {
    ear: Ear,
    /// When to begin, and how often.
    told: mpsc::Receiver<u64>,
    report: mpsc::SyncSender<Histogram<u64>>,
}

async fn act(role: Role, pinger: Option<Pinger>) -> Outcome<()> {
    let wish = Wish::everything(role.transport);
    let client = Client::start(StateDir::open(Some(&role.state))?, wish).map_err(|failure| failure.message)?;
    let (session, mut events) = client.connect(&role.address).await?;
    while !matches!(events.recv().await.ok_or("the session ended")?, SessionEvent::Welcomed(_)) {}
    if let Some(received) = &role.received {
        let open = Void::opener(received.clone());
        let (path, class) = ("bench/big".to_owned(), Class::Foreground);
        session.command(Order::Get(GetCommand { tag: 0, path, resume: None, weight: 1.0, class, open })).await;
    }
    role.put(&session).await;
    if let Some(Pinger { ear, told, report }) = pinger {
        let pings = loop {
            match told.try_recv() {
                Ok(pings) => break pings,
                Err(mpsc::TryRecvError::Disconnected) => return Err("nobody says when to ping".into()),
                Err(mpsc::TryRecvError::Empty) => {}
            }
            while let Ok(event) = events.try_recv() {
                role.attend(&session, &event).await?;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        report.send(ping(&role, &session, &mut events, pings, &ear).await?)?;
    }
    while !role.stop.load(Relaxed) {
        while let Ok(event) = events.try_recv() {
            role.attend(&session, &event).await?;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

impl Role {
    /// Puts its file, if it has one.
    async fn put(&self, session: &SessionHandle) {
        let Some(path) = self.puts.clone() else { return };
        let (source, class) = (Fountain::source(), Class::Foreground);
        session.command(Order::Put { tag: 1, path, source, weight: 1.0, class }).await;
    }

    /// What is stored is put again.
    async fn attend(&self, session: &SessionHandle, event: &SessionEvent) -> Outcome<()> {
        match event {
            SessionEvent::Failed { failed, .. } => return Err(failed.message.clone().into()),
            SessionEvent::Done { tag: 1 } => self.put(session).await,
            _ => {}
        }
        Ok(())
    }
}

async fn ping(
    role: &Role,
    session: &SessionHandle,
    events: &mut tokio::sync::mpsc::Receiver<SessionEvent>,
    pings: u64,
    ear: &Ear,
) -> Outcome<Histogram<u64>> {
    let mut histogram = Histogram::<u64>::new(3)?;
    for index in 0..pings {
        // 1 to 3 ms, so that no beat is met always or never.
        tokio::time::sleep(Duration::from_micros(1000 + index.wrapping_mul(7919) % 2000)).await;
        let sent = Instant::now();
        session.command(Order::Ping).await;
        loop {
            match events.recv().await.ok_or("the session ended")? {
                SessionEvent::Pong(_) => break,
                SessionEvent::Ended { why, .. } => return Err(why.unwrap_or_default().into()),
                event => role.attend(session, &event).await?,
            }
        }
        histogram.record(match ear {
            Ear::Relayed(relay) => relay.took(),
            Ear::Alone | Ear::Backlogged => u64::try_from(sent.elapsed().as_nanos())?,
        })?;
    }
    Ok(histogram)
}
