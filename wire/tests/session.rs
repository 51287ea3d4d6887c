//! Two ends talk in virtual time: what a user would see, the races between links, and what goes wrong.

mod pair;

use std::time::Duration;

use flow::{Moment, Rate};
use pair::{CLIENT, Network, Pair, SERVER};
use proptest::prelude::*;
use wire::*;

fn has(pair: &Pair, who: usize, wanted: impl Fn(&Event) -> bool) -> bool {
    pair.ends[who].events.iter().any(wanted)
}

fn calm(pair: &Pair) {
    assert_eq!((&pair.ends[CLIENT].violation, &pair.ends[SERVER].violation), (&None, &None));
}

#[test]
fn a_get_in_the_hello_needs_no_further_question() {
    let get = Get { path: "f/2500".to_owned(), window: 1000, ..Get::default() };
    let mut pair = Pair::new(Hello { gets: vec![get], ..Hello::default() }, Network::default());
    pair.run_ms(1000);
    calm(&pair);
    assert_eq!(pair.ends[CLIENT].stored_bytes[&1], 2500);
    assert!(has(&pair, SERVER, |e| *e == Event::Stored { transfer: 1 }));
    assert_eq!(pair.client().transfers().count() + pair.server().transfers().count(), 0);
}

#[test]
fn a_list_in_the_hello_is_answered_right_after_the_welcome() {
    let list = |path: &str| List { path: path.to_owned(), ..List::default() };
    let hello = Hello { lists: vec![list("share"), list("none")], ..Hello::default() };
    let mut pair = Pair::new(hello, Network::default());
    // There and back, and no more.
    pair.run_ms(2 * Network::default().control_ms);
    calm(&pair);
    assert!(has(&pair, CLIENT, |e| matches!(e, Event::Listing(l) if l.request == 1 && l.error.is_none())));
    assert!(has(&pair, CLIENT, |e| matches!(e, Event::Listing(l) if l.request == 2 && l.error.is_some())));
    assert_eq!(pair.client().list("share", false, "").unwrap(), 3, "later ids grow");
    pair.run_ms(1000);
    calm(&pair);
}

#[test]
fn a_put_arrives() {
    let mut pair = Pair::open();
    let (empty, full) = (pair.put(0), pair.put(12_345));
    pair.run_ms(5000);
    calm(&pair);
    assert_eq!(pair.ends[SERVER].stored_bytes, [(full, 12_345)].into());
    for transfer in [empty, full] {
        assert!(has(&pair, CLIENT, |e| *e == Event::Stored { transfer }));
    }
}

#[test]
fn a_resumed_get_sends_only_the_rest_and_a_changed_file_comes_whole() {
    for (hash, expected, resumed) in [([1; 32], 1500, true), ([2; 32], 5500, false)] {
        let mut pair = Pair::open();
        let request = GetRequest {
            path: "f/5500".to_owned(),
            offset: 4000,
            prefix_hash: Some(hash),
            window: 4700,
            ..GetRequest::default()
        };
        let id = pair.client().get(request).unwrap();
        pair.ends[CLIENT].stuck.insert(id);
        pair.run_ms(200);
        // 700 bytes of room, wherever the server begins.
        assert_eq!(pair.ends[CLIENT].stored_bytes[&id], 700);
        assert!(has(&pair, CLIENT, |e| matches!(e, Event::Opened(o) if o.resumed == resumed)));
        pair.client().grant_window(id, 5500).unwrap();
        pair.run_ms(1000);
        assert_eq!(pair.ends[CLIENT].stored_bytes[&id], expected);
        calm(&pair);
    }
}

#[test]
fn a_slow_transfer_does_not_hold_back_its_neighbour_on_the_same_link() {
    let mut pair = Pair::open();
    let slow = pair.get("f/9000");
    pair.ends[CLIENT].stuck.insert(slow);
    let skipped = pair.get("f/0");
    let quick = pair.get("f/9000");
    assert_eq!((slow % 2, skipped % 2), (quick % 2, 0));
    pair.run_ms(5000);
    calm(&pair);
    assert_eq!(pair.ends[CLIENT].stored_bytes, [(slow, 1000), (quick, 9000)].into());
    pair.client().cancel(slow).unwrap();
    pair.run_ms(100);
    assert!(has(&pair, SERVER, |e| *e == Event::Cancelled { transfer: slow }));
}

