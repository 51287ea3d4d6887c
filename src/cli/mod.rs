//! The command line: what is written becomes the node's options (`args` -> `options`), options become calls (`run`), results become
//! text and an exit code.
//!
//! A running node is reached through its admin API alone (`ctl`).

mod args;
mod ctl;
mod help;
mod listing;
mod options;
pub mod progress;
mod run;
mod table;
mod target;
#[cfg(test)]
mod tests;
mod value;

pub use target::{Target, TargetError};

use std::{
    io::{self, Write as _},
    path::Path,
    process::ExitCode,
    sync::mpsc,
    thread,
    time::Duration,
};

use clap::{CommandFactory as _, FromArgMatches as _};

use crate::{
    config::{Config, Overrides},
    node::{self, Exit, Failure},
};
use args::{Cli, Command, ConfigCommand};

/// What values are called in help that begin with a digit, or, by mistake, with a sign.
const NUMBERS: [&str; 4] = ["RATE", "N", "TIME", "SECONDS"];

/// Far more than a pipe with a reader takes.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// The whole program. Help, version and usage errors end it here, as clap does.
pub fn run() -> ExitCode {
    let cli = Cli::from_arg_matches(&command().get_matches()).unwrap_or_else(|error| error.exit());
    match dispatch(cli) {
        Ok(()) => Exit::Done.into(),
        Err(failure) => {
            let exit = failure.exit;
            last_words(failure);
            exit.into()
        }
    }
}

/// What is understood. A rate or a number below zero is a wrong value, and no flag that nobody knows.
fn command() -> clap::Command {
    fn with_signs(command: clap::Command) -> clap::Command {
        let is_number = |name: &clap::builder::Str| NUMBERS.contains(&name.as_str());
        let with_sign = |arg: clap::Arg| {
            let is_number = arg.get_value_names().is_some_and(|names| names.iter().any(is_number));
            if is_number { arg.allow_hyphen_values(true) } else { arg }
        };
        command.mut_args(with_sign).mut_subcommands(with_signs)
    }
    with_signs(Cli::command())
}

/// Says why the program ends. Without standard error there is nobody to tell, and one that takes nothing is not waited for.
fn last_words(failure: Failure) {
    if failure.message.is_empty() {
        return;
    }
    let (said, heard) = mpsc::channel();
    thread::spawn(move || {
        let _ = writeln!(io::stderr(), "evenkeel: {failure}");
        let _ = said.send(());
    });
    let _ = heard.recv_timeout(LAST_WORDS);
}

fn dispatch(cli: Cli) -> Result<(), Failure> {
    let state = cli.state.as_deref();
    match cli.command {
        Command::Serve(args) => run::serve(args.resolve(state)?),
        Command::Get(args) => run::get(args.resolve(state)?, progress::for_stderr()),
        Command::Put(args) => run::put(args.resolve(state)?, progress::for_stderr()),
        Command::Ls(args) => {
            let json = args.json;
            let listed = run::ls(args.resolve(state)?)?;
            if let Some(words) = listing::hidden(listed.hidden) {
                let _ = writeln!(io::stderr(), "evenkeel: {words}");
            }
            let text = match json {
                true => {
                    listing::json(&listed.entries).map_err(|error| Failure::new(Exit::Failed, error.to_string()))?
                }
                false => listing::table(&listed.entries),
            };
            print(&text)
        }
        Command::Ctl(args) => print(&ctl::run(&args)?),
        Command::Demo(args) => run::demo(args.resolve(cli.state)?),
        Command::Id(_) => print(&run::id(&options::open_state(state)?)?),
        Command::Sign(args) => print(&format!("{}\n", run::sign(&args.resolve())?)),
        Command::Config(args) => match args.command {
            ConfigCommand::Check { file } => print(&check(&file)?),
        },
        Command::Completions(args) => {
            let mut script = Vec::new();
            clap_complete::generate(args.shell, &mut command(), "evenkeel", &mut script);
            print(&String::from_utf8_lossy(&script))
        }
    }
}

/// What a good file says whose own files are there, with its limits in bytes and bits: a wrong unit is seen here.
fn check(file: &Path) -> Result<String, Failure> {
    let overrides = Overrides::default();
    let config = Config::load(Some(file), &overrides).map_err(|error| Failure::new(Exit::Config, error.to_string()))?;
    node::check(&config)?;
    Ok(format!(
        "{}: good\nupload limit {}, download limit {}\n{} shares, {} groups, {} peers\n",
        file.display(),
        config.limits.upload,
        config.limits.download,
        config.shares.len(),
        config.groups.len(),
        config.peers.len()
    ))
}

/// To standard output. A reader that has seen enough (`| head`) is no failure.
fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::Machine, format!("standard output can't be written: {error}")))
        }
        _ => Ok(()),
    }
}
