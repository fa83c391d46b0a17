//! Tables that become cards on a narrow screen.

use candor_schema::{
    Calibration, DetectorKind, Evaluation, HardNegativeRow, Interval, LeadTime, OperatingPoint,
    Refits,
};

use crate::evaluation::{headline, probe_row};
use crate::markup::Markup;
use crate::number::{NONE, difference, interval, level, percent, proportion, signed};
use crate::plot::roc::series_class;

/// A cell: text, and markup that stands before it.
struct Cell {
    text: String,
    before: Markup,
    class: &'static str,
}

impl Cell {
    fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            before: Markup::new(),
            class: "value",
        }
    }

    /// Free text, which may be broken anywhere where a number may not.
    fn words(text: &str) -> Self {
        Self {
            class: "value words",
            ..Self::new(text)
        }
    }
}

/// A row and the class that sets it apart.
struct Row {
    class: &'static str,
    cells: Vec<Cell>,
}

/// Every detector, the probe first, its baselines beside it.
pub(crate) fn detectors(evaluation: &Evaluation) -> Markup {
    let level = evaluation
        .detectors
        .first()
        .map_or_else(|| String::from("95\u{a0}%"), |row| level(&row.auroc));
    let auroc = format!("AUROC [{level} interval]");
    let columns = [
        "detector",
        auroc.as_str(),
        "among replies to one prompt",
        "probe minus this",
        "recall at 5\u{a0}% false alarms",
        "realised false alarms on test controls",
        "false alarms on honest replies",
    ];
    let rows = evaluation.detectors.iter().enumerate().map(|(index, row)| {
        let mut name = Cell::new(row.name.as_str());
        name.before = swatch(index);
        let point = headline(row);
        let share = |of: fn(&OperatingPoint) -> Option<&candor_schema::Proportion>| {
            Cell::new(proportion(point.and_then(of)))
        };
        let mut recall = share(|point| point.recall.as_ref());
        if let Some(note) = point
            .filter(|p| p.threshold.is_none())
            .and_then(|p| p.note.as_ref())
        {
            recall = Cell::words(note);
        }
        let probe = row.kind == DetectorKind::Probe;
        Row {
            class: if probe { "probe" } else { "" },
            cells: vec![
                name,
                Cell::new(interval(&row.auroc)),
                Cell::new(
                    row.same_prompt
                        .map_or_else(|| NONE.to_owned(), |same| interval(&same.auroc)),
                ),
                Cell::new(
                    row.probe_minus_this
                        .as_ref()
                        .map_or_else(|| NONE.to_owned(), difference),
                ),
                recall,
                share(|point| point.realised_fpr.as_ref()),
                share(|point| point.false_alarms_honest.as_ref()),
            ],
        }
    });
    table("Detectors on the same replies", &columns, rows.collect())
}

/// How each detector was made.
pub(crate) fn detector_notes(evaluation: &Evaluation) -> Markup {
    let mut list = Markup::new();
    list.open("dl", &[("class", "notes")]);
    for (index, row) in evaluation.detectors.iter().enumerate() {
        let reads = match row.kind {
            DetectorKind::Probe | DetectorKind::HeldOut | DetectorKind::Refit => {
                "reads activations"
            }
            DetectorKind::Rival => "reads the reply, from outside",
            DetectorKind::OtherModel => "reads another model's activations",
            DetectorKind::Text => "reads the reply's words",
            DetectorKind::Surface => "reads length and punctuation",
            DetectorKind::Prompt => "reads what was asked",
            DetectorKind::Surprise => "reads the model's surprise",
            DetectorKind::Null => "knows nothing",
        };
        list.open("dt", &[]).piece(&swatch(index)).text(&row.name);
        list.element("span", &[("class", "reads")], reads)
            .close("dt");
        list.element("dd", &[], &row.description);
    }
    list.close("dl");
    list
}

