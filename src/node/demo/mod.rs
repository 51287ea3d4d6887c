//! `evenkeel demo`: a node and many real peers over loopback sockets, a live table, and a verdict from what the receivers
//! wrote to disk.

mod cast;
mod peer;
mod table;
mod verdict;

use std::{
    fs::File,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use actors::{Node, NodeConsole, NodeSettings, Threads, Tree, port::Console, view::PeerView};
use wire::PeerId;

use self::{
    cast::Part,
    peer::{DemoPeer, Home},
    table::Live,
    verdict::{Sample, Verdict},
};
use super::{DemoOptions, Exit, Failure, TransportChoice, compose, doors::Doors};
use crate::{
    config::{Config, Overrides, Share},
    files::{FilesConfig, ShareConfig, Shares},
    identity::{AuthorizedPeers, Identity, StateDir},
    transport::{self, Credentials},
};

/// Between two looks at the receivers' files.
const SAMPLE: Duration = Duration::from_millis(100);
/// The file that everybody fetches.
const NAME: &str = "demo.bin";

/// Runs the demo.
///
/// # Errors
/// When a peer fails, or the verdict can't be had.
pub fn demo(options: DemoOptions) -> Result<(), Failure> {
    let folder = match &options.state {
        Some(path) => path.clone(),
        None => std::env::temp_dir().join(format!("evenkeel-demo-{}", std::process::id())),
    };
    std::fs::create_dir_all(&folder).map_err(machine)?;
    let result = actix_rt::System::new().block_on(run(&options, &folder));
    if options.state.is_none() {
        // Nobody asked for what is in it.
        let _ = std::fs::remove_dir_all(&folder);
    }
    result
}

async fn run(options: &DemoOptions, folder: &Path) -> Result<(), Failure> {
    transport::install_provider();
    host::raise_descriptor_limit().map_err(machine)?;
    let parts = cast::cast(options.peers, options.upload_limit, options.duration);
    let states = parts
        .iter()
        .enumerate()
        .map(|(index, _)| open_state(&folder.join(format!("peer-{index}"))))
        .collect::<Result<Vec<_>, _>>()?;
    let ids = states
        .iter()
        .map(|state| Identity::load_or_create(state).map(|identity| identity.id()).map_err(machine))
        .collect::<Result<Vec<_>, _>>()?;
    let (node, address) = start_node(options, folder, &parts, &ids)?;
    let stop = Arc::new(AtomicBool::new(false));
    let mut peers = Vec::new();
    let mut files = Vec::new();
    for (index, (part, state)) in parts.iter().zip(states).enumerate() {
        let destination = folder.join(format!("received-{index}.bin"));
        files.push(folder.join(format!("received-{index}.bin.part")));
        let home = Home { state, endpoint: address.to_string(), path: format!("demo/{NAME}"), destination };
        peers.push(DemoPeer::start(part.clone(), home, options.transport.of(index), stop.clone())?);
    }
    let samples = watch(options, &node, &parts, &ids, &files).await?;
    stop.store(true, Relaxed);
    let joined = tokio::task::spawn_blocking(move || {
        peers.into_iter().map(DemoPeer::join).find(Result::is_err).unwrap_or(Ok(()))
    });
    joined.await.map_err(machine)??;
    node.drain().await;
    let background_floor = node.shared().config.knobs.background_floor;
    let total = options.upload_limit.bytes_per_second() as f64;
    let verdict = verdict::judge(&parts, &samples.on_disk, total, background_floor);
    node.stop();
    let Some(verdict) = verdict else {
        return Err(Failure::usage("too short for a verdict: give --for 30 or more"));
    };
    report(options, &verdict, &samples);
    Ok(())
}

fn start_node(
    options: &DemoOptions,
    folder: &Path,
    parts: &[Part],
    ids: &[PeerId],
) -> Result<(Arc<Node>, SocketAddr), Failure> {
    let state = open_state(&folder.join("node"))?;
    let identity = Identity::load_or_create(&state).map_err(machine)?;
    let share = folder.join("share");
    std::fs::create_dir_all(&share).map_err(machine)?;
    // Nobody gets more than twice the total, so nobody comes to its end.
    let size = options.upload_limit.bytes_per_second().saturating_mul(options.duration.as_secs() * 2 + 60);
    File::create(share.join(NAME)).and_then(|file| file.set_len(size)).map_err(machine)?;
    let overrides = Overrides {
        shares: vec![Share { name: "demo".into(), path: share.clone(), writable: false, public: false }],
        upload: Some(options.upload_limit),
        peers: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))),
        ..Overrides::default()
    };
    let mut config = Config::load(None, &overrides).map_err(|error| Failure::new(Exit::Config, error.to_string()))?;
    config.sessions.per_address_max = config.sessions.per_address_max.max(parts.len() * 4);
    let shares = vec![ShareConfig { name: "demo".into(), path: share, writable: false, public: false }];
    let shares = Shares::new(shares, FilesConfig::new(state.path())).map_err(machine)?;
    let policy = AuthorizedPeers::load(state.join("authorized_peers"), identity.id(), true).map_err(machine)?;
    let settings = |part: &Part| NodeSettings { weight: part.weight, ..NodeSettings::default() };
    let tree = Tree { groups: Vec::new(), peers: ids.iter().copied().zip(parts.iter().map(settings)).collect() };
    let node = Node::start(
        compose::node_config(&config, identity.id()),
        tree,
        Arc::new(shares),
        Arc::new(policy),
        Threads::Arbiters,
    );
    let credentials = Credentials::generate_from_pkcs8(identity.key_pkcs8()).map_err(machine)?;
    let doors = Doors::bind(&node, &config, &credentials).map_err(machine)?;
    let address = doors.address().map_err(machine)?;
    doors.open();
    Ok((node, address))
}

