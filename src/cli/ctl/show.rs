//! Answers of the API as a person reads them.

use actors::view::{
    DirectionView, Explanation, GroupView, LimitView, LimitsView, PeerView, Reason, StatusView, TransferView,
};
use flow::Rate;

use crate::cli::{
    progress::{show_bytes, show_seconds},
    table::Table,
};

/// `GET /v1/status`
pub(super) fn status(view: &StatusView) -> String {
    let mut table = Table::new(&["NODE", ""]);
    let mut row = |name: &str, value: String| table.row([name.to_owned(), value]);
    row("id", view.id.clone());
    row("version", view.version.clone());
    row("state", view.state.clone());
    row("started", format!("{} ago", show_seconds(view.uptime_seconds)));
    row("listens on", view.listen.clone());
    row("over QUIC", view.quic.to_string());
    row("shares", view.shares.join(", "));
    row("peers", format!("{} in {} sessions, {} transfers", view.peers, view.sessions, view.transfers));
    row("workers", view.workers.to_string());
    if let Some(index) = view.jain_index {
        row("Jain's index", format!("{index:.4}"));
    }
    let mut rates = Table::new(&["TOTAL", ">DESIRED", ">ALLOWED", ">ASSIGNED", ">ACHIEVED"]);
    for (name, direction) in [("upload", &view.upload), ("download", &view.download)] {
        rates.row([
            name.to_owned(),
            limit_words(direction.desired_bytes_per_second),
            limit_words(direction.allowed_bytes_per_second),
            limit_words(direction.assigned_bytes_per_second),
            rate(direction.achieved_bytes_per_second),
        ]);
    }
    format!("{table}\n{rates}")
}

/// `GET /v1/peers`
pub(super) fn peers(views: &[PeerView]) -> String {
    let mut table = Table::new(&[
        "PEER",
        "NAME",
        "ADDRESS",
        ">WEIGHT",
        "CLASS",
        ">TRANSFERS",
        ">UP",
        ">ASSIGNED",
        "HELD BY",
        ">DOWN",
        ">ASSIGNED",
        "HELD BY",
    ]);
    for view in views {
        let [up, up_assigned, up_binding] = direction(&view.upload);
        let [down, down_assigned, down_binding] = direction(&view.download);
        table.row([
            short(&view.id),
            or_dash(&view.comment),
            or_dash(view.addresses.first().map_or("", String::as_str)),
            view.weight.to_string(),
            view.class.clone(),
            view.transfers.to_string(),
            up,
            up_assigned,
            up_binding,
            down,
            down_assigned,
            down_binding,
        ]);
    }
    match views {
        [] => "no peers\n".to_owned(),
        _ => table.to_string(),
    }
}

/// `GET /v1/transfers`
pub(super) fn transfers(views: &[TransferView]) -> String {
    let mut table = Table::new(&[
        "ID",
        "PEER",
        "DIRECTION",
        "PATH",
        ">DONE",
        ">SIZE",
        "GROUP",
        ">WEIGHT",
        "CLASS",
        "MODE",
        ">RATE",
        ">ASSIGNED",
        "HELD BY",
    ]);
    for view in views {
        let [achieved, assigned, binding] = direction(&view.rate);
        let done = if view.size == 0 { 100.0 } else { view.offset as f64 / view.size as f64 * 100.0 };
        table.row([
            view.id.clone(),
            short(&view.peer),
            view.direction.clone(),
            view.path.clone(),
            format!("{}%", done.floor()),
            show_bytes(view.size),
            view.group.clone(),
            view.weight.to_string(),
            view.class.clone(),
            view.mode.clone(),
            achieved,
            assigned,
            binding,
        ]);
    }
    match views {
        [] => "no transfers\n".to_owned(),
        _ => table.to_string(),
    }
}

/// `GET /v1/limits`: in bytes and in bits, since this is where a rate is set.
pub(super) fn limits(view: &LimitsView) -> String {
    let mut table = Table::new(&["TOTAL", "LIMIT", "ALLOWED", "THE LINE CARRIES"]);
    for (name, LimitView { limit_bytes_per_second, allowed_bytes_per_second, capacity_bytes_per_second }) in
        [("upload", &view.upload), ("download", &view.download)]
    {
        table.row([
            name.to_owned(),
            both_units(*limit_bytes_per_second),
            both_units(*allowed_bytes_per_second),
            capacity_bytes_per_second.map_or("not known".to_owned(), |capacity| both_units(Some(capacity))),
        ]);
    }
    table.to_string()
}

