//! The reliability curve: what the probe says beside what is so.

use candor_schema::Calibration;

use super::{Scale, WIDTH, line, n, picture, points, text, x_axis, y_axis};
use crate::markup::Markup;
use crate::number::{percent, proportion};

const HEIGHT: f64 = 400.0;

/// Share of deceptive replies by probability, with the interval of each bin.
pub(crate) fn reliability(calibration: &Calibration) -> Markup {
    let x = Scale::new(0.0, 1.0, 52.0, WIDTH - 12.0);
    let y = Scale::new(0.0, 1.0, HEIGHT - 46.0, 12.0);
    let mut svg = Markup::new();
    let along = (x.from.1, x.to.1);
    y_axis(&mut svg, &y, &y.ticks(5), along, "share that is deceptive");
    x_axis(
        &mut svg,
        &x,
        &x.ticks(5),
        y.from.1,
        "probability of deception",
    );
    line(
        &mut svg,
        "chance",
        (x.at(0.0), y.at(0.0)),
        (x.at(1.0), y.at(1.0)),
    );
    let place = (x.at(0.96), y.at(0.86));
    text(&mut svg, "note halo", "end", place, "perfect");
    let shown = calibration.bins.iter().filter_map(|bin| {
        let rate = bin.deceptive.rate()?;
        let at = (bin.probability.clamp(0.0, 1.0), rate.clamp(0.0, 1.0));
        bin.probability
            .is_finite()
            .then(|| (bin, (x.at(at.0), y.at(at.1))))
    });
    let shown: Vec<_> = shown.collect();
    let curve: Vec<(f64, f64)> = shown.iter().map(|(_, place)| *place).collect();
    svg.leaf(
        "polyline",
        &[("class", "series s0"), ("points", &points(&curve))],
    );
    for (bin, (cx, cy)) in shown {
        let ends = [bin.deceptive.low, bin.deceptive.high].map(|end| y.at(end.clamp(0.0, 1.0)));
        line(&mut svg, "mark series s1", (cx, ends[0]), (cx, ends[1]));
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
            "says {}, is {}",
            percent(bin.probability),
            proportion(Some(&bin.deceptive))
        );
        svg.element("title", &[], &title).close("circle");
    }
    let description = "share of deceptive replies in bins of equal mass by the probe's probability";
    picture("reliability", HEIGHT, "Reliability", description, &svg)
}

#[cfg(test)]
mod tests {
    use candor_schema::{Interval, Proportion, ReliabilityBin};

    use super::*;

    #[test]
    fn every_bin_has_a_dot_and_none_is_no_panic() {
        let bin = |probability, k| ReliabilityBin {
            probability,
            deceptive: Proportion {
                k,
                n: 10,
                low: 0.0,
                high: 0.9,
                level: 0.95,
            },
        };
        let interval = Interval {
            value: 0.1,
            low: 0.0,
            high: 0.2,
            level: 0.95,
        };
        let mut example = Calibration {
            ece: 0.1,
            ece_if_right: interval,
            brier: interval,
            brier_of_share: 0.25,
            bins: vec![bin(0.2, 1), bin(0.7, 6), bin(f64::NAN, 1)],
        };
        let svg = reliability(&example).into_string();
        assert_eq!(svg.matches("class=\"mark dot").count(), 2);
        assert!(svg.contains("(6/10)") && !svg.contains("NaN"), "{svg}");
        example.bins.clear();
        assert!(!reliability(&example).into_string().contains("NaN"));
    }
}
