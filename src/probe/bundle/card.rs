//! The model card of a bundle, `README.md`.

use std::fmt::Write;

use candor_schema::{DetectorKind, DetectorRow, Evaluation, Interval, OperatingPoint, Proportion};

use super::config::{BundleConfig, Target};

/// How many of the weakest groups the card names.
const N_WEAKEST: usize = 5;

/// The card in Markdown, with the front matter that Hugging Face's hub reads.
pub(super) fn card(config: &BundleConfig, sha256: &str, evaluation: Option<&Evaluation>) -> String {
    let mut out = String::new();
    write_card(&mut out, config, sha256, evaluation).expect("writing to a string cannot fail");
    out
}

fn write_card(
    out: &mut String,
    config: &BundleConfig,
    sha256: &str,
    evaluation: Option<&Evaluation>,
) -> std::fmt::Result {
    writeln!(
        out,
        "---\nlibrary_name: candor\ntags:\n- lie-detection\n- linear-probe\n---\n"
    )?;
    writeln!(out, "# {}\n", text(&config.name))?;
    let targets: Vec<&str> = config.targets.iter().map(|t| target(*t)).collect();
    writeln!(
        out,
        "A linear probe for {} in the residual stream of `{}`, version {}. It says how much the activations of a reply look like those of its training examples, and nothing about guilt.\n",
        targets.join(" and "),
        code(&config.model),
        text(&config.version)
    )?;
    writeln!(
        out,
        "**It must not be used as a training reward.** A model trained against a probe learns to hide from it, and then nothing is left to see with.\n"
    )?;
    what_it_reads(out, config, sha256)?;
    if let Some(evaluation) = evaluation {
        how_good(out, evaluation)?;
        thresholds(out, config, evaluation)?;
        failures(out, evaluation)?;
    } else {
        writeln!(out, "## Evaluation\n\nNot evaluated. Do not rely on it.\n")?;
        certified(out, config)?;
    }
    how_made(out, config)
}

fn what_it_reads(out: &mut String, config: &BundleConfig, sha256: &str) -> std::fmt::Result {
    let points: Vec<String> = config
        .hook_points
        .iter()
        .map(|p| format!("`{p}`"))
        .collect();
    let fingerprint = &config.fingerprint;
    writeln!(out, "## What it reads\n\n| | |\n|---|---|")?;
    writeln!(out, "| model | {} |", text(&config.model))?;
    writeln!(
        out,
        "| weights | {}, {}, computed in {}, SHA-256 `{}` |",
        text(&fingerprint.base),
        text(&fingerprint.quantisation),
        text(&fingerprint.compute),
        code(&fingerprint.weights_sha256)
    )?;
    writeln!(out, "| hook points | {} |", points.join(", "))?;
    writeln!(out, "| fitted by | {} |", text(&config.kind))?;
    writeln!(out, "| pooling | {} |", text(&config.pooling))?;
    writeln!(out, "| tensors | SHA-256 `{sha256}` |\n")
}

fn how_good(out: &mut String, evaluation: &Evaluation) -> std::fmt::Result {
    writeln!(out, "## How good it is\n")?;
    writeln!(
        out,
        "Measured on the `{}` split of `{}` ({} dialogues in {} scenarios), honest against deceptive replies. Intervals are 95 % bootstraps over scenarios.\n",
        evaluation.split,
        code(&evaluation.dataset.name),
        count(evaluation, |counts| counts.0),
        count(evaluation, |counts| counts.1),
    )?;
    if let Some(openings) = evaluation.openings.sentence() {
        writeln!(out, "{}\n", text(&openings))?;
    }
    writeln!(
        out,
        "| detector | reads | AUROC | probe minus this |\n|---|---|---|---|"
    )?;
    for row in &evaluation.detectors {
        let difference = row.probe_minus_this.as_ref().map(interval);
        writeln!(
            out,
            "| {} | {} | {} | {} |",
            text(&row.name),
            reads(row.kind),
            interval(&row.auroc),
            difference.unwrap_or_default()
        )?;
    }
    writeln!(out)?;
    for row in &evaluation.detectors {
        writeln!(out, "- **{}**: {}", text(&row.name), text(&row.description))?;
    }
    writeln!(out)
}

fn count(evaluation: &Evaluation, part: impl Fn((usize, usize)) -> usize) -> usize {
    let (dialogues, scenarios) = (
        &evaluation.dataset.n_dialogues,
        &evaluation.dataset.n_scenarios,
    );
    part(match evaluation.split {
        candor_schema::Split::Train => (dialogues.train, scenarios.train),
        candor_schema::Split::Validation => (dialogues.validation, scenarios.validation),
        candor_schema::Split::Calibration => (dialogues.calibration, scenarios.calibration),
        candor_schema::Split::Test => (dialogues.test, scenarios.test),
    })
}

fn thresholds(
    out: &mut String,
    config: &BundleConfig,
    evaluation: &Evaluation,
) -> std::fmt::Result {
    certified(out, config)?;
    let Some(probe) = probe_row(evaluation) else {
        return Ok(());
    };
    writeln!(
        out,
        "| budget | confidence | threshold | false alarms on `{}` | deceptive replies flagged | honest replies to the same prompts flagged |\n|---|---|---|---|---|---|",
        code(&evaluation.controls.name)
    )?;
    for point in &probe.operating_points {
        writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} |",
            percent(point.fpr_budget),
            percent(point.confidence),
            threshold_or_note(point),
            share(point.realised_fpr.as_ref()),
            share(point.recall.as_ref()),
            share(point.false_alarms_honest.as_ref())
        )?;
    }
    writeln!(out)
}

