//! What a node does for a peer: admit, list, open files.

use std::{
    mem,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use arc_swap::ArcSwap;
use flow::{Class, Direction, LeafKey, Rate, shaper::LeafRates};
use wire::{ClassCode, FailureCode, Get, Hello, List, Put, Refusal, RefusalCode, Welcome};

use crate::{
    meter::LeafMeter,
    peer::{
        DataMessage, PeerActor,
        actor::Life,
        disk,
        download::Download,
        link::Tether,
        membership::Membership,
        upload::{Upload, not_open},
    },
    port::{FileError, PrefixHash, ResumePoint, Rights, Sink, SinkMeta, Source, Viewer},
    registry::{LeafEntry, NodeSettings},
    worker::{LeafLease, Owner},
};

impl PeerActor {
    /// A peer says hello: rights, room, then a welcome with grants and tokens, or a typed refusal.
    pub(super) fn hello(&mut self, hello: Hello) {
        let rights = self.shared.policy.rights(&self.remote.peer);
        if let Some((code, words, retry_after_ms)) = self.refuses(rights) {
            let told = self.session.refuse(Refusal::new(code, words).retry_after_ms(retry_after_ms));
            return self.complain(told);
        }
        self.class = hello.flow_class();
        let desired = [hello.download, hello.upload];
        let mut membership =
            Membership::join(&self.worker, &self.remote, hello.agent.clone(), desired, self.control_lane.clone());
        let links_max = u32::try_from(self.shared.config.data_links_max).unwrap_or(u32::MAX);
        let links = hello.links().at_most(links_max);
        let tokens = match membership.issue_tokens(links, &self.data_lane) {
            Ok(tokens) => tokens,
            Err(error) => {
                tracing::error!("no randomness for tokens: {error}");
                let words = "this node can't make tokens now; try again".to_owned();
                let told = self.session.refuse(Refusal::new(RefusalCode::Internal, words).retry_after_ms(5_000));
                return self.complain(told);
            }
        };
        self.ways = links.ways().collect();
        let [upload, download] = Direction::ALL.map(|direction| self.grant(&membership, direction));
        membership.session.set_granted([upload, download]);
        let welcome = Welcome {
            session: membership.session.id,
            granted_upload: download.to_wire(),
            granted_download: upload.to_wire(),
            tokens: tokens.iter().map(|token| token.as_bytes().to_vec()).collect(),
            data_endpoint: mem::take(&mut self.data_endpoint),
            data_route: format!("w{}", self.worker.index),
            plaintext_data: self.shared.config.plaintext_data,
            window_max: self.shared.config.window_bytes_max,
            transfers_max: u32::try_from(self.shared.config.transfers_max).unwrap_or(u32::MAX),
            down_links: links.down,
            up_links: links.up,
        };
        tracing::info!(peer = %self.remote.peer, address = %self.remote.address, agent = %wire::printable(&hello.agent), "joined");
        self.life = Life::Member { membership, rights };
        let told = self.session.welcome(welcome);
        self.complain(told);
    }

    fn refuses(&self, rights: Rights) -> Option<(RefusalCode, String, u64)> {
        if self.shared.draining.load(Relaxed) {
            return Some((RefusalCode::Draining, "this node is going down; try again later".into(), 30_000));
        }
        if !rights.any() {
            let words = format!(
                "peer {} has no rights here: ask the operator to add the line that `evenkeel id` prints to the node's \
                 authorized_peers",
                self.remote.peer
            );
            return Some((RefusalCode::Unauthorized, words, 0));
        }
        let sessions_max = self.shared.config.sessions_max;
        (self.shared.registry.keyed_sessions() >= sessions_max)
            .then(|| (RefusalCode::Full, format!("all {sessions_max} sessions are taken; try again later"), 10_000))
    }

    /// The ceiling that the node grants: what the peer desires, as far as its cap and the total go.
    fn grant(&self, membership: &Membership, direction: Direction) -> Rate {
        let cap = membership.peer().settings.load().cap[direction.index()];
        membership.session.desired(direction).min(cap).min(self.shared.totals[direction.index()].rate())
    }

    /// A peer wants a page of names.
    pub(super) fn list(&mut self, list: List) {
        let rights = self.rights();
        if !rights.read {
            let result = Err(FileError::new(FailureCode::Forbidden, "this peer may not read here"));
            return self.listed(list.request, result);
        }
        let page = self.shared.files.list(list.path, list.recursive, list.after, Viewer { write: rights.write });
        let request = list.request;
        disk::wait(&self.shared, &self.data_lane, "open", page, move |result| DataMessage::Listed { request, result });
    }

    /// A page of names is there.
    pub(super) fn listed(&mut self, request: u32, result: Result<crate::port::FilePage, FileError>) {
        let told = match result {
            Ok(page) => {
                self.shared.metrics.names_hidden.increment(page.hidden_names());
                let entries = page.entries.into_iter().map(super::user::wire_entry).collect();
                self.session.listing(wire::Listing {
                    request,
                    entries,
                    more: page.more,
                    error: None,
                    hidden: page.hidden,
                    special: page.special,
                })
            }
            Err(error) => self.session.list_failed(request, error.code, error.message),
        };
        self.complain(told);
    }

    /// A peer wants a file.
    pub(super) fn get(&mut self, get: Get) {
        let transfer = get.transfer;
        if !self.rights().read {
            return self.fail_transfer(transfer, FileError::new(FailureCode::Forbidden, "this peer may not read here"));
        }
        if self.transfers() >= self.shared.config.transfers_max {
            return self.fail_transfer(transfer, self.too_many());
        }
        if let Some(error) = self.no_link(Direction::Upload) {
            return self.fail_transfer(transfer, error);
        }
        let opening = self.shared.files.open_source(get.path.clone());
        let prefix = <[u8; 32]>::try_from(get.prefix_hash.as_slice()).ok().map(PrefixHash);
        let offset = get.offset;
        let opened = async move { verified_start(opening.await?, offset, prefix).await };
        // Hashing a long prefix takes a while: not for a peer that has given up.
        let task = disk::tethered(&self.shared, &self.data_lane, "open", opened, move |result| {
            DataMessage::SourceOpened { transfer, result }
        });
        self.opening.insert(transfer, Opening { wish: get.into(), _task: Some(task) });
    }

    /// The file is open, and it is known where to start.
    pub(super) fn source_opened(&mut self, transfer: u32, result: Result<(Arc<dyn Source>, u64), FileError>) {
        let Some(Opening { wish, .. }) = self.opening.remove(&transfer) else { return };
        let (source, start) = match result {
            Ok(opened) => opened,
            Err(error) => return self.fail_transfer(transfer, error),
        };
        let (size, mtime_ns) = (source.size(), source.mtime_ns());
        let Some((lease, rates)) = self.open_leaf(Direction::Upload, transfer, &wish, size) else {
            return self.fail_transfer(transfer, not_open("the session is not open"));
        };
        self.uploads.insert(transfer, Upload::new(lease, source, start, rates, true, self.worker.now()));
        let told = self.session.opened(transfer, size, mtime_ns, start);
        self.complain(told);
        self.pin_uploads();
        self.drive_upload(transfer);
    }

    /// A peer wants to send a file.
    pub(super) fn put(&mut self, put: Put) {
        let transfer = put.transfer;
        if !self.rights().write {
            let words = "this peer may not write here; the operator can give it `write` in authorized_peers";
            return self.fail_transfer(transfer, FileError::new(FailureCode::Forbidden, words));
        }
        if self.transfers() >= self.shared.config.transfers_max {
            return self.fail_transfer(transfer, self.too_many());
        }
        if let Some(error) = self.no_link(Direction::Download) {
            return self.fail_transfer(transfer, error);
        }
        let meta = SinkMeta { size: put.size, mtime_ns: put.mtime_ns, owner: self.remote.peer };
        let opening = self.shared.files.open_sink(put.path.clone(), meta);
        self.opening.insert(transfer, Opening::new(put.into()));
        disk::wait(&self.shared, &self.data_lane, "open", opening, move |result| DataMessage::SinkOpened {
            transfer,
            result,
        });
    }

    /// The part is open; the peer is told what is there already.
    pub(super) fn sink_opened(
        &mut self,
        transfer: u32,
        result: Result<(Arc<dyn Sink>, Option<ResumePoint>), FileError>,
    ) {
        let Some(Opening { wish, .. }) = self.opening.remove(&transfer) else { return };
        let (sink, resume) = match result {
            Ok(opened) => opened,
            Err(error) => return self.fail_transfer(transfer, error),
        };
        let size = wish.size;
        let Some((lease, rates)) = self.open_leaf(Direction::Download, transfer, &wish, size) else {
            return self.fail_transfer(transfer, not_open("the session is not open"));
        };
        let mut download = Download::new(lease, rates, 0);
        download.sink = Some(sink);
        download.size = size;
        self.downloads.insert(transfer, download);
        self.follow_ceilings();
        let (offset, prefix_hash) = resume.map_or((0, None), |point| (point.offset, Some(point.hash.0)));
        let told = self.session.ready(transfer, offset, prefix_hash, 0);
        self.complain(told);
    }

    /// The sender of a put says where it starts.
    pub(super) fn begin(&mut self, transfer: u32, start: u64) {
        let Some(download) = self.downloads.get_mut(&transfer) else { return };
        let size = download.size;
        download.begin_at(start, size);
        self.start_sink(transfer, start);
    }

    /// Cuts the part off at `start`.
    pub(super) fn start_sink(&mut self, transfer: u32, start: u64) {
        let Some(sink) = self.downloads.get(&transfer).and_then(|download| download.sink.clone()) else { return };
        disk::wait(&self.shared, &self.data_lane, "open", sink.start(start), move |result| DataMessage::SinkStarted {
            transfer,
            result,
        });
    }

    /// The sink stands where the sender starts.
    pub(super) fn sink_started(&mut self, transfer: u32, result: Result<(), FileError>) {
        match (self.downloads.get_mut(&transfer), result) {
            (None, _) => {}
            (Some(download), Ok(())) => {
                download.running = true;
                self.drive_download(transfer);
            }
            (Some(_), Err(error)) => self.fail_transfer(transfer, error),
        }
    }

    /// Gives a transfer its leaf in the tree. `None` when the session has ended meanwhile.
    pub(super) fn open_leaf(
        &mut self,
        direction: Direction,
        transfer: u32,
        wish: &Wish,
        size: u64,
    ) -> Option<(LeafLease, LeafRates)> {
        let membership = match &self.life {
            Life::Member { membership, .. } => membership,
            Life::Stranger | Life::Gone => return None,
        };
        let group = self.shared.group_of(&wish.path, &self.remote.peer, membership.address().ip());
        let leaf = Arc::new(LeafEntry {
            key: LeafKey(self.shared.registry.fresh_key()),
            direction,
            peer: membership.peer().clone(),
            session: membership.session.clone(),
            transfer,
            path: wish.path.clone(),
            group: group.key,
            size: AtomicU64::new(size),
            meter: LeafMeter::new(self.worker.now()),
            share_thousandths: AtomicU64::new(u64::from(wish.weight_thousandths)),
            class: wish.class.unwrap_or(self.class),
            settings: ArcSwap::from_pointee(NodeSettings::default()),
            group_settings: group.settings.clone(),
        });
        let rates = self.shared.first_rates(direction, leaf.weight(), leaf.class());
        self.transfer_of.insert(leaf.key, transfer);
        self.shared.metrics.direction(direction).transfers.increment(1.0);
        Some((self.worker.open_leaf(leaf, rates, Owner::Lane(self.data_lane.clone())), rates))
    }

    /// Takes a transfer out of wherever it is; `outcome` is counted.
    pub(super) fn forget_transfer(&mut self, transfer: u32, outcome: &str) {
        self.opening.remove(&transfer);
        let link = self.drop_upload(transfer, outcome).and_then(|upload| upload.link);
        self.drop_download(transfer, outcome);
        if let Some(link) = link {
            self.drive_link(link);
        }
        self.leave_if_drained();
    }

    fn too_many(&self) -> FileError {
        let words = format!("this session has {} transfers already", self.shared.config.transfers_max);
        FileError::new(FailureCode::TooMany, words)
    }
}

pub(super) async fn verified_start(
    source: Arc<dyn Source>,
    offset: u64,
    prefix: Option<PrefixHash>,
) -> Result<(Arc<dyn Source>, u64), FileError> {
    let start = match prefix {
        Some(hash) if offset > 0 && offset <= source.size() && source.prefix_matches(offset, hash).await? => offset,
        Some(_) | None => 0,
    };
    Ok((source, start))
}

/// A transfer whose file is being opened.
pub(super) struct Opening {
    pub(super) wish: Wish,
    /// The opening of a file to read; it ends with this. That of a part goes on, since it holds the part's lock.
    _task: Option<Tether>,
}

impl Opening {
    pub(super) fn new(wish: Wish) -> Self {
        Self { wish, _task: None }
    }
}

/// What a transfer was asked for.
pub(super) struct Wish {
    pub(super) path: String,
    pub(super) weight_thousandths: u32,
    pub(super) class: Option<Class>,
    pub(super) size: u64,
}

impl From<Get> for Wish {
    fn from(get: Get) -> Self {
        let class = class_of(get.class);
        Self { path: get.path, weight_thousandths: thousandths(get.weight), class, size: 0 }
    }
}

impl From<Put> for Wish {
    fn from(put: Put) -> Self {
        let class = class_of(put.class);
        Self { path: put.path, weight_thousandths: thousandths(put.weight), class, size: put.size }
    }
}

/// `None`: the session's.
fn class_of(code: i32) -> Option<Class> {
    match ClassCode::try_from(code) {
        Ok(ClassCode::Foreground) => Some(Class::Foreground),
        Ok(ClassCode::Background) => Some(Class::Background),
        Ok(ClassCode::Unspecified) | Err(_) => None,
    }
}

fn thousandths(weight: u32) -> u32 {
    if weight == 0 { 1000 } else { weight.min(1_000_000) }
}
