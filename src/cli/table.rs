//! Aligned columns for a terminal.

use std::fmt;

/// Rows under headers; each column is as wide as its widest cell.
pub(super) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
}

struct Column {
    header: &'static str,
    right: bool,
}

impl Table {
    /// Columns by their headers; one that begins with `>` is aligned to the right, as numbers are.
    pub(super) fn new(headers: &[&'static str]) -> Self {
        let column = |header: &&'static str| match header.strip_prefix('>') {
            Some(header) => Column { header, right: true },
            None => Column { header, right: false },
        };
        Self { columns: headers.iter().map(column).collect(), rows: Vec::new() }
    }

    /// Adds a row with a cell for each column. Text that came from others is made harmless for a terminal.
    pub(super) fn row<const N: usize>(&mut self, cells: [String; N]) {
        debug_assert_eq!(N, self.columns.len(), "a cell for each column");
        self.rows.push(cells.iter().map(|cell| wire::printable(cell).into_owned()).collect());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers: Vec<String> = self.columns.iter().map(|column| column.header.to_owned()).collect();
        let lines = || std::iter::once(&headers).chain(&self.rows);
        let letters = |cell: &String| cell.chars().count();
        let widths: Vec<usize> =
            (0..self.columns.len()).map(|index| lines().map(|row| letters(&row[index])).max().unwrap_or(0)).collect();
        for row in lines() {
            let mut line = String::new();
            for ((cell, column), width) in row.iter().zip(&self.columns).zip(&widths) {
                let padding = " ".repeat(width - letters(cell));
                match column.right {
                    true => line.extend([padding.as_str(), cell, "  "]),
                    false => line.extend([cell, padding.as_str(), "  "]),
                }
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(&["NAME", ">SIZE", "KIND"]);
        table.row(["ä".into(), "1.0 KB".into(), "file".into()]);
        table.row(["longer".into(), "12 B".into(), "-".into()]);
        insta::assert_snapshot!(table, @r"
        NAME      SIZE  KIND
        ä       1.0 KB  file
        longer    12 B  -
        ");
    }
}