/// What was seen while the demo ran.
struct Seen {
    on_disk: Vec<Sample>,
    /// The node's own meters, bytes, at the first and the last sample.
    metered: [u64; 2],
}

async fn watch(
    options: &DemoOptions,
    node: &Arc<Node>,
    parts: &[Part],
    ids: &[PeerId],
    files: &[PathBuf],
) -> Result<Seen, Failure> {
    let console = NodeConsole(node.clone());
    let mut live = Live::new();
    let start = Instant::now();
    let mut shown = 0;
    let mut on_disk = Vec::new();
    let metered = |node: &Node| node.shared().moved[flow::Direction::Upload.index()].load(Relaxed);
    let first = metered(node);
    let mut ticks = tokio::time::interval(SAMPLE);
    while start.elapsed() < options.duration {
        ticks.tick().await;
        let sample = |path: &PathBuf| std::fs::metadata(path).map_or(0, |meta| meta.len());
        on_disk.push(Sample { at: start.elapsed(), on_disk: files.iter().map(sample).collect() });
        if start.elapsed().as_secs() > shown {
            shown = start.elapsed().as_secs();
            let views = console.peers().await;
            let find = |id: &PeerId| -> Option<&PeerView> {
                let id = id.to_string();
                views.iter().find(|view| view.id == id)
            };
            let rows: Vec<_> = parts.iter().zip(ids).map(|(part, id)| (part, find(id))).collect();
            live.show(shown, &console.status().await, &rows).map_err(machine)?;
        }
    }
    Ok(Seen { on_disk, metered: [first, metered(node)] })
}

fn report(options: &DemoOptions, verdict: &Verdict, seen: &Seen) {
    let peers = options.peers as usize;
    let quic = (0..peers).filter(|index| options.transport.of(*index) == TransportChoice::Quic).count();
    let received: u64 = seen.on_disk.last().map_or(0, |sample| sample.on_disk.iter().sum());
    let metered = seen.metered[1] - seen.metered[0];
    let agreement = metered as f64 / received.max(1) as f64 - 1.0;
    println!(
        "\nfrom what {peers} receivers ({} over TCP, {quic} over QUIC) wrote to disk, over {} windows of 10 s:",
        peers - quic,
        verdict.windows
    );
    println!("  {:<16} {:>5} {:>14} {:>14} {:>10}", "part", "peers", "deserved", "mean", "worst");
    for role in &verdict.roles {
        println!(
            "  {:<16} {:>5} {:>14} {:>14} {:>8.2} %",
            role.role,
            role.peers,
            table::shown(Some(role.exact as u64)),
            table::shown(Some(role.mean as u64)),
            role.deviation * 100.0
        );
    }
    println!("  Jain's index of the equal peers        {:.5}", verdict.jain);
    println!(
        "  largest deviation from exact max-min   {:.2} % ({})",
        verdict.deviation * 100.0,
        verdict.deviant.unwrap_or("nobody")
    );
    println!("  of the limit used                      {:.2} %", verdict.used * 100.0);
    println!("  busiest second over the limit          {:.4}", verdict.busiest_second);
    println!("  the node's meters against the disks    {:+.2} % ({metered} and {received} bytes)", agreement * 100.0);
}

fn open_state(path: &Path) -> Result<StateDir, Failure> {
    StateDir::open(Some(path)).map_err(machine)
}

fn machine(error: impl ToString) -> Failure {
    Failure::new(Exit::Machine, error.to_string())
}
