//! `candor score`: one reply, as a heat map or as a verdict in JSON.

use std::io::Read;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context;
use candor_detect::{Detail, Provenance, ReadOptions, ScoreInput};
use candor_schema::{Message, OnPolicy, Timing, Verdict, VerdictKind};

use crate::args::{ModelArgs, ProbeArgs, open_detector};
use crate::exit::{Exit, Failure};
use crate::{heat_map, output};

/// Largest file of messages, in bytes.
const MAX_INPUT: u64 = 16 << 20;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// JSON file with `[{"role", "content"}, …]` or `{"messages": […]}`; `-` reads standard input
    #[arg(long, env = "CANDOR_MESSAGES", conflicts_with_all = ["prompt", "response", "user", "reply"])]
    messages: Option<PathBuf>,
    /// The user's turn of a chat
    #[arg(
        long,
        env = "CANDOR_USER",
        requires = "reply",
        conflicts_with = "prompt"
    )]
    user: Option<String>,
    /// The assistant's turn of a chat, which is scored
    #[arg(long, env = "CANDOR_REPLY", requires = "user")]
    reply: Option<String>,
    /// The system turn of a chat
    #[arg(long, env = "CANDOR_SYSTEM", requires = "user")]
    system: Option<String>,
    /// Plain text before the response, without a chat template
    #[arg(long, env = "CANDOR_PROMPT", requires = "response")]
    prompt: Option<String>,
    /// Plain text that is scored
    #[arg(long, env = "CANDOR_RESPONSE")]
    response: Option<String>,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    probes: ProbeArgs,
    /// Print the verdict as JSON
    #[arg(long, env = "CANDOR_JSON")]
    json: bool,
    /// Leave token texts out of the JSON
    #[arg(long, env = "CANDOR_NO_TEXT")]
    no_text: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let input = input(args)?;
    let detector = open_detector(&args.model, &args.probes)?;
    let start = Instant::now();
    let source = input.source();
    let scored = detector
        .read(&[input], detector.probes(), ReadOptions::default())
        .remove(0)?;
    let elapsed = start.elapsed().as_secs_f64() * 1e3;
    let timing = Timing {
        queue: 0.0,
        inference: elapsed,
        total: elapsed,
    };
    let provenance = Provenance {
        source,
        on_policy: OnPolicy::Unknown,
        exact: true,
    };
    let detail = Detail {
        tokens: true,
        texts: !(args.json && args.no_text),
        readings: true,
    };
    let verdict = detector.verdict(&scored, provenance, detail, timing);
    if args.json {
        output::line(serde_json::to_string_pretty(&verdict)?);
    } else {
        show(&verdict);
    }
    Ok(())
}

fn input(args: &Args) -> anyhow::Result<ScoreInput> {
    if let Some(path) = &args.messages {
        let mut text = String::new();
        if path.as_os_str() == "-" {
            std::io::stdin()
                .take(MAX_INPUT)
                .read_to_string(&mut text)
                .context("cannot read standard input")?;
        } else {
            let file = std::fs::File::open(path)
                .with_context(|| format!("cannot open `{}`", path.display()))?;
            file.take(MAX_INPUT)
                .read_to_string(&mut text)
                .with_context(|| format!("cannot read `{}`", path.display()))?;
        }
        let value: serde_json::Value =
            serde_json::from_str(&text).map_err(|error| not_messages(path, &error))?;
        let list = value.get("messages").cloned().unwrap_or(value);
        let messages: Vec<Message> =
            serde_json::from_value(list).map_err(|error| not_messages(path, &error))?;
        return Ok(ScoreInput::Messages(messages));
    }
    if let (Some(user), Some(reply)) = (&args.user, &args.reply) {
        use candor_schema::Role::{Assistant, System, User};
        let system = args.system.iter().map(|text| Message::new(System, text));
        let turns = [Message::new(User, user), Message::new(Assistant, reply)];
        return Ok(ScoreInput::Messages(system.chain(turns).collect()));
    }
    if let Some(response) = &args.response {
        return Ok(ScoreInput::Text {
            prompt: args.prompt.clone().unwrap_or_default(),
            response: response.clone(),
        });
    }
    Err(Failure::error(
        Exit::Usage,
        "nothing to score",
        "give `--user` and `--reply`, `--messages FILE`, or `--prompt` and `--response`",
    ))
}

fn not_messages(path: &std::path::Path, error: &serde_json::Error) -> anyhow::Error {
    Failure::error(
        Exit::BadInput,
        format!("`{}` is not a list of messages: {error}", path.display()),
        "write [{\"role\": \"user\", \"content\": \"…\"}, {\"role\": \"assistant\", \"content\": \"…\"}]",
    )
}

/// Shows a verdict with its tokens.
pub(crate) fn show(verdict: &Verdict) {
    for probe in &verdict.probes {
        let tokens = probe.tokens.as_deref().unwrap_or_default();
        let cells: Vec<heat_map::Cell<'_>> = tokens
            .iter()
            .filter_map(|token| Some((token.text.as_deref()?, token.logit?)))
            .collect();
        let limit = heat_map::limit(cells.iter().map(|cell| cell.1));
        for line in heat_map::lines(&cells, limit) {
            output::line(line);
        }
        output::line(heat_map::legend(limit));
        output::line(format!("  {}", sentence(verdict, probe)));
    }
}

/// One line on what a probe says and how far to trust it.
pub(crate) fn sentence(verdict: &Verdict, probe: &candor_schema::ProbeVerdict) -> String {
    let said = match probe.verdict {
        VerdictKind::Flag => "FLAG, suspected deception",
        VerdictKind::Pass => "pass",
        VerdictKind::Abstain => "abstain",
    };
    let threshold = match (probe.threshold, probe.fpr_budget, &probe.certified) {
        (Some(threshold), Some(budget), Some(certificate)) => format!(
            "threshold {threshold:+.2}, certified for {:.0} % false alarms on ordinary replies with n = {}",
            budget * 100.0,
            certificate.n
        ),
        _ => verdict
            .reason
            .clone()
            .unwrap_or_else(|| "no threshold".into()),
    };
    let probability = probe
        .probability
        .map_or_else(String::new, |p| format!(", probability {p:.2}"));
    let percentile = probe.percentile.map_or_else(String::new, |share| {
        format!(", above {:.0} % of ordinary replies", share * 100.0)
    });
    format!(
        "{}: {said}; logit {:+.2}{probability}{percentile} ({threshold})",
        probe.name, probe.logit
    )
}
