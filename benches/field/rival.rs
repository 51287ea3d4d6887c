//! The servers that stand beside one another: each shares the same file, on the same core, with the same limit.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::Path,
    process::Stdio,
};

use crate::measure::{Outcome, PROGRAM, Server, find_program, pinned};

/// The core of the server; the load has the other.
pub(crate) const CORE: usize = 0;

/// Who serves.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) enum Rival {
    /// One total for all, equal weights: what the others can't do.
    Evenkeel,
    /// `limit_rate` for each connection, `sendfile`, one worker.
    Nginx,
    /// `connection.kbytes-per-second`.
    Lighttpd,
}

impl Rival {
    pub(crate) const ALL: [Self; 3] = [Self::Evenkeel, Self::Nginx, Self::Lighttpd];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Evenkeel => "evenkeel",
            Self::Nginx => "nginx",
            Self::Lighttpd => "lighttpd",
        }
    }

    /// The path of the file.
    pub(crate) fn target(self) -> &'static str {
        match self {
            Self::Evenkeel => "/bench/big",
            Self::Nginx | Self::Lighttpd => "/big",
        }
    }

    /// Whether it is on this machine.
    pub(crate) fn is_here(self) -> bool {
        self == Self::Evenkeel || find_program(self.name()).is_some()
    }

    /// Starts it for so many connections; `rate` is for each, in bytes per second, or there is no limit.
    pub(crate) fn start(self, room: &Path, connections: usize, rate: Option<u64>) -> Outcome<(Server, SocketAddr)> {
        // Free a moment ago: the others take no port 0.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let server = match self {
            Self::Evenkeel => start_evenkeel(room, address, connections, rate)?,
            Self::Nginx => {
                let config = nginx_config(room, address, rate);
                start(self, room, &config, address, |file| vec!["-p".into(), room.into(), "-c".into(), file.into()])?
            }
            Self::Lighttpd => {
                let config = lighttpd_config(room, address, rate);
                start(self, room, &config, address, |file| vec!["-D".into(), "-f".into(), file.into()])?
            }
        };
        Ok((server, address))
    }
}

fn start_evenkeel(room: &Path, address: SocketAddr, connections: usize, rate: Option<u64>) -> Outcome<Server> {
    let total = rate.map_or_else(|| "off".to_owned(), |rate| (rate * connections as u64).to_string());
    let config = format!(
        "[node]\nworkers = 1\n[limits]\nupload = \"{total}\"\n[http]\nlisten = \"{address}\"\n\
         [[share]]\nname = \"bench\"\npath = \"{}\"\npublic = true\n",
        room.join("files").display()
    );
    let file = room.join("evenkeel.toml");
    fs::write(&file, config)?;
    let file = file.to_str().ok_or("a room whose path is not text")?;
    let program = std::env::var_os("EVENKEEL_PROGRAM").map_or_else(|| PROGRAM.into(), std::path::PathBuf::from);
    Server::node(&program, room, Some(CORE), &["--config", file])
}

fn start(
    rival: Rival,
    room: &Path,
    config: &str,
    address: SocketAddr,
    args: impl Fn(&Path) -> Vec<std::ffi::OsString>,
) -> Outcome<Server> {
    let file = room.join(format!("{}.conf", rival.name()));
    fs::write(&file, config)?;
    let program = find_program(rival.name()).ok_or("not installed")?;
    let mut command = pinned(program, Some(CORE));
    command.args(args(&file)).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Server::foreign(command.spawn()?, address.to_string())
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
            open_file_cache max=16;
            client_body_temp_path {home}/nginx-body; proxy_temp_path {home}/nginx-proxy;
            fastcgi_temp_path {home}/nginx-fastcgi; uwsgi_temp_path {home}/nginx-uwsgi; scgi_temp_path {home}/nginx-scgi;
            server {{ listen {address} backlog=4096; root {home}/files; {limit} }}
        }}"
    )
}

fn lighttpd_config(room: &Path, address: SocketAddr, rate: Option<u64>) -> String {
    let limit =
        rate.map_or_else(String::new, |rate| format!("connection.kbytes-per-second = {}\n", rate.div_ceil(1024)));
    format!(
        "server.document-root = \"{}\"\nserver.bind = \"{}\"\nserver.port = {}\nserver.max-connections = 16384\n\
         server.max-fds = 40000\nserver.listen-backlog = 4096\nserver.max-keep-alive-requests = 0\n\
         server.network-backend = \"sendfile\"\n{limit}",
        room.join("files").display(),
        address.ip(),
        address.port()
    )
}
