//! Messages to test with: one of each kind with every field set, and arbitrary ones that a decoder takes.

#![allow(dead_code, unreachable_pub)]

use proptest::prelude::*;
use wire::*;

/// One message of each kind, in the order of [`MessageKind::ALL`]; no field has its default value.
pub fn all() -> Vec<Message> {
    let path = || "share/file".to_owned();
    let words = || "words".to_owned();
    let list = || List { request: 1, path: path(), recursive: true, after: path() };
    let hash = || vec![9; 32];
    let get = || Get {
        transfer: 1,
        path: path(),
        offset: 2,
        prefix_hash: hash(),
        weight: 3,
        class: ClassCode::Background.into(),
        window: 4,
    };
    let (kind, unlisted) = (EntryKind::File.into(), FailureCode::Unreadable.into());
    let entry = Entry { name: path(), size: 1, mtime_ns: 2, kind, hidden: 3, unlisted, special: 5 };
    vec![
        Message::Hello(Hello {
            version: PROTOCOL_VERSION,
            upload: 1,
            download: 2,
            class: ClassCode::Foreground.into(),
            data_links: 3,
            agent: words(),
            gets: vec![get()],
            lists: vec![list()],
            down_links: 1,
            up_links: 2,
        }),
        Message::Welcome(Welcome {
            session: 1,
            granted_upload: 2,
            granted_download: 3,
            tokens: vec![hash(); 3],
            data_endpoint: words(),
            data_route: words(),
            plaintext_data: true,
            window_max: 4,
            transfers_max: 5,
            down_links: 2,
            up_links: 1,
        }),
        Message::Refusal(Refusal { code: RefusalCode::Full.into(), message: words(), retry_after_ms: 5 }),
        Message::Ping(Ping { nonce: 1, sent_ns: 2 }),
        Message::Pong(Pong { nonce: 1, sent_ns: 2 }),
        Message::List(list()),
        Message::Listing(Listing {
            request: 1,
            entries: vec![entry],
            more: true,
            error: Some(ListError { code: FailureCode::Io.into(), message: words() }),
            hidden: 4,
            special: 6,
        }),
        Message::Get(get()),
        Message::Opened(Opened { transfer: 1, size: 2, mtime_ns: 3, start: 4, resumed: true }),
        Message::Put(Put {
            transfer: 1,
            path: path(),
            size: 2,
            mtime_ns: -3,
            class: ClassCode::Background.into(),
            weight: 4,
        }),
        Message::Ready(Ready { transfer: 1, offset: 2, prefix_hash: hash(), window: 3 }),
        Message::Begin(Begin { transfer: 1, start: 2 }),
        Message::Window(Window { transfer: 1, limit: 2 }),
        Message::Finished(Finished { transfer: 1, size: 2, hash: hash() }),
        Message::Stored(Stored { transfer: 1 }),
        Message::Failed(Failed { transfer: 1, code: FailureCode::Changed.into(), message: words() }),
        Message::Cancel(Cancel { transfer: 1 }),
        Message::DesiredRates(DesiredRates { upload: 1, download: 2 }),
        Message::Proportions(Proportions { shares: vec![Proportion { transfer: 1, weight_thousandths: 2 }] }),
        Message::Granted(Granted { upload: 1, download: 2 }),
        Message::Progress(Progress { transfer: 1, stored: 2 }),
        Message::Goodbye(Goodbye { code: GoodbyeCode::Done.into(), message: words() }),
    ]
}

/// Ids that often hit, sizes that often collide, and sometimes anything.
fn id() -> impl Strategy<Value = u32> {
    prop_oneof![8 => 1u32..12, 1 => 1u32..]
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![6 => 0u64..2000, 1 => any::<u64>()]
}

fn words() -> impl Strategy<Value = String> {
    ".{0,40}"
}

fn hash() -> impl Strategy<Value = Vec<u8>> {
    any::<[u8; 32]>().prop_map(|hash| hash.to_vec())
}

fn get() -> impl Strategy<Value = Get> {
    (id(), words(), number(), hash(), 0u32..2000, 0i32..4, number()).prop_map(
        |(transfer, path, offset, prefix_hash, weight, class, window)| Get {
            transfer,
            path,
            offset,
            prefix_hash,
            weight,
            class,
            window,
        },
    )
}

fn list() -> impl Strategy<Value = List> {
    (id(), words(), any::<bool>()).prop_map(|(request, path, recursive)| List {
        request,
        path,
        recursive,
        after: String::new(),
    })
}

