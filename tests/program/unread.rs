//! What waits unread at the receiver of a transfer over QUIC, end to end: what the path brought to its socket, less what is in its
//! file. A slow receiver must hold its sender back, not store what it cannot take (seed 000: at most 250 ms of it).

use std::{
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    slice,
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
use flow::{Class, Rate};
use wire::DataLinks;

use crate::{
    nat::{Nat, Seen, Way},
    nobody::Nobody,
    path::free_ports,
    support::{Server, assert_same, noise, wait_until},
};

/// What the receiver takes.
const RATE: u64 = 400_000;
/// Ten seconds.
const BYTES: usize = 10 * RATE as usize;
/// What may wait.
const UNREAD: Duration = Duration::from_millis(250);
/// A node with one data port, and a path to it that writes down what came by.
struct Scene {
    server: Server,
    nat: Nat,
    control: u16,
    endpoint: String,
}

impl Scene {
    fn open(near: u8, args: &[&str]) -> Self {
        let (node, near) = (Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 0, 0, near));
        let control = free_ports([node, near], 2);
        let (listen, data) = (format!("{node}:{control}"), format!("{node}:{}", control + 1));
        let args = [&["--listen", &listen, "--listen-data", &data], args].concat();
        let server = Server::with_config("[node]\nworkers = 1\n", &args);
        let nat = Nat::before(node.into(), near.into(), &[control, control + 1], node.into());
        Self { server, nat, control, endpoint: format!("{near}:{control}") }
    }

    fn run(&self, wish: Wish, errands: Vec<Errand>) {
        actix_rt::System::new().block_on(async {
            let state = StateDir::open(Some(Path::new(&self.server.owner()))).unwrap();
            let client = Client::start(state, wish).unwrap();
            let manner = Manner { weight: 1.0, class: Class::Foreground };
            let all = errands.len();
            let outcome = errands::run(&client, &self.endpoint, errands, manner, &mut Nobody).await;
            assert_eq!(outcome.unwrap().done, all);
            client.settle(Duration::from_secs(2)).await;
        });
    }

    /// Runs `errands` and looks at how long the files that come of them are meanwhile, together.
    fn watched(&self, files: &[PathBuf], wish: Wish, errands: Vec<Errand>) -> Vec<(Instant, u64)> {
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            let watching = scope.spawn(|| {
                let mut looks = Vec::new();
                while !is_over.load(Ordering::Relaxed) {
                    // The time first: what comes between the two counts as unread.
                    let at = Instant::now();
                    if let Some(lens) = files.iter().map(|file| len_so_far(file)).collect::<Option<Vec<_>>>() {
                        looks.push((at, lens.iter().sum()));
                    }
                    thread::sleep(Duration::from_millis(20));
                }
                looks
            });
            self.run(wish, errands);
            is_over.store(true, Ordering::Relaxed);
            watching.join().unwrap()
        })
    }

    /// Of each look, after the first second, what had come and was not in the file.
    fn unread(&self, way: Way, looks: &[(Instant, u64)]) -> Vec<f64> {
        let mut seen = self.nat.seen();
        seen.retain(|seen| seen.way == way && seen.port == self.control + 1);
        // Headers, and what goes along with the data: the same for each datagram, and known when all have come.
        let all: usize = seen.iter().map(|seen| seen.bytes).sum();
        let beside = (all as f64 - BYTES as f64) / seen.len() as f64;
        assert!((20.0..80.0).contains(&beside), "{beside:.1} bytes beside the data in each datagram");
        let begin = seen[0].at + Duration::from_secs(1);
        let came = |until: Instant| -> f64 {
            let until = seen.partition_point(|seen: &Seen| seen.at <= until);
            seen[..until].iter().map(|seen| seen.bytes as f64 - beside).sum()
        };
        let looks = looks.iter().filter(|(at, _)| *at >= begin);
        looks.map(|(at, written)| came(*at) - *written as f64).collect()
    }
}

/// Of a file that comes, under its own name when it is whole; `None`: nothing of it is there.
fn len_so_far(file: &Path) -> Option<u64> {
    let part = format!("{}.part", file.display());
    fs::metadata(part).or_else(|_| fs::metadata(file)).ok().map(|meta| meta.len())
}

