//! Inline SVG plots.
//!
//! Drawn here rather than by plotters: its SVG writes every colour into every element, so it cannot
//! follow light and dark through CSS variables, and it has no `<title>` per mark, no class to style
//! and no `aria` label. Five plots need little more than an axis.

pub(crate) mod divergence;
pub(crate) mod histogram;
pub(crate) mod layers;
pub(crate) mod reliability;
pub(crate) mod roc;

use crate::markup::Markup;

/// Width of every plot, in its own units. Narrow, so that text stays readable on a phone, where
/// the whole picture is scaled to the screen.
const WIDTH: f64 = 420.0;

/// Where values lie on one axis.
#[derive(Debug, Clone, Copy)]
struct Scale {
    /// Value and place of the near end.
    from: (f64, f64),
    /// Value and place of the far end.
    to: (f64, f64),
}

impl Scale {
    /// Values from `low` to `high` onto places from `start` to `end`.
    fn new(low: f64, high: f64, start: f64, end: f64) -> Self {
        Self {
            from: (low, start),
            to: (high, end),
        }
    }

    fn at(&self, value: f64) -> f64 {
        let span = self.to.0 - self.from.0;
        let share = if span == 0.0 {
            0.5
        } else {
            (value - self.from.0) / span
        };
        self.from.1 + share * (self.to.1 - self.from.1)
    }

    /// Round values inside the scale, about `n` of them.
    fn ticks(&self, n: usize) -> Vec<f64> {
        let step = nice_step((self.to.0 - self.from.0) / n.max(1) as f64);
        let first = (self.from.0 / step - 1e-9).ceil();
        (0..=4 * n)
            .map(|index| (first + index as f64) * step)
            .take_while(|value| *value <= self.to.0 + 1e-9 * step)
            // Adding 0 turns the `-0` that rounding may leave into `0`.
            .map(|value| value + 0.0)
            .collect()
    }
}

/// The step of the form 1, 2 or 5 times a power of ten that is not below `step`.
fn nice_step(step: f64) -> f64 {
    if !step.is_finite() || step <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf(step.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|nice| *nice >= step * (1.0 - 1e-9))
        .unwrap_or(10.0 * power)
}

/// A tick's label: as few decimals as the step needs.
#[expect(clippy::cast_sign_loss, reason = "clamped to what is not negative")]
fn tick_label(value: f64, step: f64) -> String {
    let decimals = (-step.log10().floor()).clamp(0.0, 4.0) as usize;
    format!("{value:.decimals$}").replace('-', "−")
}

/// A number in an SVG attribute: what is finer than a hundredth of a unit cannot be seen.
fn n(value: f64) -> String {
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0" } else { text }.to_owned()
}

/// An SVG document in a page, with what a screen reader says about it.
///
/// `id` is unique on the page. `body` is what is drawn.
fn picture(id: &'static str, height: f64, title: &str, description: &str, body: &Markup) -> Markup {
    let (title_id, description_id) = (format!("{id}-title"), format!("{id}-description"));
    let mut svg = Markup::new();
    svg.open(
        "svg",
        &[
            ("id", id),
            ("class", "plot"),
            ("viewBox", &format!("0 0 {} {}", n(WIDTH), n(height))),
            ("role", "img"),
            ("aria-labelledby", &format!("{title_id} {description_id}")),
        ],
    );
    svg.element("title", &[("id", &title_id)], title);
    svg.element("desc", &[("id", &description_id)], description);
    svg.piece(body).close("svg");
    svg
}

fn line(svg: &mut Markup, class: &str, from: (f64, f64), to: (f64, f64)) {
    svg.leaf(
        "line",
        &[
            ("class", class),
            ("x1", &n(from.0)),
            ("y1", &n(from.1)),
            ("x2", &n(to.0)),
            ("y2", &n(to.1)),
        ],
    );
}

/// Text whose anchor is `start`, `middle` or `end`.
fn text(svg: &mut Markup, class: &str, anchor: &str, at: (f64, f64), words: &str) {
    svg.element(
        "text",
        &[
            ("class", class),
            ("text-anchor", anchor),
            ("x", &n(at.0)),
            ("y", &n(at.1)),
        ],
        words,
    );
}

/// `x,y x,y …` for a line through points; points that are not numbers are left out.
fn points(of: &[(f64, f64)]) -> String {
    let written: Vec<String> = of
        .iter()
        .filter(|(x, y)| x.is_finite() && y.is_finite())
        .map(|(x, y)| format!("{},{}", n(*x), n(*y)))
        .collect();
    written.join(" ")
}

/// The x axis below the drawing, with its ticks and its name.
fn x_axis(svg: &mut Markup, scale: &Scale, ticks: &[f64], y: f64, name: &str) {
    line(svg, "axis", (scale.from.1, y), (scale.to.1, y));
    let step = ticks.windows(2).map(|pair| pair[1] - pair[0]).next();
    for tick in ticks {
        let x = scale.at(*tick);
        line(svg, "axis", (x, y), (x, y + 4.0));
        let label = tick_label(*tick, step.unwrap_or(1.0));
        text(svg, "tick", "middle", (x, y + 17.0), &label);
    }
    let middle = f64::midpoint(scale.from.1, scale.to.1);
    text(svg, "axis-name", "middle", (middle, y + 36.0), name);
}

/// The y axis left of the drawing, with grid lines up to `right`.
fn y_axis(svg: &mut Markup, scale: &Scale, ticks: &[f64], (x, right): (f64, f64), name: &str) {
    let step = ticks.windows(2).map(|pair| pair[1] - pair[0]).next();
    for tick in ticks {
        let y = scale.at(*tick);
        line(svg, "grid", (x, y), (right, y));
        let label = tick_label(*tick, step.unwrap_or(1.0));
        text(svg, "tick", "end", (x - 6.0, y + 4.0), &label);
    }
    let middle = f64::midpoint(scale.from.1, scale.to.1);
    svg.element(
        "text",
        &[
            ("class", "axis-name"),
            ("text-anchor", "middle"),
            (
                "transform",
                &format!("translate(13 {}) rotate(-90)", n(middle)),
            ),
        ],
        name,
    );
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ticks_are_round() {
        let scale = Scale::new(0.0, 1.0, 0.0, 100.0);
        let labels: Vec<String> = scale.ticks(5).iter().map(|t| tick_label(*t, 0.2)).collect();
        assert_eq!(labels, ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        let scale = Scale::new(-3.2, 4.1, 0.0, 100.0);
        let labels: Vec<String> = scale.ticks(6).iter().map(|t| tick_label(*t, 2.0)).collect();
        assert_eq!(labels, ["−2", "0", "2", "4"]);
    }

    #[test]
    fn numbers_are_short() {
        for (value, expected) in [(1.0, "1"), (1.256, "1.26"), (-0.001, "0"), (100.0, "100")] {
            assert_eq!(n(value), expected);
        }
        assert_eq!(
            points(&[(1.0, 2.0), (f64::NAN, 1.0), (0.5, 3.0)]),
            "1,2 0.5,3"
        );
    }

    proptest! {
        #[test]
        fn any_range_has_a_few_ticks_inside(low in -1e6_f64..1e6, width in 1e-6_f64..1e6, wanted in 2_usize..9) {
            let scale = Scale::new(low, low + width, 0.0, 300.0);
            let ticks = scale.ticks(wanted);
            prop_assert!(ticks.len() <= wanted + 1);
            for tick in ticks {
                prop_assert!((-0.1..=300.1).contains(&scale.at(tick)));
            }
        }
    }
}
