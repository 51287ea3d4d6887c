//! Draws the pictures of `docs/allocation.md` from the allocator itself, in virtual time.
//!
//! `cargo run -p evenkeel-flow --example pictures -- docs/pictures`

#[path = "../tests/support/mod.rs"]
mod support;
#[path = "../tests/world/mod.rs"]
mod world;

use std::{env, fmt::Write as _, fs, io, path::Path};

use flow::Rate;
use world::{GREEDY, IDLE, Source, World};

/// Bytes per second that the line carries.
const LINE: f64 = 10e6;

fn main() -> io::Result<()> {
    let folder = env::args().nth(1).unwrap_or_else(|| "docs/pictures".into());
    let folder = Path::new(&folder);
    fs::create_dir_all(folder)?;
    for (name, picture) in
        [("step", step()), ("line", line()), ("weights", weights()), ("churn", churn()), ("waking", waking())]
    {
        fs::write(folder.join(format!("{name}.svg")), picture.svg())?;
        fs::write(folder.join(format!("{name}.csv")), picture.csv())?;
    }
    Ok(())
}

/// Three hungry peers share 6 MB/s; one turns to 0.5 MB/s, a fourth comes, one leaves.
fn step() -> Picture {
    let mut world = World::new(Rate::from_f64(6e6), LINE, vec![GREEDY, GREEDY, GREEDY, IDLE]);
    let mut picture =
        Picture::new("A limit of 6 MB/s, and what three to four peers get of it", 7e6, &["A", "B", "C", "D"]);
    for round in 0..40 {
        match round {
            10 => world.sources[0].offered = 0.5e6,
            20 => world.sources[3] = GREEDY,
            30 => world.sources[2] = IDLE,
            _ => {}
        }
        world.round();
        picture.row(&world.achieved);
    }
    picture.marks = vec![(10, "A wants 0.5 MB/s"), (20, "D comes"), (30, "C leaves")];
    picture
}

/// No limit; the line halves and is restored. Beside it seed 003's rule for the total, taken literally.
fn line() -> Picture {
    let mut world = World::new(Rate::UNLIMITED, LINE, vec![GREEDY; 200]);
    let mut picture = Picture::new(
        "No limit configured: the total follows the line",
        12e6,
        &["line", "learnt total", "literal rule"],
    );
    let mut literal = LINE;
    for round in 0..100 {
        world.line = if (30..60).contains(&round) { LINE / 2.0 } else { LINE };
        world.round();
        literal = literal_rule(literal, literal.min(world.line));
        picture.row(&[world.line, world.sum(), literal.min(world.line)]);
    }
    picture.marks = vec![(30, "halved"), (60, "restored")];
    picture
}

/// Seed 003: "if 97 % or less was reached, take 15 % of the difference away; above it, raise until the difference is 97 %".
fn literal_rule(allowed: f64, achieved: f64) -> f64 {
    if achieved <= 0.97 * allowed { allowed - 0.15 * (allowed - achieved) } else { achieved / 0.97 }
}

/// Ten peers with weights 1 to 10 on a line that is learnt.
fn weights() -> Picture {
    let sources = (1..=10).map(|weight| Source { weight: f64::from(weight), ..GREEDY }).collect();
    let mut world = World::new(Rate::UNLIMITED, LINE, sources);
    let names = ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10"];
    let mut picture = Picture::new("Weights 1 to 10 on a learnt line", 2e6, &names);
    for _ in 0..40 {
        world.round();
        picture.row(&world.achieved);
    }
    picture
}

/// In every round thirty of three hundred peers stop or start.
fn churn() -> Picture {
    let mut world = World::new(Rate::from_f64(LINE), 2.0 * LINE, vec![GREEDY; 300]);
    let mut picture = Picture::new(
        "A limit of 10 MB/s while 30 of 300 peers stop or start in every round",
        12e6,
        &["all together", "one that stays, x 200"],
    );
    for round in 0..100 {
        for place in 0..30 {
            let index = 1 + (round * 37 + place * 11) % 299;
            world.sources[index] = if (round + place) % 3 == 0 { IDLE } else { GREEDY };
        }
        world.round();
        picture.row(&[world.sum(), 200.0 * world.achieved[0]]);
    }
    picture
}

