//! Recall against false alarms, the probe over its baselines.

use candor_schema::Evaluation;

use super::{Scale, WIDTH, line, n, picture, points, text, x_axis, y_axis};
use crate::evaluation::{headline, probe_row};
use crate::markup::Markup;
use crate::number::{interval, percent};

const HEIGHT: f64 = 400.0;

/// Classes that give a detector its colour and dash; `style.css` knows as many.
const N_STYLES: usize = 7;

/// The class of the detector at `index`, on the plot and beside its name in tables.
pub(crate) fn series_class(index: usize) -> String {
    let style = if index == 0 {
        0
    } else {
        1 + (index - 1) % (N_STYLES - 1)
    };
    format!("series s{style}")
}

pub(crate) fn roc(evaluation: &Evaluation) -> Markup {
    let x = Scale::new(0.0, 1.0, 52.0, WIDTH - 12.0);
    let y = Scale::new(0.0, 1.0, HEIGHT - 46.0, 12.0);
    let mut svg = Markup::new();
    y_axis(
        &mut svg,
        &y,
        &y.ticks(5),
        (x.from.1, x.to.1),
        "recall: deceptive replies flagged",
    );
    x_axis(
        &mut svg,
        &x,
        &x.ticks(5),
        y.from.1,
        "false alarms: honest replies flagged",
    );
    line(
        &mut svg,
        "chance",
        (x.at(0.0), y.at(0.0)),
        (x.at(1.0), y.at(1.0)),
    );
    text(
        &mut svg,
        "note halo",
        "end",
        (x.at(0.96), y.at(0.86)),
        "chance",
    );

    // The probe is drawn last, over the others.
    for (index, row) in evaluation.detectors.iter().enumerate().rev() {
        let places: Vec<(f64, f64)> = row
            .roc
            .iter()
            .map(|[fpr, tpr]| (x.at(fpr.clamp(0.0, 1.0)), y.at(tpr.clamp(0.0, 1.0))))
            .collect();
        svg.open(
            "polyline",
            &[
                ("class", &format!("mark {}", series_class(index))),
                ("points", &points(&places)),
            ],
        );
        let title = format!("{}: AUROC {}", row.name, interval(&row.auroc));
        svg.element("title", &[], &title).close("polyline");
    }
    certified_point(&mut svg, evaluation, &x, &y);
    let description = format!(
        "ROC curves of {} detectors on honest and deceptive replies, with the probe's certified operating point",
        evaluation.detectors.len()
    );
    picture(
        "roc",
        HEIGHT,
        "Recall against false alarms",
        &description,
        &svg,
    )
}

/// Where the threshold from calibration controls falls among the honest and deceptive replies.
fn certified_point(svg: &mut Markup, evaluation: &Evaluation, x: &Scale, y: &Scale) {
    let point = probe_row(evaluation).and_then(headline);
    let rate =
        |share: Option<&candor_schema::Proportion>| share.and_then(candor_schema::Proportion::rate);
    let Some((point, fpr, tpr)) = point.and_then(|point| {
        let fpr = rate(point.false_alarms_honest.as_ref())?;
        Some((point, fpr, rate(point.recall.as_ref())?))
    }) else {
        return;
    };
    let title = format!(
        "threshold for a budget of {}: {} of deceptive and {} of honest replies flagged",
        percent(point.fpr_budget),
        percent(tpr),
        percent(fpr)
    );
    svg.open(
        "circle",
        &[
            ("class", "mark certified"),
            ("cx", &n(x.at(fpr))),
            ("cy", &n(y.at(tpr))),
            ("r", "6"),
        ],
    );
    svg.element("title", &[], &title).close("circle");
    let label = format!("threshold for {}", percent(point.fpr_budget));
    // On the right half there is more room to the left, and below the curve more than above.
    let (anchor, shift) = if fpr > 0.6 {
        ("end", -11.0)
    } else {
        ("start", 11.0)
    };
    let place = (x.at(fpr) + shift, y.at(tpr) + 16.0);
    text(svg, "note strong halo", anchor, place, &label);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::tests::example;

    #[test]
    fn every_detector_is_drawn_and_the_certified_point() {
        let evaluation = example();
        let svg = roc(&evaluation).into_string();
        assert_eq!(svg.matches("<polyline").count(), evaluation.detectors.len());
        assert_eq!(svg.matches("certified\"").count(), 1);
        assert!(svg.contains("class=\"mark series s0\""));
    }

    #[test]
    fn without_a_threshold_there_is_no_point() {
        let mut evaluation = example();
        evaluation.detectors[0].operating_points[0].recall = None;
        assert!(!roc(&evaluation).into_string().contains("certified\""));
    }

    #[test]
    fn points_that_are_not_numbers_do_not_reach_the_picture() {
        let mut evaluation = example();
        evaluation.detectors[0].roc[1] = [f64::NAN, f64::INFINITY];
        assert!(!roc(&evaluation).into_string().contains("NaN"));
    }

    #[test]
    fn the_probe_keeps_its_style_to_itself() {
        assert_eq!(series_class(0), "series s0");
        for index in 1..30 {
            assert_ne!(series_class(index), "series s0");
        }
    }
}
