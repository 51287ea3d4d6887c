//! The certificate that the operator has for HTTPS: PEM files, as every authority gives them out.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
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

/// TLS 1.3 with the chain and the key of these PEM files.
///
/// # Errors
/// In words for the operator: which file, and what is wrong.
pub fn tls_from_files(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, CertificateError> {
    let file = |key: &'static str, path: &Path| {
        let path = path.to_owned();
        move |message: String| CertificateError::File { key, path, message }
    };
    let chain = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = chain.map_err(|error| file("certificate", certificate)(error.to_string()))?;
    if chain.is_empty() {
        return Err(file("certificate", certificate)("there is no certificate (PEM) in it".to_owned()));
    }
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| file("key", key)(error.to_string()))?;
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(CertificateError::Mismatch)?;
    let mut config =
        builder.with_no_client_auth().with_single_cert(chain, secret).map_err(CertificateError::Mismatch)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

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
        assert!(tls_from_files(&at("cert.pem"), &at("key.pem")).is_ok());
        for (certificate, key, words) in [
            ("none.pem", "key.pem", "http.certificate: "),
            ("gone.pem", "key.pem", "http.certificate: "),
            ("cert.pem", "none.pem", "http.key: "),
            ("cert.pem", "other.pem", "do not fit"),
        ] {
            let error = tls_from_files(&at(certificate), &at(key)).unwrap_err().to_string();
            assert!(error.contains(words), "{certificate} {key}: {error}");
        }
    }
}
