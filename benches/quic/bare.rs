//! quinn alone, as its own bulk example has it: default settings, one thread a side, one stream a connection, bytes from
//! memory that nobody looks at. Each side is this program again, so that its processor time can be told apart.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{Ipv4Addr, SocketAddr},
    process::{Child, Command, Stdio},
    sync::Arc,
};

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, PrivatePkcs8KeyDer},
    version::TLS13,
};

use crate::measure::Outcome;

/// What is written at once.
const PIECE_BYTES: usize = 1 << 20;

/// Plays a side; `None`: the arguments mean something else.
pub(crate) fn play(role: &str, args: &[String]) -> Option<Outcome<()>> {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build();
    match (role, args) {
        ("bare-server", [bytes, folder]) => {
            Some(parsed(bytes).and_then(|bytes| runtime()?.block_on(serve(bytes, folder))))
        }
        ("bare-client", [address, count, folder]) => {
            Some(parsed(count).and_then(|count| runtime()?.block_on(fetch(address.parse()?, count, folder))))
        }
        _ => None,
    }
}

fn parsed(text: &str) -> Outcome<u64> {
    Ok(text.parse()?)
}

/// Starts a server that gives `bytes` to each connection; its certificate is in `folder`.
pub(crate) fn server(bytes: u64, folder: &str) -> Outcome<(Child, String)> {
    let mut command = Command::new(std::env::current_exe()?);
    let mut child = command.args(["bare-server", &bytes.to_string(), folder]).stdout(Stdio::piped()).spawn()?;
    let mut address = String::new();
    BufReader::new(child.stdout.take().ok_or("no stdout")?).read_line(&mut address)?;
    Ok((child, address.trim().to_owned()))
}

/// What fetches over `count` connections at once.
pub(crate) fn client(address: &str, count: u64, folder: &str) -> Outcome<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["bare-client", address, &count.to_string(), folder]);
    Ok(command)
}

async fn serve(bytes: u64, folder: &str) -> Outcome<()> {
    let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])?;
    std::fs::write(format!("{folder}/bare.der"), certified.cert.der())?;
    let key = PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der());
    let mut tls = ServerConfig::builder_with_provider(default_provider().into())
        .with_protocol_versions(&[&TLS13])?
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key.into())?;
    tls.max_early_data_size = u32::MAX;
    let config = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
    let endpoint = quinn::Endpoint::server(config, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    println!("{}", endpoint.local_addr()?);
    std::io::stdout().flush()?;
    let piece = bytes::Bytes::from(vec![7; PIECE_BYTES]);
    while let Some(incoming) = endpoint.accept().await {
        let piece = piece.clone();
        tokio::spawn(async move {
            let Ok(connection) = incoming.await else { return };
            let Ok((mut stream, _)) = connection.accept_bi().await else { return };
            let mut left = bytes;
            while left > 0 {
                let len = left.min(PIECE_BYTES as u64) as usize;
                if stream.write_chunk(piece.slice(..len)).await.is_err() {
                    return;
                }
                left -= len as u64;
            }
            let _ = stream.finish();
            connection.closed().await;
        });
    }
    Ok(())
}

async fn fetch(address: SocketAddr, count: u64, folder: &str) -> Outcome<()> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(std::fs::read(format!("{folder}/bare.der"))?))?;
    let tls = ClientConfig::builder_with_provider(default_provider().into())
        .with_protocol_versions(&[&TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut endpoint = quinn::Endpoint::client(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?)));
    let mut fetching = tokio::task::JoinSet::new();
    for _ in 0..count {
        let connecting = endpoint.connect(address, "localhost")?;
        fetching.spawn(async move {
            let connection = connecting.await.map_err(|error| error.to_string())?;
            let (mut ours, mut theirs) = connection.open_bi().await.map_err(|error| error.to_string())?;
            ours.write_all(b"?").await.map_err(|error| error.to_string())?;
            while theirs.read_chunk(usize::MAX, true).await.map_err(|error| error.to_string())?.is_some() {}
            connection.close(0_u32.into(), b"");
            Ok::<_, String>(())
        });
    }
    while let Some(done) = fetching.join_next().await {
        done??;
    }
    endpoint.wait_idle().await;
    Ok(())
}
