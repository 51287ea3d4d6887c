//! The figures about steps: a limit lowered through the API, half of the peers leaving, an idle peer coming back. Fifty real
//! clients over loopback sockets; what they got is what is on their disks.
//!
//! `cargo bench --bench steps -- [lowered|leaving|idle]...`

#![allow(missing_docs)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::{
    fs::File,
    path::PathBuf,
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use actors::peer::client::{Command, GetCommand, SessionEvent};
use evenkeel::{
    files::Already,
    identity::StateDir,
    node::{
        TransportChoice,
        session::{Client, Wish},
    },
};
use flow::Class;
use support::Server;

const PEERS: usize = 50;
const TOTAL: f64 = 20e6;
/// How often the limit is lowered.
const LOWERINGS: usize = 5;
/// Shares are looked at over this time.
const LOOK: Duration = Duration::from_millis(100);

fn main() -> ExitCode {
    let cases: [(&str, fn()); 3] = [("lowered", lowered), ("leaving", leaving), ("idle", idle)];
    let chosen: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    for (name, run) in cases {
        if chosen.is_empty() || chosen.iter().any(|choice| choice == name) {
            println!("\n== {name}");
            run();
        }
    }
    ExitCode::SUCCESS
}

/// A node with a limit, a large file, and clients that fetch it.
struct Scene {
    clients: Vec<support::Client>,
    parts: Vec<PathBuf>,
    server: Server,
}

impl Scene {
    fn new(peers: usize) -> Self {
        let server = Server::start(&["--open", "--upload-limit", "20MB/s"]);
        File::create(server.share().join("large.bin")).unwrap().set_len(2 << 30).unwrap();
        let (mut clients, mut parts) = (Vec::new(), Vec::new());
        for index in 0..peers {
            let (state, out) = (server.stranger(&format!("peer-{index}")), server.path(&format!("got-{index}.bin")));
            clients.push(server.spawn_as(&state, &["get", &server.at("large.bin"), "-o", &out]));
            parts.push(PathBuf::from(format!("{out}.part")));
        }
        support::wait_until("every client has something", 30, || parts.iter().all(|part| size(part) > 0));
        thread::sleep(Duration::from_secs(8));
        Self { clients, parts, server }
    }
}

fn size(part: &PathBuf) -> u64 {
    std::fs::metadata(part).map_or(0, |meta| meta.len())
}

/// Bytes of all parts every 10 ms for a while, with the time since `start`.
fn watch(parts: &[PathBuf], start: Instant, span: Duration) -> Vec<(f64, Vec<u64>)> {
    let mut samples = Vec::new();
    while start.elapsed() < span {
        samples.push((start.elapsed().as_secs_f64(), parts.iter().map(size).collect()));
        thread::sleep(Duration::from_millis(10));
    }
    samples
}

/// The rate over the `LOOK` before each sample.
fn trailing(samples: &[(f64, Vec<u64>)]) -> Vec<(f64, f64)> {
    let sum = |bytes: &[u64]| bytes.iter().sum::<u64>() as f64;
    let mut rates = Vec::new();
    for (index, (at, bytes)) in samples.iter().enumerate() {
        let before = samples[..index].iter().rev().find(|(then, _)| at - then >= LOOK.as_secs_f64());
        if let Some((then, earlier)) = before {
            rates.push((*at, (sum(bytes) - sum(earlier)) / (at - then)));
        }
    }
    rates
}

