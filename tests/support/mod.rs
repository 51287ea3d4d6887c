//! Whole-program tests: the real binary, on real sockets, in a directory of its own.
//!
//! A test ends only children that it started, by their handles, and awaits conditions instead of sleeping. Every wait is bounded,
//! far above what is needed: the machine may be busy.

// Each test binary compiles this file and uses its part of it.
#![allow(dead_code, unreachable_pub)]

pub mod steady;
pub mod turn;

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use self::steady::Moment;

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_evenkeel");
/// A node says where it is within this.
const START_SECONDS_MAX: u64 = 30;
/// A command that ought to end does so within this.
const COMMAND_SECONDS_MAX: u64 = 60;

/// Waits until `condition` holds; fails with `what` after `seconds`.
pub fn wait_until(what: &str, seconds: u64, mut condition: impl FnMut() -> bool) {
    let began = Moment::now();
    while !condition() {
        assert!(began.elapsed().as_secs() < seconds, "not within {seconds} s: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Runs the program to its end.
pub fn evenkeel<S: AsRef<str>>(args: &[S]) -> Output {
    evenkeel_in(Path::new("."), args)
}

/// Runs the program to its end in a directory.
pub fn evenkeel_in<S: AsRef<str>>(directory: &Path, args: &[S]) -> Output {
    let mut command = command(args);
    command.current_dir(directory).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (stdout, stderr) = (gather(child.stdout.take().unwrap()), gather(child.stderr.take().unwrap()));
    let Some(status) = end_of(&mut child, COMMAND_SECONDS_MAX) else {
        child.kill().unwrap();
        child.wait().unwrap();
        let words = String::from_utf8_lossy(&stderr.join().unwrap()).into_owned();
        panic!("still running after {COMMAND_SECONDS_MAX} s: {command:?}\n{words}");
    };
    Output { status, stdout: stdout.join().unwrap(), stderr: stderr.join().unwrap() }
}

fn gather(mut pipe: impl Read + Send + 'static) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes);
        bytes
    })
}

fn command<S: AsRef<str>>(args: &[S]) -> Command {
    command_under::<&str, S>(&[], args)
}

/// The program, started by another one that becomes it, such as `setpriv --no-new-privs`.
fn command_under<W: AsRef<str>, S: AsRef<str>>(wrapper: &[W], args: &[S]) -> Command {
    turn::beside();
    let words: Vec<&str> = wrapper.iter().map(AsRef::as_ref).chain([PROGRAM]).collect();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).args(args.iter().map(AsRef::as_ref));
    let is_client = args.first().is_some_and(|word| ["get", "put", "ls"].contains(&word.as_ref()));
    if is_client && !args.iter().any(|arg| arg.as_ref() == "--transport") {
        command.args(["--transport", transport()]);
    }
    command.stdin(Stdio::null()).env_remove("EVENKEEL_ADMIN_TOKEN");
    command
}

/// What this test's clients go over: the harness names threads after tests, and their modules say it.
pub fn transport() -> &'static str {
    let is_quic = |name: &str| name.starts_with("over_quic::") || name.starts_with("quic::");
    if thread::current().name().is_some_and(is_quic) { "quic" } else { "tcp" }
}

/// What a command said, for assertions.
pub trait Said {
    /// The exit code; -1 when a signal ended it.
    fn code(&self) -> i32;
    /// Standard output.
    fn out(&self) -> String;
    /// Standard error.
    fn err(&self) -> String;
    /// Fails, with everything it said, unless the exit code is `code`.
    #[track_caller]
    fn expect_code(self, code: i32) -> Self;
}

impl Said for Output {
    fn code(&self) -> i32 {
        self.status.code().unwrap_or(-1)
    }
    fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
    fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }
    #[track_caller]
    fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code(), code, "{:?}\n-- out\n{}\n-- err\n{}", self.status, self.out(), self.err());
        self
    }
}

/// A running client; killed on drop.
pub struct Client {
    child: Child,
    words: Arc<Mutex<String>>,
    readers: Vec<thread::JoinHandle<()>>,
}

