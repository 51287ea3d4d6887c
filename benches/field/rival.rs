//! The servers that stand beside one another: each shares the same file, on the same core, with the same limit.

use std::{
    ffi::OsString,
    fs,
    io::{BufRead as _, BufReader},
    net::{SocketAddr, TcpListener},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::load::Speech;
use crate::measure::{Outcome, PROGRAM, Server, find_program, pinned};

/// The core of the server; the load has the other.
pub(crate) const CORE: usize = 0;
/// Debian's own, which is what Debian's libtorrent is for, whatever else is in the path.
const PYTHON: &str = "/usr/bin/python3";

/// Who serves, and how it is limited.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) enum Rival {
    /// One total for all, equal weights.
    Evenkeel,
    /// A cap for each transfer, signed into its address, and no total.
    EvenkeelCaps,
    /// `limit_rate` for each connection, `sendfile`, one worker.
    Nginx,
    /// `connection.kbytes-per-second`.
    Lighttpd,
    /// `server.kbytes-per-second`: one total.
    LighttpdTotal,
    /// A seed with an upload limit: one total.
    Libtorrent,
}

/// A server that runs, and what to say to it.
pub(crate) struct Running {
    pub(crate) server: Server,
    pub(crate) address: SocketAddr,
    pub(crate) speech: Speech,
}

impl Rival {
    pub(crate) const ALL: [Self; 6] =
        [Self::Evenkeel, Self::EvenkeelCaps, Self::Nginx, Self::Lighttpd, Self::LighttpdTotal, Self::Libtorrent];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Evenkeel => "evenkeel",
            Self::EvenkeelCaps => "evenkeel-caps",
            Self::Nginx => "nginx",
            Self::Lighttpd => "lighttpd",
            Self::LighttpdTotal => "lighttpd-total",
            Self::Libtorrent => "libtorrent",
        }
    }

    /// What its limit is for.
    pub(crate) fn limited_by(self) -> &'static str {
        match self {
            Self::Evenkeel | Self::LighttpdTotal | Self::Libtorrent => "total",
            Self::EvenkeelCaps | Self::Nginx | Self::Lighttpd => "each",
        }
    }

    /// Debian's package; `None`: nothing needs to be installed.
    pub(crate) fn package(self) -> Option<&'static str> {
        match self {
            Self::Evenkeel | Self::EvenkeelCaps => None,
            Self::Nginx => Some("nginx-light"),
            Self::Lighttpd | Self::LighttpdTotal => Some("lighttpd"),
            Self::Libtorrent => Some("python3-libtorrent"),
        }
    }

    /// Whether it is on this machine.
    pub(crate) fn is_here(self) -> bool {
        match self {
            Self::Evenkeel | Self::EvenkeelCaps => true,
            Self::Nginx | Self::Lighttpd | Self::LighttpdTotal => self.program().is_ok(),
            Self::Libtorrent => {
                let asked = Command::new(PYTHON).args(["-c", "import libtorrent"]).stderr(Stdio::null()).status();
                asked.is_ok_and(|status| status.success())
            }
        }
    }

    fn program(self) -> Outcome<PathBuf> {
        let name = self.name().trim_end_matches("-total");
        find_program(name).ok_or_else(|| format!("{name} is not installed").into())
    }

    /// Starts it for so many connections; `rate` is for each, in bytes per second, or there is no limit.
    pub(crate) fn start(self, room: &Path, connections: usize, rate: Option<u64>) -> Outcome<Running> {
        // Free a moment ago: the others take no port 0.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let total = rate.map(|rate| rate * connections as u64);
        let speech = Speech::Http("/big".to_owned());
        let (server, speech) = match self {
            Self::Evenkeel => {
                (start_evenkeel(Path::new(PROGRAM), room, address, total, "")?, Speech::Http("/bench/big".to_owned()))
            }
            Self::EvenkeelCaps => {
                let target = rate.map_or_else(|| Ok("/bench/big".to_owned()), |rate| capped(room, rate))?;
                (start_evenkeel(Path::new(PROGRAM), room, address, None, "")?, Speech::Http(target))
            }
            Self::Nginx => {
                let config = nginx_config(room, address, rate);
                let args = |file: &Path| vec!["-p".into(), room.into(), "-c".into(), file.into()];
                (self.start_with(room, &config, address, args)?, speech)
            }
            Self::Lighttpd | Self::LighttpdTotal => {
                let limit = if self == Self::Lighttpd { ("connection", rate) } else { ("server", total) };
                let config = lighttpd_config(room, address, limit);
                let args = |file: &Path| vec!["-D".into(), "-f".into(), file.into()];
                (self.start_with(room, &config, address, args)?, speech)
            }
            Self::Libtorrent => start_seed(room, address, total.unwrap_or(0))?,
        };
        Ok(Running { server, address, speech })
    }

    fn start_with(
        self,
        room: &Path,
        config: &str,
        address: SocketAddr,
        args: impl Fn(&Path) -> Vec<OsString>,
    ) -> Outcome<Server> {
        let file = room.join(format!("{}.conf", self.name()));
        fs::write(&file, config)?;
        let mut command = pinned(self.program()?, Some(CORE));
        command.args(args(&file)).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Server::foreign(command.spawn()?, address.to_string())
    }
}

