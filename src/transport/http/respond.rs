//! From a request to its answer: a file, a part of it, a listing, or why not.

use std::{ops::Range, sync::Arc, time::SystemTime};

use actors::port::{FileError, FileKind, FilePage, GuestRequest, GuestTerms, Source, Viewer};
use http::StatusCode;
use wire::FailureCode;

use super::{
    answer::{self, Head},
    connection::{Connection, Stop},
    head::{Method, Request},
    page::{Form, Listing},
    range::Ranges,
    send::Sending,
    terms::TermsFault,
    validator::{Validator, Verdict},
};

/// For people who follow a link to what browsers would run.
const SANDBOX: &str = "sandbox";
/// A listing needs its own style and nothing else.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

impl Connection {
    /// Answers one request.
    pub(super) async fn answer(&mut self, mut request: Request) -> Result<(), Stop> {
        if self.frontage.front.is_draining() {
            self.frontage.front.refused("draining");
            return self.say(&request, StatusCode::SERVICE_UNAVAILABLE, "this server is going down").await;
        }
        match self.terms(&request) {
            Ok(terms) => request.terms = terms,
            Err(fault) => {
                self.frontage.front.refused("terms");
                return self.say(&request, StatusCode::FORBIDDEN, fault.words()).await;
            }
        }
        if request.target.path.is_empty() {
            return self.list(&request).await;
        }
        if !self.frontage.config.visible.shows(request.target.share()) {
            return self.say(&request, StatusCode::NOT_FOUND, "there is no such file").await;
        }
        let began = tokio::time::Instant::now();
        let opening = self.frontage.front.files().open_source(request.target.path.clone());
        let opened = self.meanwhile(opening).await?;
        self.frontage.front.waited("open", began.elapsed());
        match opened {
            Ok(_) if request.target.is_directory => {
                self.say(&request, StatusCode::NOT_FOUND, "that is a file; its name has no slash at the end").await
            }
            Ok(source) => self.serve_file(&request, &source).await,
            Err(error) if error.code == FailureCode::IsDirectory && request.target.is_directory => {
                self.list(&request).await
            }
            Err(error) if error.code == FailureCode::IsDirectory => {
                let head = head_now(StatusCode::MOVED_PERMANENTLY).with("Location", request.target.with_slash());
                self.say_with(&request, head, "a directory's address ends in a slash").await
            }
            Err(error) => {
                let (status, words) = status_of(&error);
                self.say(&request, status, words).await
            }
        }
    }

    /// On which terms a request is served. Whoever carries some and can't have them is told so: ignored, they would be
    /// thought to be in force.
    fn terms(&self, request: &Request) -> Result<GuestTerms, TermsFault> {
        let Some(text) = &request.target.terms else { return Ok(GuestTerms::default()) };
        let key = self.frontage.config.signing_key.as_ref().ok_or(TermsFault::NotTaken)?;
        key.verify(text, &request.target.path, SystemTime::now())
    }

    async fn say(&mut self, request: &Request, status: StatusCode, words: &str) -> Result<(), Stop> {
        self.say_with(request, head_now(status), words).await
    }

    async fn say_with(&mut self, request: &Request, head: Head, words: &str) -> Result<(), Stop> {
        let status = head.status();
        let keep_alive = self.keeps_alive(request);
        let bytes = answer::plain(head, words, request.method == Method::Get, keep_alive, request.is_old);
        self.frontage.front.answered(status.as_str(), bytes.len() as u64);
        self.speak(&request.target.path, &bytes).await
    }

    /// Writes a head whose body, if any, follows.
    async fn begin(&mut self, request: &Request, head: Head) -> Result<(), Stop> {
        let status = head.status();
        let bytes = head.finish(self.keeps_alive(request), request.is_old);
        self.frontage.front.answered(status.as_str(), bytes.len() as u64);
        self.speak(&request.target.path, &bytes).await
    }

    fn keeps_alive(&self, request: &Request) -> bool {
        request.lasts() && !self.frontage.front.is_draining()
    }

