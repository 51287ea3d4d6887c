//! Dialling a data link: at the port that the node's welcome names, and only for the node that answered at its port for control.

use std::{io, net::SocketAddr, sync::Arc};

use actors::port::{DataLink, DataOffer, LinkError};
use quinn::{Connecting, Connection, ConnectionError, RecvStream, SendStream};
use tokio::net::lookup_host;
use wire::{DataPreface, PeerId, Ways};

use super::{
    super::{
        super::{destination::destination, dialer::two_servers},
        SERVER_NAME,
        arrival::data_link,
        halves::{Receiving, Streams},
        nudge::Nudge,
        refused::refused,
    },
    NOTHING_LISTENS, Target, advise, is_silence, no_socket, now,
};

impl Target {
    /// A link where data can go no other way. Whether the node's ports for data let QUIC through is known once one came; if the first
    /// does not, none will, and dialling the node again helps nobody.
    pub(super) async fn data_alone(&self, offer: DataOffer) -> Result<DataLink, LinkError> {
        let dialled = async {
            let (address, peer) = self.data_address(&offer.endpoint).await?;
            tokio::select! {
                biased;
                dialled = self.data_at(address, peer, offer) => dialled,
                () = refused(address) => Err(self.data_unheard(address)),
            }
        };
        match dialled.await.map_err(advise) {
            Err(LinkError::Lost(error)) if is_silence(error.kind()) && !self.node.has_data_come() => {
                Err(LinkError::Local(error.to_string()))
            }
            dialled => dialled,
        }
    }

    /// A link, or why there is none; the words don't say to try TCP.
    pub(super) async fn data(&self, offer: DataOffer) -> Result<DataLink, LinkError> {
        let (address, peer) = self.data_address(&offer.endpoint).await?;
        self.data_at(address, peer, offer).await
    }

    /// Where data links go that the welcome names `endpoint` for, and who has to be there.
    async fn data_address(&self, endpoint: &str) -> Result<(SocketAddr, PeerId), LinkError> {
        let Some((control, peer)) = self.node.answered() else {
            return Err(LinkError::Local("a data link was dialled before its control link".to_owned()));
        };
        Ok((address_of(endpoint, control).await?, peer))
    }

    async fn data_at(&self, address: SocketAddr, peer: PeerId, offer: DataOffer) -> Result<DataLink, LinkError> {
        #[cfg(feature = "one-connection")]
        let joined = self.joined.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        #[cfg(feature = "one-connection")]
        if let Some(joined) = joined {
            let not_sent = self.config.socket.not_sent_low_water_bytes;
            return super::super::joined::dial(joined, address, peer, offer.token, not_sent).await;
        }
        let DataOffer { token, ways, .. } = offer;
        let dial = || async {
            let socket = self.client.data(address).map_err(no_socket)?;
            let connecting = socket.connect_with(self.node.data_config(ways), address, SERVER_NAME);
            let connecting = connecting.map_err(|error| self.unstarted(&error))?;
            self.show(connecting, DataPreface { token, ways }, peer).await
        };
        let (connection, streams) = self.in_time(dial).await.map_err(|error| match error {
            LinkError::Lost(error) if error.kind() == io::ErrorKind::TimedOut => {
                let what = format!("did not within {} s", self.config.handshake_ms as f64 / 1e3);
                self.without_data(io::ErrorKind::TimedOut, address, &what)
            }
            error => error,
        })?;
        self.node.note_data_came();
        let guard: Box<dyn Send> = Box::new(self.client.count_link());
        let not_sent = self.config.socket.not_sent_low_water_bytes;
        let streams = Streams { nudge: Some(Nudge::new(Arc::clone(&self.node.silence))), ..streams };
        Ok(data_link(connection, ways, streams, address, peer, Some(guard), not_sent))
    }

    /// The node's host says that nothing listens at its port for data, or a firewall says so in its place.
    fn data_unheard(&self, address: SocketAddr) -> LinkError {
        self.without_data(NOTHING_LISTENS, address, "is turned away")
    }

