//! What the probe knows as the replies to one prompt go apart.

use candor_schema::{Divergence, DivergencePoint};

use super::{Scale, WIDTH, line, n, picture, points, text, x_axis, y_axis};
use crate::markup::Markup;
use crate::number::interval;

const HEIGHT: f64 = 320.0;

/// AUROC by tokens since the replies differ; powers of two stand at equal distances.
pub(crate) fn divergence(divergence: &Divergence) -> Markup {
    let shown: Vec<&DivergencePoint> = divergence
        .points
        .iter()
        .filter(|point| point.auroc.value.is_finite())
        .collect();
    let place_of = |n_tokens: usize| (n_tokens as f64 + 1.0).log2();
    let last = shown.iter().map(|point| place_of(point.n_tokens));
    let lowest = shown
        .iter()
        .map(|point| point.auroc.low)
        .fold(0.5, f64::min);
    let floor = ((lowest * 10.0).floor() / 10.0).clamp(0.0, 0.4);
    let x = Scale::new(0.0, last.fold(1.0, f64::max), 52.0, WIDTH - 12.0);
    let y = Scale::new(floor, 1.0, HEIGHT - 46.0, 24.0);

    let mut svg = Markup::new();
    y_axis(&mut svg, &y, &y.ticks(6), (x.from.1, x.to.1), "AUROC");
    x_axis(
        &mut svg,
        &x,
        &[],
        y.from.1,
        "tokens since the replies differ",
    );
    let chance = y.at(0.5);
    line(&mut svg, "chance", (x.from.1, chance), (x.to.1, chance));
    text(
        &mut svg,
        "note halo",
        "end",
        (x.to.1, chance - 5.0),
        "chance",
    );
    let along = |value: fn(&DivergencePoint) -> f64| -> Vec<(f64, f64)> {
        let place = |point: &&DivergencePoint| {
            let height = value(point).clamp(y.from.0, 1.0);
            (x.at(place_of(point.n_tokens)), y.at(height))
        };
        shown.iter().map(place).collect()
    };
    let mut outline = along(|point| point.auroc.high);
    outline.extend(along(|point| point.auroc.low).into_iter().rev());
    let middle = along(|point| point.auroc.value);
    svg.leaf(
        "polygon",
        &[("class", "band s0"), ("points", &points(&outline))],
    );
    svg.leaf(
        "polyline",
        &[("class", "series s0"), ("points", &points(&middle))],
    );
    for (point, (cx, cy)) in shown.iter().zip(middle) {
        svg.open(
            "circle",
            &[
                ("class", "mark dot s0"),
                ("cx", &n(cx)),
                ("cy", &n(cy)),
                ("r", "3"),
            ],
        );
        let title = format!(
            "{} tokens, {} pairs: {}",
            point.n_tokens,
            point.n_pairs,
            interval(&point.auroc)
        );
        svg.element("title", &[], &title).close("circle");
        let label = point.n_tokens.to_string();
        text(&mut svg, "tick", "middle", (cx, y.from.1 + 16.0), &label);
    }
    let description =
        "AUROC of the running score by tokens since the honest and the deceptive reply differ";
    picture(
        "divergence",
        HEIGHT,
        "AUROC since the replies differ",
        description,
        &svg,
    )
}

#[cfg(test)]
mod tests {
    use candor_schema::Interval;

    use super::*;

    #[test]
    fn every_point_has_a_dot_and_none_is_no_panic() {
        let point = |n_tokens, value| DivergencePoint {
            n_tokens,
            n_pairs: 12,
            auroc: Interval {
                value,
                low: value - 0.1,
                high: value + 0.1,
                level: 0.95,
            },
        };
        let mut example = Divergence {
            points: vec![point(0, 0.5), point(1, 0.6), point(8, 0.8)],
            lead: None,
        };
        let svg = divergence(&example).into_string();
        assert_eq!(svg.matches("class=\"mark dot").count(), 3);
        assert!(svg.contains("8 tokens, 12 pairs: 0.80 [0.70, 0.90]"));
        example.points.clear();
        assert!(!divergence(&example).into_string().contains("NaN"));
    }
}
