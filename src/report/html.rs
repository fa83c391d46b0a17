//! The page.

use candor_schema::{DatasetSummary, Evaluation, LayerRow, LightColour, SplitCounts};

use crate::evaluation::{best_baseline, count, headline, probe_row};
use crate::markup::Markup;
use crate::number::{NONE, interval, proportion};
use crate::plot::divergence::divergence;
use crate::plot::histogram::histogram;
use crate::plot::layers::{layers, sites};
use crate::plot::reliability::reliability;
use crate::plot::roc::roc;
use crate::{heat_map, table, verdict};

const STYLE: &str = include_str!("style.css");

/// Layers that are listed beside their curve.
const N_BEST_LAYERS: usize = 5;

/// An evaluation as one HTML file that needs nothing else.
///
/// The page carries a content security policy that forbids scripts and every request, so even
/// text that got past the escaping could do nothing.
pub fn html(evaluation: &Evaluation) -> String {
    let mut page = Markup::new();
    page.raw(concat!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">",
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">",
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
        "<meta name=\"color-scheme\" content=\"light dark\">",
    ));
    let title = format!("{} on {}", evaluation.probe.name, evaluation.model.name);
    page.element("title", &[], &title);
    page.raw("<style>")
        .raw(STYLE)
        .raw("</style></head><body><main>\n");

    page.piece(&header(evaluation));
    page.piece(&lights(evaluation));
    page.piece(&caveats(evaluation));

    page.raw("\n<section><h2>Results</h2><p>")
        .text(&measured_on(evaluation))
        .raw("</p>");
    page.piece(&table::detectors(evaluation));
    page.raw("<p class=\"reading\">Counts stand in round brackets, intervals in square ones. A baseline is beaten only where the interval of <i>probe minus this</i> lies above 0.</p>");
    page.raw("<details><summary>How each detector was made</summary>");
    page.piece(&table::detector_notes(evaluation))
        .raw("</details>");
    page.raw("<h3>Thresholds</h3><p>Each threshold comes from ordinary traffic alone, never from the replies above: with the stated confidence, at most the budget of such traffic lies above it.</p>");
    page.piece(&table::operating_points(evaluation));
    if let Some(refits) = &evaluation.refits {
        page.raw("<h3>Another draw, another probe?</h3><p>The recipe at the probe's layer, fitted again on scenarios drawn with replacement from its training scenarios. Where two directions have little in common, the probe has learnt its scenarios.</p>");
        page.piece(&table::refits(refits));
    }
    if let Some(calibration) = &evaluation.calibration {
        page.raw("<h3>Calibration</h3><p>Probabilities hold for the mix of honest and deceptive replies that they were fitted on, not for ordinary traffic. The calibration error of few replies is above 0 even where every probability is right; beside it stands what chance alone would give.</p>");
        page.piece(&table::calibration(calibration));
    }
    page.raw("</section>\n");

    page.raw("\n<section><h2>Plots</h2><div class=\"plots\">");
    page.piece(&figure(
        "Recall against false alarms",
        "Every threshold of every detector. The ring is where the probe's certified threshold falls.",
        &roc(evaluation),
        &legend(evaluation),
    ));
    page.piece(&figure(
        "Logits by class",
        "The probe on the evaluated split, each row as a share of its class. Bars right of the line are flagged.",
        &histogram(evaluation),
        &Markup::new(),
    ));
    page.piece(&layer_figure(evaluation));
    if let Some(parting) = &evaluation.divergence {
        page.piece(&figure(
            "AUROC since the replies differ",
            "Pairs of an honest and a deceptive reply to one prompt, from the first token in which they differ. At 0 both have the same activations: anything but 0.5 there would be a leak.",
            &divergence(parting),
            &Markup::new(),
        ));
    }
    if let Some(calibration) = &evaluation.calibration {
        page.piece(&figure(
            "Reliability",
            "What the probe says and what is so, in at most 15 bins of equal mass, each with its interval. A perfect probe lies on the dotted line.",
            &reliability(calibration),
            &Markup::new(),
        ));
    }
    page.raw("</div>");
    if let Some(lead) = evaluation
        .divergence
        .as_ref()
        .and_then(|parting| parting.lead.as_ref())
    {
        page.raw("<h3>Before the lie is out</h3><p>Here a reply is flagged at the first token at which its running score passes the threshold, so the threshold is set on the largest running score of each ordinary reply.</p>");
        page.piece(&table::lead(lead));
    }
    page.raw("</section>\n");

    page.raw("\n<section><h2>Parts of the split</h2><p>The probe inside each part, the worst first. The dotted line is chance; <i>too few</i> stands where there are not enough scenarios for an interval.</p>");
    page.piece(&table::groups(evaluation)).raw("</section>\n");

    if !evaluation.hard_negatives.is_empty() {
        page.raw("\n<section><h2>Hard negatives</h2><p>Replies that look like deception and deceive nobody, the worst class first. What counts is the upper end of the interval.</p>");
        page.piece(&table::hard_negatives(evaluation))
            .raw("</section>\n");
    }

    page.raw("\n<section><h2>Token by token</h2><p>Colour is the probe's logit where the token is read. A single orange token is no lie: only the pooled logit is compared with a threshold.</p>");
    page.piece(&heat_map::heat_maps(evaluation))
        .raw("</section>\n");

    page.piece(&provenance(evaluation));
    page.raw("</main></body></html>\n");
    page.into_string()
}

