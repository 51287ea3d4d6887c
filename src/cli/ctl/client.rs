//! A small client of the control message API: one request, one answer, plain HTTP.

use std::time::Duration;

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use ureq::{Agent, http};

use crate::node::{Exit, Failure};

/// One node's API.
pub(super) struct Client {
    agent: Agent,
    base: String,
    token: Option<String>,
}

impl Client {
    /// `url` as the user gave it: with or without `http://`.
    pub(super) fn new(url: &str, token: Option<String>) -> Result<Self, Failure> {
        let base = match url.split_once("://") {
            None => format!("http://{url}"),
            Some(("http", _)) => url.to_owned(),
            Some((scheme, rest)) => {
                let message = format!("--admin {url}: the API does not speak {scheme}: write http://{rest}");
                return Err(Failure::usage(message));
            }
        };
        let config = Agent::config_builder()
            .timeout_global(Some(ANSWER_WITHIN))
            // Statuses come with words of the API; we want those.
            .http_status_as_error(false)
            // A node on this machine is not behind a proxy.
            .proxy(None)
            .max_redirects(0)
            .build();
        Ok(Self { agent: config.into(), base: base.trim_end_matches('/').to_owned(), token })
    }

    /// A question.
    pub(super) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.decode(self.send(http::Method::GET, path, None)?)
    }

    /// A change.
    pub(super) fn patch<T: DeserializeOwned>(&self, path: &str, order: &impl Serialize) -> Result<T, Failure> {
        let body = serde_json::to_string(order).map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
        self.decode(self.send(http::Method::PATCH, path, Some(body))?)
    }

    /// An order whose answer says nothing that matters.
    pub(super) fn order(&self, method: http::Method, path: &str) -> Result<(), Failure> {
        // A POST without a body would have no length.
        let body = (method == http::Method::POST).then(|| "{}".to_owned());
        self.send(method, path, body).map(drop)
    }

    /// The text of a good answer.
    fn send(&self, method: http::Method, path: &str, body: Option<String>) -> Result<String, Failure> {
        let mut request = http::Request::builder().method(method).uri(format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let wrong = |error: http::Error| Failure::usage(format!("--admin {}: {error}", self.base));
        let response = match body {
            Some(body) => {
                let request = request.header("content-type", "application/json").body(body).map_err(wrong)?;
                self.agent.run(request)
            }
            None => self.agent.run(request.body(()).map_err(wrong)?),
        };
        let mut response = response.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        let text = response
            .body_mut()
            .with_config()
            .limit(ANSWER_BYTES_MAX)
            .read_to_string()
            .map_err(|error| self.unreachable(&error))?;
        match status.is_success() {
            true => Ok(text),
            false => Err(refusal(&self.base, status.as_u16(), &text)),
        }
    }

    fn decode<T: DeserializeOwned>(&self, text: String) -> Result<T, Failure> {
        serde_json::from_str(&text).map_err(|error| {
            let message =
                format!("{} does not answer like an Evenkeel node of this version ({error}): check --admin", self.base);
            Failure::new(Exit::Failed, message)
        })
    }

    fn unreachable(&self, error: &ureq::Error) -> Failure {
        if let ureq::Error::BadUri(_) | ureq::Error::Http(_) = error {
            return Failure::usage(format!("--admin {}: {error}: write http://ADDRESS:PORT", self.base));
        }
        let message = format!(
            "the admin API at {} does not answer ({error}): is `evenkeel serve` running there? --admin URL names another one",
            self.base
        );
        Failure::new(Exit::Unreachable, message)
    }
}