/// `GET /v1/groups`
pub(super) fn groups(views: &[GroupView]) -> String {
    let mut table = Table::new(&[
        "GROUP",
        ">WEIGHT",
        "CLASS",
        ">PEERS",
        ">TRANSFERS",
        ">UP",
        ">CAP",
        ">FLOOR",
        ">DOWN",
        ">CAP",
        ">FLOOR",
    ]);
    for view in views {
        let bounds = |direction: &DirectionView| {
            let floor = match direction.floor_bytes_per_second {
                0 => "none".to_owned(),
                floor => rate(floor),
            };
            [rate(direction.rates.achieved_bytes_per_second), limit_words(direction.cap_bytes_per_second), floor]
        };
        let [up, up_cap, up_floor] = bounds(&view.upload);
        let [down, down_cap, down_floor] = bounds(&view.download);
        table.row([
            view.name.clone(),
            view.weight.to_string(),
            view.class.clone().unwrap_or_else(|| "as asked".to_owned()),
            view.peers.to_string(),
            view.transfers.to_string(),
            up,
            up_cap,
            up_floor,
            down,
            down_cap,
            down_floor,
        ]);
    }
    table.to_string()
}

/// `GET /v1/peers/{id}/explain`
pub(super) fn explanation(view: &Explanation) -> String {
    let mut lines = vec![format!("peer {}", view.peer)];
    for reason in &view.reasons {
        lines.push(String::new());
        lines.extend(reason_lines(reason));
    }
    if view.reasons.is_empty() {
        lines.push("it has no transfer, so nothing holds it".to_owned());
    }
    lines.iter().map(|line| format!("{}\n", wire::printable(line))).collect()
}

fn reason_lines(reason: &Reason) -> Vec<String> {
    let subject = match (reason.subject.as_str(), &reason.path) {
        ("peer", _) => "all transfers".to_owned(),
        (id, Some(path)) => format!("transfer {id}, {path}"),
        (id, None) => format!("transfer {id}"),
    };
    let would_be = match reason.if_lifted_bytes_per_second {
        Some(if_lifted) => {
            let least = if reason.if_lifted_at_least { "it would take at least " } else { "" };
            format!("without that, {least}{}", Rate::from_bytes_per_second(if_lifted))
        }
        None => "without that, nothing would hold it".to_owned(),
    };
    let rates = &reason.rates;
    let mut lines = vec![
        format!("{}: {subject}", reason.direction),
        format!(
            "  desired {}, allowed {}, assigned {}, achieved {}",
            limit_words(rates.desired_bytes_per_second),
            limit_words(rates.allowed_bytes_per_second),
            limit_words(rates.assigned_bytes_per_second),
            rate(rates.achieved_bytes_per_second)
        ),
        format!("  held by {}; {would_be}", reason.binding),
        format!("  {}", reason.because),
    ];
    // Below half a percent it would read as 0 %.
    let seen = reason.limited_by.iter().filter(|(_, share)| **share >= 0.005);
    let limited: Vec<String> = seen.map(|(name, share)| format!("{name} {:.0}%", share * 100.0)).collect();
    if !limited.is_empty() {
        lines.push(format!("  of the last round: {}", limited.join(", ")));
    }
    lines.extend(reason.mode.as_ref().map(|mode| format!("  its link is in {mode} mode")));
    lines
}

/// Achieved, assigned, binding; dashes where nothing moves.
fn direction(view: &DirectionView) -> [String; 3] {
    let achieved = view.rates.achieved_bytes_per_second;
    // Of many short transfers the rate is known, and next to none of them lives until a round plans for it.
    let shown = if achieved > 0 || view.binding.is_some() { rate(achieved) } else { "-".to_owned() };
    let Some(binding) = &view.binding else { return [shown, "-".to_owned(), "-".to_owned()] };
    [shown, limit_words(view.rates.assigned_bytes_per_second), binding.clone()]
}

fn limit_words(bytes_per_second: Option<u64>) -> String {
    bytes_per_second.map_or("unlimited".to_owned(), rate)
}

/// In bytes only, for columns.
fn rate(bytes_per_second: u64) -> String {
    format!("{}/s", show_bytes(bytes_per_second))
}

fn both_units(bytes_per_second: Option<u64>) -> String {
    bytes_per_second.map_or(Rate::UNLIMITED, Rate::from_bytes_per_second).to_string()
}

/// As much of an id as a person compares; the API takes it as a prefix. A guest's is its address, whole.
fn short(id: &str) -> String {
    let letters = if id.contains(':') { usize::MAX } else { 8 };
    id.chars().take(letters).collect()
}

