//! What a running transfer tells whoever watches it.

/// Told by a running `get` or `put` what happens. `id` is the transfer's own number; calls come from one thread.
pub trait TransferProgress: Send {
    /// So many transfers, of so many bytes together, are still to be started.
    fn planned(&mut self, transfers: u64, bytes: u64);
    /// A transfer of `size` bytes begins at `start`, which is above 0 when an earlier one is continued.
    fn started(&mut self, id: u32, name: &str, size: u64, start: u64);
    /// Bytes up to `offset` are here (or there).
    fn moved(&mut self, id: u32, offset: u64);
    /// Whole, checked, and under its name.
    fn done(&mut self, id: u32);
    /// It ended otherwise, or never started. `why` names the file.
    fn failed(&mut self, id: u32, why: &str);
    /// Something worth a line: a new peer's id, a granted rate, a reconnection.
    fn note(&mut self, text: &str);
}