#[test]
fn data_that_overtakes_control_waits_for_it() {
    let network = Network { control_ms: 200, data_ms: vec![1], ..Network::default() };
    let mut pair = Pair::new(Hello::default(), network);
    pair.run_ms(500);
    pair.get("f/3000");
    pair.put(3000);
    pair.run_ms(10_000);
    calm(&pair);
    assert!(pair.ends[CLIENT].early > 0 && pair.ends[SERVER].early > 0);
    assert_eq!(pair.ends[CLIENT].stored_bytes[&1], 3000);
    assert_eq!(pair.ends[SERVER].stored_bytes[&2], 3000);
}

#[test]
fn control_that_overtakes_data_is_no_violation() {
    let network = Network { control_ms: 1, data_ms: vec![300], ..Network::default() };
    let mut pair = Pair::new(Hello::default(), network);
    pair.run_ms(10);
    let whole = pair.get("f/900");
    let cancelled = pair.get("f/9000");
    pair.run_ms(50);
    // Everything of both that the windows allow is under way, and `Finished` has been heard.
    assert!(has(&pair, CLIENT, |e| matches!(e, Event::Finished { transfer, .. } if *transfer == whole)));
    pair.client().cancel(cancelled).unwrap();
    pair.run_ms(1000);
    calm(&pair);
    assert_eq!(pair.ends[CLIENT].stored_bytes, [(whole, 900)].into());
    assert_eq!(pair.ends[CLIENT].discarded_bytes, 1000);
}

#[test]
fn both_ends_may_end_a_transfer_at_once() {
    let mut pair = Pair::open();
    let id = pair.get("f/100000");
    pair.run_ms(55);
    pair.client().cancel(id).unwrap();
    pair.server().fail(id, FailureCode::Shrunk, "it got shorter").unwrap();
    pair.run_ms(500);
    calm(&pair);
    assert_eq!(pair.client().cancel(id), Err(SessionError::NoSuchTransfer(id)));
}

#[test]
fn lists_and_failures_are_answered() {
    let mut pair = Pair::open();
    let (good, bad) = (pair.client().list("f", true, "").unwrap(), pair.client().list("none", false, "").unwrap());
    let missing = pair.get("no such");
    pair.run_ms(100);
    assert!(has(&pair, CLIENT, |e| matches!(e, Event::Listing(l) if l.request == good && l.entries.len() == 1)));
    let failed = |l: &Listing| l.error.as_ref().map(ListError::code) == Some(FailureCode::NotFound);
    assert!(has(&pair, CLIENT, |e| matches!(e, Event::Listing(l) if l.request == bad && failed(l))));
    assert!(has(&pair, CLIENT, |e| matches!(e, Event::Failed(f) if f.transfer == missing)));
    calm(&pair);
}

#[test]
fn too_many_transfers_are_refused_one_by_one() {
    let limits = [Limits::default(), Limits { transfers_max: 2, ..Limits::default() }];
    let mut pair = Pair::with_limits(Hello::default(), Network::default(), limits);
    pair.run_ms(100);
    let ids: Vec<u32> = (0..3).map(|_| pair.get("f/1000000")).collect();
    pair.run_ms(100);
    let failed = |id: u32| {
        has(&pair, CLIENT, |e| matches!(e, Event::Failed(f) if f.transfer == id && f.code() == FailureCode::TooMany))
    };
    assert_eq!(ids.iter().map(|id| failed(*id)).collect::<Vec<_>>(), [false, false, true]);
}

/// What a server with `limits`, already welcomed by `hello`, sends in answer to `messages`.
fn server_answers(limits: Limits, hello: Hello, messages: Vec<Message>) -> Vec<Message> {
    let mut server = Session::server(limits, Moment::ZERO);
    server.handle_message(Message::Hello(Hello { version: 1, ..hello }), Moment::ZERO).unwrap();
    server.welcome(Welcome::default()).unwrap();
    for message in messages {
        server.handle_message(message, Moment::ZERO).unwrap();
    }
    let outputs = std::iter::from_fn(|| server.poll_output());
    outputs.filter_map(|output| if let Output::Send(message) = output { Some(message) } else { None }).skip(1).collect()
}

