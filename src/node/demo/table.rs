//! The live table: what each peer is assigned and achieves, and why.

use std::io::{self, IsTerminal, Write};

use actors::view::{PeerView, StatusView};
use flow::Rate;

use super::cast::Part;

/// Rows shown on a terminal; the rest is summed up in one line.
const ROWS_MAX: usize = 24;

/// Redraws itself on a terminal, prints one line a call elsewhere.
pub(super) struct Live {
    terminal: bool,
    lines: usize,
}

impl Live {
    pub(super) fn new() -> Self {
        Self { terminal: io::stdout().is_terminal(), lines: 0 }
    }

    /// Shows the node and its peers, in the order of `parts`.
    pub(super) fn show(
        &mut self,
        seconds: u64,
        status: &StatusView,
        rows: &[(&Part, Option<&PeerView>)],
    ) -> io::Result<()> {
        let mut out = io::stdout().lock();
        let upload = &status.upload;
        let head = format!(
            "{seconds:>4} s  peers {:>4}  allowed {}  assigned {}  achieved {}  Jain {}",
            status.peers,
            shown(upload.allowed_bytes_per_second),
            shown(upload.assigned_bytes_per_second),
            shown(Some(upload.achieved_bytes_per_second)),
            status.jain_index.map_or("-".into(), |jain| format!("{jain:.5}")),
        );
        if !self.terminal {
            writeln!(out, "{head}")?;
            return out.flush();
        }
        if self.lines > 0 {
            write!(out, "\x1b[{}A", self.lines)?;
        }
        writeln!(out, "\x1b[2K{head}")?;
        writeln!(out, "\x1b[2K  {:<16} {:>14} {:>14} {:>14}  binding", "part", "desired", "assigned", "achieved")?;
        for (part, view) in rows.iter().take(ROWS_MAX) {
            let (desired, assigned, achieved, binding) = match view {
                Some(view) => (
                    shown(view.upload.rates.desired_bytes_per_second),
                    shown(view.upload.rates.assigned_bytes_per_second),
                    shown(Some(view.upload.rates.achieved_bytes_per_second)),
                    view.upload.binding.clone().unwrap_or_default(),
                ),
                None => ("-".into(), "-".into(), "-".into(), "not here yet".into()),
            };
            writeln!(out, "\x1b[2K  {:<16} {desired:>14} {assigned:>14} {achieved:>14}  {binding}", part.role)?;
        }
        let hidden = rows.len().saturating_sub(ROWS_MAX);
        writeln!(out, "\x1b[2K{}", if hidden > 0 { format!("  ... and {hidden} more") } else { String::new() })?;
        self.lines = rows.len().min(ROWS_MAX) + 3;
        out.flush()
    }
}

pub(super) fn shown(rate: Option<u64>) -> String {
    match rate {
        None => "no limit".into(),
        Some(rate) => {
            let text = Rate::from_bytes_per_second(rate).to_string();
            // Bytes are enough in a table.
            text.split(" (").next().unwrap_or_default().to_owned()
        }
    }
}
