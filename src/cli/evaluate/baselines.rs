//! What could explain a probe's number: the text, its surface, surprise, and chance.

use anyhow::Context;
use candor_dataset::{TfIdf, surface};
use candor_probe::evaluate::Scored;
use candor_probe::{Bundle, FitOptions, Projection, Rows, kind, nulls, pooling};
use candor_probe::{Combiner, Probe, Reading};
use candor_schema::{DetectorKind, DetectorRow, Interval};

use super::{Data, Measured};
use crate::replies::Reply;
use crate::train::{Recipe, fit_labelled};

/// Fits and scores one baseline.
type Baseline = fn(&Data<'_>, &Bundle) -> anyhow::Result<Measured>;

/// Every baseline, in the order of the report.
pub(super) const BASELINES: &[Baseline] =
    &[tfidf, surface_features, prompt, log_probability, entropy];

/// Fits of the probe's recipe on shuffled labels.
const N_SHUFFLES: u64 = 20;
/// Random directions at the probe's hook point.
const N_DIRECTIONS: usize = 100;

fn text(reply: &Reply) -> anyhow::Result<&str> {
    reply
        .dialogue
        .response()
        .with_context(|| format!("dialogue `{}` has no reply", reply.dialogue.id))
}

/// The words of the messages before the reply.
fn asked(reply: &Reply) -> String {
    let messages = &reply.dialogue.messages;
    let prompt = &messages[..messages.len().saturating_sub(1)];
    let contents: Vec<&str> = prompt.iter().map(|m| m.content.as_str()).collect();
    contents.join("\n")
}

/// Logistic regression on features of the training replies' text.
fn fit_text(
    data: &Data<'_>,
    features: impl Fn(&str) -> Vec<f32>,
    options: &FitOptions,
) -> anyhow::Result<Projection> {
    fit_features(data, |reply| Ok(features(text(reply)?)), options)
}

fn fit_features(
    data: &Data<'_>,
    features: impl Fn(&Reply) -> anyhow::Result<Vec<f32>>,
    options: &FitOptions,
) -> anyhow::Result<Projection> {
    let mut rows = Vec::new();
    let mut labels = Vec::new();
    for reply in &data.train {
        rows.extend(features(reply)?);
        labels.push(reply.deceptive() == Some(true));
    }
    let width = rows.len() / labels.len().max(1);
    Ok(kind("logistic")?.fit(&Rows::new(&rows, width, &labels)?, options)?)
}

fn apply(projection: &Projection, features: &[f32]) -> anyhow::Result<f64> {
    Ok(projection.logits(features)?[0].as_f64())
}

fn tfidf(data: &Data<'_>, _bundle: &Bundle) -> anyhow::Result<Measured> {
    let texts = data
        .train
        .iter()
        .map(|reply| text(reply))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let vocabulary = TfIdf::fit(&texts)?;
    let projection = fit_text(data, |text| vocabulary.transform(text), &FitOptions::TEXT)?;
    data.row(
        "tf-idf",
        DetectorKind::Text,
        "logistic regression on words and word pairs of the reply, fitted on the same training scenarios",
        |reply| apply(&projection, &vocabulary.transform(text(reply)?)),
    )
}

fn surface_features(data: &Data<'_>, _bundle: &Bundle) -> anyhow::Result<Measured> {
    // Counts have units, so their columns are standardised.
    let options = FitOptions {
        standardise: true,
        ..FitOptions::TEXT
    };
    let projection = fit_text(data, surface, &options)?;
    data.row(
        "surface",
        DetectorKind::Surface,
        "logistic regression on length, digits, punctuation and capitals of the reply",
        |reply| apply(&projection, &surface(text(reply)?)),
    )
}

fn prompt(data: &Data<'_>, _bundle: &Bundle) -> anyhow::Result<Measured> {
    let texts: Vec<String> = data.train.iter().map(|reply| asked(reply)).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let vocabulary = TfIdf::fit(&texts)?;
    let features = |reply: &Reply| Ok(vocabulary.transform(&asked(reply)));
    let projection = fit_features(data, features, &FitOptions::TEXT)?;
    data.row(
        "prompt",
        DetectorKind::Prompt,
        "logistic regression on words and word pairs of what was asked, without the reply: where it does well, the labels follow from the prompts",
        |reply| apply(&projection, &vocabulary.transform(&asked(reply))),
    )
}

fn log_probability(data: &Data<'_>, _bundle: &Bundle) -> anyhow::Result<Measured> {
    data.row(
        "surprise",
        DetectorKind::Surprise,
        "mean negative log-probability that the model itself gives the reply's tokens; nothing is fitted",
        |reply| mean(reply, "logprob", |token| token.logprob.map(|value| -f64::from(value))),
    )
}

fn entropy(data: &Data<'_>, _bundle: &Bundle) -> anyhow::Result<Measured> {
    data.row(
        "entropy",
        DetectorKind::Surprise,
        "mean entropy of the model's predictions along the reply; nothing is fitted",
        |reply| mean(reply, "entropy", |token| token.entropy.map(f64::from)),
    )
}

fn mean(
    reply: &Reply,
    what: &str,
    value: impl Fn(&candor_activations::Token) -> Option<f64>,
) -> anyhow::Result<f64> {
    let values: Vec<f64> = reply.tokens.iter().filter_map(value).collect();
    anyhow::ensure!(
        !values.is_empty(),
        "dialogue `{}` was captured without `{what}`",
        reply.dialogue.id
    );
    Ok(values.iter().sum::<f64>() / values.len() as f64)
}

/// The probe's recipe where there is nothing to learn: labels shuffled within each pair, and random directions.
///
/// A row's interval spans 95 % of the repetitions; thresholds make no sense for them.
pub(super) fn nulls(
    data: &Data<'_>,
    bundle: &Bundle,
    _scored: &[Scored],
) -> anyhow::Result<Vec<DetectorRow>> {
    let config = bundle.config();
    let point = config.hook_points[0];
    let width = bundle.probe().readings()[0].width();
    let recipe = Recipe::of(config);

    let labels: Vec<bool> = data
        .train
        .iter()
        .map(|reply| reply.deceptive() == Some(true))
        .collect();
    let pairs: Vec<&str> = data
        .train
        .iter()
        .map(|reply| {
            reply
                .dialogue
                .pair
                .as_deref()
                .unwrap_or(&reply.dialogue.scenario)
        })
        .collect();
    let measure = |reading: Reading| -> anyhow::Result<f64> {
        let probe = Probe::new(vec![reading], pooling(&config.pooling)?, Combiner::Single)?;
        let scored = data
            .split
            .iter()
            .map(|reply| Ok(reply.scored(reply.score(&probe)?.logit.as_f64())));
        let scored = scored.collect::<anyhow::Result<Vec<_>>>()?;
        let logits: Vec<f64> = scored.iter().map(|scored| scored.logit).collect();
        let labels: Vec<bool> = scored.iter().map(|scored| scored.deceptive).collect();
        Ok(candor_probe::metric::auroc(&logits, &labels)?)
    };
    let shuffled = (0..N_SHUFFLES).map(|shuffle| {
        let labels = nulls::shuffle_labels(&labels, &pairs, data.seed + shuffle)?;
        measure(fit_labelled(&data.train, &labels, point, width, &recipe)?)
    });
    let shuffled = shuffled.collect::<anyhow::Result<Vec<f64>>>()?;
    let random = nulls::random_directions(width, N_DIRECTIONS, data.seed)?
        .into_iter()
        .map(|direction| {
            let own = &bundle.probe().readings()[0];
            measure(Reading::new(
                point,
                own.mean().to_vec(),
                own.scale().to_vec(),
                direction,
                vec![0.0],
            )?)
        });
    let random = random.collect::<anyhow::Result<Vec<f64>>>()?;
    Ok(vec![
        null_row(
            "shuffled labels",
            &format!(
                "the probe's recipe at its layer on labels shuffled within each pair; mean and range of {N_SHUFFLES} fits"
            ),
            shuffled,
        ),
        null_row(
            "random direction",
            &format!("random directions at the probe's layer; mean and range of {N_DIRECTIONS}"),
            random,
        ),
    ])
}

fn null_row(name: &str, description: &str, mut aurocs: Vec<f64>) -> DetectorRow {
    aurocs.sort_by(f64::total_cmp);
    let at = |share: f64| aurocs[((aurocs.len() - 1) as f64 * share).round() as usize];
    let value = aurocs.iter().sum::<f64>() / aurocs.len() as f64;
    DetectorRow {
        name: name.to_owned(),
        kind: DetectorKind::Null,
        description: description.to_owned(),
        auroc: Interval {
            value,
            low: at(0.025),
            high: at(0.975),
            level: 0.95,
        },
        probe_minus_this: None,
        same_prompt: None,
        operating_points: Vec::new(),
        roc: Vec::new(),
    }
}