    fn without_data(&self, kind: io::ErrorKind, address: SocketAddr, what: &str) -> LinkError {
        let words = format!(
            "{} answers over QUIC, but its UDP port {} for data {what}: let every firewall between pass the ports that \
             `evenkeel serve` names (`--listen-data` chooses them)",
            self.endpoint,
            address.port()
        );
        LinkError::Lost(io::Error::new(kind, words))
    }

    /// The token goes with the handshake where there is a ticket, and else after it.
    async fn show(
        &self,
        connecting: Connecting,
        preface: DataPreface,
        control: PeerId,
    ) -> Result<(Connection, Streams), LinkError> {
        let DataPreface { ways, .. } = preface;
        let preface = preface.encode();
        let connection = match connecting.into_0rtt() {
            Ok((connection, accepted)) => {
                // The ticket of a control link, with which the first data link comes, is good for no other streams than such a
                // link has: one that carries one way waits for the handshake then.
                let early = now(open(&connection, ways));
                if let Some(mut streams) = early {
                    // Whoever can read it has the key of a session with this node.
                    let written = streams.0.write_all(&preface).await;
                    if accepted.await && written.is_ok() {
                        let streams = streams_of(&connection, ways, streams);
                        return Ok((connection, streams));
                    }
                } else {
                    accepted.await;
                }
                connection
            }
            Err(connecting) => connecting.await.map_err(|error| self.unconnected(&error))?,
        };
        if let Some(error) = connection.close_reason() {
            return Err(self.unconnected(&error));
        }
        // Before the token is sent: it is good for the session, and only its node may see it.
        let data = self.peer(&connection)?;
        if data != control {
            return Err(two_servers(&self.endpoint, &control, &data));
        }
        let mut streams = open(&connection, ways).await.map_err(|error| self.unconnected(&error))?;
        streams.0.write_all(&preface).await.map_err(|error| LinkError::Lost(error.into()))?;
        let streams = streams_of(&connection, ways, streams);
        Ok((connection, streams))
    }
}

/// The stream that begins a data link: bidirectional if it is to carry both ways.
async fn open(connection: &Connection, ways: Ways) -> Result<(SendStream, Option<RecvStream>), ConnectionError> {
    match ways {
        Ways::Both => connection.open_bi().await.map(|(sending, receiving)| (sending, Some(receiving))),
        Ways::Down | Ways::Up => connection.open_uni().await.map(|sending| (sending, None)),
    }
}

/// What the link is made of when its token was shown on that stream. Bytes down come over a stream that the node opens.
fn streams_of(
    connection: &Connection,
    ways: Ways,
    (mut sending, receiving): (SendStream, Option<RecvStream>),
) -> Streams {
    let receiving = receiving.map_or_else(|| Receiving::awaited(connection), Receiving::Stream);
    let sending = match ways {
        Ways::Both | Ways::Up => Some(sending),
        Ways::Down => {
            // An error says that the connection has ended, which the other stream says as well.
            let _ = sending.finish();
            None
        }
    };
    Streams { sending, receiving, further: None, nudge: None }
}

/// Where data links go: `:PORT` is on the machine that answered the control link.
async fn address_of(endpoint: &str, control: SocketAddr) -> Result<SocketAddr, LinkError> {
    let unusable = || LinkError::Local(format!("the node's data endpoint {endpoint:?} is not HOST:PORT"));
    match endpoint.strip_prefix(':') {
        Some(port) => {
            let port = port.parse().map_err(|_| unusable())?;
            // All of it: a link-local address is nothing without its interface.
            let mut address = control;
            address.set_port(port);
            Ok(address)
        }
        None => {
            let found = lookup_host(endpoint).await.ok().and_then(|mut found| found.next());
            found.map(destination).ok_or_else(unusable)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn data_to_a_link_local_address_goes_over_the_interface_of_control() {
        let at = |port| SocketAddr::from(std::net::SocketAddrV6::new("fe80::1".parse().unwrap(), port, 0, 3));
        assert_eq!(address_of(":7401", at(7400)).await.unwrap(), at(7401));
        for none in ["", ":", ":x", ":70000"] {
            assert!(address_of(none, at(7400)).await.is_err(), "{none}");
        }
    }
}
