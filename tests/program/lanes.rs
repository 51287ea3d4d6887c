//! Control before data on a node's two sockets, seen from outside.

use std::{
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use actors::peer::client::{Command, SessionEvent};
use evenkeel::{
    identity::StateDir,
    node::{
        TransportChoice,
        session::{Client, Wish},
    },
};

use crate::support::{Server, noise};

/// Some thousand pings, of which one that finds the node reading data is enough.
const PATIENCE: Duration = Duration::from_secs(30);

/// DESIGN 4, seed 000: a data socket is not read while the control socket is readable.
#[test]
fn data_is_not_read_while_control_waits() {
    let room = Arc::new(tempfile::tempdir().unwrap());
    let share = room.path().join("share");
    fs::create_dir(&share).unwrap();
    let config = "[sessions]\ncontrol_frames_per_second = 100000\n[[share]]\nname = \"share\"\nwritable = true\n";
    fs::write(room.path().join("evenkeel.toml"), format!("{config}path = \"{}\"\n", share.display())).unwrap();
    let told = ["env", "EVENKEEL_LOG=info,evenkeel::transport=trace"];
    let server = Server::start_under(&told, room, &["--config", "evenkeel.toml", "--download-limit", "10MB/s"]);
    let file = server.path("file");
    noise(Path::new(&file), 400_000_000, 1);
    // For longer than anybody waits.
    let _putting = server.spawn(&["put", &file, &server.at("file"), "--transport", "quic"]);
    actix_rt::System::new().block_on(async {
        let state = StateDir::open(Some(Path::new(&server.path("pinging")))).unwrap();
        let owner = StateDir::open(Some(Path::new(&server.owner()))).unwrap();
        fs::copy(owner.join("key.pem"), state.join("key.pem")).unwrap();
        let client = Client::start(state, Wish::everything(TransportChoice::Quic)).unwrap();
        let (session, mut events) = client.connect(&server.peers).await.unwrap();
        let began = Instant::now();
        let mut pings = 0;
        while !server.words().contains("data steps back") {
            assert!(began.elapsed() < PATIENCE, "{pings} pings, and data never stepped back");
            for _ in 0..100 {
                session.command(Command::Ping).await;
                while !matches!(events.recv().await.expect("the session ended"), SessionEvent::Pong(_)) {}
                pings += 1;
            }
        }
        println!("after {pings} pings");
    });
}
