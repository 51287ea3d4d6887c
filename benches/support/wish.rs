//! What the benchmarks' own clients ask for.

use evenkeel::node::{TransportChoice, session::Wish};
use flow::{Class, Rate};

/// As much as there is, over one data link, without words.
pub(crate) fn everything() -> Wish {
    Wish {
        upload: Rate::UNLIMITED,
        download: Rate::UNLIMITED,
        asks: None,
        class: Class::Foreground,
        data_links: 1,
        peer_id: None,
        quiet: true,
        transport: TransportChoice::Tcp,
    }
}
