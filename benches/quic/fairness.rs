//! Half of the peers over QUIC, half over TCP, one total: does each get the same?

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use actors::{
    SessionHandle,
    peer::client::{Command as Order, First, GetCommand, SessionEvent},
    port::Dialer,
};
use evenkeel::{
    identity::{Identity, StateDir},
    node::{
        TransportChoice,
        session::{Client, Wish},
    },
    transport::{Credentials, DialConfig, Pins, QuicClient, QuicDialer, TcpDialer},
};
use flow::Class;
use wire::{Hello, PeerId};

use crate::{
    measure::{self, Outcome, PROGRAM, Server, cpu_seconds, pinned, setting},
    void::Void,
};

const NODE_CORE: usize = 0;
const PEERS_CORE: usize = 1;
/// More than a peer gets while it is looked at.
const FILE_BYTES: u64 = 4 << 30;
/// From the last peer's coming to the first look: two rounds, and what was lent at first.
const SETTLED: Duration = Duration::from_secs(8);

pub(crate) fn run() -> Outcome<()> {
    let each = setting("EVENKEEL_BENCH_EACH", 1000);
    let seconds = setting("EVENKEEL_BENCH_SECONDS", 20);
    let total = std::env::var("EVENKEEL_BENCH_TOTAL").unwrap_or_else(|_| "100MB/s".into());
    let limit = total.parse::<flow::Rate>()?.bytes_per_second() as f64;
    let room = measure::room()?;
    let home = room.path();
    fs::create_dir(home.join("files"))?;
    fs::File::create(home.join("files/big"))?.set_len(FILE_BYTES)?;
    let config = home.join("node.toml");
    let share = format!("[[share]]\nname = \"bench\"\npath = \"{}\"\n", home.join("files").display());
    // All of them come from one address.
    fs::write(&config, format!("[sessions]\nper_address_max = 100000\n{share}"))?;
    let config = config.to_str().ok_or("no UTF-8")?;
    let args = ["--config", config, "--open", "--upload-limit", &total];
    let node = Server::node(Path::new(PROGRAM), home, Some(NODE_CORE), &args)?;
    println!("{each} peers over QUIC and {each} over TCP under {total}, {seconds} s");
    let mut peers = pinned(std::env::current_exe()?, Some(PEERS_CORE));
    peers.arg("fair-peers").arg(&node.address).arg(home).arg(each.to_string()).arg(seconds.to_string());
    let mut peers = peers.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let mut lines = BufReader::new(peers.stdout.take().ok_or("no stdout")?).lines();
    let mut line = || lines.next().ok_or("the peers ended early")?.map_err(Box::<dyn std::error::Error>::from);
    if line()? != "ready" {
        return Err("the peers are not ready".into());
    }
    let (cpu, start) = (cpu_seconds(node.pid())?, Instant::now());
    let rates = line()?;
    let cores = (cpu_seconds(node.pid())? - cpu) / start.elapsed().as_secs_f64();
    peers.wait()?;
    let rates = rates.split(' ').map(str::parse).collect::<Result<Vec<f64>, _>>()?;
    let (quic, tcp) = rates.split_at(rates.len() / 2);
    let all = rates.iter().sum::<f64>();
    println!("Jain's index: all {:.5}, QUIC {:.5}, TCP {:.5}", flow::jain(&rates), flow::jain(quic), flow::jain(tcp));
    println!("total {:.2} MB/s = {:.2} % of the limit, node {cores:.2} cores", all / 1e6, all / limit * 100.0);
    for (name, rates) in [("QUIC", quic), ("TCP + TLS", tcp)] {
        let mean = rates.iter().sum::<f64>() / rates.len() as f64;
        let least = rates.iter().copied().fold(f64::INFINITY, f64::min);
        let most = rates.iter().copied().fold(0.0, f64::max);
        println!("{name:10} mean {:.2} KB/s, {:.2} to {:.2}", mean / 1e3, least / 1e3, most / 1e3);
    }
    Ok(())
}

/// Plays the peers, if that is what the arguments ask for.
pub(crate) fn play(args: &[String]) -> Option<Outcome<()>> {
    match args {
        [role, address, home, each, seconds] if role == "fair-peers" => {
            let numbers = each.parse::<usize>().and_then(|each| Ok((each, seconds.parse()?)));
            let played = numbers.map_err(Into::into).and_then(|(each, seconds)| {
                host::raise_descriptor_limit()?;
                let state = StateDir::open(Some(&Path::new(home).join("peers")))?;
                actix_rt::System::new().block_on(peers(address, state, each, Duration::from_secs(seconds)))
            });
            Some(played)
        }
        _ => None,
    }
}

/// Whoever answers at the address that we have just started.
struct Anybody;

impl Pins for Anybody {
    fn check(&self, _: &str, _: &PeerId) -> Result<(), String> {
        Ok(())
    }
}

async fn peers(address: &str, state: StateDir, each: usize, length: Duration) -> Outcome<()> {
    let client = Client::start(state, Wish::everything(TransportChoice::Tcp)).map_err(|failure| failure.message)?;
    let received: Vec<Arc<AtomicU64>> = (0..2 * each).map(|_| Arc::default()).collect();
    let ended = Arc::new(AtomicBool::new(false));
    let mut sessions = Vec::new();
    for (index, received) in received.iter().enumerate() {
        sessions.push(join(&client, address, index < each, received.clone(), ended.clone()).await?);
    }
    tokio::time::sleep(SETTLED).await;
    println!("ready");
    let look = || received.iter().map(|received| received.load(Relaxed)).collect::<Vec<_>>();
    let (start, before) = (Instant::now(), look());
    tokio::time::sleep(length).await;
    let (after, took) = (look(), start.elapsed().as_secs_f64());
    if ended.load(Relaxed) {
        return Err("a session ended while it was looked at".into());
    }
    let rates = after.iter().zip(&before).map(|(after, before)| ((after - before) as f64 / took).to_string());
    println!("{}", rates.collect::<Vec<_>>().join(" "));
    Ok(())
}

/// One peer with a key, sockets and a transfer of its own, in the client's node.
async fn join(
    client: &Client,
    address: &str,
    is_quic: bool,
    received: Arc<AtomicU64>,
    ended: Arc<AtomicBool>,
) -> Outcome<SessionHandle> {
    let credentials = Credentials::generate_from_pkcs8(Identity::ephemeral()?.key_pkcs8())?;
    let (pins, config) = (Arc::new(Anybody), DialConfig::default());
    let dialer: Arc<dyn Dialer> = if is_quic {
        Arc::new(QuicDialer::new(address, Arc::new(QuicClient::new(&credentials)?), pins, config)?)
    } else {
        Arc::new(TcpDialer::new(address, &credentials, pins, config)?)
    };
    let link = dialer.control().await?;
    let hello = Hello { data_links: 1, class: 1, agent: "bench/1".into(), ..Hello::default() };
    let (session, mut events) = client.node().connect(link, hello, First::default(), dialer, 16);
    while !matches!(events.recv().await.ok_or("the session ended")?, SessionEvent::Welcomed(_)) {}
    let (path, class, open) = ("bench/big".to_owned(), Class::Foreground, Void::opener(received));
    session.command(Order::Get(GetCommand { tag: 0, path, resume: None, weight: 1.0, class, open })).await;
    actix_rt::spawn(async move {
        while let Some(event) = events.recv().await {
            if let SessionEvent::Failed { failed, .. } = event {
                eprintln!("a get failed: {}", failed.message);
            }
        }
        ended.store(true, Relaxed);
    });
    Ok(session)
}
