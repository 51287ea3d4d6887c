//! The values that labels have. There is a handle for each, and `other` for what is none of them.

use wire::FailureCode;

/// Why sessions end. [`NodeMetrics::leave`](super::NodeMetrics::leave) takes one of these; anything else counts as `other`.
pub(super) const LEAVE_REASONS: &[&str] =
    &["clean", "drained", "disconnected", "lost", "timed_out", "violation", "refused", "panic", "other"];

/// Why links and hellos are turned away: the link faults, the refusal codes, admission. Anything else counts as `other`.
pub(super) const REFUSAL_REASONS: &[&str] = &[
    "magic",
    "tls",
    "handshake_timeout",
    "token",
    "lost",
    "plaintext",
    "unproven",
    "stray", // before there is a session
    "connections",
    "per_address",
    "draining", // admission
    "version",
    "unauthorized",
    "full",
    "busy",
    "malformed",
    "timeout",
    "rate_limited",
    "bad_token",
    "internal", // hello
    "request_line",
    "headers",
    "header_timeout",
    "smuggling",
    "method",
    "body",
    "target",
    "http_version",
    "http2",
    "tls_on_plain",
    "ranges",
    "terms",
    "stalled", // HTTP
    "other",
];

pub(super) const OUTCOMES: &[&str] = &["stored", "sent", "heads", "failed", "cancelled", "lost", "other"];
/// The codes of the protocol, in its order.
pub(super) const FAILURES: &[&str] = &{
    let mut codes = ["other"; FailureCode::ALL.len() + 1];
    let mut index = 0;
    while index < FailureCode::ALL.len() {
        codes[index] = FailureCode::ALL[index].as_str();
        index += 1;
    }
    codes
};
pub(super) const CAUSES: &[&str] = &["tick", "early", "order", "other"];
pub(super) const STATUSES: &[&str] =
    &["200", "202", "204", "400", "401", "403", "404", "405", "408", "409", "413", "415", "431", "500", "503", "other"];
pub(super) const HTTP_STATUSES: &[&str] = &[
    "200", "206", "301", "304", "400", "403", "404", "405", "408", "412", "414", "416", "429", "431", "500", "503",
    "505", "other",
];
pub(super) const OPERATIONS: &[&str] = &["open", "read", "write", "hash", "finish", "other"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::port::LinkFault;

    #[test]
    fn every_fault_of_a_link_is_counted_under_its_name() {
        for fault in LinkFault::ALL {
            assert!(REFUSAL_REASONS.contains(&fault.as_str()), "{fault:?}");
        }
    }
}
