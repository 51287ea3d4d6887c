//! `evenkeel serve`: a node, from its configuration to its last word.

use std::{
    io::{self, Write},
    net::SocketAddr,
    path::Path,
    sync::Arc,
};

use actors::{Node, NodeConsole, Threads, guest::Door};
use flow::Rate;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{
    admin,
    config::{Config, LogFormat, Share},
    files::{self, FilesConfig, ShareConfig, Shares},
    identity::{AuthorizedPeers, Identity},
    telemetry::{self, MetricsPage},
    transport::{self, Credentials, http::HttpListener},
};

use super::{
    Exit, Failure, ServeOptions, compose, doors::Doors, options::ConfigSource, places::Places, reload::Reload,
};

/// Runs a node until it is told to end, by a signal or by its operator.
///
/// # Errors
/// Whatever keeps it from starting, with words for the operator.
pub fn serve(options: ServeOptions) -> Result<(), Failure> {
    let format = match options.config.log.format {
        LogFormat::Auto => telemetry::LogFormat::Auto,
        LogFormat::Pretty => telemetry::LogFormat::Pretty,
        LogFormat::Json => telemetry::LogFormat::Json,
    };
    // Until the end: it writes the last lines when it goes.
    let log = telemetry::install_log(&options.config.log.level.to_string(), format).map_err(machine)?;
    let identity = Identity::load_or_create(&options.state).map_err(machine)?;
    transport::install_provider();
    host::keep_freed_memory();
    let open_files = host::raise_descriptor_limit().unwrap_or_else(|_| host::descriptor_limit().soft);
    let places = Places::under(open_files, &options.config).map_err(machine)?;
    // Before any runtime, so that the page has its own thread and is served whatever the workers do.
    let metrics = telemetry::Metrics::install().map_err(machine)?.with_log(&log);
    let page = MetricsPage::bind(options.config.listen.metrics, metrics).map_err(machine)?;
    // After the first door, so that a second node on the same ports leaves nothing behind.
    if options.sample_share {
        for share in &options.config.shares {
            files::sample_share(&share.path).map_err(|error| {
                let path = share.path.display();
                machine(format!("can't make {path}: {error}; give a directory with --share NAME=DIR"))
            })?;
        }
    }
    let system = actix_rt::System::new();
    system.block_on(run(options, identity, page, places))
}

async fn run(options: ServeOptions, identity: Identity, page: MetricsPage, places: Places) -> Result<(), Failure> {
    let ServeOptions { config, source, state, .. } = options;
    let credentials = Credentials::generate_from_pkcs8(identity.key_pkcs8()).map_err(machine)?;
    let authorized = state.join(&config.access.authorized_peers);
    let policy = AuthorizedPeers::load(authorized, identity.id(), config.access.open)
        .map_err(|error| Failure::new(Exit::Config, error.to_string()))?;
    let policy = Arc::new(policy);
    policy.watch().map_err(machine)?;
    let mut files_config = FilesConfig::new(state.path());
    files_config.disk_threads = config.files.disk_threads;
    files_config.sendfile = config.transport.sendfile;
    let shares = Shares::new(config.shares.iter().map(share_config).collect(), files_config)
        .map_err(|error| Failure::new(Exit::Config, error.to_string()))?;
    let node_config = compose::node_config(&config, identity.id());
    let node = Node::start(node_config, compose::tree(&config), Arc::new(shares), policy, Threads::Arbiters);
    node.shared().metrics.open_files_max.set(host::descriptor_limit().soft as f64);
    let ended = attend(&node, &config, source, &identity, &credentials, &page, places).await;
    node.stop();
    // An actor that never had a turn is started by the end of its runtime, where it finds no timer and panics.
    tokio::task::yield_now().await;
    ended
}

/// Opens the doors, waits until it is told to end, and closes them.
async fn attend(
    node: &Arc<Node>,
    config: &Config,
    source: ConfigSource,
    identity: &Identity,
    credentials: &Credentials,
    page: &MetricsPage,
    places: Places,
) -> Result<(), Failure> {
    let doors = Doors::bind(node, config, credentials).map_err(machine)?;
    let peers = doors.address().map_err(machine)?;
    node.set_listen(peers, doors.quic().clone());
    let http = http(node, config, places.guests)?;
    let guests = http.as_ref().map(HttpListener::local_addr).transpose().map_err(machine)?;
    let admin_config = admin::AdminConfig {
        token: config.admin.token.as_ref().map(|token| token.reveal().to_owned()),
        metrics: node.shared().metrics.clone(),
        precedence: node.shared().precedence.clone(),
    };
    let console = Arc::new(NodeConsole(node.clone()));
    let admin = admin::Server::bind(config.listen.admin, console, admin_config).map_err(machine)?;
    let addresses =
        Addresses { peers, quic: doors.quic().to_string(), admin: admin.address(), metrics: page.address(), guests };
    // Before anybody is told that there is a node: whoever reads it may signal at once.
    let mut signals = Signals::listen().map_err(machine)?;
    let mut reload = Reload::listen(NodeConsole(node.clone()), source, config.clone()).map_err(machine)?;
    if let Some(warning) = places.warning {
        tracing::warn!("{warning}");
    }
    // Nobody may be reading what a service prints.
    let _ = announce(config, identity, &addresses);
    let mut accepting = doors.open();
    accepting.extend(http.map(|listener| actix_rt::spawn(listener.run())));
    until_told(node, &mut signals, &mut reload).await;
    // Who comes while it drains is refused and counted, and hears that, not that nobody is there.
    let ended = end(node, config, &mut signals).await;
    accepting.iter().for_each(tokio::task::JoinHandle::abort);
    // It waits for requests in flight.
    let _ = tokio::task::spawn_blocking(move || admin.stop()).await;
    ended
}

