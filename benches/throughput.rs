//! Unlimited transfers of one large file over loopback with TLS 1.3: GB/s and processor seconds per GB of both ends, beside
//! `curl` from a TLS nginx with the same cipher. Also what a node's memory grows by per idle session.
//!
//! `cargo bench --bench throughput [get] [put] [memory]`; `EVENKEEL_BENCH_BYTES` (1 GiB) and `EVENKEEL_BENCH_RUNS` (5) change
//! the size and how often. What is read is in the page cache; what is written stays in memory (/dev/shm). Both clients write a file; ours also verifies it (BLAKE3 on
//! both ends) and syncs it. GB are 10^9 bytes.

mod measure;

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use actors::peer::client::{Command as Order, SessionEvent};
use evenkeel::{
    identity::StateDir,
    node::{
        TransportChoice,
        session::{Client, Wish},
    },
};
use measure::{Outcome, PROGRAM, Run, Server, cpu_seconds, find_program, is_wanted, median, noise, setting, timed};

/// Idle sessions of the memory figure.
const SESSIONS: usize = 500;

fn main() -> Outcome<()> {
    let bytes = setting("EVENKEEL_BENCH_BYTES", 1 << 30);
    let runs = setting("EVENKEEL_BENCH_RUNS", 5);
    let room = Room { disk: tempfile::tempdir()?, memory: measure::room()? };
    let files = room.disk.path().join("files");
    fs::create_dir_all(&files)?;
    if is_wanted("get") || is_wanted("put") {
        noise(&files.join("big"), bytes)?;
        // What is not written back yet would be while the first runs are measured.
        fs::File::open(files.join("big"))?.sync_all()?;
        println!("{:.3} GB, {runs} alternating runs, medians, {} cores", bytes as f64 / 1e9, host::cores());
    }
    if is_wanted("get") {
        compare_gets(&room, bytes, runs)?;
    }
    if is_wanted("put") {
        measure_puts(&room, bytes, runs)?;
    }
    if is_wanted("memory") {
        measure_memory(room.disk.path())?;
    }
    Ok(())
}

/// Where files are: what is read lies on a disk and is served from the page cache; what is written stays in memory.
struct Room {
    disk: tempfile::TempDir,
    memory: tempfile::TempDir,
}

/// One transfer: the client's run and what the server spent meanwhile.
struct Sample {
    client: Run,
    server_cpu_seconds: f64,
}

fn sample(server: &Server, command: &mut Command) -> Outcome<Sample> {
    let before = cpu_seconds(server.pid())?;
    let client = timed(command)?;
    Ok(Sample { client, server_cpu_seconds: cpu_seconds(server.pid())? - before })
}

/// Medians per GB.
struct Figures {
    gb_per_second: f64,
    server: f64,
    client: f64,
    both: f64,
}

impl Figures {
    fn new(samples: &[Sample], bytes: u64) -> Self {
        let gb = bytes as f64 / 1e9;
        let per_gb = |of: &dyn Fn(&Sample) -> f64| median(samples.iter().map(of)) / gb;
        Self {
            gb_per_second: 1.0 / per_gb(&|sample| sample.client.seconds),
            server: per_gb(&|sample| sample.server_cpu_seconds),
            client: per_gb(&|sample| sample.client.cpu_seconds),
            both: per_gb(&|sample| sample.server_cpu_seconds + sample.client.cpu_seconds),
        }
    }

    fn print(&self, name: &str) {
        println!(
            "{name:24} {:6.3} GB/s   CPU s/GB: server {:.3}  client {:.3}  both {:.3}",
            self.gb_per_second, self.server, self.client, self.both
        );
    }

    fn print_ratio(&self, other: &Self) {
        println!(
            "{:24} {:6.2} x         CPU:      server {:.2} x client {:.2} x both {:.2} x",
            "ours / theirs",
            self.gb_per_second / other.gb_per_second,
            self.server / other.server,
            self.client / other.client,
            self.both / other.both
        );
    }
}

fn compare_gets(room: &Room, bytes: u64, runs: u64) -> Outcome<()> {
    let (home, got) = (room.disk.path(), room.memory.path().join("got"));
    let node = Server::node(Path::new(PROGRAM), home, None, &[])?;
    let nginx = match find_program("nginx").filter(|_| find_program("curl").is_some()) {
        Some(program) => Some(start_nginx(&program, home)?),
        None => None,
    };
    let mut get = Command::new(PROGRAM);
    get.arg("--state").arg(home.join("state")).arg("get").arg(format!("{}/bench/big", node.address));
    get.arg("-o").arg(&got);
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--insecure", "--http1.1", "--tlsv1.3"]);
    curl.arg(format!("https://{}/big", nginx.as_ref().map_or("", |nginx| &nginx.address))).arg("-o").arg(&got);
    let (mut ours, mut theirs, mut first) = (Vec::new(), Vec::new(), None);
    // The first run of each warms up, and ours hashes the file: it is shown, but not counted.
    for run in 0..=runs {
        let _ = fs::remove_file(&got);
        let mine = sample(&node, &mut get)?;
        let _ = fs::remove_file(&got);
        let other = nginx.as_ref().map(|nginx| sample(nginx, &mut curl)).transpose()?;
        if run == 0 {
            first = Some(mine);
        } else {
            ours.push(mine);
            theirs.extend(other);
        }
    }
    let _ = fs::remove_file(&got);
    Figures::new(&first.into_iter().collect::<Vec<_>>(), bytes).print("evenkeel get, first time");
    let ours = Figures::new(&ours, bytes);
    ours.print("evenkeel get");
    if theirs.is_empty() {
        println!("nothing to compare with: install nginx and curl");
    } else {
        let theirs = Figures::new(&theirs, bytes);
        theirs.print("curl from nginx");
        ours.print_ratio(&theirs);
    }
    Ok(())
}

