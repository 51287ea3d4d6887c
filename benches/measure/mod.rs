//! What the whole-program benchmarks share: real nodes as children, their processor time from the kernel, medians.

// Each benchmark compiles this file and uses its part of it.
#![allow(dead_code, unreachable_pub)]

use std::{
    fs,
    io::{self, BufRead, BufReader, Read as _, Write as _},
    net::{Ipv4Addr, TcpStream, UdpSocket},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

/// The program that is measured.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_evenkeel");
/// What a run returns; a benchmark ends at the first thing that goes wrong.
pub type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// A number from the environment, or `default`.
pub fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// Whether the command line asks for `part`: no part named means all. (`cargo bench` adds `--bench`.)
pub fn is_wanted(part: &str) -> bool {
    let mut parts = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).peekable();
    parts.peek().is_none() || parts.any(|arg| arg == part)
}

/// A directory in memory where there is one, so that no disk is measured.
pub fn room() -> Outcome<tempfile::TempDir> {
    let memory = Path::new("/dev/shm");
    Ok(if memory.is_dir() { tempfile::tempdir_in(memory)? } else { tempfile::tempdir()? })
}

/// The middle one; of an even number the mean of the two.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        len if len % 2 == 1 => values[len / 2],
        len => f64::midpoint(values[len / 2 - 1], values[len / 2]),
    }
}

/// `program` on this core only, and where it is permitted before everything else that runs there; `None`: as any program.
/// (`taskset` and `nice` replace themselves, so that the child is the program.)
pub fn pinned(program: impl AsRef<std::ffi::OsStr>, core: Option<usize>) -> Command {
    let Some(core) = core else { return Command::new(program) };
    let mut command = Command::new("taskset");
    command.arg("-c").arg(core.to_string()).args(["nice", "-n", "-20"]).arg(program);
    command
}

/// What Linux counts processor time in for everybody (`USER_HZ`), on all machines but old Alphas.
const TICKS_PER_SECOND: f64 = 100.0;

/// Seconds of processor time of a process, user and system, all threads, those that ended included. A zombie still has it.
pub fn cpu_seconds(pid: u32) -> Outcome<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = stat.rsplit_once(") ").ok_or("no stat")?.1.split(' ').collect();
    let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    Ok(ticks as f64 / TICKS_PER_SECOND)
}

/// Resident memory of a process in bytes.
pub fn resident_bytes(pid: u32) -> Outcome<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.split_whitespace().nth(1).ok_or("no VmRSS")?.parse::<u64>()? * 1024)
}

/// One command from its start to its end.
pub struct Run {
    /// Wall clock.
    pub seconds: f64,
    /// User and system.
    pub cpu_seconds: f64,
}

/// Runs a command to its end; fails when it does.
pub fn timed(command: &mut Command) -> Outcome<Run> {
    let start = Instant::now();
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let mut words = String::new();
    child.stderr.take().ok_or("no stderr")?.read_to_string(&mut words)?;
    // Left as a zombie for a moment, so that its time can be read.
    waitid(WaitId::Pid(Pid::from_child(&child)), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)?;
    let seconds = start.elapsed().as_secs_f64();
    let cpu_seconds = cpu_seconds(child.id())?;
    if !child.wait()?.success() {
        return Err(format!("{command:?} failed:\n{words}").into());
    }
    Ok(Run { seconds, cpu_seconds })
}

/// A running server, killed on drop.
pub struct Server {
    child: Child,
    /// Where it listens.
    pub address: String,
    /// Where its API is; empty for foreign servers.
    pub admin: String,
    /// Where its metrics are; empty for foreign servers.
    pub metrics: String,
    /// Where it speaks HTTP; empty without.
    pub http: String,
}

impl Server {
    /// Starts a node that shares `room`/files as `bench` and keeps its state in `room`/state.
    pub fn node(program: &Path, room: &Path, core: Option<usize>, args: &[&str]) -> Outcome<Self> {
        let mut command = pinned(program, core);
        command.arg("serve").arg("--state").arg(room.join("state"));
        if !args.contains(&"--config") {
            command.arg("--share").arg(format!("bench={}", room.join("files").display()));
        }
        for listen in ["--listen", "--admin", "--metrics"] {
            command.arg(listen).arg("127.0.0.1:0");
        }
        command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn()?;
        let lines = BufReader::new(child.stdout.take().ok_or("no stdout")?).lines();
        let mut server =
            Self { child, address: String::new(), admin: String::new(), metrics: String::new(), http: String::new() };
        for line in lines {
            let line = line?;
            let (name, value) = line.split_once(' ').unwrap_or((&line, ""));
            match name {
                "peers" => server.address = value.trim().to_owned(),
                "http" => server.http = value.trim().to_owned(),
                "admin" => server.admin = value.trim().to_owned(),
                "metrics" => server.metrics = value.trim().to_owned(),
                // What to try next comes after all addresses. What is said later nobody reads: it is little.
                _ if line.starts_with("try next") => return Ok(server),
                _ => {}
            }
        }
        Err("the node ended before it said where it is".into())
    }

    /// Takes a child that will listen at `address`, and waits until it does.
    pub fn foreign(child: Child, address: String) -> Outcome<Self> {
        let mut server = Self { child, address, admin: String::new(), metrics: String::new(), http: String::new() };
        let deadline = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(&server.address).is_err() {
            if Instant::now() > deadline || server.child.try_wait()?.is_some() {
                return Err("the other server does not listen".into());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Writes a file of `bytes` that no link and no disk can make smaller.
pub fn noise(path: &Path, bytes: u64) -> io::Result<()> {
    let mut out = io::BufWriter::new(fs::File::create(path)?);
    let mut stream = blake3::Hasher::new_keyed(&[7; 32]).finalize_xof();
    let mut buffer = vec![0; 1 << 20];
    let mut left = bytes;
    while left > 0 {
        let piece = left.min(buffer.len() as u64) as usize;
        stream.fill(&mut buffer[..piece]);
        out.write_all(&buffer[..piece])?;
        left -= piece as u64;
    }
    out.flush()
}

/// Where `name` is on this machine.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let places = std::env::var_os("PATH").unwrap_or_default();
    let more = ["/usr/sbin", "/usr/local/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&places).chain(more).map(|place| place.join(name)).find(|path| path.is_file())
}

/// So many free UDP ports in a row.
pub fn free_ports(count: usize) -> Outcome<Vec<u16>> {
    for _ in 0..100 {
        let first = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let ports: Vec<u16> = (first..=u16::MAX).take(count).collect();
        let all = ports.iter().map(|port| UdpSocket::bind((Ipv4Addr::LOCALHOST, *port)));
        if ports.len() == count && all.collect::<Result<Vec<_>, _>>().is_ok() {
            return Ok(ports);
        }
    }
    Err("no free ports".into())
}

/// The same program without lanes; built if `EVENKEEL_LANES_OFF` doesn't name it.
pub fn lanes_off() -> Outcome<PathBuf> {
    if let Some(path) = std::env::var_os("EVENKEEL_LANES_OFF") {
        return Ok(path.into());
    }
    // PROGRAM is TARGET/PROFILE/evenkeel.
    let target = Path::new(PROGRAM).ancestors().nth(2).ok_or("no target directory")?.join("lanes-off");
    println!("building the node without lanes in {}", target.display());
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--release", "--quiet", "--bin", "evenkeel", "--features", "lanes-off", "--target-dir"]);
    let built = cargo.arg(&target).current_dir(env!("CARGO_MANIFEST_DIR")).status()?;
    if !built.success() {
        return Err("the node without lanes could not be built".into());
    }
    Ok(target.join("release/evenkeel"))
}