/// The port for clients without Evenkeel, if there is to be one.
fn http(node: &Arc<Node>, config: &Config, connections_max: usize) -> Result<Option<HttpListener>, Failure> {
    let Some(address) = config.http.listen else { return Ok(None) };
    let certificate = compose::certificate(config)?;
    let http_config = compose::http_config(config, certificate.as_ref())?;
    if let Some(certificate) = &certificate {
        certificate.watch(node.shared().metrics.clone()).map_err(machine)?;
    }
    let door = Door::new(node.clone(), compose::guest_limits(config, connections_max));
    HttpListener::bind(address, door, http_config).map(Some).map_err(machine)
}

pub(super) fn share_config(share: &Share) -> ShareConfig {
    ShareConfig { name: share.name.clone(), path: share.path.clone(), writable: share.writable, public: share.public }
}

fn machine(error: impl ToString) -> Failure {
    Failure::new(Exit::Machine, error.to_string())
}

/// The signals that end a node.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn heard(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

async fn until_told(node: &Node, signals: &mut Signals, reload: &mut Reload) {
    let mut drain = node.drain_asked();
    loop {
        tokio::select! {
            () = signals.heard() => return,
            _ = drain.wait_for(|asked| *asked) => return,
            // One at a time; a disk that hangs does not keep the node from ending.
            () = reload.asked() => tokio::select! {
                () = reload.run() => {}
                () = signals.heard() => return,
            },
        }
    }
}

/// Drains; a second signal forces. An error when somebody was cut off.
async fn end(node: &Node, config: &Config, signals: &mut Signals) -> Result<(), Failure> {
    let seconds = config.node.drain.as_secs();
    tracing::info!("draining: no new sessions; transfers may end within {seconds} s");
    let (left, why) = tokio::select! {
        left = node.drain() => (left, "the time to drain was over"),
        () = signals.heard() => (node.shared().registry.sessions.len(), "forced to end by a second signal"),
    };
    if left == 0 {
        tracing::info!("drained");
        return Ok(());
    }
    Err(Failure::new(Exit::CutOff, format!("{why}; sessions cut off: {left}; their transfers can be resumed")))
}

/// Where the node is reached.
struct Addresses {
    peers: SocketAddr,
    quic: String,
    admin: SocketAddr,
    metrics: SocketAddr,
    guests: Option<SocketAddr>,
}

/// What a person wants to see first: where it is, and what to try next.
fn announce(config: &Config, identity: &Identity, addresses: &Addresses) -> io::Result<()> {
    let Addresses { peers, quic, admin, metrics, guests } = addresses;
    let mut out = io::stdout().lock();
    writeln!(out, "evenkeel {}", env!("CARGO_PKG_VERSION"))?;
    writeln!(out, "id       {}", identity.id())?;
    writeln!(out, "peers    {peers}")?;
    writeln!(out, "quic     {quic}")?;
    writeln!(out, "admin    http://{admin}")?;
    writeln!(out, "metrics  http://{metrics}/metrics")?;
    let scheme = if config.http.certificate.is_some() { "https" } else { "http" };
    if let Some(guests) = guests {
        writeln!(out, "http     {scheme}://{guests}/")?;
    }
    writeln!(out, "upload   {}", limit(config.limits.upload))?;
    writeln!(out, "download {}", limit(config.limits.download))?;
    for share in &config.shares {
        let rights = if share.writable { "read and write" } else { "read only" };
        let public = if guests.is_some() && (share.public || config.access.open) { ", public over HTTP" } else { "" };
        writeln!(out, "share    {} = {} ({rights}{public})", share.name, share.path.display())?;
    }
    let shown = config.shares.iter().find(|share| share.public || config.access.open);
    if guests.is_some() && shown.is_none() {
        writeln!(out, "\nno share is public: mark one `public = true` in the configuration, or add --open")?;
    }
    writeln!(out, "\ntry next, in another terminal:")?;
    let [peers, admin] = [*peers, *admin].map(transport::destination);
    let program = std::env::args().next().unwrap_or_else(|| "evenkeel".into());
    if let Some(share) = config.shares.first() {
        writeln!(out, "  {program} ls {peers}/{}", share.name)?;
        if let Some(name) = first_file(&share.path) {
            writeln!(out, "  {program} get {peers}/{}/{name} -o /tmp/ --bwlimit 1MB/s", share.name)?;
            if share.writable {
                writeln!(out, "  {program} put /tmp/{name} {peers}/{}/copy-of-{name}", share.name)?;
            }
        }
    }
    if let (Some(guests), Some(share)) = (guests.map(transport::destination), shown) {
        writeln!(out, "  curl {scheme}://{guests}/{}/", share.name)?;
    }
    writeln!(out, "  {program} ctl --admin http://{admin} status")?;
    writeln!(out, "  {program} ctl --admin http://{admin} limit --upload 5MB/s")?;
    out.flush()
}

fn limit(rate: Rate) -> String {
    if rate.is_unlimited() { "no limit: the line's maximum is found".into() } else { rate.to_string() }
}

/// A file to try, the largest of the first few: something to see the rate on.
fn first_file(directory: &Path) -> Option<String> {
    let entries = std::fs::read_dir(directory).ok()?.take(100).flatten();
    let files = entries.filter_map(|entry| {
        let meta = entry.metadata().ok().filter(std::fs::Metadata::is_file)?;
        let name = entry.file_name().into_string().ok().filter(|name| !name.ends_with(".part"))?;
        Some((meta.len(), name))
    });
    files.max().map(|(_, name)| name)
}