fn header(evaluation: &Evaluation) -> Markup {
    let mut html = Markup::new();
    html.raw("<header><p class=\"kicker\">candor evaluation</p><h1>")
        .text(&evaluation.probe.name);
    html.raw(" <span class=\"on\">on ")
        .text(&evaluation.model.name);
    html.raw("</span></h1><p class=\"verdict\">")
        .text(&verdict::verdict(evaluation))
        .raw("</p>");
    let probe = probe_row(evaluation);
    let point = probe.and_then(headline);
    let best = best_baseline(evaluation);
    // No AUROC stands without a baseline's beside it.
    let best_name = best.map_or_else(
        || String::from("AUROC of the best baseline"),
        |row| format!("AUROC of {}, the best baseline", row.name),
    );
    html.raw("<dl class=\"tiles\">");
    for (name, value) in [
        (
            "AUROC of the probe",
            probe.map_or_else(|| NONE.to_owned(), |row| interval(&row.auroc)),
        ),
        (
            best_name.as_str(),
            best.map_or_else(|| NONE.to_owned(), |row| interval(&row.auroc)),
        ),
        (
            "recall at 5\u{a0}% false alarms",
            proportion(point.and_then(|p| p.recall.as_ref())),
        ),
        (
            "realised false alarms on test controls",
            proportion(point.and_then(|p| p.realised_fpr.as_ref())),
        ),
        (
            "false alarms on honest replies",
            proportion(point.and_then(|p| p.false_alarms_honest.as_ref())),
        ),
    ] {
        // The estimate is large, its counts and interval small beside it.
        let (estimate, rest) = value.split_once([' ']).unwrap_or((&value, ""));
        html.raw("<div>")
            .element("dt", &[], name)
            .raw("<dd>")
            .element("b", &[], estimate);
        html.raw(" ").element("span", &[], rest).raw("</dd></div>");
    }
    html.raw("</dl></header>\n");
    html
}

/// The checks for what fakes a result, those that fail first.
fn lights(evaluation: &Evaluation) -> Markup {
    let mut html = Markup::new();
    if evaluation.lights.is_empty() {
        return html;
    }
    let of = |colour: LightColour| {
        let lights = evaluation.lights.iter();
        lights.filter(move |light| light.colour == colour)
    };
    let (n_red, n_green) = (of(LightColour::Red).count(), of(LightColour::Green).count());
    html.raw("<section class=\"lights\"><h2>Can it be believed?</h2><p>")
        .text(&format!(
            "A probe may look good for reasons that have nothing to do with lies. Of {} checks for such reasons {n_green} pass, {n_red} fail, and {} could not be made on these data. Where one fails, read the numbers below as that.",
            evaluation.lights.len(),
            evaluation.lights.len() - n_red - n_green,
        ))
        .raw("</p><ul>");
    for (colour, class, word) in [
        (LightColour::Red, "red", "fails"),
        (LightColour::Green, "green", "passes"),
        (LightColour::Grey, "grey", "not measured"),
    ] {
        for light in of(colour) {
            html.open("li", &[("class", class)])
                .element("b", &[], &light.check)
                .raw(" ");
            html.element("span", &[("class", "light")], word).element(
                "span",
                &[("class", "found")],
                &light.found,
            );
            html.element("small", &[], &light.rule).close("li");
        }
    }
    html.raw("</ul></section>\n");
    html
}

