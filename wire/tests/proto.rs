//! `proto/evenkeel.proto` says what the Rust structs do: names, numbers, types and repetition of every field, names and
//! numbers of every enumeration, and the wire types that really come out.

mod samples;

use std::collections::{BTreeMap, BTreeSet};

use bytes::BytesMut;
use wire::{MessageKind, encode_message};

const PROTO: &str = include_str!("../proto/evenkeel.proto");
const SOURCES: [&str; 7] = [
    include_str!("../src/message/mod.rs"),
    include_str!("../src/message/code.rs"),
    include_str!("../src/message/greeting.rs"),
    include_str!("../src/message/listing.rs"),
    include_str!("../src/message/pulse.rs"),
    include_str!("../src/message/rates.rs"),
    include_str!("../src/message/transfer.rs"),
];

/// `(block, number) -> (name, type)`; the type of an enumeration's value is empty.
type Table = BTreeMap<(String, u32), (String, String)>;

fn proto_table(proto: &str) -> Table {
    let mut table = Table::new();
    let mut block = String::new();
    for line in proto.lines() {
        let line = line.split("//").next().unwrap_or_default().trim();
        let words: Vec<&str> = line.trim_end_matches(';').split_whitespace().collect();
        match words.as_slice() {
            ["message" | "enum", name, "{"] => block = (*name).to_owned(),
            ["oneof", ..] | ["syntax", ..] | ["package", ..] | ["}"] | [] => {}
            [name, "=", number] => put(&mut table, &block, number, name, ""),
            [kind, name, "=", number] => put(&mut table, &block, number, name, kind),
            ["repeated", kind, name, "=", number] => put(&mut table, &block, number, name, &format!("repeated {kind}")),
            other => panic!("a line of the .proto file that this test does not understand: {other:?}"),
        }
    }
    table
}

fn put(table: &mut Table, block: &str, number: &str, name: &str, kind: &str) {
    let number = number.parse().unwrap_or_else(|_| panic!("`{number}` in {block} is no number"));
    let before = table.insert((block.to_owned(), number), (name.to_owned(), kind.to_owned()));
    assert_eq!(before, None, "{block} has two fields {number}");
}

/// What the derives were told, in the same form.
fn rust_table(sources: impl Iterator<Item = &'static str>) -> Table {
    let mut table = Table::new();
    let mut block = String::new();
    let mut attribute: Option<String> = None;
    for line in sources.flat_map(str::lines).map(str::trim) {
        if let Some(name) = block_name(line) {
            block = name;
            attribute = None;
        } else if line.starts_with("#[prost(") && line.contains("tag = ") {
            attribute = Some(line.to_owned());
        } else if let (Some(told), Some(field)) = (&attribute, line.strip_prefix("pub ")) {
            let (name, rust_type) = field.trim_end_matches(',').split_once(": ").unwrap();
            put(&mut table, &block, &tag(told), name, &proto_type(told, rust_type));
            attribute = None;
        } else if let (Some(told), Some((variant, held))) = (&attribute, line.split_once('(')) {
            // A kind of the oneof: `Hello(Hello),`.
            put(&mut table, &block, &tag(told), &snake(variant), held.trim_end_matches("),"));
            attribute = None;
        } else if let Some((variant, number)) = line.trim_end_matches(',').split_once(" = ")
            && block.ends_with("Code") | block.ends_with("Kind")
            && number.parse::<u32>().is_ok()
        {
            let name = format!("{}_{}", snake(&block), snake(variant)).to_uppercase();
            put(&mut table, &block, number, &name, "");
        }
    }
    table
}

fn block_name(line: &str) -> Option<String> {
    let rest = line.strip_prefix("pub struct ").or_else(|| line.strip_prefix("pub enum "))?;
    let name = rest.split([' ', '{']).next()?;
    Some(if name == "Message" { "Frame" } else { name }.to_owned())
}

fn tag(attribute: &str) -> String {
    attribute.split("tag = \"").nth(1).and_then(|rest| rest.split('"').next()).unwrap().to_owned()
}

