//! From dialling to the first byte of a file, on a line of 50 ms there and back: first contact and return.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use actors::peer::client::{Command, First, GetCommand, SessionEvent};
use evenkeel::{
    files::Already,
    identity::StateDir,
    node::{
        TransportChoice,
        session::{Client, Wish},
    },
};
use flow::Class;

use crate::{
    delay::{self, NEAR},
    measure::{self, Outcome, PROGRAM, Server, median, noise, setting},
};

const ONE_WAY: Duration = Duration::from_millis(25);

pub(crate) fn run() -> Outcome<()> {
    let runs = setting("EVENKEEL_BENCH_RUNS", 3);
    let room = measure::room()?;
    let home = room.path();
    fs::create_dir(home.join("files"))?;
    noise(&home.join("files/small"), 1000)?;
    let data = measure::free_ports(host::cores())?;
    let node =
        Server::node(Path::new(PROGRAM), home, None, &["--open", "--listen-data", &format!("127.0.0.1:{}", data[0])])?;
    let port: u16 = node.address.rsplit(':').next().ok_or("no port")?.parse()?;
    delay::connections(port, ONE_WAY)?;
    delay::datagrams(port, ONE_WAY)?;
    for port in data {
        delay::datagrams(port, ONE_WAY)?;
    }
    let endpoint = format!("{NEAR}:{port}");
    println!(
        "a line of {} ms there and back, medians of {runs}: dialling to the end of a file of 1000 bytes",
        ONE_WAY.as_millis() * 2
    );
    for (name, transport) in [("TCP + TLS 1.3", TransportChoice::Tcp), ("QUIC", TransportChoice::Quic)] {
        let mut times = [Vec::new(), Vec::new()];
        for run in 0..runs {
            let state = StateDir::open(Some(&home.join(format!("{name}-{run}"))))?;
            actix_rt::System::new().block_on(async {
                let client = Client::start(state, Wish::everything(transport)).map_err(|failure| failure.message)?;
                for times in &mut times {
                    times.push(contact(&client, &endpoint, &home.join("got")).await?);
                }
                Outcome::Ok(())
            })?;
        }
        for (contact, times) in ["first contact", "return"].iter().zip(times) {
            let ms = median(times) * 1000.0;
            println!(
                "{name:15} {contact:14} {ms:7.1} ms = {:.1} round trips",
                ms / (2.0 * ONE_WAY.as_secs_f64() * 1000.0)
            );
        }
    }
    Ok(())
}

async fn contact(client: &Client, endpoint: &str, got: &Path) -> Outcome<f64> {
    let _ = fs::remove_file(got);
    let began = Instant::now();
    let (files, destination) = (client.files.clone(), got.to_owned());
    let open = Box::new(move |meta| files.write(&destination, "bench/small", meta, Already::Nothing));
    let (path, class) = ("bench/small".into(), Class::Foreground);
    let get = GetCommand { tag: 0, path, resume: None, weight: 1.0, class, open };
    // As `evenkeel get` asks for it: with the hello.
    let first = async { First { gets: vec![get], ..First::default() } };
    let (session, mut events) = client.connect_asking(endpoint, first).await?;
    loop {
        match events.recv().await.ok_or("the session ended")? {
            SessionEvent::Done { .. } => break,
            SessionEvent::Failed { failed, .. } => return Err(failed.message.into()),
            SessionEvent::Refused(refusal) => return Err(refusal.message.into()),
            SessionEvent::Ended { why, .. } => return Err(why.unwrap_or_default().into()),
            SessionEvent::Welcomed(_)
            | SessionEvent::Started { .. }
            | SessionEvent::Granted { .. }
            | SessionEvent::Pong(_) => {}
        }
    }
    let took = began.elapsed().as_secs_f64();
    session.command(Command::Leave).await;
    while !matches!(events.recv().await, None | Some(SessionEvent::Ended { .. })) {}
    // Tickets come behind the last words.
    tokio::time::sleep(8 * ONE_WAY).await;
    Ok(took)
}