impl Client {
    /// Starts the program with `args`.
    pub fn spawn<S: AsRef<str>>(args: &[S]) -> Self {
        Self::spawn_under::<&str, S>(&[], args)
    }

    /// The same by way of `wrapper`.
    pub fn spawn_under<W: AsRef<str>, S: AsRef<str>>(wrapper: &[W], args: &[S]) -> Self {
        let mut command = command_under(wrapper, args);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let words = Arc::new(Mutex::new(String::new()));
        let readers = vec![
            follow(child.stdout.take().unwrap(), Arc::clone(&words)),
            follow(child.stderr.take().unwrap(), Arc::clone(&words)),
        ];
        Self { child, words, readers }
    }

    /// What it has said so far, both outputs.
    pub fn words(&self) -> String {
        self.words.lock().unwrap().clone()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Ends it as a crash would.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        send(&self.child, signal);
    }

    /// Waits for its end: exit code (-1: a signal ended it) and words.
    #[track_caller]
    pub fn wait(mut self, seconds: u64) -> (i32, String) {
        let code = wait_for(&mut self.child, seconds).unwrap_or_else(|| panic!("still running:\n{}", self.words()));
        self.readers.drain(..).for_each(|reader| drop(reader.join()));
        (code, self.words())
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn follow(pipe: impl Read + Send + 'static, words: Arc<Mutex<String>>) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            let mut words = words.lock().unwrap();
            words.push_str(&line);
            words.push('\n');
        }
    })
}

