//! The benchmark build with one connection for control and data (feature `one-connection`), to see what a second socket is good
//! for: data links are streams of the control connection. Never for use.

use std::{net::SocketAddr, sync::Arc};

use actors::port::{DataArrival, DataLink, LinkError};
use quinn::Connection;
use wire::{DataPreface, PeerId, Token, Ways};

use super::{
    arrival::{data_link, read_preface},
    halves::{Receiving, Streams},
    listener::Reception,
};

/// The node's side: every further stream of `connection` is a data link.
pub(super) async fn take_data(connection: Connection, address: SocketAddr, peer: PeerId, reception: Arc<Reception>) {
    while let Ok((sending, mut receiving)) = connection.accept_bi().await {
        let Ok(DataPreface { token, ways }) = read_preface(&mut receiving).await else { continue };
        let not_sent = reception.config.not_sent_bytes;
        let streams =
            Streams { sending: Some(sending), receiving: Receiving::Stream(receiving), further: None, nudge: None };
        let link = data_link(connection.clone(), ways, streams, address, peer, None, not_sent);
        let _ = reception.front.data(DataArrival { token, link });
    }
}

/// The client's side: one more stream, for both ways.
pub(super) async fn dial(
    connection: Connection,
    address: SocketAddr,
    peer: PeerId,
    token: Token,
    not_sent_bytes: u32,
) -> Result<DataLink, LinkError> {
    let (mut sending, receiving) = connection.open_bi().await.map_err(|error| LinkError::Lost(error.into()))?;
    let ways = Ways::Both;
    sending.write_all(&DataPreface { token, ways }.encode()).await.map_err(|error| LinkError::Lost(error.into()))?;
    let streams =
        Streams { sending: Some(sending), receiving: Receiving::Stream(receiving), further: None, nudge: None };
    Ok(data_link(connection, ways, streams, address, peer, None, not_sent_bytes))
}