fn proto_type(attribute: &str, rust_type: &str) -> String {
    let inner = |outer: &str| rust_type.strip_prefix(outer).and_then(|rest| rest.strip_suffix('>'));
    let first = attribute.trim_start_matches("#[prost(").split([',', ' ']).next().unwrap();
    let repeated = attribute.contains("repeated");
    let kind = match first {
        "message" => inner("Vec<").or_else(|| inner("Option<")).unwrap().to_owned(),
        "enumeration" => attribute.split('"').nth(1).unwrap().to_owned(),
        scalar => scalar.to_owned(),
    };
    if repeated { format!("repeated {kind}") } else { kind }
}

fn snake(name: &str) -> String {
    let mut text = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.extend(letter.to_lowercase());
    }
    text
}

fn ours() -> Table {
    rust_table(SOURCES.into_iter())
}

#[test]
fn the_proto_file_describes_the_rust_structs() {
    let (proto, rust) = (proto_table(PROTO), ours());
    assert!(rust.len() > 100, "only {} fields were found in the sources", rust.len());
    let differences: Vec<_> = proto
        .keys()
        .chain(rust.keys())
        .collect::<BTreeSet<_>>()
        .into_iter()
        .filter(|key| proto.get(*key) != rust.get(*key))
        .map(|key| format!("{key:?}: proto {:?}, rust {:?}", proto.get(key), rust.get(key)))
        .collect();
    assert!(differences.is_empty(), "{differences:#?}");
}

#[test]
fn the_comparison_can_fail() {
    for (from, to) in [
        ("uint64 granted_upload = 2", "uint64 granted_upload = 12"),
        ("uint64 offset = 3", "uint32 offset = 3"),
        ("uint64 stored = 2", "uint64 saved = 2"),
        ("repeated Get gets", "Get gets"),
        ("FAILURE_CODE_DISK_FULL", "FAILURE_CODE_FULL"),
        ("Goodbye goodbye = 22", "Goodbye goodbye = 23"),
    ] {
        assert!(PROTO.contains(from), "{from}");
        assert_ne!(proto_table(&PROTO.replacen(from, to, 1)), ours(), "{from} -> {to}");
    }
}

#[test]
fn the_bytes_are_those_of_the_proto_file() {
    let table = proto_table(PROTO);
    for (message, kind) in samples::all().iter().zip(MessageKind::ALL) {
        let mut bytes = BytesMut::new();
        encode_message(message, &mut bytes).unwrap();
        let frame = fields(&bytes[4..]);
        let [(number, 2, body)] = frame.as_slice() else { panic!("{frame:?}") };
        let (name, block) = &table[&("Frame".to_owned(), *number)];
        assert_eq!(name, kind.as_str());
        compare(&table, block, body);
    }
}

/// Every field of `block` is in `body` with the right wire type, and no other; so also in what it holds.
fn compare(table: &Table, block: &str, body: &[u8]) {
    let seen = fields(body);
    let expected: BTreeSet<u32> = table.keys().filter(|(b, _)| b == block).map(|(_, number)| *number).collect();
    assert_eq!(seen.iter().map(|(number, ..)| *number).collect::<BTreeSet<_>>(), expected, "{block}");
    for (number, wire_type, held) in seen {
        let (name, kind) = &table[&(block.to_owned(), number)];
        let kind = kind.trim_start_matches("repeated ");
        let is_enum = kind.ends_with("Code") || kind.ends_with("Kind");
        let is_message = !is_enum && kind.starts_with(char::is_uppercase);
        let varint = is_enum || matches!(kind, "uint32" | "uint64" | "int64" | "bool");
        assert_eq!(wire_type, if varint { 0 } else { 2 }, "{block}.{name}");
        if is_message {
            compare(table, kind, held);
        }
    }
}

/// Number, wire type and contents of each field, read without prost's derives.
fn fields(mut bytes: &[u8]) -> Vec<(u32, u32, &[u8])> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let (number, wire_type) = ((key >> 3) as u32, (key & 7) as u32);
        let value = varint(&mut bytes);
        let held = match wire_type {
            0 => &[][..],
            2 => {
                let (held, rest) = bytes.split_at(value as usize);
                bytes = rest;
                held
            }
            other => panic!("wire type {other}"),
        };
        found.push((number, wire_type, held));
    }
    found
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first().expect("a cut varint");
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return value;
        }
    }
    panic!("a varint without an end");
}