/// Starts `program` as a node with one worker and an upload limit; `more` is further TOML.
pub(crate) fn start_evenkeel(
    program: &Path,
    room: &Path,
    address: SocketAddr,
    total: Option<u64>,
    more: &str,
) -> Outcome<Server> {
    let key = signing_key(room)?;
    let total = total.map_or_else(|| "off".to_owned(), |total| total.to_string());
    // The limit on control frames is for peers that flood; here it would only slow the measuring.
    let config = format!(
        "[node]\nworkers = 1\n[limits]\nupload = \"{total}\"\n[sessions]\ncontrol_frames_per_second = 100000\n\
         [http]\nlisten = \"{address}\"\nsigning_key_file = \"{}\"\n\
         [[share]]\nname = \"bench\"\npath = \"{}\"\npublic = true\n{more}{}\n",
        key.display(),
        room.join("files").display(),
        std::env::var("EVENKEEL_BENCH_CONFIG").unwrap_or_default()
    );
    let file = room.join("evenkeel.toml");
    fs::write(&file, config)?;
    let file = file.to_str().ok_or("a room whose path is not text")?;
    let chosen = std::env::var_os("EVENKEEL_PROGRAM").filter(|_| program == Path::new(PROGRAM));
    let program = chosen.map_or_else(|| program.to_owned(), PathBuf::from);
    Server::node(&program, room, Some(CORE), &["--open", "--config", file])
}

fn signing_key(room: &Path) -> Outcome<PathBuf> {
    let key = room.join("signing.key");
    if !key.exists() {
        fs::write(&key, "a secret that nobody needs to guess\n")?;
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600))?;
    }
    Ok(key)
}

/// The path of the file with a cap of `rate` for whoever asks for it.
fn capped(room: &Path, rate: u64) -> Outcome<String> {
    let mut sign = Command::new(PROGRAM);
    sign.args(["sign", "/bench/big", "--key"]).arg(signing_key(room)?).args(["--cap", &rate.to_string()]);
    let signed = sign.output()?;
    let target = String::from_utf8(signed.stdout)?.trim_end().to_owned();
    if target.is_empty() {
        return Err(format!("no signed address: {}", String::from_utf8_lossy(&signed.stderr)).into());
    }
    Ok(target)
}

fn start_seed(room: &Path, address: SocketAddr, total: u64) -> Outcome<(Server, Speech)> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/field/seed.py");
    let mut command = pinned(PYTHON, Some(CORE));
    command.arg(script).arg(room.join("files/big")).arg(address.port().to_string()).arg(total.to_string());
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().ok_or("no stdout")?).read_line(&mut line)?;
    let server = Server::foreign(child, address.to_string())?;
    let mut hash = [0; 20];
    let digits = line.trim_end();
    if digits.len() != 40 || !digits.is_ascii() {
        return Err(format!("libtorrent does not seed: {line}").into());
    }
    for (index, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&digits[2 * index..2 * index + 2], 16)?;
    }
    Ok((server, Speech::Torrent(hash)))
}

fn nginx_config(room: &Path, address: SocketAddr, rate: Option<u64>) -> String {
    let home = room.display();
    let limit = rate.map_or_else(String::new, |rate| format!("limit_rate {rate};"));
    format!(
        "daemon off; master_process off; worker_processes 1; worker_rlimit_nofile 65536;
        pid {home}/nginx.pid; error_log {home}/nginx.log;
        events {{ worker_connections 20000; multi_accept on; }}
        http {{
            access_log off; sendfile on; tcp_nopush on; default_type application/octet-stream; keepalive_requests 1000000;
            keepalive_timeout 600s; open_file_cache max=16;
            client_body_temp_path {home}/nginx-body; proxy_temp_path {home}/nginx-proxy;
            fastcgi_temp_path {home}/nginx-fastcgi; uwsgi_temp_path {home}/nginx-uwsgi; scgi_temp_path {home}/nginx-scgi;
            server {{ listen {address} backlog=4096; root {home}/files; {limit} }}
        }}"
    )
}

/// `limit`: of what (`server` or `connection`), and how much.
fn lighttpd_config(room: &Path, address: SocketAddr, limit: (&str, Option<u64>)) -> String {
    let (of, rate) = limit;
    let limit = rate.map_or_else(String::new, |rate| format!("{of}.kbytes-per-second = {}\n", rate.div_ceil(1024)));
    format!(
        "server.document-root = \"{}\"\nserver.bind = \"{}\"\nserver.port = {}\nserver.max-connections = 16384\n\
         server.max-fds = 40000\nserver.listen-backlog = 4096\nserver.max-keep-alive-requests = 10000\n\
         server.max-keep-alive-idle = 600\nserver.max-write-idle = 600\nserver.network-backend = \"sendfile\"\n{limit}",
        room.join("files").display(),
        address.ip(),
        address.port()
    )
}
