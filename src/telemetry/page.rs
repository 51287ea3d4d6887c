//! The metrics page: `GET /metrics` on its own port, from a thread of its own.
//!
//! A plain blocking server on purpose: it shares nothing with the runtimes whose stalls it must be able to show. (The
//! exporter's own listener spins when descriptors run out, takes connections without bound and does not tell which port it
//! got.)

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use socket2::SockRef;

use super::Metrics;

/// Scrapes at the same time; further ones are turned away. One Prometheus needs one, a pair two, a curious operator more.
const SCRAPES_MAX: usize = 8;
/// A request and its answer take at most this long: a scraper that stalls frees its place before the next scrape.
const SCRAPE_MS_MAX: u64 = 5_000;
/// Request line and headers; Prometheus sends about 300 bytes.
const REQUEST_BYTES_MAX: usize = 8 * 1024;
/// Between upkeeps when nobody scrapes: at 10,000 peers per round, some 10 MB of observations.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(2);

/// Why the page could not be served.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// Another program, or another node, has the port.
    #[error("metrics: {0} is already in use; choose another address with --metrics")]
    InUse(SocketAddr),
    /// Anything else.
    #[error("metrics: cannot listen on {0}: {1}")]
    Listen(SocketAddr, #[source] io::Error),
}

/// The page being served. Dropping it stops the thread.
pub struct MetricsPage {
    address: SocketAddr,
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl MetricsPage {
    /// Listens on `address` (port 0: any) and serves `metrics` there.
    pub fn bind(address: SocketAddr, metrics: Metrics) -> Result<Self, PageError> {
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::AddrInUse => PageError::InUse(address),
            _ => PageError::Listen(address, error),
        };
        let listener = TcpListener::bind(address).map_err(failed)?;
        let bound = listener.local_addr().map_err(failed)?;
        // A listener's receive timeout is accept's: it wakes the thread for upkeep.
        SockRef::from(&listener).set_read_timeout(Some(UPKEEP_INTERVAL)).map_err(failed)?;
        let stopped = Arc::new(AtomicBool::new(false));
        let thread = thread::Builder::new()
            .name("metrics".to_owned())
            .spawn({
                let stopped = Arc::clone(&stopped);
                move || accept(&listener, &metrics, &stopped)
            })
            .map_err(failed)?;
        Ok(Self { address: bound, stopped, thread: Some(thread) })
    }

    /// Where the page really is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for MetricsPage {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        // Wakes accept; when even that fails, its timeout does.
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_millis(200));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn accept(listener: &TcpListener, metrics: &Metrics, stopped: &AtomicBool) {
    let scrapes = Arc::new(AtomicUsize::new(0));
    let mut kept_up = Instant::now();
    while !stopped.load(Ordering::Relaxed) {
        match listener.accept() {
            Ok((stream, _)) => serve(stream, metrics, &scrapes),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // Out of descriptors, most likely: give others time to close theirs.
            Err(_) => thread::sleep(Duration::from_millis(100)),
        }
        if kept_up.elapsed() >= UPKEEP_INTERVAL {
            metrics.upkeep();
            kept_up = Instant::now();
        }
    }
}

/// A place among the scrapes, given back on drop.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(scrapes: &Arc<AtomicUsize>) -> Option<Self> {
        let place = Self(Arc::clone(scrapes));
        (scrapes.fetch_add(1, Ordering::Relaxed) < SCRAPES_MAX).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn serve(mut stream: TcpStream, metrics: &Metrics, scrapes: &Arc<AtomicUsize>) {
    let Some(place) = Place::take(scrapes) else {
        let _ = stream.write_all(&response("503 Service Unavailable", TEXT, "too many scrapes\n", false));
        return;
    };
    let metrics = metrics.clone();
    // A failed spawn drops the connection; the next scrape tries again.
    let _ = thread::Builder::new().name("scrape".to_owned()).spawn(move || {
        let _place = place;
        let _ = answer(stream, &metrics);
    });
}

const TEXT: &str = "text/plain; charset=utf-8";
const EXPOSITION: &str = "text/plain; version=0.0.4; charset=utf-8";

fn answer(mut stream: TcpStream, metrics: &Metrics) -> io::Result<()> {
    let deadline = Instant::now() + Duration::from_millis(SCRAPE_MS_MAX);
    stream.set_write_timeout(Some(Duration::from_millis(SCRAPE_MS_MAX)))?;
    let response = match read_head(&mut stream, deadline)? {
        None => response("400 Bad Request", TEXT, "this is a metrics page: GET /metrics\n", false),
        Some(head) => route(&head, metrics),
    };
    stream.write_all(&response)?;
    stream.shutdown(std::net::Shutdown::Write)
}

