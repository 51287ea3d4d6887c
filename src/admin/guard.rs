//! Who may ask at all, checked before any route: the bearer token, and no browsers on errands for strangers.
//!
//! A web page that an operator happens to visit can make the browser send requests to loopback. Two rules stop it. A request
//! with an `Origin` that is not the API's own is refused: browsers add it to every request that could change something. And
//! on a loopback address the `Host` must be a loopback name: a page that has its own name resolve to 127.0.0.1 (DNS
//! rebinding) is its own origin, but still sends its own name. Neither header can be set by a page.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use actix_web::{
    Error, ResponseError,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::{
        Method,
        header::{self, HeaderMap, HeaderName, HeaderValue},
    },
    middleware::Next,
};
use actors::{log_gate::LogGate, metric::NodeMetrics};

use super::answer::ApiError;

/// Between two lines about refused requests.
const REFUSED_LOG_INTERVAL: Duration = Duration::from_secs(10);

/// What the guard knows.
pub(super) struct Guard {
    token: Option<blake3::Hash>,
    listen: SocketAddr,
    metrics: Arc<NodeMetrics>,
    refused: LogGate,
}

impl Guard {
    /// A guard for a server that listens on `listen`.
    pub(super) fn new(listen: SocketAddr, token: Option<&str>, metrics: Arc<NodeMetrics>) -> Self {
        let token = token.map(|token| blake3::hash(token.as_bytes()));
        Self { token, listen, metrics, refused: LogGate::new(REFUSED_LOG_INTERVAL) }
    }

    fn check(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        let host = host(headers)?;
        if self.listen.ip().is_loopback() && !is_loopback_name(host) {
            return Err(ApiError::foreign(format!("this API is on loopback, and {host:?} is not a name of loopback")));
        }
        let foreign_site = headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site");
        let foreign_origin = headers.get(header::ORIGIN).is_some_and(|origin| !is_own_origin(origin, host));
        if foreign_origin || foreign_site {
            return Err(ApiError::foreign("requests of other origins are refused"));
        }
        match &self.token {
            // Equality of these hashes takes the same time wherever they differ.
            Some(token) if bearer(headers).map(blake3::hash) != Some(*token) => Err(ApiError::unauthorized()),
            _ => Ok(()),
        }
    }

    fn log(&self, request: &Line, status: u16) {
        let Line { method, path, peer, began } = request;
        let peer = peer.map(tracing::field::display);
        let elapsed_us = began.elapsed().as_micros() as u64;
        if status == 401 || status == 403 {
            if let Some(suppressed) = self.refused.open(host::monotonic_nanos()) {
                tracing::warn!(%method, ?path, peer, status, suppressed, "refused a request to the control API");
            }
        } else if *method == Method::GET || *method == Method::HEAD {
            // `ctl`, `top` and watchers ask every second: not news.
            tracing::debug!(%method, ?path, peer, status, elapsed_us, "control API");
        } else {
            tracing::info!(%method, ?path, peer, status, elapsed_us, "control API");
        }
    }
}

/// What the log says of a request; the path is written escaped, and headers never.
struct Line {
    method: Method,
    path: String,
    peer: Option<SocketAddr>,
    began: Instant,
}

/// The middleware: checks, runs the route, counts and logs.
pub(super) async fn guarded<B: MessageBody + 'static>(
    guard: Arc<Guard>,
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let line = Line {
        method: request.method().clone(),
        path: request.path().to_owned(),
        peer: request.peer_addr(),
        began: Instant::now(),
    };
    let mut response = match guard.check(request.headers()) {
        Err(error) => request.into_response(error.error_response()).map_into_right_body(),
        Ok(()) => next.call(request).await?.map_into_left_body(),
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff"));
    let status = response.status();
    guard.metrics.api_request(status.as_str()).increment(1);
    guard.log(&line, status.as_u16());
    Ok(response)
}

fn host(headers: &HeaderMap) -> Result<&str, ApiError> {
    let mut hosts = headers.get_all(header::HOST);
    match (hosts.next().map(HeaderValue::to_str), hosts.next()) {
        (Some(Ok(host)), None) if !host.is_empty() => Ok(host),
        _ => Err(ApiError::invalid("a request names one Host")),
    }
}

fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

/// `localhost`, any of 127.0.0.0/8, `[::1]`, each with or without a port.
fn is_loopback_name(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !host.ends_with(']') => name,
        _ => host,
    };
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn is_own_origin(origin: &HeaderValue, host: &str) -> bool {
    let origin = origin.to_str().unwrap_or_default();
    origin.strip_prefix("http://").is_some_and(|rest| rest.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_loopback() {
        for name in ["localhost", "LocalHost:7490", "127.0.0.1", "127.0.0.1:7490", "127.9.9.9:1", "[::1]", "[::1]:7490"]
        {
            assert!(is_loopback_name(name), "{name}");
        }
        for name in [
            "evil.example",
            "evil.example:7490",
            "127.0.0.1.evil.example",
            "10.0.0.1:7490",
            "[fe80::1]:7490",
            ":",
            "[",
            "localhost.evil:1",
        ] {
            assert!(!is_loopback_name(name), "{name}");
        }
    }

    #[test]
    fn the_own_origin_is_the_host_itself() {
        let own = |origin: &str, host| is_own_origin(&HeaderValue::from_str(origin).unwrap(), host);
        assert!(own("http://127.0.0.1:7490", "127.0.0.1:7490"));
        assert!(!own("http://127.0.0.1:8000", "127.0.0.1:7490"));
        assert!(!own("https://evil.example", "127.0.0.1:7490"));
        assert!(!own("null", "127.0.0.1:7490"));
    }
}
