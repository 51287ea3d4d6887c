//! What a command line means: arguments in, the node's options out.

use std::{
    collections::HashSet,
    env,
    path::{Path, PathBuf},
};

use flow::Class;
use wire::Role;

use super::{
    args::{DemoArgs, GetArgs, LsArgs, PutArgs, ServeArgs, TransferArgs},
    target::Target,
};
use crate::{
    config::{Overrides, Secret},
    identity::StateDir,
    node::{
        ConfigSource, DemoOptions, Download, Exit, Failure, GetOptions, LsOptions, PutOptions, ServeOptions,
        SessionOptions, Upload,
    },
};

impl ServeArgs {
    pub(super) fn resolve(self, state: Option<&Path>) -> Result<ServeOptions, Failure> {
        let overrides = Overrides {
            shares: self.share,
            peers: self.listen,
            data: self.listen_data,
            admin: self.admin,
            metrics: self.metrics,
            http: self.http,
            upload: self.upload_limit,
            download: self.download_limit,
            open: self.open,
            admin_token: admin_token().map(Secret::new),
        };
        let source = ConfigSource { file: self.config, overrides };
        let (config, sample_share) = source.read().map_err(|error| Failure::new(Exit::Config, error.to_string()))?;
        let state = open_state(state.or(config.node.state_dir.as_deref()))?;
        Ok(ServeOptions { config, source, state, sample_share })
    }
}

impl TransferArgs {
    /// Of a command whose files are sent by `sender`.
    fn resolve(&self, sender: Role) -> Result<SessionOptions, Failure> {
        if !self.data_links.carry_from(sender) {
            let (what, way) = match sender {
                Role::Server => ("get needs a data link that carries bytes from the node", "down"),
                Role::Client => ("put needs a data link that carries bytes to the node", "up"),
            };
            let words = format!("{what}: write `--data-links {way}` or leave it out, for links that carry both ways");
            return Err(Failure::usage(words));
        }
        Ok(SessionOptions {
            limit: self.bwlimit,
            class: if self.background { Class::Background } else { Class::Foreground },
            weight: self.weight,
            data_links: self.data_links,
            peer_id: self.reach.peer_id,
            transport: self.reach.transport,
        })
    }
}

impl GetArgs {
    pub(super) fn resolve(self, state: Option<&Path>) -> Result<GetOptions, Failure> {
        let session = self.transfer.resolve(Role::Server)?;
        let downloads = downloads(self.targets, self.output.as_deref())?;
        let directory = self.output.filter(|out| ends_with_slash(out));
        Ok(GetOptions { state: open_state(state)?, downloads, directory, session })
    }
}

impl PutArgs {
    pub(super) fn resolve(self, state: Option<&Path>) -> Result<PutOptions, Failure> {
        let session = self.transfer.resolve(Role::Client)?;
        let uploads = uploads(self.files, &self.target)?;
        Ok(PutOptions { state: open_state(state)?, endpoint: self.target.endpoint, uploads, session })
    }
}

impl LsArgs {
    pub(super) fn resolve(self, state: Option<&Path>) -> Result<LsOptions, Failure> {
        Ok(LsOptions {
            state: open_state(state)?,
            endpoint: self.target.endpoint,
            path: self.target.path.trim_end_matches('/').to_owned(),
            peer_id: self.reach.peer_id,
            transport: self.reach.transport,
        })
    }
}

impl DemoArgs {
    pub(super) fn resolve(self, state: Option<PathBuf>) -> Result<DemoOptions, Failure> {
        if self.upload_limit.is_unlimited() {
            return Err(Failure::usage(
                "the demo shows how a limit is shared: give one, such as --upload-limit 20MB/s",
            ));
        }
        Ok(DemoOptions {
            peers: self.peers,
            transport: self.transport,
            upload_limit: self.upload_limit,
            duration: self.duration,
            state,
        })
    }
}

/// Opens the state directory; exit code 71 where that fails.
pub(super) fn open_state(path: Option<&Path>) -> Result<StateDir, Failure> {
    StateDir::open(path).map_err(|error| Failure::new(Exit::Machine, error.to_string()))
}

