//! A small table: what was measured, beside what is wanted.

/// Prints a title and then one line per figure.
#[derive(Default)]
pub(crate) struct Table {
    rows: Vec<[String; 4]>,
}

impl Table {
    /// A figure with its wish; `met` says whether the wish was met.
    pub(crate) fn row(&mut self, what: &str, wanted: &str, measured: String, met: bool) {
        let verdict = if met { "met" } else { "MISSED" };
        self.rows.push([what.to_owned(), wanted.to_owned(), measured, verdict.to_owned()]);
    }

    /// A figure that nothing is wanted of.
    pub(crate) fn note(&mut self, what: &str, measured: String) {
        self.rows.push([what.to_owned(), String::new(), measured, String::new()]);
    }

    /// Prints everything.
    pub(crate) fn print(&self, title: &str) {
        let width =
            |column: usize| self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default().max(8);
        let widths = [width(0), width(1), width(2)];
        println!("\n{title}");
        let line = |cells: [&str; 4]| {
            let [what, wanted, measured, met] = cells;
            let text = format!("  {what:<0$}  {wanted:<1$}  {measured:<2$}  {met}", widths[0], widths[1], widths[2]);
            println!("{}", text.trim_end());
        };
        line(["", "wanted", "measured", ""]);
        for row in &self.rows {
            line([&row[0], &row[1], &row[2], &row[3]]);
        }
    }
}
