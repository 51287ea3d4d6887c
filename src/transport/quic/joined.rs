//! The benchmark build with one connection for control and data (feature `one-connection`), to see what a second socket is good
//! for: data links are streams of the control connection. Never for use.

use std::{net::SocketAddr, sync::Arc};

use actors::port::{DataArrival, DataLink, LinkError};
use quinn::Connection;
use wire::{DataPreface, PeerId, Token};

use super::{
    arrival::{data_link, read_token},
    listener::Reception,
};

/// The node's side: every further stream of `connection` is a data link.
pub(super) async fn take_data(connection: Connection, address: SocketAddr, peer: PeerId, reception: Arc<Reception>) {
    while let Ok(mut streams) = connection.accept_bi().await {
        let Ok(token) = read_token(&mut streams.1).await else { continue };
        let not_sent = reception.config.not_sent_bytes;
        let link = data_link(connection.clone(), streams, address, peer, None, not_sent);
        let _ = reception.front.data(DataArrival { token, link });
    }
}

/// The client's side: one more stream.
pub(super) async fn dial(
    connection: Connection,
    address: SocketAddr,
    peer: PeerId,
    token: Token,
    not_sent_bytes: u32,
) -> Result<DataLink, LinkError> {
    let mut streams = connection.open_bi().await.map_err(|error| LinkError::Lost(error.into()))?;
    streams.0.write_all(&DataPreface { token }.encode()).await.map_err(|error| LinkError::Lost(error.into()))?;
    Ok(data_link(connection, streams, address, peer, None, not_sent_bytes))
}
