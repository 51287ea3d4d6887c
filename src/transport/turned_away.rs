//! Connections that are not admitted, and what they are told: one TLS alert, since whoever dials expects TLS and nothing was
//! read of them. TLS has no alert for this, so the code is one that it left unassigned; others take any alert for a no. Over
//! QUIC the alert is the error with which the connection is closed ([`super::quic`]).

use std::io;

use rustls::AlertDescription;
use tokio::net::TcpStream;

use super::farewell::Farewells;

/// Reason of a front's refusal, its alert, and what it means for a person, behind the endpoint.
const REASONS: [(&str, u8, &str); 3] = [
    ("draining", 240, "is going down and takes no new connections; try again later"),
    ("connections", 241, "has as many connections as it takes; try again later"),
    ("per_address", 242, "has as many connections from this address as it takes"),
];

/// Tells `stream` the front's `reason`, if it is one of those and somebody may still be told.
pub(super) fn tell(farewells: &Farewells, stream: TcpStream, reason: &str) {
    let Some((code, _)) = alert(reason) else { return };
    if let Some(farewell) = farewells.turn() {
        // An alert record of TLS 1.2's number, as all are; fatal.
        farewell.say(stream, [21, 3, 3, 0, 2, 2, code]);
    }
}

/// What a failed handshake says of the node's reason; `None` when it failed otherwise.
pub(super) fn why(error: &io::Error) -> Option<&'static str> {
    let error = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    let rustls::Error::AlertReceived(AlertDescription::Unknown(code)) = error else { return None };
    words(*code)
}

/// The alert for a front's `reason`, and its words.
pub(super) fn alert(reason: &str) -> Option<(u8, &'static str)> {
    REASONS.iter().find(|(known, ..)| *known == reason).map(|(_, code, words)| (*code, *words))
}

/// What the alert `code` means for a person.
pub(super) fn words(code: u8) -> Option<&'static str> {
    REASONS.iter().find(|(_, known, _)| *known == code).map(|(.., words)| *words)
}
