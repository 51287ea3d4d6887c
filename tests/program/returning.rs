//! A peer that comes back shows no certificate: its rights are asked for by the id in the session that it resumes.

use std::{fs, path::Path, time::Duration};

use actors::peer::client::{Command, SessionEvent};
use evenkeel::{
    identity::{Identity, StateDir},
    node::{
        TransportChoice,
        session::{Client, Wish},
    },
};
use wire::RefusalCode;

use crate::support::{Server, wait_until};

const WISH: Wish = Wish::everything(TransportChoice::Quic);

/// One session, from its hello to its end; `Err`: why the node refused it.
async fn session(client: &Client, endpoint: &str) -> Result<(), RefusalCode> {
    let (handle, mut events) = client.connect(endpoint).await.unwrap();
    let mut answer = Ok(());
    loop {
        match events.recv().await {
            Some(SessionEvent::Welcomed(_)) => assert!(handle.command(Command::Leave).await),
            Some(SessionEvent::Refused(refusal)) => answer = Err(refusal.code()),
            Some(SessionEvent::Ended { .. }) | None => break,
            Some(_) => {}
        }
    }
    // The ticket to come back with comes behind the last words.
    tokio::time::sleep(Duration::from_millis(200)).await;
    answer
}

#[test]
fn who_comes_back_after_his_rights_were_taken_is_refused() {
    let server = Server::start::<&str>(&[]);
    let state = || StateDir::open(Some(Path::new(&server.stranger("one")))).unwrap();
    let id = Identity::load_or_create(&state()).unwrap().id();
    let rights = Path::new(&server.owner()).join("authorized_peers");
    fs::write(&rights, format!("{id} read\n")).unwrap();
    wait_until("the rights are in force", 10, || server.run_as("one", &["ls", &server.at("")]).status.success());
    actix_rt::System::new().block_on(async {
        let client = Client::start(state(), WISH).unwrap();
        assert_eq!(session(&client, &server.peers).await, Ok(()), "the first contact");
        assert_eq!(session(&client, &server.peers).await, Ok(()), "the return");
        fs::write(&rights, "").unwrap();
        wait_until("the rights are gone", 10, || !server.run_as("one", &["ls", &server.at("")]).status.success());
        assert_eq!(session(&client, &server.peers).await, Err(RefusalCode::Unauthorized), "the return without rights");
    });
}
