//! QUIC beside TCP with TLS 1.3, and beside quinn alone.
//!
//! `cargo bench --bench quic [fairness] [control] [bulk] [contact]`. `EVENKEEL_BENCH_RUNS` (3) says how often each is done,
//! `EVENKEEL_BENCH_TOTAL` under which total (fairness 100MB/s, control 200MB/s); `EVENKEEL_BENCH_EACH` (1000) and
//! `EVENKEEL_BENCH_SECONDS` (20) are of fairness, `EVENKEEL_BENCH_PINGS` (4000) and `EVENKEEL_BENCH_PEERS` (50) of control,
//! `EVENKEEL_BENCH_BYTES` (512 MiB) of bulk. Behind `control` may stand which of its scenes (`benches/quic/control.rs`).
//! README.md in this folder says what each part is, and what was measured.

#[path = "support/fountain.rs"]
mod fountain;
mod measure;
#[path = "support/narrow.rs"]
mod narrow;
#[path = "support/pings.rs"]
mod pings;
#[path = "support/stamped.rs"]
mod stamped;
#[path = "support/void.rs"]
mod void;

#[path = "quic/bare.rs"]
mod bare;
#[path = "quic/bulk.rs"]
mod bulk;
#[path = "quic/contact.rs"]
mod contact;
#[path = "quic/control.rs"]
mod control;
#[path = "quic/delay.rs"]
mod delay;
#[path = "quic/fairness.rs"]
mod fairness;

use measure::{Outcome, is_wanted};

fn main() -> Outcome<()> {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let role =
        || bare::play(args.first()?, &args[1..]).or_else(|| pings::play(&args)).or_else(|| fairness::play(&args));
    if let Some(done) = role() {
        return done;
    }
    for (part, run) in [
        ("fairness", fairness::run as fn() -> Outcome<()>),
        ("control", control::run),
        ("bulk", bulk::run),
        ("contact", contact::run),
    ] {
        if is_wanted(part) {
            println!("-- {part}");
            run()?;
        }
    }
    Ok(())
}
