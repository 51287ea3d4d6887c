//! What chooses the marks of bulk mode, and the congestion control: processor seconds per GB that one node spends on HTTP without
//! TLS, many connections at one rate each: never in bulk mode, without `sendfile` (all is copied) and with it (pieces of 32 to
//! 60 KiB are not), and always in bulk mode.
//!
//! `cargo bench --bench bulk [modes] [congestion] [unlimited]`; `EVENKEEL_BENCH_SECONDS` (3) is how long each run is measured,
//! `EVENKEEL_BENCH_RUNS` (3) how many alternate; medians are shown. The node has core 0 for itself and all clients share core 1. What
//! is counted is the node's process: over loopback the kernel's part, soft interrupts too, happens in its calls. Segments are 1448 bytes
//! as on a real line (loopback's 64 KiB would flatter everything), each client has an address of its own, the file is in the page cache.
//! Clients throw away what comes (`MSG_TRUNC`). GB are 10^9 bytes.

mod measure;

use std::{
    cell::Cell,
    fs, io,
    mem::MaybeUninit,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    path::Path,
    process::Command,
    rc::Rc,
    time::{Duration, Instant},
};

use measure::{Outcome, PROGRAM, Server, cpu_seconds, is_wanted, median, noise, setting};
use socket2::{Domain, SockRef, Socket, Type};
use tokio::{io::Interest, net::TcpStream};

/// The file: more than any cache of a processor, and each connection begins elsewhere.
const FILE_BYTES: u64 = 1 << 30;
/// Bytes per second of one connection, and how many there are: together far below what a core can serve.
const LOADS: [(u64, u64); 6] =
    [(50_000, 2000), (200_000, 1000), (1_000_000, 200), (2_000_000, 100), (10_000_000, 20), (100_000_000, 3)];
/// Before the measuring, for rates and congestion windows to settle.
const WARM_UP: Duration = Duration::from_secs(2);

/// TCP throws the bytes away instead of copying them; `linux/socket.h`.
const MSG_TRUNC: i32 = 0x20;

const NEVER: &str = "bulk_on = \"off\"";
const ALWAYS: &str = "bulk_on = \"2B/s\"\nbulk_off = \"1B/s\"";

fn main() -> Outcome<()> {
    let seconds = Duration::from_secs(setting("EVENKEEL_BENCH_SECONDS", 3));
    host::raise_descriptor_limit()?;
    // This process is all clients.
    let own = std::process::id().to_string();
    Command::new("taskset").args(["-a", "-cp", "1", &own]).output()?;
    let room = tempfile::tempdir()?;
    fs::create_dir(room.path().join("files"))?;
    let file = room.path().join("files/file.bin");
    noise(&file, FILE_BYTES)?;
    fs::File::open(&file)?.sync_all()?;
    let bench = Bench { room: room.path(), seconds, runs: setting("EVENKEEL_BENCH_RUNS", 3) };
    let host = Setup { shaping: "", sendfile: "on", congestion: "" };
    let modes = [
        ("copied", Setup { shaping: NEVER, sendfile: "off", ..host }),
        ("precise", Setup { shaping: NEVER, ..host }),
        ("bulk", Setup { shaping: ALWAYS, ..host }),
    ];
    let loads = LOADS.map(|(rate, count)| Load { rate: Some(rate), count });
    if is_wanted("modes") {
        bench.compare(&modes, &loads)?;
    }
    if is_wanted("congestion") {
        let controls = ["cubic", "bbr"].map(|name| (name, Setup { congestion: name, ..host }));
        bench.compare(&controls, &[&loads[..2], &loads[3..4]].concat())?;
    }
    if is_wanted("unlimited") {
        bench.compare(&modes, &[Load { rate: None, count: 64 }])?;
    }
    Ok(())
}

/// What a node is set to.
#[derive(Copy, Clone)]
struct Setup {
    shaping: &'static str,
    sendfile: &'static str,
    congestion: &'static str,
}

/// How and where it is measured.
struct Bench<'a> {
    room: &'a Path,
    seconds: Duration,
    runs: u64,
}

impl Bench<'_> {
    /// Measures the set-ups under each load, in turns, and each beside the first.
    fn compare(&self, setups: &[(&str, Setup)], loads: &[Load]) -> Outcome<()> {
        print!("{:24}", "CPU s/GB");
        setups.iter().for_each(|(name, _)| print!(" {name:>24}"));
        println!("   over {}", setups.first().map_or("", |(name, _)| name));
        for load in loads {
            let mut costs: Vec<Vec<Cost>> = setups.iter().map(|_| Vec::new()).collect();
            for _ in 0..self.runs {
                for ((_, setup), costs) in setups.iter().zip(&mut costs) {
                    costs.push(run(self.room, setup, load, self.seconds)?);
                }
            }
            let medians = costs.iter().map(|costs| Cost {
                process: median(costs.iter().map(|cost| cost.process)),
                bytes_per_second: median(costs.iter().map(|cost| cost.bytes_per_second)),
            });
            let medians: Vec<Cost> = medians.collect();
            print!("{load:24}");
            medians.iter().for_each(|cost| print!(" {cost:>24}"));
            medians.iter().skip(1).for_each(|cost| print!("  {:.2} x", cost.process / medians[0].process));
            println!();
        }
        Ok(())
    }
}