fn or_dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use actors::view::RatesView;

    use super::*;

    fn moving(assigned: Option<u64>, achieved: u64) -> DirectionView {
        DirectionView {
            rates: RatesView {
                assigned_bytes_per_second: assigned,
                achieved_bytes_per_second: achieved,
                ..RatesView::default()
            },
            binding: Some("peer_cap".into()),
            ..DirectionView::default()
        }
    }

    #[test]
    fn peers_are_a_table() {
        let peer = PeerView {
            id: "k5rtdwsqxyz".into(),
            comment: "lab".into(),
            addresses: vec!["10.0.0.1:5000".into()],
            weight: 2.0,
            class: "foreground".into(),
            transfers: 3,
            upload: moving(Some(1_000_000), 990_000),
            ..PeerView::default()
        };
        insta::assert_snapshot!(peers(&[peer]), @r"
        PEER      NAME  ADDRESS        WEIGHT  CLASS       TRANSFERS          UP  ASSIGNED  HELD BY   DOWN  ASSIGNED  HELD BY
        k5rtdwsq  lab   10.0.0.1:5000       2  foreground          3  990.0 KB/s  1.0 MB/s  peer_cap     -         -  -
        ");
        assert_eq!(peers(&[]), "no peers\n");
    }

    #[test]
    fn transfers_are_a_table() {
        let transfer = TransferView {
            id: "12".into(),
            peer: "k5rtdwsqxyz".into(),
            path: "iso/a.iso".into(),
            group: "default".into(),
            direction: "upload".into(),
            size: 1000,
            offset: 999,
            weight: 1.0,
            class: "background".into(),
            mode: "bulk".into(),
            rate: moving(None, 5_000_000),
        };
        insta::assert_snapshot!(transfers(&[transfer]), @r"
        ID  PEER      DIRECTION  PATH       DONE    SIZE  GROUP    WEIGHT  CLASS       MODE      RATE   ASSIGNED  HELD BY
        12  k5rtdwsq  upload     iso/a.iso   99%  1.0 KB  default       1  background  bulk  5.0 MB/s  unlimited  peer_cap
        ");
    }

    #[test]
    fn limits_are_in_bytes_and_bits() {
        let upload = LimitView {
            limit_bytes_per_second: Some(10_000_000),
            allowed_bytes_per_second: Some(5_000_000),
            capacity_bytes_per_second: Some(5_200_000),
        };
        let view = LimitsView { upload, download: LimitView::default() };
        insta::assert_snapshot!(limits(&view), @r"
        TOTAL     LIMIT                  ALLOWED               THE LINE CARRIES
        upload    10.0 MB/s (80 Mbit/s)  5.0 MB/s (40 Mbit/s)  5.2 MB/s (41.6 Mbit/s)
        download  unlimited              unlimited             not known
        ");
    }

    #[test]
    fn explanations_are_sentences() {
        let reason = Reason {
            subject: "12".into(),
            path: Some("iso/a.iso".into()),
            mode: Some("bulk".into()),
            direction: "upload".into(),
            rates: moving(Some(1_000_000), 990_000).rates,
            binding: "peer_cap".into(),
            if_lifted_bytes_per_second: Some(4_000_000),
            if_lifted_at_least: false,
            because: "The peer may have 1.0 MB/s, and uses all of it.".into(),
            limited_by: [("tokens".to_owned(), 0.97), ("network".to_owned(), 0.001)].into(),
        };
        let view = Explanation { peer: "k5rtdwsqxyz".into(), reasons: vec![reason] };
        insta::assert_snapshot!(explanation(&view), @r"
        peer k5rtdwsqxyz

        upload: transfer 12, iso/a.iso
          desired unlimited, allowed unlimited, assigned 1.0 MB/s, achieved 990.0 KB/s
          held by peer_cap; without that, 4.0 MB/s (32 Mbit/s)
          The peer may have 1.0 MB/s, and uses all of it.
          of the last round: tokens 97%
          its link is in bulk mode
        ");
        let least = Reason { if_lifted_at_least: true, ..view.reasons[0].clone() };
        let text = explanation(&Explanation { reasons: vec![least], ..view });
        assert!(text.contains("without that, it would take at least 4.0 MB/s (32 Mbit/s)\n"), "{text}");
    }

    #[test]
    fn a_draining_node_does_not_show_its_uptime_as_the_time_of_draining() {
        let view = StatusView { state: "draining".into(), uptime_seconds: 7200.0, ..StatusView::default() };
        let text = status(&view);
        let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert!(rows.contains(&vec!["state", "draining"]), "{text}");
        assert!(rows.contains(&vec!["started", "2", "h", "0", "min", "ago"]), "{text}");
    }

    #[test]
    fn status_shows_the_four_rates() {
        let view = StatusView { id: "k5rt".into(), state: "running".into(), ..StatusView::default() };
        let text = status(&view);
        assert!(text.contains("DESIRED") && text.contains("unlimited"), "{text}");
    }
}
