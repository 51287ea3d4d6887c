//! The transitions as tables, snapshotted, and the proof that the machine does what its table says.

use flow::{Moment, Rate};

use super::{
    Event, GetRequest, Output, PutRequest, Role, Session,
    state::{Phase, Verdict, verdict},
    transfer::{Accepted, Step, Transfer},
};
use crate::*;

/// How a session of `role` gets into `phase`; `None` where there is no way.
fn session_in(role: Role, phase: Phase) -> Option<Session> {
    let now = Moment::ZERO;
    let hello = Hello { version: PROTOCOL_VERSION, ..Hello::default() };
    let mut session = match role {
        Role::Client => Session::client(hello.clone(), Limits::default(), now),
        Role::Server => Session::server(Limits::default(), now),
    };
    let welcome = Welcome::default();
    match (role, phase) {
        (_, Phase::Greeting) => {}
        (Role::Client, Phase::Deciding) => return None,
        (Role::Server, Phase::Deciding) => session.handle_message(Message::Hello(hello), now).unwrap(),
        (_, Phase::Closed) => session.handle_disconnect(),
        (Role::Client, Phase::Open | Phase::Draining) => {
            session.handle_message(Message::Welcome(welcome), now).unwrap();
            // 1 receives, 2 has sent all; list 1 and a ping wait.
            session.get(GetRequest { window: 10, ..GetRequest::default() }).unwrap();
            session.handle_message(Message::Opened(Opened { transfer: 1, size: 9, ..Opened::default() }), now).unwrap();
            session.put(PutRequest::default()).unwrap();
            session.handle_message(Message::Ready(Ready { transfer: 2, ..Ready::default() }), now).unwrap();
            session.begin(2, 0).unwrap();
            session.finished(2, 0, [0; 32]).unwrap();
            // 3 and 4 wait for their answers.
            session.get(GetRequest::default()).unwrap();
            session.put(PutRequest::default()).unwrap();
            session.list("", false, "").unwrap();
            session.ping(now).unwrap();
        }
        (Role::Server, Phase::Open | Phase::Draining) => {
            session.handle_message(Message::Hello(hello), now).unwrap();
            session.welcome(welcome).unwrap();
            // 1 receives, 2 has sent all, 3 waits for its begin.
            for (id, size) in [(1, 9), (3, 0)] {
                if id == 3 {
                    session.handle_message(Message::Get(Get { transfer: 2, ..Get::default() }), now).unwrap();
                    session.opened(2, 0, 0, 0).unwrap();
                    session.finished(2, 0, [0; 32]).unwrap();
                }
                session.handle_message(Message::Put(Put { transfer: id, size, ..Put::default() }), now).unwrap();
                session.ready(id, 0, None, 10).unwrap();
            }
            session.handle_message(Message::Begin(Begin { transfer: 1, start: 0 }), now).unwrap();
            session.ping(now).unwrap();
        }
    }
    if phase == Phase::Draining {
        session.drain(Moment::from_nanos(u64::MAX)).unwrap();
    }
    while session.poll_output().is_some() {}
    Some(session)
}