/// An id or a name as one part of a path.
pub(super) fn segment(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'~' => encoded.push(char::from(byte)),
            // A part that is only dots would be taken for a directory.
            b'.' if text.bytes().any(|other| other != b'.') => encoded.push('.'),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// `{"error": {"code", "message"}}`, or whatever else came.
fn refusal(base: &str, status: u16, text: &str) -> Failure {
    let exit = match status {
        401 | 403 => Exit::Refused,
        _ => Exit::Failed,
    };
    let hint = match status {
        401 => "; set EVENKEEL_ADMIN_TOKEN to the node's token",
        _ => "",
    };
    let parsed: Option<Value> = serde_json::from_str(text).ok();
    let words = parsed.as_ref().and_then(|answer| {
        let error = answer.get("error")?;
        let (code, message) = (error.get("code")?.as_str()?, error.get("message")?.as_str()?);
        Some(format!("{} ({})", wire::printable(message), wire::printable(code)))
    });
    match words {
        Some(words) => Failure::new(exit, format!("{words}{hint}")),
        None => {
            let message =
                format!("{base} answered with status {status}, and not as the admin API does{hint}: check --admin");
            Failure::new(exit, message)
        }
    }
}

/// The API answers within a second; a node that is so busy that this is not enough should be known to be.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Ten thousand peers are about 15 MB.
const ANSWER_BYTES_MAX: u64 = 256 << 20;

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::TcpListener,
        thread,
    };

    use actors::view::{LimitsPatch, LimitsView};

    use super::*;

    /// Answers one request with `response` and gives back what was asked.
    fn server(response: &'static str) -> (String, thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let answer = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            let mut buffer = [0; 4096];
            while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                let bytes = stream.read(&mut buffer).unwrap();
                request.extend_from_slice(&buffer[..bytes]);
            }
            stream.write_all(response.as_bytes()).unwrap();
            String::from_utf8(request).unwrap()
        });
        (address, answer)
    }

    #[test]
    fn a_question_is_asked_and_answered() {
        let response =
            "HTTP/1.1 200 OK\r\ncontent-length: 27\r\nconnection: close\r\n\r\n{\"upload\":{},\"download\":{}}";
        let (address, request) = server(response);
        let client = Client::new(&address, Some("secret".into())).unwrap();
        client.get::<LimitsView>("/v1/limits").unwrap();
        let request = request.join().unwrap().to_ascii_lowercase();
        assert!(request.starts_with("get /v1/limits http/1.1\r\n"), "{request}");
        assert!(request.contains("authorization: bearer secret\r\n"), "{request}");
    }

    #[test]
    fn another_kind_of_server_is_noticed() {
        let (address, request) = server("HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello");
        let failure = Client::new(&address, None).unwrap().get::<LimitsView>("/v1/limits").unwrap_err();
        assert!(failure.message.contains("check --admin"), "{failure}");
        request.join().unwrap();
    }

    #[test]
    fn errors_of_the_api_are_shown() {
        for (response, exit, words) in [
            (
                "HTTP/1.1 409 Conflict\r\ncontent-length: 57\r\nconnection: close\r\n\r\n\
                 {\"error\":{\"code\":\"conflict\",\"message\":\"floor above cap\"}}  ",
                Exit::Failed,
                "floor above cap (conflict)",
            ),
            (
                "HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
                Exit::Refused,
                "EVENKEEL_ADMIN_TOKEN",
            ),
            (
                "HTTP/1.1 404 Not Found\r\ncontent-length: 8\r\nconnection: close\r\n\r\nmetrics?",
                Exit::Failed,
                "not as the admin API does: check --admin",
            ),
        ] {
            let (address, request) = server(response);
            let client = Client::new(&format!("http://{address}/"), None).unwrap();
            let failure = client.patch::<Value>("/v1/limits", &LimitsPatch::default()).unwrap_err();
            assert_eq!(failure.exit, exit);
            assert!(failure.message.contains(words), "{failure}");
            request.join().unwrap();
        }
    }

    #[test]
    fn nobody_there_is_said() {
        // Bound and dropped: nobody listens there now.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let failure = Client::new(&address, None).unwrap().order(http::Method::POST, "/v1/drain").unwrap_err();
        assert_eq!(failure.exit, Exit::Unreachable);
        assert!(failure.message.contains("is `evenkeel serve` running"), "{failure}");
    }

    #[test]
    fn other_schemes_are_refused() {
        assert!(Client::new("https://host:1", None).is_err_and(|failure| failure.exit == Exit::Usage));
        let failure = Client::new("http://not a host", None).unwrap().get::<Value>("/").unwrap_err();
        assert_eq!(failure.exit, Exit::Usage, "{failure}");
    }

    #[test]
    fn parts_of_paths_stay_parts() {
        for (text, expected) in
            [("abc7", "abc7"), ("a/b", "a%2Fb"), ("..", "%2E%2E"), ("a.b", "a.b"), ("?ä", "%3F%C3%A4")]
        {
            assert_eq!(segment(text), expected);
        }
    }
}