fn route(head: &str, metrics: &Metrics) -> Vec<u8> {
    let mut words = head.split_ascii_whitespace();
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let path = target.split('?').next().unwrap_or_default();
    match (method, path) {
        ("GET" | "HEAD", "/metrics") => response("200 OK", EXPOSITION, &metrics.render(), method == "HEAD"),
        ("GET" | "HEAD", "/") => response("200 OK", TEXT, "Evenkeel metrics: GET /metrics\n", method == "HEAD"),
        ("GET" | "HEAD", _) => response("404 Not Found", TEXT, "only /metrics is here\n", method == "HEAD"),
        _ => response("405 Method Not Allowed", TEXT, "only GET is answered here\n", false),
    }
}

/// Everything up to the empty line; `None` when it is no HTTP or longer than its limit.
fn read_head(stream: &mut TcpStream, deadline: Instant) -> io::Result<Option<String>> {
    let mut head = Vec::new();
    let mut piece = [0; 1024];
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        if head.len() > REQUEST_BYTES_MAX {
            return Ok(None);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut piece)? {
            0 => return Ok(None),
            read => head.extend_from_slice(&piece[..read]),
        }
    }
    Ok(String::from_utf8(head).ok().filter(|head| head.lines().next().is_some_and(|line| line.contains(" HTTP/1."))))
}

fn response(status: &str, content_type: &str, body: &str, head_only: bool) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\
         X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let mut bytes = head.into_bytes();
    if !head_only {
        bytes.extend_from_slice(body.as_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> (MetricsPage, metrics_exporter_prometheus::PrometheusRecorder) {
        let (metrics, recorder) = Metrics::local();
        (MetricsPage::bind("127.0.0.1:0".parse().unwrap(), metrics).unwrap(), recorder)
    }

    fn ask(page: &MetricsPage, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(page.address()).unwrap();
        stream.write_all(request).unwrap();
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer
    }

    #[test]
    fn a_scrape_gets_the_page() {
        let (page, recorder) = page();
        let node = metrics::with_local_recorder(&recorder, actors::metric::NodeMetrics::register);
        node.joins.increment(7);
        let url = format!("http://{}/metrics", page.address());
        let mut answer = ureq::get(&url).call().unwrap();
        assert_eq!(answer.headers()["content-type"], EXPOSITION);
        let body = answer.body_mut().read_to_string().unwrap();
        assert!(body.contains("evenkeel_joins_total 7\n"), "{body}");
    }

    #[test]
    fn anything_else_is_told_so() {
        let (page, _recorder) = page();
        let status = |request: &[u8]| ask(&page, request).lines().next().unwrap_or_default().to_owned();
        assert_eq!(status(b"GET /nothing HTTP/1.1\r\n\r\n"), "HTTP/1.1 404 Not Found");
        assert_eq!(status(b"DELETE /metrics HTTP/1.1\r\n\r\n"), "HTTP/1.1 405 Method Not Allowed");
        assert_eq!(status(b"EVKLDAT1 nonsense\r\n\r\n"), "HTTP/1.1 400 Bad Request");
        assert_eq!(status(b"\xff\xfe HTTP/1.1\r\n\r\n"), "HTTP/1.1 400 Bad Request");
        assert!(ask(&page, b"HEAD /metrics HTTP/1.1\r\n\r\n").ends_with("\r\n\r\n"));
    }

    #[test]
    fn a_silent_crowd_is_bounded_and_does_not_stop_it() {
        let (page, _recorder) = page();
        let silent: Vec<_> = (0..SCRAPES_MAX).map(|_| TcpStream::connect(page.address()).unwrap()).collect();
        let refused = ask(&page, b"");
        assert!(refused.starts_with("HTTP/1.1 503"), "{refused}");
        drop(silent);
        let deadline = Instant::now() + Duration::from_secs(10);
        while !ask(&page, b"GET / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 200") {
            assert!(Instant::now() < deadline, "places are given back");
            thread::sleep(Duration::from_millis(20));
        }
    }

    #[test]
    fn a_taken_port_is_named() {
        let (page, _recorder) = page();
        let (metrics, _other) = Metrics::local();
        let error = MetricsPage::bind(page.address(), metrics).err().unwrap();
        assert!(error.to_string().contains("already in use; choose another address with --metrics"), "{error}");
    }

    #[test]
    fn dropping_it_frees_the_port() {
        let (page, _recorder) = page();
        let address = page.address();
        drop(page);
        TcpListener::bind(address).unwrap();
    }
}
