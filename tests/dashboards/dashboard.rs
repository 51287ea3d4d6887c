//! The queries of a dashboard's panels, with Grafana's variables filled in.

use std::{fs, path::Path};

use serde_json::Value;

/// One query of one panel.
pub(crate) struct Query {
    /// The panel's title.
    pub(crate) panel: String,
    /// PromQL, without variables.
    pub(crate) expression: String,
}

/// Every query of the dashboard in `file`; panels within rows too.
pub(crate) fn queries(file: &Path) -> Vec<Query> {
    let text = fs::read_to_string(file).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let mut found = Vec::new();
    collect(&dashboard["panels"], &mut found);
    found
}

fn collect(panels: &Value, found: &mut Vec<Query>) {
    for panel in panels.as_array().into_iter().flatten() {
        let title = panel["title"].as_str().unwrap_or("a panel without title");
        let targets = panel["targets"].as_array().map(Vec::as_slice).unwrap_or_default();
        assert!(panel["type"] == "row" || !targets.is_empty(), "{title} asks for nothing");
        for target in targets {
            let expression = target["expr"].as_str().unwrap_or_else(|| panic!("{title}: a target without expr"));
            found.push(Query { panel: title.to_owned(), expression: fill_in(expression) });
        }
        collect(&panel["panels"], found);
    }
}

/// The test scrapes every second; 10 s then hold enough samples for a rate.
fn fill_in(expression: &str) -> String {
    let filled = expression.replace("$__rate_interval", "10s").replace("$instance", ".*");
    assert!(!filled.contains('$'), "an unknown variable in {expression}");
    filled
}
