//! Anything at all, in any order: a session never panics, never grows beyond its limits, and always says why it closes.

mod samples;

use std::time::Duration;

use flow::Moment;
use proptest::prelude::*;
use wire::*;

#[derive(Clone, Debug)]
enum Act {
    Hear(Message),
    Data(DataHeader),
    Wait(u64),
    /// One of the shell's orders, for a transfer.
    Order(u8, u32, u64),
    Poll,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => samples::any_message().prop_map(Act::Hear),
        3 => (1u32..12, 0u64..2000, 1u32..500).prop_map(|(transfer, offset, len)| Act::Data(DataHeader { len, transfer, offset })),
        1 => (0u64..20_000).prop_map(Act::Wait),
        6 => (0u8..20, 1u32..12, 0u64..2000).prop_map(|(order, transfer, number)| Act::Order(order, transfer, number)),
        2 => Just(Act::Poll),
    ]
}

fn order(session: &mut Session, order: u8, transfer: u32, number: u64, now: Moment) -> Result<(), SessionError> {
    let hash = [1; 32];
    match order {
        0 => session.welcome(Welcome::default()),
        1 => session.refuse(Refusal::new(RefusalCode::Busy, "busy")),
        2 => session.get(GetRequest { window: number, ..GetRequest::default() }).map(drop),
        3 => session.put(PutRequest { size: number, ..PutRequest::default() }).map(drop),
        4 => session.opened(transfer, number, 0, 0),
        5 => session.ready(transfer, 0, None, number),
        6 => session.begin(transfer, 0),
        7 => session.grant_window(transfer, number),
        8 => {
            let len = session.sendable(transfer).min(300) as u32;
            session.data_sent(transfer, len);
            Ok(())
        }
        9 => {
            let size = session.transfer(transfer).and_then(|t| t.size).unwrap_or(number);
            session.finished(transfer, size, hash)
        }
        10 => session.stored(transfer),
        11 => session.fail(transfer, FailureCode::Io, "a disk error"),
        12 => session.cancel(transfer),
        13 => session.progress(transfer, number),
        14 => session.list("a", false, "").map(drop),
        15 => session.listing(Listing { request: transfer, ..Listing::default() }),
        16 => session.ping(now),
        // Seldom, or nothing would live long.
        17 if number < 100 => session.drain(now + Duration::from_millis(number)),
        18 if number < 50 => session.goodbye(GoodbyeCode::Done, ""),
        19 => session.set_proportions(&[(transfer, number as f64 / 100.0), (transfer, f64::NAN)]),
        _ => Ok(()),
    }
}

/// Takes all outputs. After `Close` there are none.
fn poll_all(session: &mut Session, closed: &mut bool) -> usize {
    let mut count = 0;
    while let Some(output) = session.poll_output() {
        assert!(!*closed, "an output after the last: {output:?}");
        if let Output::Send(message) = &output {
            encode_message(message, &mut bytes::BytesMut::new()).unwrap();
            message.check().unwrap();
        }
        *closed = matches!(output, Output::Close(_));
        count += 1;
    }
    assert_eq!(*closed, session.is_closed());
    count
}

fn limits() -> Limits {
    Limits { transfers_max: 4, lists_max: 2, outputs_max: 40, gets_in_hello_max: 2, pings_max: 3, ..Limits::default() }
}

fn start(server: bool, greeted: bool) -> Session {
    let hello = Hello { version: PROTOCOL_VERSION, ..Hello::default() };
    let mut session = if server {
        Session::server(limits(), Moment::ZERO)
    } else {
        Session::client(hello.clone(), limits(), Moment::ZERO)
    };
    if greeted && server {
        session.handle_message(Message::Hello(hello), Moment::ZERO).unwrap();
        session.welcome(Welcome::default()).unwrap();
    } else if greeted {
        session.handle_message(Message::Welcome(Welcome::default()), Moment::ZERO).unwrap();
    }
    session
}

/// One act. A violation is seen by the caller as a closed session.
fn play(session: &mut Session, act: Act, now: &mut Moment, closed: &mut bool) {
    match act {
        Act::Hear(message) => {
            let was_closed = session.is_closed();
            let result = session.handle_message(message, *now);
            assert!(result.is_ok() || (!was_closed && session.is_closed()));
        }
        Act::Data(header) => {
            let before = session.transfer(header.transfer);
            match session.data_received(&header) {
                Ok(Accepted::Store) => {
                    let before = before.unwrap();
                    assert_eq!(header.offset, before.offset);
                    assert!(header.end() <= before.limit && Some(header.end()) <= before.size);
                }
                Ok(Accepted::Discard | Accepted::Early) => {}
                Err(_) => assert!(session.is_closed()),
            }
        }
        Act::Wait(ms) => {
            *now = *now + Duration::from_millis(ms);
            session.handle_timeout(*now);
        }
        Act::Order(number, transfer, value) => {
            let _ = order(session, number, transfer, value, *now);
        }
        Act::Poll => {
            poll_all(session, closed);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn any_conversation_ends_well(server: bool, greeted: bool, acts in prop::collection::vec(act(), 0..80)) {
        let mut session = start(server, greeted);
        let (mut now, mut closed) = (Moment::ZERO, false);
        for act in acts {
            play(&mut session, act, &mut now, &mut closed);
            prop_assert!(session.transfers().count() <= limits().transfers_max);
            prop_assert!(session.poll_timeout().is_none() == session.is_closed());
        }
        poll_all(&mut session, &mut closed);
    }

    /// The peer alone cannot fill the memory of a shell that is slow to take outputs.
    #[test]
    fn a_peer_cannot_fill_the_outputs(server: bool, messages in prop::collection::vec(samples::any_message(), 0..200)) {
        let mut session = start(server, true);
        let mut closed = false;
        for message in messages {
            let _ = session.handle_message(message, Moment::ZERO);
        }
        // One message may cause a few outputs, a violation two more.
        prop_assert!(poll_all(&mut session, &mut closed) <= limits().outputs_max + 8);
    }
}
