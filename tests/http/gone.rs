//! Clients that are gone, or take nothing of what they asked for: nothing of them is kept, and whoever is only slow gets all.

use std::{
    fs,
    io::{ErrorKind, Read as _, Write as _},
    net::{Shutdown, SocketAddr},
    sync::Arc,
    thread,
    time::Duration,
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, pem::PemObject as _},
};

use crate::{
    hostile::{IMPATIENT, refusals},
    stage::{Wire, node},
    support::{Said as _, Server, wait_until},
    terms::Signed,
    tls::secured,
};

/// More than a narrow client takes, and less than the kernel holds for a connection.
const FITTING: &str = "Range: bytes=0-99999\r\n";

fn connections(server: &Server) -> f64 {
    server.metric("evenkeel_http_connections", &[])
}

fn uploads(server: &Server) -> f64 {
    server.metric("evenkeel_transfers", &["direction=\"upload\""])
}

/// What the kernel holds of what the node wrote to clients, also on connections that the node has closed.
fn kept_bytes(server: &Server) -> u64 {
    let port = format!(":{:04X}", server.http.parse::<SocketAddr>().unwrap().port());
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    // `0A` listens: its queue is of connections.
    let ours = lines.filter(|fields| fields[1].ends_with(&port) && fields[3] != "0A");
    ours.map(|fields| u64::from_str_radix(fields[4].split(':').next().unwrap(), 16).unwrap()).sum()
}

/// Reads to the end; how that came.
fn end_of(wire: &Wire) -> Result<usize, ErrorKind> {
    let mut heard = Vec::new();
    wire.stream().read_to_end(&mut heard).map_err(|error| error.kind())
}

#[test]
fn of_what_is_never_read_the_kernel_keeps_nothing() {
    let server = node(IMPATIENT, &[]);
    fs::File::create(server.share().join("endless.bin")).unwrap().set_len(4 << 30).unwrap();
    let ask = |(path, headers, half_closes): (&str, &str, bool)| {
        let mut wire = Wire::narrow(&server);
        wire.say(format!("GET /share/{path} HTTP/1.1\r\nHost: h\r\n{headers}\r\n"));
        if half_closes {
            wire.stream().shutdown(Shutdown::Write).unwrap();
        }
        wire
    };
    let closing = format!("{FITTING}Connection: close\r\n");
    let asked = [
        ("endless.bin", "", false),
        ("file.bin", FITTING, false),
        ("file.bin", FITTING, true),
        ("file.bin", &closing, false),
    ];
    let wires = asked.map(ask);
    wait_until("all are served", 10, || server.metric("evenkeel_http_requests_total", &[]) == wires.len() as f64);
    wait_until("all are given up", 20, || connections(&server) == 0.0);
    assert_eq!(kept_bytes(&server), 0);
    for (wire, asked) in wires.iter().zip(asked) {
        assert_eq!(end_of(wire), Err(ErrorKind::ConnectionReset), "{asked:?}");
    }
    assert_eq!(refusals(&server, "stalled"), wires.len() as f64);
}

#[test]
fn whoever_reads_slowly_gets_all_however_the_connection_ends() {
    let server = node(IMPATIENT, &[]);
    thread::scope(|scope| {
        for (headers, half_closes) in [("", false), ("Connection: close\r\n", false), ("", true)] {
            let mut wire = Wire::narrow(&server);
            wire.say(format!("GET /share/file.bin HTTP/1.1\r\nHost: h\r\n{FITTING}{headers}\r\n"));
            if half_closes {
                wire.stream().shutdown(Shutdown::Write).unwrap();
            }
            // Longer than any of the timeouts, and than the node listens behind its last word.
            scope.spawn(move || {
                let (mut heard, mut bytes) = (0, [0; 2048]);
                while let Ok(count @ 1..) = wire.stream().read(&mut bytes) {
                    heard += count;
                    thread::sleep(Duration::from_millis(60));
                }
                assert!(heard > 100_000, "{heard} with {headers:?}, {half_closes}");
            });
        }
    });
    assert_eq!(refusals(&server, "stalled"), 0.0);
    wait_until("the places are given back", 10, || connections(&server) == 0.0);
}

#[test]
fn a_tls_connection_whose_goodbye_finds_no_room_ends_with_the_others() {
    const CLIENTS: usize = 64;
    let (server, _certificates, ca) = secured(&IMPATIENT.replace("[http]\n", ""));
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_root_certificates(roots).with_no_client_auth());
    // Some of the answers end just where the socket takes no more, which is not the same place each time.
    let deaf: Vec<_> = (0..CLIENTS)
        .map(|index| {
            let tls = ClientConnection::new(config.clone(), "127.0.0.1".try_into().unwrap()).unwrap();
            let mut wire = StreamOwned::new(tls, Wire::narrow(&server).into_stream());
            let last = 96_000 + 1000 * index;
            let ask = format!(
                "GET /share/file.bin HTTP/1.1\r\nHost: h\r\nConnection: close\r\nRange: bytes=0-{last}\r\n\r\n"
            );
            wire.write_all(ask.as_bytes()).unwrap();
            wire
        })
        .collect();
    wait_until("all are served", 20, || server.metric("evenkeel_http_requests_total", &[]) == CLIENTS as f64);
    wait_until("all are given up", 20, || connections(&server) == 0.0);
    assert_eq!((refusals(&server, "stalled"), kept_bytes(&server)), (CLIENTS as f64, 0));
    drop(deaf);
}