/// What the API asks for, from the environment: a flag would show it to everybody who lists processes.
pub(super) fn admin_token() -> Option<String> {
    env::var("EVENKEEL_ADMIN_TOKEN").ok().filter(|token| !token.is_empty())
}

/// As `cp` does it: OUT is a directory if it is one, ends with a slash, or several files go there. But what is in a directory
/// goes into OUT itself unless OUT ends with a slash or takes several: whether OUT is there must make no difference, since
/// the same command is to go on after an interruption.
fn downloads(targets: Vec<Target>, output: Option<&Path>) -> Result<Vec<Download>, Failure> {
    let collects = |out: &Path| ends_with_slash(out) || targets.len() > 1;
    let (collects, is_directory) = output.map_or((true, true), |out| (collects(out), collects(out) || out.is_dir()));
    if let Some(out) = output.filter(|out| collects && out.exists() && !out.is_dir()) {
        let message =
            format!("{} is a file: with a slash at its end, or for several, -o names a directory", out.display());
        return Err(Failure::usage(message));
    }
    let mut destinations = HashSet::new();
    let mut downloads = Vec::new();
    for target in targets {
        let name = target.name().map_err(|error| Failure::usage(error.to_string()))?;
        let under_its_name = output.unwrap_or(Path::new("")).join(name);
        let place = |is_beneath: bool| match output {
            Some(out) if !is_beneath => out.to_owned(),
            _ => under_its_name.clone(),
        };
        let (destination, tree) = (place(is_directory), place(collects));
        if !destinations.insert(destination.clone()) {
            let message = format!("two files would be written to {}: fetch one of them with -o", destination.display());
            return Err(Failure::usage(message));
        }
        let path = target.path.trim_end_matches('/').to_owned();
        downloads.push(Download { endpoint: target.endpoint, path, destination, tree });
    }
    Ok(downloads)
}

/// Who writes so means a directory, whether it is there or not.
fn ends_with_slash(path: &Path) -> bool {
    path.as_os_str().as_encoded_bytes().ends_with(b"/")
}

/// One file to a path without a slash at its end gets that name; else each keeps its own beneath it.
fn uploads(files: Vec<PathBuf>, target: &Target) -> Result<Vec<Upload>, Failure> {
    if target.path.is_empty() {
        let message = format!("`{0}` names no share: write {0}/SHARE/; `evenkeel ls {0}` shows them", target.endpoint);
        return Err(Failure::usage(message));
    }
    let named = files.len() == 1 && target.path.contains('/') && !target.path.ends_with('/');
    let mut paths = HashSet::new();
    let mut uploads = Vec::new();
    for source in files {
        let path = match named {
            true => target.path.clone(),
            false => format!("{}/{}", target.path.trim_end_matches('/'), own_name(&source)?),
        };
        if !paths.insert(path.clone()) {
            let path = wire::printable(&path);
            return Err(Failure::usage(format!("two files would be sent to {path}: send one of them by itself")));
        }
        uploads.push(Upload { source, path });
    }
    Ok(uploads)
}

