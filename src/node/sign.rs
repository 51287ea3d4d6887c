//! `evenkeel sign`: an address that carries terms of its own.

use std::time::SystemTime;

use actors::port::GuestTerms;

use crate::transport::http::SigningKey;

use super::{Exit, Failure, SignOptions};

/// The address with its terms, signed.
///
/// # Errors
/// Whatever is wrong with the key or the address, in words.
pub fn sign(options: &SignOptions) -> Result<String, Failure> {
    let key = SigningKey::from_file(&options.key).map_err(|error| Failure::new(Exit::Config, error.to_string()))?;
    let terms = GuestTerms { weight: options.weight, cap: options.cap, class: options.class };
    let until = SystemTime::now() + options.duration;
    key.sign(&options.address, &terms, until).ok_or_else(|| {
        let address = &options.address;
        Failure::usage(format!(
            "`{address}` can't be signed: write http://HOST:PORT/SHARE/PATH or /SHARE/PATH, not signed before"
        ))
    })
}
