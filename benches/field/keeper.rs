//! Keeps the served files in memory, whatever the machine does. The kernel takes pages of files that nobody has read for a while where it
//! is told to (DAMON's proactive reclaim did, on the machine of these figures, after a minute), and then every server waits for its disk.

use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use super::setup;

/// Time for it to say that it may not.
const BEGINS: Duration = Duration::from_millis(1500);

/// Holds the files' pages until it is dropped.
pub(crate) struct Keeper(Option<Child>);

impl Keeper {
    /// Starts `vmtouch`, which locks the pages; says so where that can't be had.
    pub(crate) fn of(files: &[PathBuf]) -> Self {
        let start = || {
            let mut command = Command::new("vmtouch");
            command.args(["-q", "-l"]).args(files).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            command.spawn()
        };
        let started = start().or_else(|_| {
            setup::install(&["vmtouch"]);
            start()
        });
        let mut keeper = Self(started.ok());
        thread::sleep(BEGINS);
        let holds = keeper.0.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)));
        if !holds {
            println!(
                "the served files are not locked in memory (vmtouch is missing or may not): a machine that takes them makes servers wait"
            );
        }
        keeper
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