fn caveats(evaluation: &Evaluation) -> Markup {
    let mut html = Markup::new();
    html.raw("<section class=\"caveats\"><h2>What this does not show</h2><ul>");
    for caveat in &evaluation.caveats {
        html.element("li", &[], caveat);
    }
    html.raw("<li>A flag is a suspicion to look into, not a finding that somebody lied.</li></ul></section>");
    html
}

fn measured_on(evaluation: &Evaluation) -> String {
    let (data, controls, split) = (&evaluation.dataset, &evaluation.controls, evaluation.split);
    let openings = evaluation.openings.sentence();
    let openings = openings.map_or_else(String::new, |sentence| format!(" {sentence}"));
    format!(
        "Measured on the {split} split of {}: {} replies in {} scenarios.{openings} Thresholds come from {} calibration scenarios \
         of ordinary traffic ({}) and are checked on {} others. Intervals resample whole scenarios; those of counts are Clopper–Pearson.",
        data.name,
        count(data.n_dialogues, split),
        count(data.n_scenarios, split),
        controls.n_scenarios.calibration,
        controls.name,
        count(controls.n_scenarios, split),
    )
}

/// A plot, and what it needs beside it: a legend or numbers, and a caption.
fn figure(title: &'static str, caption: &str, plot: &Markup, beside: &Markup) -> Markup {
    let mut html = Markup::new();
    html.raw("<figure><h3>").raw(title).raw("</h3>").piece(plot);
    html.raw("<div>").piece(beside);
    html.element("figcaption", &[], caption)
        .raw("</div></figure>");
    html
}

fn layer_figure(evaluation: &Evaluation) -> Markup {
    let sites: Vec<&str> = sites(evaluation)
        .iter()
        .map(|site| site.hook_name())
        .collect();
    let caption = format!(
        "A probe at each layer ({}), with its interval. The layer was chosen here, on validation, before the {} split was opened.",
        sites.join(", "),
        evaluation.split
    );
    figure(
        "AUROC by layer",
        &caption,
        &layers(evaluation),
        &best_layers(evaluation),
    )
}

/// The best layers as numbers: whether the peak is one layer's luck is seen from its neighbours.
fn best_layers(evaluation: &Evaluation) -> Markup {
    let mut rows: Vec<&LayerRow> = evaluation.layers.iter().collect();
    // Of equals the earlier layer, so that the order is always the same.
    rows.sort_by(|a, b| {
        let value = |row: &LayerRow| row.validation_auroc.value;
        value(b)
            .total_cmp(&value(a))
            .then(a.hook_point.cmp(&b.hook_point))
    });
    let mut html = Markup::new();
    html.raw("<ol class=\"best-layers\">");
    for row in rows.iter().take(N_BEST_LAYERS) {
        let name = row.hook_point.to_string();
        html.raw("<li>").element("code", &[], &name).raw(" ");
        html.piece(&table::parts(&interval(&row.validation_auroc)));
        if row.chosen {
            html.raw(" <b>chosen</b>");
        }
        html.raw("</li>");
    }
    html.raw("</ol>");
    html
}

fn legend(evaluation: &Evaluation) -> Markup {
    let mut html = Markup::new();
    html.raw("<ul class=\"series-legend\">");
    for (index, row) in evaluation.detectors.iter().enumerate() {
        html.raw("<li>")
            .piece(&table::swatch(index))
            .text(&row.name)
            .raw("</li>");
    }
    html.raw("</ul>");
    html
}

