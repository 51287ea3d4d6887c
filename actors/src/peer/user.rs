//! A client session's own user: his commands, and what he is told.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use flow::{Direction, Rate};
use tokio::sync::{mpsc, oneshot};
use wire::{
    Entry, EntryKind, Failed, FailureCode, GetRequest, Hello, Limits, List, Listing, Opened, PutRequest, Ready,
    SessionError, Token, Welcome,
};

use crate::{
    peer::{
        DataMessage, PeerActor,
        actor::Life,
        client::{Command, First, GetCommand, ListCommand, OpenSink, SessionEvent},
        disk,
        download::{Download, WINDOW_FIRST_BYTES},
        serve::{Opening, Wish},
        upload::Upload,
    },
    port::{DataOffer, Dialer, FileEntry, FileError, FileKind, OpenedSink, PrefixHash, Rights, SinkMeta, Source},
};

/// What a session has of its user.
pub(super) struct User {
    pub(super) events: mpsc::Sender<SessionEvent>,
    pub(super) dialer: Arc<dyn Dialer>,
    pub(super) tags: HashMap<u32, u64>,
    /// Local files of gets that are not opened yet.
    pub(super) sinks: HashMap<u32, OpenSink>,
    /// Local files of puts that are not begun yet.
    pub(super) sources: HashMap<u32, (Arc<dyn Source>, Wish)>,
    pub(super) lists: HashMap<u32, oneshot::Sender<Listing>>,
    /// What it takes to dial the data links, until there is something to move over them.
    welcome: Option<Welcome>,
    /// Data links that are being dialled.
    dialling: usize,
    /// Says goodbye when all of them have been: the node would count one that is given up on the way as a refusal.
    leaving: bool,
}

impl User {
    pub(super) fn new(events: mpsc::Sender<SessionEvent>, dialer: Arc<dyn Dialer>) -> Self {
        Self {
            events,
            dialer,
            tags: HashMap::new(),
            sinks: HashMap::new(),
            sources: HashMap::new(),
            lists: HashMap::new(),
            welcome: None,
            dialling: 0,
            leaving: false,
        }
    }

    /// Puts `first` into the hello. What the node will open.
    pub(super) fn ask_first(&mut self, first: First, hello: &mut Hello, limits: &Limits) -> HashMap<u32, Opening> {
        let mut opening = HashMap::new();
        for (get, transfer) in first.gets.into_iter().zip(1_u32..) {
            let tag = get.tag;
            if hello.gets.len() >= limits.gets_in_hello_max {
                let failed = Failed::new(transfer, FailureCode::TooMany, "more gets than a hello takes");
                let _ = self.events.try_send(SessionEvent::Failed { tag, failed });
                continue;
            }
            let (request, wish, open) = request(get);
            hello.gets.push(request.message(transfer));
            opening.insert(transfer, Opening::new(wish));
            self.tags.insert(transfer, tag);
            self.sinks.insert(transfer, open);
        }
        for (list, request) in first.lists.into_iter().take(limits.lists_max).zip(1_u32..) {
            let ListCommand { path, recursive, after, reply } = list;
            hello.lists.push(List { request, path, recursive, after });
            self.lists.insert(request, reply);
        }
        opening
    }

    fn transfer_of(&self, tag: u64) -> Option<u32> {
        self.tags.iter().find(|(_, known)| **known == tag).map(|(transfer, _)| *transfer)
    }
}

impl PeerActor {
    /// Tells the user; a user who does not listen loses the session, never the worker.
    pub(super) fn tell_user(&mut self, event: SessionEvent) {
        let Some(user) = &self.user else { return };
        if let Err(mpsc::error::TrySendError::Full(_)) = user.events.try_send(event) {
            tracing::warn!("the session's user does not take its events; the session ends");
            self.leave("user_gone", "the client stopped listening to its own session");
        }
    }

