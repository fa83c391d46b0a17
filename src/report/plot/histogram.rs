//! Where the probe's logits lie, class by class.

use candor_schema::{Evaluation, Label};

use super::{Scale, WIDTH, line, n, picture, text, x_axis};
use crate::evaluation::{HEADLINE_BUDGET, split_scores, threshold};
use crate::markup::Markup;
use crate::number::{percent, signed};

const N_BINS: usize = 24;
const ROW: f64 = 96.0;
const TOP: f64 = 26.0;

/// One row of the plot.
struct Class {
    name: &'static str,
    style: &'static str,
    logits: Vec<f64>,
}

pub(crate) fn histogram(evaluation: &Evaluation) -> Markup {
    let classes = classes(evaluation);
    let threshold = threshold(evaluation);
    let bins = Bins::over(&classes, threshold);
    let bottom = TOP + ROW * classes.len() as f64;
    let x = Scale::new(
        bins.start,
        bins.start + bins.width * bins.n as f64,
        14.0,
        WIDTH - 14.0,
    );
    let highest = classes
        .iter()
        .flat_map(|class| bins.shares(&class.logits))
        .fold(0.0, f64::max);

    let mut svg = Markup::new();
    for (index, class) in classes.iter().enumerate() {
        let base = TOP + ROW * (index + 1) as f64;
        let y = Scale::new(0.0, highest.max(1e-9), base, base - ROW + 30.0);
        line(&mut svg, "grid", (x.from.1, base), (x.to.1, base));
        for (bin, share) in bins.shares(&class.logits).into_iter().enumerate() {
            if share <= 0.0 {
                continue;
            }
            let from = bins.start + bin as f64 * bins.width;
            let (left, right) = (x.at(from), x.at(from + bins.width));
            let n_in = (share * class.logits.len() as f64).round();
            svg.open(
                "rect",
                &[
                    ("class", &format!("mark {}", class.style)),
                    ("x", &n(left + 0.75)),
                    ("y", &n(y.at(share))),
                    ("width", &n((right - left - 1.5).max(0.5))),
                    ("height", &n(base - y.at(share))),
                ],
            );
            let title = format!(
                "{}: {n_in:.0} of {} with a logit from {} to {}",
                class.name,
                class.logits.len(),
                signed(from),
                signed(from + bins.width)
            );
            svg.element("title", &[], &title).close("rect");
        }
        let name = format!("{}, n = {}", class.name, class.logits.len());
        text(
            &mut svg,
            "note strong halo",
            "start",
            (x.from.1, base - ROW + 24.0),
            &name,
        );
        if let Some(threshold) = threshold {
            let n_flagged = class.logits.iter().filter(|l| **l >= threshold).count();
            let share = n_flagged as f64 / class.logits.len().max(1) as f64;
            let flagged = format!("{n_flagged} flagged ({})", percent(share));
            text(
                &mut svg,
                "note halo",
                "end",
                (x.to.1, base - ROW + 24.0),
                &flagged,
            );
        }
    }
    if let Some(threshold) = threshold {
        let place = x.at(threshold);
        line(&mut svg, "threshold", (place, TOP - 6.0), (place, bottom));
        let label = format!(
            "threshold {} ({} budget)",
            signed(threshold),
            percent(HEADLINE_BUDGET)
        );
        let anchor = match place / WIDTH {
            share if share < 0.3 => "start",
            share if share > 0.7 => "end",
            _ => "middle",
        };
        text(&mut svg, "note strong", anchor, (place, TOP - 11.0), &label);
    }
    x_axis(
        &mut svg,
        &x,
        &x.ticks(7),
        bottom,
        "logit of the reply (higher: more deceptive)",
    );
    let description = format!(
        "Histograms of the probe's logits on the {} split, one row per class, each as a share of its class",
        evaluation.split
    );
    picture(
        "histogram",
        bottom + 46.0,
        "Logits by class",
        &description,
        &svg,
    )
}

