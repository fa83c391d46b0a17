//! Replies with every token coloured by its logit.

use candor_schema::{Evaluation, TokenTrace};

use crate::colour::{limit, strength};
use crate::evaluation::threshold;
use crate::markup::Markup;
use crate::number::signed;

pub(crate) fn heat_maps(evaluation: &Evaluation) -> Markup {
    let mut html = Markup::new();
    if evaluation.traces.is_empty() {
        html.raw("<p>No replies were traced.</p>");
        return html;
    }
    let limit = limit_of(&evaluation.traces);
    html.piece(&legend(limit));
    for trace in &evaluation.traces {
        html.piece(&heat_map(trace, limit, threshold(evaluation)));
    }
    html
}

/// One scale for all replies of a page, or their colours could not be compared.
pub(crate) fn limit_of(traces: &[TokenTrace]) -> f64 {
    limit(
        traces
            .iter()
            .flat_map(|trace| trace.tokens.iter().map(|token| &token.logit)),
    )
}

fn legend(limit: f64) -> Markup {
    let mut html = Markup::new();
    html.raw("<p class=\"legend\"><span>less deceptive ")
        .text(&signed(-limit));
    html.raw("</span><span class=\"ramp\" role=\"img\" aria-label=\"blue for low logits, orange for high ones\"></span><span>");
    html.text(&signed(limit)).raw(" more deceptive</span><span><span class=\"token span\">underlined</span>: labelled span</span></p>");
    html
}

fn heat_map(trace: &TokenTrace, limit: f64, threshold: Option<f64>) -> Markup {
    let mut html = Markup::new();
    html.raw("<article class=\"trace\"><h3>")
        .text(trace.label.as_str());
    html.raw(" reply <code>")
        .text(&trace.id)
        .raw("</code></h3><p class=\"meta\">pooled logit <b>");
    html.text(&signed(trace.logit)).raw("</b>");
    if let Some(threshold) = threshold {
        let said = if trace.logit >= threshold {
            "flagged"
        } else {
            "not flagged"
        };
        html.text(&format!(
            " ({said}: the threshold is {})",
            signed(threshold)
        ));
    }
    html.raw("</p><blockquote>")
        .text(&trace.prompt)
        .raw("</blockquote><p class=\"tokens\">");
    for (index, token) in trace.tokens.iter().enumerate() {
        let strength = strength(token.logit, limit);
        let side = if strength < 0.0 {
            "token low"
        } else {
            "token high"
        };
        let class = if token.in_span {
            format!("{side} span")
        } else {
            side.to_owned()
        };
        let mut title = format!("token {index}: logit {}", signed(token.logit));
        if token.in_span {
            title.push_str(", in a labelled span");
        }
        let alpha = format!("--a:{:.2}", strength.abs());
        html.open(
            "span",
            &[("class", &class), ("style", &alpha), ("title", &title)],
        );
        // A line break has no width to colour, so it gets a sign before it.
        html.text(&token.text.replace('\n', "⏎\n")).close("span");
    }
    // A phone has no pointer to hover with, and print has none either.
    html.raw("</p><details><summary>logits as numbers</summary><p class=\"numbers\">");
    for token in &trace.tokens {
        html.raw("<span>")
            .element("span", &[("class", "word")], token.text.trim());
        html.raw(" ").text(&signed(token.logit)).raw("</span> ");
    }
    html.raw("</p></details></article>");
    html
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::tests::example;

    #[test]
    fn every_token_is_there_with_its_number() {
        let evaluation = example();
        let html = heat_maps(&evaluation).into_string();
        let n_tokens: usize = evaluation
            .traces
            .iter()
            .map(|trace| trace.tokens.len())
            .sum();
        assert_eq!(html.matches("title=\"token ").count(), n_tokens);
        assert!(html.contains("in a labelled span"));
        assert_eq!(
            html.matches("flagged: the threshold is").count(),
            evaluation.traces.len()
        );
    }

    #[test]
    fn low_and_high_logits_differ_in_class() {
        let mut evaluation = example();
        evaluation.traces.truncate(1);
        evaluation.traces[0].tokens.truncate(2);
        evaluation.traces[0].tokens[0].logit = -1.0;
        evaluation.traces[0].tokens[1].logit = f64::NAN;
        let html = heat_maps(&evaluation).into_string();
        assert!(html.contains("low"), "{html}");
        assert!(
            html.contains("--a:1.00") && html.contains("--a:0.00"),
            "{html}"
        );
        assert!(html.contains("token 1: logit —"), "{html}");
    }

    #[test]
    fn without_traces_the_page_says_so() {
        let mut evaluation = example();
        evaluation.traces.clear();
        assert!(
            heat_maps(&evaluation)
                .into_string()
                .contains("No replies were traced")
        );
    }
}