    /// Carries out what the user wants.
    pub(super) fn command(&mut self, command: Command) {
        let now = self.worker.now();
        match command {
            Command::Get(get) => {
                let tag = get.tag;
                if let Some(error) = self.no_link(Direction::Download) {
                    return self.reject(tag, error);
                }
                let (request, wish, open) = request(get);
                match self.session.get(request) {
                    Ok(transfer) => {
                        self.opening.insert(transfer, Opening::new(wish));
                        if let Some(user) = &mut self.user {
                            user.tags.insert(transfer, tag);
                            user.sinks.insert(transfer, open);
                        }
                        self.dial_links();
                    }
                    Err(error) => self.reject(tag, unsaid(&error)),
                }
            }
            Command::Put { tag, path, source, weight, class } => {
                if let Some(error) = self.no_link(Direction::Upload) {
                    return self.reject(tag, error);
                }
                let thousandths = thousandths(weight);
                let size = source.size();
                let wish = Wish { path: path.clone(), weight_thousandths: thousandths, class: Some(class), size };
                let request = PutRequest {
                    path,
                    size,
                    mtime_ns: source.mtime_ns(),
                    weight_thousandths: thousandths,
                    class: Some(class),
                };
                match self.session.put(request) {
                    Ok(transfer) => {
                        if let Some(user) = &mut self.user {
                            user.tags.insert(transfer, tag);
                            user.sources.insert(transfer, (source, wish));
                        }
                        self.dial_links();
                    }
                    Err(error) => self.reject(tag, unsaid(&error)),
                }
            }
            Command::List(ListCommand { path, recursive, after, reply }) => {
                if let (Ok(request), Some(user)) = (self.session.list(&path, recursive, &after), &mut self.user) {
                    user.lists.insert(request, reply);
                }
            }
            Command::Desire { upload, download } => {
                let told = self.session.set_desired(upload, download);
                self.complain(told);
            }
            Command::Proportions(shares) => self.set_proportions(&shares),
            Command::Cancel { tag } => {
                if let Some(transfer) = self.user.as_ref().and_then(|user| user.transfer_of(tag)) {
                    let told = self.session.cancel(transfer);
                    self.complain(told);
                    self.forget_transfer(transfer, "cancelled");
                    self.user_failed(transfer, FailureCode::Cancelled, "cancelled here".into());
                }
            }
            Command::Ping => {
                let told = self.session.ping(now);
                self.complain(told);
            }
            Command::Leave => match &mut self.user {
                Some(user) if user.dialling > 0 => user.leaving = true,
                _ => self.leave("clean", ""),
            },
        }
    }

    fn reject(&mut self, tag: u64, error: FileError) {
        let failed = Failed::new(0, error.code, error.message);
        self.tell_user(SessionEvent::Failed { tag, failed });
    }

    fn set_proportions(&mut self, shares: &[(u64, f64)]) {
        let Some(user) = &self.user else { return };
        let by_transfer: Vec<(u32, f64)> =
            shares.iter().filter_map(|(tag, weight)| Some((user.transfer_of(*tag)?, *weight))).collect();
        self.apply_proportions(&by_transfer);
        let told = self.session.set_proportions(&by_transfer);
        self.complain(told);
    }

    /// The node took us.
    pub(super) fn welcomed(&mut self, welcome: Welcome) {
        let Some(user) = &mut self.user else { return };
        user.welcome = Some(welcome.clone());
        let is_moving = !user.tags.is_empty();
        if let Life::Member { membership, .. } = &self.life {
            membership.set_desired(Direction::Upload, Rate::from_wire(welcome.granted_upload));
            membership.set_desired(Direction::Download, Rate::from_wire(welcome.granted_download));
        }
        self.ways = welcome.links().ways().take(self.shared.config.data_links_max).collect();
        if is_moving {
            self.dial_links();
        }
        self.tell_user(SessionEvent::Welcomed(welcome));
    }

