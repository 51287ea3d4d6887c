//! The certificate that the operator has for HTTPS: PEM files, as every authority gives them out.

use std::{
    fmt, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use actors::metric::NodeMetrics;
use arc_swap::ArcSwap;
use rustls::{
    ServerConfig,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject as _},
    },
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
    version::TLS13,
};

use crate::transport::tls::provider;

/// Why HTTPS can't be served; for the operator.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The file is not there, or no PEM.
    #[error("http.{key}: {path}: {message}")]
    File {
        /// `certificate` or `key`.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// Each is good by itself.
    #[error("http.certificate and http.key do not fit each other: {0}")]
    Mismatch(rustls::Error),
}

/// The certificate in force: read at the start, and again when its files change. Connections that are open keep theirs.
pub struct Certificate {
    chain: PathBuf,
    key: PathBuf,
    current: ArcSwap<CertifiedKey>,
    /// What the files were when they were last read.
    read: Mutex<Stamps>,
}

/// Neither file, one of them or both may be gone for a moment while they are replaced.
type Stamps = [Option<Stamp>; 2];

impl Certificate {
    /// Reads the PEM files of a certificate with its chain and of its key.
    ///
    /// # Errors
    /// In words for the operator: which file, and what is wrong.
    pub fn load(chain: &Path, key: &Path) -> Result<Arc<Self>, CertificateError> {
        // Before the files are read: a later change has another stamp.
        let stamps = [stamp(chain), stamp(key)];
        let current = ArcSwap::from_pointee(certified(chain, key)?);
        Ok(Arc::new(Self { chain: chain.to_owned(), key: key.to_owned(), current, read: Mutex::new(stamps) }))
    }

