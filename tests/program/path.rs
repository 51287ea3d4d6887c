//! What a path sees of a session over QUIC: packets at the rate that was agreed on, and from another address after a while.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, TcpListener, UdpSocket},
    sync::Arc,
    time::Duration,
};

use rustix::process::geteuid;

use crate::{
    nat::{Namespace, Nat, Seen, Way},
    support::{Client, Server, assert_same, noise, turn::alone, wait_until},
};

/// The ports of a node for datagrams: control, then data.
pub(crate) fn ports(server: &Server) -> Vec<u16> {
    let words = server.words();
    let line = words.lines().find(|line| line.starts_with("quic ")).unwrap();
    let (control, data) = line.split_once(" (UDP), data on ").unwrap();
    let control = control.rsplit(':').next().unwrap();
    std::iter::once(control).chain(data.split(", ")).map(|port| port.parse().unwrap()).collect()
}

/// A node with one worker whose port for control, which is returned, and the one after it, for data, are free at `near` as well: for what
/// stands before it there.
pub(crate) fn node_behind(near: Ipv4Addr, args: &[&str]) -> (Server, u16) {
    let control = free_ports([Ipv4Addr::LOCALHOST, near], 2);
    let (listen, data) = (format!("127.0.0.1:{control}"), format!("127.0.0.1:{}", control + 1));
    let args = [&["--listen", &listen, "--listen-data", &data], args].concat();
    (Server::with_config("[node]\nworkers = 1\n", &args), control)
}

/// Ports in a row that are free at both addresses, the first of them for TCP as well.
pub(crate) fn free_ports(addresses: [Ipv4Addr; 2], count: u16) -> u16 {
    let free = |first: u16| {
        TcpListener::bind((Ipv4Addr::LOCALHOST, first)).ok()?;
        let both =
            addresses.iter().flat_map(|address| (0..count).map(move |index| (*address, first.checked_add(index))));
        both.map(|(address, port)| UdpSocket::bind((address, port?)).ok()).collect::<Option<Vec<_>>>().map(drop)
    };
    let any = || UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    std::iter::repeat_with(any).take(100).find(|first| free(*first).is_some()).expect("free ports")
}

/// Bytes in the busiest and in the quietest `window` that lies wholly between the two times.
fn extremes(seen: &[Seen], from: Duration, until: Duration, window: Duration) -> (usize, usize) {
    let begin = seen[0].at;
    let sums: Vec<usize> = (from.as_millis() as u64..(until - window).as_millis() as u64)
        .step_by(10)
        .map(|ms| {
            let start = begin + Duration::from_millis(ms);
            seen.iter().filter(|seen| seen.at >= start && seen.at < start + window).map(|seen| seen.bytes).sum()
        })
        .collect();
    (*sums.iter().max().unwrap(), *sums.iter().min().unwrap())
}

/// The client says what it wants, the node sends no faster: not on the average only, but in each tenth of a second.
#[test]
fn packets_leave_at_the_rate_that_the_client_asked_for() {
    const RATE: usize = 1_000_000;
    /// 64 KiB: `flow/src/shaper/quantum.rs`.
    const PIECE: usize = 64 << 10;
    alone();
    let (node, near) = (Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 0, 0, 2));
    let first = free_ports([node, near], 2);
    let (listen, data) = (format!("127.0.0.1:{first}"), format!("127.0.0.1:{}", first + 1));
    let server = Server::with_config("[node]\nworkers = 1\n", &["--listen", &listen, "--listen-data", &data]);
    noise(&server.share().join("a.bin"), 6 * RATE, 1);
    let nat = Nat::before(node.into(), near.into(), &ports(&server), node.into());
    let out = server.path("a.bin");
    let from = format!("127.0.0.2:{first}/share/a.bin");
    let client = server.spawn(&["get", &from, "-o", &out, "--transport", "quic", "--bwlimit", "1MB/s"]);
    let (code, words) = client.wait(60);
    assert_eq!(code, 0, "{words}");
    assert_same(server.share().join("a.bin"), &out);
    let seen: Vec<Seen> =
        nat.seen().into_iter().filter(|seen| seen.way == Way::Down && seen.port == first + 1).collect();
    let length = seen.last().unwrap().at - seen[0].at;
    assert!((5.0..8.0).contains(&length.as_secs_f64()), "6 MB at 1 MB/s took {length:?}");
    let steady = |window| extremes(&seen, Duration::from_secs(1), Duration::from_secs(5), window);
    let (busiest, quietest) = steady(Duration::from_secs(1));
    println!("1 s: {quietest} to {busiest} bytes; {} datagrams in {length:?}", seen.len());
    // Headers of QUIC and of chunks are some 3 %; a piece more or less falls into a window.
    assert!(busiest <= RATE * 104 / 100 + PIECE, "{busiest} bytes in one second");
    assert!(quietest >= RATE * 9 / 10 - PIECE, "{quietest} bytes in one second");
    let (busiest, quietest) = steady(Duration::from_millis(100));
    println!("100 ms: {quietest} to {busiest} bytes");
    // A piece is due every 65 ms, so two can begin within 100 ms; one more if a busy machine was late with one.
    assert!(busiest <= 3 * PIECE * 104 / 100, "{busiest} bytes in 100 ms");
}

