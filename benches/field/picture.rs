//! A small picture of lines over a logarithmic axis: SVG, legible on light and on dark pages.

use std::fmt::Write as _;

use super::report::thousands;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 48.0;
/// Names of lines stand to the right of their ends.
const RIGHT: f64 = 96.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 44.0;
/// Names closer than this would lie on one another.
const NAME_HEIGHT: f64 = 16.0;

/// A line with its name; points are (x, y), x grows.
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

const STYLE: &str = "<style>
text { font: 12px system-ui, sans-serif; fill: #24292f }
.title { font-size: 14px; font-weight: 600 }
.grid { stroke: #d0d7de; stroke-width: 1 }
.line { fill: none; stroke-width: 2.5 }
.a { stroke: #0969da; fill: #0969da } .b { stroke: #bc4c00; fill: #bc4c00 }
path.a, path.b { fill: none } text.a, text.b { stroke: none; font-weight: 600 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .grid { stroke: #3d444d }
  .a { stroke: #58a6ff; fill: #58a6ff } .b { stroke: #f0883e; fill: #f0883e }
  path.a, path.b { fill: none }
}
</style>
";

/// The picture; the first line is drawn as `a`, all others as `b`.
pub(crate) fn picture(title: &str, x_name: &str, lines: &[Line]) -> String {
    let points = || lines.iter().flat_map(|line| line.points.iter().copied());
    let (least, most) = points().fold((f64::MAX, f64::MIN), |(least, most), (x, _)| (least.min(x), most.max(x)));
    let step = step(points().map(|(_, y)| y).fold(0.0, f64::max));
    let top = (points().map(|(_, y)| y).fold(0.0, f64::max) / step).ceil() * step;
    let x = |value: f64| LEFT + (value / least).ln() / (most / least).ln() * (WIDTH - LEFT - RIGHT);
    let y = |value: f64| HEIGHT - BOTTOM - value / top * (HEIGHT - TOP - BOTTOM);
    let mut svg =
        format!("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">\n{STYLE}");
    let _ = writeln!(svg, "<title>{title}</title>\n<text class=\"title\" x=\"{LEFT}\" y=\"22\">{title}</text>");
    let mut tick = 0.0;
    while tick <= top + step / 2.0 {
        let at = y(tick);
        let _ = writeln!(svg, "<path class=\"grid\" d=\"M{LEFT} {at:.1}H{:.1}\"/>", WIDTH - RIGHT);
        let _ =
            writeln!(svg, "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{tick:.1}</text>", LEFT - 6.0, at + 4.0);
        tick += step;
    }
    for (value, _) in lines.first().map_or(&[][..], |line| &line.points) {
        let (at, below) = (x(*value), HEIGHT - BOTTOM + 18.0);
        let _ = writeln!(
            svg,
            "<text x=\"{at:.1}\" y=\"{below}\" text-anchor=\"middle\">{}</text>",
            thousands(*value as usize)
        );
    }
    let middle = (LEFT + WIDTH - RIGHT) / 2.0;
    let _ = writeln!(svg, "<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">{x_name}</text>", HEIGHT - 8.0);
    let mut names: Vec<f64> = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let class = if index == 0 { "a" } else { "b" };
        let path: Vec<String> = line.points.iter().map(|(a, b)| format!("{:.1} {:.1}", x(*a), y(*b))).collect();
        let _ = writeln!(svg, "<path class=\"line {class}\" d=\"M{}\"/>", path.join("L"));
        for (a, b) in &line.points {
            let _ = writeln!(svg, "<circle class=\"{class}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\"/>", x(*a), y(*b));
        }
        let mut at = line.points.last().map_or(TOP, |(_, b)| y(*b) + 4.0);
        while let Some(other) = names.iter().find(|other| (at - **other).abs() < NAME_HEIGHT) {
            at = if at < *other { other - NAME_HEIGHT } else { other + NAME_HEIGHT };
        }
        names.push(at);
        let _ = writeln!(
            svg,
            "<text class=\"{class}\" x=\"{:.1}\" y=\"{at:.1}\">{}</text>",
            WIDTH - RIGHT + 8.0,
            line.name
        );
    }
    svg + "</svg>\n"
}

/// Between two lines of the grid: 1, 2 or 5 times a power of ten, four to ten of them.
fn step(most: f64) -> f64 {
    let rough = most.max(0.1) / 6.0;
    let power = 10_f64.powf(rough.log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|digit| digit * power).find(|step| *step >= rough).unwrap_or(power)
}
