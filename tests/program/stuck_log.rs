//! Whoever reads the node's log has stopped: a pipe that is full takes nothing, and whoever writes into it waits.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::{Child, ChildStderr},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Server, wait_until};

/// Longer than any answer takes on a busy machine, and far shorter than for ever.
const PATIENCE: Duration = Duration::from_secs(10);
/// Each order is a line in the log, of more than a hundred bytes.
const ORDER: &str = "PATCH /v1/limits HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 36\r\n\r\n\
                     {\"upload_bytes_per_second\": 1000000}";

/// A node whose standard error is a pipe that nobody reads; ended on drop.
struct Node {
    child: Child,
    log: Option<ChildStderr>,
    admin: String,
    metrics: String,
}

impl Node {
    fn start(room: &std::path::Path) -> Self {
        let mut child = Server::command::<&str>(room, &[]).spawn().unwrap();
        let (out, log) = (child.stdout.take().unwrap(), child.stderr.take());
        let mut node = Self { child, log, admin: String::new(), metrics: String::new() };
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            let mut words = line.split_whitespace();
            match (words.next(), words.next()) {
                (Some("admin"), Some(address)) => node.admin = address.trim_start_matches("http://").to_owned(),
                (Some("metrics"), Some(address)) => {
                    node.metrics = address.trim_start_matches("http://").trim_end_matches("/metrics").to_owned();
                }
                _ if line.contains("ctl --admin") => break,
                _ => {}
            }
        }
        node
    }

    fn lost_lines(&self) -> u64 {
        let mut stream = connect(&self.metrics);
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").unwrap();
        let mut page = String::new();
        stream.read_to_string(&mut page).unwrap();
        let line = page.lines().find_map(|line| line.strip_prefix("evenkeel_log_lines_lost_total "));
        line.expect("the metric is there").parse().unwrap()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Gives one order, and hears its answer.
fn order(stream: &mut TcpStream) {
    stream.write_all(ORDER.as_bytes()).unwrap();
    let mut answer = [0; 4096];
    let mut heard = 0;
    // The answer's body is one object and holds others.
    while !answer[..heard].ends_with(b"}}") {
        let count = stream.read(&mut answer[heard..]).expect("the node answers");
        assert!(count > 0, "the node closed: {}", String::from_utf8_lossy(&answer[..heard]));
        heard += count;
    }
    assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer[..heard]));
}

#[test]
fn a_log_that_nobody_reads_holds_nothing_up_and_what_is_lost_is_counted() {
    let room = tempfile::tempdir().unwrap();
    let mut node = Node::start(room.path());
    let mut stream = connect(&node.admin);
    (0..100).for_each(|_| order(&mut stream));
    assert_eq!(node.lost_lines(), 0, "there is room for these");
    // The pipe takes 64 KiB, the node keeps 4096 lines.
    let mut orders = 100;
    while node.lost_lines() == 0 {
        (0..500).for_each(|_| order(&mut stream));
        orders += 500;
        assert!(orders < 20_000, "nothing is lost: who keeps all that?");
    }
    assert!(orders > 4096 / 2, "{orders} orders, of two lines at most each");

    // Somebody reads again: what waited comes, whole lines, and what is said from now on.
    let mut log = BufReader::new(node.log.take().unwrap());
    let mut line = String::new();
    for _ in 0..1000 {
        line.clear();
        log.read_line(&mut line).unwrap();
        let json: serde_json::Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(json["message"].is_string(), "{line}");
    }
}

#[test]
fn a_node_whose_log_nobody_reads_ends_when_it_is_told_to() {
    let room = tempfile::tempdir().unwrap();
    let mut node = Node::start(room.path());
    let mut stream = connect(&node.admin);
    (0..1000).for_each(|_| order(&mut stream));
    kill_process(Pid::from_child(&node.child), Signal::TERM).unwrap();
    wait_until("it ends", 15, || node.child.try_wait().unwrap().is_some());
    assert_eq!(node.child.wait().unwrap().code(), Some(0));
}

/// The last lines are written before the program ends.
#[test]
fn the_last_lines_are_in_the_log() {
    let mut server = Server::start::<&str>(&[]);
    server.signal(Signal::TERM);
    wait_until("it ends", 15, || !server.is_running());
    let (code, words) = server.wait(10);
    assert_eq!(code, 0, "{words}");
    assert!(words.contains("\"drained\""), "{words}");
}
