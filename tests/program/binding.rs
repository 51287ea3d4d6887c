//! What holds a transfer over QUIC, as `explain` says it: the path, or who reads at its end. The kernel knows nothing of either,
//! so the transport has to tell them apart itself.

use std::{net::Ipv4Addr, path::Path, thread, time::Duration};

use evenkeel::{
    identity::{Identity, StateDir},
    node::{
        TransferProgress, TransportChoice,
        errands::{self, Errand, Landing, Manner},
        session::{Client, Wish},
    },
};
use flow::{Class, Rate};

use crate::{
    nat::{Line, Nat},
    path::node_behind,
    support::{Server, noise},
};

/// The node's own limit: ten times what the path carries, or the client reads.
const LIMIT: &str = "10MB/s";
const SLOW: u32 = 1_000_000;
/// More than any of it moves.
const FILE_BYTES: usize = 100_000_000;

/// What `explain` says holds the only transfer.
#[track_caller]
fn await_binding(server: &Server, expected: &str) {
    let state = StateDir::open(Some(Path::new(&server.owner()))).unwrap();
    let id = Identity::load_or_create(&state).unwrap().id();
    let mut last = String::new();
    for _ in 0..200 {
        thread::sleep(Duration::from_millis(100));
        let (status, explanation) = server.api("GET", &format!("/v1/peers/{id}/explain"), None);
        if status != 200 {
            continue;
        }
        let reasons = explanation["reasons"].as_array().unwrap();
        let of_transfer = reasons.iter().find(|reason| reason["subject"] != "peer" && reason["direction"] == "upload");
        last = of_transfer.map(|reason| reason["binding"].as_str().unwrap().to_owned()).unwrap_or_default();
        if last == expected {
            return;
        }
    }
    panic!("{expected} does not become what holds it; it is {last:?}");
}

#[test]
fn explain_names_the_network_where_the_path_carries_less_than_it_may() {
    let (node, near) = (Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 0, 0, 5));
    let (server, control) = node_behind(near, &["--upload-limit", LIMIT]);
    noise(&server.share().join("a.bin"), FILE_BYTES, 1);
    let line = Line { delay: Duration::from_millis(10), bytes_per_second: SLOW };
    let _nat = Nat::at_end_of(line, node.into(), near.into(), &[control, control + 1], node.into());
    let from = format!("{near}:{control}/share/a.bin");
    let _client = server.spawn(&["get", &from, "-o", &server.path("a.bin"), "--transport", "quic"]);
    await_binding(&server, "network");
}

struct Silent;

impl TransferProgress for Silent {
    fn planned(&mut self, _: u64, _: u64) {}
    fn started(&mut self, _: u32, _: &str, _: u64, _: u64) {}
    fn moved(&mut self, _: u32, _: u64) {}
    fn done(&mut self, _: u32) {}
    fn failed(&mut self, _: u32, _: &str) {}
    fn note(&mut self, _: &str) {}
}

/// It asks for as much as possible and reads a tenth of that.
#[test]
fn explain_names_the_receiver_where_the_client_reads_less_than_it_asked_for() {
    let server = Server::start(&["--upload-limit", LIMIT]);
    noise(&server.share().join("a.bin"), FILE_BYTES, 1);
    let (state, endpoint, out) = (server.owner(), server.peers.clone(), server.path("a.bin"));
    // Ends with the process, or when the node does.
    thread::spawn(move || {
        let wish = Wish {
            download: Rate::from_bytes_per_second(SLOW.into()),
            asks: Some(Rate::UNLIMITED),
            ..Wish::everything(TransportChoice::Quic)
        };
        actix_rt::System::new().block_on(async {
            let client = Client::start(StateDir::open(Some(Path::new(&state))).unwrap(), wish).unwrap();
            let landing = Landing::Chosen { file: out.clone().into(), tree: out.into() };
            let errand = Errand::Get { path: "share/a.bin".to_owned(), landing };
            let manner = Manner { weight: 1.0, class: Class::Foreground };
            let _ = errands::run(&client, &endpoint, vec![errand], manner, &mut Silent).await;
        });
    });
    await_binding(&server, "receiver");
}