fn measure_puts(room: &Room, bytes: u64, runs: u64) -> Outcome<()> {
    let (home, memory) = (room.disk.path(), room.memory.path());
    let node = Server::node(Path::new(PROGRAM), home, None, &["--share", &format!("memory={}", memory.display())])?;
    let mut put = Command::new(PROGRAM);
    put.arg("--state").arg(home.join("state")).arg("put").arg(home.join("files/big"));
    put.arg(format!("{}/memory/put", node.address));
    let mut samples = Vec::new();
    for run in 0..=runs {
        let _ = fs::remove_file(memory.join("put"));
        let sample = sample(&node, &mut put)?;
        if run > 0 {
            samples.push(sample);
        }
    }
    let _ = fs::remove_file(memory.join("put"));
    Figures::new(&samples, bytes).print("evenkeel put");
    Ok(())
}

/// One worker process in the foreground, TLS 1.3, `sendfile on`, and the cipher that our links use.
fn start_nginx(program: &Path, room: &Path) -> Outcome<Server> {
    let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])?;
    fs::write(room.join("cert.pem"), certified.cert.pem())?;
    fs::write(room.join("key.pem"), certified.signing_key.serialize_pem())?;
    // Free a moment ago: nginx takes no port 0.
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let home = room.display();
    let config = format!(
        "daemon off; master_process off; worker_processes 1; pid {home}/nginx.pid; error_log {home}/nginx.log;
        events {{ worker_connections 64; }}
        http {{
            access_log off; sendfile on; tcp_nopush on; default_type application/octet-stream;
            client_body_temp_path {home}/nginx-body; proxy_temp_path {home}/nginx-proxy;
            fastcgi_temp_path {home}/nginx-fastcgi; uwsgi_temp_path {home}/nginx-uwsgi; scgi_temp_path {home}/nginx-scgi;
            server {{
                listen 127.0.0.1:{port} ssl; root {home}/files;
                ssl_certificate {home}/cert.pem; ssl_certificate_key {home}/key.pem; ssl_protocols TLSv1.3;
                ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;
            }}
        }}"
    );
    fs::write(room.join("nginx.conf"), config)?;
    let mut command = Command::new(program);
    command.arg("-p").arg(room).arg("-c").arg(room.join("nginx.conf"));
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    Server::foreign(child, format!("127.0.0.1:{port}"))
}

fn measure_memory(room: &Path) -> Outcome<()> {
    let node = Server::node(Path::new(PROGRAM), room, None, &[])?;
    let pid = node.pid();
    let state = StateDir::open(Some(&room.join("state")))?;
    actix_rt::System::new().block_on(async {
        let client = Client::start(state, Wish::everything(TransportChoice::Tcp)).map_err(|failure| failure.message)?;
        // One session first, so that what is made once is not counted.
        let mut sessions = vec![idle_session(&client, &node.address).await?];
        let before = resident(pid).await?;
        for _ in 0..SESSIONS {
            sessions.push(idle_session(&client, &node.address).await?);
        }
        let after = resident(pid).await?;
        let each = after.saturating_sub(before) as f64 / SESSIONS as f64 / 1024.0;
        println!(
            "memory at rest           {:.1} MiB without, {:.1} MiB with {SESSIONS} idle sessions of a control and a data link, both TLS: {each:.1} KiB each",
            before as f64 / 1048576.0,
            after as f64 / 1048576.0
        );
        for (session, _) in sessions {
            session.command(Order::Leave).await;
        }
        Ok(())
    })
}

async fn idle_session(
    client: &Client,
    endpoint: &str,
) -> Outcome<(actors::SessionHandle, tokio::sync::mpsc::Receiver<SessionEvent>)> {
    let (session, mut events) = client.connect(endpoint).await?;
    loop {
        match events.recv().await.ok_or("the session ended")? {
            SessionEvent::Welcomed(_) => return Ok((session, events)),
            SessionEvent::Refused(refusal) => return Err(refusal.message.into()),
            _ => {}
        }
    }
}

/// Resident bytes once the last links have settled.
async fn resident(pid: u32) -> Outcome<u64> {
    tokio::time::sleep(Duration::from_secs(2)).await;
    measure::resident_bytes(pid)
}
