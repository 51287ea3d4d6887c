//! Frames: round trips, bytes in any portions, and everything that is not a frame.

mod samples;

use bytes::BytesMut;
use proptest::prelude::*;
use wire::*;

fn encode(messages: &[Message]) -> BytesMut {
    let mut bytes = BytesMut::new();
    for message in messages {
        encode_message(message, &mut bytes).unwrap();
    }
    bytes
}

fn drain(decoder: &mut FrameDecoder) -> Result<Vec<Message>, Violation> {
    std::iter::from_fn(|| decoder.next_message().transpose()).collect()
}

fn decode(bytes: &[u8]) -> Result<Vec<Message>, Violation> {
    let mut decoder = FrameDecoder::default();
    decoder.extend(bytes);
    drain(&mut decoder)
}

/// A frame around any bytes.
fn frame(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32).to_be_bytes(), body].concat()
}

#[test]
fn every_message_round_trips_byte_by_byte() {
    let messages = samples::all();
    let kinds: Vec<_> = messages.iter().map(Message::kind).collect();
    assert_eq!(kinds, MessageKind::ALL, "a sample of each");
    let mut decoder = FrameDecoder::default();
    let mut decoded = Vec::new();
    for byte in encode(&messages) {
        decoder.extend(&[byte]);
        decoded.extend(drain(&mut decoder).unwrap());
    }
    assert_eq!(decoded, messages);
    assert!(!decoder.is_mid_frame());
}

#[test]
fn a_length_that_cannot_be_is_refused_at_its_fourth_byte() {
    for (len, code) in [(0, "frame_empty"), (65_537, "frame_too_long"), (u32::MAX, "frame_too_long")] {
        let mut decoder = FrameDecoder::default();
        decoder.extend(&len.to_be_bytes()[..3]);
        assert_eq!(decoder.next_message(), Ok(None));
        decoder.extend(&len.to_be_bytes()[3..]);
        assert_eq!(decoder.next_message().unwrap_err().code(), code);
        // Final, whatever comes.
        decoder.extend(&encode(&samples::all()));
        assert_eq!(decoder.next_message().unwrap_err().code(), code);
    }
}

#[test]
fn a_smaller_limit_holds() {
    let message = Message::Goodbye(Goodbye::new(GoodbyeCode::Done, "x".repeat(100)));
    let mut decoder = FrameDecoder::new(64);
    decoder.extend(&encode(&[message]));
    assert_eq!(decoder.next_message().unwrap_err().code(), "frame_too_long");
}

#[test]
fn a_message_of_a_newer_version_is_skipped_and_counted() {
    // Field 99, a message of 3 bytes; a known message behind it, with a field 99 of its own.
    let unknown = frame(&[0x9a, 0x06, 3, 1, 2, 3]);
    let extended = frame(&[0x22, 6, 0x08, 7, 0x9a, 0x06, 1, 0]);
    let mut decoder = FrameDecoder::default();
    decoder.extend(&[unknown.clone(), extended, unknown].concat());
    assert_eq!(drain(&mut decoder), Ok(vec![Message::Ping(Ping { nonce: 7, sent_ns: 0 })]));
    assert_eq!(decoder.unknown_frames(), 2);
}

#[test]
fn garbage_in_a_frame_is_a_violation() {
    // A cut-off field, a wrong wire type for `ping`, invalid UTF-8 in `refusal.message`.
    for body in [&[0x22, 5, 8][..], &[0x20, 1], &[0x1a, 4, 0x12, 2, 0xff, 0xfe], &[0xff; 12]] {
        assert_eq!(decode(&frame(body)).unwrap_err().code(), "malformed", "{body:?}");
    }
}

#[test]
fn a_small_frame_does_not_unfold_into_a_large_message() {
    // 30,000 empty gets in 60,000 bytes of hello; as many empty lists.
    for field in [0x3a, 0x42] {
        let asked = [field, 0].repeat(30_000);
        let mut body = vec![0x0a];
        prost::encoding::encode_varint(asked.len() as u64, &mut body);
        body.extend(asked);
        assert_eq!(decode(&frame(&body)).unwrap_err().code(), "too_many", "{field:#x}");
    }
}