#[test]
fn a_client_that_does_not_know_our_limits_gets_answers() {
    let limits = Limits { lists_max: 1, gets_in_hello_max: 1, path_bytes_max: 5, ..Limits::default() };
    let get = |transfer, path: &str| Get { transfer, path: path.to_owned(), ..Get::default() };
    let list = |request, path: &str| Message::List(List { request, path: path.to_owned(), ..List::default() });
    let first = ["far/too/long", "a", "b"].into_iter().zip(1..);
    let lists = first.map(|(path, request)| List { request, path: path.to_owned(), ..List::default() }).collect();
    let hello = Hello { gets: vec![get(1, "a"), get(2, "b")], lists, ..Hello::default() };
    let answers = server_answers(limits, hello, vec![Message::Get(get(3, "far/too/long")), list(4, "c")]);
    let codes: Vec<_> = answers
        .iter()
        .map(|message| match message {
            Message::Failed(m) => (m.transfer, m.code()),
            Message::Listing(m) => (m.request, m.error.as_ref().unwrap().code()),
            other => panic!("{other:?}"),
        })
        .collect();
    use FailureCode::{BadPath, TooMany};
    assert_eq!(codes, [(2, TooMany), (1, BadPath), (3, TooMany), (3, BadPath), (4, TooMany)]);
}

#[test]
fn another_version_is_refused_with_words() {
    let mut pair = Pair::new(Hello { version: 7, ..Hello::default() }, Network::default());
    pair.run_ms(100);
    for end in &pair.ends {
        let Some(Exit::Refused(refusal)) = &end.exit else { panic!("{:?}", end.exit) };
        assert_eq!(refusal.code(), RefusalCode::Version);
        assert!(refusal.message.contains('7') && refusal.message.contains('1'), "{}", refusal.message);
    }
}

#[test]
fn a_server_that_says_nothing_times_out_and_so_does_a_client() {
    let mut pair = Pair::new(Hello::default(), Network::default());
    pair.welcoming = false;
    pair.run_ms(9_999);
    assert!(pair.ends.iter().all(|end| end.exit.is_none()));
    pair.run_ms(100);
    assert!(matches!(pair.ends[SERVER].exit, Some(Exit::TimedOut("handshake") | Exit::PeerLeft(_))));
    assert!(matches!(pair.ends[CLIENT].exit, Some(Exit::TimedOut("handshake") | Exit::Refused(_))));

    let mut alone = Session::server(Limits::default(), Moment::ZERO);
    alone.handle_timeout(alone.poll_timeout().unwrap());
    let Some(Output::Send(Message::Refusal(refusal))) = alone.poll_output() else { panic!() };
    assert_eq!(refusal.code(), RefusalCode::Timeout);
    assert_eq!(alone.poll_output(), Some(Output::Close(Exit::TimedOut("handshake"))));
}

#[test]
fn an_idle_session_lives_and_a_silent_one_dies() {
    let mut pair = Pair::open();
    pair.run_ms(3_600_000);
    assert!(pair.client().is_open() && pair.server().is_open());
    assert!(has(&pair, CLIENT, |e| *e == Event::Pong { rtt: Duration::from_millis(20) }));
    pair.cut = true;
    pair.run_ms(44_000 - 15_000);
    assert!(pair.client().is_open() && pair.server().is_open());
    pair.run_ms(31_000);
    for end in &pair.ends {
        assert_eq!(end.exit, Some(Exit::TimedOut("silence")));
    }
}

#[test]
fn a_machine_that_slept_asks_before_it_buries_its_peers() {
    let mut pair = Pair::open();
    let (_, awake) = (pair.now, pair.now + Duration::from_secs(8 * 3600));
    pair.client().handle_timeout(awake);
    assert!(matches!(pair.client().poll_output(), Some(Output::Send(Message::Ping(_)))));
    assert!(pair.client().is_open());
    pair.client().handle_timeout(awake + Duration::from_secs(15));
    assert!(pair.client().is_closed());
}

#[test]
fn a_drain_lets_transfers_end_and_takes_no_new_ones() {
    let mut pair = Pair::open();
    let old = pair.get("f/5000");
    pair.run_ms(25);
    let deadline = pair.now + Duration::from_secs(60);
    pair.server().drain(deadline).unwrap();
    // This one crosses the announcement.
    let crossing = pair.get("f/1");
    pair.run_ms(25);
    assert_eq!(pair.client().get(GetRequest::default()), Err(SessionError::Draining));
    pair.run_ms(3000);
    calm(&pair);
    assert_eq!(pair.ends[CLIENT].stored_bytes, [(old, 5000)].into());
    let draining = |f: &Failed| f.transfer == crossing && f.code() == FailureCode::Draining;
    assert!(has(&pair, CLIENT, |e| matches!(e, Event::Failed(f) if draining(f))));
    assert_eq!((&pair.ends[CLIENT].exit, &pair.ends[SERVER].exit), (&Some(Exit::Clean), &Some(Exit::Clean)));
}

