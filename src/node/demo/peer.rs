//! One demo peer: a real client on a thread of its own, that gets a real file over a loopback socket until it is told to
//! stop.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::Duration,
};

use actors::peer::client::{Command, GetCommand, SessionEvent};

use crate::{
    files::Already,
    identity::StateDir,
    node::{
        Exit, Failure, TransportChoice,
        session::{Client, Wish},
    },
};

use super::cast::Part;

/// A running peer.
pub(super) struct DemoPeer {
    thread: JoinHandle<Result<(), Failure>>,
}

/// Where a peer lives and what it fetches.
#[derive(Clone)]
pub(super) struct Home {
    pub(super) state: StateDir,
    pub(super) endpoint: String,
    pub(super) path: String,
    pub(super) destination: PathBuf,
}

impl DemoPeer {
    /// Starts the peer; it joins when its part says.
    pub(super) fn start(
        part: Part,
        home: Home,
        transport: TransportChoice,
        stop: Arc<AtomicBool>,
    ) -> Result<Self, Failure> {
        let run = move || actix_rt::System::new().block_on(act(part, home, transport, stop));
        let thread = std::thread::Builder::new().name("demo-peer".into()).spawn(run);
        let thread = thread.map_err(|error| Failure::new(Exit::Machine, format!("no thread for a peer: {error}")))?;
        Ok(Self { thread })
    }

    /// Waits for its end.
    pub(super) fn join(self) -> Result<(), Failure> {
        self.thread.join().unwrap_or_else(|_| Err(Failure::new(Exit::Failed, "a demo peer panicked")))
    }
}

async fn act(part: Part, home: Home, transport: TransportChoice, stop: Arc<AtomicBool>) -> Result<(), Failure> {
    tokio::time::sleep(part.joins).await;
    let wish =
        Wish { download: part.reads, asks: Some(part.desired), class: part.class, ..Wish::everything(transport) };
    let client = Client::start(home.state, wish)?;
    let lost = |why: String| Failure::new(Exit::Unreachable, why);
    let (handle, mut events) = client.connect(&home.endpoint).await.map_err(|error| lost(error.to_string()))?;
    loop {
        let event = tokio::time::timeout(Duration::from_millis(100), events.recv()).await;
        if stop.load(Relaxed) {
            handle.command(Command::Leave).await;
            client.settle(Duration::from_secs(1)).await;
            return Ok(());
        }
        match event {
            Ok(Some(SessionEvent::Welcomed(_))) => {
                let (files, destination, remote) = (client.files.clone(), home.destination.clone(), home.path.clone());
                let open = Box::new(move |meta| files.write(&destination, &remote, meta, Already::Nothing));
                let (path, class) = (home.path.clone(), part.class);
                let get = GetCommand { tag: 0, path, resume: None, weight: 1.0, class, open };
                handle.command(Command::Get(get)).await;
            }
            Ok(Some(SessionEvent::Failed { failed, .. })) => {
                return Err(Failure::new(Exit::Failed, format!("a demo peer's get failed: {}", failed.message)));
            }
            Ok(Some(SessionEvent::Refused(refusal))) => {
                return Err(Failure::new(Exit::Refused, format!("a demo peer was refused: {}", refusal.message)));
            }
            Ok(Some(SessionEvent::Ended { why, .. })) => {
                return Err(lost(why.unwrap_or_else(|| "a demo peer's session ended".into())));
            }
            Ok(Some(_)) | Err(_) => {}
            Ok(None) => return Err(lost("a demo peer's session ended".into())),
        }
    }
}
