//! What a node holds of what it receives while its disk does nothing.

use std::{
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    time::Duration,
};

use actors::NodeConfig;
use bytes::Bytes;
use flow::{Marks, Rate, ShaperConfig};
use wire::{Begin, DataHeader, Message, Put};

use crate::{
    files::STUCK,
    house::{House, LINK_ROOM, config, run, until},
};

/// As far as a sender may go ahead of the disk.
const WINDOW: u64 = 4 << 20;
/// The largest piece on a link in precise mode, once in the disk's hands and once behind it.
const QUANTA: usize = 2 * (128 << 10);

/// Sends chunks of `len` bytes to a disk that is stuck: how many the node takes from the link, and how many of them it has
/// for the disk.
async fn taken(len: u32, taken: usize, for_disk: usize) {
    let never = Marks { on: Rate::UNLIMITED, ..Marks::default() };
    let shaper = ShaperConfig { marks: never, ..ShaperConfig::default() };
    let house = House::start(NodeConfig { window_bytes_max: WINDOW, shaper, ..config() });
    let puppet = house.puppet("writer-a", 64, Vec::new()).await;
    let (_hears, data) = puppet.data(&house).await.unwrap();
    let put = Put { transfer: 1, path: STUCK.into(), size: WINDOW, mtime_ns: 1, ..Put::default() };
    puppet.speaks.send(Message::Put(put)).await;
    puppet.find(|message| matches!(message, Message::Ready(_)).then_some(())).await;
    puppet.speaks.send(Message::Begin(Begin { transfer: 1, start: 0 })).await;
    let whole = |message| match message {
        Message::Window(window) => (window.limit == WINDOW).then_some(()),
        _ => None,
    };
    puppet.find(whole).await;

    let sent = AtomicUsize::new(0);
    let sending = async {
        for at in 0..WINDOW / u64::from(len) {
            let header = DataHeader { len, transfer: 1, offset: at * u64::from(len) };
            assert!(data.send((header, Bytes::from(vec![7; len as usize]))).await, "the link lives");
            sent.fetch_add(1, SeqCst);
        }
    };
    let looking = async {
        let held = || {
            let bytes = house.shared().registry.leaves.iter().map(|leaf| leaf.meter.bytes()).sum::<u64>();
            (sent.load(SeqCst), bytes as usize / len as usize)
        };
        let wanted = (taken + LINK_ROOM, for_disk);
        until("it takes what it may", || held() >= wanted).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(held(), wanted, "chunks of {len} bytes");
    };
    tokio::select! {
        () = sending => panic!("all of it was taken"),
        () = looking => {}
    }
}

#[test]
fn a_quantum_of_a_link_waits_for_the_disk_and_one_chunk_is_read_meanwhile() {
    run(async {
        let in_quanta = |len: u32| QUANTA / len as usize;
        taken(64 << 10, in_quanta(64 << 10) + 1, in_quanta(64 << 10)).await;
        taken(100 << 10, 3, 2).await;
        // Larger than this end would choose: one at a time.
        taken(wire::DATA_PAYLOAD_BYTES_MAX, 2, 1).await;
        // Small ones count for 4 KiB each: what they come with costs memory as well.
        taken(100, QUANTA / 4096 + 1, QUANTA / 4096).await;
    });
}