#[test]
fn lengths_and_ranges_are_checked_in_the_decoder() {
    let long = "x".repeat(5000);
    let cases = [
        (Message::List(List { request: 1, path: long.clone(), ..List::default() }), "too_long"),
        (Message::Get(Get { transfer: 1, path: long.clone(), ..Get::default() }), "too_long"),
        (Message::Get(Get { transfer: 1, offset: 5, ..Get::default() }), "bad_length"),
        (Message::Get(Get { transfer: 1, weight: 1_000_001, ..Get::default() }), "bad_number"),
        (Message::Get(Get::default()), "bad_number"),
        (Message::Put(Put::default()), "bad_number"),
        (Message::List(List::default()), "bad_number"),
        (Message::Failed(Failed::new(1, FailureCode::Io, long.clone())), "too_long"),
        (Message::Goodbye(Goodbye::new(GoodbyeCode::Done, long.clone())), "too_long"),
        (Message::Finished(Finished { transfer: 1, size: 1, hash: vec![0; 31] }), "bad_length"),
        (Message::Welcome(Welcome { tokens: vec![vec![0; 33]], ..Welcome::default() }), "bad_length"),
        (Message::Welcome(Welcome { tokens: vec![vec![0; 32]; 65], ..Welcome::default() }), "too_many"),
        (Message::Hello(Hello { agent: long, ..Hello::default() }), "too_long"),
        (Message::Hello(Hello { data_links: 65, ..Hello::default() }), "bad_number"),
        (Message::Hello(Hello { data_links: 2, down_links: 2, up_links: 1, ..Hello::default() }), "bad_number"),
        (Message::Hello(Hello { up_links: 2, ..Hello::default() }), "bad_number"),
        (Message::Hello(Hello { down_links: u32::MAX, up_links: u32::MAX, ..Hello::default() }), "bad_number"),
        (Message::Welcome(Welcome { tokens: vec![vec![0; 32]], down_links: 2, ..Welcome::default() }), "bad_number"),
        (Message::Proportions(Proportions { shares: vec![Proportion::default(); 513] }), "too_many"),
        (Message::Listing(Listing { entries: vec![Entry::default(); 1001], ..Listing::default() }), "too_many"),
    ];
    for (message, code) in cases {
        assert_eq!(decode(&encode(std::slice::from_ref(&message))).map_err(|v| v.code()), Err(code), "{message:?}");
    }
}

#[test]
fn a_message_that_does_not_fit_is_not_half_written() {
    let entry = Entry { name: "x".repeat(100), ..Entry::default() };
    let message = Message::Listing(Listing { entries: vec![entry; 900], ..Listing::default() });
    let mut bytes = BytesMut::from(&b"before"[..]);
    let error = encode_message(&message, &mut bytes).unwrap_err();
    assert!(error.len > CONTROL_FRAME_BYTES_MAX && error.to_string().contains("listing"), "{error}");
    assert_eq!(&bytes[..], b"before");
}

#[test]
fn a_full_page_of_the_files_port_fits_a_frame() {
    // 500 entries with 48 KiB of names and the longest numbers.
    let name = "x".repeat(48 * 1024 / 500);
    let file =
        Entry { name: name.clone(), size: u64::MAX, mtime_ns: -1, kind: EntryKind::File.into(), ..Entry::default() };
    let (kind, unlisted) = (EntryKind::Directory.into(), FailureCode::Draining.into());
    let directory = Entry { name, size: 0, mtime_ns: -1, kind, hidden: u32::MAX, unlisted, special: u32::MAX };
    for entry in [file, directory] {
        let entries = vec![entry; 500];
        let listing =
            Listing { request: u32::MAX, entries, more: true, error: None, hidden: u32::MAX, special: u32::MAX };
        assert!(encode_message(&Message::Listing(listing), &mut BytesMut::new()).is_ok());
    }
}

#[test]
fn tokens_are_not_printed() {
    let welcome = Welcome { tokens: vec![vec![0xab; 32]], ..Welcome::default() };
    let shown = format!("{:?}", Message::Welcome(welcome));
    assert!(!shown.contains("171") && shown.contains("[1 tokens]"), "{shown}");
}

#[test]
fn many_frames_in_one_read_take_linear_time() {
    let one = encode(&[Message::Ping(Ping { nonce: 1, sent_ns: 1 })]);
    let many = one.repeat(400_000);
    let mut decoder = FrameDecoder::default();
    decoder.extend(&many);
    // Were each frame cut off by moving the rest, this would move 2 TB.
    assert_eq!(drain(&mut decoder).unwrap().len(), 400_000);
}

