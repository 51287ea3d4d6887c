//! What a run needs of the machine: Debian's packages, a core for the load, and facts for whoever reads the figures.

use std::{
    fs,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use rustix::process::{Resource, Rlimit, setrlimit};

use super::{
    figures::Spent,
    rival::{CORE, Rival},
    soaker::Soaker,
};
use crate::measure::Outcome;

/// The core of the load.
pub(crate) const LOAD_CORE: usize = 1;

/// Looks at a core that nobody is to use: as many at least, and as many at most.
const LOOKS: usize = 6;
const LOOKS_MAX: usize = 120;
/// The machine's own little.
const CALM: f64 = 0.03;

/// The rivals that are wanted and here; installs what is missing, where that is permitted, and names who stays away.
pub(crate) fn rivals() -> Vec<Rival> {
    let named = std::env::var("EVENKEEL_BENCH_RIVALS").ok();
    let is_wanted =
        |rival: &Rival| named.as_ref().is_none_or(|names| names.split(',').any(|name| name == rival.name()));
    let wanted: Vec<Rival> = Rival::ALL.into_iter().filter(is_wanted).collect();
    let mut missing: Vec<&str> =
        wanted.iter().filter(|rival| !rival.is_here()).filter_map(|rival| rival.package()).collect();
    missing.dedup();
    if !missing.is_empty() {
        install(&missing);
    }
    let (here, away): (Vec<Rival>, Vec<Rival>) = wanted.into_iter().partition(|rival| rival.is_here());
    for rival in away {
        println!("{} is not installed and left out (apt-get install {})", rival.name(), rival.package().unwrap_or("-"));
    }
    here
}

/// Debian starts what it installs; the services are of no use here, and their port may not be free.
pub(crate) fn install(packages: &[&str]) {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    println!("installing {} with apt-get", packages.join(" "));
    let apt = |args: &[&str]| {
        let mut command = Command::new("apt-get");
        command.args(args).env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1");
        command.stdout(Stdio::null()).status().is_ok_and(|status| status.success())
    };
    let arguments = [&["install", "-y", "-q", "--no-install-recommends"], packages].concat();
    // Only what is not known yet needs the lists.
    let is_done = apt(&arguments) || (apt(&["update", "-q"]) && apt(&arguments));
    if !is_done {
        println!("apt-get could not install them");
    }
}

/// Descriptors for this process and the servers it starts: a server may need two for each connection, its socket and the file.
const DESCRIPTORS: u64 = 65_536;

/// Raises the limit on descriptors, the hard one too where that is permitted. Who is started later has it as well.
pub(crate) fn raise_descriptor_limit() -> Outcome<()> {
    let limit = host::descriptor_limit();
    if limit.hard < DESCRIPTORS {
        let raised = Rlimit { current: Some(DESCRIPTORS), maximum: Some(DESCRIPTORS) };
        if setrlimit(Resource::Nofile, raised).is_err() {
            println!(
                "only {} descriptors are permitted (ulimit -Hn): two for each of 10,000 connections do not fit",
                limit.hard
            );
        }
    }
    host::raise_descriptor_limit()?;
    Ok(())
}

/// Keeps this process off the server's core.
pub(crate) fn keep_off_the_server() -> Outcome<()> {
    let core = if host::cores() > 1 { LOAD_CORE } else { CORE };
    let own = std::process::id().to_string();
    Command::new("taskset").args(["-a", "-p", "-c", &core.to_string(), &own]).output()?;
    Ok(())
}

/// What part of the server's core is busy while there is no server: the calmest of six looks, since somebody else may just be
/// at work. Whoever is at work for a minute would be subtracted from every server's bill.
pub(crate) fn idle_share() -> Outcome<f64> {
    let soaker = Soaker::start(CORE)?;
    let mut least = 1.0_f64;
    for look in 1..=LOOKS_MAX {
        let before = Spent::now(&soaker, None)?;
        thread::sleep(Duration::from_millis(500));
        let busy = Spent::now(&soaker, None)?.since(&before);
        least = least.min(busy.core / busy.seconds);
        if look >= LOOKS && least <= CALM {
            return Ok(least);
        }
    }
    Err(format!("core {CORE} is {:.0} % busy with something else: look with `top`, and begin again", least * 100.0)
        .into())
}

/// Date, kernel, processor, congestion control: one line.
pub(crate) fn facts() -> String {
    let first_line = |program: &str, args: &[&str]| {
        let output = Command::new(program).args(args).output();
        output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
    };
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    format!(
        "{}, Linux {}, {} cores of {}, {}",
        first_line("date", &["-u", "+%Y-%m-%d %H:%M UTC"]),
        read("/proc/sys/kernel/osrelease").trim(),
        host::cores(),
        model.map_or("an unknown processor", |(_, model)| model),
        read("/proc/sys/net/ipv4/tcp_congestion_control").trim()
    )
}