/// A translator that forgets its client and gives it another port, and then another address: both connections go on.
#[test]
fn a_session_survives_a_translator_that_gives_it_other_ports_and_another_address() {
    let Some([peer, middle, place]) = namespaces() else { return };
    const NODE: &str = "10.202.2.2";
    const OUTSIDE: [&str; 2] = ["10.202.2.1", "10.202.2.3"];
    const INSIDE: &str = "10.202.1.1";
    peer.join(&middle, "inner", ["10.202.1.2", INSIDE]).unwrap();
    place.join(&middle, "outer", [NODE, OUTSIDE[0]]).unwrap();
    middle.give("outer-far", OUTSIDE[1]).unwrap();
    let address = |text: &str| text.parse::<IpAddr>().unwrap();
    let listen = format!("{NODE}:0");
    let room = Arc::new(tempfile::tempdir().unwrap());
    let args = ["--listen", &listen, "--upload-limit", "2MB/s"];
    let server = Server::start_under(&place.wrapper(), room, &args);
    noise(&server.share().join("a.bin"), 12_000_000, 1);
    let ports = ports(&server);
    let nat = middle.inside(|| Nat::before(address(NODE), address(INSIDE), &ports, address(OUTSIDE[0])));
    let (out, state) = (server.path("a.bin"), server.owner());
    let from = format!("{INSIDE}:{}/share/a.bin", ports[0]);
    let args = ["get", &from, "-o", &out, "--transport", "quic", "--state", &state];
    let client = Client::spawn_under(&peer.wrapper(), &args);
    let part = format!("{out}.part");
    let here = || fs::metadata(&part).map_or(0, |meta| meta.len());
    for (step, outside) in [OUTSIDE[0], OUTSIDE[1], OUTSIDE[0], OUTSIDE[1]].into_iter().enumerate() {
        let wanted = 2_000_000 * (step as u64 + 1);
        wait_until("the transfer goes on", 20, || here() >= wanted);
        nat.rebind(address(outside));
        // Who only receives has nothing to say, and says something when nothing comes any more.
        let reached = here() + 500_000;
        wait_until("bytes come to the new place", 6, || here() >= reached);
    }
    let (code, words) = client.wait(60);
    assert_eq!(code, 0, "{words}");
    assert_same(server.share().join("a.bin"), &out);
    // Data at first and after each of the four changes. Control shows itself when it has something to say, or when data fell silent;
    // what came from the old place after a change may have kept data from that.
    let [control, data] = [ports[0], ports[1]].map(|port| nat.addresses(port));
    assert_eq!(data.len(), 5, "{data:?}");
    assert!((2..=5).contains(&control.len()), "{control:?}");
    let (joins, refusals) =
        place.inside(|| (server.metric("evenkeel_joins_total", &[]), server.metric("evenkeel_refusals_total", &[])));
    assert_eq!((joins, refusals), (1.0, 0.0), "it is one session from its beginning to its end");
}

/// A peer's, a translator's, a node's; `None`, with words, where they can't be had. CI must have them.
fn namespaces() -> Option<[Namespace; 3]> {
    let made = match geteuid().is_root() {
        true => ["peer", "nat", "node"].into_iter().map(Namespace::add).collect::<Result<Vec<_>, _>>(),
        false => Err("network namespaces need root".to_owned()),
    };
    match made {
        Ok(made) => made.try_into().ok(),
        Err(why) => {
            assert!(std::env::var_os("CI").is_none_or(|value| value != "true"), "not tested in CI: {why}");
            println!("SKIPPED: no translator was tested: {why}");
            None
        }
    }
}