/// No more waited than may, what was read and was on its way to the disk counted as well. One look in a hundred may fall into a
/// turn that a busy machine gave late.
#[track_caller]
fn expect_bounded(mut unread: Vec<f64>, rate: f64) {
    assert!(unread.len() > 100, "{} looks", unread.len());
    unread.sort_by(f64::total_cmp);
    let part = |share: f64| unread[(unread.len() as f64 * share) as usize];
    let (middle, most) = (part(0.5), part(0.99));
    println!(
        "unread: {middle:.0} bytes in the middle, {most:.0} in 99 of 100 looks, {:.0} at most",
        unread[unread.len() - 1]
    );
    assert!(middle > 0.0, "more is in the file than came");
    let may = rate * UNREAD.as_secs_f64();
    assert!(most <= may, "{most:.0} bytes wait unread, {may:.0} may");
}

#[test]
fn a_get_whose_client_takes_less_than_it_asked_for_waits_at_the_node() {
    let scene = Scene::open(11, &[]);
    noise(&scene.server.share().join("a"), BYTES, 1);
    let got = scene.server.path("got");
    let landing = Landing::Chosen { file: got.clone().into(), tree: got.clone().into() };
    let rate = Rate::from_bytes_per_second(RATE);
    let everything = Wish::everything(TransportChoice::Quic);
    let wish = Wish { download: rate, asks: Some(Rate::from_bytes_per_second(100 * RATE)), ..everything };
    let errand = Errand::Get { path: "share/a".into(), landing };
    let looks = scene.watched(&[got.clone().into()], wish, vec![errand]);
    assert_same(scene.server.share().join("a"), &got);
    expect_bounded(scene.unread(Way::Down, &looks), RATE as f64);
}

/// Each link could let as much wait as one does alone.
#[test]
fn what_waits_of_gets_over_several_links_is_no_more_together() {
    const LINKS: u32 = 4;
    let scene = Scene::open(13, &[]);
    let (mut files, mut errands) = (Vec::new(), Vec::new());
    for index in 0..LINKS {
        noise(&scene.server.share().join(index.to_string()), BYTES / LINKS as usize, index.into());
        let file = PathBuf::from(scene.server.path(&format!("{index}.got")));
        let landing = Landing::Chosen { file: file.clone(), tree: file.clone() };
        errands.push(Errand::Get { path: format!("share/{index}"), landing });
        files.push(file);
    }
    let wish = Wish {
        download: Rate::from_bytes_per_second(RATE),
        asks: Some(Rate::from_bytes_per_second(100 * RATE)),
        data_links: DataLinks { both: 1, down: LINKS - 1, up: 0 },
        ..Wish::everything(TransportChoice::Quic)
    };
    let looks = scene.watched(&files, wish, errands);
    for (index, file) in files.iter().enumerate() {
        assert_same(scene.server.share().join(index.to_string()), file);
    }
    expect_bounded(scene.unread(Way::Down, &looks), RATE as f64);
}

/// The node grants each of two peers all that it has, and gives each a half.
#[test]
fn a_put_that_shares_a_node_with_another_waits_at_its_client() {
    let limit = (2 * RATE).to_string();
    let scene = Scene::open(12, &["--download-limit", &limit]);
    let (goes, other) = (scene.server.path("goes"), scene.server.path("other"));
    noise(Path::new(&goes), BYTES, 1);
    noise(Path::new(&other), 4 * BYTES, 2);
    let state = scene.server.stranger("other");
    let id =
        evenkeel::identity::Identity::load_or_create(&StateDir::open(Some(Path::new(&state))).unwrap()).unwrap().id();
    fs::write(Path::new(&scene.server.owner()).join("authorized_peers"), format!("{id} read,write\n")).unwrap();
    wait_until("the rights are in force", 10, || {
        scene.server.run_as("other", &["ls", &scene.server.at("")]).status.success()
    });
    let _neighbour = scene.server.spawn_as("other", &["put", &other, &scene.server.at("other"), "--transport", "quic"]);
    let part = scene.server.share().join("other.part");
    wait_until("the neighbour's put runs", 20, || fs::metadata(&part).is_ok_and(|meta| meta.len() > RATE));
    let errand = Errand::Put { local: goes.clone().into(), path: "share/goes".into() };
    let gone = scene.server.share().join("goes");
    let looks = scene.watched(slice::from_ref(&gone), Wish::everything(TransportChoice::Quic), vec![errand]);
    assert_same(&goes, gone);
    expect_bounded(scene.unread(Way::Up, &looks), RATE as f64);
}