#[test]
fn a_drain_has_a_deadline() {
    let mut pair = Pair::open();
    let id = pair.get("f/5000");
    pair.ends[CLIENT].stuck.insert(id);
    pair.run_ms(100);
    let deadline = pair.now + Duration::from_secs(2);
    pair.server().drain(deadline).unwrap();
    pair.run_ms(2100);
    assert_eq!(pair.ends[SERVER].exit, Some(Exit::TimedOut("drain")));
    assert!(has(&pair, CLIENT, |e| matches!(e, Event::Failed(f) if f.code() == FailureCode::Draining)));
    assert_eq!(pair.ends[CLIENT].exit, Some(Exit::Clean));
}

#[test]
fn whoever_is_disconnected_is_told_why() {
    let mut pair = Pair::open();
    pair.get("f/100000");
    pair.run_ms(50);
    pair.server().goodbye(GoodbyeCode::Disconnected, "by the operator").unwrap();
    pair.run_ms(100);
    let goodbye = Goodbye::new(GoodbyeCode::Disconnected, "by the operator");
    assert_eq!(pair.ends[CLIENT].exit, Some(Exit::PeerLeft(goodbye.clone())));
    assert_eq!(pair.ends[SERVER].exit, Some(Exit::Left(goodbye)));
    assert_eq!(pair.ends[CLIENT].violation, None);
}

#[test]
fn wishes_and_grants_arrive_as_they_were_said() {
    let mut pair = Pair::open();
    let id = pair.get("f/100000");
    pair.run_ms(50);
    let (upload, download) = (Rate::from_bytes_per_second(5), Rate::UNLIMITED);
    pair.client().set_desired(upload, download).unwrap();
    pair.client().set_proportions(&[(id, 2.5), (77, 1.0)]).unwrap();
    pair.server().set_granted(upload, download).unwrap();
    pair.run_ms(50);
    calm(&pair);
    assert!(has(&pair, SERVER, |e| *e == Event::Desired { upload, download }));
    assert!(has(&pair, SERVER, |e| *e == Event::Proportions(vec![(id, 2.5)])));
    assert!(has(&pair, CLIENT, |e| *e == Event::Granted { upload, download }));
    assert!(has(&pair, SERVER, |e| matches!(e, Event::Progress { .. })));
}

/// Runs `wrong` on an open pair with one get (1, of 9000 bytes, window 1000, nothing sent yet) and gives what the client
/// makes of it.
fn client_judges(wrong: impl Fn(&mut Session) -> Result<(), Violation>) -> &'static str {
    let mut client = Session::client(Hello::default(), Limits::default(), Moment::ZERO);
    client.handle_message(Message::Welcome(Welcome::default()), Moment::ZERO).unwrap();
    client.get(GetRequest { path: "f/9000".to_owned(), window: 1000, ..GetRequest::default() }).unwrap();
    let opened = Opened { transfer: 1, size: 9000, ..Opened::default() };
    client.handle_message(Message::Opened(opened), Moment::ZERO).unwrap();
    let verdict = wrong(&mut client);
    let code = verdict.as_ref().map_or_else(Violation::code, |()| "fine");
    assert_eq!(client.is_closed(), verdict.is_err(), "{code}");
    code
}

fn data(transfer: u32, offset: u64, len: u32) -> DataHeader {
    DataHeader { len, transfer, offset }
}

#[test]
fn each_way_to_break_a_transfer_has_its_name() {
    let say = |message: Message| client_judges(move |client| client.handle_message(message.clone(), Moment::ZERO));
    let send = |header: DataHeader| client_judges(move |client| client.data_received(&header).map(drop));
    assert_eq!(send(data(1, 0, 1000)), "fine");
    assert_eq!(send(data(1, 0, 1001)), "window_passed");
    assert_eq!(send(data(1, 1, 10)), "out_of_order");
    assert_eq!(send(data(2, 0, 10)), "unknown_transfer");
    assert_eq!(say(Message::Failed(Failed::new(2, FailureCode::Io, ""))), "unknown_transfer");
    assert_eq!(say(Message::Stored(Stored { transfer: 1 })), "unexpected_for_transfer");
    assert_eq!(say(Message::Window(Window { transfer: 1, limit: 1 })), "unexpected_for_transfer");
    assert_eq!(say(Message::Opened(Opened { transfer: 1, ..Opened::default() })), "unexpected_for_transfer");
    assert_eq!(say(Message::Listing(Listing { request: 1, ..Listing::default() })), "unknown_request");
    assert_eq!(say(Message::Pong(Pong::default())), "unknown_pong");
    let finished = Finished { transfer: 1, size: 1, hash: vec![0; 32] };
    assert_eq!(say(Message::Finished(finished)), "size_changed");
    assert_eq!(say(Message::Get(Get { transfer: 9, ..Get::default() })), "unexpected");
}

