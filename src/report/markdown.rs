//! The results table of a README.

use std::fmt::Write as _;

use candor_schema::{DetectorRow, Evaluation};

use crate::Error;
use crate::evaluation::{count, headline};
use crate::number::{NONE, interval, level, proportion};

/// The results as a Markdown table: the probe and every baseline, one row each.
///
/// An AUROC never stands without those of the baselines. The line below the table says what the
/// numbers were measured on and how to measure them again.
pub fn markdown_table(evaluation: &Evaluation) -> String {
    let level = evaluation
        .detectors
        .first()
        .map_or_else(|| String::from("95 %"), |row| level(&row.auroc));
    let mut text = format!(
        "| detector | AUROC [{level} CI] | recall at 5 % false alarms | realised false alarms on \
         test controls | false alarms on honest replies to the same prompts |\n\
         | --- | --- | --- | --- | --- |\n"
    );
    for row in &evaluation.detectors {
        let [recall, realised, honest] = at_headline(row);
        let name = escape(&row.name);
        let auroc = interval(&row.auroc);
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "| {name} | {auroc} | {recall} | {realised} | {honest} |"
        );
    }
    let (data, split) = (&evaluation.dataset, evaluation.split);
    let _ = write!(
        text,
        "\n{} on {}, {split} split of {}: {} dialogues in {} scenarios; {} control scenarios; seed {}. \
         Counts in round brackets, intervals in square ones. Command: {}\n",
        escape(&format!(
            "{} {}",
            evaluation.probe.name, evaluation.probe.version
        )),
        escape(&evaluation.model.name),
        escape(&data.name),
        count(data.n_dialogues, split),
        count(data.n_scenarios, split),
        count(evaluation.controls.n_scenarios, split),
        evaluation.seed,
        code(&evaluation.command),
    );
    // A no-break space would be invisible in the source of a README.
    text.replace('\u{a0}', " ")
}

/// Puts a table between `<!-- {marker}:begin -->` and `<!-- {marker}:end -->`, in place of what was there.
///
/// Doing it twice changes nothing.
///
/// # Errors
/// [`Error::Marker`] if a marker does not occur exactly once; [`Error::MarkerOrder`] if the end
/// comes first.
pub fn insert_between_markers(readme: &str, marker: &str, table: &str) -> Result<String, Error> {
    let begin = format!("<!-- {marker}:begin -->");
    let end = format!("<!-- {marker}:end -->");
    let place = |marker: &String| match readme.matches(marker.as_str()).count() {
        1 => Ok(readme.find(marker.as_str()).unwrap_or_default()),
        found => Err(Error::Marker {
            marker: marker.clone(),
            found,
        }),
    };
    let (start, stop) = (place(&begin)? + begin.len(), place(&end)?);
    if stop < start {
        return Err(Error::MarkerOrder { begin, end });
    }
    // The blank lines end the comment's HTML block, so that the table is read as a table.
    Ok(format!(
        "{}\n\n{}\n\n{}",
        &readme[..start],
        table.trim(),
        &readme[stop..]
    ))
}

fn at_headline(row: &DetectorRow) -> [String; 3] {
    let Some(point) = headline(row) else {
        return [NONE, NONE, NONE].map(String::from);
    };
    let mut cells = [
        &point.recall,
        &point.realised_fpr,
        &point.false_alarms_honest,
    ]
    .map(|share| proportion(share.as_ref()));
    if let (None, Some(note)) = (point.threshold, &point.note) {
        cells[0] = escape(note);
    }
    cells
}

/// Text that Markdown shows as it is, inside a table too.
fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            '\\' | '|' | '`' | '*' | '_' | '[' | ']' | '~' | '#' | '!' => {
                escaped.push('\\');
                escaped.push(c);
            }
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

/// A code span that backticks inside the text cannot close.
fn code(text: &str) -> String {
    let longest = text
        .split(|c| c != '`')
        .map(str::len)
        .max()
        .unwrap_or_default();
    let fence = "`".repeat(longest + 1);
    let text: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if longest == 0 {
        format!("{fence}{text}{fence}")
    } else {
        format!("{fence} {text} {fence}")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::evaluation::tests::example;

    #[test]
    fn every_detector_has_a_row_and_five_cells() {
        let evaluation = example();
        let table = markdown_table(&evaluation);
        let rows: Vec<&str> = table.lines().filter(|line| line.starts_with('|')).collect();
        assert_eq!(rows.len(), 2 + evaluation.detectors.len());
        for row in &rows {
            assert_eq!(row.matches('|').count(), 6, "{row}");
        }
        assert!(
            rows[2].contains(&evaluation.detectors[0].name),
            "the probe comes first"
        );
        assert!(table.contains(&evaluation.command) && table.contains("seed "));
    }

    #[test]
    fn a_missing_threshold_is_explained() {
        let mut evaluation = example();
        let point = &mut evaluation.detectors[0].operating_points[0];
        point.threshold = None;
        point.recall = None;
        point.note = Some(String::from("needs n ≥ 59, has 12"));
        assert!(markdown_table(&evaluation).contains("| needs n ≥ 59, has 12 |"));
        evaluation.detectors[0].operating_points.clear();
        assert!(markdown_table(&evaluation).contains("] | — | — | — |"));
    }

    #[test]
    fn hostile_names_stay_in_their_cell() {
        let mut evaluation = example();
        evaluation.detectors[1].name = String::from("a|b\n<script>`[x](y)");
        evaluation.command = String::from("candor `x`");
        let table = markdown_table(&evaluation);
        assert!(
            table.contains("| a\\|b &lt;script&gt;\\`\\[x\\](y) |"),
            "{table}"
        );
        assert!(table.contains("`` candor `x` ``"), "{table}");
    }

    #[test]
    fn the_table_replaces_what_was_between_the_markers() {
        let readme = "a\n<!-- r:begin -->old<!-- r:end -->\nb <!-- other:begin -->\n";
        let once = insert_between_markers(readme, "r", "| t |\n").unwrap();
        assert_eq!(
            once,
            "a\n<!-- r:begin -->\n\n| t |\n\n<!-- r:end -->\nb <!-- other:begin -->\n"
        );
        assert_eq!(insert_between_markers(&once, "r", "| t |").unwrap(), once);
    }

    #[test]
    fn markers_must_be_there_once_and_in_order() {
        for (readme, expected) in [
            ("", "marker `<!-- r:begin -->` occurs 0 times"),
            ("<!-- r:begin -->", "marker `<!-- r:end -->` occurs 0 times"),
            (
                "<!-- r:begin --><!-- r:begin --><!-- r:end -->",
                "occurs 2 times",
            ),
            ("<!-- r:end --><!-- r:begin -->", "stands before"),
        ] {
            let error = insert_between_markers(readme, "r", "t").unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
            assert!(!error.hint().is_empty());
        }
    }

    proptest! {
        #[test]
        fn text_outside_the_markers_is_untouched(before in "[^<]*", old in "[^<]*", after in "[^<]*") {
            let readme = format!("{before}<!-- r:begin -->{old}<!-- r:end -->{after}");
            let once = insert_between_markers(&readme, "r", "| t |").unwrap();
            let begins = format!("{before}<!-- r:begin -->");
            prop_assert!(once.starts_with(&begins));
            let ends = format!("<!-- r:end -->{after}");
            prop_assert!(once.ends_with(&ends));
            prop_assert_eq!(insert_between_markers(&once, "r", "| t |").unwrap(), once);
        }
    }
}
