//! The one table: what was measured, what was allowed, and the verdict. Pure, so that tests can judge the judge.

use std::time::Duration;

/// What a figure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Of the bare handler's in the same run, or of another row's.
    Ratio,
    Seconds,
    Bytes,
    /// Things without a unit: calls, answers.
    Count,
}

/// What a figure may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Budget {
    AtLeast(f64),
    AtMost(f64),
    /// Nothing was promised: the figure is there to be known.
    None,
}

/// What came of a measurement.
#[derive(Clone, Debug, PartialEq)]
pub enum Figure {
    Measured(f64),
    /// It cannot be measured on this machine, and a sentence why.
    NotMeasured(String),
    /// The measurement broke off, and a sentence why.
    Failed(String),
}

/// What is said of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Kept,
    Missed,
    NoBudget,
    NotMeasured,
    Failed,
}

impl Verdict {
    /// As the table shows it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Missed => "MISSED",
            Self::NoBudget => "-",
            Self::NotMeasured => "not measured",
            Self::Failed => "FAILED",
        }
    }
}

/// One line of the table.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// `subject/what/…`, what a filter is compared with.
    pub name: String,
    pub figure: Figure,
    pub unit: Unit,
    pub budget: Budget,
    /// The figures behind the figure.
    pub remark: String,
}

impl Row {
    /// A measured row.
    pub fn new(name: impl Into<String>, figure: f64, unit: Unit, budget: Budget) -> Self {
        Self { name: name.into(), figure: Figure::Measured(figure), unit, budget, remark: String::new() }
    }

    /// A row of a time.
    pub fn seconds(name: impl Into<String>, figure: Duration, budget: Budget) -> Self {
        Self::new(name, figure.as_secs_f64(), Unit::Seconds, budget)
    }

    /// A row without a figure.
    pub fn without(name: impl Into<String>, figure: Figure) -> Self {
        Self { name: name.into(), figure, unit: Unit::Count, budget: Budget::None, remark: String::new() }
    }

    /// The same row with this remark.
    pub fn remark(self, remark: impl Into<String>) -> Self {
        Self { remark: remark.into(), ..self }
    }

    /// Whether the figure is within its budget. What is no number is not.
    pub fn verdict(&self) -> Verdict {
        let kept = match (&self.figure, self.budget) {
            (Figure::NotMeasured(_), _) => return Verdict::NotMeasured,
            (Figure::Failed(_), _) => return Verdict::Failed,
            (Figure::Measured(_), Budget::None) => return Verdict::NoBudget,
            (Figure::Measured(figure), Budget::AtLeast(least)) => *figure >= least,
            (Figure::Measured(figure), Budget::AtMost(most)) => *figure <= most,
        };
        if kept { Verdict::Kept } else { Verdict::Missed }
    }

    fn cells(&self) -> [String; 5] {
        let shown = |value: f64| show(value, self.unit);
        let (figure, reason) = match &self.figure {
            Figure::Measured(value) => (shown(*value), None),
            Figure::NotMeasured(why) | Figure::Failed(why) => (String::new(), Some(why)),
        };
        let budget = match self.budget {
            Budget::AtLeast(least) => format!("≥ {}", shown(least)),
            Budget::AtMost(most) => format!("≤ {}", shown(most)),
            Budget::None => String::new(),
        };
        let remark = reason.unwrap_or(&self.remark).clone();
        [self.name.clone(), figure, budget, self.verdict().as_str().to_owned(), remark]
    }
}

/// A value with its unit, rounded to what a reader compares.
pub fn show(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Ratio => format!("{value:.2} ×"),
        Unit::Seconds if value.abs() < 0.001 => format!("{:.0} µs", value * 1e6),
        Unit::Seconds if value.abs() < 1.0 => format!("{:.1} ms", value * 1e3),
        Unit::Seconds => format!("{value:.2} s"),
        Unit::Bytes if value.abs() < 1024.0 * 1024.0 => format!("{:.1} KiB", value / 1024.0),
        Unit::Bytes => format!("{:.1} MiB", value / 1024.0 / 1024.0),
        Unit::Count if value.fract() == 0.0 => format!("{value:.0}"),
        Unit::Count => format!("{value:.2}"),
    }
}

/// The table as Markdown, its columns aligned, so that it reads the same in a terminal and in the README.
pub fn render(rows: &[Row]) -> String {
    let head = ["row", "figure", "budget", "verdict", "remark"].map(str::to_owned);
    let cells: Vec<[String; 5]> = std::iter::once(head).chain(rows.iter().map(Row::cells)).collect();
    let width = |column: usize| cells.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 5] = std::array::from_fn(width);
    let mut table = String::new();
    for (number, row) in cells.iter().enumerate() {
        let padded: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        table.push_str(&format!("| {} |\n", padded.join(" | ")));
        if number == 0 {
            let rules = widths.map(|width| "-".repeat(width + 2));
            table.push_str(&format!("|{}|\n", rules.join("|")));
        }
    }
    table
}

/// How many rows were kept, missed and so on, in one sentence.
pub fn summary(rows: &[Row]) -> String {
    let count = |verdict: Verdict| rows.iter().filter(|row| row.verdict() == verdict).count();
    format!(
        "{} rows: {} kept, {} missed, {} failed, {} not measured, {} without a budget",
        rows.len(),
        count(Verdict::Kept),
        count(Verdict::Missed),
        count(Verdict::Failed),
        count(Verdict::NotMeasured),
        count(Verdict::NoBudget)
    )
}
