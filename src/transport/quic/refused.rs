//! Whether nothing listens at a UDP port. The host says so by ICMP (RFC 792, RFC 4443), and the kernel tells only a socket that is
//! connected to that port; those for QUIC are not, since one socket serves all nodes.

use std::{future::pending, io, net::SocketAddr, time::Duration};

use tokio::{
    net::UdpSocket,
    time::{sleep, timeout},
};

/// How long whoever is dialled has for his own answer before his host is asked. A first datagram that is lost is sent again after a
/// second; and a simple relay before him may take what comes from another port for another client, and forget the one before.
const PATIENCE: Duration = Duration::from_millis(1500);
/// Between two questions: either may be lost, and hosts say this only so often.
const AGAIN: Duration = Duration::from_secs(1);

/// Completes when the host at `address` says that nothing listens there; never, if it says nothing. It is asked by datagrams without
/// a byte, which no QUIC endpoint answers or counts.
pub(super) async fn refused(address: SocketAddr) {
    sleep(PATIENCE).await;
    match ask(address).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
        // That it cannot be asked says nothing about it.
        _ => pending().await,
    }
}

/// Ends when something is known.
async fn ask(address: SocketAddr) -> io::Result<()> {
    let any: SocketAddr = if address.is_ipv4() { ([0; 4], 0).into() } else { ([0_u16; 8], 0).into() };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(address).await?;
    loop {
        socket.send(&[]).await?;
        if let Ok(heard) = timeout(AGAIN, socket.recv(&mut [0])).await {
            return heard.map(drop);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_where_nothing_listens_is_known_and_one_that_keeps_silent_is_not() {
        for host in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(silent) = UdpSocket::bind(host).await else { continue };
            let address = silent.local_addr().unwrap();
            timeout(PATIENCE + 2 * AGAIN, refused(address)).await.expect_err("somebody listens");
            drop(silent);
            timeout(PATIENCE + 20 * AGAIN, refused(address)).await.expect("nobody listens");
        }
    }
}