/// Every budget of the probe, those without a threshold too, with the reason.
pub(crate) fn operating_points(evaluation: &Evaluation) -> Markup {
    let columns = [
        "budget of false alarms",
        "threshold",
        "calibration scenarios (needed)",
        "may lie above it",
        "realised on test controls",
        "recall",
        "false alarms on honest replies",
        "note",
    ];
    let points = probe_row(evaluation).map_or(&[][..], |row| &row.operating_points);
    let rows = points.iter().map(|point| {
        let or_none = |text: Option<String>| Cell::new(text.unwrap_or_else(|| NONE.to_owned()));
        let budget = format!(
            "{} with {} confidence",
            percent(point.fpr_budget),
            percent(point.confidence)
        );
        Row {
            class: if point.threshold.is_some() {
                ""
            } else {
                "missing"
            },
            cells: vec![
                Cell::new(budget),
                or_none(point.threshold.map(signed)),
                Cell::new(format!("{} ({})", point.n, point.n_required)),
                or_none(point.allowed_exceedances.map(|n| n.to_string())),
                Cell::new(proportion(point.realised_fpr.as_ref())),
                Cell::new(proportion(point.recall.as_ref())),
                Cell::new(proportion(point.false_alarms_honest.as_ref())),
                Cell::words(point.note.as_deref().unwrap_or(NONE)),
            ],
        }
    });
    table("The probe's thresholds", &columns, rows.collect())
}

/// False alarms on each class of hard negatives, the worst first.
pub(crate) fn hard_negatives(evaluation: &Evaluation) -> Markup {
    let mut of_classes: Vec<_> = evaluation.hard_negatives.iter().collect();
    let worst = |row: &HardNegativeRow| {
        let rates = row.alarms.iter().filter_map(|alarms| alarms.alarms.rate());
        rates.fold(0.0, f64::max)
    };
    of_classes.sort_by(|a, b| worst(b).total_cmp(&worst(a)));
    let mut budgets: Vec<f64> = Vec::new();
    for alarms in of_classes.iter().flat_map(|row| &row.alarms) {
        if !budgets
            .iter()
            .any(|budget| budget.total_cmp(&alarms.fpr_budget).is_eq())
        {
            budgets.push(alarms.fpr_budget);
        }
    }
    let mut columns = vec![String::from("class"), String::from("scenarios")];
    columns.extend(
        budgets
            .iter()
            .map(|budget| format!("false alarms at the {} threshold", percent(*budget))),
    );
    let rows = of_classes.into_iter().map(|row| {
        let mut cells = vec![
            Cell::words(row.label.as_str()),
            Cell::new(row.n_scenarios.to_string()),
        ];
        cells.extend(budgets.iter().map(|budget| {
            let mut alarms = row.alarms.iter();
            let found = alarms.find(|alarms| alarms.fpr_budget.total_cmp(budget).is_eq());
            Cell::new(proportion(found.map(|alarms| &alarms.alarms)))
        }));
        Row { class: "", cells }
    });
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    table("False alarms on hard negatives", &columns, rows.collect())
}

/// What the probe's probabilities are worth.
pub(crate) fn calibration(calibration: &Calibration) -> Markup {
    let columns = [
        "expected calibration error",
        "if every probability were right, by chance",
        "Brier score",
        "of always saying the share of lies",
    ];
    let cells = vec![
        Cell::new(format!("{:.2}", calibration.ece)),
        Cell::new(interval(&calibration.ece_if_right)),
        Cell::new(interval(&calibration.brier)),
        Cell::new(format!("{:.2}", calibration.brier_of_share)),
    ];
    table("Calibration", &columns, vec![Row { class: "", cells }])
}

/// How much the probe depends on its draw of training scenarios.
pub(crate) fn refits(refits: &Refits) -> Markup {
    let spread = |values: &[f64]| {
        let finite = || values.iter().copied().filter(|value| value.is_finite());
        let n = finite().count();
        if n == 0 {
            return Cell::new(NONE);
        }
        let mean = finite().sum::<f64>() / n as f64;
        let (low, high) = (
            finite().fold(f64::INFINITY, f64::min),
            finite().fold(f64::NEG_INFINITY, f64::max),
        );
        Cell::new(format!(
            "{} [{}, {}]",
            signed(mean),
            signed(low),
            signed(high)
        ))
    };
    let columns = [
        "fits",
        "AUROC: mean [range]",
        "cosine between two of them",
        "cosine to the probe",
    ];
    let cells = vec![
        Cell::new(refits.aurocs.len().to_string()),
        spread(&refits.aurocs),
        spread(&refits.cosines),
        spread(&refits.cosines_to_probe),
    ];
    table(
        "Fitted on other draws",
        &columns,
        vec![Row { class: "", cells }],
    )
}

