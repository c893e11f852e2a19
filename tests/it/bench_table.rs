//! The benchmark's table judges and shows as it says.

#[allow(dead_code, reason = "the benchmark uses the rest")]
#[path = "../../benches/bench/table.rs"]
mod table;

#[allow(dead_code, reason = "the benchmark uses the rest")]
#[path = "../../benches/bench/stats.rs"]
mod stats;

use std::time::Duration;

use stats::{median, quantile};
use table::{Budget, Figure, Row, Unit, Verdict, render, show, summary};

fn ratio(figure: f64, budget: Budget) -> Row {
    Row::new("answers/running/16/requests_per_second", figure, Unit::Ratio, budget)
}

#[test]
fn a_figure_at_its_budget_is_kept_and_one_beyond_is_missed() {
    for (figure, budget, verdict) in [
        (0.7, Budget::AtLeast(0.7), Verdict::Kept),
        (0.69, Budget::AtLeast(0.7), Verdict::Missed),
        (5.0, Budget::AtMost(5.0), Verdict::Kept),
        (5.01, Budget::AtMost(5.0), Verdict::Missed),
        (0.0, Budget::AtMost(0.0), Verdict::Kept),
        (1e9, Budget::None, Verdict::NoBudget),
    ] {
        assert_eq!(ratio(figure, budget).verdict(), verdict, "{figure} {budget:?}");
    }
}

#[test]
fn what_is_no_number_keeps_no_budget() {
    assert_eq!(ratio(f64::NAN, Budget::AtLeast(0.7)).verdict(), Verdict::Missed);
    assert_eq!(ratio(f64::NAN, Budget::AtMost(0.7)).verdict(), Verdict::Missed);
}

#[test]
fn a_row_without_a_figure_says_why() {
    let cannot = Row::without("burst/refused", Figure::NotMeasured("no control groups here".to_owned()));
    let broke = Row::without("burst/refused", Figure::Failed("it broke off".to_owned()));
    assert_eq!((cannot.verdict(), broke.verdict()), (Verdict::NotMeasured, Verdict::Failed));
    let table = render(&[cannot, broke]);
    assert!(table.contains("| not measured | no control groups here |"), "{table}");
    assert!(table.contains("| FAILED       | it broke off           |"), "{table}");
}

#[test]
fn the_table_is_markdown_whose_columns_stand_below_each_other() {
    let rows = [
        ratio(0.734, Budget::AtLeast(0.7)).remark("31204/s, bare 42511/s"),
        Row::seconds("start/first_answer", Duration::from_micros(112_300), Budget::AtMost(0.1)),
    ];
    let wanted = "\
| row                                    | figure   | budget     | verdict | remark                |
|----------------------------------------|----------|------------|---------|-----------------------|
| answers/running/16/requests_per_second | 0.73 ×   | ≥ 0.70 ×   | kept    | 31204/s, bare 42511/s |
| start/first_answer                     | 112.3 ms | ≤ 100.0 ms | MISSED  |                       |
";
    assert_eq!(render(&rows), wanted);
    assert_eq!(summary(&rows), "2 rows: 1 kept, 1 missed, 0 failed, 0 not measured, 0 without a budget");
}

#[test]
fn values_are_shown_in_the_unit_that_a_reader_compares() {
    for (value, unit, shown) in [
        (0.000_25, Unit::Seconds, "250 µs"),
        (0.0474, Unit::Seconds, "47.4 ms"),
        (29.96, Unit::Seconds, "29.96 s"),
        (3277.0, Unit::Bytes, "3.2 KiB"),
        (48.0 * 1024.0 * 1024.0, Unit::Bytes, "48.0 MiB"),
        (102.0, Unit::Count, "102"),
        (2.01, Unit::Count, "2.01"),
    ] {
        assert_eq!(show(value, unit), shown);
    }
}

#[test]
fn medians_and_quantiles_are_of_the_sorted_values() {
    assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
    assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
    assert!(median(vec![]).is_nan());
    let sorted: Vec<u32> = (1..=100).collect();
    assert_eq!((quantile(&sorted, 0.5), quantile(&sorted, 0.99), quantile(&sorted, 1.0)), (51, 100, 100));
    assert_eq!(quantile::<u32>(&[], 0.5), 0);
}