    /// TLS 1.3 with whatever certificate is in force at each handshake.
    ///
    /// # Errors
    /// None in practice: the provider has what TLS 1.3 needs.
    pub fn server_config(self: &Arc<Self>) -> Result<Arc<ServerConfig>, CertificateError> {
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])
            .map_err(CertificateError::Mismatch)?;
        let mut config = builder.with_no_client_auth().with_cert_resolver(self.clone());
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    /// Reads the files again if they changed, and says whether there is another certificate now. `before` is what they were at
    /// the last look: files that are still being replaced, one after the other, are left alone until the next one.
    ///
    /// # Errors
    /// Once for each change: the files are bad, and what is in force stays so.
    fn reload(&self, before: &mut Stamps) -> Result<bool, CertificateError> {
        let now = [stamp(&self.chain), stamp(&self.key)];
        let is_settled = std::mem::replace(before, now) == now;
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if now == *read || !is_settled {
            return Ok(false);
        }
        *read = now;
        self.current.store(Arc::new(certified(&self.chain, &self.key)?));
        Ok(true)
    }

    /// Starts the thread that looks at the files once a second, until the certificate is dropped. What it finds is logged and
    /// counted.
    ///
    /// # Errors
    /// When there can be no thread.
    pub fn watch(self: &Arc<Self>, metrics: Arc<NodeMetrics>) -> io::Result<()> {
        let weak = Arc::downgrade(self);
        let work = move || {
            let mut before = [None, None];
            while let Some(certificate) = weak.upgrade() {
                match certificate.reload(&mut before) {
                    Ok(false) => {}
                    Ok(true) => {
                        metrics.certificates_taken.increment(1);
                        tracing::info!(certificate = %certificate.chain.display(), "a new certificate is in force");
                    }
                    Err(error) => {
                        metrics.certificates_refused.increment(1);
                        tracing::warn!("the certificate stays as it was: {error}");
                    }
                }
                drop(certificate);
                thread::sleep(LOOK_INTERVAL);
            }
        };
        thread::Builder::new().name("certificate".into()).spawn(work).map(drop)
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("chain", &self.chain).finish_non_exhaustive()
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

/// What tells one version of a file from another, also behind a link that was turned.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
struct Stamp {
    inode: u64,
    bytes: u64,
    /// Seconds and nanoseconds.
    changed: (i64, i64),
}

fn stamp(path: &Path) -> Option<Stamp> {
    let meta = path.metadata().ok()?;
    Some(Stamp { inode: meta.ino(), bytes: meta.len(), changed: (meta.ctime(), meta.ctime_nsec()) })
}

fn certified(chain_path: &Path, key_path: &Path) -> Result<CertifiedKey, CertificateError> {
    let file = |key: &'static str, path: &Path| {
        let path = path.to_owned();
        move |message: String| CertificateError::File { key, path, message }
    };
    let chain = CertificateDer::pem_file_iter(chain_path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = chain.map_err(|error| file("certificate", chain_path)(error.to_string()))?;
    if chain.is_empty() {
        return Err(file("certificate", chain_path)("there is no certificate (PEM) in it".to_owned()));
    }
    let secret = PrivateKeyDer::from_pem_file(key_path).map_err(|error| {
        let words = match error {
            pem::Error::NoItemsFound => NO_KEY.to_owned(),
            error => error.to_string(),
        };
        file("key", key_path)(words)
    })?;
    CertifiedKey::from_der(chain, secret, &provider()).map_err(CertificateError::Mismatch)
}

/// A node that starts by itself has nobody to ask for a passphrase.
const NO_KEY: &str = "there is no private key (PEM) in it that can be used without a passphrase: \
                      `openssl pkey -in FILE -out NEW` makes one of an encrypted one";

/// As often as `authorized_peers` is looked at: two `stat` a second cost nothing.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn files_are_read_or_named() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        fs::write(at("cert.pem"), params.self_signed(&pair).unwrap().pem()).unwrap();
        fs::write(at("key.pem"), pair.serialize_pem()).unwrap();
        let other = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        fs::write(at("other.pem"), other.serialize_pem()).unwrap();
        fs::write(at("none.pem"), "nothing").unwrap();
        assert!(Certificate::load(&at("cert.pem"), &at("key.pem")).unwrap().server_config().is_ok());
        for (certificate, key, words) in [
            ("none.pem", "key.pem", "http.certificate: "),
            ("gone.pem", "key.pem", "http.certificate: "),
            ("cert.pem", "none.pem", "http.key: "),
            ("cert.pem", "cert.pem", "there is no private key (PEM) in it"),
            ("cert.pem", "other.pem", "do not fit"),
        ] {
            let error = Certificate::load(&at(certificate), &at(key)).unwrap_err().to_string();
            assert!(error.contains(words), "{certificate} {key}: {error}");
        }
    }

    #[test]
    fn changed_files_are_read_when_they_have_settled_and_bad_ones_change_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let new = || {
            let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
            let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
            (params.self_signed(&pair).unwrap().pem(), pair.serialize_pem())
        };
        let put = |name: &str, text: &str| {
            fs::write(at("draft"), text).unwrap();
            fs::rename(at("draft"), at(name)).unwrap();
        };
        let (first, second) = (new(), new());
        put("cert.pem", &first.0);
        put("key.pem", &first.1);
        let certificate = Certificate::load(&at("cert.pem"), &at("key.pem")).unwrap();
        let in_force = || certificate.current.load().cert[0].clone();
        let mut before = [None, None];
        assert!(!certificate.reload(&mut before).unwrap() && !certificate.reload(&mut before).unwrap());
        let old = in_force();
        put("cert.pem", &second.0);
        assert!(!certificate.reload(&mut before).unwrap(), "its key has not come yet");
        put("key.pem", &second.1);
        assert!(!certificate.reload(&mut before).unwrap());
        assert!(certificate.reload(&mut before).unwrap());
        assert!(!certificate.reload(&mut before).unwrap());
        let good = in_force();
        assert_ne!(good, old);
        put("key.pem", &first.1);
        assert!(!certificate.reload(&mut before).unwrap());
        assert!(matches!(certificate.reload(&mut before), Err(CertificateError::Mismatch(_))));
        assert!(!certificate.reload(&mut before).unwrap(), "said once");
        fs::remove_file(at("cert.pem")).unwrap();
        assert!(!certificate.reload(&mut before).unwrap());
        assert!(matches!(certificate.reload(&mut before), Err(CertificateError::File { key: "certificate", .. })));
        assert_eq!(in_force(), good);
    }
}
