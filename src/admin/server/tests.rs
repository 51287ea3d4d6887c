//! The API over real HTTP, with a console that remembers what it was told.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    sync::Mutex,
};

use actors::{
    port::{OperateError, PortFuture},
    view::{
        Change, Explanation, GroupView, LimitView, LimitsPatch, LimitsView, NodePatch, PeerView, Reason, StatusView,
        TransferView,
    },
};
use serde_json::{Value, json};

use super::*;

const PEER: &str = "aaaaaabbbbbb";
const TOKEN: &str = "correct horse battery staple";

/// Knows one peer, transfer and group; refuses a weight of 13 as a conflict and a weight of 7 as nonsense.
#[derive(Default)]
struct Fake {
    orders: Mutex<Vec<String>>,
}

impl Fake {
    fn order<T: Default + Send + 'static>(
        &self,
        known: &str,
        id: &str,
        patch: &NodePatch,
    ) -> PortFuture<Result<T, OperateError>> {
        let answer = match patch.weight.0.flatten() {
            _ if id != known => Err(OperateError::NotFound(format!("nothing has the id {id}"))),
            Some(13.0) => Err(OperateError::Conflict("the floor is above the cap".to_owned())),
            Some(7.0) => Err(OperateError::Invalid("no sevens".to_owned())),
            _ => Ok(T::default()),
        };
        self.orders.lock().unwrap().push(format!("{id} {}", serde_json::to_string(patch).unwrap()));
        Box::pin(async move { answer })
    }

    fn known<T: Send + 'static>(&self, id: &str, view: T) -> PortFuture<Result<T, OperateError>> {
        let answer = (id == PEER).then_some(view).ok_or_else(|| OperateError::NotFound(format!("no peer {id}")));
        Box::pin(async move { answer })
    }
}

impl Console for Fake {
    fn status(&self) -> PortFuture<StatusView> {
        Box::pin(async { StatusView { state: "running".to_owned(), jain_index: Some(f64::NAN), ..Default::default() } })
    }
    fn peers(&self) -> PortFuture<Vec<PeerView>> {
        Box::pin(async { vec![PeerView { id: PEER.to_owned(), ..Default::default() }] })
    }
    fn peer(&self, id: String) -> PortFuture<Result<PeerView, OperateError>> {
        self.known(&id, PeerView { id: id.clone(), ..Default::default() })
    }
    fn explain(&self, id: String) -> PortFuture<Result<Explanation, OperateError>> {
        let reasons = vec![Reason { binding: "total".to_owned(), ..Default::default() }];
        self.known(&id, Explanation { peer: id.clone(), reasons })
    }
    fn transfers(&self) -> PortFuture<Vec<TransferView>> {
        Box::pin(async { vec![TransferView { id: "t1".to_owned(), ..Default::default() }] })
    }
    fn limits(&self) -> PortFuture<LimitsView> {
        Box::pin(async { LimitsView::default() })
    }
    fn groups(&self) -> PortFuture<Vec<GroupView>> {
        Box::pin(async { vec![GroupView { name: "default".to_owned(), ..Default::default() }] })
    }
    fn set_limits(&self, patch: LimitsPatch) -> PortFuture<Result<LimitsView, OperateError>> {
        let Change(upload) = patch.upload_bytes_per_second;
        let upload = LimitView { limit_bytes_per_second: upload.flatten(), ..Default::default() };
        Box::pin(async move { Ok(LimitsView { upload, ..Default::default() }) })
    }
    fn set_peer(&self, id: String, patch: NodePatch) -> PortFuture<Result<PeerView, OperateError>> {
        self.order(PEER, &id, &patch)
    }
    fn set_transfer(&self, id: String, patch: NodePatch) -> PortFuture<Result<TransferView, OperateError>> {
        self.order("t1", &id, &patch)
    }
    fn set_group(&self, name: String, patch: NodePatch) -> PortFuture<Result<GroupView, OperateError>> {
        self.order("lab machines", &name, &patch)
    }
    fn disconnect(&self, id: String) -> PortFuture<Result<(), OperateError>> {
        self.known(&id, ())
    }
    fn drain(&self) -> PortFuture<()> {
        self.orders.lock().unwrap().push("drain".to_owned());
        Box::pin(async {})
    }
}

struct Api {
    server: Server,
    fake: Arc<Fake>,
    token: Option<String>,
}