fn own_name(source: &Path) -> Result<&str, Failure> {
    let name = source.file_name().ok_or_else(|| Failure::usage(format!("{} names no file", source.display())))?;
    name.to_str().ok_or_else(|| {
        let message = format!(
            "the name of {} is not UTF-8, as names must be on the way: send it by itself and name it, HOST:PORT/SHARE/NAME",
            source.display()
        );
        Failure::usage(message)
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;

    use super::*;

    fn target(text: &str) -> Target {
        text.parse().unwrap()
    }

    #[test]
    fn downloads_go_where_cp_would_put_them() {
        let dir = tempfile::tempdir().unwrap();
        let to = |targets: &[&str], out: Option<&Path>| -> Result<Vec<PathBuf>, Failure> {
            let targets = targets.iter().map(|text| target(text)).collect();
            Ok(downloads(targets, out)?.into_iter().map(|download| download.destination).collect())
        };
        assert_eq!(to(&["h:1/s/d/a"], None).unwrap(), [PathBuf::from("a")]);
        assert_eq!(to(&["h:1/s/a"], Some(Path::new("x"))).unwrap(), [PathBuf::from("x")]);
        assert_eq!(to(&["h:1/s/a"], Some(Path::new("new/"))).unwrap(), [PathBuf::from("new/a")]);
        assert_eq!(to(&["h:1/s/a"], Some(dir.path())).unwrap(), [dir.path().join("a")]);
        assert_eq!(to(&["h:1/s/a", "h:1/s/b"], Some(Path::new("x"))).unwrap().len(), 2);
        let twice = to(&["h:1/s/a", "h:2/s/a"], None).unwrap_err();
        assert_eq!(twice.exit, Exit::Usage);
        let file = dir.path().join("file");
        std::fs::write(&file, b"").unwrap();
        let several = to(&["h:1/s/a", "h:1/s/b"], Some(&file)).unwrap_err();
        assert!(several.exit == Exit::Usage && several.message.contains("-o names a directory"), "{several}");
        assert!(to(&["h:1/s/a"], Some(&file)).is_ok());
        assert!(to(&["h:1"], None).unwrap_err().message.contains("names no file"));
    }

    #[test]
    fn a_directory_goes_to_the_same_place_whether_it_is_there_or_not() {
        let dir = tempfile::tempdir().unwrap();
        let tree = |text: &str, out: Option<&Path>| {
            let download = downloads(vec![target(text)], out).unwrap().remove(0);
            (download.path, download.tree)
        };
        for text in ["h:1/s/d", "h:1/s/d/"] {
            assert_eq!(tree(text, None), ("s/d".to_owned(), PathBuf::from("d")));
            assert_eq!(tree(text, Some(Path::new("new"))).1, PathBuf::from("new"));
            assert_eq!(tree(text, Some(dir.path())).1, dir.path());
            assert_eq!(tree(text, Some(Path::new("new/"))).1, PathBuf::from("new/d"));
        }
        assert_eq!(tree("h:1/s", None), ("s".to_owned(), PathBuf::from("s")));
        let both = downloads(vec![target("h:1/s/d"), target("h:1/s/e")], Some(Path::new("new"))).unwrap();
        assert_eq!(both[1].tree, PathBuf::from("new/e"));
    }

    #[test]
    fn uploads_keep_their_names_unless_given_one() {
        let to = |files: &[&str], text: &str| -> Result<Vec<String>, Failure> {
            let files = files.iter().map(PathBuf::from).collect();
            Ok(uploads(files, &target(text))?.into_iter().map(|upload| upload.path).collect())
        };
        assert_eq!(to(&["d/a.txt"], "h:1/s").unwrap(), ["s/a.txt"]);
        assert_eq!(to(&["d/a.txt"], "h:1/s/").unwrap(), ["s/a.txt"]);
        assert_eq!(to(&["d/a.txt"], "h:1/s/b").unwrap(), ["s/b"]);
        assert_eq!(to(&["d/a.txt"], "h:1/s/b/").unwrap(), ["s/b/a.txt"]);
        assert_eq!(to(&["a", "b"], "h:1/s/x").unwrap(), ["s/x/a", "s/x/b"]);
        assert!(to(&["a"], "h:1").unwrap_err().message.contains("evenkeel ls h:1"));
        assert!(to(&["a", "d/a"], "h:1/s").unwrap_err().message.contains("two files"));
        assert!(to(&["/"], "h:1/s").is_err());
    }

    #[test]
    fn names_that_are_not_utf_8_need_another() {
        let file = PathBuf::from(std::ffi::OsString::from_vec(b"a\xff".to_vec()));
        let failure = uploads(vec![file.clone()], &target("h:1/s")).unwrap_err();
        assert!(failure.message.contains("not UTF-8"), "{failure}");
        assert_eq!(uploads(vec![file], &target("h:1/s/name")).unwrap()[0].path, "s/name");
    }
}
