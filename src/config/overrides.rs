//! What flags and the environment say instead of the file.

use std::net::SocketAddr;

use flow::Rate;

use super::{Config, Secret, Share, read, sheet::Sheet};

/// Values that win over the file; `None` and empty change nothing.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `--share`: added; one of the same name replaces that of the file.
    pub shares: Vec<Share>,
    /// `--listen`
    pub peers: Option<SocketAddr>,
    /// `--listen-data`
    pub data: Option<SocketAddr>,
    /// `--admin`
    pub admin: Option<SocketAddr>,
    /// `--metrics`
    pub metrics: Option<SocketAddr>,
    /// `--http`
    pub http: Option<SocketAddr>,
    /// `--upload-limit`
    pub upload: Option<Rate>,
    /// `--download-limit`
    pub download: Option<Rate>,
    /// `--open`
    pub open: bool,
    /// `EVENKEEL_ADMIN_TOKEN`
    pub admin_token: Option<Secret>,
}

impl Overrides {
    /// Before contradictions are looked for, so that they are found between flags and file too.
    pub(super) fn apply(&self, config: &mut Config, sheet: &mut Sheet) {
        let mut set = |key: &str, flag: &'static str| sheet.overridden(key, flag);
        for share in &self.shares {
            set(&format!("share.{}", share.name), "--share");
            config.shares.retain(|known| known.name != share.name);
        }
        config.shares.extend(self.shares.iter().cloned());
        for (value, target, key, flag) in [
            (self.peers, &mut config.listen.peers, "listen.peers", "--listen"),
            (self.admin, &mut config.listen.admin, "listen.admin", "--admin"),
            (self.metrics, &mut config.listen.metrics, "listen.metrics", "--metrics"),
        ] {
            if let Some(address) = value {
                *target = address;
                set(key, flag);
            }
        }
        if self.data.is_some() {
            config.listen.data = self.data;
            set("listen.data", "--listen-data");
        }
        if self.http.is_some() {
            config.http.listen = self.http;
            set("http.listen", "--http");
        }
        for (value, target, key, flag) in [
            (self.upload, &mut config.limits.upload, "limits.upload", "--upload-limit"),
            (self.download, &mut config.limits.download, "limits.download", "--download-limit"),
        ] {
            if let Some(rate) = value {
                *target = rate;
                set(key, flag);
            }
        }
        config.access.open |= self.open;
        if let Some(token) = &self.admin_token {
            set("admin.token", "EVENKEEL_ADMIN_TOKEN");
            match read::token(token.reveal()) {
                Ok(token) => config.admin.token = token,
                Err(message) => sheet.fault_at("admin.token", message),
            }
        }
    }
}
