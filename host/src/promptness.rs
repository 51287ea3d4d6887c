//! How soon a thread gets a core that another one has.

use std::io;

/// The shortest time slice that Linux takes, nanoseconds.
const SLICE_NANOS: u64 = 100_000;

/// Asks the kernel to run the calling thread in short turns: whenever it wakes, it then goes before threads of the same priority
/// that have longer ones, instead of waiting until their turn is over. It gets no more of the core in all.
///
/// # Errors
/// What `sched_setattr(2)` answers. Kernels before 6.12 take the value and do nothing with it.
pub fn prefer_promptness() -> io::Result<()> {
    let size = u32::try_from(size_of::<libc::sched_attr>()).unwrap_or(u32::MAX);
    // SAFETY: a structure of numbers, for which zeros are valid.
    let mut attributes: libc::sched_attr = unsafe { std::mem::zeroed() };
    // SAFETY: 0 is the calling thread; the kernel writes at most `size` bytes into `attributes`, which has as many.
    let answer = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, size, 0) };
    if answer != 0 {
        return Err(io::Error::last_os_error());
    }
    attributes.sched_runtime = SLICE_NANOS;
    // SAFETY: 0 is the calling thread; the kernel reads `attributes.size` bytes, which it has filled in itself.
    match unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Lets other threads go before the calling one: each of its nice levels is worth a fifth less of a core that is wanted by others.
///
/// # Errors
/// What `setpriority(2)` answers.
pub fn stand_back(nice: i32) -> io::Result<()> {
    // Of Linux's calling thread, not of the process.
    Ok(rustix::process::setpriority_process(None, nice)?)
}

/// The core that the calling thread runs on, as of now.
pub fn current_core() -> usize {
    rustix::thread::sched_getcpu()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_may_ask_for_short_turns_and_keeps_the_rest() {
        let nice = || rustix::process::getpriority_process(None).unwrap();
        let before = nice();
        prefer_promptness().unwrap();
        assert_eq!(nice(), before);
    }

    #[test]
    fn a_thread_stands_back_alone() {
        let nice = || rustix::process::getpriority_process(None).unwrap();
        let before = nice();
        let there = std::thread::spawn(move || {
            stand_back(before + 3).unwrap();
            nice()
        });
        assert_eq!(there.join().unwrap(), before + 3);
        assert_eq!(nice(), before);
    }
}
