//! Clocks, as nanoseconds, and the number of cores. The only place of the workspace that asks the kernel for the time.

use std::thread;

/// Nanoseconds of `CLOCK_MONOTONIC`: the same origin for every process of this host, so that times may be compared across
/// processes (DESIGN 10).
pub fn monotonic_nanos() -> u64 {
    read(libc::CLOCK_MONOTONIC)
}

/// CPU time that the calling thread has used.
pub fn thread_cpu_nanos() -> u64 {
    read(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// CPU time that all threads of this process have used, user and system.
pub fn process_cpu_nanos() -> u64 {
    read(libc::CLOCK_PROCESS_CPUTIME_ID)
}

/// Cores that this process may use (affinity and control-group quota counted); 1 when nothing says so.
pub fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

fn read(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid, writable timespec for the length of the call; the kernel writes nothing else.
    let answer = unsafe { libc::clock_gettime(clock, &raw mut time) };
    // These three clocks exist on every Linux that can run this program: a failure would be a bug of this file.
    debug_assert_eq!(answer, 0, "clock {clock} is missing");
    u64::try_from(time.tv_sec)
        .unwrap_or(0)
        .saturating_mul(1_000_000_000)
        .saturating_add(u64::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::{hint::black_box, time::Duration};

    use super::*;

    #[test]
    fn monotonic_time_passes_while_asleep_and_cpu_time_does_not() {
        let (wall, cpu) = (monotonic_nanos(), thread_cpu_nanos());
        thread::sleep(Duration::from_millis(50));
        assert!(monotonic_nanos() - wall >= 50_000_000);
        assert!(thread_cpu_nanos() - cpu < 40_000_000);
    }

    #[test]
    fn work_costs_cpu_time() {
        let (thread, process) = (thread_cpu_nanos(), process_cpu_nanos());
        let mut sum = 0u64;
        for i in 0..3_000_000u64 {
            sum = black_box(sum.wrapping_mul(31).wrapping_add(i));
        }
        assert!(thread_cpu_nanos() > thread);
        assert!(process_cpu_nanos() > process);
        assert!(cores() >= 1);
    }
}
