//! The figures about shares: the real program, real sockets, what receivers have on disk.
//!
//! `cargo bench --bench shares -- [line]...`; README.md in this folder says what each case is.

mod support;

#[path = "shares/line.rs"]
mod line;

use std::process::ExitCode;

use support::program::Words;

/// A case, by name.
type Case = (&'static str, fn() -> Result<(), Words>);

const CASES: &[Case] = &[("line", line::run)];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    if let Some(done) = line::as_helper(&args) {
        return done;
    }
    let unknown = args.iter().find(|arg| !CASES.iter().any(|(name, _)| name == arg));
    if let Some(unknown) = unknown {
        let names: Vec<&str> = CASES.iter().map(|(name, _)| *name).collect();
        eprintln!("there is no case `{unknown}`; there are: {}", names.join(", "));
        return ExitCode::from(2);
    }
    let chosen = CASES.iter().filter(|(name, _)| args.is_empty() || args.iter().any(|arg| arg == name));
    let mut result = ExitCode::SUCCESS;
    for (name, run) in chosen {
        if let Err(words) = run() {
            eprintln!("{name}: {words}");
            result = ExitCode::FAILURE;
        }
    }
    result
}