/// One of a hundred peers sleeps for 120 rounds, five minutes, and wakes. Beside it its rate by seed 003's rule for a
/// receiver, taken literally.
fn waking() -> Picture {
    let fair = LINE / 100.0;
    let mut world = World::new(Rate::from_f64(LINE), 2.0 * LINE, vec![GREEDY; 100]);
    let mut picture = Picture::new("A peer sleeps for five minutes and wakes", 0.12e6, &["achieved", "literal rule"]);
    let mut literal = fair;
    for round in 0..200 {
        let asleep = (20..140).contains(&round);
        world.sources[7] = if asleep { IDLE } else { GREEDY };
        world.round();
        literal = literal_rule(literal, if asleep { 0.0 } else { literal }).min(fair);
        picture.row(&[world.achieved[7], if asleep { 0.0 } else { literal }]);
    }
    picture.marks = vec![(20, "sleeps"), (140, "wakes")];
    picture
}

/// Rates over rounds.
struct Picture {
    title: &'static str,
    /// Top of the scale, bytes per second.
    top: f64,
    names: Vec<&'static str>,
    rows: Vec<Vec<f64>>,
    marks: Vec<(usize, &'static str)>,
}

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 150.0;
const ABOVE: f64 = 40.0;
const BELOW: f64 = 40.0;
/// Seconds of a round.
const ROUND_SECONDS: f64 = 2.5;
const COLOURS: [&str; 10] =
    ["#1b6ca8", "#d1495b", "#3a7d44", "#e08e0b", "#6a4c93", "#00838f", "#8d5524", "#c2185b", "#5c6b73", "#111111"];

impl Picture {
    fn new(title: &'static str, top: f64, names: &[&'static str]) -> Self {
        Self { title, top, names: names.to_vec(), rows: Vec::new(), marks: Vec::new() }
    }

    fn row(&mut self, values: &[f64]) {
        self.rows.push(values.to_vec());
    }

    fn csv(&self) -> String {
        let mut text = format!("seconds,{}\n", self.names.join(","));
        for (round, row) in self.rows.iter().enumerate() {
            let values: Vec<String> = row.iter().map(|value| format!("{value:.0}")).collect();
            let _ = writeln!(text, "{},{}", round as f64 * ROUND_SECONDS, values.join(","));
        }
        text
    }

    fn x(&self, round: usize) -> f64 {
        LEFT + (WIDTH - LEFT - RIGHT) * round as f64 / (self.rows.len() - 1) as f64
    }

    fn y(&self, rate: f64) -> f64 {
        HEIGHT - BELOW - (HEIGHT - ABOVE - BELOW) * (rate / self.top).min(1.0)
    }

    fn svg(&self) -> String {
        let mut text = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
             font-size=\"12\">\n<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#ffffff\"/>\n<text x=\"{LEFT}\" y=\"20\" \
             font-size=\"14\">{}</text>\n",
            self.title
        );
        self.axes(&mut text);
        for (index, name) in self.names.iter().enumerate() {
            let colour = COLOURS[index % COLOURS.len()];
            let points: Vec<String> = (self.rows.iter().enumerate())
                .map(|(round, row)| format!("{:.1},{:.1}", self.x(round), self.y(row[index])))
                .collect();
            let _ = writeln!(
                text,
                "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.6\" points=\"{}\"/>\n<text x=\"{}\" y=\"{}\" \
                 fill=\"{colour}\">{name}</text>",
                points.join(" "),
                WIDTH - RIGHT + 12.0,
                ABOVE + 12.0 + 18.0 * index as f64,
            );
        }
        text.push_str("</svg>\n");
        text
    }

    fn axes(&self, text: &mut String) {
        for part in 0..=4 {
            let rate = self.top * f64::from(part) / 4.0;
            let _ = writeln!(
                text,
                "<line x1=\"{LEFT}\" x2=\"{}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"#dddddd\"/><text x=\"{}\" y=\"{:.1}\" \
                 text-anchor=\"end\">{}</text>",
                WIDTH - RIGHT,
                LEFT - 6.0,
                self.y(rate) + 4.0,
                (rate / 1e6 * 100.0).round() / 100.0,
                y = self.y(rate),
            );
        }
        for part in 0..=4 {
            let round = (self.rows.len() - 1) * part / 4;
            let _ = writeln!(
                text,
                "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{:.0} s</text>",
                self.x(round),
                HEIGHT - BELOW + 18.0,
                round as f64 * ROUND_SECONDS
            );
        }
        let _ = writeln!(text, "<text x=\"6\" y=\"{}\">MB/s</text>", ABOVE - 8.0);
        for (round, words) in &self.marks {
            let x = self.x(*round);
            let _ = writeln!(
                text,
                "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{ABOVE}\" y2=\"{}\" stroke=\"#999999\" stroke-dasharray=\"4 3\"/>\
                 <text x=\"{:.1}\" y=\"{}\" fill=\"#666666\">{words}</text>",
                HEIGHT - BELOW,
                x + 3.0,
                ABOVE - 4.0,
            );
        }
    }
}
