//! What the text of replies gives away without any model: the part of `candor dataset check --audit`
//! that fits.

use std::collections::BTreeSet;
use std::fmt;

use candor_dataset::{Problem, Severity, TfIdf, surface};
use candor_probe::metric::{Bootstrap, auroc_interval};
use candor_probe::{FitOptions, Rows, kind};
use candor_schema::{Dialogue, Interval, Label};
use serde::Serialize;

/// AUROC on held-out families up to which length, punctuation and the like may tell honest from
/// deceptive replies.
const MAX_SURFACE_AUROC: f64 = 0.60;

/// How well something in the text tells the classes apart on families that it was not fitted on.
#[derive(Debug, Serialize)]
pub(super) struct Giveaway {
    name: &'static str,
    auroc: Interval,
    n_dialogues: usize,
    n_families: usize,
    /// Above it the data set is not fit to measure with.
    limit: Option<f64>,
    /// The first of the dialogues.
    #[serde(skip)]
    first: String,
}

impl Giveaway {
    /// The error that it is, if its point estimate is above its limit.
    pub(super) fn problem(&self) -> Option<Problem> {
        let limit = self.limit.filter(|limit| self.auroc.value > *limit)?;
        Some(Problem {
            severity: Severity::Error,
            check: "giveaway",
            dialogue: self.first.clone(),
            what: format!(
                "{} tells the labels apart with AUROC {:.2} (at most {limit:.2})",
                self.name, self.auroc.value
            ),
            hint: "match the replies of each pair in length, punctuation, digits and sentences",
        })
    }
}

impl fmt::Display for Giveaway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: AUROC {:.2} [{:.2}, {:.2}] on held-out families ({} replies, {} families)",
            self.name,
            self.auroc.value,
            self.auroc.low,
            self.auroc.high,
            self.n_dialogues,
            self.n_families
        )
    }
}

/// Fits text features on all families but one and scores that one, for each in turn.
///
/// Empty where there are no pairs in two families.
pub(super) fn giveaways(dialogues: &[Dialogue]) -> anyhow::Result<Vec<Giveaway>> {
    let replies: Vec<Reply<'_>> = dialogues
        .iter()
        .filter(|dialogue| dialogue.pair.is_some())
        .filter_map(|dialogue| {
            let deceptive = match dialogue.label {
                Label::Deceptive => true,
                Label::Honest => false,
                _ => return None,
            };
            Some(Reply {
                text: dialogue.answer()?,
                deceptive,
                dialogue,
            })
        })
        .collect();
    let families: BTreeSet<&str> = replies
        .iter()
        .map(|reply| reply.dialogue.family.as_str())
        .collect();
    if families.len() < 2 {
        return Ok(Vec::new());
    }
    let standardised = FitOptions {
        standardise: true,
        ..FitOptions::TEXT
    };
    let surface_auroc = held_out(&replies, &families, &standardised, |_| {
        Ok(Box::new(surface))
    })?;
    let tfidf_auroc = held_out(&replies, &families, &FitOptions::TEXT, |train| {
        let vocabulary = TfIdf::fit(train)?;
        Ok(Box::new(move |text: &str| vocabulary.transform(text)))
    })?;
    let giveaway = |name, auroc, limit| Giveaway {
        name,
        auroc,
        n_dialogues: replies.len(),
        n_families: families.len(),
        limit,
        first: replies[0].dialogue.id.clone(),
    };
    Ok(vec![
        giveaway("surface", surface_auroc, Some(MAX_SURFACE_AUROC)),
        giveaway("tf-idf", tfidf_auroc, None),
    ])
}

struct Reply<'a> {
    text: &'a str,
    deceptive: bool,
    dialogue: &'a Dialogue,
}

/// Turns a text into numbers.
type Features = Box<dyn Fn(&str) -> Vec<f32>>;

fn held_out(
    replies: &[Reply<'_>],
    families: &BTreeSet<&str>,
    options: &FitOptions,
    features_of: impl Fn(&[&str]) -> anyhow::Result<Features>,
) -> anyhow::Result<Interval> {
    let (mut scores, mut labels, mut scenarios) = (Vec::new(), Vec::new(), Vec::new());
    for family in families {
        let (test, train): (Vec<&Reply<'_>>, Vec<&Reply<'_>>) = replies
            .iter()
            .partition(|reply| reply.dialogue.family == *family);
        let texts: Vec<&str> = train.iter().map(|reply| reply.text).collect();
        let features = features_of(&texts)?;
        let rows: Vec<f32> = texts.iter().flat_map(|text| features(text)).collect();
        let is_deceptive: Vec<bool> = train.iter().map(|reply| reply.deceptive).collect();
        let width = rows.len() / train.len();
        let rows = Rows::new(&rows, width, &is_deceptive)?;
        let projection = kind("logistic")?.fit(&rows, options)?;
        for reply in test {
            scores.push(projection.logits(&features(reply.text))?[0].as_f64());
            labels.push(reply.deceptive);
            scenarios.push(reply.dialogue.scenario.as_str());
        }
    }
    let bootstrap = Bootstrap::seeded(0);
    Ok(auroc_interval(&scores, &labels, &scenarios, &bootstrap)?)
}
