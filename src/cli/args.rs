//! The command line as it is written; `options` has what it means.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand};
use flow::{Class, Rate};
use wire::{DataLinks, PeerId};

use super::{
    ctl::CtlArgs,
    help::{EXIT_CODES, RATES, examples},
    target::Target,
    value,
};
use crate::{
    config::{self, Share},
    node::{DemoTransport, SignOptions, TransportChoice},
};

/// Where `serve --http` listens without an address: on this machine, beside the other ports.
const HTTP_LISTEN: &str = "127.0.0.1:7480";

/// Moves files between peers and shares the line among them calmly.
#[derive(Debug, Parser)]
#[command(name = "evenkeel", version, propagate_version = true, max_term_width = 110)]
#[command(after_help = examples!(EXIT_CODES; "serve", "get 127.0.0.1:7400/share/README.txt", "ctl peers"))]
pub(super) struct Cli {
    /// Where keys, known peers, authorized peers and resume data live [default: $XDG_STATE_HOME/evenkeel].
    #[arg(long, global = true, value_name = "DIR")]
    pub(super) state: Option<PathBuf>,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    Serve(ServeArgs),
    Get(GetArgs),
    Put(PutArgs),
    Ls(LsArgs),
    Ctl(CtlArgs),
    Demo(DemoArgs),
    Id(IdArgs),
    Sign(SignArgs),
    Config(ConfigArgs),
    Completions(CompletionsArgs),
}

/// Runs a node: shares directories with peers until it is stopped.
///
/// Without any share it shares ./share, and makes it with a sample file if it is not there. SIGTERM and Ctrl-C let
/// transfers end first; a second one does not wait. SIGHUP has the configuration read again.
#[derive(Debug, Args)]
#[command(after_help = examples!(RATES;
    "serve",
    "serve --share music=/srv/music --upload-limit 20MB/s",
    "serve --config evenkeel.toml --listen 0.0.0.0:7400 --open",
    "serve --share music=/srv/music --open --http 0.0.0.0:7480",
))]
pub(super) struct ServeArgs {
    /// Configuration file; flags win over it.
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Share a directory under a name; peers with the right `write` may put files there. May be given many times.
    #[arg(long, value_name = "NAME=DIR", value_parser = value::share)]
    pub(super) share: Vec<Share>,
    /// Where peers connect, over TCP and UDP [default: 127.0.0.1:7400].
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = config::parse_socket_address)]
    pub(super) listen: Option<SocketAddr>,
    /// First UDP port for data over QUIC, one for each worker [default: any free ports].
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = config::parse_socket_address)]
    pub(super) listen_data: Option<SocketAddr>,
    /// Where the control message API listens [default: 127.0.0.1:7490].
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = config::parse_socket_address)]
    pub(super) admin: Option<SocketAddr>,
    /// Where Prometheus finds the metrics [default: 127.0.0.1:7491].
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = config::parse_socket_address)]
    pub(super) metrics: Option<SocketAddr>,
    /// Serve public shares over HTTP as well (all of them with --open), at 127.0.0.1:7480 if no address is given.
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = config::parse_socket_address,
        num_args = 0..=1, default_missing_value = HTTP_LISTEN)]
    pub(super) http: Option<SocketAddr>,
    /// Most that all peers together get, per second [default: off, the line's maximum is found].
    #[arg(long, value_name = "RATE", value_parser = value::rate)]
    pub(super) upload_limit: Option<Rate>,
    /// Most that all peers together send, per second [default: off].
    #[arg(long, value_name = "RATE", value_parser = value::rate)]
    pub(super) download_limit: Option<Rate>,
    /// Let anybody read.
    #[arg(long)]
    pub(super) open: bool,
}

/// What `get` and `put` have in common.
#[derive(Debug, Args)]
pub(super) struct TransferArgs {
    /// Most to move, per second; the node is asked for no more [default: off].
    #[arg(long, value_name = "RATE", value_parser = value::rate, default_value = "off", hide_default_value = true)]
    pub(super) bwlimit: Rate,
    /// Yield to foreground transfers.
    #[arg(long)]
    pub(super) background: bool,
    /// Share of these files among one's own transfers, 0.001 to 1000.
    #[arg(long, value_name = "N", value_parser = value::weight, default_value = "1")]
    pub(super) weight: f64,
    /// Data connections; a few help over long, lossy lines. A number, or one for each kind: `down:2` carry bytes from the node
    /// only, `up:2` to it only, `both:1,down:2` are three. The node grants at most 8, or what it is configured to.
    #[arg(long, value_name = "LINKS", value_parser = value::data_links, default_value = "1")]
    pub(super) data_links: DataLinks,
    #[command(flatten)]
    pub(super) reach: ReachArgs,
}

/// How to get to a node, and whom to believe there.
#[derive(Debug, Args)]
pub(super) struct ReachArgs {
    /// tcp, quic, or auto: QUIC, and TCP if nobody answers within 300 ms.
    #[arg(long, value_name = "HOW", value_parser = value::transport, default_value = "tcp")]
    pub(super) transport: TransportChoice,
    /// The node's id, as `evenkeel id` prints it there [default: the one of the first contact].
    #[arg(long, value_name = "ID")]
    pub(super) peer_id: Option<PeerId>,
}