fn send(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

fn end_of(child: &mut Child, seconds: u64) -> Option<ExitStatus> {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    loop {
        match child.try_wait().unwrap() {
            None if Instant::now() <= deadline => thread::sleep(Duration::from_millis(10)),
            ended => return ended,
        }
    }
}

fn wait_for(child: &mut Child, seconds: u64) -> Option<i32> {
    end_of(child, seconds).map(|status| status.code().unwrap_or(-1))
}

/// A running node in a directory of its own; killed on drop.
pub struct Server {
    child: Child,
    words: Arc<Mutex<String>>,
    readers: Vec<thread::JoinHandle<()>>,
    /// `ADDRESS:PORT` where peers connect.
    pub peers: String,
    /// `ADDRESS:PORT` of the control message API.
    pub admin: String,
    /// `ADDRESS:PORT` of the metrics.
    pub metrics: String,
    /// `ADDRESS:PORT` for clients without Evenkeel; empty without `--http`.
    pub http: String,
    /// The node's peer id.
    pub id: String,
    /// Holds `share/` (the share `share`, writable, where the arguments name no other), `state/` and what a test puts there.
    pub room: Arc<tempfile::TempDir>,
}

impl Server {
    /// Starts a node with `args`. What they leave open gets defaults: any free ports, a state directory and a share of its
    /// own.
    pub fn start<S: AsRef<str>>(args: &[S]) -> Self {
        Self::start_in(Arc::new(tempfile::tempdir().unwrap()), args)
    }

    /// The same in a directory that is there: a node that is started again.
    pub fn start_in<S: AsRef<str>>(room: Arc<tempfile::TempDir>, args: &[S]) -> Self {
        Self::start_under::<&str, S>(&[], room, args)
    }

    /// The same with a configuration, which `share` is added to.
    pub fn with_config<S: AsRef<str>>(config: &str, args: &[S]) -> Self {
        let room = Arc::new(tempfile::tempdir().unwrap());
        let share = room.path().join("share");
        fs::create_dir(&share).unwrap();
        let file = room.path().join("evenkeel.toml");
        let share = format!("[[share]]\nname = \"share\"\npath = \"{}\"\nwritable = true\n", text(&share));
        fs::write(&file, format!("{config}\n{share}")).unwrap();
        let mut all = vec!["--config".to_owned(), text(&file)];
        all.extend(args.iter().map(|arg| arg.as_ref().to_owned()));
        Self::start_in(room, &all)
    }

    /// The same by way of `wrapper`.
    pub fn start_under<W: AsRef<str>, S: AsRef<str>>(wrapper: &[W], room: Arc<tempfile::TempDir>, args: &[S]) -> Self {
        let mut child = Self::command_under(wrapper, room.path(), args).spawn().unwrap();
        let words = Arc::new(Mutex::new(String::new()));
        let readers = vec![
            follow(child.stdout.take().unwrap(), Arc::clone(&words)),
            follow(child.stderr.take().unwrap(), Arc::clone(&words)),
        ];
        let [peers, admin, metrics, http, id] = std::array::from_fn(|_| String::new());
        let mut server = Self { child, words, readers, peers, admin, metrics, http, id, room };
        server.await_addresses();
        server
    }

    /// The command that [`Server::start`] runs, for nodes that don't start.
    pub fn command<S: AsRef<str>>(room: &Path, args: &[S]) -> Command {
        Self::command_under::<&str, S>(&[], room, args)
    }

    fn command_under<W: AsRef<str>, S: AsRef<str>>(wrapper: &[W], room: &Path, args: &[S]) -> Command {
        let has = |name: &str| args.iter().any(|arg| arg.as_ref() == name);
        let mut all: Vec<String> = vec!["serve".into()];
        for flag in ["--listen", "--admin", "--metrics"] {
            if !has(flag) {
                all.extend([flag.into(), "127.0.0.1:0".into()]);
            }
        }
        if !has("--state") {
            all.extend(["--state".into(), text(&room.join("state"))]);
        }
        if !has("--share") && !has("--config") {
            fs::create_dir_all(room.join("share")).unwrap();
            all.extend(["--share".into(), format!("share={}", text(&room.join("share")))]);
        }
        all.extend(args.iter().map(|arg| arg.as_ref().to_owned()));
        let mut command = command_under(wrapper, &all);
        command.current_dir(room).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn await_addresses(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(START_SECONDS_MAX);
        loop {
            let ended = self.child.try_wait().unwrap();
            let words = self.words();
            let value = |name: &str| {
                let line = words.lines().find(|line| line.split_whitespace().next() == Some(name))?;
                line.split_whitespace().nth(1).map(|word| word.trim_start_matches("http://").to_owned())
            };
            // The lines about what to try next come last.
            if let (Some(id), Some(peers), Some(admin), Some(metrics), true) =
                (value("id"), value("peers"), value("admin"), value("metrics"), words.contains("ctl --admin"))
            {
                let metrics = metrics.trim_end_matches("/metrics").to_owned();
                let http = value("http").unwrap_or_default();
                self.http = http.trim_start_matches("https://").trim_end_matches('/').to_owned();
                (self.id, self.peers, self.admin, self.metrics) = (id, peers, admin, metrics);
                return;
            }
            assert!(ended.is_none() && Instant::now() < deadline, "no node: {ended:?}\n{words}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// What it has said so far, both outputs.
    pub fn words(&self) -> String {
        self.words.lock().unwrap().clone()
    }

    /// The directory of `share`.
    pub fn share(&self) -> PathBuf {
        self.room.path().join("share")
    }

    /// The state directory, as `--state` takes it: a client with it is the node's owner and has every right.
    pub fn owner(&self) -> String {
        text(&self.room.path().join("state"))
    }

    /// A state directory of somebody else, by name.
    pub fn stranger(&self, name: &str) -> String {
        text(&self.room.path().join(format!("stranger-{name}")))
    }

    /// `HOST:PORT/share/PATH`.
    pub fn at(&self, path: &str) -> String {
        format!("{}/share/{path}", self.peers)
    }

    /// A path in the test's directory.
    pub fn path(&self, name: &str) -> String {
        text(&self.room.path().join(name))
    }

    /// Runs a client command as the node's owner.
    pub fn run(&self, args: &[&str]) -> Output {
        evenkeel_in(self.room.path(), &[args, &["--state", &self.owner()]].concat())
    }

    /// Starts a client command as the node's owner.
    pub fn spawn(&self, args: &[&str]) -> Client {
        Client::spawn(&[args, &["--state", &self.owner()]].concat())
    }

    /// Runs a client command as somebody else.
    pub fn run_as(&self, stranger: &str, args: &[&str]) -> Output {
        evenkeel_in(self.room.path(), &[args, &["--state", &self.stranger(stranger)]].concat())
    }

    /// Starts a client command as somebody else.
    pub fn spawn_as(&self, stranger: &str, args: &[&str]) -> Client {
        Client::spawn(&[args, &["--state", &self.stranger(stranger)]].concat())
    }

    /// Runs `ctl` against the node.
    pub fn ctl(&self, args: &[&str]) -> Output {
        evenkeel(&[&["ctl", "--admin", &format!("http://{}", self.admin)], args].concat())
    }

    /// One request of the control message API: status and answer (`null` without a body).
    pub fn api(&self, method: &str, path: &str, body: Option<&str>) -> (u16, Value) {
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.admin))
            .header("content-type", "application/json")
            .body(body.unwrap_or_default().to_owned())
            .unwrap();
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .allow_non_standard_methods(true)
            .timeout_global(Some(Duration::from_secs(20)))
            .build()
            .into();
        let mut answer = agent.run(request).unwrap();
        let text = answer.body_mut().read_to_string().unwrap();
        (answer.status().as_u16(), serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    /// `GET` of the control message API.
    #[track_caller]
    pub fn get(&self, path: &str) -> Value {
        let (status, answer) = self.api("GET", path, None);
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    /// The metrics page.
    pub fn page(&self) -> String {
        ureq::get(&format!("http://{}/metrics", self.metrics)).call().unwrap().body_mut().read_to_string().unwrap()
    }

    /// The sum of a metric's samples whose labels contain each of `labels`, such as `reason="path"`.
    pub fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let page = self.page();
        let samples = page.lines().filter(|line| {
            let rest = line.strip_prefix(name).unwrap_or("x");
            rest.starts_with(['{', ' ']) && labels.iter().all(|label| rest.contains(label))
        });
        samples.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// Memory that the node holds now.
    pub fn memory_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }

    /// CPU time that the node has used.
    pub fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        // Fields 14 and 15 of proc_pid_stat(5), counted behind the name, in hundredths of a second (USER_HZ).
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        Duration::from_millis(ticks * 10)
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        send(&self.child, signal);
    }

    /// Ends it as a crash would; its directory stays while somebody has the room.
    pub fn kill(mut self) -> Arc<tempfile::TempDir> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        Arc::clone(&self.room)
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for its end: exit code (-1: a signal ended it) and words.
    #[track_caller]
    pub fn wait(mut self, seconds: u64) -> (i32, String) {
        let code = wait_for(&mut self.child, seconds).unwrap_or_else(|| panic!("still running:\n{}", self.words()));
        self.readers.drain(..).for_each(|reader| drop(reader.join()));
        (code, self.words())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("-- the node said\n{}", self.words());
        }
    }
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// Writes `bytes` that look random and are the same for the same `seed`.
pub fn noise(path: &Path, bytes: usize, seed: u64) {
    let mut file = File::create(path).unwrap();
    let mut hasher = blake3::Hasher::new_keyed(&[7; 32]);
    hasher.update(&seed.to_le_bytes());
    let mut reader = hasher.finalize_xof();
    let mut buffer = vec![0; 1 << 16];
    let mut left = bytes;
    while left > 0 {
        let piece = left.min(buffer.len());
        reader.fill(&mut buffer[..piece]);
        file.write_all(&buffer[..piece]).unwrap();
        left -= piece;
    }
}

/// Whether two files have the same bytes.
#[track_caller]
pub fn assert_same(left: impl AsRef<Path>, right: impl AsRef<Path>) {
    let hash = |path: &Path| {
        let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        (bytes.len(), blake3::hash(&bytes))
    };
    assert_eq!(hash(left.as_ref()), hash(right.as_ref()), "{}", right.as_ref().display());
}
