//! The learnt total: no limit is configured, the line is a veth pair shaped by TBF between two network namespaces, ten peers
//! of weights 1 to 10 fetch one large file. The line is halved, and restored.

use std::{
    fs::File,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{ExitCode, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use actors::view::StatusView;

use crate::support::{
    disk::{Looks, Watch},
    network::{Line, NEAR_ADDRESS},
    program::{Kept, Server, Words, command, evenkeel, output},
    table::Table,
};

const MBIT: u32 = 100;
const PEERS: usize = 10;
/// One allocation round.
const ROUND: Duration = Duration::from_millis(2500);
/// Each of: found, halved, restored.
const PHASE: Duration = Duration::from_secs(45);
/// Rounds in which a changed line must be followed.
const ROUNDS: u32 = 4;
/// Shares are judged over this long at the end of each phase.
const JUDGED: Duration = Duration::from_secs(25);
/// Of the payload that a bare socket got through the same line, how much at least must be used.
const USED_MIN: f64 = 0.95;

/// Runs the case.
pub(crate) fn run() -> Result<(), Words> {
    let line = Line::new(MBIT)?;
    let folder = tempfile::tempdir().map_err(words)?;
    let bare = bare(&line, MBIT)?;
    let stage = Stage::start(&line, folder.path())?;
    let watch = Watch::start(stage.files.clone());
    let book = Book::start(&line.near, &stage.server.admin);
    let mut marks = vec![Instant::now()];
    let clients = stage.fetch(&line)?;
    for rate in [MBIT / 2, MBIT] {
        std::thread::sleep(PHASE);
        line.set_rate(rate)?;
        marks.push(Instant::now());
    }
    std::thread::sleep(PHASE);
    marks.push(Instant::now());
    let (allowed, looks) = (book.stop(), watch.stop());
    drop(clients);
    drop(stage);
    picture(&marks, &allowed, &looks, bare);
    report(&marks, &allowed, &looks, bare);
    Ok(())
}

/// Bytes per second that the line carries in a phase.
fn carried(bare: f64, phase: usize) -> f64 {
    if phase == 1 { bare / 2.0 } else { bare }
}

fn picture(marks: &[Instant], allowed: &[(Instant, f64)], looks: &Looks, bare: f64) {
    println!("\n  seconds   line MB/s   allowed MB/s   on disk MB/s   largest deviation from weights");
    let mut at = marks[0] + ROUND;
    while Some(&at) <= marks.last() {
        let phase = marks.iter().filter(|mark| **mark <= at).count().saturating_sub(1).min(2);
        let total = allowed.iter().take_while(|(when, _)| *when <= at).last().map_or(f64::NAN, |(_, total)| *total);
        let rates = looks.rates(at - ROUND, at);
        println!(
            "  {:>7.1}   {:>9.2}   {:>12.2}   {:>12.2}   {:>6.1} %",
            (at - marks[0]).as_secs_f64(),
            carried(bare, phase) / 1e6,
            total / 1e6,
            rates.iter().sum::<f64>() / 1e6,
            100.0 * deviation(&rates)
        );
        at += ROUND;
    }
}

fn report(marks: &[Instant], allowed: &[(Instant, f64)], looks: &Looks, bare: f64) {
    let mut table = Table::default();
    let name = ["found", "halved", "restored"];
    table.note("payload of one bare TCP socket", format!("{:.2} MB/s of {:.2} on the wire", bare / 1e6, wire() / 1e6));
    for (phase, name) in name.iter().enumerate() {
        let (from, to) = (marks[phase], marks[phase + 1]);
        let line = carried(bare, phase);
        let rounds = followed(allowed, from, to, line);
        let shown = rounds.map_or("never".into(), |rounds| format!("{rounds:.1} rounds"));
        let wanted = format!("<= {ROUNDS} rounds");
        table.row(&format!("{name}: followed"), &wanted, shown, rounds.is_some_and(|n| n <= f64::from(ROUNDS)));
        let rates = looks.rates(to - JUDGED, to);
        let used = rates.iter().sum::<f64>() / line;
        let met = (USED_MIN..=1.0).contains(&used);
        table.row(&format!("{name}: used of the line"), "95 .. 100 %", format!("{:.1} %", 100.0 * used), met);
        let deviation = deviation(&rates);
        let shown = format!("{:.1} %", 100.0 * deviation);
        table.row(&format!("{name}: off weights 1 .. 10"), "<= 5 %", shown, deviation <= 0.05);
    }
    table.note("longest time between two looks at the disk", format!("{:.0} ms", looks.coarsest().as_secs_f64() * 1e3));
    table.print("line: the learnt total, no limit configured (100 Mbit/s, halved, restored; 10 peers)");
}

/// Rounds until what is allowed is within 10 % below the line, and stays so but for the tries for more, which are above it.
fn followed(allowed: &[(Instant, f64)], from: Instant, to: Instant, line: f64) -> Option<f64> {
    let good = |total: f64| (0.9 * line..=line).contains(&total);
    let first = allowed.iter().find(|(at, total)| *at > from && *at < to && good(*total))?;
    Some((first.0 - from).as_secs_f64() / ROUND.as_secs_f64())
}

/// The largest relative distance of any peer from its part by weight of what all got.
fn deviation(rates: &[f64]) -> f64 {
    let weights: usize = (1..=rates.len()).sum();
    let per_weight = rates.iter().sum::<f64>() / weights.max(1) as f64;
    let off = |(index, rate): (usize, &f64)| (rate / (per_weight * (index + 1) as f64) - 1.0).abs();
    rates.iter().enumerate().map(off).fold(0.0, f64::max)
}

fn wire() -> f64 {
    f64::from(MBIT) * 1e6 / 8.0
}

struct Stage {
    server: Server,
    states: Vec<PathBuf>,
    files: Vec<PathBuf>,
}

impl Stage {
    fn start(line: &Line, folder: &Path) -> Result<Self, Words> {
        let share = folder.join("share");
        std::fs::create_dir_all(&share).map_err(words)?;
        // More than the heaviest peer can fetch; sparse.
        let size = (wire() * 3.0 * PHASE.as_secs_f64() * 0.5) as u64;
        File::create(share.join("large")).and_then(|file| file.set_len(size)).map_err(words)?;
        let states: Vec<PathBuf> = (0..PEERS).map(|index| folder.join(format!("peer-{index}"))).collect();
        let mut config = format!("[[share]]\nname = \"bench\"\npath = \"{}\"\n", share.display());
        for (index, state) in states.iter().enumerate() {
            let id = output(None, &["id", "--state", &state.display().to_string()])?;
            let id = id.lines().next().unwrap_or_default().to_owned();
            config += &format!("[[peer]]\nid = \"{id}\"\nweight = {}.0\n", index + 1);
        }
        let path = folder.join("node.toml");
        std::fs::write(&path, config).map_err(words)?;
        let (path, state) = (path.display().to_string(), folder.join("node").display().to_string());
        let listen = format!("{NEAR_ADDRESS}:0");
        let any = ["--admin", "127.0.0.1:0", "--metrics", "127.0.0.1:0", "--open"];
        let args = [&["--config", &path, "--state", &state, "--listen", &listen], &any[..]].concat();
        let server = Server::start(Some(&line.near), &args)?;
        let files = (0..PEERS).map(|index| folder.join(format!("received-{index}.part"))).collect();
        Ok(Self { server, states, files })
    }

    /// Everybody fetches.
    fn fetch(&self, line: &Line) -> Result<Vec<Kept>, Words> {
        let get = |(state, file): (&PathBuf, &PathBuf)| {
            let target = format!("{}/bench/large", self.server.peers);
            let (state, file) = (state.display().to_string(), file.with_extension("").display().to_string());
            let mut command = evenkeel(Some(&line.far), &["get", &target, "-o", &file, "--state", &state]);
            command.spawn().map(Kept).map_err(words)
        };
        self.states.iter().zip(&self.files).map(get).collect()
    }
}

/// What the node allows, asked a few times a second through its API.
struct Book {
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Vec<(Instant, f64)>>>,
    thread: std::thread::JoinHandle<()>,
}

impl Book {
    fn start(namespace: &str, admin: &str) -> Self {
        let (stop, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (stopped, kept) = (stop.clone(), seen.clone());
        let (namespace, admin) = (namespace.to_owned(), admin.to_owned());
        let thread = std::thread::spawn(move || {
            while !stopped.load(Relaxed) {
                let status = output(Some(&namespace), &["ctl", "--admin", &admin, "--json", "status"]);
                let view: Option<StatusView> = status.ok().and_then(|text| serde_json::from_str(&text).ok());
                let allowed = view.map(|view| view.upload.allowed_bytes_per_second.map_or(f64::INFINITY, |n| n as f64));
                if let (Some(allowed), Ok(mut seen)) = (allowed, kept.lock()) {
                    seen.push((Instant::now(), allowed));
                }
                std::thread::sleep(Duration::from_millis(200));
            }
        });
        Self { stop, seen, thread }
    }

    fn stop(self) -> Vec<(Instant, f64)> {
        self.stop.store(true, Relaxed);
        let _ = self.thread.join();
        self.seen.lock().map(|seen| seen.clone()).unwrap_or_default()
    }
}

/// What one bare TCP socket gets through the line: the payload that TCP leaves of the wire's rate.
fn bare(line: &Line, mbit: u32) -> Result<f64, Words> {
    line.set_rate(mbit)?;
    let this = std::env::current_exe().map_err(words)?.display().to_string();
    let mut sender = command(Some(&line.near), &this);
    let mut sender = Kept(sender.args(["bare-send", NEAR_ADDRESS]).stdout(Stdio::piped()).spawn().map_err(words)?);
    let mut port = [0_u8; 5];
    sender.0.stdout.take().ok_or("no output")?.read_exact(&mut port).map_err(words)?;
    let endpoint = format!("{NEAR_ADDRESS}:{}", String::from_utf8_lossy(&port));
    let receiver = command(Some(&line.far), &this).args(["bare-receive", &endpoint]).output().map_err(words)?;
    String::from_utf8_lossy(&receiver.stdout).trim().parse().map_err(|_| "the bare socket got nothing".to_owned())
}

/// The halves of [`bare`], run by this program in a namespace.
pub(crate) fn as_helper(args: &[String]) -> Option<ExitCode> {
    let done = match args {
        [what, address] if what == "bare-send" => bare_send(address),
        [what, endpoint] if what == "bare-receive" => bare_receive(endpoint),
        _ => return None,
    };
    Some(done.map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS))
}

fn bare_send(address: &str) -> std::io::Result<()> {
    let listener = TcpListener::bind((address, 0))?;
    print!("{:05}", listener.local_addr()?.port());
    std::io::stdout().flush()?;
    let (mut stream, _) = listener.accept()?;
    let chunk = vec![0; 64 * 1024];
    while stream.write_all(&chunk).is_ok() {}
    Ok(())
}

fn bare_receive(endpoint: &str) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(endpoint)?;
    let mut buffer = vec![0; 256 * 1024];
    let mut read_for = |duration: Duration| -> std::io::Result<f64> {
        let (start, mut bytes) = (Instant::now(), 0);
        while start.elapsed() < duration {
            bytes += stream.read(&mut buffer)?;
        }
        Ok(bytes as f64 / start.elapsed().as_secs_f64())
    };
    read_for(Duration::from_secs(2))?;
    println!("{}", read_for(Duration::from_secs(4))?);
    Ok(())
}

fn words(error: impl ToString) -> Words {
    error.to_string()
}
