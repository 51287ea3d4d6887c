//! A real node, and real peers that keep it busy in both directions.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_evenkeel");
/// Longer than the test at these limits, so that nobody finishes; sparse, so that they take no room.
const FILE_BYTES: u64 = 2 << 30;
const UPLOAD_LIMIT: &str = "8MB/s";
const DOWNLOAD_LIMIT: &str = "4MB/s";
/// What each peer asks for: finite, so that the sum can be drawn, and together more than the limits.
const WISH: &str = "6MB/s";
const START_SECONDS_MAX: u64 = 30;

/// A running node; killed on drop.
pub(crate) struct Node {
    process: Child,
    state: PathBuf,
    /// Where peers connect.
    pub(crate) peers: String,
    /// Where metrics are scraped.
    pub(crate) metrics: String,
    log: PathBuf,
}

impl Node {
    /// Starts a node in `room` that shares one large file and takes files, and waits for the lines that say where it is.
    pub(crate) fn start(room: &Path) -> Self {
        let share = room.join("share");
        fs::create_dir(&share).unwrap();
        File::create(share.join("large.bin")).unwrap().set_len(FILE_BYTES).unwrap();
        fs::write(share.join("small.txt"), "small\n").unwrap();
        let config = room.join("evenkeel.toml");
        let lines = format!("[[share]]\nname = \"share\"\npath = \"{}\"\nwritable = true\n", share.display());
        fs::write(&config, lines).unwrap();
        let (state, log) = (room.join("node"), room.join("node.log"));
        let mut process = Command::new(PROGRAM)
            .args(["serve", "--open", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--metrics", "127.0.0.1:0"])
            .args(["--upload-limit", UPLOAD_LIMIT, "--download-limit", DOWNLOAD_LIMIT])
            .arg("--config")
            .arg(&config)
            .arg("--state")
            .arg(&state)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let lines = read_lines(process.stdout.take().unwrap());
        let mut node = Self { process, state, peers: String::new(), metrics: String::new(), log };
        while node.peers.is_empty() || node.metrics.is_empty() {
            let line = lines.recv_timeout(Duration::from_secs(START_SECONDS_MAX));
            let line = line.unwrap_or_else(|_| panic!("serve did not say where it listens\n{}", node.words()));
            match line.split_whitespace().collect::<Vec<_>>()[..] {
                ["peers", address, ..] => node.peers = address.to_owned(),
                ["metrics", url, ..] => {
                    node.metrics = url.trim_start_matches("http://").trim_end_matches("/metrics").to_owned();
                }
                _ => {}
            }
        }
        node
    }

    /// What the node wrote on standard error.
    pub(crate) fn words(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Reads on after the wanted lines too: a full pipe would stop the node.
fn read_lines(stdout: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::sync_channel(16);
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    receiver
}

/// Peers at work; killed on drop.
pub(crate) struct Load {
    processes: Vec<Child>,
}

impl Load {
    /// Two strangers get and the node's owner puts twice at once; one small get has come and gone before.
    pub(crate) fn start(node: &Node, room: &Path) -> Self {
        let peer = |state: &Path, arguments: &[String]| {
            let log =
                File::create(room.join(format!("load-{}.log", arguments.join("-").replace(['/', ':'], "_")))).unwrap();
            let mut command = Command::new(PROGRAM);
            command.args(arguments).arg("--state").arg(state).current_dir(room).stdin(Stdio::null());
            command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap()
        };
        let get = |name: &str, file: &str| {
            let arguments =
                ["get", &format!("{}/share/{file}", node.peers), "-o", &format!("{name}.out"), "--bwlimit", WISH];
            peer(&room.join(name), &arguments.map(str::to_owned))
        };
        let status = get("brief", "small.txt").wait().unwrap();
        assert!(status.success(), "a small get works\n{}", node.words());
        let mut load = Self { processes: vec![get("first", "large.bin"), get("second", "large.bin")] };
        for name in ["one.bin", "two.bin"] {
            File::create(room.join(name)).unwrap().set_len(FILE_BYTES).unwrap();
            let arguments = ["put", name, &format!("{}/share/{name}", node.peers), "--bwlimit", WISH];
            load.processes.push(peer(&node.state, &arguments.map(str::to_owned)));
        }
        load
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        for process in &mut self.processes {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}