fn greeting() -> impl Strategy<Value = Message> {
    let asks = (prop::collection::vec(get(), 0..4), prop::collection::vec(list(), 0..4));
    let links = (0u32..9).prop_flat_map(|links| (Just(links), 0..=links.max(1)));
    let hello = (0u32..3, number(), links, words(), asks).prop_map(
        |(version, upload, (data_links, down_links), agent, (gets, lists))| {
            let up_links = data_links.saturating_sub(down_links).min(1);
            let (download, class) = (upload, 1);
            Message::Hello(Hello {
                version,
                upload,
                download,
                class,
                data_links,
                agent,
                gets,
                lists,
                down_links,
                up_links,
            })
        },
    );
    let welcome = (number(), prop::collection::vec(hash(), 0..4), "[a-z0-9.:]{0,30}").prop_map(
        |(session, tokens, data_endpoint)| {
            Message::Welcome(Welcome { session, tokens, data_endpoint, ..Welcome::default() })
        },
    );
    let refusal = (0i32..20, words(), number())
        .prop_map(|(code, message, retry_after_ms)| Message::Refusal(Refusal { code, message, retry_after_ms }));
    let goodbye = (0i32..9, words()).prop_map(|(code, message)| Message::Goodbye(Goodbye { code, message }));
    prop_oneof![hello, welcome, refusal, goodbye]
}

fn asking() -> impl Strategy<Value = Message> {
    let put = (id(), words(), number(), any::<i64>()).prop_map(|(transfer, path, size, mtime_ns)| {
        Message::Put(Put { transfer, path, size, mtime_ns, ..Put::default() })
    });
    let entry =
        (words(), number(), 0i32..5).prop_map(|(name, size, kind)| Entry { name, size, kind, ..Entry::default() });
    let listing = (id(), prop::collection::vec(entry, 0..5), any::<bool>()).prop_map(|(request, entries, more)| {
        Message::Listing(Listing { request, entries, more, ..Listing::default() })
    });
    prop_oneof![get().prop_map(Message::Get), put, list().prop_map(Message::List), listing]
}

fn moving() -> impl Strategy<Value = Message> {
    prop_oneof![
        (id(), number(), number()).prop_map(|(transfer, size, start)| {
            Message::Opened(Opened { transfer, size, mtime_ns: 0, start, resumed: false })
        }),
        (id(), number(), hash(), number()).prop_map(|(transfer, offset, prefix_hash, window)| {
            Message::Ready(Ready { transfer, offset, prefix_hash, window })
        }),
        (id(), number()).prop_map(|(transfer, start)| Message::Begin(Begin { transfer, start })),
        (id(), number()).prop_map(|(transfer, limit)| Message::Window(Window { transfer, limit })),
        (id(), number(), hash()).prop_map(|(transfer, size, hash)| Message::Finished(Finished {
            transfer,
            size,
            hash
        })),
        id().prop_map(|transfer| Message::Stored(Stored { transfer })),
        (id(), 0i32..30, words()).prop_map(|(transfer, code, message)| Message::Failed(Failed {
            transfer,
            code,
            message
        })),
        id().prop_map(|transfer| Message::Cancel(Cancel { transfer })),
        (id(), number()).prop_map(|(transfer, stored)| Message::Progress(Progress { transfer, stored })),
    ]
}

fn others() -> impl Strategy<Value = Message> {
    let share =
        (id(), 0u32..3000).prop_map(|(transfer, weight_thousandths)| Proportion { transfer, weight_thousandths });
    prop_oneof![
        (number(), number()).prop_map(|(nonce, sent_ns)| Message::Ping(Ping { nonce, sent_ns })),
        (0u64..4, number()).prop_map(|(nonce, sent_ns)| Message::Pong(Pong { nonce, sent_ns })),
        (number(), number()).prop_map(|(upload, download)| Message::DesiredRates(DesiredRates { upload, download })),
        (number(), number()).prop_map(|(upload, download)| Message::Granted(Granted { upload, download })),
        prop::collection::vec(share, 0..4).prop_map(|shares| Message::Proportions(Proportions { shares })),
    ]
}

/// Any message that a decoder takes, of any kind.
pub fn any_message() -> impl Strategy<Value = Message> {
    prop_oneof![1 => greeting(), 3 => asking(), 6 => moving(), 2 => others()]
}