/// A message of `kind` that the sessions of [`session_in`] take where their table says so.
fn sample(role: Role, kind: MessageKind) -> Message {
    let hash = vec![0; 32];
    match kind {
        MessageKind::Hello => Message::Hello(Hello { version: PROTOCOL_VERSION, ..Hello::default() }),
        MessageKind::Welcome => Message::Welcome(Welcome::default()),
        MessageKind::Refusal => Message::Refusal(Refusal::new(RefusalCode::Full, "")),
        MessageKind::Ping => Message::Ping(Ping { nonce: 1, sent_ns: 1 }),
        MessageKind::Pong => Message::Pong(Pong { nonce: 1, sent_ns: 0 }),
        MessageKind::List => Message::List(List { request: 9, ..List::default() }),
        MessageKind::Listing => Message::Listing(Listing { request: 1, ..Listing::default() }),
        MessageKind::Get => Message::Get(Get { transfer: 9, ..Get::default() }),
        MessageKind::Opened => Message::Opened(Opened { transfer: 3, ..Opened::default() }),
        MessageKind::Put => Message::Put(Put { transfer: 9, ..Put::default() }),
        MessageKind::Ready => Message::Ready(Ready { transfer: 4, ..Ready::default() }),
        MessageKind::Begin => Message::Begin(Begin { transfer: 3, start: 0 }),
        MessageKind::Window => Message::Window(Window { transfer: 2, limit: 1 }),
        MessageKind::Finished => Message::Finished(Finished { transfer: 1, size: 9, hash }),
        MessageKind::Stored => Message::Stored(Stored { transfer: 2 }),
        MessageKind::Failed => Message::Failed(Failed::new(1, FailureCode::Io, "")),
        MessageKind::Cancel => Message::Cancel(Cancel { transfer: 1 }),
        MessageKind::DesiredRates => Message::DesiredRates(DesiredRates::default()),
        MessageKind::Proportions => Message::Proportions(Proportions {
            shares: vec![Proportion { transfer: if role == Role::Server { 2 } else { 1 }, weight_thousandths: 0 }],
        }),
        MessageKind::Granted => Message::Granted(Granted::default()),
        MessageKind::Progress => Message::Progress(Progress { transfer: 2, stored: 0 }),
        MessageKind::Goodbye => Message::Goodbye(Goodbye::new(GoodbyeCode::Done, "")),
    }
}

#[test]
fn the_session_table() {
    let mut table = String::new();
    for role in Role::ALL {
        for phase in Phase::ALL {
            if (role, phase) == (Role::Client, Phase::Deciding) {
                continue;
            }
            table += &format!("{} {}:\n", role.as_str(), phase.as_str());
            for kind in MessageKind::ALL {
                if let Verdict::Take(next) = verdict(role, phase, kind) {
                    let next: Vec<_> = next.iter().map(|phase| phase.as_str()).collect();
                    table += &format!("    {:<13} -> {}\n", kind.as_str(), next.join(" | "));
                }
            }
            let others = match verdict(role, phase, MessageKind::Hello) {
                Verdict::Ignore => "everything is ignored",
                _ => "anything else is a violation -> closed",
            };
            table += &format!("    {others}\n");
        }
    }
    insta::assert_snapshot!(table);
}

#[test]
fn the_machine_does_what_its_table_says() {
    for role in Role::ALL {
        for phase in Phase::ALL {
            for kind in MessageKind::ALL {
                let Some(mut session) = session_in(role, phase) else { continue };
                assert_eq!(session.phase(), phase);
                let result = session.handle_message(sample(role, kind), Moment::ZERO);
                let context = format!("{} {} {}: {result:?}", role.as_str(), phase.as_str(), kind.as_str());
                match verdict(role, phase, kind) {
                    Verdict::Take(next) => {
                        assert!(result.is_ok() && next.contains(&session.phase()), "{context} {session:?}");
                    }
                    Verdict::Ignore => {
                        assert!(result.is_ok() && session.poll_output().is_none(), "{context}");
                        assert_eq!(session.phase(), phase, "{context}");
                    }
                    Verdict::Violation => {
                        assert!(matches!(result, Err(Violation::Unexpected { .. })), "{context}");
                        assert_closes_with_a_word(&mut session, &context);
                    }
                }
            }
        }
    }
}

fn assert_closes_with_a_word(session: &mut Session, context: &str) {
    let outputs: Vec<_> = std::iter::from_fn(|| session.poll_output()).collect();
    assert!(
        matches!(
            outputs.as_slice(),
            [Output::Send(Message::Goodbye(_) | Message::Refusal(_)), Output::Close(Exit::Violation(_))]
        ),
        "{context}: {outputs:?}"
    );
    assert!(session.is_closed() && session.poll_timeout().is_none());
}