    async fn serve_file(&mut self, request: &Request, source: &Arc<dyn Source>) -> Result<(), Stop> {
        let now = SystemTime::now();
        let size = source.size();
        let validator = Validator::new(size, source.mtime_ns(), now);
        let dated = |head: Head| {
            head.with("ETag", &validator.etag)
                .with_some("Last-Modified", validator.last_modified())
                .with("Accept-Ranges", "bytes")
        };
        match validator.judge(&request.wishes) {
            Verdict::Send => {}
            Verdict::NotModified => {
                let head = dated(head_now(StatusCode::NOT_MODIFIED));
                return self.begin(request, head).await;
            }
            Verdict::Failed => {
                let head = dated(head_now(StatusCode::PRECONDITION_FAILED));
                return self.say_with(request, head, "the file is not the one that was asked for").await;
            }
        }
        let name = request.target.path.rsplit('/').next().unwrap_or_default();
        let kind = answer::content_type(name);
        let described = |head: Head| {
            let policy = answer::is_active(&kind).then_some(SANDBOX);
            dated(head)
                .with("Content-Disposition", answer::disposition(name))
                .with_some("Content-Security-Policy", policy)
        };
        match wanted(request, &validator, size) {
            Ranges::Whole => {
                let head = described(head_now(StatusCode::OK)).with("Content-Type", &kind);
                self.send_span(request, head, source, 0..size).await
            }
            Ranges::One(span) => {
                let content_range = format!("bytes {}-{}/{size}", span.start, span.end - 1);
                let head = described(head_now(StatusCode::PARTIAL_CONTENT)).with("Content-Type", &kind);
                self.send_span(request, head.with("Content-Range", content_range), source, span).await
            }
            Ranges::Many(spans) => {
                let head = described(head_now(StatusCode::PARTIAL_CONTENT));
                self.send_parts(request, head, source, &spans, &kind).await
            }
            Ranges::Unsatisfiable => {
                let head = dated(head_now(StatusCode::RANGE_NOT_SATISFIABLE));
                let head = head.with("Content-Range", format!("bytes */{size}"));
                self.say_with(request, head, "the file ends before that range").await
            }
            Ranges::TooMany => {
                self.frontage.front.refused("ranges");
                let head = dated(head_now(StatusCode::RANGE_NOT_SATISFIABLE));
                let head = head.with("Content-Range", format!("bytes */{size}"));
                self.say_with(request, head, "at most 32 ranges in one request").await
            }
        }
    }

    async fn send_span(
        &mut self,
        request: &Request,
        head: Head,
        source: &Arc<dyn Source>,
        span: Range<u64>,
    ) -> Result<(), Stop> {
        let head = head.with("Content-Length", span.end - span.start);
        if request.method == Method::Head || span.is_empty() {
            return self.begin(request, head).await;
        }
        let Some(mut sending) = self.sending(request, source.size(), span.start) else {
            return self.full(request).await;
        };
        self.begin(request, head).await?;
        let sent = self.send_file(&mut sending, &**source, span).await;
        ended(sending, sent)
    }

    /// Several parts in one answer (RFC 9110, 14.6).
    async fn send_parts(
        &mut self,
        request: &Request,
        head: Head,
        source: &Arc<dyn Source>,
        spans: &[Range<u64>],
        kind: &str,
    ) -> Result<(), Stop> {
        let Some(boundary) = boundary() else {
            return self.say(request, StatusCode::INTERNAL_SERVER_ERROR, "no randomness; try again").await;
        };
        let size = source.size();
        let part = |span: &Range<u64>| {
            let last = span.end - 1;
            format!(
                "\r\n--{boundary}\r\nContent-Type: {kind}\r\nContent-Range: bytes {}-{last}/{size}\r\n\r\n",
                span.start
            )
        };
        let end = format!("\r\n--{boundary}--\r\n");
        let length: u64 = spans.iter().map(|span| part(span).len() as u64 + span.end - span.start).sum();
        let head = head
            .with("Content-Type", format!("multipart/byteranges; boundary={boundary}"))
            .with("Content-Length", length + end.len() as u64);
        if request.method == Method::Head {
            return self.begin(request, head).await;
        }
        let start = spans.first().map_or(0, |span| span.start);
        let Some(mut sending) = self.sending(request, size, start) else { return self.full(request).await };
        self.begin(request, head).await?;
        for span in spans {
            // Many small parts are mostly heads: those wait for their turn like what they stand before.
            let mut sent = self.send_text(&mut sending, part(span).as_bytes(), span.start).await;
            if sent.is_ok() {
                sent = self.send_file(&mut sending, &**source, span.clone()).await;
            }
            if sent.is_err() {
                return ended(sending, sent);
            }
        }
        let last = spans.last().map_or(0, |span| span.end);
        let sent = self.send_text(&mut sending, end.as_bytes(), last).await;
        ended(sending, sent)
    }

