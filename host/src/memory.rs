//! What the C library's allocator does with memory that was freed.

/// Freed memory at the end of the heap that the process keeps, bytes.
#[cfg(target_env = "gnu")]
const KEPT_BYTES: libc::c_int = 64 << 20;

/// Blocks below this are taken from the heap instead of being mapped and unmapped one by one, bytes. glibc takes no more.
#[cfg(target_env = "gnu")]
const HEAP_BYTES: libc::c_int = 32 << 20;

/// Tells malloc to keep up to 64 MiB that were freed, instead of giving them back to the kernel and asking for them again.
/// Answers whether it does.
///
/// A round of allocation for 10,000 peers uses some 5 MB and frees them; without this, half of its time is page faults. Call it
/// before other threads start. Only glibc can be told (`mallopt(3)`); elsewhere nothing is changed.
pub fn keep_freed_memory() -> bool {
    #[cfg(target_env = "gnu")]
    {
        // SAFETY: both calls take two numbers and set a field of malloc's own, under its own lock.
        unsafe {
            libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT_BYTES) == 1
                && libc::mallopt(libc::M_MMAP_THRESHOLD, HEAP_BYTES) == 1
        }
    }
    #[cfg(not(target_env = "gnu"))]
    {
        false
    }
}

#[cfg(all(test, target_env = "gnu"))]
mod tests {
    use super::*;

    #[test]
    fn malloc_takes_the_values() {
        assert!(keep_freed_memory());
    }
}