#[test]
fn an_id_is_used_once() {
    let mut server = Session::server(Limits::default(), Moment::ZERO);
    let hello = Hello { version: 1, ..Hello::default() };
    server.handle_message(Message::Hello(hello), Moment::ZERO).unwrap();
    server.welcome(Welcome::default()).unwrap();
    let get = Message::Get(Get { transfer: 5, ..Get::default() });
    server.handle_message(get.clone(), Moment::ZERO).unwrap();
    server.fail(5, FailureCode::NotFound, "").unwrap();
    // Ended, so that these may have crossed it.
    server.handle_message(Message::Cancel(Cancel { transfer: 5 }), Moment::ZERO).unwrap();
    server.handle_message(Message::Window(Window { transfer: 5, limit: 9 }), Moment::ZERO).unwrap();
    let reused = Violation::TransferReused { transfer: 5, highest: 5 };
    assert_eq!(server.handle_message(get, Moment::ZERO), Err(reused));
}

#[test]
fn dead_data_is_bounded_by_the_window_it_had() {
    let verdict = client_judges(|client| {
        client.data_received(&data(1, 0, 400))?;
        client.cancel(1).unwrap();
        assert_eq!(client.data_received(&data(1, 400, 600)), Ok(Accepted::Discard));
        client.data_received(&data(1, 1000, 1)).map(drop)
    });
    assert_eq!(verdict, "discard_passed");
}

#[test]
fn a_flood_that_outruns_its_answers_is_ended() {
    let mut pair = Pair::open();
    let ping = Message::Ping(Ping { nonce: 1, sent_ns: 1 });
    let now = pair.now;
    let sent = (0..10_000).take_while(|_| pair.server().handle_message(ping.clone(), now).is_ok()).count();
    assert_eq!(sent, Limits::default().outputs_max);
    assert!(pair.server().is_closed());
}

#[test]
fn nothing_is_sent_before_the_welcome() {
    let mut client = Session::client(Hello::default(), Limits::default(), Moment::ZERO);
    assert!(client.get(GetRequest::default()).is_err());
    assert!(client.list("", false, "").is_err());
    assert!(client.ping(Moment::ZERO).is_err());
    assert!(client.welcome(Welcome::default()).is_err());
    assert!(client.data_received(&data(1, 0, 1)).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Whatever the delays, sizes and windows: no end ever blames the other, and what is not cancelled arrives whole.
    #[test]
    fn honest_ends_never_break_the_protocol(
        control_ms in 0u64..80,
        data_ms in prop::collection::vec(0u64..80, 1..4),
        window in 1u64..3000,
        chunk in 1u32..1500,
        files in prop::collection::vec((0u64..6000, any::<bool>(), prop::option::of((0u64..400, any::<bool>()))), 1..8),
    ) {
        let network = Network { control_ms, data_ms, window: window.max(200), chunk: chunk.max(50) };
        let mut pair = Pair::new(Hello::default(), network);
        pair.run_ms(400);
        let mut started = Vec::new();
        for (size, is_get, cancel) in files {
            let id = if is_get { pair.get(&format!("f/{size}")) } else { pair.put(size) };
            started.push((id, size, is_get));
            if let Some((after_ms, by_client)) = cancel {
                pair.run_ms(after_ms);
                let session = if by_client { pair.client() } else { pair.server() };
                if session.cancel(id).is_ok() {
                    started.pop();
                }
            }
        }
        pair.run_ms(120_000);
        calm(&pair);
        prop_assert!(pair.client().is_open() && pair.server().is_open());
        prop_assert_eq!(pair.client().transfers().count() + pair.server().transfers().count(), 0);
        for (id, size, is_get) in started {
            let receiver = if is_get { CLIENT } else { SERVER };
            prop_assert_eq!(pair.ends[receiver].stored_bytes.get(&id).copied().unwrap_or(0), size);
        }
    }
}