/// 20 to 5 MB/s through the API, several times.
fn lowered() {
    let scene = Scene::new(PEERS);
    let set = |limit: u32| {
        scene.server.api("PATCH", "/v1/limits", Some(&format!(r#"{{"upload_bytes_per_second": {limit}}}"#))).0
    };
    println!("                                      wanted      measured");
    let mut times = Vec::new();
    for _ in 0..LOWERINGS {
        let watched = scene.parts.clone();
        let began = Instant::now();
        let watcher = thread::spawn(move || watch(&watched, began, Duration::from_millis(3500)));
        thread::sleep(Duration::from_secs(1));
        let asked = began.elapsed().as_secs_f64();
        let status = set(5_000_000);
        let answered = began.elapsed().as_secs_f64();
        let samples = watcher.join().unwrap();
        let over = trailing(&samples)
            .iter()
            .filter(|(at, rate)| *at >= answered && *rate > 5e6 * 1.05)
            .map(|(at, _)| *at)
            .fold(answered, f64::max);
        let after = |from: f64| samples.iter().find(|(at, _)| *at >= from).unwrap();
        let (early, late) = (after(answered + 0.5), samples.last().unwrap());
        let moved = early.1.iter().zip(&late.1).map(|(early, late)| late - early);
        let span = late.0 - early.0;
        let (least, all) = (moved.clone().min().unwrap() as f64 / span, moved.sum::<u64>() as f64 / span);
        times.push((over - answered) * 1e3);
        println!("answer                                            {status} after {:.1} ms", (answered - asked) * 1e3);
        println!(
            "last 100 ms above 5 MB/s by 5 %       <= 500 ms   ended {:.0} ms after the answer",
            (over - answered) * 1e3
        );
        println!("rate from then on                     5 MB/s      {:.3} MB/s", all / 1e6);
        println!(
            "the slowest of {PEERS} peers               not 0       {:.1} KB/s of {:.1}",
            least / 1e3,
            5e3 / PEERS as f64
        );
        set(20_000_000);
        thread::sleep(Duration::from_secs(3));
    }
    times.sort_by(f64::total_cmp);
    println!("median of {LOWERINGS}                           <= 500 ms   {:.0} ms", times[LOWERINGS / 2]);
}

/// Half of the peers are killed.
fn leaving() {
    let mut scene = Scene::new(PEERS);
    let stay: Vec<PathBuf> = scene.parts[PEERS / 2..].to_vec();
    let began = Instant::now();
    let watcher = thread::spawn(move || watch(&stay, began, Duration::from_secs(4)));
    thread::sleep(Duration::from_secs(1));
    let leavers: Vec<support::Client> = scene.clients.drain(..PEERS / 2).collect();
    let left = began.elapsed().as_secs_f64();
    leavers.into_iter().for_each(support::Client::kill);
    let gone = began.elapsed().as_secs_f64();
    let rates = trailing(&watcher.join().unwrap());
    let back = rates.iter().find(|(at, rate)| *at > left && *rate >= TOTAL * 0.97);
    let before = rates
        .iter()
        .filter(|(at, _)| *at < left)
        .map(|(_, rate)| *rate)
        .fold((0.0, 0), |(sum, n), rate| (sum + rate, n + 1));
    println!("the others before                     {:.2} MB/s", before.0 / f64::from(before.1.max(1)) / 1e6);
    println!("killing {} processes took             {:.0} ms", PEERS / 2, (gone - left) * 1e3);
    match back {
        Some((at, _)) => println!(
            "the others at 97 % of the total       {:.0} ms after the last had gone, seen over 100 ms  (wanted: 300)",
            (at - gone).max(0.0) * 1e3
        ),
        None => println!("the others never had 97 % of the total"),
    }
}

async fn soon<T>(event: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), event).await.expect("nothing comes from the node")
}

/// A peer that was idle for 20 s wants its share again, beside nine that never stop.
fn idle() {
    let scene = Scene::new(9);
    std::fs::write(scene.server.share().join("small.bin"), vec![7; 100_000]).unwrap();
    let state = scene.server.stranger("idler");
    let (small, large) = (scene.server.path("small.bin"), scene.server.path("idler.bin"));
    let endpoint = scene.server.peers.clone();
    let run = async move {
        let client =
            Client::start(StateDir::open(Some(state.as_ref())).unwrap(), Wish::everything(TransportChoice::Tcp))
                .unwrap();
        let (handle, mut events) = client.connect(&endpoint).await.unwrap();
        let get = |tag: u64, name: &str, to: String| {
            let (files, path) = (client.files.clone(), format!("share/{name}"));
            let remote = path.clone();
            let open = Box::new(move |meta| files.write(to.as_ref(), &remote, meta, Already::Nothing));
            Command::Get(GetCommand { tag, path, resume: None, weight: 1.0, class: Class::Foreground, open })
        };
        while !matches!(soon(events.recv()).await.unwrap(), SessionEvent::Welcomed(_)) {}
        handle.command(get(0, "small.bin", small)).await;
        loop {
            match soon(events.recv()).await.unwrap() {
                SessionEvent::Done { tag: 0 } => break,
                event @ (SessionEvent::Failed { .. } | SessionEvent::Ended { .. }) => panic!("{event:?}"),
                _ => {}
            }
        }
        tokio::time::sleep(Duration::from_secs(20)).await;
        let wanted = Instant::now();
        handle.command(get(1, "large.bin", large)).await;
        let leaf = loop {
            if let SessionEvent::Started { tag: 1, leaf, .. } = soon(events.recv()).await.unwrap() {
                break leaf;
            }
        };
        println!(
            "the file is open                      {:.1} ms after it was wanted",
            wanted.elapsed().as_secs_f64() * 1e3
        );
        let mut samples = Vec::new();
        while wanted.elapsed() < Duration::from_secs(3) {
            samples.push((wanted.elapsed().as_secs_f64(), vec![leaf.meter.bytes()]));
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        samples
    };
    let samples = actix_rt::System::new().block_on(run);
    let share = TOTAL / 10.0;
    let first = samples.iter().find(|(_, bytes)| bytes[0] > 0).map_or(f64::NAN, |(at, _)| *at);
    let rates = trailing(&samples);
    let back = rates.iter().find(|(_, rate)| *rate >= 0.9 * share);
    let later: Vec<f64> = rates.iter().filter(|(at, _)| *at > 1.0).map(|(_, rate)| rate / share).collect();
    println!("first bytes                           {:.1} ms after it was wanted", first * 1e3);
    match back {
        Some((at, _)) => println!(
            "100 ms with 90 % of its share end     {:.0} ms after it was wanted  (wanted: begin within 100, so 200)",
            at * 1e3
        ),
        None => println!("90 % of its share never came back"),
    }
    println!(
        "its share from 1 s to 3 s             {:.3} of the exact one",
        later.iter().sum::<f64>() / later.len() as f64
    );
}