/// How early lies are flagged.
pub(crate) fn lead(lead: &LeadTime) -> Markup {
    let columns = [
        "budget, on the largest running score",
        "realised on test controls",
        "lies flagged",
        "flagged before the first token of the lie",
        "lies that begin within 8 tokens",
        "median lead in tokens",
    ];
    let cells = vec![
        Cell::new(percent(lead.fpr_budget)),
        Cell::new(proportion(Some(&lead.realised_fpr))),
        Cell::new(proportion(Some(&lead.flagged))),
        Cell::new(proportion(Some(&lead.before_lie))),
        Cell::new(proportion(Some(&lead.begins_early))),
        Cell::new(lead.median_lead.map_or_else(|| NONE.to_owned(), signed)),
    ];
    table("Lead time", &columns, vec![Row { class: "", cells }])
}

/// The probe on parts of the split, the worst part of each kind first.
pub(crate) fn groups(evaluation: &Evaluation) -> Markup {
    let mut kinds: Vec<&str> = Vec::new();
    for row in &evaluation.groups {
        if !kinds.contains(&row.by.as_str()) {
            kinds.push(&row.by);
        }
    }
    let mut rows = Vec::new();
    for kind in kinds {
        let mut of_kind: Vec<_> = evaluation
            .groups
            .iter()
            .filter(|row| row.by == kind)
            .collect();
        of_kind.sort_by(|a, b| a.auroc.value.total_cmp(&b.auroc.value));
        for (index, row) in of_kind.into_iter().enumerate() {
            let mut auroc = Cell::new(group_auroc(&row.auroc));
            auroc.before = whisker(&row.auroc);
            rows.push(Row {
                class: if index == 0 { "first" } else { "" },
                cells: vec![
                    Cell::words(&row.group),
                    Cell::words(&row.by),
                    Cell::new(row.n_scenarios.to_string()),
                    auroc,
                ],
            });
        }
    }
    table(
        "The probe on parts of the split",
        &["part", "of", "scenarios", "AUROC"],
        rows,
    )
}

/// An AUROC of a part, which may be so small that every resample of it comes out the same.
fn group_auroc(value: &Interval) -> String {
    if value.value.is_finite() && value.high - value.low < 1e-9 {
        return format!("{:.2} (too few)", value.value);
    }
    interval(value)
}

/// A detector's line as on the ROC plot.
pub(crate) fn swatch(index: usize) -> Markup {
    let mut svg = Markup::new();
    svg.open(
        "svg",
        &[
            ("class", "swatch"),
            ("viewBox", "0 0 28 10"),
            ("aria-hidden", "true"),
        ],
    );
    svg.leaf(
        "line",
        &[
            ("class", &series_class(index)),
            ("x1", "1"),
            ("y1", "5"),
            ("x2", "27"),
            ("y2", "5"),
        ],
    );
    svg.close("svg");
    svg
}

/// An AUROC with its interval on a line from 0 to 1, chance marked.
fn whisker(value: &Interval) -> Markup {
    let mut svg = Markup::new();
    if !value.value.is_finite() {
        return svg;
    }
    let at = |value: f64| format!("{:.1}", 4.0 + 112.0 * value.clamp(0.0, 1.0));
    svg.open(
        "svg",
        &[
            ("class", "whisker"),
            ("viewBox", "0 0 120 16"),
            ("aria-hidden", "true"),
        ],
    );
    for (class, from, to, top, bottom) in [
        ("grid", 0.0, 1.0, "8", "8"),
        ("chance", 0.5, 0.5, "1", "15"),
        ("mark interval", value.low, value.high, "8", "8"),
    ] {
        let (from, to) = (at(from), at(to));
        svg.leaf(
            "line",
            &[
                ("class", class),
                ("x1", &from),
                ("y1", top),
                ("x2", &to),
                ("y2", bottom),
            ],
        );
    }
    svg.leaf(
        "circle",
        &[
            ("class", "mark estimate"),
            ("cx", &at(value.value)),
            ("cy", "8"),
            ("r", "4"),
        ],
    );
    svg.close("svg");
    svg
}