fn certified(out: &mut String, config: &BundleConfig) -> std::fmt::Result {
    writeln!(out, "## Threshold\n")?;
    match &config.threshold {
        Some(threshold) => writeln!(
            out,
            "Flags at a logit of {:.4} or more. With confidence {}, at most {} of ordinary replies are flagged, as long as they are like the {} control scenarios of `{}` that the threshold was chosen on. On other traffic its promise does not hold: certify a threshold on that traffic's own ordinary replies with `candor train --controls` first.\n",
            threshold.logit,
            percent(1.0 - threshold.delta),
            percent(threshold.fpr_budget),
            threshold.n,
            code(&threshold.calibrated_on)
        ),
        None => writeln!(
            out,
            "None is certified: it never flags. `candor train --controls` certifies one on ordinary replies.\n"
        ),
    }
}

fn failures(out: &mut String, evaluation: &Evaluation) -> std::fmt::Result {
    writeln!(out, "## Known failures\n")?;
    let mut lines = Vec::new();
    for row in &evaluation.detectors {
        if let Some(difference) = &row.probe_minus_this
            && difference.low <= 0.0
        {
            lines.push(format!(
                "Cannot be told from {} by AUROC: the difference is {}.",
                text(&row.name),
                interval(difference)
            ));
        }
    }
    if let Some(probe) = probe_row(evaluation) {
        lines.extend(probe.operating_points.iter().filter_map(budget_failure));
    }
    let mut groups: Vec<_> = evaluation.groups.iter().collect();
    groups.sort_by(|a, b| a.auroc.value.total_cmp(&b.auroc.value));
    for group in groups.into_iter().take(N_WEAKEST) {
        lines.push(format!(
            "Among the weakest: {} {}, AUROC {} on {} scenarios.",
            text(&group.by),
            text(&group.group),
            interval(&group.auroc),
            group.n_scenarios
        ));
    }
    lines.extend(evaluation.caveats.iter().map(|caveat| text(caveat)));
    if lines.is_empty() {
        lines.push("None was looked for beyond the table above.".into());
    }
    for line in lines {
        writeln!(out, "- {line}")?;
    }
    writeln!(out)
}

fn budget_failure(point: &OperatingPoint) -> Option<String> {
    let realised = point.realised_fpr.as_ref()?;
    (realised.low > point.fpr_budget).then(|| {
        format!(
            "Does not keep its budget of {}: {} of the controls are flagged.",
            percent(point.fpr_budget),
            share(Some(realised))
        )
    })
}

fn how_made(out: &mut String, config: &BundleConfig) -> std::fmt::Result {
    writeln!(out, "## How it was made\n")?;
    writeln!(
        out,
        "candor {}, seed {}:\n\n```sh\n{}\n```\n",
        text(&config.candor_version),
        config.seed,
        config.command.replace("```", "` ` `").trim()
    )?;
    if config.data.is_empty() {
        return Ok(());
    }
    writeln!(out, "| data | SHA-256 |\n|---|---|")?;
    for (name, sha256) in &config.data {
        writeln!(out, "| {} | `{}` |", text(name), code(sha256))?;
    }
    Ok(())
}

fn probe_row(evaluation: &Evaluation) -> Option<&DetectorRow> {
    let is_probe = |row: &&DetectorRow| row.kind == DetectorKind::Probe;
    evaluation.detectors.iter().find(is_probe)
}

fn threshold_or_note(point: &OperatingPoint) -> String {
    match (point.threshold, &point.note) {
        (Some(threshold), _) => format!("{threshold:.4}"),
        (None, Some(note)) => text(note),
        (None, None) => "none".into(),
    }
}

fn target(target: Target) -> &'static str {
    match target {
        Target::Deception => "deception",
        Target::HarmfulIntent => "harmful intent",
    }
}

fn reads(kind: DetectorKind) -> &'static str {
    match kind {
        DetectorKind::Probe | DetectorKind::HeldOut | DetectorKind::Refit => "activations",
        DetectorKind::Rival => "the reply, from outside",
        DetectorKind::OtherModel => "another model's activations",
        DetectorKind::Text => "words",
        DetectorKind::Surface => "length and punctuation",
        DetectorKind::Prompt => "what was asked",
        DetectorKind::Surprise => "the model's surprise",
        DetectorKind::Null => "nothing",
    }
}

fn interval(interval: &Interval) -> String {
    format!(
        "{:.3} [{:.3}, {:.3}]",
        interval.value, interval.low, interval.high
    )
}

fn percent(rate: f64) -> String {
    // Rounded first: 1 − 0.05 is not exactly 0.95.
    let rounded = (rate * 1e6).round() / 1e4;
    format!("{rounded} %")
}

fn share(proportion: Option<&Proportion>) -> String {
    let Some(proportion) = proportion else {
        return "not measured".into();
    };
    match proportion.rate() {
        Some(rate) => format!(
            "{:.1} % ({}/{}; [{:.1}, {:.1}])",
            rate * 100.0,
            proportion.k,
            proportion.n,
            proportion.low * 100.0,
            proportion.high * 100.0
        ),
        None => "no cases".into(),
    }
}

/// Text on one line that cannot open a table cell, a tag, a link or emphasis.
fn text(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    for c in raw.chars() {
        match c {
            '\\' | '|' | '<' | '>' | '[' | ']' | '*' | '`' => out.extend(['\\', c]),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// Text inside a code span of a table cell.
fn code(raw: &str) -> String {
    raw.chars()
        .map(|c| {
            if c == '`' || c == '|' || c.is_control() {
                ' '
            } else {
                c
            }
        })
        .collect()
}