/// Honest, deceptive, controls, and everything else that is labelled, where there is any.
fn classes(evaluation: &Evaluation) -> Vec<Class> {
    let of = |wanted: &dyn Fn(Label) -> bool| {
        split_scores(evaluation)
            .filter(|score| wanted(score.label))
            .map(|score| score.logit)
            .collect()
    };
    let named = [
        Label::Honest,
        Label::Control,
        Label::Deceptive,
        Label::Ungraded,
    ];
    let mut classes = vec![
        Class {
            name: "honest",
            style: "honest",
            logits: of(&|l| l == Label::Honest),
        },
        Class {
            name: "control",
            style: "control",
            logits: of(&|l| l == Label::Control),
        },
        Class {
            name: "other hard negatives",
            style: "other",
            logits: of(&|l| !named.contains(&l)),
        },
        Class {
            name: "deceptive",
            style: "deceptive",
            logits: of(&|l| l == Label::Deceptive),
        },
    ];
    classes.retain(|class| !class.logits.is_empty());
    classes
}

/// Equal bins over all logits. The threshold is a border, so that no bar is half flagged.
struct Bins {
    start: f64,
    width: f64,
    n: usize,
}

impl Bins {
    #[expect(
        clippy::cast_sign_loss,
        reason = "`start` is not above `high`, so the quotient is not negative"
    )]
    fn over(classes: &[Class], threshold: Option<f64>) -> Self {
        let logits = || {
            let of_classes = classes.iter().flat_map(|class| class.logits.iter());
            of_classes.copied().chain(threshold)
        };
        let low = logits().fold(f64::INFINITY, f64::min);
        let high = logits().fold(f64::NEG_INFINITY, f64::max);
        if !(low.is_finite() && high > low) {
            let middle = if low.is_finite() { low } else { 0.0 };
            return Self {
                start: middle - 0.5,
                width: 1.0,
                n: 1,
            };
        }
        let width = (high - low) / N_BINS as f64;
        let border = threshold.unwrap_or(low);
        let start = border - ((border - low) / width).ceil() * width;
        let n = ((high - start) / width).floor() as usize + 1;
        Self { start, width, n }
    }

    #[expect(clippy::cast_sign_loss, reason = "`max(0.0)` stands before the cast")]
    fn shares(&self, logits: &[f64]) -> Vec<f64> {
        let mut shares = vec![0.0; self.n];
        for logit in logits {
            let bin = ((logit - self.start) / self.width).max(0.0) as usize;
            shares[bin.min(self.n - 1)] += 1.0 / logits.len() as f64;
        }
        shares
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::evaluation::tests::example;

    #[test]
    fn every_class_has_a_row_and_the_threshold_a_line() {
        let svg = histogram(&example()).into_string();
        for name in ["honest, n = 24", "deceptive, n = 24", "control, n = 40"] {
            assert!(svg.contains(name), "{name}");
        }
        assert_eq!(svg.matches("class=\"threshold\"").count(), 1);
    }

    #[test]
    fn hard_negatives_get_a_row_of_their_own() {
        let mut evaluation = example();
        evaluation.scores[0].label = Label::Fiction;
        assert!(
            histogram(&evaluation)
                .into_string()
                .contains("other hard negatives, n = 1")
        );
    }

    #[test]
    fn nothing_to_draw_is_no_panic() {
        let mut evaluation = example();
        evaluation.scores.clear();
        histogram(&evaluation);
        evaluation.detectors.clear();
        let svg = histogram(&evaluation).into_string();
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }

    proptest! {
        #[test]
        fn every_logit_is_in_one_bin(logits in proptest::collection::vec(-1e3_f64..1e3, 1..50), threshold in proptest::option::of(-1e3_f64..1e3)) {
            let class = Class { name: "honest", style: "honest", logits };
            let bins = Bins::over(std::slice::from_ref(&class), threshold);
            prop_assert!(bins.n <= N_BINS + 2);
            let sum: f64 = bins.shares(&class.logits).iter().sum();
            prop_assert!((sum - 1.0).abs() < 1e-9);
        }
    }
}