/// Each cell repeats its column's name for the narrow layout, where there is no header row.
fn table(caption: &str, columns: &[&str], rows: Vec<Row>) -> Markup {
    let mut html = Markup::new();
    // The roles keep it a table to a screen reader once CSS lays it out as cards.
    html.raw("<table role=\"table\">")
        .element("caption", &[], caption);
    html.raw("<thead role=\"rowgroup\"><tr role=\"row\">");
    for column in columns {
        html.element("th", &[("scope", "col"), ("role", "columnheader")], column);
    }
    html.raw("</tr></thead><tbody role=\"rowgroup\">");
    if rows.is_empty() {
        html.open("tr", &[])
            .open("td", &[("colspan", &columns.len().to_string())]);
        html.text("not measured").raw("</td></tr>");
    }
    for row in rows {
        html.open("tr", &[("role", "row"), ("class", row.class)]);
        for (index, (cell, column)) in row.cells.iter().zip(columns).enumerate() {
            let (name, role) = if index == 0 {
                ("th", "rowheader")
            } else {
                ("td", "cell")
            };
            html.open(name, &[("role", role), ("data-label", column)]);
            html.open("span", &[("class", cell.class)]);
            html.piece(&cell.before).piece(&parts(&cell.text));
            html.close("span").close(name);
        }
        html.close("tr");
    }
    html.raw("</tbody></table>");
    html
}

/// Text whose counts and intervals stay whole when the line breaks.
pub(crate) fn parts(text: &str) -> Markup {
    let mut html = Markup::new();
    let mut rest = text;
    loop {
        let next = rest
            .match_indices(" (")
            .chain(rest.match_indices(" ["))
            .map(|(index, _)| index)
            .min();
        let (part, after) = next.map_or((rest, None), |index| {
            (&rest[..index], Some(&rest[index + 1..]))
        });
        if part.starts_with(['(', '[']) {
            html.element("span", &[("class", "detail")], part);
        } else {
            html.text(part);
        }
        let Some(after) = after else {
            return html;
        };
        html.raw(" ");
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::tests::example;

    #[test]
    fn the_probe_comes_first_and_every_baseline_beside_it() {
        let evaluation = example();
        let html = detectors(&evaluation).into_string();
        let mut last = 0;
        for row in &evaluation.detectors {
            let place = html.find(&row.name).unwrap();
            assert!(place > last, "{}", row.name);
            last = place;
        }
        assert_eq!(html.matches("class=\"probe\"").count(), 1);
    }

    #[test]
    fn counts_and_intervals_are_set_apart() {
        let found = parts("53 % (21/40) [36, 69]").into_string();
        let detail = |text| format!("<span class=\"detail\">{text}</span>");
        assert_eq!(
            found,
            format!("53 % {} {}", detail("(21/40)"), detail("[36, 69]"))
        );
        assert_eq!(
            parts("needs n ≥ 299, has 100").into_string(),
            "needs n ≥ 299, has 100"
        );
        assert_eq!(parts("").into_string(), "");
    }

    #[test]
    fn a_budget_without_threshold_says_why() {
        let html = operating_points(&example()).into_string();
        assert!(html.contains("needs n ≥ 299, has 100"), "{html}");
        assert!(html.contains("class=\"missing\""));
    }

    #[test]
    fn an_interval_without_width_is_not_shown_as_certainty() {
        let mut evaluation = example();
        let auroc = &mut evaluation.groups[0].auroc;
        (auroc.value, auroc.low, auroc.high) = (1.0, 1.0, 1.0);
        let html = groups(&evaluation).into_string();
        assert!(html.contains("(too few)") && !html.contains("[1.00, 1.00]"));
    }

    #[test]
    fn the_worst_group_comes_first() {
        let mut evaluation = example();
        let html = groups(&evaluation).into_string();
        let families: Vec<_> = evaluation
            .groups
            .iter()
            .filter(|g| g.by == "family")
            .collect();
        let worst = families
            .iter()
            .min_by(|a, b| a.auroc.value.total_cmp(&b.auroc.value))
            .unwrap();
        let place = html.find(&worst.group).unwrap();
        for other in families.iter().filter(|g| g.group != worst.group) {
            assert!(html.find(&other.group).unwrap() > place);
        }
        evaluation.groups.clear();
        assert!(groups(&evaluation).into_string().contains("not measured"));
    }
}
