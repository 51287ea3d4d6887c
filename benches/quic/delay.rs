//! A line of some length in user space: datagrams and bytes come out later than they went in. It stands at an address of its
//! own with the ports of what is behind it, so that a node's answers about ports hold.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use crate::measure::Outcome;

/// Where the line begins; the node is at 127.0.0.1.
pub(crate) const NEAR: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// Pieces on their way.
const ON_THEIR_WAY_MAX: usize = 65_536;

/// Relays datagrams to and from `port` of the node. One client at a time.
pub(crate) fn datagrams(port: u16, one_way: Duration) -> Outcome<()> {
    let near = Arc::new(UdpSocket::bind((NEAR, port))?);
    let far = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?);
    far.connect((Ipv4Addr::LOCALHOST, port))?;
    let client = Arc::new(std::sync::Mutex::new(None::<SocketAddr>));
    let (inward, outward) = (near.clone(), far.clone());
    let up = later(one_way, move |bytes| outward.send(bytes).is_ok());
    let answered = client.clone();
    let down = later(one_way, move |bytes| {
        let to = answered.lock().ok().and_then(|client| *client);
        to.is_some_and(|to| inward.send_to(bytes, to).is_ok())
    });
    thread::spawn(move || {
        let mut room = vec![0; 65_536];
        while let Ok((len, from)) = near.recv_from(&mut room) {
            if let Ok(mut client) = client.lock() {
                *client = Some(from);
            }
            let _ = up.send((Instant::now(), room[..len].to_vec()));
        }
    });
    thread::spawn(move || {
        let mut room = vec![0; 65_536];
        while let Ok(len) = far.recv(&mut room) {
            let _ = down.send((Instant::now(), room[..len].to_vec()));
        }
    });
    Ok(())
}

/// Relays connections to `port` of the node. The kernel answers for a relay at once, so the round trip of TCP's own handshake
/// is added to the first bytes.
pub(crate) fn connections(port: u16, one_way: Duration) -> Outcome<()> {
    let near = TcpListener::bind((NEAR, port))?;
    thread::spawn(move || {
        for client in near.incoming().flatten() {
            let _ = carry(client, port, one_way);
        }
    });
    Ok(())
}

fn carry(client: TcpStream, port: u16, one_way: Duration) -> Outcome<()> {
    let node = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    let opened = Instant::now() + 2 * one_way;
    for (mut from, mut to, not_before) in
        [(client.try_clone()?, node.try_clone()?, opened), (node, client, Instant::now())]
    {
        to.set_nodelay(true)?;
        let out = later(one_way, move |bytes| to.write_all(bytes).is_ok());
        thread::spawn(move || {
            let mut room = vec![0; 65_536];
            while let Ok(len @ 1..) = from.read(&mut room) {
                let _ = out.send((Instant::now().max(not_before), room[..len].to_vec()));
            }
        });
    }
    Ok(())
}

/// A thread that sends each piece `one_way` after it came, in order.
fn later(
    one_way: Duration,
    mut send: impl FnMut(&[u8]) -> bool + Send + 'static,
) -> mpsc::SyncSender<(Instant, Vec<u8>)> {
    let (queue, waiting) = mpsc::sync_channel::<(Instant, Vec<u8>)>(ON_THEIR_WAY_MAX);
    thread::spawn(move || {
        for (came, bytes) in waiting {
            thread::sleep((came + one_way).saturating_duration_since(Instant::now()));
            send(&bytes);
        }
    });
    queue
}