    /// A directory's names, page by page; nothing is kept of the pages before.
    async fn list(&mut self, request: &Request) -> Result<(), Stop> {
        let path = request.target.path.clone();
        let mut page = match self.page(&path, String::new()).await? {
            Ok(page) => page,
            Err(error) => {
                let (status, words) = status_of(&error);
                return self.say(request, status, words).await;
            }
        };
        let mut listing = Listing::new(if request.target.json { Form::Json } else { Form::Html });
        let head = head_now(StatusCode::OK).with("Content-Type", listing.content_type());
        let head = head.with("Content-Security-Policy", PAGE_POLICY).with("Cache-Control", "no-cache");
        // Old clients are told by the end of the connection where the listing ends.
        let head = if request.is_old { head } else { head.with("Transfer-Encoding", "chunked") };
        if request.method == Method::Head {
            return self.begin(request, head).await;
        }
        let Some(mut sending) = self.sending(request, 0, 0) else { return self.full(request).await };
        self.begin(request, head).await?;
        let mut text = listing.begin(&request.target);
        let mut offset = 0;
        loop {
            let visible = &self.frontage.config.visible;
            let shown = page.entries.iter().filter(|entry| entry.kind != FileKind::Share || visible.shows(&entry.name));
            text.push_str(&listing.entries(shown));
            let after = page.entries.last().map(|entry| entry.name.clone()).filter(|_| page.more);
            if after.is_none() {
                text.push_str(listing.end());
            }
            let chunk = chunk(std::mem::take(&mut text), request.is_old, after.is_none());
            let sent = self.send_text(&mut sending, &chunk, offset).await;
            offset += chunk.len() as u64;
            let Some(after) = after.filter(|_| sent.is_ok()) else { return ended(sending, sent) };
            page = match self.page(&path, after).await? {
                Ok(page) => page,
                // The directory went away: the listing ends without its end, and the client notices.
                Err(error) => return ended(sending, Err(Stop::File(error))),
            };
        }
    }

    async fn page(&self, path: &str, after: String) -> Result<Result<FilePage, FileError>, Stop> {
        let began = tokio::time::Instant::now();
        let listing = self.frontage.front.files().list(path.to_owned(), false, after, Viewer { write: false });
        let listed = self.meanwhile(listing).await?;
        self.frontage.front.waited("open", began.elapsed());
        if let Ok(page) = &listed {
            self.frontage.front.hidden(page.hidden_names());
        }
        Ok(listed)
    }

    /// The transfer of this request; `None` when the node takes none any more.
    fn sending(&self, request: &Request, size: u64, start: u64) -> Option<Sending> {
        let (path, agent, terms) = (request.target.path.clone(), request.agent.clone(), request.terms.clone());
        let request = GuestRequest { address: self.address, agent, path, size, start, terms, switch: self.switch };
        self.frontage.front.begin(request).ok().map(Sending::new)
    }

    async fn full(&mut self, request: &Request) -> Result<(), Stop> {
        self.say(request, StatusCode::SERVICE_UNAVAILABLE, "no more requests now; try again later").await
    }
}

fn ended(sending: Sending, sent: Result<(), Stop>) -> Result<(), Stop> {
    match &sent {
        Ok(()) => sending.done(),
        Err(Stop::File(_)) => sending.failed(),
        Err(Stop::Lost | Stop::Late | Stop::Over | Stop::Down) => drop(sending),
    }
    sent
}

/// What of the file is to be sent. `Range` means something for GET only (RFC 9110, 14.2).
fn wanted(request: &Request, validator: &Validator, size: u64) -> Ranges {
    match &request.wishes.range {
        Some(range) if request.method == Method::Get && validator.allows_range(&request.wishes) => {
            Ranges::parse(range, size)
        }
        Some(_) | None => Ranges::Whole,
    }
}

/// What a failure to open is called in HTTP. The words name nothing of this machine.
fn status_of(error: &FileError) -> (StatusCode, &'static str) {
    match error.code {
        FailureCode::NotFound => (StatusCode::NOT_FOUND, "there is no such file"),
        FailureCode::BadPath => (StatusCode::NOT_FOUND, "no file can have that name"),
        FailureCode::IsDirectory => (StatusCode::NOT_FOUND, "that is a directory"),
        FailureCode::Forbidden => (StatusCode::FORBIDDEN, "only regular files are served, and links are not followed"),
        FailureCode::Unreadable => (StatusCode::FORBIDDEN, "the server may not read that"),
        FailureCode::TooMany => (StatusCode::SERVICE_UNAVAILABLE, "too many files are open; try again later"),
        _ => (StatusCode::INTERNAL_SERVER_ERROR, "the server is in trouble; try again later"),
    }
}

/// One chunk of an answer whose length nobody knows, and with the last one the end.
fn chunk(text: String, is_old: bool, is_last: bool) -> Vec<u8> {
    if is_old {
        return text.into_bytes();
    }
    let end = if is_last { "0\r\n\r\n" } else { "" };
    // An empty chunk would be the end.
    let chunk = if text.is_empty() { String::new() } else { format!("{:x}\r\n{text}\r\n", text.len()) };
    format!("{chunk}{end}").into_bytes()
}

/// 128 random bits: no file has them in it.
fn boundary() -> Option<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).ok()?;
    Some(data_encoding::HEXLOWER.encode(&bytes))
}

fn head_now(status: StatusCode) -> Head {
    Head::new(status, SystemTime::now())
}
