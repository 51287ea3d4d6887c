//! Unlimited: one peer, and 64 at once, over TCP with TLS 1.3, over QUIC, and over quinn alone.

use std::{fs, path::Path, process::Command, thread};

use crate::{
    bare,
    measure::{self, Outcome, PROGRAM, Run, Server, cpu_seconds, median, noise, setting, timed},
};

/// One run: what all peers took together.
struct Take {
    seconds: f64,
    server: f64,
    clients: f64,
}

pub(crate) fn run() -> Outcome<()> {
    let bytes = setting("EVENKEEL_BENCH_BYTES", 512 << 20);
    let runs = setting("EVENKEEL_BENCH_RUNS", 3);
    println!("{:.3} GB in all, {runs} alternating runs, medians, {} cores", bytes as f64 / 1e9, host::cores());
    for peers in [1, 64] {
        let room = measure::room()?;
        let home = room.path();
        fs::create_dir(home.join("files"))?;
        noise(&home.join("files/big"), bytes / peers)?;
        let node = Server::node(Path::new(PROGRAM), home, None, &["--open"])?;
        let folder = home.to_str().ok_or("no UTF-8")?;
        let (mut quinn, quinn_address) = bare::server(bytes / peers, folder)?;
        let mut takes: [Vec<Take>; 3] = Default::default();
        // The first of each warms up, and ours hashes the file.
        for run in 0..=runs {
            for (row, takes) in takes.iter_mut().enumerate() {
                let commands = match row {
                    0 => gets(home, &node, "tcp", peers),
                    1 => gets(home, &node, "quic", peers),
                    _ => vec![bare::client(&quinn_address, peers, folder)?],
                };
                let pid = if row == 2 { quinn.id() } else { node.pid() };
                let take = take(pid, commands)?;
                if run > 0 {
                    takes.push(take);
                }
            }
        }
        quinn.kill()?;
        quinn.wait()?;
        for (name, takes) in ["evenkeel, TCP + TLS", "evenkeel, QUIC", "quinn alone"].iter().zip(&takes) {
            print(&format!("{name}, {peers} peers"), takes, bytes);
        }
    }
    Ok(())
}

fn gets(home: &Path, node: &Server, transport: &str, peers: u64) -> Vec<Command> {
    let get = |peer: u64| {
        let mut command = Command::new(PROGRAM);
        let (state, out) = (home.join(format!("peer-{peer}")), home.join(format!("got-{peer}")));
        let _ = fs::remove_file(&out);
        command.arg("--state").arg(state).arg("get").arg(format!("{}/bench/big", node.address)).arg("-o").arg(out);
        command.args(["--transport", transport]);
        command
    };
    (0..peers).map(get).collect()
}

fn take(server: u32, commands: Vec<Command>) -> Outcome<Take> {
    let before = cpu_seconds(server)?;
    let started = std::time::Instant::now();
    let running: Vec<_> = commands
        .into_iter()
        .map(|mut command| thread::spawn(move || timed(&mut command).map_err(|error| error.to_string())))
        .collect();
    let mut clients = 0.0;
    for thread in running {
        let run: Run = thread.join().map_err(|_| "a thread panicked")??;
        clients += run.cpu_seconds;
    }
    Ok(Take { seconds: started.elapsed().as_secs_f64(), server: cpu_seconds(server)? - before, clients })
}

fn print(name: &str, takes: &[Take], bytes: u64) {
    let gb = bytes as f64 / 1e9;
    let of = |pick: &dyn Fn(&Take) -> f64| median(takes.iter().map(pick));
    println!(
        "{name:30} {:6.3} GB/s   CPU s/GB: server {:.3}  clients {:.3}",
        gb / of(&|take| take.seconds),
        of(&|take| take.server) / gb,
        of(&|take| take.clients) / gb
    );
}
