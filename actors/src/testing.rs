//! A node's shared state without a thread, a socket or a file, for tests of what works on it.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use flow::{Class, Direction, GroupKey, LeafKey, Limiter, Rate, ShaperConfig, SharedBucket};
use tokio::sync::{Notify, mpsc};
use wire::PeerId;

use crate::{
    clock::Clock,
    meter::LeafMeter,
    metric::NodeMetrics,
    peer::ControlMessage,
    port::{FileError, FilePage, Files, OpenedSink, Policy, PortFuture, Rights, SinkMeta, Source, Transport, Viewer},
    registry::{LeafEntry, NodeSettings, Registry, SessionEntry},
    shared::{EarlyBell, GroupEntry, NodeConfig, PlanBook, Shared},
    spread::Spread,
};

struct Nothing;

impl Files for Nothing {
    fn list(&self, _: String, _: bool, _: String, _: Viewer) -> PortFuture<Result<FilePage, FileError>> {
        unreachable!("no session, no files")
    }

    fn open_source(&self, _: String) -> PortFuture<Result<Arc<dyn Source>, FileError>> {
        unreachable!("no session, no files")
    }

    fn open_sink(&self, _: String, _: SinkMeta) -> PortFuture<Result<OpenedSink, FileError>> {
        unreachable!("no session, no files")
    }
}

impl Policy for Nothing {
    fn rights(&self, _: &PeerId) -> Rights {
        Rights::ALL
    }
}

pub(crate) fn rate(bytes_per_second: u64) -> Rate {
    Rate::from_wire(bytes_per_second)
}

/// A node's shared state without any thread: an upload limit, and one group beside the default one.
pub(crate) fn shared(upload: u64) -> Arc<Shared> {
    let config = NodeConfig {
        id: PeerId::from_spki_der(b"node"),
        agent: "test".into(),
        workers: 1,
        sessions_max: 100_000,
        per_address_max: 100_000,
        data_links_max: 4,
        transfers_max: 16,
        control_frames_per_second: 1000,
        window_bytes_max: 1 << 20,
        plaintext_data: false,
        session_limits: wire::Limits::default(),
        interval: Duration::from_millis(2500),
        early: Duration::from_millis(250),
        drain: Duration::from_secs(1),
        knobs: flow::allocation::Knobs::default(),
        shaper: ShaperConfig::default(),
        limits: [rate(upload), Rate::UNLIMITED],
        shares: vec!["share".into()],
    };
    let bucket = |rate| Arc::new(SharedBucket::new(rate));
    let group = |key, name: &str| {
        GroupEntry::new(
            GroupKey(key),
            name.into(),
            Box::new(move |_, peer, _| Some(key == 1 && is_member(peer))),
            NodeSettings::default(),
        )
    };
    Arc::new(Shared {
        clock: Clock::start(),
        registry: Registry::default(),
        groups: vec![group(0, "default"), group(1, "mirrors")],
        totals: config.limits.map(bucket),
        moved: Default::default(),
        achieved: Default::default(),
        in_sockets: Default::default(),
        arrivals: bucket(Rate::UNLIMITED),
        bells: vec![Arc::new(Notify::new()), Arc::new(Notify::new())],
        spread: Spread::new(2),
        tree_version: 0.into(),
        early: EarlyBell::default(),
        book: ArcSwap::from_pointee(PlanBook::default()),
        draining: false.into(),
        metrics: Arc::new(NodeMetrics::register()),
        precedence: Arc::default(),
        files: Arc::new(Nothing),
        policy: Arc::new(Nothing),
        config,
    })
}

pub(crate) fn peer_id(name: &str) -> PeerId {
    PeerId::from_spki_der(name.as_bytes())
}

/// Whether the rule of the group "mirrors" takes the transfers of `peer`.
fn is_member(peer: &PeerId) -> bool {
    ["a", "b"].iter().any(|name| *peer == peer_id(name))
}

pub(crate) type Lane = mpsc::Receiver<ControlMessage>;

/// A session of peer `name`, and its control lane.
pub(crate) fn join(shared: &Shared, name: &str) -> (Arc<SessionEntry>, Lane) {
    let now = shared.clock.now();
    let (control, lane) = mpsc::channel(64);
    let session = Arc::new(SessionEntry {
        id: shared.registry.fresh_key(),
        peer: shared.registry.join(peer_id(name), String::new, now),
        worker: 0,
        control,
        address: ([127, 0, 0, 1], 1).into(),
        transport: Transport::Tcp,
        agent: String::new(),
        joined: now,
        desired: Default::default(),
        granted: Default::default(),
    });
    shared.registry.sessions.insert(session.id, session.clone());
    (session, lane)
}

/// An upload that waits for tokens.
pub(crate) fn hungry(shared: &Shared, session: &Arc<SessionEntry>, group: usize) -> Arc<LeafEntry> {
    let now = shared.clock.now();
    let leaf = Arc::new(LeafEntry {
        key: LeafKey(shared.registry.fresh_key()),
        direction: Direction::Upload,
        peer: session.peer.clone(),
        session: session.clone(),
        transfer: 1,
        path: "share/file".into(),
        group: shared.groups[group].key,
        size: u64::MAX.into(),
        meter: LeafMeter::new(now),
        share_thousandths: 1000.into(),
        class: Class::Foreground,
        settings: ArcSwap::from_pointee(NodeSettings::default()),
        group_settings: shared.groups[group].settings.clone(),
    });
    leaf.meter.hold(Limiter::Tokens, now);
    shared.registry.put_leaf(leaf.clone());
    leaf
}