    /// Dials the data links once there is something to move: who only lists needs none.
    fn dial_links(&mut self) {
        let Some(user) = &mut self.user else { return };
        let Some(welcome) = user.welcome.take() else { return };
        for (bytes, ways) in welcome.tokens.iter().zip(self.ways.iter().copied()) {
            let Ok(token) = <[u8; 32]>::try_from(bytes.as_slice()).map(Token::from_bytes) else { continue };
            user.dialling += 1;
            let dialing = user.dialer.data(DataOffer {
                token,
                ways,
                endpoint: welcome.data_endpoint.clone(),
                route: welcome.data_route.clone(),
                plaintext: welcome.plaintext_data,
            });
            let lane = self.data_lane.clone();
            actix_rt::spawn(async move {
                let message = match dialing.await {
                    Ok(link) => DataMessage::LinkArrived(link),
                    Err(error) => DataMessage::DialFailed(error),
                };
                let _ = lane.send(message).await;
            });
        }
    }

    /// A data link was dialled, or could not be. Whether the session only waited for it to say goodbye.
    pub(super) fn dialled(&mut self) -> bool {
        let Some(user) = &mut self.user else { return false };
        user.dialling = user.dialling.saturating_sub(1);
        let ends = user.leaving && user.dialling == 0;
        if ends {
            self.leave("clean", "");
        }
        ends
    }

    /// The node has opened the file we want.
    pub(super) fn opened(&mut self, opened: Opened) {
        let transfer = opened.transfer;
        let Some(open) = self.user.as_mut().and_then(|user| user.sinks.remove(&transfer)) else {
            // It was cancelled while the hello was on its way, when nothing else could be said.
            let told = self.session.cancel(transfer);
            return self.complain(told);
        };
        let Some(Opening { wish, .. }) = self.opening.get(&transfer) else { return };
        let wish = Wish { path: wish.path.clone(), ..*wish };
        let Some((lease, rates)) = self.open_leaf(Direction::Download, transfer, &wish, opened.size) else { return };
        let mut download = Download::new(lease, rates, WINDOW_FIRST_BYTES);
        download.begin_at(opened.start, opened.size);
        let leaf = download.lease.leaf.clone();
        self.downloads.insert(transfer, download);
        self.follow_ceilings();
        let meta = SinkMeta { size: opened.size, mtime_ns: opened.mtime_ns, owner: self.remote.peer };
        let opening = open(meta);
        disk::wait(&self.shared, &self.data_lane, "open", opening, move |result| DataMessage::SinkOpened {
            transfer,
            result,
        });
        if let Some(tag) = self.tag(transfer) {
            self.tell_user(SessionEvent::Started { tag, leaf, size: opened.size, start: opened.start });
        }
    }

    /// Our file for a get is open.
    pub(super) fn own_sink_opened(&mut self, transfer: u32, result: Result<OpenedSink, FileError>) {
        self.opening.remove(&transfer);
        let Some(download) = self.downloads.get_mut(&transfer) else { return };
        match result {
            // The node has the same first bytes, but of another file than the one whose part is here.
            Ok((_, resume)) if download.start > 0 && resume.map(|point| point.offset) != Some(download.start) => {
                let words = "the file changed at its node since the first part came; it is fetched anew";
                self.fail_transfer(transfer, FileError::new(FailureCode::Changed, words));
            }
            Ok((sink, _)) => {
                download.sink = Some(sink);
                let start = download.start;
                self.start_sink(transfer, start);
            }
            Err(error) => self.fail_transfer(transfer, error),
        }
    }

    /// The node is ready for our put; it may have a prefix.
    pub(super) fn ready(&mut self, ready: Ready) {
        let transfer = ready.transfer;
        let Some((source, wish)) = self.user.as_mut().and_then(|user| user.sources.remove(&transfer)) else { return };
        let size = source.size();
        let Some((lease, rates)) = self.open_leaf(Direction::Upload, transfer, &wish, size) else { return };
        self.uploads.insert(transfer, Upload::new(lease, source.clone(), 0, rates, false, self.worker.now()));
        let prefix = <[u8; 32]>::try_from(ready.prefix_hash.as_slice()).ok().map(PrefixHash);
        let verified = super::serve::verified_start(source, ready.offset, prefix);
        disk::wait(&self.shared, &self.data_lane, "open", verified, move |result| DataMessage::SourceOpened {
            transfer,
            result,
        });
    }