impl Api {
    fn start(token: Option<&str>) -> Self {
        let fake = Arc::new(Fake::default());
        let config = AdminConfig {
            token: token.map(str::to_owned),
            metrics: Arc::new(NodeMetrics::register()),
            precedence: Arc::default(),
        };
        let console: Arc<dyn Console> = Arc::clone(&fake) as _;
        let server = Server::bind("127.0.0.1:0".parse().unwrap(), console, config).unwrap();
        Self { server, fake, token: token.map(str::to_owned) }
    }

    /// Status and body of a request with a JSON body, `Null` for none.
    fn send(&self, method: &str, path: &str, body: &str, headers: &[(&str, &str)]) -> (u16, Value) {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let mut request = request(method, &format!("http://{}{path}", self.server.address()));
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut answer = agent.run(request.body(body.to_owned()).unwrap()).unwrap();
        assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
        let text = answer.body_mut().read_to_string().unwrap();
        (answer.status().as_u16(), serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    fn get(&self, path: &str) -> (u16, Value) {
        self.send("GET", path, "", &[])
    }

    fn patch(&self, path: &str, body: &str) -> (u16, Value) {
        self.send("PATCH", path, body, &[("content-type", "application/json; charset=utf-8")])
    }

    /// The first line of the answer to raw bytes.
    fn raw(&self, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.server.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        // The server may answer and close before it has read everything.
        let _ = stream.write_all(request);
        let mut answer = Vec::new();
        let mut piece = [0; 4096];
        loop {
            let read = match stream.read(&mut piece) {
                // A process that was stopped and goes on.
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Ok(0) | Err(_) => break,
                Ok(read) => read,
            };
            answer.extend_from_slice(&piece[..read]);
            if answer.windows(4).any(|window| window == b"\r\n\r\n") {
                break;
            }
        }
        String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned()
    }
}

fn request(method: &str, url: &str) -> ureq::http::request::Builder {
    ureq::http::Request::builder().method(method).uri(url)
}

fn error(answer: &(u16, Value)) -> (u16, &str, &str) {
    let error = &answer.1["error"];
    (answer.0, error["code"].as_str().unwrap_or("no code"), error["message"].as_str().unwrap_or("no message"))
}

#[test]
fn every_read_is_answered() {
    let api = Api::start(None);
    let (status, index) = api.get("/");
    assert_eq!(status, 200);
    for route in index["routes"].as_array().unwrap() {
        let path = route["path"].as_str().unwrap().replace("{id}", PEER).replace("{name}", "default");
        if route["methods"].as_str().unwrap().contains("GET") {
            assert_eq!(api.get(&path).0, 200, "{path}");
        } else {
            assert_eq!(error(&api.get(&path)).1, "method_not_allowed", "{path}");
        }
    }
    assert_eq!(api.get("/v1/status").1["state"], "running");
    assert_eq!(api.get("/v1/status").1["jain_index"], Value::Null);
    assert_eq!(api.get("/v1/peers").1[0]["id"], PEER);
    assert_eq!(api.get(&format!("/v1/peers/{PEER}")).1["id"], PEER);
    assert_eq!(api.get(&format!("/v1/peers/{PEER}/explain")).1["reasons"][0]["binding"], "total");
    assert_eq!(api.get("/v1/transfers").1[0]["id"], "t1");
    assert_eq!(api.get("/v1/groups").1[0]["name"], "default");
    assert_eq!(api.get("/v1/limits").1["upload"]["limit_bytes_per_second"], Value::Null);
    assert_eq!(api.send("HEAD", "/v1/status", "", &[]), (200, Value::Null));
}

#[test]
fn every_order_reaches_the_console() {
    let api = Api::start(None);
    let (status, limits) = api.patch("/v1/limits", r#"{"upload_bytes_per_second": 5000000}"#);
    assert_eq!((status, &limits["upload"]["limit_bytes_per_second"]), (200, &json!(5_000_000)));
    let order = r#"{"upload_cap_bytes_per_second":100,"weight":2.5,"class":"background"}"#;
    for path in [&format!("/v1/peers/{PEER}"), "/v1/transfers/t1", "/v1/groups/lab%20machines"] {
        assert_eq!(api.patch(path, order).0, 200, "{path}");
    }
    assert_eq!(api.send("DELETE", &format!("/v1/peers/{PEER}"), "", &[]), (204, Value::Null));
    assert_eq!(api.send("POST", "/v1/drain", "", &[]), (202, json!({ "state": "draining" })));
    let orders = api.fake.orders.lock().unwrap().clone();
    assert_eq!(
        orders,
        [format!("{PEER} {order}"), format!("t1 {order}"), format!("lab machines {order}"), "drain".to_owned()]
    );
}

#[test]
fn what_is_not_there_is_a_404() {
    let api = Api::start(None);
    let (status, code, words) = (404, "not_found", "no peer zzz");
    assert_eq!(error(&api.get("/v1/peers/zzz")), (status, code, words));
    assert_eq!(error(&api.get("/v1/peers/zzz/explain")), (status, code, words));
    assert_eq!(error(&api.send("DELETE", "/v1/peers/zzz", "", &[])), (status, code, words));
    for path in ["/v1/peers/zzz", "/v1/transfers/zzz", "/v1/groups/zzz"] {
        assert_eq!(error(&api.patch(path, "{}")), (status, code, "nothing has the id zzz"), "{path}");
    }
    for path in ["/v2/status", "/v1", "/v1/peers/", "/v1/peers/a/b", "/..%2f..%2fetc/passwd"] {
        assert_eq!(error(&api.get(path)).1, code, "{path}");
    }
}

#[test]
fn contradictions_are_a_409_and_nonsense_a_400() {
    let api = Api::start(None);
    let path = format!("/v1/peers/{PEER}");
    assert_eq!(error(&api.patch(&path, r#"{"weight": 13}"#)), (409, "conflict", "the floor is above the cap"));
    assert_eq!(error(&api.patch(&path, r#"{"weight": 7}"#)), (400, "invalid", "no sevens"));
}

#[test]
fn malformed_orders_are_a_400_that_names_the_field() {
    let api = Api::start(None);
    let bodies = [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[]", "JSON object"),
        (r#"{"upload_bytes_per_second": -1}"#, "upload_bytes_per_second: -1 is no rate"),
        (r#"{"upload_bytes_per_second": "10MB"}"#, "upload_bytes_per_second: \"10MB\" is no rate"),
        (r#"{"upload_bytes_per_second": 1.5}"#, "upload_bytes_per_second: 1.5"),
        (r#"{"upload_bytes_per_second": 18446744073709551616}"#, "write whole bytes per second"),
        (r#"{"upload_bytes_per_second": 1e999}"#, "not JSON: number out of range"),
        (r#"{"upload": 5}"#, "unknown field \"upload\"; there are upload_bytes_per_second, download_bytes_per_second"),
        (r#"{"upload_bytes_per_second": 1, "upload_bytes_per_second": 2}"#, "duplicate field"),
    ];
    for (body, expected) in bodies {
        let answer = api.patch("/v1/limits", body);
        let (status, code, words) = error(&answer);
        assert_eq!((status, code), (400, "invalid"), "{body}");
        assert!(words.contains(expected), "{body}: {words}");
    }
    assert!(api.fake.orders.lock().unwrap().is_empty());
}

#[test]
fn the_wrong_method_is_a_405_that_says_which_are_right() {
    let api = Api::start(None);
    let cases = [
        ("POST", "/v1/status", "GET, HEAD"),
        ("PUT", "/v1/limits", "GET, HEAD, PATCH"),
        ("GET", "/v1/drain", "POST"),
        ("DELETE", "/v1/transfers/t1", "PATCH"),
        ("POST", "/v1/peers/x", "GET, HEAD, PATCH, DELETE"),
    ];
    for (method, path, allow) in cases {
        let answer = api.send(method, path, "", &[]);
        let (status, code, words) = error(&answer);
        assert_eq!((status, code), (405, "method_not_allowed"), "{method} {path}");
        assert!(words.ends_with(&format!("it takes {allow}")), "{words}");
    }
}

#[test]
fn a_body_that_is_too_large_is_a_413() {
    let api = Api::start(None);
    let body = format!(r#"{{"class": "{}"}}"#, "x".repeat(70_000));
    assert_eq!(error(&api.patch("/v1/peers/x", &body)).0, 413);
    let head = "PATCH /v1/limits HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
    let announced = format!("{head}Content-Length: 99999999999\r\n\r\n{}", "x".repeat(70_000));
    assert!(api.raw(announced.as_bytes()).contains(" 413 "));
    let chunk = format!("{head}Transfer-Encoding: chunked\r\n\r\n11170\r\n{}\r\n", "x".repeat(70_000));
    assert!(api.raw(chunk.as_bytes()).contains(" 413 "));
}

#[test]
fn a_body_that_is_not_said_to_be_json_is_a_415() {
    let api = Api::start(None);
    for headers in
        [&[][..], &[("content-type", "text/plain")], &[("content-type", "application/x-www-form-urlencoded")]]
    {
        let answer = api.send("PATCH", "/v1/limits", r#"{"upload_bytes_per_second": 5}"#, headers);
        assert_eq!(error(&answer).0, 415, "{headers:?}");
    }
}

#[test]
fn a_body_that_never_comes_is_a_408() {
    let api = Api::start(None);
    let head =
        "PATCH /v1/limits HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 5\r\n\r\n{";
    assert!(api.raw(head.as_bytes()).contains(" 408 "));
}

#[test]
fn without_the_token_everything_is_a_401() {
    let mut api = Api::start(Some(TOKEN));
    assert_eq!(api.get("/v1/status").0, 200);
    api.token = None;
    let wrong =
        ["Bearer wrong", "Bearer ", "Bearer", "Basic correct horse battery staple", "correct horse battery staple", ""];
    for value in wrong {
        let answer = api.send("GET", "/v1/status", "", &[("authorization", value)]);
        assert_eq!(error(&answer).1, "unauthorized", "{value}");
    }
    for (method, path) in [("GET", "/"), ("POST", "/v1/drain"), ("GET", "/nowhere"), ("PATCH", "/v1/limits")] {
        assert_eq!(api.send(method, path, "", &[]).0, 401, "{method} {path}");
    }
    let answer = api.send("GET", "/v1/status", "", &[("authorization", &format!("bearer  {TOKEN}"))]);
    assert_eq!(answer.0, 200);
    assert!(api.fake.orders.lock().unwrap().is_empty());
}

#[test]
fn a_web_page_in_somebodys_browser_is_refused() {
    let api = Api::start(None);
    let own = format!("http://{}", api.server.address());
    assert_eq!(api.send("GET", "/v1/status", "", &[("origin", &own)]).0, 200);
    for origin in ["https://evil.example", "null", "http://127.0.0.1:1", "http://localhost"] {
        let answer = api.send("POST", "/v1/drain", "", &[("origin", origin)]);
        assert_eq!(error(&answer).1, "foreign", "{origin}");
    }
    let answer = api.send("GET", "/v1/peers", "", &[("sec-fetch-site", "cross-site")]);
    assert_eq!(error(&answer).0, 403);
    assert!(api.raw(b"GET /v1/status HTTP/1.1\r\nHost: rebound.example:7490\r\n\r\n").contains(" 403 "));
    assert!(api.raw(b"GET /v1/status HTTP/1.1\r\nHost: localhost:7490\r\n\r\n").contains(" 200 "));
    assert!(api.raw(b"GET /v1/status HTTP/1.1\r\n\r\n").contains(" 400 "));
    assert!(api.raw(b"GET /v1/status HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n").contains(" 400 "));
    assert!(api.fake.orders.lock().unwrap().is_empty());
}

#[test]
fn what_is_no_http_hurts_nobody() {
    let api = Api::start(None);
    for bytes in [&b"EVKLDAT1\0\0\0\0\r\n\r\n"[..], b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"]
    {
        assert!(api.raw(bytes).contains(" 400 "));
    }
    let long = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(300_000));
    // The server closes before it has read all of that, and its words may be lost with the connection.
    let answer = api.raw(long.as_bytes());
    assert!(answer.contains(" 431 ") || answer.is_empty(), "{answer}");
    assert_eq!(api.get("/v1/status").0, 200);
}

#[test]
fn an_open_address_wants_a_token_and_a_strong_one() {
    let bind = |address: &str, token: Option<&str>| {
        let config = AdminConfig {
            token: token.map(str::to_owned),
            metrics: Arc::new(NodeMetrics::register()),
            precedence: Arc::default(),
        };
        Server::bind(address.parse().unwrap(), Arc::new(Fake::default()), config)
            .map(|_| ())
            .map_err(|error| error.to_string())
    };
    assert!(bind("0.0.0.0:0", None).unwrap_err().contains("set a token, or listen on 127.0.0.1"));
    assert!(bind("[::]:0", None).unwrap_err().contains("set a token"));
    assert!(bind("127.0.0.1:0", Some("short")).unwrap_err().contains("at least 16 characters"));
    assert!(bind("0.0.0.0:0", Some(TOKEN)).is_ok());
}

#[test]
fn a_taken_port_is_named() {
    let api = Api::start(None);
    let config = AdminConfig { token: None, metrics: Arc::new(NodeMetrics::register()), precedence: Arc::default() };
    let error = Server::bind(api.server.address(), Arc::new(Fake::default()), config).err().unwrap().to_string();
    assert!(error.ends_with("is already in use; choose another address with --admin"), "{error}");
}

#[test]
fn stopping_frees_the_port_and_ends_the_threads() {
    let api = Api::start(None);
    let address = api.server.address();
    assert_eq!(api.get("/v1/status").0, 200);
    api.server.stop();
    assert!(TcpStream::connect(address).is_err());
    drop(listen(address).unwrap());
    drop(Api::start(None));
}
