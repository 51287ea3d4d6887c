//! The real program as a child process, in a network namespace or in none.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

/// What cargo built with this benchmark.
const PROGRAM: &str = env!("CARGO_BIN_EXE_evenkeel");

/// Why a benchmark can't be run, in words.
pub(crate) type Words = String;

/// `program` in `namespace`.
pub(crate) fn command(namespace: Option<&str>, program: &str) -> Command {
    match namespace {
        Some(namespace) => {
            let mut command = Command::new("ip");
            command.args(["netns", "exec", namespace, program]);
            command
        }
        None => Command::new(program),
    }
}

/// The program in `namespace` with `args`, quiet.
pub(crate) fn evenkeel(namespace: Option<&str>, args: &[&str]) -> Command {
    let mut command = command(namespace, PROGRAM);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// What the program prints on standard output.
pub(crate) fn output(namespace: Option<&str>, args: &[&str]) -> Result<String, Words> {
    let mut command = evenkeel(namespace, args);
    let output = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output().map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(format!("evenkeel {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A child that is killed when it goes out of scope.
pub(crate) struct Kept(pub(crate) Child);

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `evenkeel serve`, up and listening.
pub(crate) struct Server {
    /// `HOST:PORT` for peers.
    pub(crate) peers: String,
    /// The API's URL.
    pub(crate) admin: String,
    _child: Kept,
}

impl Server {
    /// Starts it with `args` after `serve` and waits until it says where it listens.
    pub(crate) fn start(namespace: Option<&str>, args: &[&str]) -> Result<Self, Words> {
        let mut child = evenkeel(namespace, &["serve"])
            .args(args)
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("no server: {error}"))?;
        let stdout = child.stdout.take();
        let child = Kept(child);
        let mut lines = BufReader::new(stdout.ok_or("the server has no output")?).lines();
        let mut find = |word: &str| -> Result<String, Words> {
            let line = lines.by_ref().map_while(Result::ok).find(|line| line.starts_with(word));
            line.and_then(|line| line.split_whitespace().nth(1).map(str::to_owned))
                .ok_or_else(|| format!("the server ended before it said `{word}`"))
        };
        let (peers, admin) = (find("peers ")?, find("admin ")?);
        // Nobody blocks on a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Ok(Self { peers, admin, _child: child })
    }
}
