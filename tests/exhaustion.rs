//! A machine that runs out of descriptors: the listener pauses, never spins, and goes on when some are free again.
//!
//! Alone in its file, since the limit is the whole process's.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use actors::port::{ControlLink, DataArrival, Front, LinkFault};
use evenkeel::transport::{Credentials, ListenConfig, Listener};
use rcgen::{KeyPair, PKCS_ED25519};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    net::TcpStream,
    time::{sleep, timeout},
};
use wire::{Refusal, Token};

/// Counts admissions; nothing gets further.
#[derive(Default)]
struct Door(AtomicUsize);

impl Door {
    async fn admitted(&self, connections: usize) {
        let waiting = async {
            while self.0.load(Ordering::SeqCst) < connections {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(10), waiting).await.expect("an admission in time");
    }
}

impl Front for Door {
    fn workers(&self) -> usize {
        1
    }
    fn run_on(&self, _index: usize, _job: Box<dyn FnOnce() + Send>) {}
    fn route(&self, _token: &Token) -> Option<usize> {
        None
    }
    fn admit(&self, _address: SocketAddr) -> Result<Box<dyn Send>, &'static str> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(Box::new(()))
    }
    fn may_come(&self, _address: SocketAddr) -> Result<(), &'static str> {
        Ok(())
    }
    fn hears_early(&self, _unproven: usize) -> bool {
        true
    }
    fn control(&self, _link: ControlLink) {}
    fn data(&self, _arrival: DataArrival) -> Result<(), Refusal> {
        Ok(())
    }
    fn fault(&self, _address: SocketAddr, _fault: LinkFault) {}
}

#[tokio::test]
async fn without_descriptors_the_listener_waits_and_then_goes_on() {
    let key = KeyPair::generate_for(&PKCS_ED25519).unwrap().serialize_der();
    let credentials = Credentials::generate_from_pkcs8(&key).unwrap();
    let door = Arc::new(Door::default());
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let listener = Listener::bind(any, Arc::<Door>::clone(&door), &credentials, ListenConfig::default()).unwrap();
    let address = listener.local_addr().unwrap();
    let accepting = tokio::spawn(listener.run());

    let first = TcpStream::connect(address).await.unwrap();
    door.admitted(1).await;
    // The client's socket is made first, then the lid goes on, then it connects: the accepting side has no descriptor left.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    let before = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(3), maximum: before.maximum }).unwrap();
    let cpu_ns = host::process_cpu_nanos();
    let second = socket.connect(address).await.unwrap();
    sleep(Duration::from_millis(500)).await;
    let spent_ms = (host::process_cpu_nanos() - cpu_ns) / 1_000_000;
    assert_eq!(door.0.load(Ordering::SeqCst), 1);
    assert!(!accepting.is_finished());
    assert!(spent_ms < 100, "{spent_ms} ms of CPU while there was nothing to do");

    setrlimit(Resource::Nofile, before).unwrap();
    door.admitted(2).await;
    drop((first, second));
    accepting.abort();
}
