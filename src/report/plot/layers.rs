//! How well each layer did on the validation split, and which one was chosen there.

use candor_schema::{Evaluation, LayerRow, Site};

use super::{Scale, WIDTH, line, n, picture, points, text, x_axis, y_axis};
use crate::markup::Markup;
use crate::number::interval;

const HEIGHT: f64 = 320.0;

pub(crate) fn layers(evaluation: &Evaluation) -> Markup {
    let rows = || {
        let finite = |row: &&LayerRow| row.validation_auroc.value.is_finite();
        evaluation.layers.iter().filter(finite)
    };
    let layer_of = |row: &LayerRow| row.hook_point.layer.0 as f64;
    let (first, last) = (
        rows().map(layer_of).fold(f64::INFINITY, f64::min),
        rows().map(layer_of).fold(0.0, f64::max),
    );
    let lowest = rows()
        .map(|row| row.validation_auroc.low)
        .fold(0.5, f64::min);
    let floor = ((lowest * 10.0).floor() / 10.0).clamp(0.0, 0.4);
    let x = Scale::new(first.min(last), last, 52.0, WIDTH - 12.0);
    let y = Scale::new(floor, 1.0, HEIGHT - 46.0, 24.0);

    let mut svg = Markup::new();
    y_axis(
        &mut svg,
        &y,
        &y.ticks(6),
        (x.from.1, x.to.1),
        "AUROC on validation",
    );
    // Layers are whole numbers, so their ticks are too.
    let ticks: Vec<f64> = x
        .ticks(8)
        .into_iter()
        .filter(|tick| tick.fract() == 0.0)
        .collect();
    x_axis(&mut svg, &x, &ticks, y.from.1, "layer");
    line(
        &mut svg,
        "chance",
        (x.from.1, y.at(0.5)),
        (x.to.1, y.at(0.5)),
    );
    text(
        &mut svg,
        "note halo",
        "end",
        (x.to.1, y.at(0.5) - 5.0),
        "chance",
    );

    for (index, site) in sites(evaluation).into_iter().enumerate() {
        let of_site: Vec<&LayerRow> = rows().filter(|row| row.hook_point.site == site).collect();
        let class = format!("s{}", index.min(6));
        draw(&mut svg, &class, &of_site, &x, &y);
    }
    for row in rows().filter(|row| row.chosen) {
        let (place, height) = (x.at(layer_of(row)), y.at(row.validation_auroc.value));
        line(&mut svg, "chosen", (place, y.to.1), (place, y.from.1));
        svg.open(
            "circle",
            &[
                ("class", "mark certified"),
                ("cx", &n(place)),
                ("cy", &n(height)),
                ("r", "6"),
            ],
        );
        let title = format!(
            "{}: {}, chosen",
            row.hook_point,
            interval(&row.validation_auroc)
        );
        svg.element("title", &[], &title).close("circle");
        let anchor = match place / WIDTH {
            share if share < 0.3 => "start",
            share if share > 0.7 => "end",
            _ => "middle",
        };
        let label = format!("chosen: layer {}", row.hook_point.layer.0);
        text(
            &mut svg,
            "note strong halo",
            anchor,
            (place, y.to.1 - 8.0),
            &label,
        );
    }
    let description =
        "AUROC on the validation split by layer, with its interval; the chosen layer is marked";
    picture("layers", HEIGHT, "AUROC by layer", description, &svg)
}

/// The sites of the sweep, in the order in which each first appears.
pub(crate) fn sites(evaluation: &Evaluation) -> Vec<Site> {
    let mut sites = Vec::new();
    for row in &evaluation.layers {
        if !sites.contains(&row.hook_point.site) {
            sites.push(row.hook_point.site);
        }
    }
    sites
}

/// One site's band, line and dots.
fn draw(svg: &mut Markup, class: &str, rows: &[&LayerRow], x: &Scale, y: &Scale) {
    let mut rows = rows.to_vec();
    rows.sort_by_key(|row| row.hook_point.layer);
    let along = |value: fn(&LayerRow) -> f64| -> Vec<(f64, f64)> {
        let place = |row: &&LayerRow| {
            (
                x.at(row.hook_point.layer.0 as f64),
                y.at(value(row).clamp(y.from.0, 1.0)),
            )
        };
        rows.iter().map(place).collect()
    };
    let mut outline = along(|row| row.validation_auroc.high);
    outline.extend(along(|row| row.validation_auroc.low).into_iter().rev());
    svg.leaf(
        "polygon",
        &[
            ("class", &format!("band {class}")),
            ("points", &points(&outline)),
        ],
    );
    let middle = along(|row| row.validation_auroc.value);
    svg.leaf(
        "polyline",
        &[
            ("class", &format!("series {class}")),
            ("points", &points(&middle)),
        ],
    );
    for (row, (cx, cy)) in rows.iter().zip(middle) {
        svg.open(
            "circle",
            &[
                ("class", &format!("mark dot {class}")),
                ("cx", &n(cx)),
                ("cy", &n(cy)),
                ("r", "3"),
            ],
        );
        let title = format!("{}: {}", row.hook_point, interval(&row.validation_auroc));
        svg.element("title", &[], &title).close("circle");
    }
}

#[cfg(test)]
mod tests {
    use candor_schema::HookPoint;

    use super::*;
    use crate::evaluation::tests::example;

    #[test]
    fn every_layer_has_a_dot_and_the_chosen_one_a_mark() {
        let evaluation = example();
        let svg = layers(&evaluation).into_string();
        assert_eq!(
            svg.matches("class=\"mark dot").count(),
            evaluation.layers.len()
        );
        assert_eq!(svg.matches("class=\"chosen\"").count(), 1);
        assert!(svg.contains("chosen: layer 17"));
    }

    #[test]
    fn each_site_is_a_line() {
        let mut evaluation = example();
        evaluation.layers[3].hook_point = HookPoint::new(3, Site::AttnOut);
        assert_eq!(
            layers(&evaluation)
                .into_string()
                .matches("class=\"band")
                .count(),
            2
        );
    }

    #[test]
    fn one_layer_or_none_is_no_panic() {
        let mut evaluation = example();
        evaluation.layers.truncate(1);
        assert!(!layers(&evaluation).into_string().contains("NaN"));
        evaluation.layers.clear();
        let svg = layers(&evaluation).into_string();
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }
}