#[test]
fn data_headers_are_big_endian_and_bounded() {
    let header = DataHeader { len: 0x01_0203, transfer: 0x0405_0607, offset: 0x0809_0a0b_0c0d_0e0f };
    assert_eq!(header.encode(), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
    let with = |len, transfer, offset| DataHeader::decode(&DataHeader { len, transfer, offset }.encode());
    assert!(with(1, 1, 0).is_ok() && with(DATA_PAYLOAD_BYTES_MAX, 1, 0).is_ok());
    assert_eq!(with(0, 1, 0).unwrap_err().code(), "data_length");
    assert_eq!(with(DATA_PAYLOAD_BYTES_MAX + 1, 1, 0).unwrap_err().code(), "data_length");
    assert_eq!(with(1, 0, 0).unwrap_err().code(), "bad_number");
    assert_eq!(with(1, 1, u64::MAX).unwrap_err().code(), "bad_number");
}

#[test]
fn the_magic_tells_a_data_link_from_tls() {
    for ways in Ways::ALL {
        let preface = DataPreface { token: Token::from_bytes([3; 32]), ways };
        let bytes = preface.encode();
        assert_eq!(DataPreface::decode(&bytes), Ok(preface));
        for cut in 0..bytes.len() {
            assert!(DataPreface::is_magic_prefix(&bytes[..cut]));
        }
    }
    assert!(!DataPreface::is_magic_prefix(&[0x16, 3, 1]));
    assert!(!DataPreface::is_magic_prefix(b"EVKLDAT2"));
    assert_eq!(DataPreface::decode(&[0x16; 40]), Err(Violation::DataMagic));
}

#[test]
fn a_data_link_says_which_ways_it_carries_and_no_other_word_is_taken() {
    let begins = |last: u8| {
        let mut bytes = DataPreface { token: Token::from_bytes([3; 32]), ways: Ways::Both }.encode();
        assert_eq!(&bytes[..8], b"EVKLDAT1", "whoever knows of no ways says both");
        bytes[7] = last;
        (DataPreface::is_magic_prefix(&bytes), DataPreface::decode(&bytes).map(|preface| preface.ways))
    };
    let known = [(b'1', Ways::Both), (b'D', Ways::Down), (b'U', Ways::Up)];
    for last in 0..=u8::MAX {
        match known.iter().find(|(letter, _)| *letter == last) {
            Some((_, ways)) => assert_eq!(begins(last), (true, Ok(*ways))),
            None => assert_eq!(begins(last), (false, Err(Violation::DataMagic)), "{last}"),
        }
    }
}

#[test]
fn a_hello_and_a_welcome_that_say_nothing_of_ways_mean_both() {
    let links = |data_links| Hello { data_links, ..Hello::default() }.links();
    assert_eq!([links(0), links(1), links(3)], [1, 1, 3].map(DataLinks::both));
    assert_eq!(Welcome { tokens: vec![vec![0; 32]; 2], ..Welcome::default() }.links(), DataLinks::both(2));
    let hello = Hello { data_links: 4, down_links: 2, up_links: 1, ..Hello::default() };
    assert_eq!(hello.links(), DataLinks { both: 1, down: 2, up: 1 });
    let welcome = Welcome { tokens: vec![vec![0; 32]; 3], up_links: 3, ..Welcome::default() };
    assert_eq!(welcome.links(), DataLinks { both: 0, down: 0, up: 3 });
}

proptest! {
    #[test]
    fn any_header_round_trips(len in 1..=DATA_PAYLOAD_BYTES_MAX, transfer in 1u32.., offset in 0..u64::MAX / 2) {
        let header = DataHeader { len, transfer, offset };
        prop_assert_eq!(DataHeader::decode(&header.encode()), Ok(header));
    }

    #[test]
    fn any_bytes_are_a_header_or_a_violation(bytes: [u8; DATA_HEADER_BYTES]) {
        if let Ok(header) = DataHeader::decode(&bytes) {
            prop_assert_eq!(header.encode(), bytes);
        }
    }

    #[test]
    fn messages_round_trip_in_any_portions(
        messages in prop::collection::vec(samples::any_message(), 0..12),
        portions in prop::collection::vec(1usize..200, 1..40),
    ) {
        let bytes = encode(&messages);
        let mut decoder = FrameDecoder::default();
        let mut decoded = Vec::new();
        let mut rest = &bytes[..];
        for portion in portions.iter().cycle() {
            let (now, later) = rest.split_at(rest.len().min(*portion));
            decoder.extend(now);
            decoded.extend(drain(&mut decoder).unwrap());
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(decoded, messages);
        prop_assert!(!decoder.is_mid_frame());
    }

    #[test]
    fn a_cut_stream_gives_what_was_whole(messages in prop::collection::vec(samples::any_message(), 1..5), cut: prop::sample::Index) {
        let bytes = encode(&messages);
        let decoded = decode(&bytes[..cut.index(bytes.len())]).unwrap();
        prop_assert!(decoded.len() < messages.len());
        prop_assert_eq!(&decoded[..], &messages[..decoded.len()]);
    }

    #[test]
    fn any_bytes_are_messages_or_a_violation(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        let _ = decode(&bytes);
        let _ = decode(&frame(&bytes));
    }

    /// Nearly right: one byte of real frames is another.
    #[test]
    fn a_damaged_stream_is_messages_or_a_violation(
        messages in prop::collection::vec(samples::any_message(), 1..5),
        at: prop::sample::Index,
        byte: u8,
    ) {
        let mut bytes = encode(&messages);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = decode(&bytes);
    }
}

#[test]
fn a_flood_of_unknown_messages_is_a_violation_and_a_few_are_not() {
    // Field 1000, empty.
    let unknown = frame(&[0xc2, 0x3e, 0x00]);
    let known = encode(&[Message::Ping(Ping { nonce: 1, sent_ns: 2 })]);
    let mut decoder = FrameDecoder::default();
    for _ in 0..10 {
        decoder.extend(&unknown.repeat(256));
        decoder.extend(&known);
        assert_eq!(drain(&mut decoder).unwrap().len(), 1);
    }
    decoder.extend(&unknown.repeat(257));
    assert_eq!(decoder.next_message().unwrap_err().code(), "too_many");
}
