//! What every error looks like: `{"error": {"code": "not_found", "message": "..."}}`.

use std::fmt;

use actix_web::{
    HttpResponse, ResponseError,
    http::{StatusCode, header},
};
use actors::port::OperateError;
use serde_json::json;

/// An error as the API's client sees it.
#[derive(Clone, Debug)]
pub(super) struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
    /// For 405: what would be allowed.
    allow: Option<&'static str>,
}

impl ApiError {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), allow: None }
    }

    /// 400: what was sent makes no sense.
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid", message)
    }

    /// 401: no token, or another one.
    pub(super) fn unauthorized() -> Self {
        let message = "this API wants `Authorization: Bearer TOKEN` with the token from its configuration";
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
    }

    /// 403: it looks like a web page that uses somebody's browser.
    pub(super) fn foreign(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "foreign", message)
    }

    /// 400: no HTTP, or none that can be understood.
    pub(super) fn malformed() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed", "this is no HTTP/1.1 request; `GET /` lists what there is")
    }

    /// 404: nothing is there.
    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    /// 405: it is there, but not for that method.
    pub(super) fn method(method: &str, path: &str, allow: &'static str) -> Self {
        let message = format!("{method} is not for {path}; it takes {allow}");
        Self { allow: Some(allow), ..Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message) }
    }

    /// 408: the body did not come.
    pub(super) fn slow_body() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "timeout", "the body did not arrive in time")
    }

    /// 408: the head did not come.
    pub(super) fn slow_head() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "timeout", "the request's headers did not arrive in time")
    }

    /// 431: longer than any head of a request to this API.
    pub(super) fn long_head() -> Self {
        let message = "the request's headers are too long";
        Self::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "too_large", message)
    }

    /// 413: longer than an order can be.
    pub(super) fn too_large(bytes_max: usize) -> Self {
        let message = format!("a body may have at most {bytes_max} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
    }

    /// 415: not JSON.
    pub(super) fn media_type() -> Self {
        let message = "write the header `Content-Type: application/json`";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message)
    }

    /// As routes answer it.
    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    fn body(&self) -> serde_json::Value {
        json!({ "error": { "code": self.code, "message": self.message } })
    }

    /// The whole answer where there is no request that it could be given to; the connection is closed behind it.
    pub(super) fn to_http(&self) -> String {
        let (status, body) = (self.status, self.body().to_string());
        format!(
            "HTTP/1.1 {status}\r\ncontent-length: {}\r\ncontent-type: application/json\r\ncache-control: no-store\r\n\
             x-content-type-options: nosniff\r\nconnection: close\r\n\r\n{body}",
            body.len()
        )
    }

    /// 503: the node did not answer.
    pub(super) fn no_answer() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "no_answer", "the node did not answer in time; it may be stopping")
    }
}

impl From<OperateError> for ApiError {
    fn from(error: OperateError) -> Self {
        match error {
            OperateError::NotFound(message) => Self::not_found(message),
            OperateError::Conflict(message) => Self::new(StatusCode::CONFLICT, "conflict", message),
            OperateError::Invalid(message) => Self::invalid(message),
        }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status);
        if let Some(allow) = self.allow {
            response.insert_header((header::ALLOW, allow));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            response.insert_header((header::WWW_AUTHENTICATE, "Bearer"));
        }
        response.json(self.body())
    }
}