fn provenance(evaluation: &Evaluation) -> Markup {
    let mut html = Markup::new();
    html.raw(
        "\n<footer><h2>Where this comes from</h2><p>Run this to get the same numbers:</p><pre>",
    );
    html.text(&evaluation.command)
        .raw("</pre><dl class=\"facts\">");
    let fingerprint = &evaluation.model.fingerprint;
    let probe = &evaluation.probe;
    let hook_points: Vec<String> = probe.hook_points.iter().map(ToString::to_string).collect();
    let adapters: Vec<String> = fingerprint
        .adapters
        .iter()
        .map(|adapter| format!("{} × {}", adapter.sha256, adapter.scale))
        .collect();
    for (name, value) in [
        ("candor", evaluation.candor_version.clone()),
        ("seed", evaluation.seed.to_string()),
        (
            "probe",
            format!(
                "{} {}, {}, pooled by {}",
                probe.name, probe.version, probe.kind, probe.pooling
            ),
        ),
        ("reads", hook_points.join(", ")),
        (
            "model",
            format!(
                "{} ({}, {}, computed in {})",
                fingerprint.base,
                fingerprint.architecture,
                fingerprint.quantisation,
                fingerprint.compute
            ),
        ),
        ("weights SHA-256", fingerprint.weights_sha256.clone()),
        ("config SHA-256", fingerprint.config_sha256.clone()),
        ("tokenizer SHA-256", fingerprint.tokenizer_sha256.clone()),
        ("template SHA-256", fingerprint.template_sha256.clone()),
        (
            "adapters",
            if adapters.is_empty() {
                String::from("none")
            } else {
                adapters.join(", ")
            },
        ),
        ("format", evaluation.format_version.to_string()),
    ] {
        html.element("dt", &[], name).element("dd", &[], &value);
    }
    for (name, data) in [
        ("data", &evaluation.dataset),
        ("controls", &evaluation.controls),
    ] {
        html.element("dt", &[], name)
            .element("dd", &[], &data_line(data));
    }
    html.raw("</dl></footer>\n");
    html
}

fn data_line(data: &DatasetSummary) -> String {
    let counts = |counts: SplitCounts| {
        format!(
            "{} train, {} validation, {} calibration, {} test",
            counts.train, counts.validation, counts.calibration, counts.test
        )
    };
    format!(
        "{}; dialogues: {}; scenarios: {}; SHA-256 {}",
        data.name,
        counts(data.n_dialogues),
        counts(data.n_scenarios),
        data.sha256
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::tests::example;

    #[test]
    fn caveats_come_before_results_and_plots() {
        let page = html(&example());
        let place = |text: &str| page.find(text).unwrap();
        assert!(place("What this does not show") < place("<h2>Results"));
        assert!(place("class=\"verdict\"") < place("What this does not show"));
        assert!(place("<h2>Results") < place("id=\"roc\""));
        for caveat in &example().caveats {
            assert!(page.contains(&caveat.replace('\'', "&#39;")));
        }
    }

    #[test]
    fn calibration_and_refits_are_shown_where_they_were_measured() {
        let mut evaluation = example();
        let page = html(&evaluation);
        for part in [
            "<h3>Calibration",
            "id=\"reliability\"",
            "Fitted on other draws",
        ] {
            assert!(page.contains(part), "{part}");
        }
        (evaluation.calibration, evaluation.refits) = (None, None);
        let page = html(&evaluation);
        for part in [
            "<h3>Calibration",
            "id=\"reliability\"",
            "Fitted on other draws",
        ] {
            assert!(!page.contains(part), "{part}");
        }
    }

    #[test]
    fn the_page_says_where_it_comes_from() {
        let evaluation = example();
        let page = html(&evaluation);
        for fact in [
            &evaluation.command,
            &evaluation.dataset.sha256,
            &evaluation.controls.sha256,
            &evaluation.model.fingerprint.weights_sha256,
            &evaluation.model.fingerprint.template_sha256,
        ] {
            assert!(page.contains(fact.as_str()), "{fact}");
        }
    }

    #[test]
    fn the_page_loads_nothing() {
        let page = html(&example());
        for foreign in [
            "http://", "https://", "<script", "<link", "<img", "url(", "@import", "src=",
        ] {
            // The security policy itself names `default-src`.
            assert!(!page.replace("-src ", "").contains(foreign), "{foreign}");
        }
    }

    #[test]
    fn an_evaluation_without_anything_is_a_page_without_anything() {
        let mut evaluation = example();
        evaluation.detectors.clear();
        evaluation.layers.clear();
        evaluation.groups.clear();
        evaluation.scores.clear();
        evaluation.traces.clear();
        evaluation.caveats.clear();
        let page = html(&evaluation);
        assert!(page.contains("holds no probe") && !page.contains("NaN"));
    }
}
