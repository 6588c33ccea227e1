//! The one table: ours, the machine's own limit, their ratio, the figure to reach.

use std::{fmt::Write as _, path::Path};

use serde::Serialize;

use crate::measure::Rate;

/// What a line is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// Shown, with nothing to reach.
    Nothing,
    /// Ours is at least this.
    AtLeast(f64),
    /// Ours is at most this.
    AtMost(f64),
    /// Ours is at least this part of the limit.
    Share(f64),
}

/// One line.
#[derive(Debug, Clone, Serialize)]
pub struct Line {
    name: String,
    ours: f64,
    unit: &'static str,
    limit: Option<(String, f64)>,
    cpu_us: Option<f64>,
    reach: Reach,
    note: String,
}

impl Line {
    /// A line with a number and its unit: `/s`, `ms`, `µs`, `MiB`, `x`.
    pub fn new(name: impl Into<String>, ours: f64, unit: &'static str) -> Self {
        Self {
            name: name.into(),
            ours,
            unit,
            limit: None,
            cpu_us: None,
            reach: Reach::Nothing,
            note: String::new(),
        }
    }

    /// A rate, with its latencies as the note.
    pub fn rate(name: impl Into<String>, rate: &Rate) -> Self {
        let note = format!("p50 {} p99 {}", time(rate.p50_us), time(rate.p99_us));
        let line = Self::new(name, rate.per_sec, "/s");
        Self {
            cpu_us: rate.cpu_us,
            note,
            ..line
        }
    }

    /// The machine's own limit, in the same unit.
    pub fn limit(mut self, name: &str, value: f64) -> Self {
        self.limit = Some((name.to_owned(), value));
        self
    }

    /// The figure to reach.
    pub fn reach(mut self, reach: Reach) -> Self {
        self.reach = reach;
        self
    }

    /// What else there is to say; after what is said already.
    pub fn note(mut self, note: impl AsRef<str>) -> Self {
        if !self.note.is_empty() {
            self.note.push_str(", ");
        }
        self.note.push_str(note.as_ref());
        self
    }

    /// Ours as a part of the limit; for times, the other way round: how many times the limit we take.
    fn ratio(&self) -> Option<f64> {
        let (_, limit) = self.limit.as_ref()?;
        Some(self.ours / limit)
    }

    fn verdict(&self) -> Option<bool> {
        match self.reach {
            Reach::Nothing => None,
            Reach::AtLeast(figure) => Some(self.ours >= figure),
            Reach::AtMost(figure) => Some(self.ours <= figure),
            Reach::Share(share) => self.ratio().map(|ratio| ratio >= share),
        }
    }

    fn figure(&self) -> String {
        match self.reach {
            Reach::Nothing => String::new(),
            Reach::AtLeast(figure) => format!("≥ {}", amount(figure, self.unit)),
            Reach::AtMost(figure) => format!("≤ {}", amount(figure, self.unit)),
            Reach::Share(share) => format!("≥ {:.0} % of the limit", share * 100.0),
        }
    }

    fn cells(&self) -> [String; 8] {
        let (limit, ratio) = match &self.limit {
            Some((name, value)) => (
                format!("{} {name}", amount(*value, self.unit)),
                self.ratio()
                    .map(|ratio| format!("{ratio:.2}"))
                    .unwrap_or_default(),
            ),
            None => (String::new(), String::new()),
        };
        let verdict = match self.verdict() {
            Some(true) => "met",
            Some(false) => "MISSED",
            None => "",
        };
        [
            self.name.clone(),
            amount(self.ours, self.unit),
            limit,
            ratio,
            self.cpu_us.map(|cpu| format!("{cpu:.0}")).unwrap_or_default(),
            self.figure(),
            verdict.to_owned(),
            self.note.clone(),
        ]
    }
}

const HEADS: [&str; 8] = [
    "line",
    "ours",
    "the machine's limit",
    "ratio",
    "CPU µs",
    "to reach",
    "",
    "",
];

/// All lines so far. Each is also told when it is known.
#[derive(Debug, Default)]
pub struct Table(Vec<Line>);

impl Table {
    /// Adds a line and says so.
    pub fn add(&mut self, line: Line) {
        eprintln!("  {}: {}", line.name, amount(line.ours, line.unit));
        self.0.push(line);
    }

    /// The table as text, with the misses named again below it.
    pub fn text(&self) -> String {
        let rows: Vec<[String; 8]> = std::iter::once(HEADS.map(str::to_owned))
            .chain(self.0.iter().map(Line::cells))
            .collect();
        let width = |column: usize| {
            rows.iter()
                .map(|row| row[column].chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..HEADS.len()).map(width).collect();
        let mut text = String::new();
        for row in &rows {
            for (column, cell) in row.iter().enumerate() {
                let pad = " ".repeat(widths[column] - cell.chars().count());
                let right = matches!(column, 1 | 3 | 4);
                let _ = if right {
                    write!(text, "{pad}{cell}  ")
                } else {
                    write!(text, "{cell}{pad}  ")
                };
            }
            text.truncate(text.trim_end().len());
            text.push('\n');
        }
        let missed: Vec<&Line> = self
            .0
            .iter()
            .filter(|line| line.verdict() == Some(false))
            .collect();
        let judged = self.0.iter().filter(|line| line.verdict().is_some()).count();
        let _ = writeln!(text, "\n{} of {judged} figures met.", judged - missed.len());
        for line in missed {
            let _ = writeln!(
                text,
                "MISSED: {}: {}, to reach {}",
                line.name,
                amount(line.ours, line.unit),
                line.figure()
            );
        }
        text
    }

    /// Writes all lines as a JSON array.
    pub fn write_json(&self, path: &Path) -> anyhow::Result<()> {
        Ok(std::fs::write(path, serde_json::to_vec_pretty(&self.0)?)?)
    }
}

fn amount(value: f64, unit: &str) -> String {
    let number = match value.abs() {
        v if v >= 10_000.0 => format!("{:.1} k", value / 1000.0),
        v if v >= 100.0 => format!("{value:.0} "),
        v if v >= 10.0 => format!("{value:.1} "),
        _ => format!("{value:.2} "),
    };
    match unit {
        "/s" => format!("{}{unit}", number.trim_end_matches(' ')),
        _ => format!("{number}{unit}"),
    }
}

/// Microseconds for people.
pub fn time(us: f64) -> String {
    if us >= 1000.0 {
        amount(us / 1000.0, "ms")
    } else {
        amount(us, "µs")
    }
}