    /// It is known where our put starts.
    pub(super) fn own_source_verified(&mut self, transfer: u32, result: Result<(Arc<dyn Source>, u64), FileError>) {
        let start = match result {
            Ok((_, start)) => start,
            Err(error) => return self.fail_transfer(transfer, error),
        };
        let Some(upload) = self.uploads.get_mut(&transfer) else { return };
        upload.begin_at(start);
        let (leaf, size) = (upload.lease.leaf.clone(), upload.size);
        let told = self.session.begin(transfer, start);
        self.complain(told);
        self.pin_uploads();
        self.drive_upload(transfer);
        if let Some(tag) = self.tag(transfer) {
            self.tell_user(SessionEvent::Started { tag, leaf, size, start });
        }
    }

    /// A page of names came.
    pub(super) fn listing(&mut self, listing: Listing) {
        let reply = self.user.as_mut().and_then(|user| user.lists.remove(&listing.request));
        if let Some(reply) = reply {
            // The user may have given up waiting.
            let _ = reply.send(listing);
        }
    }

    /// A transfer ended well.
    pub(super) fn user_done(&mut self, transfer: u32) {
        if let Some(tag) = self.untag(transfer) {
            self.tell_user(SessionEvent::Done { tag });
        }
    }

    /// A transfer failed.
    pub(super) fn user_failed(&mut self, transfer: u32, code: FailureCode, message: String) {
        if let Some(tag) = self.untag(transfer) {
            self.tell_user(SessionEvent::Failed { tag, failed: Failed::new(transfer, code, message) });
        }
    }

    fn tag(&self, transfer: u32) -> Option<u64> {
        self.user.as_ref()?.tags.get(&transfer).copied()
    }

    fn untag(&mut self, transfer: u32) -> Option<u64> {
        let user = self.user.as_mut()?;
        user.sinks.remove(&transfer);
        user.sources.remove(&transfer);
        user.tags.remove(&transfer)
    }

    /// Takes over the proportions that the receiver of these transfers wants (seed 003).
    pub(super) fn apply_proportions(&mut self, shares: &[(u32, f64)]) {
        for (transfer, weight) in shares {
            let leaf = match (self.uploads.get(transfer), self.downloads.get(transfer)) {
                (Some(upload), _) => &upload.lease.leaf,
                (None, Some(download)) => &download.lease.leaf,
                (None, None) => continue,
            };
            let thousandths = (weight * 1000.0).round().clamp(1.0, 1e6) as u64;
            leaf.share_thousandths.store(thousandths, Relaxed);
        }
        self.shared.early.ring();
    }

    pub(super) fn rights(&self) -> Rights {
        match &self.life {
            Life::Member { rights, .. } => *rights,
            Life::Stranger | Life::Gone => Rights::NONE,
        }
    }
}

/// What the node is asked for, what is kept of it here, and how its local file is opened.
fn request(get: GetCommand) -> (GetRequest, Wish, OpenSink) {
    let GetCommand { tag: _, path, resume, weight, class, open } = get;
    let (offset, prefix_hash) = resume.map_or((0, None), |point| (point.offset, Some(point.hash.0)));
    let (weight_thousandths, class) = (thousandths(weight), Some(class));
    let wish = Wish { path: path.clone(), weight_thousandths, class, size: 0 };
    let window = offset + WINDOW_FIRST_BYTES;
    (GetRequest { path, offset, prefix_hash, weight_thousandths, class, window }, wish, open)
}

/// The machine did not let us.
fn unsaid(error: &SessionError) -> FileError {
    FileError::new(FailureCode::Internal, error.to_string())
}

fn thousandths(weight: f64) -> u32 {
    (weight * 1000.0).round().clamp(1.0, 1e6) as u32
}

pub(super) fn wire_entry(entry: FileEntry) -> Entry {
    let kind = match entry.kind {
        FileKind::Share => EntryKind::Share,
        FileKind::Directory => EntryKind::Directory,
        FileKind::File => EntryKind::File,
    };
    let unlisted = entry.unlisted.map_or(0, i32::from);
    let FileEntry { name, size, mtime_ns, hidden, special, .. } = entry;
    Entry { name, size, mtime_ns, kind: kind.into(), hidden, unlisted, special }
}