#[test]
fn requests_that_are_reset_while_they_wait_for_their_turn_end_at_once() {
    const RESET: usize = 200;
    let node = Signed::start(&[]);
    let server = &node.server;
    // What one does not take helps no other: each waits for minutes.
    let address = node.sign("file.bin", &["--cap", "20"]);
    let ask = |wire: &mut Wire| {
        wire.say(format!("GET {} HTTP/1.1\r\nHost: h\r\n\r\n", node.target(&address)));
    };
    // It has said all that it has to say, and still reads.
    let mut half = Wire::to(server);
    ask(&mut half);
    half.stream().shutdown(Shutdown::Write).unwrap();
    let mut gone: Vec<Wire> = (0..RESET).map(|_| Wire::to(server)).collect();
    for (index, wire) in gone.iter_mut().enumerate() {
        // Of some a second request lies in the socket.
        (0..=index % 2).for_each(|_| ask(wire));
    }
    wait_until("all wait for their turn", 20, || uploads(server) == (RESET + 1) as f64);
    gone.into_iter().for_each(Wire::reset);
    wait_until("only the living is here", 10, || uploads(server) == 1.0 && connections(server) == 1.0);
    let transfers = server.get("/v1/transfers");
    let id = transfers[0]["id"].as_str().unwrap();
    server.ctl(&["set", "transfer", id, "--upload-cap", "off"]).expect_code(0);
    assert_eq!(half.hear(true).body.len(), 1_000_000);
    assert!(half.is_closed());
}

#[test]
fn an_operator_closes_the_idle_connections_of_an_address_that_is_no_peer_any_more() {
    let server = node("", &[]);
    let (mut idle, mut other) = (Wire::to(&server), Wire::from_address(&server, [127, 0, 0, 2].into()));
    for wire in [&mut idle, &mut other] {
        assert_eq!(wire.get("file.bin", "Range: bytes=0-9\r\n").status, 206);
    }
    let nobody = serde_json::Value::Array(Vec::new());
    wait_until("nobody is a peer", 20, || server.get("/v1/peers") == nobody);
    server.ctl(&["disconnect", "http:127.0.0.1"]).expect_code(0);
    assert!(idle.is_closed());
    wait_until("its place is given back", 10, || connections(&server) == 1.0);
    let absent = server.ctl(&["disconnect", "http:127.0.0.1"]).expect_code(1);
    assert!(absent.err().contains("no peer http:127.0.0.1 is here"), "{}", absent.err());
    assert_eq!(other.get("file.bin", "Range: bytes=0-9\r\n").status, 206);
}

/// It was reset only where something lay in the kernel; else it ended like an answer that is whole, which in HTTP/1.0 is one that has no length.
#[test]
fn an_answer_that_an_operator_cuts_short_does_not_end_like_a_whole_one() {
    let server = node("[limits]\nupload = \"100KB/s\"\n", &[]);
    let mut wire = Wire::to(&server);
    wire.say("GET /share/file.bin HTTP/1.0\r\n\r\n");
    let mut buffer = [0; 65536];
    // It takes all that comes, so that nothing is left in the kernel.
    let mut received = wire.stream().read(&mut buffer).unwrap();
    server.ctl(&["disconnect", "http:127.0.0.1"]).expect_code(0);
    let ended = loop {
        match wire.stream().read(&mut buffer) {
            Ok(0) => panic!("it ended in order after {received} bytes"),
            Ok(read) => received += read,
            Err(error) => break error,
        }
    };
    assert_eq!(ended.kind(), ErrorKind::ConnectionReset, "after {received} bytes");
    assert!(received < 1_000_000, "{received}");
}

/// Nor does a listing that can't be gone on with: a walker that speaks HTTP/1.0 took it for all there is.
#[test]
fn a_listing_whose_directory_goes_away_does_not_end_like_a_whole_one() {
    let server = node("[limits]\nupload = \"100KB/s\"\n", &[]);
    let many = server.share().join("many");
    fs::create_dir(&many).unwrap();
    for index in 0..4000 {
        fs::write(many.join(format!("{index:04}-{}", "n".repeat(100))), "").unwrap();
    }
    let mut wire = Wire::to(&server);
    wire.say("GET /share/many/ HTTP/1.0\r\n\r\n");
    assert!(wire.stream().read(&mut [0; 1000]).unwrap() > 0);
    fs::remove_dir_all(&many).unwrap();
    assert_eq!(end_of(&wire), Err(ErrorKind::ConnectionReset));
}

#[test]
fn a_network_of_addresses_is_named_as_one_and_found_by_that_name() {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        eprintln!("there is no IPv6 here: this test says nothing");
        return;
    }
    let server = Server::with_config("", &["--open", "--http", "[::1]:0"]);
    fs::write(server.share().join("file.bin"), vec![0; 1000]).unwrap();
    let mut wire = Wire::from_address(&server, "::1".parse().unwrap());
    assert_eq!(wire.get("file.bin", "").status, 200);
    assert!(server.ctl(&["peers"]).expect_code(0).out().contains("http:::/64"));
    for name in ["http:::/64", "http:::1", "http:::2"] {
        server.ctl(&["explain", name]).expect_code(0);
    }
    server.ctl(&["set", "peer", "http:::/64", "--upload-cap", "1MB/s"]).expect_code(0);
    server.ctl(&["disconnect", "http:::/64"]).expect_code(0);
    assert!(wire.is_closed());
}