/// So many connections, at so many bytes per second each.
#[derive(Copy, Clone)]
struct Load {
    rate: Option<u64>,
    count: u64,
}

impl std::fmt::Display for Load {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let rate = self.rate.map_or("unlimited".to_owned(), |rate| format!("{} KB/s", rate / 1000));
        f.pad(&format!("{} x {rate}", self.count))
    }
}

/// What one run cost.
struct Cost {
    /// Processor seconds of the node per GB.
    process: f64,
    bytes_per_second: f64,
}

impl std::fmt::Display for Cost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&format!("{:.3} at {:.0} MB/s", self.process, self.bytes_per_second / 1e6))
    }
}

fn run(room: &Path, setup: &Setup, load: &Load, seconds: Duration) -> Outcome<Cost> {
    let Setup { shaping, sendfile, congestion } = setup;
    let upload = load.rate.map_or("off".to_owned(), |rate| (rate * load.count).to_string());
    let config = format!(
        "[node]\nworkers = 1\n[limits]\nupload = \"{upload}\"\n[shaping]\n{shaping}\n[transport]\nsendfile = \"{sendfile}\"\ncongestion = \"{congestion}\"\n\
         [[share]]\nname = \"bench\"\npath = \"{}\"\n",
        room.join("files").display()
    );
    let path = room.join("evenkeel.toml");
    fs::write(&path, config)?;
    let args = ["--open", "--http", "127.0.0.1:0", "--config", path.to_str().ok_or("no path")?];
    let server = Server::node(Path::new(PROGRAM), room, Some(0), &args)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let to: SocketAddr = server.http.trim_start_matches("http://").trim_end_matches('/').parse()?;
        let got = Rc::new(Cell::new(0));
        // Whatever a connection gets in this time is behind its first byte.
        let ahead = load.rate.map_or(FILE_BYTES / 2, |rate| rate * 30).min(FILE_BYTES / 2);
        for index in 0..load.count {
            let start = index.wrapping_mul(0x9E37_79B9_7F4A_7C15) % (FILE_BYTES - ahead);
            let (stream, got) = (connect(to, index)?, got.clone());
            tokio::task::spawn_local(async move { drop(fetch(stream, start, &got).await) });
        }
        tokio::time::sleep(WARM_UP).await;
        let look = || Outcome::Ok((Instant::now(), got.get(), cpu_seconds(server.pid())?));
        let before = look()?;
        tokio::time::sleep(seconds).await;
        let after = look()?;
        let gb = (after.1 - before.1) as f64 / 1e9;
        Ok(Cost { process: (after.2 - before.2) / gb, bytes_per_second: gb * 1e9 / (after.0 - before.0).as_secs_f64() })
    })
}

/// Connects from an address of its own, with segments as on a real line.
fn connect(to: SocketAddr, index: u64) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    let from = Ipv4Addr::from(0x7F01_0001 + u32::try_from(index).unwrap_or(0));
    socket.bind(&SocketAddrV4::new(from, 0).into())?;
    host::set_max_segment(&socket, 1448)?;
    socket.connect(&to.into())?;
    socket.set_nonblocking(true)?;
    TcpStream::from_std(socket.into())
}

/// Asks for the file from `start` on, again and again, and counts what comes.
async fn fetch(stream: TcpStream, start: u64, got: &Cell<u64>) -> io::Result<()> {
    let request = format!("GET /bench/file.bin HTTP/1.1\r\nHost: bench\r\nRange: bytes={start}-\r\n\r\n");
    let mut ignored = [const { MaybeUninit::<u8>::uninit() }; 64 * 1024];
    loop {
        stream.writable().await?;
        stream.try_write(request.as_bytes())?;
        let mut left = FILE_BYTES - start;
        while left > 0 {
            stream.readable().await?;
            let socket = SockRef::from(&stream);
            let read = stream.try_io(Interest::READABLE, || socket.recv_with_flags(&mut ignored, MSG_TRUNC));
            match read {
                Ok(0) => return Ok(()),
                Ok(bytes) => {
                    got.set(got.get() + bytes as u64);
                    left = left.saturating_sub(bytes as u64);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}