/// Fetches files, directories and shares, and checks them; interrupted ones are continued.
///
/// A directory or a share comes with everything beneath it. A file that is here already is compared with the node's by its
/// BLAKE3 hash, and left as it is when they are the same; so the same command goes on where it was interrupted.
#[derive(Debug, Args)]
#[command(after_help = examples!(RATES;
    "get 127.0.0.1:7400/share/README.txt",
    "get host:7400/iso/a.iso host:7400/iso/b.iso -o downloads/ --bwlimit 10MB/s",
    "get host:7400/iso -o mirror --data-links 4",
    "get '[2001:db8::1]:7400/iso/a.iso' --background",
))]
pub(super) struct GetArgs {
    /// What to fetch.
    #[arg(value_name = "HOST:PORT/SHARE[/PATH]", required = true)]
    pub(super) targets: Vec<Target>,
    /// File to write, or directory to write into; with a slash at the end (then it is made), or for several, each gets its
    /// own name in it [default: its own name, here].
    #[arg(short, long, value_name = "OUT")]
    pub(super) output: Option<PathBuf>,
    #[command(flatten)]
    pub(super) transfer: TransferArgs,
}

/// Sends files; they get their names there only when they arrived whole.
#[derive(Debug, Args)]
#[command(after_help = examples!(RATES;
    "put report.pdf 127.0.0.1:7400/share/",
    "put report.pdf host:7400/share/2024/final.pdf --bwlimit 8Mbit/s",
    "put a.iso b.iso host:7400/iso/incoming/ --background",
))]
pub(super) struct PutArgs {
    /// What to send.
    #[arg(value_name = "FILE", required = true)]
    pub(super) files: Vec<PathBuf>,
    /// Where to: a name for one file, or a directory with a slash at the end.
    #[arg(value_name = "HOST:PORT/SHARE/[PATH]")]
    pub(super) target: Target,
    #[command(flatten)]
    pub(super) transfer: TransferArgs,
}

/// Lists shares and files.
#[derive(Debug, Args)]
#[command(after_help = examples!("ls 127.0.0.1:7400", "ls host:7400/iso/old --json"))]
pub(super) struct LsArgs {
    /// What to list.
    #[arg(value_name = "HOST:PORT[/SHARE[/PATH]]")]
    pub(super) target: Target,
    /// For programs: one JSON array.
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) reach: ReachArgs,
}

/// Shows a node and many peers sharing a limit on this machine.
///
/// Real peers over loopback sockets, with different wishes, weights and classes; some join late, some read slowly. At the end
/// it compares what each wrote to disk with the exact weighted max-min shares.
#[derive(Debug, Args)]
#[command(after_help = examples!(RATES; "demo", "demo --peers 50 --upload-limit 20MB/s --for 60"))]
pub(super) struct DemoArgs {
    /// How many peers.
    #[arg(long, value_name = "N", default_value = "12", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(super) peers: u32,
    /// tcp, quic, or mixed: every second peer over QUIC.
    #[arg(long, value_name = "HOW", default_value = "tcp", value_parser = value::demo_transport)]
    pub(super) transport: DemoTransport,
    /// What they share.
    #[arg(long, value_name = "RATE", default_value = "20MB/s", value_parser = value::rate)]
    pub(super) upload_limit: Rate,
    /// How long, in seconds; 30 at least, for the verdict.
    #[arg(long = "for", value_name = "SECONDS", default_value = "30", value_parser = value::demo_seconds)]
    pub(super) duration: Duration,
}

/// Prints one's own peer id, and the line for somebody's authorized_peers.
///
/// The line gives the right `read`; `write` and `operate` can be added with commas, and the comment is free.
#[derive(Debug, Args)]
#[command(after_help = examples!("id", "id --state /var/lib/evenkeel"))]
pub(super) struct IdArgs {}

/// Prints a web address of a file with terms of its own: a weight, a cap, a class.
///
/// Whoever has the address gets them until its time is over, and can change nothing of them. The node needs the same key
/// file (`signing_key_file` in `[http]`).
#[derive(Debug, Args)]
#[command(after_help = examples!(RATES;
    "sign http://127.0.0.1:7480/share/big.iso --key signing.key --cap 5MB/s",
    "sign /share/big.iso --key signing.key --weight 3 --class background --for 24h",
))]
pub(super) struct SignArgs {
    /// The address, or its path alone.
    #[arg(value_name = "URL")]
    address: String,
    /// File with the secret.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Share in proportion among the requests of one client address, 0.001 to 1000.
    #[arg(long, value_name = "N", default_value = "1", value_parser = value::weight)]
    weight: f64,
    /// Never more than this, per second.
    #[arg(long, value_name = "RATE", default_value = "off", value_parser = value::rate)]
    cap: Rate,
    /// foreground or background, whatever the client's address and group have.
    #[arg(long, value_name = "CLASS", value_parser = value::class)]
    class: Option<Class>,
    /// How long it holds, such as 10m or 24h; a bare number is seconds.
    #[arg(long = "for", value_name = "TIME", default_value = "1h", value_parser = value::validity)]
    duration: Duration,
}

impl SignArgs {
    pub(super) fn resolve(self) -> SignOptions {
        let Self { address, key, weight, cap, class, duration } = self;
        SignOptions { address, key, weight, cap, class, duration }
    }
}

/// Works with configuration files.
#[derive(Debug, Args)]
#[command(after_help = examples!("config check evenkeel.toml"))]
pub(super) struct ConfigArgs {
    #[command(subcommand)]
    pub(super) command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Says everything that is wrong with a file, each with its line; exit code 64 if anything is.
    #[command(after_help = examples!("config check evenkeel.toml"))]
    Check {
        /// The file.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

/// Prints completions for a shell.
#[derive(Debug, Args)]
#[command(after_help = examples!("completions bash", "completions zsh"))]
pub(super) struct CompletionsArgs {
    /// Which shell.
    #[arg(value_name = "SHELL")]
    pub(super) shell: clap_complete::Shell,
}