#[test]
fn the_transfer_table() {
    let steps = [
        Step::Asked { offset: 4, window: 8 },
        Step::Offered { size: 16 },
        Step::Prepared { size: 16, offset: 4, window: 8 },
        Step::Sending { size: 16, sent: 4, limit: 8 },
        Step::Sent { size: 16 },
        Step::Requested { offset: 4, window: 8 },
        Step::Announced { size: 16 },
        Step::Awaiting { size: 16, offset: 4, window: 8 },
        Step::Receiving { size: 16, received: 4, limit: 8, finished: false },
        Step::Receiving { size: 16, received: 16, limit: 16, finished: true },
    ];
    let mut table = String::new();
    for step in steps {
        table += &format!("{step:?}:\n");
        for (name, outcome) in outcomes(step) {
            table += &format!("    {name:<8} -> {outcome}\n");
        }
    }
    insta::assert_snapshot!(table);
}

/// Every message about a transfer, said to one at `step`. `Failed` and `Cancel` end it at any step.
fn outcomes(step: Step) -> Vec<(&'static str, String)> {
    let hash = vec![0; 32];
    let say = |handle: &dyn Fn(&mut Transfer) -> Result<String, Violation>| {
        let mut transfer = Transfer { id: 1, step };
        match handle(&mut transfer) {
            Ok(word) if transfer.step == step => word,
            Ok(word) => format!("{word} {:?}", transfer.step),
            Err(violation) => {
                assert_eq!(transfer.step, step, "a violation must not move a transfer");
                format!("violation {}", violation.code())
            }
        }
    };
    let ok = |()| "ok".to_owned();
    let data = |offset, len| {
        say(&move |t| {
            t.handle_data(&DataHeader { len, transfer: 1, offset }).map(|accepted| match accepted {
                Accepted::Store => "store".to_owned(),
                Accepted::Discard => "discard".to_owned(),
                Accepted::Early => "early".to_owned(),
            })
        })
    };
    vec![
        ("opened", say(&|t| t.handle_opened(&Opened { transfer: 1, size: 16, start: 4, ..Opened::default() }).map(ok))),
        ("ready", say(&|t| t.handle_ready(&Ready { transfer: 1, offset: 4, window: 8, ..Ready::default() }).map(ok))),
        ("begin", say(&|t| t.handle_begin(&Begin { transfer: 1, start: 0 }).map(ok))),
        ("window", say(&|t| t.handle_window(12).map(|moved| if moved { "moved" } else { "ignored" }.to_owned()))),
        ("shrink", say(&|t| t.handle_window(2).map(|moved| if moved { "moved" } else { "ignored" }.to_owned()))),
        ("finished", say(&|t| t.handle_finished(&Finished { transfer: 1, size: 16, hash: hash.clone() }).map(ok))),
        ("stored", say(&|t| t.handle_stored().map(|()| "ends".to_owned()))),
        ("progress", say(&|t| t.handle_progress(4).map(ok))),
        ("data 4+4", data(4, 4)),
        ("data 4+5", data(4, 5)),
        ("data 5+1", data(5, 1)),
    ]
}

#[test]
fn rates_are_seen_by_whoever_says_them() {
    let mut server = session_in(Role::Server, Phase::Open).unwrap();
    let wish = DesiredRates { upload: 0, download: 7 };
    server.handle_message(Message::DesiredRates(wish), Moment::ZERO).unwrap();
    let (upload, download) = (Rate::UNLIMITED, Rate::from_bytes_per_second(7));
    assert_eq!(server.poll_output(), Some(Output::Event(Event::Desired { upload, download })));
}

#[test]
fn an_idle_session_is_small() {
    // 10,000 idle sessions; DESIGN 13 gives each 4 KB for everything.
    assert!(size_of::<Session>() <= 384, "{}", size_of::<Session>());
    assert!(size_of::<Output>() <= 160, "{}", size_of::<Output>());
}
