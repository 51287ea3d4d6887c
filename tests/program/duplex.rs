//! Both directions at once, in one session: a file comes while another goes.

use std::{
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use evenkeel::{
    identity::StateDir,
    node::{
        TransportChoice,
        errands::{self, Errand, Landing, Manner},
        session::{Client, Wish},
    },
};
use flow::Class;
use wire::DataLinks;

use crate::{
    nobody::Nobody,
    support::{Server, assert_same, noise, transport},
};

/// Some three seconds each way.
const BYTES: usize = 6_000_000;

#[test]
fn a_get_and_a_put_at_once_share_one_data_link_and_both_arrive() {
    a_get_and_a_put_at_once(DataLinks::both(1));
}

#[test]
fn a_get_and_a_put_at_once_have_a_link_each_that_carries_one_way() {
    a_get_and_a_put_at_once(DataLinks { both: 0, down: 1, up: 1 });
}

fn a_get_and_a_put_at_once(data_links: DataLinks) {
    let server =
        Server::with_config("[node]\nworkers = 1\n", &["--upload-limit", "2MB/s", "--download-limit", "2MB/s"]);
    noise(&server.share().join("comes"), BYTES, 1);
    let (goes, came) = (server.path("goes"), server.path("came"));
    noise(Path::new(&goes), BYTES, 2);
    let choice = if transport() == "quic" { TransportChoice::Quic } else { TransportChoice::Tcp };
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let watching = scope.spawn(|| both_under_way(&server, data_links, &is_over));
        actix_rt::System::new().block_on(async {
            let state = StateDir::open(Some(Path::new(&server.owner()))).unwrap();
            let wish = Wish { data_links, ..Wish::everything(choice) };
            let client = Client::start(state, wish).unwrap();
            let landing = Landing::Chosen { file: came.clone().into(), tree: came.clone().into() };
            let get = Errand::Get { path: "share/comes".into(), landing };
            let put = Errand::Put { local: goes.clone().into(), path: "share/goes".into() };
            let manner = Manner { weight: 1.0, class: Class::Foreground };
            let outcome = errands::run(&client, &server.peers, vec![get, put], manner, &mut Nobody).await;
            is_over.store(true, Ordering::Relaxed);
            assert_eq!(outcome.unwrap().done, 2);
            client.settle(Duration::from_secs(2)).await;
        });
        let looks = watching.join().unwrap();
        assert!(looks >= 5, "both went on at once in {looks} looks");
    });
    assert_same(server.share().join("comes"), &came);
    assert_same(&goes, server.share().join("goes"));
    assert_eq!(server.metric("evenkeel_joins_total", &[]), 1.0, "one session");
    for direction in ["upload", "download"] {
        let labels = [format!("direction=\"{direction}\""), format!("transport=\"{}\"", transport())];
        let moved = server.metric("evenkeel_payload_bytes_total", &labels.each_ref().map(String::as_str));
        assert_eq!(moved, BYTES as f64, "{direction}");
    }
}

/// In how many looks both transfers had moved bytes since the look before, over these data links.
fn both_under_way(server: &Server, data_links: DataLinks, is_over: &AtomicBool) -> usize {
    let (mut looks, mut before) = (0, [0; 2]);
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_over.load(Ordering::Relaxed) && Instant::now() < deadline {
        let transfers = server.get("/v1/transfers");
        let offset = |direction: &str| {
            let of = |row: &&serde_json::Value| row["direction"] == direction;
            transfers.as_array().unwrap().iter().find(of).map_or(0, |row| row["offset"].as_u64().unwrap())
        };
        let now = [offset("upload"), offset("download")];
        if now[0] > before[0] && now[1] > before[1] {
            looks += 1;
            let connections = 1.0 + f64::from(data_links.all());
            assert_eq!(server.metric("evenkeel_connections", &[]), connections, "control, and the links for data");
            for direction in ["upload", "download"] {
                let open = server.metric("evenkeel_links", &[&format!("direction=\"{direction}\"")]);
                assert_eq!(open, 1.0, "one carries each way");
            }
        }
        before = now;
        thread::sleep(Duration::from_millis(100));
    }
    looks
}
